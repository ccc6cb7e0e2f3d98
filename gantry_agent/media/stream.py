"""A camera's stream, kept going: connected, read into a ring, connected again when it ends.

What is read and how a clip is cut from it is the source's matter (`mjpeg`, `rtsp`). Here is what they share: waits that
grow to a minute while the camera is away, one line in the log when it goes and one when it is back.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from gantry_agent.media.ring import Piece, Ring
from gantry_agent.media.trouble import CameraFault, LoginRefused, Trouble, named
from gantry_agent.model import Camera
from gantry_agent.text import Text

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
LOGIN_WAIT_S: Final = 600.0  # after a login that was refused: five in half an hour lock some cameras
SETTLE_S: Final = 1.0  # a picture is so late at most on its way from the lens to the ring
LEAD_S: Final = 5.0  # a clip begins at a whole picture, which in a compressed stream comes every few seconds


Take = Callable[[bytes], None]


class Source(Protocol):
    """Where a stream comes from."""

    async def read(self, camera: Camera, take: Take) -> None:
        """Give what comes, piece by piece, until it ends. Raises CameraFault."""

    async def clip(self, pieces: Sequence[Piece], start: float) -> tuple[str, bytes] | None:
        """Suffix and bytes of a file that begins at `start` or not much earlier. Raises CameraFault."""


class Stream:
    """The stream of one camera; `run` keeps its ring."""

    def __init__(self, camera: Camera, source: Source, before_s: float, after_s: float) -> None:
        self._camera, self._source = camera, source
        self._before_s, self._after_s = before_s, after_s
        self._ring = Ring(LEAD_S + before_s + after_s + 2 * SETTLE_S)
        self._trouble = Trouble(f"stream of the {named(camera)}")

    async def run(self) -> None:
        """Keep the ring, until cancelled."""
        wait_s = FIRST_WAIT_S
        while True:
            began = time.monotonic()
            try:
                await self._source.read(self._camera, self._take)
                fault = CameraFault("it ended")
            except CameraFault as told:
                fault = told
            self._trouble.begins(fault)
            if time.monotonic() - began > LONGEST_WAIT_S:
                wait_s = FIRST_WAIT_S
            await asyncio.sleep(LOGIN_WAIT_S if isinstance(fault, LoginRefused) else wait_s)
            wait_s = min(LONGEST_WAIT_S, 2 * wait_s)

    @property
    def why_not(self) -> Text | None:
        """Why nothing comes just now."""
        return self._trouble.why

    def _take(self, content: bytes) -> None:
        self._ring.add(time.monotonic(), content)
        self._trouble.ends()

    async def clip(self, opened_at: float) -> tuple[str, bytes] | None:
        """The clip around an instant (monotonic); waits until its end has come. None where there is nothing of it."""
        end = opened_at + self._after_s + SETTLE_S
        await asyncio.sleep(end - time.monotonic())
        start = opened_at - self._before_s
        pieces = self._ring.between(start - LEAD_S, end)
        return await self._source.clip(pieces, start) if pieces else None
