"""Alarms: thresholds with hysteresis and delay, and the hold-down of inputs that flap (D18)."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.core import alarms
from gantry_agent.core.alarms import QUIET, STEPS, Admission, Holds, Phase, Standing, Zone, judge, keys, zone
from gantry_agent.model import GET_FAILED, NO_DATA, Event, Reading, Role, Threshold

CLIMATE, UPS = Role(1, "thermohygrometer"), Role(1, "ups", 2)
HOT = Threshold(CLIMATE, "temperature", True, 45.0, 42.0, 10.0, "柜内温度过高")
LOW = Threshold(UPS, "remainCapacity", False, 20.0, 30.0, 0.0, "电池容量低")


def after(*steps: tuple[float, float | None], threshold: Threshold = HOT) -> list[Phase]:
    """Phases after each (time, value); None is a reading without a value."""
    standing, phases = QUIET, []
    for mono, value in steps:
        reading = GET_FAILED if value is None else Reading(value)
        standing = judge(threshold, standing, reading, mono)
        phases.append(standing.phase)
    return phases


def test_every_phase_knows_what_to_do_in_every_zone():
    assert set(STEPS) == set(itertools.product(Phase, Zone))


@pytest.mark.parametrize(
    ("threshold", "value", "expected"),
    [
        (HOT, 45.1, Zone.BEYOND),
        (HOT, 45.0, Zone.BETWEEN),
        (HOT, 42.1, Zone.BETWEEN),
        (HOT, 42.0, Zone.CLEAR),
        (LOW, 19.9, Zone.BEYOND),
        (LOW, 20.0, Zone.BETWEEN),
        (LOW, 30.0, Zone.CLEAR),
        (LOW, 29.9, Zone.BETWEEN),
    ],
)
def test_a_value_is_beyond_clear_or_between(threshold, value, expected):
    assert zone(threshold, Reading(value)) is expected


@pytest.mark.parametrize("reading", [GET_FAILED, NO_DATA, Reading("text")])
def test_what_is_not_a_number_is_nowhere(reading):
    assert zone(HOT, reading) is Zone.UNKNOWN


def test_an_alarm_is_raised_when_it_has_lasted_and_cleared_only_at_its_clear_value():
    phases = after((0, 46), (5, 46), (10, 46), (15, 44), (20, 42.1), (25, 42), (30, 44))
    assert phases == [Phase.PENDING, Phase.PENDING, *[Phase.RAISED] * 3, Phase.QUIET, Phase.QUIET]


def test_a_value_that_falls_back_in_time_raises_nothing_and_the_delay_begins_anew():
    assert after((0, 46), (9, 44), (10, 46), (19, 46), (20, 46))[1:] == [
        Phase.QUIET,
        Phase.PENDING,
        Phase.PENDING,
        Phase.RAISED,
    ]


def test_a_probe_that_breaks_neither_raises_nor_clears():
    assert after((0, 46), (5, None), (10, 46))[-1] is Phase.PENDING
    assert after((0, 46), (10, 46), (15, None), (20, 44))[-1] is Phase.RAISED


def test_without_delay_the_first_reading_raises():
    assert after((0, 19), threshold=LOW) == [Phase.RAISED]


@given(st.lists(st.floats(30, 60), min_size=1, max_size=60))
def test_raised_and_cleared_take_turns_and_each_has_its_reason(values):
    standing = QUIET
    for mono, value in enumerate(values):
        new = judge(HOT, standing, Reading(value), float(mono))
        if new.raised and not standing.raised:
            assert all(v > HOT.limit for v in values[max(0, mono - 10) : mono + 1])
        if standing.raised and not new.raised:
            assert value <= HOT.clear
        standing = new


def test_a_name_tells_point_limit_unit_and_text():
    assert alarms.name(LOW) == "ups[2].remainCapacity < 20 Ah: 电池容量低"
    assert alarms.told(HOT, Standing(Phase.RAISED)) == "raised: thermohygrometer[1].temperature > 45 °C: 柜内温度过高"


def test_only_what_was_raised_or_cleared_has_changed():
    pending, raised = Standing(Phase.PENDING, 1.0), Standing(Phase.RAISED)
    before = {HOT: QUIET, LOW: QUIET}
    assert alarms.changed(before, before) == []
    assert alarms.changed(before, {HOT: pending, LOW: raised}) == [LOW]


def test_texts_are_joined_once_each():
    assert alarms.join("", "电池过热") == "电池过热"
    assert alarms.join("电池熔丝断,电池过热", "电池过热", "电池容量低") == "电池熔丝断,电池过热,电池容量低"


# --- hold-down ------------------------------------------------------------------------------------------------------

KEY = (CLIMATE, "status", "")


def test_an_input_that_flaps_is_pushed_three_times_and_has_one_summary_per_hold():
    holds = Holds(3, 30.0)
    verdicts = [holds.admit(KEY, float(t)) for t in range(10)]
    assert verdicts == [Admission.PUSHED] * 3 + [Admission.HOLD_BEGINS] + [Admission.HELD] * 6
    assert holds.due() == 33.0
    assert holds.fields() == {KEY[:2]}
    assert not list(holds.ended(32.9))
    [ended] = holds.ended(33.0)
    assert (ended.key, ended.changes, ended.again) == (KEY, 7, True)


def test_a_hold_begins_again_only_while_the_input_flaps_and_ends_in_silence():
    holds = Holds(3, 30.0)
    for t in range(5):
        holds.admit(KEY, float(t))
    [ended] = holds.ended(33.0)
    assert (ended.changes, ended.again) == (2, False)
    assert holds.due() is None
    assert holds.admit(KEY, 34.0) is Admission.PUSHED
    assert holds.admit(KEY, 35.0) is Admission.PUSHED
    assert holds.admit(KEY, 36.0) is Admission.HOLD_BEGINS  # the summary counts as the first of three


@given(st.lists(st.floats(0.01, 40), max_size=120), st.integers(1, 5))
def test_no_span_of_a_hold_ever_has_more_than_the_pushes_and_one_summary(gaps, most):
    holds, now, sent = Holds(most, 30.0), 0.0, []
    for gap in gaps:
        now += gap
        while (due := holds.due()) is not None and due <= now:
            sent += [due] * sum(ended.changes > 0 for ended in holds.ended(due))
        if holds.admit(KEY, now) is Admission.PUSHED:
            sent.append(now)
    for first in sent:
        assert sum(first <= t < first + 30.0 for t in sent) <= most + 1


def test_inputs_that_are_quiet_are_forgotten():
    holds = Holds(3, 30.0)
    for n in range(1000):
        holds.admit((Role(1, "elec", n), "status", ""), float(n))
        list(holds.ended(float(n)))
    assert len(holds._inputs) <= 31


def test_each_text_of_a_field_is_an_input_of_its_own():
    event = Event(Role(1, "elec"), "warningMsg", Reading("A,B"), Reading("B,C"), 0.0)
    assert keys(event) == {(Role(1, "elec"), "warningMsg", "A"), (Role(1, "elec"), "warningMsg", "C")}
    assert keys(Event(CLIMATE, "status", Reading(1), Reading(0), 0.0)) == {KEY}
