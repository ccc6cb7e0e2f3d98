"""How a bus keeps up, stepped by hand: what is measured, and that somebody is told once."""

from gantry_agent.field.load import Gauge, gauge


def test_a_bus_that_keeps_up_is_on_time_and_nothing_is_told():
    it = gauge(0.0, slow_s=5.0)
    for _ in range(3):
        it.read("slow", 5.0, 5.0)
        it.read("fast", 0.5, 0.5)
    it.idle(12.0)
    assert list(it.roll(15.0)) == []
    assert it.load.slow == it.load.fast == 1.0
    assert round(it.load.busy, 2) == 0.2


def test_a_lane_that_falls_behind_is_told_once_and_once_when_it_keeps_up_again():
    it = Gauge(0.0, 10.0)
    told = []
    for window, interval in enumerate([6.2, 6.5, 5.9, 5.4, 5.4, 7.0], start=1):
        it.read("slow", interval, 5.0)
        told += [(change.lane, change.late, round(change.stretch, 2)) for change in it.roll(10.0 * window)]
    assert told == [("slow", True, 1.24), ("slow", False, 1.08), ("slow", True, 1.4)]


def test_a_lane_of_which_nothing_was_read_keeps_its_figure():
    it = Gauge(0.0, 10.0)
    it.read("slow", 10.0, 5.0)
    assert [change.late for change in it.roll(10.0)] == [True]
    assert list(it.roll(20.0)) == []
    assert it.load.slow == 2.0


def test_the_window_is_closed_only_when_it_is_over():
    it = gauge(0.0, slow_s=60.0)
    it.read("slow", 90.0, 60.0)
    assert list(it.roll(179.9)) == []
    assert it.load.slow == 1.0
    assert [change.stretch for change in it.roll(180.0)] == [1.5]
