"""The files of a database by name: which are ours, how one is put aside, and how many such are kept.

A database is three files: itself, the log `-wal` and its index `-shm`. One that was put aside carries the time in its
name; as long as it may still hold what is to be carried over it is called `unread`, then `damaged`. A file that took
our file's place while we had it open is `foreign`. Knows nothing of what is in them.
"""

import contextlib
import os
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

PARTS: Final = ("", "-wal", "-shm")
KEPT: Final = 3  # of each kind; a dying disk must not be filled with its own ruins
UNREAD, DAMAGED, FOREIGN = "unread", "damaged", "foreign"
RESCUING, RESCUED = ".rescuing", ".rescued"  # suffixes of what an open handle still held, while it is written and then
WRITE_OUT_S: Final = 60.0  # 100 MB on the slowest disk
PAGES: Final = 1000  # at a time
MODE: Final = 0o640  # bodies and answers are nobody else's business; the group may look

Identity = tuple[tuple[int, int] | None, ...]


def make(path: Path) -> None:
    """Make an empty file, for its mode, if there is none; -wal and -shm take theirs from it."""
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE))


def identity(path: Path) -> Identity:
    """Tell which files are at these names now; None where there is none."""
    return tuple(_inode(part) for part in parts(path))


def parts(path: Path) -> tuple[Path, ...]:
    return tuple(path.with_name(path.name + part) for part in PARTS)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - before every transaction, and a Path costs twice as much
    except OSError:
        return None
    return found.st_dev, found.st_ino


def put_aside(path: Path, kind: str) -> Path:
    """Rename a database by the time, and forget the oldest of its kind."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.{kind}-{stamp}")
    _rename(path, aside)
    forget(path, kind)
    return aside


def unread(path: Path) -> list[Path]:
    """List the damaged files that may still hold something, oldest first."""
    return sorted(path.parent.glob(f"{path.name}.{UNREAD}-*Z"))


def mark_read(path: Path, aside: Path) -> Path:
    """Give a file that was read its last name."""
    last = aside.with_name(aside.name.replace(f".{UNREAD}-", f".{DAMAGED}-"))
    _rename(aside, last)
    forget(path, DAMAGED)
    return last


def forget(path: Path, kind: str) -> None:
    for old in sorted(path.parent.glob(f"{path.name}.{kind}-*Z"))[:-KEPT]:
        for part in parts(old):
            part.unlink(missing_ok=True)


def _rename(old: Path, new: Path) -> None:
    for before, after in zip(parts(old), parts(new), strict=True):
        with contextlib.suppress(FileNotFoundError):
            before.rename(after)


def write_out(connection: sqlite3.Connection, path: Path) -> None:
    """Write what an open connection holds to a file of its own beside the path; durable when it returns."""
    until = time.monotonic() + WRITE_OUT_S

    def in_time(*_: int) -> None:
        if time.monotonic() > until:
            raise TimeoutError(f"cannot write it out within {WRITE_OUT_S:g} s")

    rescuing = path.with_name(path.name + RESCUING)
    for part in (*parts(rescuing), *parts(_rescued(path))):
        part.unlink(missing_ok=True)
    make(rescuing)
    with contextlib.closing(sqlite3.connect(rescuing, isolation_level=None)) as target:
        target.execute("PRAGMA synchronous = FULL")
        connection.backup(target, pages=PAGES, progress=in_time)
    rescuing.rename(_rescued(path))


def put_in_place(path: Path) -> None:
    """Let what was written out, if anything was, be the database from now on."""
    if not _rescued(path).exists():
        return
    if any(identity(path)):
        put_aside(path, FOREIGN)
    _rename(_rescued(path), path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _rescued(path: Path) -> Path:
    return path.with_name(path.name + RESCUED)
