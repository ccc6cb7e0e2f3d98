"""The frames in a `multipart/x-mixed-replace` body of JPEGs, as cameras write it. Pure: bytes in, frames out.

The boundary is not looked for. Cameras disagree on it (some name it with its dashes in the header, some without, some
change it), while all of them put a blank line before a frame and most its length. Where there is no length, a frame
ends at an end marker with a new line and dashes behind it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from gantry_agent.media import jpeg

HEAD_LIMIT: Final = 4096  # of the lines before a frame
FRAME_LIMIT: Final = 4_000_000  # a 4K frame of good quality has half of it
BROKEN: Final = 10  # in a row; a camera may cut a frame short now and then
_LENGTH = re.compile(rb"^content-length:\s*(\d{1,8})\s*$", re.IGNORECASE | re.MULTILINE)
_END = re.compile(rb"\xff\xd9[\r\n]*--")


class NoFrames(Exception):
    """What comes is not a stream of JPEGs; the message says in what way."""


@dataclass(slots=True)
class Frames:
    """Reads one stream from its beginning."""

    _held: bytearray = field(default_factory=bytearray)
    _length: int | None = None  # of the frame that comes, 0 where its header gave none, None before a header
    _searched: int = 0
    _broken: int = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take in what came; give the frames that are whole now. Raises NoFrames."""
        self._held += data
        while self._length is not None or self._head():
            frame = self._frame()
            if frame is None:
                return
            if jpeg.whole(frame) is not None:
                self._broken = 0
                yield frame
                continue
            self._broken += 1
            if self._broken > BROKEN:
                raise NoFrames("its parts are no whole JPEGs")

    def _head(self) -> bool:
        """Find the blank line before a frame."""
        end = self._held.find(b"\r\n\r\n", 0, HEAD_LIMIT)
        if end < 0:
            if len(self._held) > HEAD_LIMIT:
                raise NoFrames("no part begins in it")
            return False
        given = _LENGTH.search(self._held, 0, end)
        self._length = int(given[1]) if given else 0
        if self._length > FRAME_LIMIT:
            raise NoFrames(f"a frame of {self._length} bytes; at most {FRAME_LIMIT} are valid")
        del self._held[: end + 4]
        self._searched = 0
        return True

    def _frame(self) -> bytes | None:
        length = self._length or self._unsaid_length()
        if not length or len(self._held) < length:
            return None
        frame = bytes(self._held[:length])
        del self._held[:length]
        self._length = None
        return frame

    def _unsaid_length(self) -> int:
        found = _END.search(self._held, max(0, self._searched - 8))
        self._searched = len(self._held)
        if found is None and len(self._held) > FRAME_LIMIT:
            raise NoFrames(f"a frame of more than {FRAME_LIMIT} bytes")
        return found.start() + 2 if found else 0
