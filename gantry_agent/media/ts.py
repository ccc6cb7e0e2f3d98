"""Where a cut through a transport stream may begin: at a packet boundary, best at a picture that needs no earlier one.

MPEG-TS, ISO/IEC 13818-1 §2.4.3: packets of 188 bytes that begin with 0x47; an adaptation field may say that the packet
is a random access point. Pure.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from gantry_agent.media.ring import Piece

PACKET: Final = 188
SYNC: Final = 0x47
_PROBE: Final = 4  # so many packets in a row begin with the sync byte where the stream is aligned


def cut(pieces: Sequence[Piece], start: float) -> bytes:
    """The bytes from the last random access point that had come by `start`, or the first one after it; b"" if none."""
    content = b"".join(piece.content for piece in pieces)
    ends, place = [], 0
    for piece in pieces:
        place += len(piece.content)
        ends.append((place, piece.at))
    chosen: int | None = None
    k = 0
    for point in access_points(content):
        while ends[k][0] <= point:
            k += 1
        if chosen is None or ends[k][1] <= start:
            chosen = point
        else:
            break
    return b"" if chosen is None else content[chosen:]


def access_points(content: bytes) -> Iterator[int]:
    """The places to begin at: random access points, with the program tables where they stand right before them."""
    place, tables = _first_packet(content), -1
    while place + PACKET <= len(content) and content[place] == SYNC:
        if not content[place + 1] & 0x1F and not content[place + 2]:  # PID 0: the program association table
            tables = place
        has_field = content[place + 3] & 0x20
        if has_field and content[place + 4] and content[place + 5] & 0x40:
            yield tables if tables >= 0 and place - tables <= _PROBE * PACKET else place
        place += PACKET


def _first_packet(content: bytes) -> int:
    for place in range(min(PACKET, len(content))):
        if all(content[place + k * PACKET : place + k * PACKET + 1] in {b"G", b""} for k in range(_PROBE)):
            return place
    return len(content)
