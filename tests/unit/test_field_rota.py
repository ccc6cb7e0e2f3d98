"""Turn-taking, stepped by hand: priorities, fairness, and what a silent unit costs its neighbours."""

from gantry_agent.field.request import Block, ReadRegisters
from gantry_agent.field.rota import Rota, Turn, UnitState, pause


def turn(unit: UnitState, lane: str = "slow", period: float = 5.0) -> Turn:
    return Turn(unit, Block(ReadRegisters(1, 3, 0, 1), (), lane), lane, period)


def drive(rota: Rota, seconds: float, cost: float, dead: set[str] = frozenset(), silence: float = 0.3):
    """Step the line's time; return how often each unit was asked, and the time its answers took."""
    now, asked = 0.0, {}
    while now < seconds:
        taken, due = rota.next(now)
        if taken is None:
            now = max(due, now + 1e-6)
            continue
        key = taken.unit.key
        asked[key] = asked.get(key, 0) + 1
        if key in dead:
            now += silence
            rota.failed(taken, now)
        else:
            now += cost
            rota.succeeded(taken, now)
    return asked


def test_the_fast_lane_goes_before_measurements():
    rota = Rota()
    a, b = UnitState("slow"), UnitState("fast")
    rota.add([turn(a), turn(b, "fast", 0.5)])
    first, _ = rota.next(0.0)
    assert first.unit.key == "fast"


def test_a_fast_lane_that_fills_the_line_still_leaves_turns_for_measurements():
    rota = Rota()
    rota.add([turn(UnitState("fast"), "fast", 0.05), turn(UnitState("slow"))])
    asked = drive(rota, 60.0, cost=0.1)
    assert asked["slow"] >= 60.0 / 5.0 - 1  # measurements keep their own period
    assert asked["fast"] > asked["slow"]


def test_ticks_that_went_by_are_skipped_not_caught_up():
    rota = Rota()
    rota.add([turn(UnitState("a"), period=1.0)])
    taken, _ = rota.next(0.0)
    rota.succeeded(taken, 7.5)
    assert taken.due == 8.0


def test_one_dead_unit_of_eight_costs_its_neighbours_less_than_a_tenth():
    def cycles(dead):
        rota = Rota()
        rota.add(turn(UnitState(str(i)), period=0.5) for i in range(8))  # a line that is never idle: 8 x 0.0825 s
        asked = drive(rota, 600.0, cost=0.0825, dead=dead)
        return min(n for key, n in asked.items() if key not in dead) / (8 - len(dead)) * 8

    assert cycles({"3"}) >= cycles(set()) / 1.10
    assert cycles({"1", "3", "5", "7"}) >= cycles(set()) / 1.25


def test_a_unit_that_returns_is_asked_within_a_minute_and_then_all_its_blocks_at_once():
    rota = Rota()
    unit = UnitState("a")
    turns = [turn(unit), turn(unit), turn(unit, "fast", 0.5)]
    rota.add(turns)
    drive(rota, 600.0, cost=0.1, dead={"a"})
    now, last = 600.0, 600.0
    for _ in range(10):
        taken, due = rota.next(now)
        while taken is None:
            now = due
            taken, due = rota.next(now)
        assert now - last <= 60.0
        last = now
        rota.failed(taken, now)
    taken, due = rota.next(now := max(now, unit.silent_until))
    while taken is None:
        now = due
        taken, due = rota.next(now)
    assert rota.succeeded(taken, now)
    assert all(other.due == now for other in turns if other is not taken)


def test_a_unit_of_which_only_one_block_fails_is_probed_by_another():
    rota = Rota()
    unit = UnitState("a")
    bad, good = turn(unit, "fast", 0.5), turn(unit)
    rota.add([bad, good])
    now, worst = 0.0, 0
    while now < 300.0:
        taken, due = rota.next(now)
        if taken is None:
            now = due
            continue
        now += 0.1
        if taken is bad:
            rota.failed(taken, now)
        else:
            rota.succeeded(taken, now)
        worst = max(worst, unit.misses)
    assert worst == 1


def test_a_dropped_turn_is_never_taken():
    rota = Rota()
    unit = UnitState("a")
    rota.add([turn(unit), turn(unit, "fast", 1.0)])
    rota.drop(unit)
    assert rota.next(10.0)[0] is None


def test_pauses_double_to_a_bound():
    assert [pause(n) for n in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert pause(50) == 25.0


def test_a_hint_brings_every_turn_of_its_unit_forward_and_no_other():
    rota = Rota()
    a, b = UnitState("a"), UnitState("b")
    turns = [turn(a, "fast", 60.0), turn(a, "slow", 60.0), turn(b, "fast", 60.0)]
    rota.add(turns)
    for _ in turns:
        rota.succeeded(rota.next(0.0)[0], 0.0)
    assert rota.next(1.0) == (None, 60.0)
    rota.hint(a, 2.0)
    assert rota.next(1.0) == (None, 2.0)
    assert [rota.next(2.0)[0] for _ in range(2)] == turns[:2]
    assert rota.next(2.0) == (None, 60.0)


def test_a_hint_during_the_reading_that_it_concerns_has_it_read_again():
    """What the agent answers may be from before its trap."""
    rota = Rota()
    unit = UnitState("a")
    rota.add([turn(unit, "fast", 60.0)])
    taken, _ = rota.next(0.0)
    rota.hint(unit, 0.1)
    rota.succeeded(taken, 0.2)
    again, _ = rota.next(0.2)
    assert again is taken
    rota.succeeded(again, 0.3)
    assert rota.next(0.3) == (None, 60.1)  # its own cadence, counted from the hint


def test_a_hint_costs_a_silent_unit_one_probe():
    rota = Rota()
    unit = UnitState("a")
    rota.add([turn(unit, "fast", 1.0), turn(unit, "slow", 1.0)])
    now = 0.0
    while unit.misses < 8:
        taken, due = rota.next(now)
        now = due if taken is None else now + 0.1
        if taken is not None:
            rota.failed(taken, now)
    rota.hint(unit, now)
    probe, _ = rota.next(now)
    assert probe is not None
    rota.failed(probe, now + 0.1)
    assert rota.next(now + 0.2)[0] is None


def test_a_unit_that_is_planned_anew_loses_the_turn_on_the_wire_too():
    rota = Rota()
    unit = UnitState("a")
    rota.add([turn(unit), turn(unit)])
    taken, _ = rota.next(0.0)
    rota.drop(unit)
    rota.succeeded(taken, 0.1)
    assert rota.next(100.0)[0] is None
