"""The clock of the uploads, on a clock that jumps: neither skipped nor bunched, and spread over gantries (D19)."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.ticks import Phased, phase

NOW = datetime(2026, 11, 24, 5, 30, tzinfo=UTC)


def test_ticks_fall_on_the_phase_of_the_interval():
    trigger = Phased(600, 123)
    first = trigger.get_next_fire_time(None, NOW)
    assert first.timestamp() % 600 == 123
    assert timedelta(0) < first - NOW <= timedelta(seconds=600)
    assert trigger.get_next_fire_time(first, first) - first == timedelta(seconds=600)


@given(st.integers(10, 86400), st.floats(-10 * 365, 10 * 365))
def test_after_a_jump_the_next_tick_is_within_one_interval_of_the_new_time(interval, days):
    trigger = Phased(interval, phase("G000211001002110010", interval))
    previous = trigger.get_next_fire_time(None, NOW)
    jumped = previous + timedelta(days=days)
    following = trigger.get_next_fire_time(previous, jumped)
    assert following > jumped
    assert following - jumped <= timedelta(seconds=2 * interval)
    assert trigger.get_next_fire_time(None, jumped) - jumped <= timedelta(seconds=interval)


def test_gantries_are_spread_over_the_interval():
    minutes = Counter(phase(f"G0002110010021100{n:02}", 600) // 60 for n in range(100))
    assert len(minutes) == 10
    assert max(minutes.values()) < 25
