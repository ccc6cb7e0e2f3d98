"""Modbus frames by bytes, the wiring of the site file, and what a fault makes of an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.faults import KINDS, UNSPOILT, Fault, Piece, Spoilt, Ward, spoil
from hwsim.plant import step
from hwsim.plant.orders import Handle
from hwsim.plant.state import AirConditioner, Spd, State
from hwsim.signals import SIGNALS, level
from hwsim.site import SiteFault, build
from hwsim.wires.line import pace
from hwsim.wires.modbus import Frame, Units, checked, mbap, rebuilt, rtu, rtu_length
from hwsim.world import World

SITE = {
    "buses": {
        "line": {"type": "serial", "port": "/nowhere"},
        "io": {"type": "modbus-tcp", "host": "127.0.0.1"},
        "net": {"type": "snmp", "host": "127.0.0.1"},
        "here": {"type": "host"},
    },
    "computers": [
        {"id": 1, "source": "local"},
        {"id": 2, "source": "snmp", "bus": "net", "data_disk": "/d"},
    ],
    "cabinets": [
        {
            "id": 1,
            "devices": {
                "th": {"profile": "xy-md02", "bus": "line", "unit": 7},
                "ups": {"profile": "huawei-ups2000", "bus": "line"},
                "cool": {"profile": "envicool-cabinet-ac", "bus": "line", "unit": 2},
                "cool-2": {"profile": "envicool-cabinet-ac", "bus": "line", "unit": 4},
                "io": {
                    "profile": "moxa-iologik-e1212",
                    "bus": "io",
                    "map": {
                        "doors.frontDoorClosed": "di2",
                        "doors.frontDoorLocked": {"point": "di3", "invert": True},
                        "thunderSpd[2].status": {"point": "di4", "invert": True},
                        "airConditioners[1].isWorking": "do1",
                    },
                },
            },
            "outputs": {"lock": {"device": "io", "point": "do0"}, "horn": {"device": "io", "point": "do1"}},
            "doors": {"front": {"unlock": "lock"}, "siren": "horn"},
        }
    ],
}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def world() -> World:
    return World(build(SITE), Clock())


def units(world: World, wire: str = "line") -> Units:
    return Units(world, {spec.unit: spec for spec in world.site.devices.values() if spec.wire == wire})


def asked(pdu: str, unit: int = 7, wire: str = "line") -> str | None:
    answer = units(world(), wire).answer(Frame(unit, bytes.fromhex(pdu)))
    return answer.pdu.hex() if answer else None


def test_reading_two_input_registers_gives_these_bytes() -> None:
    assert asked("04 0001 0002") == "0404" + "012c" + "01f4"  # 30.0 °C, 50.0 %


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        ("04 0000 0001", "8402"),  # not there
        ("04 0002 0002", "8402"),  # runs over the end
        ("04 0001 0000", "8403"),  # none
        ("04 0001 007e", "8403"),  # more than 125
        ("01 0000 0001", "8101"),  # it has no coils at all
        ("07", "8701"),
        ("63 0001", "e301"),
        ("04 00", "8403"),
    ],
)
def test_what_a_unit_declines_it_declines_by_the_standard_code(pdu: str, answer: str) -> None:
    assert asked(pdu) == answer


def test_nobody_answers_for_a_unit_that_is_not_there() -> None:
    assert asked("04 0001 0001", unit=9) is None


def test_bits_come_packed_low_first() -> None:
    assert asked("02 0000 0008", unit=1, wire="io") == "0201" + "04"  # closed on di2; di3 and di4 are inverted, resting


@pytest.mark.parametrize("pdu", ["05 0000 ff00", "0f 0000 0002 01 01"])
def test_writing_the_coil_unlocks_the_door(pdu: str) -> None:
    here = world()
    answer = units(here, "io").answer(Frame(1, bytes.fromhex(pdu)))
    assert answer
    assert answer.pdu.hex() == pdu.replace(" ", "")[:10]
    assert not here.plants[1].front.locked
    assert units(here, "io").answer(Frame(1, bytes.fromhex("02 0003 0001"))).pdu.hex() == "020101"


@pytest.mark.parametrize("pdu", ["05 0000 0100", "0f 0000 0009 01 01", "10 0020 0002 02 0001"])
def test_a_malformed_write_is_an_illegal_value(pdu: str) -> None:
    assert asked(pdu, unit=1, wire="io") == f"{int(pdu[:2], 16) | 0x80:02x}03"


def test_the_siren_follows_its_output() -> None:
    here = world()
    units(here, "io").answer(Frame(1, bytes.fromhex("05 0001 ff00")))
    assert here.plants[1].siren
    units(here, "io").answer(Frame(1, bytes.fromhex("05 0001 0000")))
    assert not here.plants[1].siren


def test_an_inverted_output_holds_its_lock_open_until_it_is_switched_on() -> None:
    outputs = {"lock": {"device": "io", "point": "do0", "invert": True}}
    cabinet = SITE["cabinets"][0] | {"outputs": outputs, "doors": {"back": {"unlock": "lock"}}}
    here = World(build(SITE | {"cabinets": [cabinet]}), Clock())
    assert not here.plants[1].back.locked
    units(here, "io").answer(Frame(1, bytes.fromhex("05 0000 ff00")))
    here.advance(20.0)
    assert here.plants[1].back.locked


def test_a_broadcast_write_is_obeyed_by_all_and_answered_by_none() -> None:
    here = world()
    assert units(here).answer(Frame(0, bytes.fromhex("10 0801 0001 02 0000"))) is None
    assert [unit.remote for unit in here.plants[1].air] == [False, False]


def test_a_ups2000_says_who_it_is_as_its_driver_expects() -> None:
    request = checked(bytes.fromhex("01 2b 0e 03 87 31 75"))  # the bytes of NUT's huawei-ups2000.c
    assert request
    answer = rtu(units(world()).answer(request))
    assert answer[:8].hex() == "012b0e0303000002"
    assert answer[8:14].hex() == "870400000001"
    assert answer[16:].startswith(b"1=UPS2000A;2=")


def test_frames_carry_the_checksum_or_the_header() -> None:
    assert rtu(Frame(1, bytes.fromhex("0300000001"))).hex() == "010300000001840a"
    assert mbap(Frame(1, bytes.fromhex("0300000001"), 0x1234)).hex() == "123400000006010300000001"
    assert checked(bytes.fromhex("010300000001840b")) is None


@pytest.mark.parametrize(
    ("frame", "length"),
    [("0103", 0), ("01030000", 8), ("01100000000204", 13), ("012b0e", 7), ("016300", 0)],
)
def test_a_request_tells_its_length(frame: str, length: int) -> None:
    assert rtu_length(bytes.fromhex(frame)) == length


@given(st.binary(max_size=40), st.integers(1, 247))
def test_rubbish_is_answered_by_the_standard_or_not_at_all(pdu: bytes, unit: int) -> None:
    answer = HERE.answer(Frame(unit, pdu)) if pdu else None
    assert answer is None or answer.pdu[0] & 0x7F == pdu[0] & 0x7F


HERE = units(world())


def test_the_wire_time_follows_rate_and_parity() -> None:
    assert pace(9600, "N", 1, 8).character_s == pytest.approx(10 / 9600)
    assert pace(9600, "E", 1, 8).character_s == pytest.approx(11 / 9600)
    assert pace(9600, "N", 1, 8).gap_s == pytest.approx(35 / 9600)
    assert pace(115200, "N", 1, 8).gap_s == 0.00175  # the standard's fixed silence


# --- the site -------------------------------------------------------------------------------------------------------


def test_a_site_is_read_with_its_counts() -> None:
    site = build(SITE)
    assert set(site.wires) == {"line", "io", "net"}
    assert set(site.devices) == {"1.th", "1.ups", "1.cool", "1.cool-2", "1.io", "computer 2"}
    assert site.devices["1.cool-2"].instance == 1
    assert site.devices["computer 2"].parameters == {"data_disk": "/d"}
    cabinet = site.cabinets[1]
    assert (cabinet.phases, cabinet.air_conditioners, cabinet.spds) == (1, 2, 2)
    assert [(output.channel, output.drives) for output in cabinet.outputs] == [(0, "front"), (1, "siren")]


def test_ids_of_the_site_number_the_plant_s_units() -> None:
    devices = {
        "a": {"profile": "renda-spd", "bus": "line", "unit": 35, "ids": {"thunderSpd": [3]}},
        "b": {"profile": "renda-spd", "bus": "line", "unit": 36},
    }
    site = build({"buses": SITE["buses"], "cabinets": [{"id": 1, "devices": devices}]})
    assert [site.devices[key].instance for key in ("1.a", "1.b")] == [2, 3]
    assert site.cabinets[1].spds == 4


@pytest.mark.parametrize(
    ("device", "complaint"),
    [
        ({"profile": "no-such", "bus": "line"}, "valid: .*chint-ddsu666, chint-dtsu666"),
        ({"profile": "xy-md02", "bus": "lime"}, "not among the buses here, io, line, net|not among the buses"),
        ({"profile": "xy-md02", "bus": "net"}, "does not speak on bus net"),
        ({"profile": "moxa-iologik-e1212", "bus": "io", "map": {"water": "di0"}}, "form member.field"),
    ],
)
def test_a_site_that_cannot_be_simulated_is_told_why(device: dict[str, object], complaint: str) -> None:
    with pytest.raises(SiteFault, match=complaint):
        build({"buses": SITE["buses"], "cabinets": [{"id": 1, "devices": {"x": device}}]})


def test_every_signal_can_be_wired() -> None:
    plant = State(air=(AirConditioner(),), spds=(Spd(),))
    for signal in SIGNALS:
        assert level(plant, signal, 1, invert=False) != level(plant, signal, 1, invert=True)
    assert level(plant, "doors.frontDoorClosed", 1, invert=False)
    opened = step(plant, 1, [Handle("front", "force")])
    assert not level(opened, "doors.frontDoorClosed", 1, invert=False)
    assert level(opened, "doors.frontDoorLocked", 1, invert=False)


# --- faults ---------------------------------------------------------------------------------------------------------

REQUEST, ANSWER = rtu(Frame(3, bytes.fromhex("0320060001"))), Frame(3, bytes.fromhex("03024510"))


def spoilt(kind: str, **extra: int) -> Spoilt:
    fault = Fault(kind, **extra)
    return spoil(fault, REQUEST, rtu(ANSWER), rebuilt(Frame(3, REQUEST[1:-2]), ANSWER, rtu))


def test_no_fault_leaves_the_answer_alone() -> None:
    assert spoil(None, REQUEST, rtu(ANSWER), lambda _: b"") == Spoilt((Piece(0.0, rtu(ANSWER)),))


def test_each_fault_does_what_it_says() -> None:
    good = rtu(ANSWER)
    assert spoilt("silent").pieces == ()
    assert spoilt("delay", ms=250).pieces == (Piece(0.25, good),)
    assert spoilt("late", ms=250) == Spoilt((Piece(0.25, good),), aside=True)
    assert spoilt("drop").close
    assert spoilt("half").pieces[0].data == good[: len(good) // 2]
    assert spoilt("echo").pieces[0].data == REQUEST + good
    garbage = spoilt("garbage", bytes=5).pieces[0].data
    assert (len(garbage), garbage[5:]) == (len(good) + 5, good)
    assert checked(spoilt("bad_crc").pieces[0].data) is None
    assert checked(spoilt("wrong_unit").pieces[0].data) == Frame(4, ANSWER.pdu)
    assert checked(spoilt("wrong_function").pieces[0].data) == Frame(3, bytes.fromhex("04024510"))
    assert checked(spoilt("exception", code=6).pieces[0].data) == Frame(3, bytes.fromhex("8306"))


def test_every_kind_of_fault_spoils() -> None:
    for kind in KINDS.keys() - UNSPOILT:  # these change the device, not what goes over the wire
        assert spoilt(kind) != Spoilt((Piece(0.0, rtu(ANSWER)),))


def test_faults_end_by_time_and_by_count() -> None:
    clock = Clock()
    ward = Ward(clock)
    ward.inflict("1.a", Fault("silent", until=110.0))
    ward.inflict("1.b", Fault("half", left=2))
    assert ward.take("1.a") and ward.take("1.b") and ward.take("1.b")
    assert ward.take("1.b") is None
    clock.now = 110.0
    assert ward.take("1.a") is None
    ward.inflict("1.a", Fault("silent"))
    assert ward.heal("1.a")
    assert not ward.heal("1.a")


@pytest.mark.parametrize(("percent", "answer"), [(100, "8404"), (40, "0404012c01f4")])
def test_a_unit_that_is_silent_now_and_then_answers_rightly_otherwise(percent: int, answer: str) -> None:
    here = world()
    here.faults.inflict("1.th", Fault("silent", percent=percent))
    given = units(here).answer(Frame(7, bytes.fromhex("0400010002")))
    assert given
    assert given.pdu.hex() == answer


def test_a_loose_contact_is_open_and_closed_in_turn() -> None:
    clock = Clock()
    ward = Ward(clock)
    ward.inflict("1.a", Fault("loose", ms=500))
    met = []
    for clock.now in (100.2, 100.4, 100.6, 100.9, 101.1):
        met.append(ward.take("1.a") is not None)
    assert met == [False, False, True, True, False]
