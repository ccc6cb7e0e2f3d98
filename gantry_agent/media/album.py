"""Captures as files: `<folder>/<cabinet>/<side>/<yyyyMMddhhmmsszzz>.<suffix>`, named by the gantry's local time.

The names are the only index: a file that is deleted, copied in or left by a crash changes nothing else. A file appears
whole or not at all. Names are made from the site file and the time that the agent saw, never from a request. What is
kept is bounded by size and age; the door that holds most gives up its oldest, so that a door that flaps costs no other
door its pictures. All here blocks; it runs on a thread of its own.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Final, Literal, TypeVar

from gantry_agent.media.trouble import KeepFault
from gantry_agent.text import Text, of_system

Side = Literal["front", "back"]
T = TypeVar("T")

SIDES: tuple[Side, Side] = ("front", "back")
SUFFIXES: Final = (".mp4", ".avi", ".jpg", ".png")  # what is given first where an opening has several: a clip
SPARE_BYTES: Final = 100_000_000  # of the disk; the outbox lives there too, and comes first
PART: Final = ".part"  # of a file that is being written
_NAME = re.compile(r"(\d{17})(\.mp4|\.avi|\.jpg|\.png)", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Opening:
    """One opening of one door, by the time that the cloud was told."""

    cabinet: int
    side: Side
    stamp: str


@dataclass(frozen=True, slots=True)
class Bounds:
    max_bytes: int = 500_000_000
    max_s: float = 90 * 86_400.0


@dataclass(frozen=True, slots=True)
class _File:
    opening: Opening
    path: Path
    size: int


def stamp(at: float, zone: tzinfo) -> str | None:
    """`yyyyMMddhhmmsszzz` of an instant, cut to milliseconds as in an upload; None for what no calendar has."""
    try:
        moment = datetime.fromtimestamp(at, zone)
    except (ValueError, OverflowError, OSError):
        return None
    return f"{moment:%Y%m%d%H%M%S}{moment.microsecond // 1000:03d}".rjust(17, "0")


def instant(name: str, zone: tzinfo) -> float | None:
    """The inverse."""
    try:
        return datetime.strptime(name[:14], "%Y%m%d%H%M%S").replace(tzinfo=zone).timestamp() + int(name[14:]) / 1000
    except (ValueError, OverflowError):
        return None


class Album:
    """The folder of captures. Every method may raise KeepFault."""

    def __init__(self, folder: Path, zone: tzinfo, bounds: Bounds, spare_bytes: int = SPARE_BYTES) -> None:
        self._folder, self._zone, self._bounds, self._spare = folder, zone, bounds, spare_bytes
        self._thread = ThreadPoolExecutor(1, "media")

    async def keep(self, opening: Opening, suffix: str, content: bytes) -> Path:
        """Write a capture; it is safe from a power cut when this returns. Makes room first."""
        return await self._run(lambda: self._keep(opening, suffix, content))

    async def openings(self, cabinet: int) -> tuple[Opening, ...]:
        """The openings of a cabinet's doors of which something is kept."""
        return await self._run(lambda: tuple({file.opening for file in self._files(cabinet)}))

    async def held(self) -> tuple[int, Mapping[tuple[int, Side], str]]:
        """How many bytes are kept, and the stamp of each door's newest opening."""

        def work() -> tuple[int, Mapping[tuple[int, Side], str]]:
            files = list(self._files())
            newest: dict[tuple[int, Side], str] = {}
            for file in files:
                door = file.opening.cabinet, file.opening.side
                newest[door] = max(newest.get(door, ""), file.opening.stamp)
            return sum(file.size for file in files), newest

        return await self._run(work)

    async def best(self, opening: Opening) -> Path | None:
        """The capture of an opening: the clip, else the picture."""
        paths = [self._path(opening, suffix) for suffix in SUFFIXES]
        return await self._run(lambda: next((path for path in paths if path.is_file()), None))

    async def forget_too_old(self, now: float) -> int:
        """Delete what is older than the bound; `now` must come from a clock that is trusted."""

        def work() -> int:
            oldest = stamp(now - self._bounds.max_s, self._zone) or ""
            return sum(self._delete(file) for file in self._files() if file.opening.stamp < oldest)

        return await self._run(work)

    async def tidy(self) -> None:
        """Delete what a run that was killed left half written."""

        def work() -> None:
            for place in self._places():
                for entry in _scan(place):
                    if entry.name.endswith(PART):
                        Path(entry.path).unlink(missing_ok=True)

        await self._run(work)

    # --- on the thread ---

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as fault:
            where, why = fault.filename or self._folder, of_system(fault)
            raise KeepFault(Text(f"无法使用 {where}：{why.zh}", f"cannot use {where}: {why.en}")) from fault

    def _path(self, opening: Opening, suffix: str) -> Path:
        return self._folder / str(opening.cabinet) / opening.side / f"{opening.stamp}{suffix}"

    def _part(self, opening: Opening, suffix: str) -> Path:
        path = self._path(opening, suffix)
        return path.with_name(f".{path.name}{PART}")

    def _keep(self, opening: Opening, suffix: str, content: bytes) -> Path:
        path, part = self._path(opening, suffix), self._part(opening, suffix)
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._make_room(len(content))
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o640), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
        return path

    def _make_room(self, size: int) -> None:
        """Delete what the bound on the size asks for, and, on a disk that is nearly full, as much as is to come."""
        files = list(self._files())
        over = sum(file.size for file in files) + size - self._bounds.max_bytes
        disk = os.statvfs(self._folder)
        over = max(over, min(size, size + self._spare - disk.f_bavail * disk.f_frsize))
        by_door: dict[tuple[int, Side], list[_File]] = {}
        for file in sorted(files, key=lambda one: one.opening.stamp, reverse=True):
            by_door.setdefault((file.opening.cabinet, file.opening.side), []).append(file)
        held = {door: sum(file.size for file in own) for door, own in by_door.items()}
        while over > 0 and any(held.values()):
            most = max(held, key=lambda door: held[door])
            oldest = by_door[most].pop()
            self._delete(oldest)
            held[most] -= oldest.size
            over -= oldest.size

    def _delete(self, file: _File) -> bool:
        file.path.unlink(missing_ok=True)
        return True

    def _places(self) -> Iterator[Path]:
        for cabinet in _scan(self._folder):
            if cabinet.name.isascii() and cabinet.name.isdigit():
                yield from (Path(cabinet.path) / side for side in SIDES)

    def _files(self, cabinet: int | None = None) -> Iterator[_File]:
        for place in self._places():
            number = int(place.parent.name)
            if cabinet is not None and number != cabinet:
                continue
            side: Side = "front" if place.name == "front" else "back"
            for entry in _scan(place):
                found = _NAME.fullmatch(entry.name)
                if found and entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(FileNotFoundError):
                        yield _File(Opening(number, side, found[1]), Path(entry.path), entry.stat().st_size)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
