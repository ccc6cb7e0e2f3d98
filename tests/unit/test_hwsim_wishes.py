"""What people may ask of a running simulation: every key works, every mistake is told with what would be valid."""

import pytest

from hwsim import scene, wishes
from hwsim.site import build
from hwsim.world import World

SITE = {
    "buses": {
        "line": {"type": "serial", "port": "/nowhere"},
        "io": {"type": "modbus-tcp", "host": "127.0.0.1"},
        "net": {"type": "snmp", "host": "127.0.0.1"},
    },
    "computers": [{"id": 2, "source": "snmp", "bus": "net"}],
    "cabinets": [
        {
            "id": number,
            "devices": {
                "meter": {"profile": "chint-dtsu666", "bus": "line", "unit": 10 + number},
                "cool": {"profile": "envicool-cabinet-ac", "bus": "line", "unit": 20 + number},
                "spd": {"profile": "renda-spd", "bus": "line", "unit": 30 + number},
                "power": {"profile": "huawei-site-monitor", "bus": "net"},
                "io": {"profile": "moxa-iologik-e1212", "bus": "io", "unit": number},
            },
        }
        for number in (1, 2)
    ],
}


@pytest.fixture
def world() -> World:
    return World(build(SITE), lambda: 0.0)


def test_every_word_for_the_plant_changes_it(world: World) -> None:
    bodies = {
        "mains": False,
        "rectifier_rows": [3, 0],
        "frequency_hz": 49,
        "phase": {"L1": 240, "L3": 0},
        "phases": 1,
        "door": {"front": "open", "back": "key"},
        "strike": {"number": 1, "count": 3},
        "battery_test": "short",
        "rectifier": {"number": 2, "fault": True},
        "aircon": {"fault": True, "cool_on_c": 30},
        "spd": {"status": False},
        "water": True,
        "smoke": True,
        "battery_fuse": False,
        "ups_replace": True,
    }
    for key in wishes.PLANT:
        before = world.plants[1]
        wishes.plant(world, {"cabinet": 1, key: bodies.get(key, 20)})
        assert world.plants[1] != before, key


def test_a_wish_is_for_the_cabinet_it_names(world: World) -> None:
    wishes.plant(world, {"cabinet": 2, "mains": False, "strike": 1})
    assert world.plants[1].spds[0].strikes == 0
    assert world.plants[2].spds[0].strikes == 1
    assert world.plants[2].dc.battery.mode == "discharge"
    wishes.plant(world, {"smoke": True})
    assert world.plants[1].smoke


def test_a_computer_is_changed_by_its_number(world: World) -> None:
    wishes.plant(world, {"computer": 2, "cpu": 93, "data_disk": 97.5})
    host = world.hosts["computer 2"]
    assert (host.cpu_percent, host.data_disk_percent) == (93.0, 97.5)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"mainz": False}, "cannot change mainz; valid: cabinet, computer, aircon, battery_c"),
        ({"mains": "off"}, "cannot set mains to 'off': true or false"),
        ({"cabinet": 3, "mains": True}, "cannot change cabinet 3; valid: 1, 2"),
        ({"cabinet": [1], "mains": True}, "cannot change cabinet"),
        ({"load_a": -1}, "a number from 0 to 200"),
        ({"load_a": True}, "a number from 0 to 200"),
        ({"phase": {"L4": 0}}, "valid: L1, L2, L3"),
        ({"phases": 2}, "valid: 1, 3"),
        ({"door": {"front": "ajar"}}, "valid: open, forced, pull, closed, key"),
        ({"door": {"front": ["open"]}}, "valid: open, forced"),
        ({"door": "open"}, "a mapping with keys of front, back"),
        ({"strike": {"number": 2}}, "the cabinet has 1"),
        ({"aircon": {"colour": 1}}, "cannot use aircon.colour; valid: number, fault, on, cool_on_c, heat_on_c"),
        ({"battery_test": "long"}, "valid: standard, short, stop"),
        ({"computer": 1, "cpu": 2}, "cannot change computer 1; valid: computer 2"),
        ({"computer": 2, "gpu": 2}, "valid: cpu, memory"),
        ([], "a JSON object"),
    ],
)
def test_a_mistaken_wish_is_told_what_is_valid(world: World, body: object, complaint: str) -> None:
    before = world.plants[1]
    with pytest.raises(wishes.WishFault, match=complaint.replace("(", r"\(")):
        wishes.plant(world, body)
    assert world.plants[1] == before


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"device": "1.metre", "kind": "silent"}, "cannot find device '1.metre'; valid: 1.meter"),
        ({"device": "1.meter", "kind": "deaf"}, "cannot inflict 'deaf' on 1.meter, which is on serial; valid: babble"),
        ({"device": ["1.meter"], "kind": "silent"}, "cannot find device"),
        ({"device": "1.meter", "kind": ["silent"]}, "cannot inflict"),
        ({"device": "1.io", "kind": "bad_crc"}, "which is on modbus-tcp; valid: clamp, delay, drop"),
        ({"device": "1.power", "kind": "echo"}, "which is on snmp"),
        ({"device": "1.meter", "kind": "silent", "minutes": 1}, "cannot use minutes; valid: device, kind, seconds"),
        ({"device": "1.meter", "kind": "silent", "count": 0}, "a number from 1"),
        ("silent", "a JSON object"),
    ],
)
def test_a_mistaken_fault_is_told_what_is_valid(world: World, body: object, complaint: str) -> None:
    with pytest.raises(wishes.WishFault, match=complaint):
        wishes.fault(world, body, 0.0)


def test_a_fault_is_inflicted_with_its_numbers(world: World) -> None:
    body = {"device": "1.meter", "kind": "late", "seconds": 5, "count": 2, "ms": 700}
    wishes.fault(world, body, 10.0)
    fault = world.faults.of("1.meter")
    assert fault
    assert (fault.kind, fault.until, fault.left, fault.ms) == ("late", 15.0, 2, 700)


def test_every_scene_can_be_played(world: World) -> None:
    assert scene.names() == ("calm", "mains-failure", "storm")
    for name in scene.names():
        played = scene.load(name)
        assert played.title
        assert [cue.at_s for cue in played.cues] == sorted(cue.at_s for cue in played.cues)
        for cue in played.cues:
            assert cue.target in ("plant", "fault")
            wishes.plant(world, {"cabinet": 1, **cue.body})


def test_an_unknown_scene_lists_the_known() -> None:
    with pytest.raises(scene.SceneFault, match="valid: calm, mains-failure, storm"):
        scene.load("earthquake")
