"""What holds a profile together: every name that one part uses is given by another, and what feeds an alarm is fast.

Works on a whole Profile; knows the file only to say where a fault is.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gantry_agent.faults import suggest
from gantry_agent.field.product import (
    Comparison,
    Derived,
    Every,
    Operand,
    Profile,
    Table,
    When,
    read_name,
)
from gantry_agent.field.profile_yaml import Entries
from gantry_agent.model import Quality
from gantry_agent.vocabulary import MEMBERS

# --- what uses what -------------------------------------------------------------------------------------------------


def used_by_when(when: When) -> Iterator[str]:
    """Names that a condition looks at."""
    for alternative in when:
        for comparison in alternative:
            yield _subject(comparison)


def used_by_derived(derived: Derived) -> Iterator[str]:
    """Names that a derived value is made of."""
    yield from _named(derived.operands)
    for case in derived.cases:
        yield from used_by_when(case.when)
        yield from _named((case.then,))
    yield from _named((derived.otherwise,))


def _subject(comparison: Comparison) -> str:
    return comparison.subject.name if isinstance(comparison.subject, Every) else comparison.subject


def _named(operands: Iterable[Operand | Quality]) -> Iterator[str]:
    for operand in operands:
        if isinstance(operand, Every):
            yield operand.name
        elif isinstance(operand, str) and not isinstance(operand, Quality):
            yield operand


def plain(name: str) -> str:
    """A name without its instance: what parts are known by."""
    found = read_name(name)
    if found is None:
        return name
    return f"{found.member}.{found.field}" if found.member else found.field


def derived_by_name(profile: Profile) -> dict[str, list[Derived]]:
    """Derived values by name without instance; one name may be calculated differently for its first instance."""
    found: dict[str, list[Derived]] = {}
    for one in profile.derived:
        found.setdefault(plain(_key(one)), []).append(one)
    return found


# --- checking -------------------------------------------------------------------------------------------------------


def check_links(profile: Profile, root: Entries) -> None:
    """Complain of every name that is used and not given, of fields given twice, of inferred values left unsaid."""
    given = {plain(key) for key in profile.points} | {plain(str(_key(one))) for one in profile.derived}
    given |= {plain(key) for table in profile.tables.values() for key in table.points}
    derived = root.entries("derived")
    uses = [(derived, key, used_by_derived(one)) for key, one in zip(derived.keys(), profile.derived, strict=True)]
    uses += [
        (item, "when", used_by_when(one.when))
        for item, one in zip(root.list("warnings"), profile.warnings, strict=True)
    ]
    for entries, key, used in uses:
        for name in used:
            if plain(name) not in given and name not in profile.parameters:
                near = suggest(name, given)
                entries.complain(key, zh=f"没有名为 {name} 的点{near.zh}", en=f"there is no point {name}{near.en}")
    _check_shown(profile, root)
    _check_local_names(profile, root)
    points = set(profile.points) | _table_keys(profile.tables.values())
    for written, one in zip(derived.keys(), profile.derived, strict=True):
        if _key(one) in points:
            derived.complain(written, zh="重复：已是一个点", en="is given twice: it is a point already")
    inferred = any(point.inferred for point in profile.points.values()) or any(
        point.inferred for table in profile.tables.values() for point in table.points.values()
    )
    if inferred and not profile.caveats:
        root.complain(
            "caveats", zh="有推断值（inferred）时必须在此说明", en="cannot be empty: inferred values must be told here"
        )


def _check_shown(profile: Profile, root: Entries) -> None:
    """What tells a showing of a card are points of their own."""
    points = root.entries("points")
    for key, point in profile.points.items():
        for name in (point.shows.count, point.shows.given) if point.shows else ():
            if name and name not in profile.points:
                near = suggest(name, profile.points)
                points.entries(key).complain(
                    "shows", zh=f"没有名为 {name} 的点{near.zh}", en=f"there is no point {name}{near.en}"
                )


def _check_local_names(profile: Profile, root: Entries) -> None:
    """A local name means one thing in the whole profile, in whichever table it stands."""
    seen: set[str] = set()
    tables = root.entries("tables")
    places = [(root.entries("points"), name) for name in profile.points]
    places += [
        (tables.entries(table.name).entries("points"), name)
        for table in profile.tables.values()
        for name in table.points
    ]
    for entries, name in places:
        if name in seen:
            entries.complain(name, zh="重复", en="is given twice")
        seen.add(name)


def _key(derived: Derived) -> str:
    place = f"[{derived.name.number}]" if derived.name.number else ""
    return f"{derived.name.member}{place}.{derived.name.field}" if derived.name.member else derived.name.field


def _table_keys(tables: Iterable[Table]) -> set[str]:
    return {key for table in tables for key in table.points}


# --- lanes ----------------------------------------------------------------------------------------------------------


def choose_lanes(profile: Profile, said: frozenset[str] = frozenset()) -> Profile:
    """Put points that feed a field whose change is pushed at once into the fast lane, unless the file says a lane."""
    by_name = derived_by_name(profile)
    fast: set[str] = set()
    waiting = [name for warning in profile.warnings for name in used_by_when(warning.when)]
    waiting += [_key(one) for one in profile.derived if _urgent(_key(one))]
    while waiting:
        name = plain(waiting.pop())
        if name not in fast:
            fast.add(name)
            waiting += (used for one in by_name.get(name, ()) for used in used_by_derived(one))

    def lane(key: str) -> bool:
        return key not in said and (plain(key) in fast or _urgent(key))

    points = {key: replace(one, lane="fast") if lane(key) else one for key, one in profile.points.items()}
    tables = {
        name: replace(
            table,
            points={key: replace(one, lane="fast") if lane(key) else one for key, one in table.points.items()},
        )
        for name, table in profile.tables.items()
    }
    return replace(profile, points=points, tables=tables)


def _urgent(key: str) -> bool:
    name = read_name(key)
    return bool(name and name.member and MEMBERS[name.member].fields[name.field].urgent)
