"""How a bus keeps up with what is asked of it: the share of time it is in use, and how far each lane stretches.

A lane that is asked for every 5 s and comes every 6 s has a stretch of 1.2. Figures are those of the latest window,
long enough for every turn of a lane that keeps up; whether to tell somebody is decided here as well, with a margin, so
that a line at the edge is told of once and not every minute. Pure: times are monotonic seconds, always given.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from gantry_agent.model import Lane

LATE = 1.2  # a lane that stretches further is told of
ON_TIME = 1.1  # and is told to keep up again below this
LEAST_WINDOW_S = 5.0
TURNS_PER_WINDOW = 3  # of the slow lane


@dataclass(frozen=True, slots=True)
class Load:
    """How a bus keeps up, in its latest window."""

    busy: float = 0.0  # share of the time in which something was due
    fast: float = 1.0  # stretch of the alarm and door points: interval between two readings over the one asked for
    slow: float = 1.0  # stretch of the measurements


@dataclass(frozen=True, slots=True)
class Change:
    """A lane that has fallen behind, or keeps up again."""

    lane: Lane
    late: bool
    stretch: float


@dataclass(slots=True)
class Gauge:
    """Measures the load of one bus."""

    began: float
    window_s: float
    load: Load = field(default_factory=Load)
    _idle_s: float = 0.0
    _waited_s: dict[Lane, float] = field(default_factory=lambda: {"fast": 0.0, "slow": 0.0})
    _wanted_s: dict[Lane, float] = field(default_factory=lambda: {"fast": 0.0, "slow": 0.0})
    _late: set[Lane] = field(default_factory=set)

    def idle(self, seconds: float) -> None:
        """Note a time in which nothing was due."""
        self._idle_s += seconds

    def read(self, lane: Lane, interval_s: float, period_s: float) -> None:
        """Note how long after the reading before it one has come, and after how long it was wanted."""
        self._waited_s[lane] += interval_s
        self._wanted_s[lane] += period_s

    def roll(self, now: float) -> Iterator[Change]:
        """Close the window when it is over; give what has changed enough to be told."""
        if now - self.began < self.window_s:
            return
        self.load = replace(self.load, busy=max(0.0, 1 - self._idle_s / (now - self.began)))
        self.began, self._idle_s = now, 0.0
        for lane, wanted_s in self._wanted_s.items():
            if not wanted_s:
                continue  # nothing of this lane was read twice: its figure stands
            stretch = max(1.0, self._waited_s[lane] / wanted_s)
            self.load = replace(self.load, fast=stretch) if lane == "fast" else replace(self.load, slow=stretch)
            self._waited_s[lane] = self._wanted_s[lane] = 0.0
            if (stretch > LATE and lane not in self._late) or (stretch < ON_TIME and lane in self._late):
                self._late ^= {lane}
                yield Change(lane, lane in self._late, stretch)


def gauge(now: float, slow_s: float) -> Gauge:
    """Begin to measure a bus whose measurements are asked for so often."""
    return Gauge(now, max(LEAST_WINDOW_S, TURNS_PER_WINDOW * slow_s))
