"""What can be told of a picture from its bytes: which kind it is, whether it is whole, how large. Pure.

JPEG: ITU-T T.81, annex B. Between a start of scan and the end of the image no other marker than a restart may stand,
since 0xFF in the coded data is always followed by 0x00: so an end marker after the last start of scan is the end.
"""

from typing import Final

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
SCAN, END, PNG_END = b"\xff\xda", b"\xff\xd9", b"IEND\xae\x42\x60\x82"
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers of a frame header, with the size
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length


def whole(content: bytes) -> tuple[str, bytes] | None:
    """The suffix for a picture that came whole, and its bytes without what cameras pad it with; else None."""
    if content.startswith(JPEG):
        end = content.rfind(END)
        return (".jpg", content[: end + 2]) if 0 <= content.rfind(SCAN) < end else None
    if content.startswith(PNG):
        end = content.rfind(PNG_END)
        return (".png", content[: end + len(PNG_END)]) if end >= 0 else None
    return None


def size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG, or None where no frame header is found."""
    place = 2
    while place + 9 <= len(content):
        if content[place] != 0xFF:
            return None
        marker = content[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in _ALONE:
            place += 2
        elif marker in _FRAMES:
            height, width = (int.from_bytes(content[place + k : place + k + 2], "big") for k in (5, 7))
            return (width, height) if width and height else None
        else:
            place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return None
