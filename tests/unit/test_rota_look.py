"""A look at what a device may have to tell out of its turn, for what may belong to an event seen elsewhere (D18)."""

from gantry_agent.field.request import Block, Placed, ReadRegisters
from gantry_agent.field.rota import FAST_RUN, Rota, Turn, UnitState


def turn(unit: UnitState, lane: str, period: float, point: str = "alarm") -> Turn:
    return Turn(unit, Block(ReadRegisters(1, 3, 0, 1), (Placed(point, int),), lane), lane, period)


def taken_once(rota: Rota, turns: list[Turn]) -> None:
    rota.add(turns)
    for _ in turns:
        taken, _ = rota.next(0.0)
        rota.succeeded(taken, 0.0)
    assert rota.next(0.1)[0] is None


def test_only_the_blocks_of_that_unit_with_these_points_come_forward():
    rota, looked, other = Rota(), UnitState("looked"), UnitState("other")
    turns = [turn(looked, "fast", 0.5), turn(looked, "slow", 5.0, "energy"), turn(other, "fast", 0.5)]
    taken_once(rota, turns)
    rota.look(looked, 0.1, {"alarm"})
    taken, _ = rota.next(0.1)
    assert taken is turns[0]
    rota.succeeded(taken, 0.15)
    assert rota.next(0.2)[0] is None


def test_a_measurement_on_which_an_alarm_rests_comes_forward_too():
    rota, looked = Rota(), UnitState("looked")
    turns = [turn(looked, "fast", 0.5), turn(looked, "slow", 30.0, "mode"), turn(looked, "slow", 30.0, "energy")]
    taken_once(rota, turns)
    rota.look(looked, 0.1, {"alarm", "mode"})
    for wanted in turns[:2]:
        taken, _ = rota.next(0.1)
        assert taken is wanted
        rota.succeeded(taken, 0.1)
    assert rota.next(0.2)[0] is None


def test_a_turn_that_is_on_the_wire_meanwhile_is_taken_again():
    rota, looked = Rota(), UnitState("looked")
    rota.add([turn(looked, "fast", 0.5)])
    taken, _ = rota.next(0.0)
    rota.look(looked, 0.05, {"alarm"})
    rota.succeeded(taken, 0.06)
    again, _ = rota.next(0.06)
    assert again is taken


def test_what_is_looked_at_goes_before_all_that_is_due_and_takes_no_turn_from_measurements():
    rota, looked, other = Rota(), UnitState("looked"), UnitState("other")
    waiting = [turn(other, "fast", 0.4) for _ in range(3)] + [turn(other, "slow", 0.4, "energy")]
    wanted = [*(turn(looked, "fast", 60.0) for _ in range(FAST_RUN)), turn(looked, "slow", 60.0, "mode")]
    taken_once(rota, [*waiting, *wanted])
    rota.look(looked, 0.5, {"alarm", "mode"})
    taken = []
    for _ in (*wanted, *waiting):
        one, _ = rota.next(0.5)
        taken.append(one)
        rota.succeeded(one, 0.5)
    assert taken == [*wanted, *waiting]


def test_a_look_at_a_unit_that_falls_silent_waits_for_its_next_probe_like_all_of_it():
    rota, looked = Rota(), UnitState("looked")
    one, two = turn(looked, "fast", 60.0), turn(looked, "fast", 60.0)
    taken_once(rota, [one, two])
    rota.look(looked, 1.0, {"alarm"})
    taken, _ = rota.next(1.0)
    rota.failed(taken, 1.3)
    nothing, due = rota.next(1.3)
    assert nothing is None
    assert due == looked.silent_until
