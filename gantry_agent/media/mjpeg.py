"""An MJPEG stream over HTTP, read by ourselves; a clip of it is an AVI.

At most ten frames a second are kept: enough to see who opened a door, and the camera's own rate may be 25.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import aiohttp

from gantry_agent.media import avi, snapshot
from gantry_agent.media.frames import Frames, NoFrames
from gantry_agent.media.ring import Piece
from gantry_agent.media.stream import Take
from gantry_agent.media.trouble import CameraFault
from gantry_agent.model import Camera
from gantry_agent.text import Text

SILENT_S: Final = 10.0  # the slowest stream that is of use has a frame in this
FRAME_S: Final = 0.09  # between two frames that are kept


class Mjpeg:
    """The source for `http://…` and `https://…` streams."""

    def __init__(self, silent_s: float = SILENT_S) -> None:
        self._silent_s = silent_s

    async def read(self, camera: Camera, take: Take) -> None:
        try:
            async with snapshot.opened(camera) as session:
                await self._read(session, camera, take)
        except TimeoutError:
            raise CameraFault(
                Text(f"{self._silent_s:g} 秒内没有数据", f"nothing came for {self._silent_s:g} s")
            ) from None
        except NoFrames as fault:
            raise CameraFault(Text("不是 JPEG 流（multipart）", f"no stream of JPEGs (multipart): {fault}")) from None
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            raise CameraFault(snapshot.why(fault)) from None  # its text has the URL

    async def clip(self, pieces: Sequence[Piece], start: float) -> tuple[str, bytes] | None:
        wanted = [piece for piece in pieces if piece.at >= start]
        content = await asyncio.get_running_loop().run_in_executor(None, avi.write, wanted)
        return None if content is None else (".avi", content)

    async def _read(self, session: aiohttp.ClientSession, camera: Camera, take: Take) -> None:
        assert camera.stream is not None
        async with asyncio.timeout(self._silent_s):
            response = await snapshot.request(session, camera.stream, camera)
        frames, kept_at = Frames(), 0.0
        try:
            async with asyncio.timeout(self._silent_s) as deadline:
                async for data in response.content.iter_any():
                    now = time.monotonic()
                    for frame in frames.feed(data):
                        deadline.reschedule(asyncio.get_running_loop().time() + self._silent_s)
                        if now - kept_at >= FRAME_S:
                            kept_at = now
                            take(frame)
        finally:
            response.close()
