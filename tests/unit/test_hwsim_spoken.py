"""The simulated Megatec UPS and YD/T 1363 power system, by characters worked out by hand from the tables."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.devices import PRODUCTS
from hwsim.devices.image import Seen
from hwsim.devices.spoken import MegatecProduct, Spoken, YdtProduct, shown
from hwsim.faults import Fault
from hwsim.plant.orders import Change, UpsTesting
from hwsim.plant.state import Battery, Mains, State
from hwsim.site import build
from hwsim.wires.spoken import Exchange, Talkers, YdtFrame, parsed, written
from hwsim.world import World

PLANT = State(mains=Mains(phases=1))
DOWN = Mains(present=(False, False, False))
SITE = {
    "buses": {"line": {"type": "serial", "port": "/nowhere"}},
    "cabinets": [
        {
            "id": 1,
            "devices": {
                "psu": {"profile": "ydt1363-psu", "bus": "line", "unit": 1},
                "ups": {"profile": "megatec-q1", "bus": "line", "unit": 2},
                "probe": {"profile": "xy-md02", "bus": "line", "unit": 3},
            },
        }
    ],
}


def ups(seen: Seen, command: str) -> Spoken:
    product = PRODUCTS["megatec-q1"]
    assert isinstance(product, MegatecProduct)
    return product.answer(seen, command)


def psu(seen: Seen, cid1: int, cid2: int, info: bytes = b"\xff") -> Spoken:
    product = PRODUCTS["ydt1363-psu"]
    assert isinstance(product, YdtProduct)
    return product.answer(seen, cid1, cid2, info)


# --- Megatec --------------------------------------------------------------------------------------------------------


def test_q1_stands_in_the_columns_of_the_table() -> None:
    said = (ups(Seen(PLANT), "Q1").body or b"").decode()
    assert said == "(231.0 000.0 220.1 017 50.0 82.1 33.0 00000001"
    assert (said[1:6], said[19:22], said[23:27], said[28:32]) == ("231.0", "017", "50.0", "82.1")


def test_an_on_line_ups_shows_one_cell() -> None:
    said = ups(Seen(PLANT, parameters={"cells": 36}), "Q1").body or b""
    assert said[28:32] == b"2.28"
    assert len(said) == 46


def test_the_bits_tell_of_lost_mains_a_low_battery_and_a_test() -> None:
    failed = replace(PLANT, mains=DOWN, ups=replace(PLANT.ups, source="battery", charge=0.1, testing_s=3.0))
    assert (ups(Seen(failed), "Q1").body or b"")[38:] == b"11000101"


@pytest.mark.parametrize(("command", "seconds"), [("T", 10.0), ("T05", 300.0), ("TL", 600.0), ("CT", 0.0)])
def test_a_test_is_begun_and_ended_without_a_word(command: str, seconds: float) -> None:
    spoken = ups(Seen(PLANT), command)
    assert spoken.body is None
    assert spoken.effect.orders == (UpsTesting(seconds),)


def test_ratings_and_identity_have_their_widths_and_an_unknown_command_comes_back() -> None:
    assert len(ups(Seen(PLANT), "F").body or b"") == 21
    assert len(ups(Seen(PLANT), "I").body or b"") == 38
    assert ups(Seen(PLANT), "QPI").body == b"QPI"


# --- YD/T 1363 ------------------------------------------------------------------------------------------------------


def test_the_check_frames_are_written_and_read() -> None:
    assert written(YdtFrame(0x21, 0x01, 0x41, 0x41)) == b"~210141410000FDB2\r"
    assert parsed(b"~200246610000FDAB\r") == YdtFrame(0x20, 0x02, 0x46, 0x61)


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=100))
def test_what_is_written_is_read_back(address: int, cid2: int, info: bytes) -> None:
    frame = YdtFrame(0x21, address, 0x41, cid2, info)
    assert parsed(written(frame)) == frame


@given(st.binary(max_size=60))
def test_rubbish_is_no_frame_or_a_broken_one(data: bytes) -> None:
    frame = parsed(b"~" + data)
    assert frame is None or isinstance(frame, YdtFrame)


def test_mains_stand_in_one_screen_of_one_input() -> None:
    said = psu(Seen(PLANT), 0x40, 0x41).body or b""
    volts_and_hertz = "00006743 00000000 00000000 00004842"  # 231 V on one phase, 50 Hz
    assert said == bytes.fromhex(f"00 01 01 {volts_and_hertz} 00 00000000 00000000 00000000")


def test_modules_stand_with_their_own_values() -> None:
    said = psu(Seen(PLANT), 0x41, 0x41).body or b""
    module = "00000000 04 0000f041 0000dc42 00005642 00006c42"  # 0 A; 30 °C, 110 %, 53.5 V, 59 V
    assert said == bytes.fromhex(f"00 00005642 02 {module} {module}")


@pytest.mark.parametrize(("fuse", "said"), [(True, "00 01 00 01 00 00"), (False, "00 01 00 01 03 00")])
def test_a_blown_fuse_is_a_three(*, fuse: bool, said: str) -> None:
    plant = replace(PLANT, dc=replace(PLANT.dc, battery=Battery(fuse=fuse)))
    assert psu(Seen(plant), 0x42, 0x44).body == bytes.fromhex(said)


def test_lost_mains_are_a_phase_lost_and_modules_without_ac() -> None:
    plant = replace(PLANT, mains=replace(DOWN, phases=3))
    assert (psu(Seen(plant), 0x40, 0x44).body or b"").startswith(bytes.fromhex("00 01 01 03030300"))
    assert psu(Seen(plant), 0x41, 0x43).body == bytes.fromhex("00 02 00010300 00010300")


@pytest.mark.parametrize(
    ("cid1", "cid2", "info", "code"),
    [(0x41, 0x41, b"\x07", 6), (0x41, 0x41, b"\x01\x02", 5), (0x41, 0x4B, b"", 4), (0x41, 0x45, b"\x99\x01", 6)],
)
def test_what_it_does_not_know_it_returns_by_its_code(cid1: int, cid2: int, info: bytes, code: int) -> None:
    assert psu(Seen(PLANT), cid1, cid2, info).code == code


def test_remote_control_switches_one_module() -> None:
    assert psu(Seen(PLANT), 0x41, 0x45, b"\x2f\x02").effect.orders == (Change("module", (("on", False),), 1),)


def test_without_dataflag_the_answer_begins_with_its_values() -> None:
    seen = Seen(PLANT, parameters={"data_flag": 0})
    assert (psu(seen, 0x41, 0x43).body or b"").hex() == "020001000000010000"


def test_what_it_says_can_be_shown() -> None:
    assert set(shown(PRODUCTS["ydt1363-psu"], Seen(PLANT))) >= {"40/41", "42/44"}
    assert set(shown(PRODUCTS["megatec-q1"], Seen(PLANT))) == {"Q1", "F", "I"}


# --- on the line ----------------------------------------------------------------------------------------------------


def talkers(world: World) -> Talkers:
    return Talkers(world, {spec.unit: spec for spec in world.site.devices.values()})


def asked(question: bytes, *, fault: str = "", **extra: int) -> Exchange | None:
    world = World(build(SITE), lambda: 0.0)
    if fault:
        for key in ("1.psu", "1.ups"):
            world.faults.inflict(key, Fault(fault, **extra))
    return talkers(world).answer(question)


ASK = written(YdtFrame(0x21, 1, 0x41, 0x43, b"\xff"))


def test_who_is_meant_shows_from_the_first_character() -> None:
    line = talkers(World(build(SITE), lambda: 0.0))
    assert line.concerns(b"~21")
    assert line.concerns(b"Q")
    assert not line.concerns(b"\x03\x03")


def test_a_question_to_another_address_is_not_answered() -> None:
    assert asked(written(YdtFrame(0x21, 9, 0x41, 0x43, b"\xff"))) is None


@pytest.mark.parametrize(
    ("question", "code"),
    [
        (ASK[:-5] + b"0000\r", 2),
        (ASK.replace(b"E002", b"D002"), 3),
        (written(YdtFrame(0x30, 1, 0x41, 0x43, b"\xff")), 1),
    ],
)
def test_a_broken_question_gets_its_return_code(question: bytes, code: int) -> None:
    exchange = asked(question)
    assert exchange is not None
    answer = parsed(exchange.answer)
    assert answer is not None
    assert answer.cid2 == code


def test_faults_inside_the_frame_are_those_of_the_framing() -> None:
    exchange = asked(ASK)
    assert exchange is not None
    good = parsed(exchange.answer)
    assert good is not None
    broken = parsed(exchange.changed(Fault("bad_crc")))
    assert broken is not None
    assert broken.fault == 2
    assert parsed(exchange.changed(Fault("wrong_unit"))) == replace(good, address=2)
    assert parsed(exchange.changed(Fault("wrong_function"))) == replace(good, cid1=0x42)
    declined = asked(ASK, fault="exception", code=0x80)
    assert declined is not None
    assert parsed(declined.changed(Fault("exception", code=0x80))) == YdtFrame(0x21, 1, 0x41, 0x80)


def test_a_ups_that_declines_says_nak() -> None:
    exchange = asked(b"Q1\r", fault="exception")
    assert exchange is not None
    assert exchange.answer == b"(NAK\r"
    assert asked(b"T\r") is None
