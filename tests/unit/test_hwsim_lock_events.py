"""What the simulated Shengjiu lock says unasked, byte by byte from the tables §7.1."""

import binascii

from hwsim.faults import Fault
from hwsim.plant.orders import Energise, Handle
from hwsim.site import build
from hwsim.wires.spoken import Talkers
from hwsim.world import World

SITE = {
    "buses": {"line": {"type": "serial", "port": "/nowhere"}},
    "cabinets": [
        {
            "id": 1,
            "devices": {"lock": {"profile": "shengjiu-lock", "bus": "line", "unit": 9}},
            "outputs": {"back-lock": {"device": "lock", "point": "unlocked"}},
            "doors": {"back": {"unlock": "back-lock"}},
        }
    ],
}


def a_lock() -> tuple[World, Talkers]:
    world = World(build(SITE), lambda: 0.0)
    return world, Talkers(world, {9: world.site.devices["1.lock"]})


def signal(frame: bytes) -> int:
    assert frame[:1] == frame[-1:] == frame[-2:-1] == b"\x7e"
    assert int.from_bytes(frame[-4:-2], "big") == binascii.crc_hqx(frame[1:-4], 0)
    assert frame[2] == 9  # who says it
    return int.from_bytes(frame[7:9], "big")


def test_nothing_is_said_while_nothing_moves():
    _, talkers = a_lock()
    assert talkers.unasked
    assert talkers.news() == []


def test_an_opening_and_a_closing_are_said_once_each():
    world, talkers = a_lock()
    world.command(1, (Energise("back", on=True), Handle("back", "pull")))
    assert [signal(frame) for frame in talkers.news()] == [0xA5]
    assert talkers.news() == []
    world.command(1, (Handle("back", "close"),))
    assert [signal(frame) for frame in talkers.news()] == [0xA6]


def test_a_forced_door_is_opened_abnormally_and_another_door_is_not_its_own():
    world, talkers = a_lock()
    world.command(1, (Handle("front", "force"),))
    assert talkers.news() == []
    world.command(1, (Handle("back", "force"),))
    assert [signal(frame) for frame in talkers.news()] == [0xA9]


def test_a_silent_lock_says_nothing_of_its_own_accord_either():
    world, talkers = a_lock()
    world.faults.inflict("1.lock", Fault("silent"))
    world.command(1, (Handle("back", "force"),))
    assert talkers.news() == []
