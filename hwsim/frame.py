"""What a simulated camera sees: a JPEG that shows which camera it is and the time, to people and to programs. Pure.

A person reads the text. A program decodes the picture with any JPEG decoder and reads the row of black and white
blocks under it (`BITS` of them, white is 1): cabinet, side, and Unix time in milliseconds. A comment segment says the
same.

Baseline JPEG in grey, ITU-T T.81: every 8×8 block has one grey, so only its DC coefficient is coded. The Huffman table
is the one of annex K.3.1; the AC table has the one code that is needed, the end of the block.
"""

from datetime import datetime
from typing import Final

COLUMNS, ROWS = 72, 12  # blocks of 8×8 pixels: 576×96
CABINET_BITS, SIDE_BITS, TIME_BITS = 8, 2, 44
BITS: Final = CABINET_BITS + SIDE_BITS + TIME_BITS
CODE_ROWS: Final = (8, 9)  # where the blocks of the code stand
CODE_COLUMN: Final = 2
SIDES: Final = ("front", "back")
BLACK, WHITE, GREY = -96, 96, 0

_FONT: Final = {  # 3×5, a row per number, the highest bit left
    "0": (7, 5, 5, 5, 7), "1": (2, 6, 2, 2, 7), "2": (7, 1, 7, 4, 7), "3": (7, 1, 7, 1, 7), "4": (5, 5, 7, 1, 1),
    "5": (7, 4, 7, 1, 7), "6": (7, 4, 7, 5, 7), "7": (7, 1, 1, 1, 1), "8": (7, 5, 7, 5, 7), "9": (7, 5, 7, 1, 7),
    ":": (0, 2, 0, 2, 0), ".": (0, 0, 0, 0, 2), "F": (7, 4, 7, 4, 4), "B": (6, 5, 6, 5, 6), " ": (0, 0, 0, 0, 0),
}  # fmt: skip
_DC_COUNTS: Final = (0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)  # of codes by length, annex K.3.1
_DC_CODES: Final = tuple(
    (code, length)
    for length, first, count in ((2, 0b00, 1), (3, 0b010, 5), (4, 0b1110, 1), (5, 0b11110, 1), (6, 0b111110, 1),
                                 (7, 0b1111110, 1), (8, 0b11111110, 1), (9, 0b111111110, 1))
    for code in range(first, first + count)
)  # fmt: skip
_END_OF_BLOCK: Final = "0"


def render(cabinet: int, side: str, at: float) -> bytes:
    """The picture of that camera at that time (Unix seconds)."""
    ms = round(at * 1000)
    grid = [[GREY] * COLUMNS for _ in range(ROWS)]
    moment = datetime.fromtimestamp(ms // 1000).astimezone()
    text = f"{cabinet % 100}{'F' if side == 'front' else 'B'} {moment:%H:%M:%S}.{ms % 1000:03d}"
    for place, letter in enumerate(text):
        for row, bits in enumerate(_FONT[letter]):
            for column in range(3):
                if bits >> (2 - column) & 1:
                    grid[1 + row][2 + 4 * place + column] = WHITE
    code = f"{cabinet:0{CABINET_BITS}b}{SIDES.index(side):0{SIDE_BITS}b}{ms:0{TIME_BITS}b}"
    for row in CODE_ROWS:
        grid[row][CODE_COLUMN : CODE_COLUMN + BITS] = [WHITE if bit == "1" else BLACK for bit in code]
    return encode(grid, f"hwsim cabinet={cabinet} side={side} ms={ms}")


def encode(grid: list[list[int]], comment: str) -> bytes:
    """A grey JPEG of blocks; a block's value is -128 (black) to 127 (white)."""
    bits, before = [], 0
    for row in grid:
        for value in row:
            bits.append(_difference(value - before))
            before = value
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    coded = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\x00")
    height, width = 8 * len(grid), 8 * len(grid[0])
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"),
            _segment(0xFE, comment.encode()),
            _segment(0xDB, b"\0" + b"\x08" * 64),  # a step of 8: the DC coefficient is 8 times the mean, so 1 is 1
            _segment(0xC0, b"\x08" + size + b"\x01\x01\x11\0"),
            _segment(0xC4, b"\0" + bytes(_DC_COUNTS) + bytes(range(len(_DC_CODES)))),
            _segment(0xC4, b"\x10" + bytes((1,) + (0,) * 15) + b"\0"),
            _segment(0xDA, b"\x01\x01\0\0\x3f\0"),
            coded,
            b"\xff\xd9",
        )
    )


def _difference(value: int) -> str:
    """A DC difference as bits: the code of its category, then its value (F.1.2.1), and the end of the block."""
    category = abs(value).bit_length()
    code, length = _DC_CODES[category]
    extra = f"{value if value > 0 else value + (1 << category) - 1:0{category}b}" if category else ""
    return f"{code:0{length}b}{extra}{_END_OF_BLOCK}"


def _segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content
