"""Readings that a device refuses, as the monitor sees them: no event is lost over them, and no alarm is over."""

from collections.abc import Sequence

import pytest

from gantry_agent.core.monitor import Layout, Watch, absorb, begin
from gantry_agent.model import (
    GET_FAILED,
    NOT_SUPPORT,
    Answered,
    Cabinet,
    Door,
    Event,
    Missed,
    Reading,
    Role,
    Site,
    Value,
)

DOORS, WATER, METER = Role(1, "doors"), Role(1, "waterloggingSensor"), Role(1, "elec")
IO = frozenset({(DOORS, "status"), (DOORS, "frontDoorClosed"), (DOORS, "frontDoorLocked"), (WATER, "isWarning")})
GIVEN = {
    "1.io": IO | {(WATER, "status")},
    "1.meter": frozenset({(METER, "status"), (METER, "voltage"), (METER, "warningMsg")}),
    "1.contact": frozenset({(METER, "status")}),
}


def start() -> Watch:
    site = Site("G1", "Asia/Shanghai", {}, {}, (Cabinet(1, tuple(GIVEN), {}, (Door("front"),)),), ())
    return begin(site, Layout(GIVEN, misses=3))


def said(device: str, *fields: tuple[Role, str, Value | Reading]) -> Answered:
    """What a device says; a Reading stands for itself."""
    read = {
        (role, name): value if isinstance(value, Reading) else Reading(value, at=1.0) for role, name, value in fields
    }
    return Answered(device, 1.0, read)


def run(watch: Watch, messages: Sequence[Answered | Missed]) -> tuple[Watch, list[Event]]:
    events: list[Event] = []
    for mono, message in enumerate(messages):
        watch, new = absorb(watch, message, float(mono))
        events += new
    return watch, events


def door(closed: Value | Reading, locked: Value | Reading) -> Answered:
    return said("1.io", (DOORS, "frontDoorClosed", closed), (DOORS, "frontDoorLocked", locked), (DOORS, "status", 1))


def water(warning: Value | Reading) -> Answered:
    return said("1.io", (WATER, "isWarning", warning), (WATER, "status", 1))


def test_a_door_forced_open_while_its_contact_was_refused_is_an_event_when_it_is_read_again() -> None:
    watch, events = run(start(), [door(1, 1), door(GET_FAILED, GET_FAILED)])
    assert not events
    watch, events = run(watch, [door(0, 1)])
    assert {(e.field, e.before.value, e.after.value) for e in events} == {
        ("frontDoorClosed", 1, 0),
        ("frontDoorOpenIllegally", 0, 1),
    }


@pytest.mark.parametrize(("before", "after"), [(1, 0), (0, 1)])
def test_water_that_came_or_went_while_it_was_refused_is_an_event_when_it_is_read_again(
    before: int, after: int
) -> None:
    watch, _ = run(start(), [water(before)])
    watch, events = run(watch, [water(GET_FAILED), water(GET_FAILED)])
    assert not events
    watch, events = run(watch, [water(after)])
    assert [(e.field, e.before.value, e.after.value) for e in events] == [("isWarning", before, after)]
    assert run(watch, [water(GET_FAILED), water(after)])[1] == []


def test_one_giver_that_cannot_tell_leaves_the_role_undecided_and_one_that_is_abnormal_decides() -> None:
    well, ill, refused = ((METER, "status", value) for value in (1, 0, GET_FAILED))
    watch, _ = run(start(), [said("1.meter", well, (METER, "voltage", 230.0)), said("1.contact", ill)])
    assert watch.snapshots[1].entries[METER]["status"].value == 0
    watch, events = run(watch, [said("1.contact", refused)])
    assert watch.snapshots[1].entries[METER]["status"].quality == "GetFailed"
    assert not events
    watch, _ = run(watch, [said("1.meter", ill, (METER, "voltage", 0.0))])
    assert watch.snapshots[1].entries[METER]["status"].value == 0


REFUSED = said(
    "1.meter", (METER, "status", GET_FAILED), (METER, "voltage", GET_FAILED), (METER, "warningMsg", GET_FAILED)
)
FINE = said("1.meter", (METER, "status", 1), (METER, "voltage", 230.0), (METER, "warningMsg", ""))


def test_a_device_that_refuses_everything_is_lost_like_one_that_is_silent() -> None:
    watch, events = run(start(), [FINE, REFUSED, REFUSED])
    assert watch.snapshots[1].entries[METER]["status"].quality == "GetFailed"
    assert not events
    watch, events = run(watch, [REFUSED, REFUSED])
    assert watch.is_lost("1.meter")
    assert [(e.field, e.after.value) for e in events] == [("status", 0)]
    watch, events = run(watch, [FINE])
    assert [(e.field, e.after.value) for e in events] == [("status", 1)]


def test_a_device_that_refuses_a_part_is_not_lost() -> None:
    part = said("1.meter", (METER, "warningMsg", GET_FAILED))
    watch, events = run(start(), [FINE, *[part] * 9])
    assert not watch.is_lost("1.meter")
    assert not events
    lacking = said("1.meter", (METER, "status", 1), (METER, "voltage", NOT_SUPPORT))
    assert not run(watch, [*[lacking] * 9])[0].is_lost("1.meter")


def test_refusals_and_silence_count_together() -> None:
    watch, events = run(start(), [FINE, REFUSED, Missed("1.meter", 2.0, "x"), REFUSED])
    assert watch.is_lost("1.meter")
    assert [(e.field, e.after.value) for e in events] == [("status", 0)]
