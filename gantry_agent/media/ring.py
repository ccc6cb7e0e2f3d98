"""The last seconds of a stream, in memory: pieces of bytes with the instant at which each came.

Bounded by time and by size, whichever is reached first: a camera that sends more than was thought shortens the ring,
and never grows the process. Pure: instants (monotonic seconds) are given.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

RING_BYTES: Final = 16_000_000  # 16 s at 8 Mbit/s, the main stream of a large camera; a sub stream needs a tenth


@dataclass(frozen=True, slots=True)
class Piece:
    """A frame of MJPEG, or a chunk of a transport stream, and when it came."""

    at: float
    content: bytes


@dataclass(slots=True)
class Ring:
    """Keeps what came in the last `span_s` seconds."""

    span_s: float
    limit: int = RING_BYTES
    size: int = 0
    _pieces: deque[Piece] = field(default_factory=deque)

    def add(self, at: float, content: bytes) -> None:
        self._pieces.append(Piece(at, content))
        self.size += len(content)
        while self._pieces and (self.size > self.limit or self._pieces[0].at < at - self.span_s):
            self.size -= len(self._pieces.popleft().content)

    def between(self, start: float, end: float) -> tuple[Piece, ...]:
        """The pieces that came in this time, oldest first."""
        return tuple(piece for piece in self._pieces if start <= piece.at <= end)
