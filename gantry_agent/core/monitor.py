"""From what devices say to what is true of the cabinets: (watch, message) → (watch, events).

Holds the rules of D20 (a field nobody has read is NoData; a device that missed too often has status 0 and GetFailed;
what nothing gives is NotSupport), the fields that no device reports (change times, doors: `doors`), and the list of
differences that are events (PROTOCOL §2). Knows no bus, no profile, no clock: `at` is Unix seconds, `mono` monotonic.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from gantry_agent.core.doors import DoorState, Grant, UnlockType, allow, observe
from gantry_agent.model import (
    GET_FAILED,
    NO_DATA,
    NOT_SUPPORT,
    Answered,
    Cabinet,
    Event,
    Missed,
    Quality,
    Reading,
    Role,
    Site,
    Snapshot,
)
from gantry_agent.vocabulary import CABINET, COMPUTER, MEMBERS, WARNING_FIELD, Shape

Fields = frozenset[tuple[Role, str]]
Side = Literal["front", "back"]
SIDES: tuple[Side, Side] = ("front", "back")

_ALARM: Mapping[str, object] = MappingProxyType({"status": 0, "isWarning": 1})  # worth an event even as a first reading
_TEXTS = frozenset(WARNING_FIELD.values())


@dataclass(frozen=True, slots=True)
class Layout:
    """Which device gives which fields; built once with the site."""

    filled: Mapping[str, Fields]  # by device key
    misses: int

    def givers(self, role: Role) -> tuple[str, ...]:
        return tuple(device for device, fields in self.filled.items() if any(r == role for r, _ in fields))


@dataclass(frozen=True, slots=True)
class Watch:
    """Everything known at one instant, by cabinet, with what is needed to judge the next message."""

    layout: Layout
    snapshots: Mapping[int, Snapshot]
    misses: Mapping[str, int]  # consecutive, by device
    statuses: Mapping[tuple[Role, str], Reading]  # what each giver says of the role's status
    givers: Mapping[Role, tuple[str, ...]]
    detected: Mapping[Role, Reading] = field(default_factory=dict)  # last change of each detector's isWarning
    doors: Mapping[tuple[int, Side], DoorState] = field(default_factory=dict)
    defended: frozenset[int] = frozenset()  # cabinets in defence mode

    def is_lost(self, device: str) -> bool:
        return self.misses.get(device, 0) >= self.layout.misses


def begin(site: Site, layout: Layout) -> Watch:
    """Build the watch before anything was read: NoData where a device will give the field, NotSupport elsewhere."""
    given = {key for fields in layout.filled.values() for key in fields}
    roles = {role for role, _ in given}
    snapshots = {c.number: _blank_cabinet(c, roles, given) for c in site.cabinets}
    snapshots[0] = _blank_computers(site, given)
    every = {role for snapshot in snapshots.values() for role in snapshot.entries}
    return Watch(layout, snapshots, {}, {}, {role: layout.givers(role) for role in every})


def _blank(role: Role, given: set[tuple[Role, str]]) -> dict[str, Reading]:
    return {name: NO_DATA if (role, name) in given else NOT_SUPPORT for name in MEMBERS[role.member].fields}


def _blank_cabinet(cabinet: Cabinet, roles: set[Role], given: set[tuple[Role, str]]) -> Snapshot:
    number = cabinet.number
    mine = {role for role in roles if role.cabinet == number}
    mine |= {Role(number, member.name) for member in CABINET.values() if member.shape is Shape.SINGLE}
    entries = {role: _blank(role, given) for role in sorted(mine)}
    for role, readings in entries.items():
        if "warningChangeTime" in readings and (role, "isWarning") in given:
            readings["warningChangeTime"] = NO_DATA
    door = Role(number, "doors")
    for side in SIDES:
        if (door, f"{side}DoorClosed") in given:
            entries[door] |= dict.fromkeys((f"{side}DoorOpenIllegally", f"{side}DoorChangeTime"), NO_DATA)
        if (door, f"{side}DoorLocked") in given:
            entries[door] |= dict.fromkeys((f"{side}DoorUnlockType", f"{side}DoorUnlockCardId"), NO_DATA)
    if cabinet.doors or any(entries[door][f"{side}DoorClosed"] is NO_DATA for side in SIDES):
        entries[door]["defendMode"] = Reading(0)
    return Snapshot(number, entries)


def _blank_computers(site: Site, given: set[tuple[Role, str]]) -> Snapshot:
    entries = {}
    for computer in site.computers:
        role = Role(0, COMPUTER.name, computer.number)
        entries[role] = _blank(role, given) | {
            "isMonitorComputer": Reading(int(computer.monitor)),
            "isMainComputer": Reading(int(computer.main)),
        }
        if computer.ip:
            entries[role]["ip"] = Reading(computer.ip)
    return Snapshot(0, entries)


def absorb(watch: Watch, message: Answered | Missed, mono: float) -> tuple[Watch, tuple[Event, ...]]:
    """Take in one round of one device; return the new watch and what the cloud must hear of at once."""
    if isinstance(message, Missed):
        misses = watch.misses.get(message.device, 0) + 1
        watch = replace(watch, misses={**watch.misses, message.device: misses})
        if misses != watch.layout.misses:  # not lost yet, or lost already
            return watch, ()
        fields: Mapping[tuple[Role, str], Reading] = dict.fromkeys(watch.layout.filled[message.device], GET_FAILED)
        return _merge(watch, message.device, fields, message.at, mono)
    if watch.misses.get(message.device):
        watch = replace(watch, misses={**watch.misses, message.device: 0})
    return _merge(watch, message.device, message.fields, message.at, mono)


def grant_unlock(watch: Watch, cabinet: int, side: Side, until: float) -> Watch:
    """Note that an order is about to open this lock; it explains an opening up to `until` (monotonic, D21)."""
    key = (cabinet, side)
    state = allow(watch.doors.get(key, DoorState()), Grant(UnlockType.REMOTE, until))
    return replace(watch, doors={**watch.doors, key: state})


def _merge(
    watch: Watch, device: str, fields: Mapping[tuple[Role, str], Reading], at: float, mono: float
) -> tuple[Watch, tuple[Event, ...]]:
    by_role: dict[Role, dict[str, Reading]] = {}
    for (role, name), reading in fields.items():
        by_role.setdefault(role, {})[name] = reading
    events: list[Event] = []
    snapshots = dict(watch.snapshots)
    for role, readings in by_role.items():
        snapshot = snapshots[role.cabinet]
        before = snapshot.entries[role]
        if "status" in readings:
            said = replace(readings["status"], at=0.0)
            if said != watch.statuses.get((role, device)):
                watch = replace(watch, statuses={**watch.statuses, (role, device): said})
        if "status" in before:
            readings["status"] = _status(watch, role, at)
        watch, complete = _complete(watch, role, readings, at, mono)
        events += _events(role, before, complete, at)
        snapshots[role.cabinet] = replace(snapshot, entries={**snapshot.entries, role: {**before, **complete}})
    return replace(watch, snapshots=snapshots), tuple(events)


def _status(watch: Watch, role: Role, at: float) -> Reading:
    """Tell 1 only while every device of the role answers and calls itself normal (D20)."""
    givers = watch.givers[role]
    if any(watch.is_lost(device) for device in givers):
        return Reading(0, at=at)
    said = [watch.statuses[role, device] for device in givers if (role, device) in watch.statuses]
    good = [reading.value for reading in said if reading.quality is Quality.OK]
    if good:
        return Reading(int(all(good)), at=at)
    return said[0] if said else NO_DATA


def _complete(
    watch: Watch, role: Role, readings: dict[str, Reading], at: float, mono: float
) -> tuple[Watch, dict[str, Reading]]:
    """Add the fields that no device reports."""
    if role.member == "doors":
        for side in SIDES:
            watch, readings = _door(watch, role, side, readings, at, mono)
    elif "isWarning" in readings and "warningChangeTime" not in readings:
        watch, since = _since(watch, role, readings["isWarning"], at)
        readings["warningChangeTime"] = since
    return watch, readings


def _since(watch: Watch, role: Role, warning: Reading, at: float) -> tuple[Watch, Reading]:
    """Tell since when a detector has been in its state; one that was lost and is back unchanged did not change."""
    known = watch.detected.get(role)
    if warning.quality is Quality.OK and (known is None or known.value != warning.value):
        known = warning
        watch = replace(watch, detected={**watch.detected, role: warning})
    return watch, Reading(known.at, at=at) if known else NO_DATA


def _door(
    watch: Watch, role: Role, side: Side, readings: dict[str, Reading], at: float, mono: float
) -> tuple[Watch, dict[str, Reading]]:
    closed, locked = readings.get(f"{side}DoorClosed"), readings.get(f"{side}DoorLocked")
    if closed is None and locked is None:
        return watch, readings
    key = (role.cabinet, side)
    state = observe(
        watch.doors.get(key, DoorState()),
        closed=_bit(closed),
        locked=_bit(locked),
        defended=role.cabinet in watch.defended,
        at=at,
        mono=mono,
    )
    said = dict(readings)
    if closed is not None:
        fine = closed.quality is Quality.OK
        said.setdefault(f"{side}DoorOpenIllegally", Reading(int(state.illegal), at=at) if fine else closed)
        changed = NO_DATA if state.changed_at is None else Reading(state.changed_at, at=at)
        said.setdefault(f"{side}DoorChangeTime", changed)
    if locked is not None:
        fine = locked.quality is Quality.OK
        by = NO_DATA if state.unlocked_by is None else Reading(int(state.unlocked_by), at=at)
        said.setdefault(f"{side}DoorUnlockType", by if fine else locked)
        said.setdefault(f"{side}DoorUnlockCardId", Reading(state.card, at=at) if state.card else NO_DATA)
    return replace(watch, doors={**watch.doors, key: state}), said


def _bit(reading: Reading | None) -> bool | None:
    return bool(reading.value) if reading is not None and reading.quality is Quality.OK else None


def _events(role: Role, before: Mapping[str, Reading], readings: Mapping[str, Reading], at: float) -> Iterator[Event]:
    fields = MEMBERS[role.member].fields
    for name, after in readings.items():
        then = before[name]
        if fields[name].urgent and (then.value != after.value or then.quality is not after.quality):
            known = then.quality is Quality.OK and after.quality is Quality.OK
            if known or _is_alarm(name, after):
                yield Event(role, name, then, after, at)


def _is_alarm(name: str, reading: Reading) -> bool:
    if reading.quality is not Quality.OK:
        return False
    return bool(reading.value) if name in _TEXTS else reading.value == _ALARM.get(name, object())
