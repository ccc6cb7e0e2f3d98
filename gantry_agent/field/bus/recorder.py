"""The raw frames of one bus, both directions with their times, in a ring that grows only as it is used.

Frames are packed into segments of bytes, since a million small objects would cost three times the memory and the
garbage collector's time. What led to an alarm or a failed command is pinned: the seconds before and after it are kept
aside, where the ring does not overwrite them. Pins are bounded too; the first and the latest of one cause survive.

The size is a constant: no technician can choose it well. 32 MiB is two days of a busy 9600-baud line, and is shared
by the buses of a site.
"""

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

RING_BYTES = 32 * 2**20  # of all buses together
SEGMENT_BYTES = 64 * 1024
PIN_BEFORE_S, PIN_AFTER_S = 10.0, 5.0
PIN_BYTES = SEGMENT_BYTES
PINS, PINS_PER_CAUSE = 16, 3

Direction = Literal["sent", "received"]

_HEAD = struct.Struct("<dH")
_SENT = 0x8000
_MOST = 0x7FFF  # a longer datagram is cut


class Frame(NamedTuple):
    """Raw bytes as they went over the medium; `at` is monotonic."""

    at: float
    direction: Direction
    data: bytes


@dataclass(slots=True)
class Pin:
    """The frames around one event."""

    cause: str
    at: float
    until: float
    packed: bytearray = field(default_factory=bytearray)

    @property
    def frames(self) -> tuple[Frame, ...]:
        return tuple(_unpacked(self.packed))


class Recorder:
    """The ring and the pins of one bus."""

    def __init__(self, limit: int = RING_BYTES) -> None:
        self.limit = limit
        self._segment = bytearray()
        self._full: deque[bytearray] = deque()
        self._dropped = 0  # bytes that the ring no longer has
        self._kept = 0  # bytes of the full segments
        self._pins: list[Pin] = []
        self._open: Pin | None = None

    def append(self, at: float, direction: Direction, data: bytes) -> None:
        size = min(len(data), _MOST)
        packed = _HEAD.pack(at, size | _SENT if direction == "sent" else size) + data[:size]
        self._segment += packed
        if self._open is not None:
            self._into_pin(self._open, at, packed)
        if len(self._segment) >= SEGMENT_BYTES:
            self._turn_over()

    def _turn_over(self) -> None:
        self._full.append(self._segment)
        self._kept += len(self._segment)
        self._segment = bytearray()
        while self._full and self.size > self.limit:
            oldest = self._full.popleft()
            self._kept -= len(oldest)
            self._dropped += len(oldest)

    @property
    def size(self) -> int:
        """Tell how many bytes are held, pins included."""
        return self._kept + len(self._segment) + sum(len(pin.packed) for pin in self._pins)

    # --- reading

    def frames(self, latest: int | None = None) -> tuple[Frame, ...]:
        """Give the latest frames, or all of them, oldest first."""
        found: deque[Frame] = deque()
        for segment in (self._segment, *reversed(self._full)):
            found.extendleft(reversed([*_unpacked(segment)]))
            if latest is not None and len(found) >= latest:
                return tuple(found)[-latest:]
        return tuple(found)

    @property
    def mark(self) -> int:
        """Tell where the record stands, for `since`."""
        return self._dropped + self._kept + len(self._segment)

    def since(self, mark: int) -> tuple[Frame, ...]:
        """Give the frames recorded after `mark`, if the ring still has them."""
        start = self._dropped
        found: list[Frame] = []
        for segment in (*self._full, self._segment):
            if (end := start + len(segment)) > mark:
                found += _unpacked(segment, max(0, mark - start))
            start = end
        return tuple(found)

    # --- pins

    @property
    def pins(self) -> tuple[Pin, ...]:
        return tuple(self._pins)

    def pin(self, cause: str, at: float) -> None:
        """Keep what is around this instant; one that falls into an open pin is in it already."""
        if self._open is not None and at <= self._open.until:
            return
        alike = [pin for pin in self._pins if pin.cause == cause]
        if len(alike) >= PINS_PER_CAUSE:
            self._pins.remove(alike[-1])
        elif len(self._pins) >= PINS:
            self._pins.remove(self._expendable())
        pin = self._open = Pin(cause, at, at + PIN_AFTER_S)
        self._pins.append(pin)
        for frame in self._recent(at - PIN_BEFORE_S):
            flag = _SENT if frame.direction == "sent" else 0
            pin.packed += _HEAD.pack(frame.at, len(frame.data) | flag) + frame.data
        excess = len(pin.packed) - PIN_BYTES // 2  # what is nearest to the event counts
        if excess > 0:
            del pin.packed[: _boundary(pin.packed, excess)]

    def _expendable(self) -> Pin:
        """Choose the pin to give up: the oldest whose cause has others, else the oldest."""
        causes = [pin.cause for pin in self._pins]
        return next((pin for pin in self._pins if causes.count(pin.cause) > 1), self._pins[0])

    def _recent(self, since: float) -> Iterator[Frame]:
        for segment in (*([self._full[-1]] if self._full else []), self._segment):
            yield from (frame for frame in _unpacked(segment) if frame.at >= since)

    def _into_pin(self, pin: Pin, at: float, packed: bytes) -> None:
        if at > pin.until or len(pin.packed) + len(packed) > PIN_BYTES:
            self._open = None
        else:
            pin.packed += packed


def _unpacked(packed: bytearray, start: int = 0) -> Iterator[Frame]:
    view = bytes(packed)
    while start < len(view):
        at, size = _HEAD.unpack_from(view, start)
        start += _HEAD.size
        length = size & _MOST
        yield Frame(at, "sent" if size & _SENT else "received", view[start : start + length])
        start += length


def _boundary(packed: bytearray, least: int) -> int:
    """Find where the first frame at or behind `least` bytes begins."""
    start = 0
    while start < least:
        _, size = _HEAD.unpack_from(packed, start)
        start += _HEAD.size + (size & _MOST)
    return start
