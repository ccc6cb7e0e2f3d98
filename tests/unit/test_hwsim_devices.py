"""Register images and OID tables against values worked out by hand from the vendors' tables."""

import re
import struct
from dataclasses import replace
from datetime import datetime

import pytest

from hwsim.devices import PRODUCTS, spoken
from hwsim.devices.access import AccessProduct, Panel
from hwsim.devices.image import Effect, Illegal, Image, ModbusProduct, Seen, take
from hwsim.devices.oids import ABSENT, Cell, Declined, SnmpProduct
from hwsim.devices.zte import ZteProduct
from hwsim.plant import step
from hwsim.plant.host import Host
from hwsim.plant.orders import BatteryTesting, Change, ClearStrikes, Strike, UpsTesting
from hwsim.plant.state import AirConditioner, Climate, Mains, Spd, State

MAINS = Mains(voltage_v=(231.5, 230.0, 229.0))
PLANT = State(mains=MAINS, climate=Climate(inside_c=-5.3, inside_rh=61.2), air=(AirConditioner(), AirConditioner()))
B = "1.3.6.1.4.1.2011.6.164.1"
U = "1.3.6.1.2.1.33.1"


def image(profile: str, seen: Seen) -> Image:
    product = PRODUCTS[profile]
    assert isinstance(product, ModbusProduct)
    return product.image(seen)


def write(profile: str, seen: Seen, address: int, *values: int) -> Effect:
    product = PRODUCTS[profile]
    assert isinstance(product, ModbusProduct)
    return product.write_registers(seen, address, values)


def table(profile: str, seen: Seen) -> dict[str, Cell]:
    product = PRODUCTS[profile]
    assert isinstance(product, SnmpProduct)
    return dict(product.table(seen))


def put(profile: str, seen: Seen, oid: str, cell: Cell) -> Effect:
    product = PRODUCTS[profile]
    assert isinstance(product, SnmpProduct)
    return product.set(seen, oid, cell)


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        (0.1, (0x4510, 0xB000)),  # 2315.0, the CT type stores tenths of a volt
        (1, (0x4367, 0x8000)),  # 231.5
    ],
)
def test_a_dtsu666_stores_phase_voltages_from_0x2006_by_its_scale(scale: float, words: tuple[int, int]) -> None:
    holding = image("chint-dtsu666", Seen(PLANT, parameters={"voltage_scale": scale})).holding
    assert take(holding, 0x2006, 2) == words


def test_a_dtsu666_scales_current_power_frequency_and_counts_energy_plain() -> None:
    plant = replace(PLANT, phase_a=(1.5, 0.0, 0.0), phase_w=(345.0, 0.0, 0.0), energy_kwh=1234.5)
    holding = image("chint-dtsu666", Seen(plant)).holding

    def at(address: int) -> float:
        return struct.unpack(">f", struct.pack(">HH", *take(holding, address, 2)))[0]

    assert (at(0x200C), at(0x2012), at(0x2014), at(0x2044), at(0x101E)) == (1500.0, 3450.0, 3450.0, 5000.0, 1234.5)


@pytest.mark.parametrize(("address", "count"), [(0x2022, 1), (0x2021, 2), (0x2006, 0x40), (0x3000, 2)])
def test_a_hole_inside_a_read_is_an_illegal_address(address: int, count: int) -> None:
    with pytest.raises(Illegal) as refused:
        take(image("chint-dtsu666", Seen(PLANT)).holding, address, count)
    assert refused.value.code == 2


def test_an_sdm630_reads_zero_in_its_gaps() -> None:
    block = take(image("eastron-sdm630", Seen(PLANT)).input, 0, 80)
    assert block[:2] == (0x4367, 0x8000)
    assert block[0x2C:0x2E] == (0, 0)
    assert block[0x46:0x48] == struct.unpack(">HH", struct.pack(">f", 50.0))


def test_a_ddsu666_gives_kilowatts() -> None:
    plant = replace(PLANT, phase_w=(512.0, 0.0, 0.0))
    holding = image("chint-ddsu666", Seen(plant)).holding
    assert take(holding, 0x2004, 2) == struct.unpack(">HH", struct.pack(">f", 0.512))


def test_the_probes_give_tenths_and_two_s_complement() -> None:
    assert take(image("xy-md02", Seen(PLANT)).input, 1, 2) == (0x10000 - 53, 612)
    assert take(image("renda-temperature-humidity", Seen(PLANT)).holding, 0, 2) == (612, 0x10000 - 53)


def test_only_the_high_byte_of_the_smoke_probe_tells_of_smoke() -> None:
    quiet = image("renda-smoke", Seen(PLANT)).holding[0]
    smoke = image("renda-smoke", Seen(replace(PLANT, smoke=True))).holding[0]
    assert (quiet >> 8, smoke >> 8) == (0, 1)
    assert quiet & 0xFF
    assert image("renda-water", Seen(replace(PLANT, water=True))).holding == {0x0010: 1}


def test_leixun_counts_strikes_in_swapped_floats_and_its_contact_is_zero_when_bad() -> None:
    plant = replace(PLANT, spds=(Spd(strikes=3, total=10, healthy=False),))
    shown = image("leixun-spd", Seen(plant))
    assert take(shown.holding, 12, 2) == (0x0000, 0x4040)  # 3.0 is 40 40 00 00 reversed: 00 00 40 40
    assert take(shown.holding, 14, 2) == (0x0000, 0x2041)  # 10.0 is 41 20 00 00
    assert take(shown.discrete, 0, 8) == (0, 0, 0, 0, 0, 0, 1, 0)
    assert len(take(shown.holding, 0, 58)) == 58
    assert image("renda-spd", Seen(plant)).holding == {2001: 3}


def test_leixun_clears_by_coils() -> None:
    product = PRODUCTS["leixun-spd"]
    assert isinstance(product, ModbusProduct)
    assert product.write_coils(Seen(PLANT), 0, (1,)).orders == (ClearStrikes(0),)
    assert product.write_coils(Seen(PLANT), 1, (1,)).orders == (ClearStrikes(0, total=True),)


def test_envicool_shows_the_second_unit_of_the_cabinet() -> None:
    cooling = replace(AirConditioner(), compressor=True, fault=True, coil_c=8.4)
    plant = replace(PLANT, air=(AirConditioner(), cooling))
    holding = image("envicool-cabinet-ac", Seen(plant, instance=1)).holding
    assert take(holding, 0x0100, 5) == (1, 1, 1, 0, 0)
    assert take(holding, 0x0500, 6) == (84, 250, 400, 0x10000 - 53, 2000, 61)
    assert (holding[0x060E], holding[0x0601], holding[0x0600]) == (1, 1, 0)  # compressor; low temperature; not high
    assert take(holding, 0x0700, 4) == (35, 5, 5, 5)
    assert holding[0x0801] == 1
    assert len(take(holding, 0x0600, 33)) == 33


def test_envicool_takes_the_switch_and_the_block_of_set_points() -> None:
    seen = Seen(PLANT, instance=1)
    assert write("envicool-cabinet-ac", seen, 0x0801, 0).orders == (Change("air", (("remote", False),), 1),)
    (order,) = write("envicool-cabinet-ac", seen, 0x0700, 33, 4, 0xFFFB, 3).orders
    assert step(PLANT, 0.001, [order]).air[1].heat_on_c == -5.0
    for address, value, code in ((0x0801, 2, 3), (0x0500, 1, 2), (0x0700, 200, 3), (0x0700, 33, 2)):
        with pytest.raises(Illegal) as refused:
            write("envicool-cabinet-ac", seen, address, value)
        assert refused.value.code == code


def test_a_moxa_shows_inputs_outputs_and_their_words() -> None:
    seen = Seen(PLANT, memory={1: 1}, inputs=(True, False, True))
    shown = image("moxa-iologik-e1212", seen)
    assert take(shown.discrete, 0, 16) == (1, 0, 1) + (0,) * 13
    assert take(shown.coils, 0, 8) == (0, 1, 0, 0, 0, 0, 0, 0)
    assert (shown.input[0x30], shown.holding[0x20]) == (0b101, 0b10)
    assert len(image("moxa-iologik-e1214", seen).discrete) == 6
    assert write("moxa-iologik-e1214", seen, 0x20, 0b100001).memory == {0: 1, 1: 0, 2: 0, 3: 0, 4: 0, 5: 1}


def test_a_ups2000_answers_the_blocks_its_driver_reads() -> None:
    shown = image("huawei-ups2000", Seen(PLANT)).holding
    first, second = take(shown, 11000, 28), take(shown, 12000, 34)
    assert (first[0], first[3], first[24]) == (2315, 500, 2)
    assert (second[0], second[2], second[3]) == (821, 3, 100)
    assert take(shown, 19009, 1) == (30,)
    assert take(shown, 41180, 27) == (0,) * 27
    dark = step(replace(PLANT, ups=replace(PLANT.ups, charge=0.1)), 1, [Change("mains", (("present", (False,) * 3),))])
    shown = image("huawei-ups2000", Seen(dark)).holding
    assert (shown[11024], shown[12002], shown[11043] & 64) == (3, 5, 64)
    assert (shown[41180 + 8] & 8, shown[41180 + 5] & 2) == (8, 2)  # battery under-voltage; bypass voltage


def test_a_ups2000_carries_out_its_writes() -> None:
    assert write("huawei-ups2000", Seen(PLANT), 12028, 1).orders == (UpsTesting(10.0),)
    assert write("huawei-ups2000", Seen(PLANT), 11030, 1).orders == (Change("ups", (("enabled", False),)),)
    assert write("huawei-ups2000", Seen(PLANT, memory={1045: 1}), 11030, 1) == Effect(memory={1030: 1})
    with pytest.raises(Illegal):
        write("huawei-ups2000", Seen(PLANT), 11000, 1)


def test_the_site_monitor_numbers_its_rectifier_rows_against_the_modules() -> None:
    cells = table("huawei-site-monitor", Seen(step(PLANT, 10)))
    assert cells[f"{B}.3.2.1.1.2.28676"] == Cell("gauge", 2002)
    assert cells[f"{B}.3.2.1.1.3.28677"] == Cell("octets", b"Rectifier1")
    assert cells[f"{B}.3.2.2.1.3.28676"] == Cell("gauge", 535)
    assert cells[f"{B}.3.2.2.1.2.28677"] == Cell("gauge", 60)
    assert cells[f"{B}.3.2.2.1.6.28677"] == Cell("gauge", 2315)
    assert cells[f"{B}.5.2.1.1.4.1"] == Cell("gauge", 2315)
    assert cells[f"{B}.4.2.3.0"] == Cell("integer", 1)
    assert f"{B}.4.3.1.0" not in cells


def test_the_site_monitor_shows_its_modules_in_the_rows_they_were_moved_to() -> None:
    moved = step(replace(PLANT, dc=replace(PLANT.dc, rows=(0, 7))), 10)
    cells = table("huawei-site-monitor", Seen(moved))
    assert cells[f"{B}.3.2.1.1.2.7"] == Cell("gauge", 2002)
    assert [oid for oid in cells if oid.startswith(f"{B}.3.2.1.1.2.")] == [f"{B}.3.2.1.1.2.7"]


@pytest.mark.parametrize(
    ("plant", "numbers"),
    [
        (PLANT, []),
        (replace(PLANT, mains=replace(MAINS, present=(False, False, False))), [15]),
        (replace(PLANT, mains=replace(MAINS, present=(True, False, True))), [15]),
        (replace(PLANT, dc=replace(PLANT.dc, bus_v=44.9)), [19]),
        (replace(PLANT, back=replace(PLANT.back, closed=False)), [31]),
        (replace(PLANT, water=True, smoke=True), [33, 35]),
    ],
    ids=["nothing", "mains", "phase", "low bus", "door", "water and smoke"],
)
def test_the_site_monitor_has_an_alarm_with_two_traps_for_each_mishap(plant: State, numbers: list[int]) -> None:
    product = PRODUCTS["huawei-site-monitor"]
    assert isinstance(product, SnmpProduct)
    trap = "1.3.6.1.4.1.2011.6.164.2.1.0"
    assert sorted((alarm.raised, alarm.cleared) for alarm in product.alarms(Seen(plant))) == [
        (f"{trap}.{n}", f"{trap}.{n + 1}") for n in numbers
    ]


def test_the_site_monitor_reads_absent_phases_as_2147483647() -> None:
    cells = table("huawei-site-monitor", Seen(replace(PLANT, mains=replace(MAINS, phases=1))))
    assert [cells[f"{B}.5.2.1.1.{column}.1"].value for column in (5, 6, 8, 9)] == [ABSENT] * 4


@pytest.mark.parametrize(
    ("present", "status"), [((True, True, True), 1), ((False, False, False), 2), ((True, False, True), 3)]
)
def test_the_site_monitor_tells_lost_mains_and_lost_phases(present: tuple[bool, bool, bool], status: int) -> None:
    plant = replace(PLANT, mains=replace(MAINS, present=present))
    assert table("huawei-site-monitor", Seen(plant))[f"{B}.5.2.1.1.99.1"].value == status


def test_the_site_monitor_lists_battery_tests_once_there_are_some() -> None:
    plant = step(PLANT, 301, [BatteryTesting("short")])
    cells = table("huawei-site-monitor", Seen(plant))
    assert cells[f"{B}.4.3.1.0"].value == 1
    row = {column: cells[f"{B}.4.3.100.1.{column}.1"].value for column in range(1, 12)}
    assert (row[2], row[4], row[6], row[9], row[11]) == (4, 2, 8, 1, 2)
    assert row[3] == b"2026-01-01 00:00:00"
    running = step(PLANT, 5, [BatteryTesting("standard")])
    assert table("huawei-site-monitor", Seen(running))[f"{B}.4.3.7.0"].value == 1


def test_the_site_monitor_sets_what_is_writable_and_judges_type_and_value() -> None:
    seen = Seen(PLANT)
    switch = put("huawei-site-monitor", seen, f"{B}.3.1.8.0", Cell("integer", 2))
    assert step(PLANT, 1, switch.orders).dc.enabled is False
    one = put("huawei-site-monitor", seen, f"{B}.3.2.1.1.12.28676", Cell("integer", 2))
    assert [module.on for module in step(PLANT, 1, one.orders).dc.modules] == [True, False]
    for oid, cell, reason in (
        ("3.1.8.0", Cell("integer", 3), "wrongValue"),
        ("3.1.8.0", Cell("octets", b"1"), "wrongType"),
        ("3.1.6.0", Cell("gauge", 900), "wrongValue"),
        ("5.1.5.0", Cell("integer", 270), "wrongType"),
        ("3.1.3.0", Cell("gauge", 1), "notWritable"),
    ):
        with pytest.raises(Declined) as declined:
            put("huawei-site-monitor", seen, f"{B}.{oid}", cell)
        assert declined.value.reason == reason


def test_the_site_monitor_cuts_units_and_branches_by_their_own_rows() -> None:
    one, two = f"{B}.7.2.1.1.6.7", f"{B}.9.3.2.1.12.2"  # LLVD1 is equip 8001 in row 7; branch 3 of the PDE in row 2
    cut = put("huawei-site-monitor", Seen(PLANT), one, Cell("integer", 1)).memory
    cut = {**cut, **put("huawei-site-monitor", Seen(PLANT), two, Cell("integer", 1)).memory}
    cells = table("huawei-site-monitor", Seen(PLANT, cut))
    assert [cells[f"{B}.7.2.1.1.99.{row}"].value for row in (7, 6, 3)] == [3, 1, 1]
    assert [cells[f"{B}.9.3.1.1.{column}.2"].value for column in range(16, 20)] == [535, 535, 0, 535]
    assert cells[f"{B}.9.3.2.1.12.2"].value == 1
    assert put("huawei-site-monitor", Seen(PLANT, cut), one, Cell("integer", 2)).memory == {1: 0}
    battery = put("huawei-site-monitor", Seen(PLANT), f"{B}.7.2.1.1.6.3", Cell("integer", 1))
    assert battery.orders == (Change("battery", (("connected", False),)),)
    for oid, value in (("7.2.1.1.6.7", 3), ("7.2.1.1.5.7", 1), ("9.3.2.1.14.2", 1), ("9.3.2.1.10.1", 1)):
        with pytest.raises(Declined):
            put("huawei-site-monitor", Seen(PLANT), f"{B}.{oid}", Cell("integer", value))


def test_the_site_monitor_tells_smoke_water_doors_and_what_is_wired_to_its_inputs() -> None:
    plant = replace(PLANT, water=True, smoke=True, back=replace(PLANT.back, closed=False))
    cells = table("huawei-site-monitor", Seen(plant, inputs=(False, False, True)))
    shown = [cells[f"{B}.8.2.{place}"].value for place in ("13.1.4.5601", "14.1.4.5701", "15.1.4.5801", "15.1.4.5802")]
    assert shown == [1, 1, 0, 1]
    assert [cells[f"{B}.8.2.3.1.99.{k}"].value for k in range(1, 6)] == [1, 2, 1, 1, 1]
    assert [cells[f"{B}.28.1.1.{column}.4101"].value for column in (4, 5, 10)] == [-5, 61, 51]


def test_a_dc_air_conditioner_takes_whole_degrees_within_the_range_of_its_mode() -> None:
    air, row = f"{B}.10.2.2.1", 79
    seen = Seen(replace(PLANT, air=(AirConditioner(cool_on_c=45.0, cool_band_c=8.0),)))
    cells = table("huawei-dc-aircon", seen)
    assert [cells[f"{air}.{column}.{row}"].value for column in (6, 7, 14, 15, 21)] == [2, 1, 45, 37, 21]
    (order,) = put("huawei-dc-aircon", seen, f"{air}.14.{row}", Cell("integer", 38)).orders
    assert order == Change("air", (("cool_on_c", 38.0), ("cool_band_c", 1.0)), 0)
    assert put("huawei-dc-aircon", seen, f"{B}.10.1.3.0", Cell("integer", 3)).memory == {1: 3}
    smart = Seen(seen.plant, {1: 3})
    for of, oid, cell in (
        (seen, f"{air}.14.{row}", Cell("integer", 51)),
        (seen, f"{air}.14.{row}", Cell("integer", 37)),  # the off temperature
        (seen, f"{air}.14.{row}", Cell("gauge", 40)),
        (seen, f"{air}.13.{row}", Cell("integer", 40)),
        (smart, f"{air}.15.{row}", Cell("integer", 32)),
    ):
        with pytest.raises(Declined):
            put("huawei-dc-aircon", of, oid, cell)
    assert put("huawei-dc-aircon", seen, f"{air}.15.{row}", Cell("integer", 32)).orders


def test_a_lithium_group_shows_tenths_and_its_states() -> None:
    dc = replace(
        PLANT.dc, load_a=10.0, battery=replace(PLANT.dc.battery, charge=0.5, current_a=-12.3, mode="discharge")
    )
    cells = table("huawei-lithium-battery", Seen(replace(PLANT, dc=dc)))
    shown = [cells[f"{B}.17.1.1.{column}.96"].value for column in (4, 5, 6, 7, 8, 9, 11, 12)]
    assert shown == [5, 535, -123, 1000, 500, 250, 50, 3]


def test_an_rfc1628_card_shows_battery_operation_and_takes_a_test_by_oid() -> None:
    plant = step(PLANT, 5, [Change("mains", (("present", (False,) * 3),))])
    cells = table("ups-mib", Seen(plant))
    assert (cells[f"{U}.4.1.0"].value, cells[f"{U}.3.3.1.3.1"].value) == (5, 0)
    assert cells[f"{U}.6.2.1.2.1"] == Cell("oid", f"{U}.6.3.2")
    assert table("ups-mib", Seen(PLANT))[f"{U}.2.3.0"] == Cell("gauge", 4294967295)
    effect = put("ups-mib", Seen(PLANT), f"{U}.7.1.0", Cell("oid", f"{U}.7.7.4"))
    assert effect.orders == (UpsTesting(10.0),)
    assert put("ups-mib", Seen(PLANT), f"{U}.7.2.0", Cell("integer", 0)).memory == {1: 1}
    with pytest.raises(Declined):
        put("ups-mib", Seen(PLANT), f"{U}.7.2.0", Cell("integer", 7))


def test_a_host_shows_its_disks_by_the_paths_of_the_site() -> None:
    seen = Seen(State(), parameters={"sys_disk": "/", "data_disk": "/srv", "nic": "enp3s0"}, host=Host())
    cells = table("host-resources", seen)
    names = {oid: cell.value for oid, cell in cells.items() if oid.startswith("1.3.6.1.2.1.25.2.3.1.3.")}
    row = next(oid for oid, name in names.items() if name == b"/srv").rsplit(".", 1)[1]
    unit, size, used = (int(cells[f"1.3.6.1.2.1.25.2.3.1.{c}.{row}"].value) for c in (4, 5, 6))
    assert unit * size == 500 * 1024**3
    assert used / size == pytest.approx(0.55, abs=0.001)
    assert cells["1.3.6.1.2.1.31.1.1.1.1.2"].value == b"enp3s0"
    assert cells["1.3.6.1.2.1.25.3.3.1.2.196608"] == Cell("integer", 12)
    assert cells["1.3.6.1.4.1.2021.4.5.0"] == Cell("integer", 8 * 1024 * 1024)


def test_every_product_shows_something_before_and_after_a_storm() -> None:
    storm = step(replace(PLANT, water=True, smoke=True), 60, [Strike(0), Change("mains", (("present", (False,) * 3),))])
    for plant in (PLANT, storm):
        for product in PRODUCTS.values():
            seen = Seen(plant)
            if isinstance(product, ModbusProduct):
                shown = product.image(seen)
                cells = [*shown.holding.values(), *shown.input.values()]
                assert all(0 <= value <= 0xFFFF for value in cells)
                assert all(bit in (0, 1) for bit in (*shown.coils.values(), *shown.discrete.values()))
            elif isinstance(product, SnmpProduct):
                assert product.table(seen)
            elif isinstance(product, AccessProduct):
                asked = bytes.fromhex("17200000 01000000").ljust(64, b"\0")
                assert Panel(1).answer(asked, (False,) * 4, (False,) * 4, datetime(2026, 11, 24, 12, 0))
            elif isinstance(product, ZteProduct):
                values = product.values(seen)
                assert values
                assert all(re.fullmatch(r"-?\d+(\.\d+)?", text) for text in values.values())
                assert isinstance(product.alarm(seen), bool)
            else:
                assert all(said for said in spoken.shown(product, seen).values())
