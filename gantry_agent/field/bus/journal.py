"""What a bus remembers about its conversations: counts and latencies per unit, and the latest raw frames.

The technician's first question is "is it the cable?", and these answer it. Cheap on purpose: a count and two appends
per transaction. Also here, since every link needs it as well: the back-off between attempts to open a medium. Times
are monotonic and given from outside; nothing here waits.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from gantry_agent.model import BadReply, DeviceRefused, NoReply, Value

KEPT_LATENCIES = 100
KEPT_FRAMES = 200


class Frame(NamedTuple):
    """Raw bytes as they went over the medium; `at` is monotonic."""

    at: float
    direction: Literal["sent", "received"]
    data: bytes


@dataclass(frozen=True, slots=True)
class UnitStatistics:
    """Counts since the start, and the time from question to answer of the latest good transactions."""

    ok: int
    refused: int
    timeouts: int
    bad: int
    late: int  # answers that came when nobody waited for them any more
    latencies_s: tuple[float, ...]


@dataclass(slots=True)
class _Unit:
    ok: int = 0
    refused: int = 0
    timeouts: int = 0
    bad: int = 0
    late: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_LATENCIES))


class Journal:
    """The memory of one bus."""

    def __init__(self) -> None:
        self._units: dict[int, _Unit] = {}
        self._frames: deque[Frame] = deque(maxlen=KEPT_FRAMES)

    @contextmanager
    def transaction(self, unit: int) -> Iterator[None]:
        """Count how the transaction inside fails; a good one is counted by `answered`."""
        try:
            yield
        except NoReply:
            self._unit(unit).timeouts += 1
            raise
        except BadReply:
            self._unit(unit).bad += 1
            raise
        except DeviceRefused:
            self._unit(unit).refused += 1
            raise

    def answered(self, unit: int, latency_s: float) -> None:
        counts = self._unit(unit)
        counts.ok += 1
        counts.latencies.append(latency_s)

    def came_late(self, unit: int) -> None:
        self._unit(unit).late += 1

    def frame(self, at: float, direction: Literal["sent", "received"], data: bytes) -> None:
        self._frames.append(Frame(at, direction, data))

    def slowest_s(self, unit: int) -> float | None:
        """Tell the longest of the latencies kept, None when the unit has never answered."""
        return max(self._unit(unit).latencies, default=None)

    @property
    def frames(self) -> tuple[Frame, ...]:
        return tuple(self._frames)

    @property
    def statistics(self) -> Mapping[int, UnitStatistics]:
        return {
            number: UnitStatistics(u.ok, u.refused, u.timeouts, u.bad, u.late, tuple(u.latencies))
            for number, u in self._units.items()
        }

    def _unit(self, number: int) -> _Unit:
        if (counts := self._units.get(number)) is None:
            counts = self._units[number] = _Unit()
        return counts


class Backoff:
    """Between attempts to open: 0.5 s doubling to 30 s, until something has been answered."""

    FIRST_S = 0.5
    LAST_S = 30.0

    def __init__(self) -> None:
        self._wait_s = 0.0
        self._until = 0.0

    def remaining_s(self, now: float) -> float:
        return max(0.0, self._until - now)

    def failed(self, now: float) -> None:
        self._wait_s = min(max(self._wait_s * 2, self.FIRST_S), self.LAST_S)
        self._until = now + self._wait_s

    def worked(self) -> None:
        self._wait_s = self._until = 0.0


def text_setting(settings: Mapping[str, Value | None], key: str, default: str | None = None) -> str:
    """Give a setting of a bus as text; one that is missing and has no default is a ValueError."""
    value = settings.get(key)
    if value is None:
        value = default
    if value is None:
        raise ValueError(f"cannot open the bus: {key} is missing")
    return str(value)


def number_setting(settings: Mapping[str, Value | None], key: str, default: float) -> float:
    """Give a setting of a bus as a number."""
    value = settings.get(key)
    return default if value is None else float(value)
