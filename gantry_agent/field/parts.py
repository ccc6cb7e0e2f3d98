"""A block asked in parts: between its points, so that no part's answer looks like one that the unit still owes.

A unit that owes an answer is asked nothing, for seconds, whose answer would look the same (`bus.debts`). Only what is
longer than one point can be asked otherwise; a single point waits. Pure: the link tells how long it would wait.
"""

from collections.abc import Callable

from gantry_agent.field import plan
from gantry_agent.field.request import Block, Request
from gantry_agent.field.rota import Turn

Parts = tuple[Block, ...]


def askable(turn: Turn, held_s: Callable[[Request], float], worth_s: float) -> tuple[float, Parts]:
    """Tell how long what is left of a turn has to wait, and in which parts it is asked then.

    A wait of `worth_s` or less is not worth a second question.
    """
    first, *others = turn.parts or (turn.block,)
    wait_s, parts = _cut(first, held_s, worth_s)
    return wait_s, (*parts, *others)


def _cut(block: Block, held_s: Callable[[Request], float], worth_s: float) -> tuple[float, Parts]:
    wait_s = held_s(block.request)
    if wait_s <= worth_s or not (halves := plan.split(block)):
        return wait_s, (block,)
    tried = [_cut(half, held_s, worth_s) for half in halves]
    sooner_s = max(half_s for half_s, _ in tried)
    if sooner_s + worth_s > wait_s:
        return wait_s, (block,)
    return sooner_s, tuple(part for _, parts in tried for part in parts)
