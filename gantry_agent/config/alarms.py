"""The alarms that a cabinet declares on measured fields, `alarms:` of the site file, as thresholds.

Only what can be told from the cabinet's own part of the file and the fields that its devices give; how a threshold is
raised and cleared is `core.alarms`.
"""

import re
from collections.abc import Collection, Iterator

from gantry_agent.config import schema
from gantry_agent.faults import suggest
from gantry_agent.model import Role, Threshold
from gantry_agent.text import Text
from gantry_agent.vocabulary import CABINET, Form, Shape

Problem = tuple[str, Text]  # the key of the alarm that is wrong, and what

_POINT = re.compile(r"([A-Za-z]+)(?:\[(\d{1,3})\])?\.([A-Za-z]+)")
_MEASURED = frozenset({Form.NUMBER, Form.FIXED})


def read_alarm(
    given: schema.Alarm, cabinet: int, filled: Collection[tuple[Role, str]]
) -> tuple[list[Threshold], list[Problem]]:
    """Return the thresholds of one alarm, one per number of the member that it is for, or what is wrong with it."""
    problems = list(_check_limits(given))
    measured = [(role, name) for role, name in filled if role.cabinet == cabinet and _is_measured(role, name)]
    match = _POINT.fullmatch(given.point)
    found = [
        (role, name)
        for role, name in measured
        if match and (role.member, name) == (match[1], match[3]) and match[2] in {None, str(role.number)}
    ]
    if not found:
        tail = suggest(given.point, {_point(role, name) for role, name in measured})
        text = Text(f"本机柜没有测量值 {given.point}{tail.zh}", f"this cabinet measures no {given.point}{tail.en}")
        problems.append(("point", text))
    limit = given.above if given.above is not None else given.below
    if problems or limit is None:
        return [], problems
    above = given.above is not None
    return [Threshold(*one, above, limit, given.clear, given.for_s, given.text) for one in sorted(found)], []


def twice(thresholds: Collection[Threshold]) -> Iterator[str]:
    """List the texts that two alarms of one role would share: the cloud could not tell them apart."""
    seen: set[tuple[Role, str]] = set()
    for threshold in thresholds:
        if (threshold.role, threshold.text) in seen:
            yield threshold.text
        seen.add((threshold.role, threshold.text))


def _check_limits(given: schema.Alarm) -> Iterator[Problem]:
    unit = _unit(given.point)
    if (given.above is None) is (given.below is None):
        yield "point", Text("above 与 below 应给出一个，且只能一个", "give above or below, one of them")
    elif given.above is not None and given.clear >= given.above:
        yield (
            "clear",
            Text(
                f"clear 应低于 above（{given.above:g} {unit}）", f"clear must be below above ({given.above:g} {unit})"
            ),
        )
    elif given.below is not None and given.clear <= given.below:
        yield (
            "clear",
            Text(
                f"clear 应高于 below（{given.below:g} {unit}）", f"clear must be above below ({given.below:g} {unit})"
            ),
        )


def _is_measured(role: Role, name: str) -> bool:
    return role.member in CABINET and CABINET[role.member].fields[name].form in _MEASURED


def _point(role: Role, name: str) -> str:
    numbered = CABINET[role.member].shape is Shape.LIST
    return f"{role.member}[{role.number}].{name}" if numbered else f"{role.member}.{name}"


def _unit(point: str) -> str:
    match = _POINT.fullmatch(point)
    known = CABINET[match[1]].fields.get(match[3]) if match and match[1] in CABINET else None
    return known.unit if known else ""
