"""A reading that a device refuses says nothing: no alarm is over because it could not be looked at.

The property runs over every shipped profile: readings that make conditions true and false, then some of them refused.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gantry_agent.field import derive, plan, profile
from gantry_agent.field.product import Every, Profile, When, read_name
from gantry_agent.model import Device, Quality, Role
from gantry_agent.vocabulary import MEMBERS, WARNING_FIELD
from tests import profile_rig as rig

FAILED, NONE, LACKS = Quality.GET_FAILED, Quality.NO_DATA, Quality.NOT_SUPPORT
HEAD = """
profile: it
title: {zh: 它, en: it}
protocol: modbus
maturity: draft
sources: [{document: a, page: b}]
members: {airConditioners: 1}
parameters: {phases: {default: 3}}
points:
  a: {read: holding 0}
  b: {read: holding 1}
  c: {read: holding 2}
"""
ALARMED_BY_0 = frozenset({"status", "systemWarning", "temperatureWarning"})


def said(text: str, tmp_path: Path, **now: Any) -> dict[str, Any]:
    path = tmp_path / "it.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    it = profile.check(path)
    samples = {key: derive.Sample(value, 10.0) for key, value in now.items()}
    return rig.named(derive.Deriver(it, rig.device(it)).fields(samples, {}))


@pytest.mark.parametrize(
    ("a", "b", "answer"),
    [
        (1, 0, 0),
        (0, 0, 1),
        (FAILED, 0, "GetFailed"),
        (FAILED, 1, 0),  # b alone decides
        (NONE, 0, "NoData"),
        (NONE, FAILED, "GetFailed"),
        (LACKS, 0, 1),
        (LACKS, FAILED, "GetFailed"),
        (LACKS, LACKS, 1),
    ],
)
def test_the_last_choice_is_not_taken_while_a_case_may_hold(tmp_path: Path, a: Any, b: Any, answer: Any) -> None:
    text = "derived: {airConditioners.systemWarning: {case: [{when: [{a: 1}, {b: 1}], then: 0}], else: 1}}\n"
    assert said(text, tmp_path, a=a, b=b)["airConditioners.systemWarning"] == answer


@pytest.mark.parametrize(
    ("a", "b", "answer"),
    [
        (FAILED, 0, 1),  # all of them are needed, and one fails
        (FAILED, 1, "GetFailed"),
        (NONE, FAILED, "GetFailed"),
        (1, LACKS, 1),
    ],
)
def test_a_case_of_several_conditions_fails_with_any_of_them(tmp_path: Path, a: Any, b: Any, answer: Any) -> None:
    text = "derived: {airConditioners.systemWarning: {case: [{when: {a: 1, b: 1, phases: 3}, then: 0}], else: 1}}\n"
    assert said(text, tmp_path, a=a, b=b)["airConditioners.systemWarning"] == answer


@pytest.mark.parametrize(
    ("a", "b", "answer"),
    [
        (FAILED, 1, "GetFailed"),  # if a were 1 it would be cooling
        (NONE, 1, "NoData"),  # it may be: a later case is a guess then, just as `else` is
        (LACKS, 1, 2),
        (FAILED, 7, 1),  # the same either way
        (NONE, 7, 1),
        (NONE, FAILED, "GetFailed"),
        (FAILED, 0, "GetFailed"),
        (NONE, 0, "NoData"),
    ],
)
def test_a_later_case_does_not_overtake_one_that_may_hold(tmp_path: Path, a: Any, b: Any, answer: Any) -> None:
    cases = "[{when: {a: 1}, then: 1}, {when: {b: 1}, then: 2}, {when: {b: 7}, then: 1}]"
    text = f"derived: {{airConditioners.workMode: {{case: {cases}, else: 0}}}}\n"
    assert said(text, tmp_path, a=a, b=b)["airConditioners.workMode"] == answer


WARNINGS = """
warnings:
  - {member: airConditioners, text: 高温告警, when: {phases: 3, a: {above: 5}}}
  - {member: airConditioners, text: 低温告警, when: [{b: 1}, {c: 1}]}
"""


@pytest.mark.parametrize(
    ("a", "b", "c", "answer"),
    [
        (FAILED, 0, 0, "GetFailed"),
        (FAILED, FAILED, FAILED, "GetFailed"),  # the parameter is no reading
        (FAILED, 1, 0, "低温告警"),
        (9, FAILED, 0, "高温告警"),
        (0, FAILED, 1, "低温告警"),
        (NONE, 0, 0, "NoData"),
        (NONE, FAILED, 0, "GetFailed"),
        (LACKS, 0, 0, ""),
        (LACKS, LACKS, LACKS, "NotSupport"),
        (LACKS, LACKS, FAILED, "GetFailed"),
        (0, 0, 0, ""),
    ],
)
def test_an_alarm_that_cannot_be_looked_at_is_not_over(tmp_path: Path, a: Any, b: Any, c: Any, answer: Any) -> None:
    assert said(WARNINGS, tmp_path, a=a, b=b, c=c)["airConditioners.errorMsg"] == answer


def test_a_role_of_which_every_reading_is_refused_is_not_called_well(tmp_path: Path) -> None:
    assert said(WARNINGS, tmp_path, a=FAILED, b=FAILED, c=FAILED)["airConditioners.status"] == "GetFailed"
    assert said(WARNINGS, tmp_path, a=FAILED, b=LACKS, c=LACKS)["airConditioners.status"] == "GetFailed"
    assert said(WARNINGS, tmp_path, a=FAILED, b=0, c=FAILED)["airConditioners.status"] == 1
    assert said(WARNINGS, tmp_path, a=LACKS, b=LACKS, c=LACKS)["airConditioners.status"] == 1


def test_a_contact_that_is_refused_does_not_hide_behind_another_members(tmp_path: Path) -> None:
    it = rig.load("moxa-iologik-e1212")
    mapping = {(Role(1, "smokeSensor"), "isWarning"): ("di0", True), (Role(1, "doors"), "frontDoorClosed"): ("di1",)}
    device = rig.device(it, mapping=mapping)
    now = {"di0": derive.Sample(FAILED, 1.0), "di1": derive.Sample(1, 1.0)}
    found = rig.named(derive.Deriver(it, device).fields(now, {}))
    assert (found["smokeSensor.isWarning"], found["smokeSensor.status"]) == ("GetFailed", "GetFailed")
    assert (found["doors.frontDoorClosed"], found["doors.status"]) == (1, 1)


# --- every shipped profile ------------------------------------------------------------------------------------------


def the_device(it: Profile) -> tuple[Device, dict[str, tuple[str, ...]], list[str]]:
    """A device with two rows in every table and something on each input, and the keys of its readings."""
    mapping: dict[tuple[Role, str], tuple[Any, ...]] = {}
    for number, key in enumerate(key for key in it.points if key.startswith("di")):
        mapping[Role(1, "thunderSpd", number + 1), "status"] = (key, bool(number % 2))
    if mapping:
        mapping[Role(1, "waterloggingSensor"), "isWarning"] = ("di0", True)
        mapping[Role(1, "smokeSensor"), "isWarning"] = ("di1", False)
    doors = (key for key in it.points if key == "unlocked" or key.endswith("_open"))
    for key, side in zip(doors, ("front", "back"), strict=False):
        mapping[Role(1, "doors"), f"{side}DoorClosed"] = (key, True)
    rows = dict.fromkeys(it.tables, ("1", "2"))
    device = rig.device(it, mapping=mapping)
    return device, rows, [key for block in plan.blocks(it, device, rows) for key in block.keys]


def interesting(it: Profile) -> dict[str, set[Any]]:
    """By name without instance: the values that conditions turn on."""
    parameters = {name: known.default for name, known in it.parameters.items()}
    found: dict[str, set[Any]] = {}
    for one in comparisons(it):
        subject = one.subject.name if isinstance(one.subject, Every) else one.subject
        name = read_name(subject)
        assert name
        values = set(one.values or ()) | set(one.unlike or ())
        for bound in (one.bound.below, one.bound.above) if one.bound else ():
            limit = parameters.get(bound, bound) if isinstance(bound, str) else bound
            values |= set() if limit is None else {limit - 1, limit + 1}
        found.setdefault(f"{name.member}.{name.field}".lstrip("."), set()).update(values)
    return found


def comparisons(it: Profile) -> Iterator[Any]:
    whens: Iterable[When] = [
        *(alarm.when for alarm in it.warnings),
        *(case.when for derived in it.derived for case in derived.cases),
    ]
    return (one for when in whens for all_of in when for one in all_of)


def alarming(field: str, value: Any) -> bool:
    if field in WARNING_FIELD.values():
        return value not in ("", *Quality)
    return value == (0 if field in ALARMED_BY_0 else 1)


def reads_anything(name: str) -> bool:
    """A board of outputs gives no field by itself."""
    it = rig.load(name)
    return it.protocol != "host" and bool(the_device(it)[2])


@pytest.mark.parametrize("name", [n for n in profile.names() if reads_anything(n)])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_no_alarm_of_a_shipped_profile_is_over_because_readings_are_refused(name: str, data: st.DataObject) -> None:
    it = rig.load(name)
    device, rows, keys = the_device(it)
    turning = interesting(it)
    parameters = {key: known.choices for key, known in it.parameters.items() if known.choices}
    chosen = {key: data.draw(st.sampled_from(choices), label=key) for key, choices in parameters.items()}
    device = rig.device(it, mapping={t: (m.point, m.invert) for t, m in device.mapping.items()}, parameters=chosen)
    now = {}
    for key in keys:
        named = read_name(key)
        assert named
        values = {0, 1, *turning.get(f"{named.member}.{named.field}".lstrip("."), ())}
        values |= turning.get(named.field, set())
        now[key] = data.draw(st.sampled_from(sorted(values, key=str)), label=key)
    refused = data.draw(st.sets(st.sampled_from(keys)))
    deriver = derive.Deriver(it, device, rows)
    before = deriver.fields({key: derive.Sample(value, 1.0) for key, value in now.items()}, {})
    after = deriver.fields(
        {key: derive.Sample(FAILED if key in refused else value, 2.0) for key, value in now.items()}, {}
    )
    for (role, field), value in before.items():
        if not MEMBERS[role.member].fields[field].urgent or field in {"defendMode", "lightningCount"}:
            continue
        then = after[role, field]
        if alarming(field, value) and not isinstance(then, Quality):
            assert alarming(field, then), (role, field, value, then)
        if field in WARNING_FIELD.values() and not isinstance(then, Quality):
            assert set(str(then).split(",")) <= set(str(value).split(","))
    if refused == set(keys):
        assert all(value != 1 for (_, field), value in after.items() if field == "status")
