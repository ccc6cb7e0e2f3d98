"""From readings of points to fields of the interface: direct values, calculated ones, alarm texts and status.

A `Deriver` is compiled once per device (and again when the rows of its tables are found): every field becomes a small
function of the readings, and a new reading runs only the functions that look at it. An answer is a value, a Quality
that says why there is none, or None: not to be said yet, because something it needs was never read. A condition on a
reading that could not be had neither holds nor fails: what would follow from either is not said, only why.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gantry_agent.field.arithmetic import (
    STRICT,
    TOLERANT,
    Answer,
    Get,
    Sample,
    Samples,
    first,
    of_all,
    of_some,
    rate,
    scaled,
    worst,
)
from gantry_agent.field.codec import within
from gantry_agent.field.plan import NO_ROWS
from gantry_agent.field.product import (
    AlarmText,
    Comparison,
    Derived,
    Every,
    Operand,
    Profile,
    When,
    amount,
    key_of,
    read_name,
)
from gantry_agent.field.wanted import only_in_rows, skipped
from gantry_agent.model import Device, MappedPoint, Quality, Role, Value
from gantry_agent.vocabulary import MEMBERS, WARNING_FIELD

__all__ = ["Deriver", "Fields", "Sample", "Samples", "fields", "rows_seen"]

Fields = dict[tuple[Role, str], Value | Quality]
Verdict = bool | Quality  # a Quality: it cannot be told, and why
Judge = Callable[[Samples, Samples], Verdict]


@dataclass(frozen=True, slots=True)
class _Made:
    """A compiled value and the keys of the readings it looks at."""

    get: Get
    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Context:
    """For which instance of which member a name is read."""

    member: str
    number: int
    inside: tuple[str, ...] = ()  # derived values being compiled, to notice a circle


def fields(profile: Profile, device: Device, now: Samples, before: Samples) -> Fields:
    """All fields that can be said now. For repeated use keep a Deriver."""
    return Deriver(profile, device, rows_seen(profile, now)).fields(now, before)


def rows_seen(profile: Profile, now: Samples) -> dict[str, tuple[str, ...]]:
    """How many rows each table has, judging by the readings."""
    seen: dict[str, tuple[str, ...]] = {}
    for table in profile.tables.values():
        names = [(table.member, found.field) for key in table.points if (found := read_name(key))]
        count = 0
        while any(key_of(member, count + 1, field) in now for member, field in names):
            count += 1
        if count:
            seen[table.name] = tuple(str(number) for number in range(1, count + 1))
    return seen


class Deriver:
    """The fields of one device."""

    def __init__(self, profile: Profile, device: Device, rows: Mapping[str, tuple[str, ...]] = NO_ROWS) -> None:
        compiler = _Compiler(profile, device, rows)
        self._all = compiler.fields()
        urgent = [made.keys for (role, name), made in self._all.items() if MEMBERS[role.member].fields[name].urgent]
        self.telling = frozenset().union(*urgent)  # the points on which what is pushed at once rests
        self._by_keys: dict[tuple[str, ...], list[tuple[tuple[Role, str], Get]]] = {}

    def fields(self, now: Samples, before: Samples, changed: Iterable[str] | None = None) -> Fields:
        """Fields that can be said now; with `changed` only those that look at these keys, and the constant ones."""
        found: Fields = {}
        for field, get in self._chosen(changed):
            answer = get(now, before)
            if answer is not None:
                found[field] = answer
        return found

    def resting(self, fields: Iterable[tuple[Role, str]], keys: frozenset[str]) -> frozenset[tuple[Role, str]]:
        """Tell which of these fields look at one of these keys."""
        return (
            frozenset(field for field in fields if not self._all[field].keys.isdisjoint(keys)) if keys else frozenset()
        )

    def _chosen(self, changed: Iterable[str] | None) -> list[tuple[tuple[Role, str], Get]]:
        keys = ("*",) if changed is None else tuple(changed)
        chosen = self._by_keys.get(keys)
        if chosen is None:
            seen = frozenset(keys)
            chosen = [
                (field, made.get)
                for field, made in self._all.items()
                if changed is None or not made.keys or made.keys & seen
            ]
            self._by_keys[keys] = chosen  # a device has few blocks, so few sets of keys
        return chosen


class _Compiler:
    """Everything a device's fields are compiled from."""

    def __init__(self, profile: Profile, device: Device, rows: Mapping[str, tuple[str, ...]]) -> None:
        self.profile = profile
        self.device = device
        self.rows = rows
        self.parameters = profile.parameters_of(device)
        self.derived = {(one.name.member, one.name.field, one.name.number): one for one in profile.derived}

    # --- fields

    def fields(self) -> dict[tuple[Role, str], _Made]:
        found: dict[tuple[Role, str], _Made] = {}
        for (role, field), mapped in self.device.mapping.items():
            found[role, field] = self._mapped(mapped)
        for member, numbers in self.device.roles.items():
            for instance, number in enumerate(numbers, 1):
                role = Role(self.device.cabinet, member, number)
                for field in self.profile.provides(member):
                    if not skipped(self.device, member, field) and (role, field) not in found:
                        made = self._field(member, instance, field)
                        if made:
                            found[role, field] = made
        for role in {role for role, _ in found}:
            if "status" in MEMBERS[role.member].fields and (role, "status") not in found:
                found[role, "status"] = _constant(1)  # it answers, so it is well until it says otherwise
        return {
            key: self._answering(found, key[0], made) if key[1] == "status" else made for key, made in found.items()
        }

    def _answering(self, found: Mapping[tuple[Role, str], _Made], role: Role, status: _Made) -> _Made:
        """Call no role well of which the device refuses every reading; whether it is lost is for the monitor (D20)."""
        mine = frozenset().union(*(made.keys for (whose, _), made in found.items() if whose == role))
        keys = tuple(sorted(mine or frozenset().union(*(made.keys for made in found.values()))))

        def said(now: Samples, before: Samples) -> Answer:
            answer = status.get(now, before)
            return Quality.GET_FAILED if answer == 1 and _all_failed(now, keys) else answer

        return _Made(said, status.keys) if keys else status

    def _mapped(self, mapped: MappedPoint) -> _Made:
        made = self._name(mapped.point, _Context("", 1))
        if not mapped.invert:
            return made

        def inverted(now: Samples, before: Samples) -> Answer:
            answer = made.get(now, before)
            return answer if answer is None or isinstance(answer, (Quality, str)) else int(not answer)

        return _Made(inverted, made.keys)

    def _field(self, member: str, instance: int, field: str) -> _Made | None:
        context = _Context(member, instance)
        if self._row_is_missing(member, instance):
            return _constant(0 if field == "status" else Quality.NO_DATA)
        if field == WARNING_FIELD.get(member):
            alarms = [one for one in self.profile.warnings if one.member == member and one.number in (None, instance)]
            if alarms:
                return self._alarms(alarms, context)
        derived = self._derived_of(member, field, instance)
        if derived:
            return self._derived(derived, context)
        key = key_of(member, instance, field)
        if key in self.profile.points:
            return _reading(key)
        if self._row_member(member, field):
            return self._row(member, field, instance)
        return _constant(1) if field == "status" else _constant(Quality.NOT_SUPPORT)

    def _row_is_missing(self, member: str, instance: int) -> bool:
        """A role without a row while others have one: the module was taken out (rows come and go with modules).

        A device that has no such rows at all is another model, which gives what it has, or, where all that is told of
        the role stands in rows, one that has nothing of it.
        """
        located = [
            self.rows[t.name] for t in self.profile.tables.values() if t.member == member and t.name in self.rows
        ]
        if not located or any(len(rows) >= instance for rows in located):
            return False
        return any(located) or only_in_rows(self.profile, member)

    def _alarms(self, alarms: list[AlarmText], context: _Context) -> _Made:
        compiled = [(alarm.text, *self._when(alarm.when, context)) for alarm in alarms]
        conditions = [one for alarm in alarms for all_of in alarm.when for one in all_of]
        subjects = [made for one in conditions for made in self._subject(one.subject, context)]
        constant = [not made.keys and made.get is not _pending for made in subjects]

        def texts(now: Samples, before: Samples) -> Answer:
            answers = [made.get(now, before) for made in subjects]
            if None in answers:
                return None
            verdicts = [(text, judge(now, before)) for text, judge, _ in compiled]
            if said := [text for text, verdict in verdicts if verdict is True]:
                return ",".join(said)
            if doubts := [verdict for _, verdict in verdicts if isinstance(verdict, Quality)]:
                return worst(doubts)
            readings = [answer for answer, fixed in zip(answers, constant, strict=True) if not fixed]
            return Quality.NOT_SUPPORT if readings and all(one is Quality.NOT_SUPPORT for one in readings) else ""

        return _Made(texts, frozenset().union(*(keys for _, _, keys in compiled)))

    # --- names

    def _derived_of(self, member: str, field: str, number: int) -> Derived | None:
        return self.derived.get((member, field, number)) or self.derived.get((member, field, None))

    def _name(self, text: str, context: _Context) -> _Made:
        """What a name stands for, seen from an instance: its own row first, then what the profile has once."""
        name = read_name(text)
        assert name is not None  # the profile was checked
        own = context.number if name.member == context.member else 1
        number = name.number or own
        if not name.member and (context.member, name.field) in self._local_rows() and name.number is None:
            return self._row("", name.field, context.number)
        derived = self._derived_of(name.member, name.field, number)
        if derived:
            if text in context.inside:
                raise ValueError(f"cannot calculate {text} of {self.profile.name}: it is made of itself")
            if name.member:
                context = _Context(name.member, number, context.inside)
            return self._derived(derived, _Context(context.member, context.number, (*context.inside, text)))
        key = key_of(name.member, number, name.field)
        if key in self.profile.points:
            return _reading(key)
        if text in self.parameters and not self._row_member(name.member, name.field):
            return _constant(self.parameters[text])
        return self._row(name.member, name.field, number)

    def _row(self, member: str, field: str, number: int) -> _Made:
        """A table's point in its row; a located table without that row does not have it."""
        owner = self._row_member(member, field)
        if not owner or len(self.rows.get(owner, (None,) * number)) < number:
            return _constant(Quality.NOT_SUPPORT)
        return _reading(key_of(self.profile.tables[owner].member, number, field))

    def _local_rows(self) -> set[tuple[str, str]]:
        """Local names inside the rows of a member's table, by member."""
        return {(table.member, key) for table in self.profile.tables.values() if table.member for key in table.points}

    def _row_member(self, member: str, field: str) -> str:
        """The table that has this point, by name; '' if none has."""
        wanted = f"{member}.{field}" if member else field
        return next((table.name for table in self.profile.tables.values() if wanted in table.points), "")

    def _every(self, every: Every, context: _Context) -> list[_Made] | None:
        """All rows of a point; None while the table is not located."""
        name = read_name(every.name)
        assert name is not None
        owner = self._row_member(name.member, name.field)
        if not owner:
            return [self._name(every.name, context)]
        table = self.profile.tables[owner]
        if table.name not in self.rows:
            return None
        return [_reading(key_of(table.member, n + 1, name.field)) for n in range(len(self.rows[table.name]))]

    def _subject(self, subject: str | Every, context: _Context) -> list[_Made]:
        if isinstance(subject, Every):
            made = self._every(subject, context)
            return [_Made(_pending, frozenset())] if made is None else made
        return [self._name(subject, context)]

    # --- conditions

    def _when(self, when: When, context: _Context) -> tuple[Judge, frozenset[str]]:
        compiled = [[self._comparison(one, context) for one in all_of] for all_of in when]
        tests = [[test for test, _ in all_of] for all_of in compiled]

        def holds(now: Samples, before: Samples) -> Verdict:
            return _any_of(_all_of(test(now, before) for test in all_of) for all_of in tests)

        return holds, frozenset().union(*(keys for all_of in compiled for _, keys in all_of))

    def _comparison(self, comparison: Comparison, context: _Context) -> tuple[Judge, frozenset[str]]:
        """What the unit does not have passes no comparison, not even `not`; what could not be read may or may not."""
        subjects = self._subject(comparison.subject, context)
        passes = self._test(comparison)
        gets = [made.get for made in subjects]

        def one(answer: Answer) -> Verdict:
            if answer is None or answer is Quality.NOT_SUPPORT:
                return False
            return answer if isinstance(answer, Quality) else passes(answer)

        def test(now: Samples, before: Samples) -> Verdict:
            return _any_of(one(get(now, before)) for get in gets)

        return test, frozenset().union(*(made.keys for made in subjects))

    def _test(self, comparison: Comparison) -> Callable[[Value], bool]:
        if comparison.bound is not None:
            inside = within(comparison.bound, self.parameters)
            return lambda value: not isinstance(value, str) and inside(value)
        if comparison.unlike is not None:
            unlike = frozenset(comparison.unlike)
            return lambda value: value not in unlike
        alike = frozenset(comparison.values or ())
        return lambda value: value in alike

    # --- calculations

    def _operand(self, operand: Operand | Quality, context: _Context) -> list[_Made]:
        if isinstance(operand, Quality) or not isinstance(operand, (str, Every)):
            return [_constant(operand)]
        if isinstance(operand, Every):
            made = self._every(operand, context)
            if made is None:
                return [_Made(_pending, frozenset())]
            return made or [_constant(Quality.NOT_SUPPORT)]
        return [self._name(operand, context)]

    def _derived(self, derived: Derived, context: _Context) -> _Made:
        if derived.operation == "case":
            return self._case(derived, context)
        made = [one for operand in derived.operands for one in self._operand(operand, context)]
        keys = frozenset().union(*(one.keys for one in made))
        gets = [one.get for one in made]
        if derived.operation == "rate":
            get = rate(next(iter(keys)), derived.bits) if keys else gets[0]
        elif derived.operation in ("first", "value"):
            get = first(gets)
        elif derived.operation in TOLERANT or any(isinstance(operand, Every) for operand in derived.operands):
            get = of_some(TOLERANT.get(derived.operation) or STRICT[derived.operation], gets)
        else:
            get = of_all(STRICT[derived.operation], gets)
        return _Made(scaled(get, amount(derived.scale, self.parameters), amount(derived.offset, self.parameters)), keys)

    def _case(self, derived: Derived, context: _Context) -> _Made:
        cases = []
        keys: frozenset[str] = frozenset()
        subjects: list[Get] = []
        for case in derived.cases:
            judge, used = self._when(case.when, context)
            then = self._operand(case.then, context)[0]
            cases.append((judge, then.get))
            keys |= used | then.keys
            conditions = [one for all_of in case.when for one in all_of]
            subjects += [made.get for one in conditions for made in self._subject(one.subject, context)]
        otherwise = self._operand(derived.otherwise, context)[0]

        def chosen(now: Samples, before: Samples) -> Answer:
            if any(get(now, before) is None for get in subjects):
                return None
            doubts: list[tuple[Quality, Answer]] = []  # of the cases that may hold: why, and what would follow
            for judge, then in cases:
                verdict = judge(now, before)
                if isinstance(verdict, Quality):
                    doubts.append((verdict, then(now, before)))
                elif verdict:
                    return _undoubted(then(now, before), doubts)
            return _undoubted(otherwise.get(now, before), doubts)

        return _Made(chosen, keys | otherwise.keys)


# --- the smallest functions ------------------------------------------------------------------------------------------


def _any_of(verdicts: Iterable[Verdict]) -> Verdict:
    doubts: list[Verdict] = []
    for verdict in verdicts:
        if verdict is True:
            return True
        if verdict is not False:
            doubts.append(verdict)
    return worst(doubts) if doubts else False


def _all_of(verdicts: Iterable[Verdict]) -> Verdict:
    doubts: list[Verdict] = []
    for verdict in verdicts:
        if verdict is False:
            return False
        if verdict is not True:
            doubts.append(verdict)
    return worst(doubts) if doubts else True


def _undoubted(answer: Answer, doubts: list[tuple[Quality, Answer]]) -> Answer:
    """The answer, if what may hold as well would say the same."""
    if answer is None or all(other == answer for _, other in doubts):
        return answer
    return worst(why for why, _ in doubts)


def _all_failed(now: Samples, keys: tuple[str, ...]) -> bool:
    """Whether the device refuses all of these that it has."""
    failed = False
    for key in keys:
        sample = now.get(key)
        if sample is None or sample.value is Quality.NOT_SUPPORT:
            continue
        if sample.value is not Quality.GET_FAILED:
            return False
        failed = True
    return failed


def _pending(_now: Samples, _before: Samples) -> Answer:
    return None


def _constant(answer: Value | Quality) -> _Made:
    return _Made(lambda _now, _before: answer, frozenset())


def _reading(key: str) -> _Made:
    def get(now: Samples, _before: Samples) -> Answer:
        sample = now.get(key)
        return None if sample is None else sample.value

    return _Made(get, frozenset((key,)))
