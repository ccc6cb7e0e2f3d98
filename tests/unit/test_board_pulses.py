"""Pulses that a board times by itself: in the profile, as bytes on the wire, and as hwsim's boards keep them."""

import pytest

from gantry_agent.faults import ConfigFault
from gantry_agent.field import plan_writes
from gantry_agent.field import profile as profiles
from gantry_agent.field.framing import modbus, speech
from gantry_agent.field.request import PulseBit, WriteRegisters
from gantry_agent.model import BadReply, Device, DeviceRefused
from hwsim.devices.image import Illegal
from hwsim.devices.modules import RELAY_BOARD, Seen
from hwsim.plant.state import State
from hwsim.site import build
from hwsim.wires.modbus import Frame, Units
from hwsim.world import World

BOARD = profiles.load("waveshare-relay")
AT = Device("1.board", 1, "waveshare-relay", "line", 9, {})
ON_7 = PulseBit(1, 0x0200, 7)

PROFILE = """\
profile: timer
title: {zh: 定时板, en: timer board}
protocol: modbus
maturity: draft
sources: [{document: a, page: b}]
points:
  do0: {read: coil 0, write: coil 0, lane: fast, pulse: {on: holding 0x0010, step_ms: 500, most: 20}}
"""


def test_a_pulse_is_one_frame_whose_value_counts_tenths_of_a_second():
    # "Modbus RTU Relay", development protocol: 01 05 02 00 00 07 8D B0, relay 1 on for 7 × 100 ms
    assert speech.frame(ON_7) == bytes.fromhex("010502000007 8DB0")
    write = plan_writes.pulse(BOARD, AT, "do3", 1, 10.0)
    assert write.requests == (PulseBit(9, 0x0203, 100),)
    assert write.confirm is not None
    assert (write.confirm.point, write.confirm.expected) == ("do3", 1)
    assert plan_writes.pulse(BOARD, AT, "do3", 0, 0.01).requests == (PulseBit(9, 0x0403, 1),)  # and never none at all


def test_the_answer_repeats_the_frame_and_nothing_else_is_one():
    assert modbus.decode(ON_7, bytes.fromhex("0502000007")) == ()
    assert modbus.repeats_request(ON_7)
    for wrong in ("0502000008", "0502010007", "0500000007"):
        with pytest.raises(BadReply):
            modbus.decode(ON_7, bytes.fromhex(wrong))
    with pytest.raises(DeviceRefused) as refused:
        modbus.decode(ON_7, bytes.fromhex("8502"))
    assert refused.value.code == 2


@pytest.mark.parametrize(
    ("target", "value", "seconds"),
    [("do0", 1, 3277.0), ("di0", 1, 1.0), ("do9", 1, 1.0)],
)
def test_what_the_board_cannot_count_or_has_not_is_no_pulse(target: str, value: int, seconds: float):
    with pytest.raises(plan_writes.UnknownWrite):
        plan_writes.pulse(BOARD, AT, target, value, seconds)


def load(folder, text: str):
    (folder / "timer.yaml").write_text(text, encoding="utf-8")
    return profiles.load("timer", (folder,))


def test_a_register_takes_the_count_by_function_6_and_only_as_far_as_it_goes(tmp_path):
    timer, device = load(tmp_path, PROFILE), Device("1.t", 1, "timer", "line", 2, {})
    assert plan_writes.pulse(timer, device, "do0", 1, 3.0).requests == (WriteRegisters(2, 6, 0x10, (6,)),)
    for value, seconds in ((1, 11.0), (0, 1.0)):  # too long; no way to hold it off
        with pytest.raises(plan_writes.UnknownWrite):
            plan_writes.pulse(timer, device, "do0", value, seconds)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("on: holding 0x0010", "on: input 0x0010", "write coil|holding and the address"),
        ("on: holding 0x0010", "to: holding 0x0010", "there is no such key"),
        ("step_ms: 500", "step_ms: 0", "a whole number from 1 to 60000"),
        ("most: 20", "most: 70000", "a whole number from 1 to 65535"),
        (" write: coil 0,", "", "cannot be given without write"),
    ],
)
def test_a_faulty_pulse_is_told(tmp_path, old: str, new: str, said: str):
    with pytest.raises(ConfigFault) as caught:
        load(tmp_path, PROFILE.replace(old, new))
    assert any(said in fault.text.en for fault in caught.value.faults), caught.value.faults


# --- hwsim ----------------------------------------------------------------------------------------------------------


SITE = {
    "buses": {"io": {"type": "modbus-tcp", "host": "127.0.0.1"}},
    "cabinets": [
        {
            "id": 1,
            "devices": {
                "board": {"profile": "waveshare-relay", "bus": "io"},
                "cool": {"profile": "envicool-cabinet-ac", "bus": "io", "unit": 2},
                "cool-2": {"profile": "envicool-cabinet-ac", "bus": "io", "unit": 3},
            },
            "outputs": {
                "router": {"device": "board", "point": "do0"},
                "air-1": {"device": "board", "point": "do1"},
                "air-2": {"device": "board", "point": "do2"},
                "spare": {"device": "board", "point": "do3"},
            },
        }
    ],
    "relays": [{"ip": "10.0.0.1", "port": 1, "output": "1.router"}, {"ip": "10.0.0.1", "port": 2, "host": True}],
    "power_modes": {1: ["air-1", "air-2"]},
}


@pytest.fixture
def world() -> World:
    return World(build(SITE), lambda: 0.0)


def ask(world: World, pdu: str) -> str:
    units = Units(world, {1: world.site.devices["1.board"]})
    answer = units.answer(Frame(1, bytes.fromhex(pdu)))
    assert answer is not None
    return answer.pdu.hex()


def supply(world: World, name: str = "router"):
    return world.plants[1].supplies[name]


def test_what_relays_and_modes_name_is_a_supply_and_mode_1_is_the_air_conditioners(world: World):
    assert {name: one.air for name, one in world.plants[1].supplies.items()} == {
        "router": (),
        "air-1": (0,),
        "air-2": (1,),
    }
    one = {**SITE, "power_modes": {1: ["air-1"]}}
    assert World(build(one), lambda: 0.0).plants[1].supplies["air-1"].air == (0, 1)


@pytest.mark.parametrize(
    ("feeds", "units"), [("airConditioners", (0, 1)), ({"airConditioners": [2]}, (1,)), ({"airConditioners": 1}, (0,))]
)
def test_feeds_says_which_air_conditioners_an_output_cuts_off_be_it_listed_or_not(feeds: object, units: tuple):
    cabinet = SITE["cabinets"][0]
    spare = {**cabinet["outputs"]["spare"], "feeds": feeds}
    outputs = {**cabinet["outputs"], "spare": spare, "router": {**cabinet["outputs"]["router"], "feeds": "uplink"}}
    fed = World(build({**SITE, "cabinets": [{**cabinet, "outputs": outputs}]}), lambda: 0.0).plants[1].supplies
    assert (fed["spare"].air, fed["router"].air) == (units, ())


def test_a_flash_cuts_the_supply_until_the_boards_own_clock_ends_it(world: World):
    assert ask(world, "050200001E") == "050200001e"
    assert (supply(world).on, supply(world).cuts) == (False, 1)
    assert ask(world, "0100000001") == "010101"
    world.advance(2.9)
    assert not supply(world).on
    world.advance(0.1)
    assert (supply(world).on, supply(world).last_cut_s) == (True, 3.0)
    assert ask(world, "0100000001") == "010100"


def test_a_newer_write_takes_the_place_of_a_flash(world: World):
    ask(world, "050200001E")
    ask(world, "050000FF00")
    world.advance(5.0)
    assert not supply(world).on
    ask(world, "0504000005")  # off for half a second, then on again
    assert supply(world).on
    world.advance(0.6)
    assert not supply(world).on


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        ("0502080007", "8502"),
        ("0500000007", "8502"),
        ("0502008000", "8503"),
        ("050200FF00", "8502"),
        ("0504080007", "8502"),
    ],
)
def test_a_flash_of_nothing_is_refused(world: World, pdu: str, answer: str):
    assert ask(world, pdu) == answer


def test_the_board_itself_knows_eight_relays():
    assert RELAY_BOARD.flash is not None
    assert RELAY_BOARD.flash(Seen(State()), 0x0207, 1).memory == {7: 1}
    with pytest.raises(Illegal):
        RELAY_BOARD.flash(Seen(State()), 0x0208, 1)


def test_a_board_that_ignores_acknowledges_and_does_nothing(world: World):
    from hwsim.faults import Fault

    world.faults.inflict("1.board", Fault("ignore"))
    assert ask(world, "050000FF00") == "050000ff00"
    assert ask(world, "0502000007") == "0502000007"
    assert supply(world).on


def test_an_air_conditioner_without_supply_stops_and_a_power_cycled_board_lets_go(world: World):
    world.advance(1.0)
    ask(world, "050001FF00")
    world.advance(1.0)
    assert [unit.fan for unit in world.plants[1].air] == [False, True]
    ask(world, "050200001E")
    world.power_cycle("1.board")
    world.advance(5.0)
    assert [unit.fan for unit in world.plants[1].air] == [True, True]
    assert supply(world).on
