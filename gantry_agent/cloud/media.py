"""The answer to getCabinetImageVedio when there is one: the file itself, signed, in pieces (§3.3.3).

Who finds the file for a door opening is given as `Media`; a request's text never becomes a part of a path. The file is
opened once, and its MD5 is of what is sent. A caller that takes the pieces too slowly is cut off: the port's places
are few.
"""

import asyncio
import hashlib
import logging
import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import BinaryIO, Final, Protocol

from aiohttp import web

from gantry_agent.cloud.protocol import BINFILE_AUTH, BINFILE_MD5
from gantry_agent.model import Capture

log = logging.getLogger(__name__)

PIECE: Final = 64 * 1024
PIECE_S: Final = 10.0  # 50 kbit/s: slower, and the cloud has hung up long ago
FILE_S: Final = 600.0
REMEMBERED: Final = 64

TYPES: Mapping[str, str] = MappingProxyType(
    {".jpg": "image/jpeg", ".png": "image/png", ".avi": "video/avi", ".mp4": "video/mp4"}
)


class Media(Protocol):
    """Finds what was captured of the opening of a cabinet's door that is nearest to a time (D23)."""

    async def find(self, cabinet: int, opened_at: float) -> Capture | None: ...


@dataclass(frozen=True, slots=True)
class Enclosure:
    """A file that is about to be sent; `file` is to be closed by who has it."""

    file: BinaryIO
    name: str
    size: int
    md5: str


class Envelopes:
    """Opens captures for sending. Remembers MD5s, since a file never changes."""

    def __init__(self, gantry_id: str) -> None:
        self._gantry_id = gantry_id
        self._known: OrderedDict[tuple[int, int, int], str] = OrderedDict()

    async def enclose(self, capture: Capture) -> Enclosure | None:
        """Open it; None when it is gone by now, as the oldest make room for the newest."""
        return await asyncio.get_running_loop().run_in_executor(None, self._enclose, capture)

    def _enclose(self, capture: Capture) -> Enclosure | None:
        try:
            file = os.fdopen(os.open(capture.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
        except OSError as fault:
            log.warning("cannot open %s: %s", capture.path, fault.strerror)
            return None
        status = os.fstat(file.fileno())
        key = (status.st_ino, status.st_mtime_ns, status.st_size)
        md5 = self._known.get(key)
        if md5 is None:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
            file.seek(0)
            self._known[key] = md5
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return Enclosure(file, f"{self._gantry_id}_{capture.stamp}{capture.path.suffix}", status.st_size, md5)


async def send(request: web.Request, enclosure: Enclosure, auth: str, piece_s: float = PIECE_S) -> web.StreamResponse:
    """Send the file and close it; a caller that breaks off or is too slow gets no more of it."""
    headers = {
        "Content-Type": TYPES[enclosure.name[enclosure.name.rindex(".") :]],
        "Content-Disposition": f"attachment;filename={enclosure.name}",
        BINFILE_MD5: enclosure.md5,
        BINFILE_AUTH: auth,
    }
    response = web.StreamResponse(headers=headers)
    response.content_length = enclosure.size
    try:
        async with asyncio.timeout(FILE_S):
            await _write(request, response, enclosure.file, piece_s)
    except (ConnectionError, TimeoutError) as fault:
        log.info("%s did not take %s to its end: %s", request.remote, enclosure.name, type(fault).__name__)
        if request.transport is not None:
            request.transport.abort()
    finally:
        enclosure.file.close()
    return response


async def _write(request: web.Request, response: web.StreamResponse, file: BinaryIO, piece_s: float) -> None:
    loop = asyncio.get_running_loop()
    await response.prepare(request)
    while piece := await loop.run_in_executor(None, file.read, PIECE):
        async with asyncio.timeout(piece_s):
            await response.write(piece)
    async with asyncio.timeout(piece_s):
        await response.write_eof()
