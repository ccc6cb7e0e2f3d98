"""A look at the alarm points of a device out of its turn, for what may belong to an event seen elsewhere (D18)."""

from gantry_agent.field.request import Block, ReadRegisters
from gantry_agent.field.rota import Rota, Turn, UnitState


def turn(unit: UnitState, lane: str, period: float) -> Turn:
    return Turn(unit, Block(ReadRegisters(1, 3, 0, 1), (), lane), lane, period)


def test_only_the_fast_lane_of_that_unit_comes_forward():
    rota, looked, other = Rota(), UnitState("looked"), UnitState("other")
    turns = [turn(looked, "fast", 0.5), turn(looked, "slow", 5.0), turn(other, "fast", 0.5)]
    rota.add(turns)
    for _ in turns:
        taken, _ = rota.next(0.0)
        rota.succeeded(taken, 0.0)
    assert rota.next(0.1)[0] is None
    rota.look(looked, 0.1)
    taken, _ = rota.next(0.1)
    assert taken is turns[0]
    rota.succeeded(taken, 0.15)
    assert rota.next(0.2)[0] is None


def test_a_turn_that_is_on_the_wire_meanwhile_is_taken_again():
    rota, looked = Rota(), UnitState("looked")
    rota.add([turn(looked, "fast", 0.5)])
    taken, _ = rota.next(0.0)
    rota.look(looked, 0.05)
    rota.succeeded(taken, 0.06)
    again, _ = rota.next(0.06)
    assert again is taken
