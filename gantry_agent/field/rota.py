"""Whose turn it is on one bus: a pure account of what is due, without a clock or a wire.

A turn is one block read of one unit. The fast lane (alarm and door points) goes before measurements; after
`FAST_RUN` fast turns in a row a waiting measurement has one, so that a line too slow for its fast lane still measures.
What somebody waits for, a look at who may show the same mains failure, goes before both.
A turn that failed comes back later and later; a unit of which nothing answers gets one probe at a time, further and
further apart, so its neighbours keep their cycle. Times are monotonic seconds, always given.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from gantry_agent.field.request import Block
from gantry_agent.model import Lane, Quality, Value

FAST_RUN = 8
FIRST_PAUSE_S = 0.5  # after the first miss; doubles
LONGEST_PAUSE_S = 25.0  # twice this, the longest wait of one turn, and its response time stay within a minute


def pause(misses: int) -> float:
    """How long to leave alone what missed so many times in a row."""
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(misses - 1, 16)))


@dataclass(eq=False, slots=True)
class UnitState:
    """What the rota keeps of one device on the bus."""

    key: str
    misses: int = 0  # consecutive, of whatever was asked
    silent_until: float = 0.0


@dataclass(eq=False, slots=True)
class Turn:
    """One block of one unit, and when it is due."""

    unit: UnitState
    block: Block
    lane: Lane
    period_s: float
    due: float = 0.0
    misses: int = 0
    looked: bool = False  # somebody waits for it (`Rota.look`)
    hinted: float | None = None  # while it was on the wire somebody asked for it to be taken again at this time
    read_at: float | None = None  # of the latest answer, None after a miss
    tried: bool = False
    dropped: bool = False
    doubted: bool = False  # the latest answer had a value that is to be read again
    parts: tuple[Block, ...] = ()  # left of the block while it is asked in parts
    read: dict[str, Value | Quality] = field(default_factory=dict)  # by the parts before those


@dataclass(slots=True)
class Rota:
    """The turns of one bus, ordered by when they are due."""

    _lanes: dict[Lane, list[tuple[float, int, Turn]]] = field(default_factory=lambda: {"fast": [], "slow": []})
    _count: Iterator[int] = field(default_factory=itertools.count)
    _fast_in_a_row: int = 0
    _taken: Turn | None = None  # on the wire now

    def add(self, turns: Iterable[Turn]) -> None:
        for turn in turns:
            self._push(turn)

    def drop(self, unit: UnitState) -> None:
        """Forget every turn of a unit, the one on the wire too, before it is planned anew."""
        for turn in self._turns():
            if turn.unit is unit:
                turn.dropped = True
        if self._taken is not None and self._taken.unit is unit:
            self._taken.dropped = True

    def all_tried(self, unit: UnitState | None = None) -> bool:
        """Tell whether every turn (of a unit) has been taken once; a unit that is silent counts as tried."""
        return all(
            turn.tried or turn.dropped or turn.unit.misses
            for turn in self._turns()
            if unit is None or turn.unit is unit
        )

    def begin_round(self, done: Turn) -> None:
        """Count the other turns of a unit as not yet tried."""
        for turn in self._turns():
            if turn.unit is done.unit and turn is not done:
                turn.tried = False

    def put_off(self, turn: Turn, until: float) -> None:
        """Put a turn back untaken: it is due again at `until`, at once when that is over."""
        turn.due = max(turn.due, until)
        self._push(turn)

    def hint(self, unit: UnitState, at: float) -> None:
        """Bring every turn of a unit forward to `at`; a silent one gets its next probe then."""
        unit.silent_until = min(unit.silent_until, at)
        for lane, heap in self._lanes.items():
            for _, _, turn in heap:
                if turn.unit is unit:
                    turn.due = min(turn.due, at)
            self._order(lane)
        if self._taken is not None and self._taken.unit is unit:
            self._taken.hinted = at

    def look(self, unit: UnitState, at: float, points: Collection[str]) -> None:
        """Bring what reads these points of a unit that answers before all else that is due at `at`, of either lane."""
        for lane, heap in self._lanes.items():
            for _, _, turn in heap:
                if turn.unit is unit and any(key in points for key in turn.block.keys):
                    turn.due, turn.looked = min(turn.due, at), True
            self._order(lane)
        taken = self._taken
        if taken is not None and taken.unit is unit and any(key in points for key in taken.block.keys):
            taken.hinted, taken.looked = at, True

    def hurry(self, now: float) -> None:
        """The medium is back: whoever was silent without it is asked now."""
        for lane, heap in self._lanes.items():
            for _, _, turn in heap:
                if turn.unit.misses:
                    turn.unit.silent_until = 0.0
                    turn.due = min(turn.due, now)
            self._order(lane)

    def _turns(self) -> Iterator[Turn]:
        return (turn for lane in self._lanes.values() for _, _, turn in lane)

    def next(self, now: float) -> tuple[Turn | None, float]:
        """Take the turn that is due, or tell None and when the next one will be (monotonic seconds)."""
        fast, slow = self._head("fast", now), self._head("slow", now)
        fast_due, slow_due = fast is not None and fast.due <= now, slow is not None and slow.due <= now
        if slow is not None and slow_due and slow.looked and not (fast is not None and fast.looked):
            return self._take("slow"), now
        if fast is not None and fast_due and (fast.looked or not (slow_due and self._fast_in_a_row >= FAST_RUN)):
            self._fast_in_a_row += not fast.looked
            return self._take("fast"), now
        if slow_due:
            self._fast_in_a_row = 0
            return self._take("slow"), now
        return None, min((turn.due for turn in (fast, slow) if turn), default=now + LONGEST_PAUSE_S)

    def succeeded(self, turn: Turn, now: float) -> bool:
        """Put a turn back after an answer; tell whether its unit was silent until now, and then hurry its others."""
        was_silent = turn.unit.misses > 0
        turn.tried = True
        turn.misses = turn.unit.misses = 0
        turn.unit.silent_until = 0.0
        late = now - turn.due
        turn.due += turn.period_s * (1 + late // turn.period_s)  # ticks that went by are skipped, not caught up
        self._push(turn)
        if was_silent:
            self._move(turn, lambda _: now)
        return was_silent

    def refused(self, turn: Turn, now: float) -> None:
        """Put a turn back whose unit answered that it cannot just now: later and later; nothing else of it waits."""
        turn.tried = True
        turn.misses += 1
        turn.unit.misses, turn.unit.silent_until = 0, 0.0
        turn.due = now + max(turn.period_s, pause(turn.misses))
        self._push(turn)

    def failed(self, turn: Turn, now: float) -> None:
        """Put a turn back after no usable answer; the unit's next probe is another of its blocks, if it has one.

        So a unit of which only one block fails is never taken for dead.
        """
        turn.tried = True
        turn.misses += 1
        turn.unit.misses += 1
        until = now + pause(turn.unit.misses)
        turn.unit.silent_until = until
        turn.due = until + pause(turn.misses)
        self._push(turn)
        self._move(turn, lambda due: min(due, until))

    def _take(self, lane: Lane) -> Turn:
        turn = self._taken = heapq.heappop(self._lanes[lane])[2]
        turn.hinted, turn.looked = None, False
        return turn

    def _push(self, turn: Turn) -> None:
        if turn is self._taken:
            self._taken = None
            if turn.hinted is not None:
                turn.due = min(turn.due, turn.hinted)
        heapq.heappush(self._lanes[turn.lane], (_place(turn), next(self._count), turn))

    def _head(self, lane: Lane, now: float) -> Turn | None:
        """Show the first turn of a lane that may go; turns of silent units move to the end of the silence."""
        heap = self._lanes[lane]
        while heap:
            _, _, turn = heap[0]
            if turn.dropped:
                heapq.heappop(heap)
            elif turn.due <= now < turn.unit.silent_until:
                heapq.heappop(heap)
                turn.due, turn.looked = turn.unit.silent_until, False
                self._push(turn)
            else:
                return turn
        return None

    def _move(self, done: Turn, to: Callable[[float], float]) -> None:
        """Change when the other turns of a unit are due."""
        for lane, heap in self._lanes.items():
            for _, _, turn in heap:
                if turn.unit is done.unit and turn is not done:
                    turn.due = to(turn.due)
            self._order(lane)

    def _order(self, lane: Lane) -> None:
        self._lanes[lane] = [(_place(turn), n, turn) for _, n, turn in self._lanes[lane]]
        heapq.heapify(self._lanes[lane])


def _place(turn: Turn) -> float:
    """Where a turn stands in its lane."""
    return -math.inf if turn.looked else turn.due
