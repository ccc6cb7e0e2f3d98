"""Rows of a damaged database by its pages alone, where no b-tree leads to them any more.

A flipped byte in one inner page hides thousands of rows that are whole. This reads every page as if it were a leaf of a
table (https://www.sqlite.org/fileformat2.html, 1.6 and 2.1), in the file and in its log, and finds the cells of rows
whose number is asked for. Pages that are free still hold what was deleted, so only numbers that an index knows may be
asked for, and whoever asks must check what a row says. Nothing here knows what a row means.
"""

import struct
import time
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, Final

PAGE: Final = 4096  # SQLite's own choice since 3.12, and so ours
NO_LEAF: Final = frozenset({0, 2, 5, 10})  # first byte of overflow, of inner pages, of leaves of an index
MOST_CELLS: Final = 200  # of one page that may be rubbish
MOST_BYTES: Final = 8_000_000  # of one row
WAL_HEADER, FRAME_HEADER = 32, 24
LOCAL_MOST: Final = PAGE - 35  # bytes of a row that a leaf holds, and if there are more, at least:
LOCAL_LEAST: Final = (PAGE - 12) * 32 // 255 - 23
INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # kind of value: its bytes
REAL, ZERO, FIRST_BLOB = 7, 8, 12

Place = tuple[int, int]  # of a cell: where its page is in the pages read, and where in the page
_BROKEN = (IndexError, ValueError, struct.error)


class Leaves:
    """The pages of a file and of its log."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb")
        self._pages = file.stat().st_size // PAGE
        log = file.with_name(file.name + "-wal")
        self._log = log.open("rb") if log.exists() else None
        self._frames: dict[int, int] = {}  # page number: its latest frame
        size = log.stat().st_size if self._log else 0
        self._count = max(0, size - WAL_HEADER) // (FRAME_HEADER + PAGE)
        for frame in range(self._count):
            self._frames[int.from_bytes(self._frame(frame)[:4])] = frame

    def close(self) -> None:
        self._file.close()
        if self._log:
            self._log.close()

    def find(self, numbers: Container[int], until: float) -> Iterator[tuple[int, Place]]:
        """Find cells that say one of these numbers; of one number there may be several, the latest last."""
        for index in range(self._pages + self._count):
            if time.monotonic() > until:
                return
            page = self._page(index)
            if page[0] in NO_LEAF:
                continue
            cells = min(int.from_bytes(page[3:5]), MOST_CELLS)
            for at in range(8, 8 + 2 * cells, 2):
                start = int.from_bytes(page[at : at + 2])
                try:
                    _, number, _ = _cell(page, start)
                except _BROKEN:
                    continue
                if number in numbers:
                    yield number, (index, start)

    def row(self, place: Place) -> list[Any] | None:
        """Give the values of a row, texts as bytes; None if they cannot be made out."""
        index, start = place
        page = self._page(index)
        try:
            size, _, at = _cell(page, start)
            if not 0 < size <= MOST_BYTES:
                return None
            return _values(self._whole(page, at, size))
        except _BROKEN:
            return None

    def _whole(self, page: bytes, at: int, size: int) -> bytes:
        """Put a row together from its leaf and its overflow pages."""
        if size <= LOCAL_MOST:
            return page[at : at + size]
        local = LOCAL_LEAST + (size - LOCAL_LEAST) % (PAGE - 4)
        local = local if local <= LOCAL_MOST else LOCAL_LEAST
        pieces, following = [page[at : at + local]], int.from_bytes(page[at + local : at + local + 4])
        left = size - local
        while left > 0:
            more = self._page(self._pages + self._frames[following] if following in self._frames else following - 1)
            pieces.append(more[4 : 4 + left])
            following, left = int.from_bytes(more[:4]), left - (PAGE - 4)
        return b"".join(pieces)

    def _page(self, index: int) -> bytes:
        if index >= self._pages:
            return self._frame(index - self._pages)[FRAME_HEADER:]
        if index < 0:
            raise IndexError(index)
        self._file.seek(index * PAGE)
        return self._file.read(PAGE)

    def _frame(self, frame: int) -> bytes:
        if self._log is None or frame >= self._count:
            raise IndexError(frame)
        self._log.seek(WAL_HEADER + frame * (FRAME_HEADER + PAGE))
        return self._log.read(FRAME_HEADER + PAGE)


def _cell(page: bytes, start: int) -> tuple[int, int, int]:
    """Read the beginning of a cell: the bytes of its row, its number, and where the row begins."""
    size, at = _varint(page, start)
    number, at = _varint(page, at)
    return size, number, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count in range(8):
        byte = data[at + count]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + count + 1
    return value << 8 | data[at + 8], at + 9


def _values(row: bytes) -> list[Any]:
    end, at = _varint(row, 0)
    kinds = []
    while at < end:
        kind, at = _varint(row, at)
        kinds.append(kind)
    values: list[Any] = []
    for kind in kinds:
        size = INTEGERS.get(kind, 8 if kind == REAL else (kind - FIRST_BLOB) // 2 if kind >= FIRST_BLOB else 0)
        piece = row[at : at + size]
        if len(piece) < size:
            raise ValueError("the row is cut short")
        at += size
        values.append(_value(kind, piece))
    return values


def _value(kind: int, piece: bytes) -> Any:
    match kind:
        case 0:
            return None
        case 8 | 9:
            return kind - ZERO
        case 7:
            return struct.unpack(">d", piece)[0]
        case _ if kind in INTEGERS:
            return int.from_bytes(piece, signed=True)
        case _ if kind >= FIRST_BLOB:
            return piece
    raise ValueError(f"there is no kind {kind} of value")
