"""Frames of MJPEG as an AVI file that any player opens: one video stream, one index. Pure.

Layout after Microsoft's "AVI RIFF File Reference": RIFF AVI (LIST hdrl (avih, LIST strl (strh, strf)), LIST movi
(00dc …), idx1). AVI knows one frame rate for the whole file; it is the mean of the frames' own times.
"""

import struct
from collections.abc import Sequence

from gantry_agent.media import jpeg
from gantry_agent.media.ring import Piece

HAS_INDEX, KEY_FRAME = 0x10, 0x10
_FRAME_IDS = b"00dc"


def write(frames: Sequence[Piece]) -> bytes | None:
    """The file, or None where the frames make none: fewer than two, or no JPEG."""
    if len(frames) < 2 or (size := jpeg.size(frames[0].content)) is None:
        return None
    per_frame_us = max(1, round(1e6 * (frames[-1].at - frames[0].at) / (len(frames) - 1)))
    movi, index, place = [b"movi"], [], 4
    for frame in frames:
        movi.append(_chunk(_FRAME_IDS, frame.content))
        index.append(struct.pack("<4sIII", _FRAME_IDS, KEY_FRAME, place, len(frame.content)))
        place += len(movi[-1])
    largest = max(len(frame.content) for frame in frames)
    body = b"AVI " + _header(size, len(frames), per_frame_us, largest)
    body += _chunk(b"LIST", b"".join(movi)) + _chunk(b"idx1", b"".join(index))
    return _chunk(b"RIFF", body)


def _header(size: tuple[int, int], count: int, per_frame_us: int, largest: int) -> bytes:
    width, height = size
    rate = largest * 1_000_000 // per_frame_us
    main = struct.pack("<14I", per_frame_us, rate, 0, HAS_INDEX, count, 0, 1, largest, width, height, 0, 0, 0, 0)
    stream = struct.pack(
        "<4s4sIHHIIIIIIII4H", b"vids", b"MJPG", 0, 0, 0, 0, per_frame_us, 1_000_000, 0, count, largest, 0xFFFFFFFF, 0,
        0, 0, min(width, 0xFFFF), min(height, 0xFFFF),
    )  # fmt: skip
    bitmap = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", width * height * 3, 0, 0, 0, 0)
    described = _chunk(b"strh", stream) + _chunk(b"strf", bitmap)
    return _chunk(b"LIST", b"hdrl" + _chunk(b"avih", main) + _chunk(b"LIST", b"strl" + described))


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
