"""The state machine of a battery test: its table, its sums, why it ends, and that it ends."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gantry_agent.core import battery, battery_result
from gantry_agent.core.battery import IDLE, MAINS, UNWELL, Input, Phase, Reason, Sight, Test, Word, advance
from gantry_agent.model import GET_FAILED, NOT_SUPPORT, Quality

AT = 1_700_000_000.0  # Unix seconds at monotonic 0


def said(word: Word, mono: float, sight: Sight | None = None, verdict: int = 0) -> Input:
    return Input(word, mono, AT + mono, sight or battery.NOTHING, verdict)


def see(test: Test, mono: float, **shown: object) -> Test:
    return advance(test, said(Word.SIGHT, mono, Sight(**shown)))  # type: ignore[arg-type]


def begun(mono: float = 0.0, **shown: object) -> Test:
    test = advance(IDLE, said(Word.ORDERED, mono, Sight(testing=False, **shown)))  # type: ignore[arg-type]
    return advance(test, said(Word.CONFIRMED, mono))


def discharged(until: int, step: int = 5, amps: float = 12.0, **shown: object) -> Test:
    test = begun(rated_ah=100.0)
    for mono in range(0, until + 1, step):
        test = see(test, mono, testing=True, amps=amps, volts=48.0, celsius=25.0, **shown)
    return test


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("word", list(Word))
def test_the_table_says_what_may_follow_what(phase: Phase, word: Word) -> None:
    test = replace(IDLE, phase=phase)
    if battery.can(test, word):
        assert advance(test, said(word, 1.0)).latest == 1.0
    else:
        with pytest.raises(battery.NotNow, match=word.name):
            advance(test, said(word, 1.0))


def test_a_start_is_ordered_once_and_a_stop_needs_a_test() -> None:
    assert not any(battery.can(replace(IDLE, phase=phase), Word.ORDERED) for phase in battery.UNDER_WAY)
    assert not battery.can(IDLE, Word.STOP_ORDERED)


def test_an_ordered_test_runs_when_the_device_confirms_it() -> None:
    test = advance(IDLE, said(Word.ORDERED, 10.0))
    assert (test.phase, test.ordered) == (Phase.STARTING, True)
    test = advance(test, said(Word.CONFIRMED, 12.0))
    assert (test.phase, test.started_at) == (Phase.RUNNING, AT + 12.0)
    assert advance(advance(IDLE, said(Word.ORDERED, 10.0)), said(Word.ABANDONED, 12.0)).phase is Phase.IDLE


def test_readings_that_lag_behind_the_confirmation_do_not_end_it() -> None:
    test = see(begun(), 1.0, testing=False)
    assert test.phase is Phase.RUNNING
    assert see(test, 6.0, testing=True).phase is Phase.RUNNING


def test_a_test_that_was_confirmed_and_is_never_read_ends_and_nobody_knows_when() -> None:
    test = see(begun(), 3.0, testing=False, lag_s=4.0)
    test = see(test, 5.0, testing=False, lag_s=4.0, alarms=frozenset({MAINS}))
    assert (test.phase, test.reason, test.unsure) == (Phase.ENDED, Reason.ALARM, True)
    assert battery_result.result(test)["dischargeTime"] == GET_FAILED


def test_an_order_that_nobody_confirmed_is_forgotten_and_one_that_shows_is_not() -> None:
    ordered = advance(IDLE, said(Word.ORDERED, 0.0))
    assert advance(ordered, said(Word.TICK, 30.0)).phase is Phase.STARTING
    assert advance(ordered, said(Word.TICK, 61.0)).phase is Phase.IDLE
    assert see(ordered, 20.0, testing=True).phase is Phase.RUNNING


def test_a_test_that_nobody_here_ordered_is_followed_as_well() -> None:
    test = see(see(IDLE, 0.0, testing=False), 5.0, testing=True, amps=10.0)
    assert (test.phase, test.ordered, test.started_at) == (Phase.RUNNING, False, AT + 5.0)


def test_a_stop_is_by_hand_and_a_reading_from_before_it_begins_no_new_test() -> None:
    test = advance(discharged(600), said(Word.STOP_ORDERED, 601.0))
    test = advance(test, said(Word.STOPPED, 602.0))
    assert (test.phase, test.reason, test.ended) == (Phase.ENDED, Reason.BY_HAND, 602.0)
    assert see(test, 603.0, testing=True).phase is Phase.ENDED
    assert see(see(test, 604.0, testing=False), 605.0, testing=True).phase is Phase.RUNNING


def test_a_stop_that_is_not_done_leaves_the_test_running() -> None:
    stopping = advance(discharged(600), said(Word.STOP_ORDERED, 601.0))
    assert advance(stopping, said(Word.NOT_STOPPED, 603.0)).phase is Phase.RUNNING
    forgotten = see(see(stopping, 605.0, testing=True), 670.0, testing=True)
    assert forgotten.phase is Phase.RUNNING


def test_one_wrong_reading_does_not_end_a_test() -> None:
    test = see(discharged(600), 605.0, testing=False)
    assert test.phase is Phase.ENDING
    test = see(test, 610.0, testing=True, amps=12.0)
    assert test.phase is Phase.RUNNING
    test = see(test, 611.0, testing=True)
    assert test.measured.ah == pytest.approx(12.0 * 610 / 3600)


def test_what_was_read_after_the_device_had_ended_its_test_is_not_counted() -> None:
    """Current and voltage come by another question than the state: between the two it may have ended."""
    test = see(discharged(600), 604.0, testing=True)
    test = see(test, 605.0, testing=True, amps=0.0, volts=56.4)  # charging, and last seen testing
    told = battery_result.result(ended(test, 606.0))
    assert told["dischargeEndVoltage"].value == 48.0
    assert told["dischargeAvCurrent"].value == pytest.approx(12.0)


# --- why it ended -----------------------------------------------------------------------------------------------------


def ended(test: Test, mono: float, **shown: object) -> Test:
    return advance(see(test, mono, testing=False, **shown), said(Word.TICK, mono + 20.0))


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        ({}, Reason.OTHER),
        ({"alarms": frozenset({MAINS})}, Reason.ALARM),
        ({"alarms": frozenset({"电池熔丝断"})}, Reason.FAULT),
        ({"alarms": frozenset({UNWELL})}, Reason.FAULT),
        ({"alarms": frozenset({"电池电压低"})}, Reason.VOLTAGE),
        ({"alarms": frozenset({"电池耗尽"})}, Reason.CHARGE_LOW),
        ({"alarms": frozenset({"电池温度低"})}, Reason.COLD),
        ({"alarms": frozenset({"电池温度高"})}, Reason.ALARM),
        ({"alarms": frozenset({MAINS, "电池电压低"})}, Reason.ALARM),
        ({"alarms": frozenset({"电池自检失败"})}, Reason.OTHER),  # what came of it did not end it
    ],
)
def test_an_alarm_that_comes_with_the_end_is_its_reason(shown: dict, reason: Reason) -> None:
    assert ended(discharged(600), 605.0, **shown).reason is reason


def test_an_alarm_that_is_read_a_little_later_is_still_its_reason() -> None:
    test = see(discharged(600), 605.0, testing=False)
    test = see(test, 609.0, alarms=frozenset({MAINS}))
    assert (test.phase, test.reason) == (Phase.ENDED, Reason.ALARM)


def test_an_alarm_that_stood_before_or_lasts_ends_nothing() -> None:
    old = frozenset({"电池温度高"})
    test = begun(alarms=old)
    test = see(test, 5.0, testing=True, alarms=old)
    assert ended(test, 10.0, alarms=old).reason is Reason.OTHER
    test = see(begun(), 5.0, testing=True, alarms=old)
    test = see(test, 100.0, testing=True, alarms=old)
    assert ended(test, 105.0, alarms=old).reason is Reason.OTHER


def test_the_end_voltage_and_the_duration_are_reasons_where_they_are_known() -> None:
    assert ended(discharged(600, end_volts=48.0), 605.0).reason is Reason.VOLTAGE
    assert ended(discharged(600, end_volts=45.0), 605.0).reason is Reason.OTHER
    assert ended(discharged(600, duration_s=600.0), 605.0).reason is Reason.TIME
    assert ended(discharged(600, duration_s=3600.0), 605.0).reason is Reason.OTHER


def test_a_device_that_has_a_verdict_came_to_its_end() -> None:
    test = see(discharged(600), 605.0, testing=False)
    test = advance(test, said(Word.VERDICT, 606.0, verdict=3))
    test = advance(test, said(Word.TICK, 620.0))
    assert test.reason is Reason.TIME
    assert battery_result.result(test)["testResult"].value == 3


def test_a_device_that_falls_silent_is_not_waited_for_for_ever() -> None:
    test = advance(discharged(600), said(Word.TICK, 600.0 + 1700.0))
    assert test.phase is Phase.RUNNING
    test = advance(test, said(Word.TICK, 600.0 + 1801.0))
    assert (test.phase, test.reason) == (Phase.ENDED, Reason.OTHER)
    told = battery_result.result(test)
    assert told["dischargeTime"] == told["dischargeAhCurrent"] == told["dischargeEndVoltage"] == GET_FAILED
    assert told["dischargeAvCurrent"].value == pytest.approx(12.0)


# --- what it comes to -------------------------------------------------------------------------------------------------


def test_a_whole_test_is_told_whole() -> None:
    told = battery_result.result(ended(discharged(3600, alarms=frozenset()), 3605.0, duration_s=3600.0))
    assert told["testStartTime"].value == AT
    assert told["testResult"].value == 1  # nobody knows how long it was to last
    assert told["dischargeTime"].value == pytest.approx(1.0, rel=0.01)
    assert told["dischargeAhCurrent"].value == pytest.approx(12.0, rel=0.01)
    assert told["dischargeAvCurrent"].value == pytest.approx(12.0)
    assert told["efficiency"].value == pytest.approx(12.0, rel=0.01)  # of 100 Ah
    assert (told["dischargeEndVoltage"].value, told["testTemperature"].value) == (48.0, 25.0)
    assert told["testEndCourse"].value == 255


@pytest.mark.parametrize(("amps", "grade"), [(85.0, 2), (70.0, 3), (50.0, 4)])
def test_a_battery_is_judged_by_what_it_gave_before_its_voltage_was_down(amps: float, grade: int) -> None:
    told = battery_result.result(ended(discharged(3600, amps=amps, end_volts=48.0), 3605.0))
    assert (told["testResult"].value, told["testEndCourse"].value) == (grade, 1)


def test_a_test_of_which_one_reading_was_taken_is_told_by_it() -> None:
    told = battery_result.result(ended(see(begun(), 5.0, testing=True, amps=36.0, volts=48.0), 10.0))
    assert told["dischargeAhCurrent"].value == pytest.approx(36.0 * 7.5 / 3600)
    assert told["dischargeEndVoltage"].value == 48.0


def test_no_test_and_a_running_test_tell_no_result() -> None:
    assert battery_result.result(IDLE) == battery_result.NO_TEST
    told = battery_result.result(discharged(600))
    assert (told["testStartTime"].value, told["testResult"].value, len(told)) == (AT, 1, 2)


def test_what_the_device_does_not_have_is_not_support() -> None:
    told = battery_result.result(ended(discharged(600, lacks=frozenset({"amps"})), 605.0, lacks=frozenset({"amps"})))
    assert told["dischargeAhCurrent"] == told["dischargeAvCurrent"] == told["efficiency"] == NOT_SUPPORT
    assert told["dischargeEndVoltage"].value == 48.0


def test_the_voltage_before_the_test_is_no_end_voltage() -> None:
    test = advance(IDLE, said(Word.ORDERED, 0.0, Sight(volts=53.5)))
    test = see(advance(test, said(Word.CONFIRMED, 1.0)), 5.0, testing=True, amps=10.0)
    assert battery_result.result(ended(test, 10.0))["dischargeEndVoltage"].quality is Quality.NO_DATA


def test_a_cabinet_tells_the_worst_of_its_batteries() -> None:
    good = battery_result.result(ended(discharged(600, duration_s=600.0), 605.0))
    bad = battery_result.result(ended(discharged(600), 605.0, alarms=frozenset({"电池熔丝断"})))
    assert battery_result.worst([good, bad, battery_result.NO_TEST]) is bad
    assert battery_result.worst([]) is battery_result.NO_TEST


# --- restart ----------------------------------------------------------------------------------------------------------


def test_a_short_restart_is_bridged_and_a_long_one_is_said() -> None:
    stored = battery.read(battery.write(discharged(600)))
    assert stored
    test = battery.taken_up(stored, mono=7.0, at=AT + 640.0)  # of another boot, 40 s later
    test = see(test, 7.0, testing=True, amps=14.0, volts=47.0)
    test = see(test, 7.0, testing=True)
    assert test.measured.ah == pytest.approx((12.0 * 600 + 13.0 * 40) / 3600)
    told = battery_result.result(ended(test, 12.0))
    assert told["dischargeTime"].value == pytest.approx(642.5 / 3600)
    long = battery.taken_up(stored, mono=7.0, at=AT + 1200.0)
    long = see(see(long, 7.0, testing=True, amps=14.0, volts=47.0), 7.0, testing=True)
    told = battery_result.result(ended(long, 12.0))
    assert told["dischargeAhCurrent"] == told["efficiency"] == GET_FAILED
    assert told["dischargeTime"].value == pytest.approx(1202.5 / 3600)
    assert told["dischargeAvCurrent"].value == pytest.approx(12.0, rel=0.02)  # of what was seen


def test_a_test_that_ended_while_nobody_looked_has_no_length() -> None:
    test = battery.taken_up(discharged(600), mono=7.0, at=AT + 1200.0)
    told = battery_result.result(ended(test, 7.0))
    assert told["dischargeTime"] == told["dischargeEndVoltage"] == GET_FAILED
    assert told["testEndCourse"].value == 255


def test_a_wall_clock_that_went_back_makes_the_length_unsure() -> None:
    test = battery.taken_up(discharged(600), mono=7.0, at=AT - 1e6)
    assert battery_result.result(ended(see(test, 8.0, testing=True, amps=12.0), 13.0))["dischargeTime"] == GET_FAILED
    over = battery.taken_up(ended(discharged(600), 605.0), mono=7.0, at=AT - 1e6)
    assert battery_result.result(over)["dischargeTime"].value == pytest.approx(602.5 / 3600)


# --- whatever comes ---------------------------------------------------------------------------------------------------

ALARMS = st.frozensets(st.sampled_from([MAINS, UNWELL, "电池熔丝断", "电池电压低", "电池温度低"]), max_size=2)
SIGHTS = st.builds(
    Sight,
    testing=st.sampled_from([None, True, False]),
    amps=st.none() | st.floats(0, 500),
    volts=st.none() | st.floats(0, 60),
    celsius=st.none() | st.floats(-40, 60),
    rated_ah=st.none() | st.floats(1, 1000),
    alarms=ALARMS,
    lacks=st.frozensets(st.sampled_from(["amps", "volts", "celsius"])),
)
STEPS = st.lists(st.tuples(st.sampled_from(list(Word)), st.floats(0, 4000), SIGHTS, st.integers(0, 4)), max_size=40)


def after(steps: list[tuple[Word, float, Sight, int]]) -> tuple[Test, float]:
    test, mono = IDLE, 0.0
    for word, wait_s, sight, verdict in steps:
        mono += wait_s
        if battery.can(test, word):
            test = advance(test, said(word, mono, sight if word is Word.SIGHT else None, verdict))
    return test, mono


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_whatever_is_said_a_test_ends_and_its_text_is_read_back(steps: list) -> None:
    test, mono = after(steps)
    assert battery.read(battery.write(test)) == test
    told = battery_result.result(test)
    assert set(told) <= set(battery_result.NO_TEST) | {
        "testStartTime", "efficiency", "dischargeTime", "dischargeEndVoltage", "dischargeAvCurrent",
        "dischargeAhCurrent", "testTemperature", "testEndCourse",
    }  # fmt: skip
    assert all(one.value is None or math.isfinite(one.value) for one in told.values())
    assert (test.phase is Phase.ENDED) == (test.reason is not Reason.NONE)
    test = advance(test, said(Word.TICK, mono + battery.SILENT_S + 1.0))  # nobody says anything any more
    assert test.phase in (Phase.IDLE, Phase.ENDED)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0.5, 100.0), st.floats(0, 300)), min_size=1, max_size=60))
def test_the_sum_is_the_integral_of_the_current(samples: list[tuple[float, float]]) -> None:
    test, mono, points = begun(rated_ah=100.0), 0.0, []
    for wait_s, amps in samples:
        mono += wait_s
        test = see(test, mono, testing=True, amps=amps)
        points.append((mono, amps))
    test = ended(see(test, mono, testing=True), mono + 2.0)
    exact = points[0][0] * points[0][1]
    exact += sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(points))
    exact += 1.0 * points[-1][1]  # the end is in the middle of the time that nobody looked
    told = battery_result.result(test)
    assert told["dischargeAhCurrent"].value == pytest.approx(exact / 3600, rel=1e-6, abs=1e-9)
    assert told["dischargeTime"].value == pytest.approx((mono + 1.0) / 3600)


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"phase": "running"}', battery.write(IDLE).replace("idle", "?")]
)
def test_a_text_that_is_none_is_not_read(text: str) -> None:
    assert battery.read(text) is None
