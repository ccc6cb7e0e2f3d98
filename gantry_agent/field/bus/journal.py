"""What a bus remembers about its conversations: counts and times per unit, how questions ended, and the raw frames.

The technician's first question is "is it the cable?", and these answer it; the nouns are `core.stethoscope`, the
frames' ring `recorder`. Cheap on purpose: a good transaction costs a count and four appends, and only a failed one is
looked at closely. Also here, since every link needs it as well: the back-off between attempts to open a medium. Times
are monotonic and given from outside; nothing here waits.
"""

import errno
import socket
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

from gantry_agent.core.stethoscope import (
    WORKING,
    BusStatistics,
    Down,
    DownKind,
    Ending,
    Stray,
    Trouble,
    UnitStatistics,
)
from gantry_agent.field.bus.recorder import Direction, Frame, Recorder
from gantry_agent.model import BadReply, BusDown, DeviceRefused, NoReply, Value

__all__ = ["Backoff", "Frame", "Journal", "UnitStatistics", "number_setting", "text_setting"]

KEPT_LATENCIES = 100
KEPT_ENDINGS = 128
KEPT_TROUBLES = 64
SHOWN_FRAMES = 200
STRAYS_S = 600.0  # strays older than this say nothing about the line as it is now
KEPT_STRAYS = 200
GATEWAY_CODES = frozenset({10, 11})  # Modbus exceptions; no SNMP status that an agent gives for a read

_DOWN_KINDS: Mapping[int | None, DownKind] = {
    errno.ENOENT: "missing",
    errno.ENODEV: "missing",
    errno.ENXIO: "missing",
    errno.EIO: "missing",
    errno.EACCES: "forbidden",
    errno.EPERM: "forbidden",
    errno.EAGAIN: "busy",
    errno.EBUSY: "busy",
    errno.ECONNREFUSED: "refused",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ETIMEDOUT: "unreachable",
}


@dataclass(slots=True)
class _Unit:
    """What is kept of one unit. As a context it counts how the transaction inside fails."""

    journal: "Journal"
    ok: int = 0
    refused: int = 0
    timeouts: int = 0
    bad: int = 0
    late: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_LATENCIES))
    silences: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_LATENCIES))
    recent: deque[Ending] = field(default_factory=lambda: deque(maxlen=KEPT_ENDINGS))
    troubles: deque[tuple[int, Trouble]] = field(default_factory=lambda: deque(maxlen=KEPT_TROUBLES))
    lates: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=KEPT_TROUBLES))
    endings: Counter[Ending] = field(default_factory=Counter)
    broken_at: Counter[int] = field(default_factory=Counter)

    @property
    def number(self) -> int:
        """The number of the latest question."""
        return self.ok + self.refused + self.timeouts + self.bad

    def __enter__(self) -> None:
        self.journal.trouble = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            return
        match error:
            case BusDown():  # nothing was asked: it says nothing of the unit
                self.journal.down(error)
            case NoReply():
                self.timeouts += 1
                if not self.journal.held_back:
                    self._end(Trouble(Ending.SILENT))
            case BadReply():
                self.bad += 1
                self._end(Trouble(Ending.BAD))
            case DeviceRefused(code=code):
                self.refused += 1
                self._end(Trouble(Ending.GATEWAY if code in GATEWAY_CODES else Ending.REFUSED))

    def _end(self, usual: Trouble) -> None:
        trouble = self.journal.trouble or usual
        self.recent.append(trouble.ending)
        self.endings[trouble.ending] += 1
        self.troubles.append((self.number, trouble))
        if trouble.at is not None:
            self.broken_at[trouble.at] += 1  # positions are below 256, a frame has no more

    def statistics(self) -> UnitStatistics:
        oldest = self.number - KEPT_ENDINGS
        return UnitStatistics(
            *(self.ok, self.refused, self.timeouts, self.bad, self.late, tuple(self.latencies)),
            silences_s=tuple(self.silences),
            late_s=tuple(latency_s for number, latency_s in self.lates if number > oldest),
            recent=tuple(self.recent),
            troubles=tuple(trouble for number, trouble in self.troubles if number > oldest),
            endings=dict(self.endings),
            broken_at=dict(self.broken_at),
        )


class Nothing:
    """A context that counts nothing."""

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


NOTHING = Nothing()


class Journal:
    """The memory of one bus."""

    def __init__(self) -> None:
        self._units: dict[int, _Unit] = {}
        self.recorder = Recorder()
        self._strays: deque[tuple[float, Stray]] = deque(maxlen=KEPT_STRAYS)
        self._losses: deque[float] = deque(maxlen=KEPT_STRAYS)
        self._down: Down | None = None
        self.held_back = False  # the latest question did not get as far as the wire
        self.trouble: Trouble | None = None

    # --- what the link tells

    def transaction(self, unit: int, *, seeking: bool = False) -> _Unit | Nothing:
        """Count how the transaction inside fails; a good one is counted by `answered`. Not so when only `seeking`."""
        if seeking:
            return NOTHING
        return self._units.get(unit) or self._unit(unit)

    def answered(
        self, unit: int, latency_s: float, silence_s: float | None = None, ending: Ending = Ending.GOOD
    ) -> None:
        """Count a good transaction; `silence_s` is from the question's last byte to the answer's first."""
        counts = self._units.get(unit) or self._unit(unit)
        counts.ok += 1
        counts.latencies.append(latency_s)
        counts.recent.append(ending)
        if silence_s is not None:
            counts.silences.append(silence_s)
        if ending is not Ending.GOOD:
            counts.endings[ending] += 1
        self._down = None

    def ended(self, trouble: Trouble) -> None:
        """Say how the transaction under way failed, before the error is raised; else it is plain silence or BAD."""
        self.trouble = trouble

    def came_late(self, unit: int, latency_s: float | None = None) -> None:
        """Count an answer that nobody waited for any more, and how long it took where that is known."""
        counts = self._unit(unit)
        counts.late += 1
        if latency_s is not None:
            counts.lates.append((counts.number, latency_s))

    def frame(self, at: float, direction: Direction, data: bytes) -> None:
        if direction == "sent":
            self._down, self.held_back = None, False
        self.recorder.append(at, direction, data)

    def stray(self, kind: Stray, at: float) -> None:
        """Note what was heard when nobody had asked; babble also keeps the question back."""
        self._strays.append((at, kind))
        self.held_back = kind is Stray.BABBLE

    def lost(self, at: float) -> None:
        """Note that the open medium went away; a question under way ended with it, and not by its unit's silence."""
        self._losses.append(at)
        self.trouble = Trouble(Ending.LOST)

    def down(self, error: BusDown) -> None:
        """Note why the medium cannot be had.

        A question kept back by the back-off tells nothing new: no attempt failed, or its failure is noted already.
        """
        if error.__cause__ is not None:
            self._down = Down(_down_kind(error.__cause__), str(error))

    def twofold(self, unit: int) -> None:
        """Mark the unit's latest answer as one of two: a second came when it was taken already."""
        counts = self._unit(unit)
        if counts.recent and counts.recent[-1] in WORKING:
            counts.recent[-1] = Ending.TWOFOLD
            counts.endings[Ending.TWOFOLD] += 1
            counts.troubles.append((counts.number, Trouble(Ending.TWOFOLD)))

    # --- what others ask

    @property
    def frames(self) -> tuple[Frame, ...]:
        return self.recorder.frames(SHOWN_FRAMES)

    @property
    def statistics(self) -> Mapping[int, UnitStatistics]:
        return {number: unit.statistics() for number, unit in self._units.items()}

    def heard(self, now: float) -> BusStatistics:
        """Give everything counted so far, as it stands `now`."""
        strays = Counter(kind for at, kind in self._strays if now - at < STRAYS_S)
        losses = sum(now - at < STRAYS_S for at in self._losses)
        return BusStatistics(self.statistics, self._down, strays, losses)

    def _unit(self, number: int) -> _Unit:
        if (counts := self._units.get(number)) is None:
            counts = self._units[number] = _Unit(self)
        return counts


def _down_kind(cause: BaseException | None) -> DownKind:
    if isinstance(cause, socket.gaierror | UnicodeError):
        return "unknown name"
    if isinstance(cause, TimeoutError):
        return "unreachable"
    if not isinstance(cause, OSError):
        return "other"
    if cause.errno is None and str(errno.ECONNREFUSED) in str(cause):  # asyncio puts several addresses' errors in one
        return "refused"
    return _DOWN_KINDS.get(cause.errno, "other")


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
