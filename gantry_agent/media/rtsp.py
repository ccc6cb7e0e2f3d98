"""An RTSP stream, read by the program ffmpeg and handed over as MPEG-TS; a clip of it is an MP4.

RTSP, RTP and the codecs' packets are well kept there and would be a lot here. It copies what the camera has coded and
codes nothing itself, so it costs little; it writes to a pipe and nothing to the disk, whose flash would not last. The
URL with the password goes in by standard input, as a script of its concat demuxer (ffmpeg-formats, "concat"): on the
command line every user of this PC could read it. A crash or a hang of ffmpeg stays outside.
"""

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from gantry_agent.media import ts
from gantry_agent.media.ring import Piece
from gantry_agent.media.stream import Take
from gantry_agent.media.trouble import CameraFault, LoginRefused
from gantry_agent.model import Camera
from gantry_agent.text import Text, of_system

PROGRAM: Final = "ffmpeg"
SILENT_S: Final = 10.0
CAMERA_S: Final = 5  # ffmpeg's own patience with the camera
CLIP_S: Final = 10.0  # copying 16 MB takes 0.1 s
END_S: Final = 2.0
CHUNK: Final = 64 * 1024
_URL = re.compile(r"[a-z]+://\S+", re.IGNORECASE)

READ = (
    *("-hide_banner", "-loglevel", "error"),
    *("-protocol_whitelist", "pipe,rtsp,rtp,udp,tcp"),
    *("-f", "concat", "-safe", "0", "-i", "pipe:0", "-an", "-c:v", "copy"),
    *("-f", "mpegts", "-mpegts_flags", "+pat_pmt_at_frames", "-muxdelay", "0", "-muxpreload", "0"),
    *("-flush_packets", "1", "pipe:1"),
)
WRITE = ("-hide_banner", "-loglevel", "error", "-y", "-f", "mpegts", "-i", "pipe:0", "-c", "copy")


def is_there() -> bool:
    """Whether this PC has the program."""
    return shutil.which(PROGRAM) is not None


class Rtsp:
    """The source for `rtsp://…` streams."""

    async def read(self, camera: Camera, take: Take) -> None:
        async with _program(*READ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            said: list[bytes] = [b""]
            listening = asyncio.create_task(_listen(process, said), name="what ffmpeg says")
            try:
                with contextlib.suppress(OSError):
                    process.stdin.write(script(camera))
                    await process.stdin.drain()
                    process.stdin.close()
                while data := await _next(process.stdout):
                    take(data)
                await asyncio.wait([listening], timeout=END_S)
            finally:
                listening.cancel()
            raise _ended(said[0])

    async def clip(self, pieces: Sequence[Piece], start: float) -> tuple[str, bytes] | None:
        content = await asyncio.get_running_loop().run_in_executor(None, ts.cut, pieces, start)
        if not content:
            return None
        with tempfile.TemporaryDirectory(prefix="gantry-clip-") as folder:
            path = Path(folder) / "clip.mp4"
            async with _program(*WRITE, "-movflags", "+faststart", str(path)) as process:
                try:
                    async with asyncio.timeout(CLIP_S):
                        _, said = await process.communicate(content)
                except TimeoutError:
                    raise CameraFault(
                        Text(f"ffmpeg {CLIP_S:.0f} 秒内没有生成录像", f"ffmpeg wrote no clip within {CLIP_S:.0f} s")
                    ) from None
            if process.returncode != 0 or not path.is_file():
                last = _last_line(said)
                raise CameraFault(Text(f"ffmpeg 没有生成录像：{last}", f"ffmpeg wrote no clip: {last}"))
            return ".mp4", await asyncio.get_running_loop().run_in_executor(None, path.read_bytes)


def script(camera: Camera) -> bytes:
    """What tells ffmpeg where to read, the login in the URL."""
    assert camera.stream is not None
    parts = urlsplit(camera.stream)
    login = f"{quote(camera.user, safe='')}:{quote(camera.password, safe='')}@" if camera.user else ""
    url = urlunsplit(parts._replace(netloc=login + parts.netloc)).replace("'", "%27")
    lines = ("ffconcat version 1.0", f"file '{url}'", "option rtsp_transport tcp", f"option timeout {CAMERA_S}000000")
    return "\n".join((*lines, "")).encode()


@contextlib.asynccontextmanager
async def _program(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ffmpeg; on leaving it is gone, whatever it was doing."""
    pipe = asyncio.subprocess.PIPE
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    try:
        process = await asyncio.create_subprocess_exec(
            PROGRAM, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
        )
    except OSError as fault:
        raise CameraFault(
            Text(
                f"无法启动 {PROGRAM}（{of_system(fault).zh}）；请 apt-get install ffmpeg",
                f"cannot start {PROGRAM} ({fault.strerror}); on Debian: apt-get install ffmpeg",
            )
        ) from fault
    try:
        yield process
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    for signal in (process.terminate, process.kill):
        with contextlib.suppress(ProcessLookupError):
            signal()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await process.wait()
            return


async def _next(stream: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(SILENT_S):
            return await stream.read(CHUNK)
    except TimeoutError:
        raise CameraFault(Text(f"{SILENT_S:.0f} 秒内没有数据", f"nothing came for {SILENT_S:.0f} s")) from None


async def _listen(process: asyncio.subprocess.Process, said: list[bytes]) -> None:
    """Keep the end of what ffmpeg says; a pipe that nobody reads would stop it."""
    assert process.stderr is not None
    while data := await process.stderr.read(CHUNK):
        said[0] = (said[0] + data)[-2000:]


def _ended(said: bytes) -> CameraFault:
    told = f"ffmpeg ended: {_last_line(said)}"
    return LoginRefused(told) if "401" in told else CameraFault(told)


def _last_line(said: bytes | None) -> str:
    """The last of what ffmpeg said, without the URL in it."""
    lines = (said or b"").decode(errors="replace").strip().splitlines()
    return _URL.sub("…", lines[-1])[:200] if lines else "it said nothing"
