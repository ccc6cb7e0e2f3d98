"""From what devices say to what is true of the cabinets: (watch, message) → (watch, events).

Holds the rules of D20 (a field nobody has read is NoData; a device that missed too often has status 0 and GetFailed;
what nothing gives is NotSupport), the fields that no device reports (change times; doors: `doors`; alarms that the
site declares: `alarms`), and the list of differences that are events (PROTOCOL §2): between what a field is and what
it last was, be that before it could not be read, or before the start (`Past`). Knows no bus, no profile, no clock:
`at` is Unix seconds, `mono` monotonic.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from gantry_agent.core import alarms
from gantry_agent.core.doors import DoorState, Grant, UnlockType, allow, disarm, observe, present
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
    Threshold,
    Value,
)
from gantry_agent.vocabulary import CABINET, COMPUTER, MEMBERS, WARNING_FIELD, Shape

Fields = frozenset[tuple[Role, str]]
Side = Literal["front", "back"]
SIDES: tuple[Side, Side] = ("front", "back")

_ALARM: Mapping[str, object] = MappingProxyType({"status": 0, "isWarning": 1})  # worth an event even as a first reading


@dataclass(frozen=True, slots=True)
class Past:
    """What was known before the start, and the cloud was told (`told`)."""

    fields: Mapping[tuple[Role, str], Value] = field(default_factory=dict)
    alarms: frozenset[str] = frozenset()  # names of the thresholds that were raised


NO_PAST = Past()


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
    known: Mapping[tuple[Role, str], Value] = field(default_factory=dict)  # last values of the fields that are pushed
    standing: Mapping[Threshold, alarms.Standing] = field(default_factory=dict)
    texts: Mapping[Role, Reading] = field(default_factory=dict)  # a role's alarm texts as its device says them
    windows: Mapping[int, float] = field(default_factory=dict)  # how long a card explains a lock, by cabinet (D21)

    def is_lost(self, device: str) -> bool:
        return self.misses.get(device, 0) >= self.layout.misses


def begin(site: Site, layout: Layout, past: Past = NO_PAST, defended: frozenset[int] = frozenset()) -> Watch:
    """Build the watch before anything was read: NoData where a device will give the field, NotSupport elsewhere."""
    given = {key for fields in layout.filled.values() for key in fields}
    declared = [threshold for cabinet in site.cabinets for threshold in cabinet.alarms]
    given |= {(t.role, WARNING_FIELD[t.role.member]) for t in declared if t.role.member in WARNING_FIELD}
    roles = {role for role, _ in given}
    snapshots = {c.number: _blank_cabinet(c, roles, given) for c in site.cabinets}
    snapshots[0] = _blank_computers(site, given)
    every = {role for snapshot in snapshots.values() for role in snapshot.entries}
    known = {
        (role, name): value
        for (role, name), value in past.fields.items()
        if role in every and MEMBERS[role.member].fields[name].urgent
    }
    watch = Watch(
        layout,
        snapshots,
        misses={},
        statuses={},
        givers={role: layout.givers(role) for role in every},
        detected=_detected_before(past, every),
        doors={
            (c.number, side): _door_before(past, c.number, side, defended=c.number in defended)
            for c in site.cabinets
            for side in SIDES
        },
        known=known,
        standing={t: alarms.RAISED if alarms.name(t) in past.alarms else alarms.QUIET for t in declared},
        windows={cabinet.number: cabinet.unlock_window_s for cabinet in site.cabinets},
    )
    for number in defended & snapshots.keys():
        watch, _ = defend(watch, number, on=True, at=0.0)
    return watch


def _detected_before(past: Past, every: set[Role]) -> dict[Role, Reading]:
    found = {}
    for role in every:
        warning, since = past.fields.get((role, "isWarning")), past.fields.get((role, "warningChangeTime"))
        if warning is not None and isinstance(since, int | float):
            found[role] = Reading(warning, at=since)
    return found


def _door_before(past: Past, cabinet: int, side: Side, *, defended: bool) -> DoorState:
    """Take a door up where the last run left it: an opening that was illegal is so until the door is closed."""

    def was(name: str) -> Value | None:
        return past.fields.get((Role(cabinet, "doors"), f"{side}Door{name}"))

    def bit(name: str) -> bool | None:
        value = was(name)
        return None if value is None else bool(value)

    kind, card, changed = was("UnlockType"), was("UnlockCardId"), was("ChangeTime")
    illegal = bool(was("OpenIllegally"))
    return DoorState(
        closed=bit("Closed"),
        locked=bit("Locked"),
        unlocked_by=_unlock_type(kind),
        card=str(card) if card else None,
        illegal=illegal,
        sounding=illegal and defended and bool(past.fields.get((Role(cabinet, "doors"), "defendMode"))),
        changed_at=changed if isinstance(changed, int | float) else None,
        presented=str(card) if card else None,
    )


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
    events: tuple[Event, ...] = ()
    if isinstance(message, Answered):
        useful = not _refuses_all(watch, message)
        if useful and watch.misses.get(message.device):
            watch = replace(watch, misses={**watch.misses, message.device: 0})
        watch, events = _merge(watch, message.device, message.fields, message.at, mono)
        if useful:
            return watch, events
    misses = watch.misses.get(message.device, 0) + 1
    watch = replace(watch, misses={**watch.misses, message.device: misses})
    if misses != watch.layout.misses:  # not lost yet, or lost already
        return watch, events
    fields: Mapping[tuple[Role, str], Reading] = dict.fromkeys(watch.layout.filled[message.device], GET_FAILED)
    watch, more = _merge(watch, message.device, fields, message.at, mono)
    return watch, events + more


def _refuses_all(watch: Watch, message: Answered) -> bool:
    """Tell whether a device answers only that it cannot, here and wherever else it was asked: as good as silent."""
    qualities = {reading.quality for reading in message.fields.values()}
    if Quality.OK in qualities or Quality.GET_FAILED not in qualities:
        return False
    for role, name in watch.layout.filled[message.device] - message.fields.keys():
        known = watch.snapshots[role.cabinet].entries[role][name]
        if name == "status":  # the role's, of which others may have a say
            known = watch.statuses.get((role, message.device), NO_DATA)
        if known.quality is Quality.OK:
            return False
    return True


def grant_unlock(watch: Watch, cabinet: int, side: Side, until: float, card: str | None = None) -> Watch:
    """Note that an order, or a card, is about to open this lock: it explains an opening up to `until` (D21)."""
    key = (cabinet, side)
    by = UnlockType.REMOTE if card is None else UnlockType.CARD
    state = allow(watch.doors.get(key, DoorState()), Grant(by, until, card))
    return replace(watch, doors={**watch.doors, key: state})


def defend(watch: Watch, cabinet: int, *, on: bool, at: float) -> tuple[Watch, tuple[Event, ...]]:
    """Set the defence mode of a cabinet's doors (D22)."""
    role = Role(cabinet, "doors")
    snapshot = watch.snapshots[cabinet]
    before, after = snapshot.entries[role]["defendMode"], Reading(int(on), at=at)
    entries = {**snapshot.entries, role: {**snapshot.entries[role], "defendMode": after}}
    doors = watch.doors if on else {k: disarm(s) if k[0] == cabinet else s for k, s in watch.doors.items()}
    changed = replace(
        watch,
        snapshots={**watch.snapshots, cabinet: replace(snapshot, entries=entries)},
        defended=watch.defended | {cabinet} if on else watch.defended - {cabinet},
        doors=doors,
        known={**watch.known, (role, "defendMode"): int(on)},
    )
    return changed, () if before.value == after.value else (Event(role, "defendMode", before, after, at),)


def sounding(watch: Watch) -> frozenset[int]:
    """List the cabinets whose siren and beacon are due: one of their doors was opened illegally in defence mode."""
    return frozenset(cabinet for (cabinet, _), state in watch.doors.items() if state.sounding)


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
        stood = watch.standing
        if stood:
            watch, texts = _thresholds(watch, role, readings, at, mono)
            readings.update(texts)
        if "status" in before:
            readings["status"] = _status(watch, role, at)
        watch, complete = _complete(watch, role, readings, at, mono)
        watch, new = _events(watch, role, before, complete, at)
        events += new
        if not new and watch.standing is not stood:  # a status that was 0 already, as the device had been lost
            events += [
                Event(role, t.field, before[t.field], complete[t.field], at)
                for t in alarms.changed(stood, watch.standing)
                if role.member not in WARNING_FIELD
            ]
        snapshots[role.cabinet] = replace(snapshot, entries={**snapshot.entries, role: {**before, **complete}})
    return replace(watch, snapshots=snapshots), tuple(events)


def _status(watch: Watch, role: Role, at: float) -> Reading:
    """Tell 1 only while every device of the role answers and calls itself normal (D20); one that cannot tell leaves
    it open.

    A member that has no alarm texts in the interface shows an alarm of the site file here.
    """
    givers = watch.givers[role]
    if any(watch.is_lost(device) for device in givers):
        return Reading(0, at=at)
    if role.member not in WARNING_FIELD and any(_raised(watch, role)):
        return Reading(0, at=at)
    said = [watch.statuses[role, device] for device in givers if (role, device) in watch.statuses]
    good = [reading.value for reading in said if reading.quality is Quality.OK]
    doubts = [reading for reading in said if reading.quality in {Quality.GET_FAILED, Quality.NO_DATA}]
    if good and not (doubts and all(good)):
        return Reading(int(all(good)), at=at)
    return next(iter(doubts or said), NO_DATA)


def _raised(watch: Watch, role: Role) -> Iterator[str]:
    return (t.text for t, stands in watch.standing.items() if t.role == role and stands.raised)


def _thresholds(
    watch: Watch, role: Role, readings: dict[str, Reading], at: float, mono: float
) -> tuple[Watch, Mapping[str, Reading]]:
    """Judge the alarms that the site declares on what was read; give the role's texts, the device's own and theirs."""
    judged = {
        t: now
        for t, stands in watch.standing.items()
        if t.role == role
        and t.field in readings
        and (now := alarms.judge(t, stands, readings[t.field], mono)) != stands
    }
    if judged:
        watch = replace(watch, standing={**watch.standing, **judged})
    name = WARNING_FIELD.get(role.member)
    if name is None or not any(t.role == role for t in watch.standing):
        return watch, {}
    if name in readings:
        watch = replace(watch, texts={**watch.texts, role: readings[name]})
    own = watch.texts.get(role)
    if own is None and any((role, name) in fields for fields in watch.layout.filled.values()):
        own = NO_DATA  # its device has not spoken yet
    texts = list(_raised(watch, role))
    if own is None or own.quality in {Quality.OK, Quality.NOT_SUPPORT} or (own.quality is Quality.NO_DATA and texts):
        said = str(own.value) if own is not None and own.quality is Quality.OK else ""
        return watch, {name: Reading(alarms.join(said, *texts), at=at)}
    return watch, {}


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
    card, kind = readings.get(f"{side}DoorUnlockCardId"), readings.get(f"{side}DoorUnlockType")
    if closed is None and locked is None and card is None and kind is None:
        return watch, readings
    key = (role.cabinet, side)
    state = watch.doors.get(key, DoorState())
    if card is not None and card.quality is Quality.OK and card.value:
        state = present(state, str(card.value), mono + watch.windows.get(role.cabinet, 0.0))
    state = observe(
        state,
        closed=_bit(closed),
        locked=_bit(locked),
        defended=role.cabinet in watch.defended,
        at=at,
        mono=mono,
        reported=_unlock_type(kind.value) if kind is not None else None,
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


def _unlock_type(value: Value | None) -> UnlockType | None:
    return UnlockType(value) if isinstance(value, int) and value in set(UnlockType) else None


def _bit(reading: Reading | None) -> bool | None:
    return bool(reading.value) if reading is not None and reading.quality is Quality.OK else None


def _events(
    watch: Watch, role: Role, before: Mapping[str, Reading], readings: Mapping[str, Reading], at: float
) -> tuple[Watch, list[Event]]:
    """List what the cloud must hear of: a field that is not what it last was, or a first value that is an alarm."""
    fields = MEMBERS[role.member].fields
    events: list[Event] = []
    known: dict[tuple[Role, str], Value] = {}
    for name, after in readings.items():
        if not fields[name].urgent or after.quality is not Quality.OK or after.value is None:
            continue
        last = watch.known.get((role, name))
        if last == after.value:
            continue
        known[role, name] = after.value
        if last is not None or _is_alarm(name, after):
            events.append(Event(role, name, before[name] if last is None else Reading(last), after, at))
    return replace(watch, known={**watch.known, **known}) if known else watch, events


def _is_alarm(name: str, reading: Reading) -> bool:
    return bool(reading.value) if name in alarms.TEXT_FIELDS else reading.value == _ALARM.get(name, object())
