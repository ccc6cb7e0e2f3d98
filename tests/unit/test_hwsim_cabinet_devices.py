"""Simulated hardware of real gantry cabinets against values worked out by hand: Huaruan unit, breakers, Huawei lock."""

from dataclasses import replace

import pytest

from hwsim.devices import PRODUCTS, READERS
from hwsim.devices.image import Effect, Illegal, Image, ModbusProduct, Seen, take
from hwsim.plant.orders import Change
from hwsim.plant.state import AirConditioner, Climate, Mains, Spd, State

PLANT = State(
    mains=Mains(voltage_v=(231.4, 230.0, 229.0)),
    climate=Climate(inside_c=33.5, inside_rh=61.2),
    air=(AirConditioner(compressor=True, cool_on_c=30.5, heat_on_c=7.0),),
)


def product(name: str) -> ModbusProduct:
    found = PRODUCTS[name]
    assert isinstance(found, ModbusProduct)
    return found


def image(name: str, seen: Seen) -> Image:
    return product(name).image(seen)


def written(name: str, seen: Seen, address: int, *words: int) -> Effect:
    return product(name).write_registers(seen, address, words)


# --- Huaruan --------------------------------------------------------------------------------------------------------

SETTINGS = (305, 50, 450, 65486, 580, 450, 440, 2640, 1760, 70, 50)  # −5.0 °C is two's complement


def with_fillers(values: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(word for value in values for word in (value, 0xFFFF))


def test_a_huaruan_unit_gives_states_and_tenths_in_every_second_register() -> None:
    held = image("huaruan-cabinet-ac", Seen(PLANT)).holding
    assert take(held, 0x1000, 9)[::2] == (2, 2, 2, 2, 335)  # running, both fans, compressor, return air
    assert take(held, 0x1016, 1) == (2314,)
    assert take(held, 0x000A, 22)[::2] == SETTINGS
    assert take(held, 0x0300, 17) == (0,) * 17
    off = replace(PLANT, air=(replace(PLANT.air[0], remote=False, fan=False, compressor=False),))
    assert take(image("huaruan-cabinet-ac", Seen(off)).holding, 0x1000, 7)[::2] == (1, 1, 1, 1)


def test_a_huaruan_unit_has_an_alarm_in_the_register_of_the_table() -> None:
    hot = replace(PLANT, climate=Climate(inside_c=46.0), mains=Mains(voltage_v=(170.0, 0.0, 0.0)))
    held = image("huaruan-cabinet-ac", Seen(hot)).holding
    assert [k for k, word in enumerate(take(held, 0x0300, 17)) if word] == [0, 10]
    broken = replace(PLANT, air=(replace(PLANT.air[0], fault=True),))
    held = image("huaruan-cabinet-ac", Seen(broken)).holding
    assert [k for k, word in enumerate(take(held, 0x0300, 17)) if word] == [3]


def test_a_huaruan_unit_takes_its_settings_only_all_together_with_the_filler_between() -> None:
    effect = written("huaruan-cabinet-ac", Seen(PLANT), 0x000A, *with_fillers(SETTINGS))
    (change,) = effect.orders
    assert isinstance(change, Change)
    assert dict(change.fields) == {
        "cool_on_c": 30.5, "cool_band_c": 5.0, "high_alarm_c": 45.0, "low_alarm_c": -5.0, "heat_on_c": 7.0,
        "heat_band_c": 5.0,
    }  # fmt: skip
    for address, words in ((0x000A, (305,)), (0x001C, (70, 0xFFFF)), (0x000A, SETTINGS + (0,) * 11)):
        with pytest.raises(Illegal):
            written("huaruan-cabinet-ac", Seen(PLANT), address, *words)


# --- breakers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "order", "opening", "closing"),
    [("renda-breaker", 0x5000, 0x6802, 0x13, 0x33), ("renda-recloser", 0x10, 0x11, 1, 2)],
)
def test_a_breaker_opens_and_closes_and_shows_the_words_of_the_site(
    name: str, status: int, order: int, opening: int, closing: int
) -> None:
    seen = Seen(PLANT, parameters={"closed_word": 7, "open_word": 9})
    assert image(name, seen).holding[status] == 7
    opened = replace(seen, memory=written(name, seen, order, opening).memory)
    assert image(name, opened).holding[status] == 9
    assert written(name, opened, order, closing).memory == {0: 0}
    with pytest.raises(Illegal):
        written(name, seen, order, 0x55)


def test_a_breaker_that_is_locked_open_does_not_close_before_it_is_unlocked() -> None:
    seen = Seen(PLANT)
    locked = replace(seen, memory=written("renda-breaker", seen, 0x6802, 0x03).memory)
    assert written("renda-breaker", locked, 0x6802, 0x33).memory == {}
    unlocked = replace(locked, memory={**locked.memory, **written("renda-breaker", locked, 0x6802, 0x23).memory})
    assert written("renda-breaker", unlocked, 0x6802, 0x33).memory == {0: 0}


def test_an_lx47le_gives_its_state_and_what_it_measures() -> None:
    seen = Seen(PLANT)
    assert take(image("lx47le-breaker", seen).input, 0, 12) == (0xF0, 0, 0, 0, 500, 0, 74, 74, 231, 150, 98, 340)
    opened = replace(seen, memory=product("lx47le-breaker").write_coils(seen, 1, (0,)).memory)
    assert take(image("lx47le-breaker", opened).input, 0, 12) == (0x0F, 0, 0, 0, 500, 0, 74, 74, 231, 0, 0, 0)
    assert product("lx47le-breaker").write_coils(opened, 1, (1,)).memory == {0: 0}


# --- Huawei lock ----------------------------------------------------------------------------------------------------


def test_a_huawei_lock_shows_a_card_behind_the_first_byte_of_its_id_and_takes_two_words() -> None:
    shown = Seen(PLANT, memory=READERS["huawei-cabinet-lock"](Seen(PLANT), 12345678).memory)
    assert take(image("huawei-cabinet-lock", shown).holding, 0x1000, 9) == (0, 0, 1, 5, 0x2700, 0xBC61, 0x4E00, 0, 0)
    assert written("huawei-cabinet-lock", shown, 0x4002, 0x33).memory == {0: 1, 104: 1}
    assert written("huawei-cabinet-lock", shown, 0x4002, 0xCC).memory == {0: 0, 104: 0}
    for address, word in ((0x4002, 1), (0x4003, 0x33)):
        with pytest.raises(Illegal):
            written("huawei-cabinet-lock", shown, address, word)


def test_a_wth_counter_says_by_all_ones_that_its_protector_is_gone() -> None:
    strikes = tuple(Spd(strikes=3, healthy=well) for well in (True, False))
    shown = [image("wth-spd", Seen(replace(PLANT, spds=strikes), instance=k)).holding for k in (0, 1)]
    assert [take(one, 5, 7) for one in shown] == [(3, 0, 0, 0, 1, 0, 0), (3, 0, 0, 0, 0, 0, 0xFFFF)]
