"""Was every upload that was due accepted, and if not, why? Pure arithmetic over what the store wrote down.

The theory. A tick is due when a stretch of running covers it: one process, on one clock, with one schedule. A stretch
reaches as far as its last heartbeat, and a heartbeat never passes a tick whose record is not in the outbox yet; so a
process that dies while building one leaves that tick outside its stretch. Accepted ticks are kept as spans of
neighbours, so that a month without trouble is one row per cabinet, written in the record's own transaction. Then

* a tick inside a stretch is accepted, or a mark says what went wrong, or it is unexplained: a bug of ours;
* a tick between two stretches was missed for the reason that ended the first: stopped, killed, power, clock.

What became of a record after it was accepted is the outbox's own double entry. Knows no clock, no database.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor
from typing import Final

Series = tuple[str, int]  # channel, cabinet
Schedule = Mapping[Series, tuple[int, int]]  # interval and phase, seconds

STALE_S: Final = 300.0  # a running agent's heartbeat is at most so old

# How a stretch ended.
STOPPED, KILLED, POWER, CLOCK, SCHEDULE = "stopped", "killed", "power", "clock stepped", "schedule changed"
DAMAGED: Final = "database damaged"  # what was written down about these ticks cannot be read
NOT_RUNNING: Final = "not running"
NO_PROGRESS: Final = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring ticks whose records were accepted, first and last included."""

    series: Series
    interval_s: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """An uninterrupted run of the agent; `ended` is empty while it lasts."""

    began_at: float
    seen_at: float
    ended: str
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that kept ticks from being taken while the agent ran."""

    from_at: float
    until_at: float
    cause: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Neighbouring ticks of one series without a record; an empty cause means that nobody knows why."""

    series: Series
    first: int
    last: int
    count: int
    cause: str


@dataclass(frozen=True, slots=True)
class Books:
    """What the store wrote down, oldest first."""

    stretches: Sequence[Stretch]
    spans: Sequence[Span]
    marks: Sequence[Mark]


def last_tick(now: float, interval_s: int, phase_s: int) -> int:
    """The latest tick that is not after now."""
    return int((now - phase_s) // interval_s) * interval_s + phase_s


def gaps(books: Books, since: float, now: float, *, running: bool) -> tuple[Gap, ...]:
    """Every due tick from since to now without a record, with its cause; `running` tells whether the agent runs."""
    found: dict[tuple[Series, int], tuple[int, str]] = {}
    accepted = {series: _accepted(books.spans, series, since, now) for series in _all_series(books)}
    for i, stretch in enumerate(books.stretches):
        following = books.stretches[i + 1] if i + 1 < len(books.stretches) else None
        for series, (interval_s, phase_s) in stretch.schedule.items():
            for tick in _ticks(max(since, stretch.began_at), min(now, stretch.seen_at), interval_s, phase_s):
                if tick not in accepted[series]:
                    found[series, tick] = (interval_s, _marked(books.marks, tick))
            until, cause = _pause(stretch, following, now, running=running)
            for tick in _ticks(max(since, floor(stretch.seen_at) + 1), min(now, until), interval_s, phase_s):
                if tick not in accepted[series] and not _covered(books.stretches, series, tick):
                    found[series, tick] = (interval_s, cause)
    return _joined(found)


def _pause(stretch: Stretch, following: Stretch | None, now: float, *, running: bool) -> tuple[float, str]:
    """How long nothing was due after a stretch, and why."""
    if following is not None:
        return following.began_at, stretch.ended or KILLED
    if running and now - stretch.seen_at <= STALE_S:
        return stretch.seen_at, ""
    return now, NO_PROGRESS if running else stretch.ended or NOT_RUNNING


def _all_series(books: Books) -> set[Series]:
    return {series for stretch in books.stretches for series in stretch.schedule}


def _accepted(spans: Iterable[Span], series: Series, since: float, now: float) -> set[int]:
    ticks: set[int] = set()
    for span in spans:
        if span.series == series and span.last >= since and span.first <= now:
            skipped = max(0, int(since - span.first) // span.interval_s)
            ticks.update(range(span.first + skipped * span.interval_s, min(span.last, int(now)) + 1, span.interval_s))
    return ticks


def _ticks(since: float, until: float, interval_s: int, phase_s: int) -> range:
    first = last_tick(since, interval_s, phase_s)
    return range(first if first >= since else first + interval_s, int(until) + 1, interval_s)


def _marked(marks: Iterable[Mark], tick: int) -> str:
    return next((mark.cause for mark in marks if mark.from_at <= tick <= mark.until_at), "")


def _covered(stretches: Iterable[Stretch], series: Series, tick: int) -> bool:
    """Tell whether a stretch ran at that time: then it answers for the tick, whatever a wrong clock said since."""
    return any(s.began_at <= tick <= s.seen_at and series in s.schedule for s in stretches)


def _joined(found: Mapping[tuple[Series, int], tuple[int, str]]) -> tuple[Gap, ...]:
    joined: list[Gap] = []
    for (series, tick), (interval_s, cause) in sorted(found.items()):
        last = joined[-1] if joined else None
        if last and last.series == series and last.cause == cause and tick - last.last <= interval_s:
            joined[-1] = replace(last, last=tick, count=last.count + 1)
        else:
            joined.append(Gap(series, tick, tick, 1, cause))
    return tuple(joined)
