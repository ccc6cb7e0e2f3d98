"""The monitor: D20, status over several givers, change times, and which differences are events."""

from gantry_agent.core import monitor
from gantry_agent.core.monitor import Layout, absorb, begin
from gantry_agent.model import (
    GET_FAILED,
    NO_DATA,
    NOT_SUPPORT,
    Answered,
    Cabinet,
    Computer,
    Door,
    Missed,
    Quality,
    Reading,
    Role,
    Site,
)

ELEC, DOORS, WATER = Role(1, "elec", 1), Role(1, "doors"), Role(1, "waterloggingSensor")
METER = frozenset({(ELEC, "status"), (ELEC, "voltage"), (ELEC, "warningMsg")})
IO = frozenset(
    {
        (DOORS, "status"),
        (DOORS, "frontDoorClosed"),
        (DOORS, "frontDoorLocked"),
        (WATER, "status"),
        (WATER, "isWarning"),
    }
)


def site() -> Site:
    return Site(
        gantry_id="G1",
        timezone="Asia/Shanghai",
        buses={},
        devices={},
        cabinets=(Cabinet(1, ("1.meter", "1.io"), {}, (Door("front", None),)),),
        computers=(Computer(1, True, False, "10.0.0.1"),),
    )


def start(**more) -> monitor.Watch:
    return begin(site(), Layout({"1.meter": METER, "1.io": IO, **more}, misses=3))


def said(device, at=1.0, **values):
    """Fields as `elec_voltage=…`."""
    fields = {}
    for name, value in values.items():
        member, _, field = name.partition("_")
        role = {"elec": ELEC, "doors": DOORS, "water": WATER}[member]
        fields[role, field] = Reading(value, at=at)
    return Answered(device, at, fields)


def run(watch, *messages):
    events = []
    for i, message in enumerate(messages):
        watch, new = absorb(watch, message, mono=float(i))
        events += new
    return watch, events


def entry(watch, role):
    return watch.snapshots[role.cabinet].entries[role]


def test_before_anything_is_read_a_field_is_no_data_and_what_nothing_gives_is_not_supported():
    fields = entry(start(), ELEC)
    assert fields["voltage"] == NO_DATA
    assert fields["current"] == NOT_SUPPORT
    assert entry(start(), Role(1, "smokeSensor"))["isWarning"] == NOT_SUPPORT
    assert entry(start(), DOORS)["frontDoorOpenIllegally"] == NO_DATA
    assert entry(start(), DOORS)["backDoorClosed"] == NOT_SUPPORT
    assert entry(start(), DOORS)["defendMode"].value == 0


def test_a_device_that_missed_three_times_has_status_0_and_no_stale_values_and_comes_back():
    watch, _ = run(start(), said("1.meter", elec_status=1, elec_voltage=231.5, elec_warningMsg=""))
    watch, events = run(watch, Missed("1.meter", 2.0, "x"), Missed("1.meter", 3.0, "x"))
    assert entry(watch, ELEC)["voltage"].value == 231.5
    assert not events
    watch, events = run(watch, Missed("1.meter", 4.0, "x"), Missed("1.meter", 5.0, "x"))
    assert entry(watch, ELEC)["voltage"] == GET_FAILED
    assert entry(watch, ELEC)["status"].value == 0
    assert [e.field for e in events] == ["status"]
    watch, events = run(watch, said("1.meter", elec_status=1, elec_voltage=230.0, elec_warningMsg=""))
    assert entry(watch, ELEC)["voltage"].value == 230.0
    assert entry(watch, ELEC)["status"].value == 1
    assert [(e.field, e.after.value) for e in events] == [("status", 1)]


def test_one_answer_between_misses_begins_the_count_anew():
    answer = said("1.meter", elec_status=1, elec_voltage=1.0, elec_warningMsg="")
    miss = Missed("1.meter", 2.0, "x")
    watch, events = run(start(), answer, miss, miss, answer, miss, miss)
    assert entry(watch, ELEC)["status"].value == 1
    assert not events


def test_two_devices_of_one_role_are_normal_only_together():
    contact = frozenset({(ELEC, "status"), (ELEC, "frequency")})
    watch, _ = run(
        start(**{"1.contact": contact}),
        said("1.meter", elec_status=1, elec_voltage=1.0, elec_warningMsg=""),
        said("1.contact", elec_status=0, elec_frequency=50.0),
    )
    assert entry(watch, ELEC)["status"].value == 0
    watch, _ = run(watch, said("1.contact", elec_status=1, elec_frequency=50.0))
    assert entry(watch, ELEC)["status"].value == 1
    watch, _ = run(watch, *[Missed("1.contact", 9.0, "x")] * 3)
    assert entry(watch, ELEC)["status"].value == 0
    assert entry(watch, ELEC)["voltage"].value == 1.0
    assert entry(watch, ELEC)["frequency"] == GET_FAILED


def test_alarm_texts_are_events_when_they_come_and_go_but_measurements_are_not():
    watch, events = run(start(), said("1.meter", elec_status=1, elec_voltage=231.0, elec_warningMsg=""))
    assert not events
    watch, events = run(watch, said("1.meter", 2.0, elec_status=1, elec_voltage=140.0, elec_warningMsg="输入欠压"))
    assert [(e.field, e.after.value) for e in events] == [("warningMsg", "输入欠压")]
    watch, events = run(watch, said("1.meter", 3.0, elec_status=1, elec_voltage=231.0, elec_warningMsg=""))
    assert [(e.field, e.after.value) for e in events] == [("warningMsg", "")]


def test_an_alarm_in_the_first_reading_is_an_event():
    _, events = run(start(), said("1.io", water_status=1, water_isWarning=1))
    assert [(e.role, e.field) for e in events] == [(WATER, "isWarning")]


def test_the_change_time_of_a_detector_is_when_its_alarm_changed_not_when_it_was_lost():
    watch, _ = run(start(), said("1.io", 10.0, water_status=1, water_isWarning=0))
    watch, _ = run(watch, said("1.io", 20.0, water_status=1, water_isWarning=1))
    watch, _ = run(watch, said("1.io", 30.0, water_status=1, water_isWarning=1))
    assert entry(watch, WATER)["warningChangeTime"].value == 20.0
    watch, _ = run(watch, *[Missed("1.io", 40.0, "x")] * 3)
    assert entry(watch, WATER)["isWarning"] == GET_FAILED
    assert entry(watch, WATER)["warningChangeTime"].value == 20.0
    watch, _ = run(watch, said("1.io", 50.0, water_status=1, water_isWarning=1))
    assert entry(watch, WATER)["warningChangeTime"].value == 20.0


def test_a_remote_unlocking_explains_the_opening_that_follows():
    watch, _ = run(start(), said("1.io", doors_status=1, doors_frontDoorClosed=1, doors_frontDoorLocked=1))
    watch = monitor.grant_unlock(watch, 1, "front", until=100.0)
    watch, events = run(watch, said("1.io", 5.0, doors_status=1, doors_frontDoorClosed=0, doors_frontDoorLocked=0))
    fields = entry(watch, DOORS)
    assert fields["frontDoorUnlockType"].value == 2
    assert fields["frontDoorOpenIllegally"].value == 0
    assert fields["frontDoorUnlockCardId"].quality is Quality.NO_DATA
    assert fields["frontDoorChangeTime"].value == 5.0
    assert {e.field for e in events} == {"frontDoorClosed", "frontDoorLocked", "frontDoorUnlockType"}


def test_a_forced_door_is_illegal_and_an_event():
    watch, _ = run(start(), said("1.io", doors_status=1, doors_frontDoorClosed=1, doors_frontDoorLocked=1))
    _, events = run(watch, said("1.io", 5.0, doors_status=1, doors_frontDoorClosed=0, doors_frontDoorLocked=1))
    assert {(e.field, e.after.value) for e in events} == {("frontDoorClosed", 0), ("frontDoorOpenIllegally", 1)}


def test_what_the_site_file_says_of_a_computer_is_in_its_entry_from_the_start():
    fields = entry(start(), Role(0, "computerStatus", 1))
    assert (fields["isMonitorComputer"].value, fields["isMainComputer"].value, fields["ip"].value) == (1, 0, "10.0.0.1")


def test_a_card_number_from_the_controller_makes_the_unlocking_a_cards():
    card = frozenset({*IO, (DOORS, "frontDoorUnlockCardId")})
    closed = {"doors_status": 1, "doors_frontDoorClosed": 1, "doors_frontDoorLocked": 1}
    watch, _ = run(begin(site(), Layout({"1.io": card}, misses=3)), said("1.io", **closed))
    watch, _ = run(
        watch, said("1.io", 5.0, **{**closed, "doors_frontDoorLocked": 0, "doors_frontDoorUnlockCardId": "42"})
    )
    fields = entry(watch, DOORS)
    assert (fields["frontDoorUnlockType"].value, fields["frontDoorUnlockCardId"].value) == (1, "42")


def test_the_defence_mode_is_an_event_and_tells_when_siren_and_beacon_are_due():
    watch, _ = run(start(), said("1.io", doors_status=1, doors_frontDoorClosed=1, doors_frontDoorLocked=1))
    watch, events = monitor.defend(watch, 1, on=True, at=2.0)
    assert [(e.field, e.after.value) for e in events] == [("defendMode", 1)]
    assert monitor.defend(watch, 1, on=True, at=2.0)[1] == ()
    assert monitor.sounding(watch) == frozenset()
    watch, _ = run(watch, said("1.io", 3.0, doors_status=1, doors_frontDoorClosed=0, doors_frontDoorLocked=1))
    assert monitor.sounding(watch) == {1}
    over, _ = monitor.defend(watch, 1, on=False, at=4.0)
    assert monitor.sounding(over) == frozenset()
    assert entry(over, DOORS)["frontDoorOpenIllegally"].value == 1
    closed, _ = run(watch, said("1.io", 5.0, doors_status=1, doors_frontDoorClosed=1, doors_frontDoorLocked=1))
    assert monitor.sounding(closed) == frozenset()


def test_an_alarm_that_comes_back_after_it_could_not_be_read_is_no_new_one_and_its_end_is_an_event():
    watch, _ = run(start(), said("1.io", water_status=1, water_isWarning=1))
    gone = Answered("1.io", 2.0, {(WATER, "isWarning"): GET_FAILED, (WATER, "status"): Reading(1)})
    watch, events = run(watch, gone)
    assert not events
    _, events = run(watch, said("1.io", 3.0, water_status=1, water_isWarning=1))
    assert not events
    _, events = run(watch, said("1.io", 3.0, water_status=1, water_isWarning=0))
    assert [(e.field, e.before.value, e.after.value) for e in events] == [("isWarning", 1, 0)]
