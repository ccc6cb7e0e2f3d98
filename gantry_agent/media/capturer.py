"""From a door that opens to a file that answers the cloud's question about it (D23, §3.3).

`note` is called where events are known, on the event loop, and only starts tasks: no camera and no disk can hold up
the event's upload. Each opening is one capture: a picture, tried again for some seconds, and a clip where the camera
has a stream. A door that opens again and again is captured a few times and then seldom, and the log says so.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from gantry_agent.core.monitor import Watch
from gantry_agent.media import rtsp, snapshot
from gantry_agent.media.album import SIDES, Album, Bounds, Opening, Side, instant, stamp
from gantry_agent.media.mjpeg import Mjpeg
from gantry_agent.media.stream import Source, Stream
from gantry_agent.media.trouble import CameraFault, KeepFault, LoginRefused, Trouble, named
from gantry_agent.model import Camera, Capture, Event

log = logging.getLogger(__name__)

AT_ONCE: Final = 4  # pictures being fetched; a gantry has four doors
TRIES_S: Final = 9.0  # for a picture, in all; a later one does not show who opened the door
FIRST_WAIT_S: Final = 0.5
WAIT_S: Final = 10.0  # a query waits so long for a capture that is running (D23)
BURST: Final = 10  # openings of one door captured in a row; a visit has fewer
REFILL_S: Final = 60.0  # for one more

Spawn = Callable[[str, Coroutine[Any, Any, None]], "asyncio.Task[None]"]
OPENED: Mapping[str, Side] = MappingProxyType({f"{side}DoorClosed": side for side in SIDES})


@dataclass(frozen=True, slots=True)
class Settings:
    """`media:` of the site file."""

    bounds: Bounds
    before_s: float = 5.0
    after_s: float = 5.0
    tolerance_s: float = 2.0


@dataclass(slots=True)
class _Door:
    """A door with a camera: what its camera gives, and how many more captures it may have now."""

    camera: Camera
    stream: Stream | None
    picture: Trouble
    left: float = BURST
    filled_at: float = field(default_factory=time.monotonic)
    held: bool = False


class Capturer:
    """Captures openings and finds what was captured."""

    def __init__(
        self, cameras: Iterable[Camera], settings: Settings, folder: Path, timezone: str, spawn: Spawn
    ) -> None:
        self._settings = settings
        self._zone = ZoneInfo(timezone)
        self._spawn = spawn
        self.album = Album(folder, self._zone, settings.bounds)
        self._doors = {(camera.cabinet, camera.side): self._door(camera) for camera in cameras}
        self._running: dict[Opening, asyncio.Task[None]] = {}
        self._few = asyncio.Semaphore(AT_ONCE)
        self._keeping = Trouble("keeping pictures")

    def _door(self, camera: Camera) -> _Door:
        stream = None
        if camera.stream:
            source: Source = rtsp.Rtsp() if camera.stream.lower().startswith("rtsp") else Mjpeg()
            stream = Stream(camera, source, self._settings.before_s, self._settings.after_s)
        return _Door(camera, stream, Trouble(named(camera)))

    def streams(self) -> Iterable[tuple[str, Stream]]:
        """The streams to be kept running, each with a name."""
        for (cabinet, side), door in self._doors.items():
            if door.stream is not None:
                yield f"stream {cabinet} {side}", door.stream

    # --- openings ---

    def note(self, events: Sequence[Event], watch: Watch) -> None:
        """Capture the doors that opened; never waits, never fails."""
        for event in events:
            side = OPENED.get(event.field)
            if side is None or event.role.member != "doors" or event.after.value != 0:
                continue
            told = watch.snapshots[event.role.cabinet].entries[event.role][f"{side}DoorChangeTime"].value
            at = told if isinstance(told, int | float) else event.at
            name = stamp(at, self._zone) or stamp(event.at, self._zone)
            door = self._doors.get((event.role.cabinet, side))
            if door is not None and name is not None:
                self._begin(door, Opening(event.role.cabinet, side, name))

    def _begin(self, door: _Door, opening: Opening) -> None:
        if opening in self._running or not _admit(door, time.monotonic()):
            return
        task = self._spawn(f"capture {opening.cabinet} {opening.side}", self._capture(door, opening, time.monotonic()))
        self._running[opening] = task
        task.add_done_callback(lambda _: self._running.pop(opening, None))

    async def _capture(self, door: _Door, opening: Opening, seen_at: float) -> None:
        async with asyncio.TaskGroup() as both:
            if door.camera.snapshot:
                both.create_task(self._picture(door, opening, seen_at))
            if door.stream is not None:
                both.create_task(self._clip(door.stream, door, opening, seen_at))

    async def _picture(self, door: _Door, opening: Opening, seen_at: float) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            try:
                async with self._few:
                    suffix, content = await snapshot.take(door.camera)
                break
            except CameraFault as fault:
                if isinstance(fault, LoginRefused) or time.monotonic() + wait_s - seen_at > TRIES_S:
                    door.picture.begins(fault)
                    return
                log.debug("%s: %s; trying again", named(door.camera), fault)
            await asyncio.sleep(wait_s)
            wait_s *= 2
        door.picture.ends()
        await self._keep(opening, suffix, content)

    async def _clip(self, stream: Stream, door: _Door, opening: Opening, seen_at: float) -> None:
        try:
            made = await stream.clip(seen_at)
        except CameraFault as fault:
            log.warning("%s: no clip: %s", named(door.camera), fault)
            return
        if made is None:
            log.info("%s: no clip of the opening at %s, its stream gave nothing", named(door.camera), opening.stamp)
        else:
            await self._keep(opening, *made)

    async def _keep(self, opening: Opening, suffix: str, content: bytes) -> None:
        try:
            path = await self.album.keep(opening, suffix, content)
        except KeepFault as fault:
            self._keeping.begins(fault)
        else:
            self._keeping.ends()
            log.info("kept %s (%d kB)", path, len(content) // 1000)

    # --- questions ---

    async def find(self, cabinet: int, opened_at: float) -> Capture | None:
        """The capture of the opening nearest to an instant, of whichever door; waits for one that is running."""
        until = time.monotonic() + WAIT_S
        try:
            for opening in await self._near(cabinet, opened_at):
                if running := self._running.get(opening):
                    await asyncio.wait([running], timeout=max(0.0, until - time.monotonic()))
                if path := await self.album.best(opening):
                    return Capture(path, opening.stamp)
        except KeepFault as fault:
            self._keeping.begins(fault)
        return None

    async def _near(self, cabinet: int, opened_at: float) -> list[Opening]:
        """The openings within the tolerance, the nearest first. Both sides: the query does not say which (§3.3.2)."""
        running = [one for one in self._running if one.cabinet == cabinet]  # first: one may end while files are listed
        both = {*running, *await self.album.openings(cabinet)}
        away = {one: abs(at - opened_at) for one in both if (at := instant(one.stamp, self._zone)) is not None}
        near = [one for one, s in away.items() if s <= self._settings.tolerance_s + 0.0005]  # half of a millisecond
        return sorted(near, key=lambda one: (away[one], SIDES.index(one.side)))

    async def report(self) -> tuple[Mapping[str, Any], ...]:
        """What each camera did last, and how full the folder is; as JSON has it, for a technician."""
        try:
            held, newest = await self.album.held()
        except KeepFault as fault:
            held, newest = 0, {}
            self._keeping.begins(fault)
        cameras = []
        for (cabinet, side), door in self._doors.items():
            at = instant(newest[cabinet, side], self._zone) if (cabinet, side) in newest else None
            picture, stream = door.picture, door.stream.why_not if door.stream else None
            cameras.append(
                {
                    "camera": f"{cabinet} {side}",
                    "cabinet": cabinet,
                    "side": side,
                    "pictures": bool(door.camera.snapshot),
                    "asked_at": picture.at,
                    "failed": picture.why.both() if picture.why else None,
                    "stream_failed": stream.both() if stream else None,
                    "newest": at,
                }
            )
        why = self._keeping.why
        folder = {"bytes": held, "max_bytes": self._settings.bounds.max_bytes, "failed": why.both() if why else None}
        return (*cameras, {"media": folder})

    # --- upkeep ---

    async def tidy(self) -> None:
        """What is due at start. A disk that fails is told by the next capture."""
        try:
            await self.album.tidy()
        except KeepFault as fault:
            self._keeping.begins(fault)

    async def forget_too_old(self, now: float) -> None:
        """Delete what is older than the bound; `now` must come from a clock that is trusted."""
        try:
            if gone := await self.album.forget_too_old(now):
                log.info("deleted %d pictures and clips that were too old", gone)
        except KeepFault as fault:
            self._keeping.begins(fault)


def _admit(door: _Door, now: float) -> bool:
    door.left = min(float(BURST), door.left + (now - door.filled_at) / REFILL_S)
    door.filled_at = now
    if door.left < 1.0:
        if not door.held:
            text = "%s: the door opens too often; one opening in %.0f s is captured"
            log.warning(text, named(door.camera), REFILL_S)
        door.held = True
        return False
    door.left -= 1.0
    door.held = door.held and door.left < BURST / 2
    return True
