"""What a turn that is put off costs, and what happens when a medium is back."""

from gantry_agent.field.request import Block, ReadRegisters
from gantry_agent.field.rota import Rota, Turn, UnitState


def turn(unit: UnitState, lane: str = "slow", period: float = 5.0) -> Turn:
    return Turn(unit, Block(ReadRegisters(1, 3, 0, 1), (), lane), lane, period)


def test_a_turn_that_is_put_off_is_due_when_the_line_is_ready_and_others_go_before():
    rota = Rota()
    a, b = UnitState("a"), UnitState("b")
    rota.add([turn(a), turn(b)])
    first, _ = rota.next(1.0)
    rota.put_off(first, 1.3)
    second, _ = rota.next(1.0)
    assert (first.unit.key, second.unit.key) == ("a", "b")
    rota.succeeded(second, 1.1)
    assert rota.next(1.2) == (None, 1.3)
    assert rota.next(1.3)[0] is first


def test_a_turn_whose_unit_has_to_be_prepared_first_keeps_its_place():
    rota = Rota()
    rota.add([turn(UnitState("a")), turn(UnitState("b"))])
    first, _ = rota.next(1.0)
    rota.put_off(first, first.due)
    assert {rota.next(1.0)[0].unit.key, rota.next(1.0)[0].unit.key} == {"a", "b"}


def test_when_the_medium_is_back_everybody_is_asked_at_once():
    rota = Rota()
    units = [UnitState(str(n)) for n in range(3)]
    rota.add(turn(unit, lane) for unit in units for lane in ("fast", "slow"))
    now = 0.0
    while True:  # nobody can be reached
        taken, due = rota.next(now)
        if taken is not None:
            rota.failed(taken, now)
        elif due > 300.0:
            break
        else:
            now = due
    rota.hurry(now)
    asked = set()
    while (taken := rota.next(now)[0]) is not None:
        asked.add(taken.unit.key)
        rota.failed(taken, now)  # one miss, and the rest of this unit waits again
    assert asked == {"0", "1", "2"}
