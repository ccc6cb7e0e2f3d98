"""Cameras as HTTP servers: a snapshot and an MJPEG stream each, with Digest or Basic authentication, and what can fail.

Written from RFC 7616 (Digest; MD5 and SHA-256, qop auth) and from what the cameras of the tables do: the snapshot's
path is the one of the site file. RTSP is left to the RTSP servers of others.
"""

import asyncio
import base64
import hashlib
import random
import re
import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import urlsplit

from aiohttp import web

from hwsim import frame
from hwsim.site import CameraSpec
from hwsim.wires import listener

FRAMES_PER_S = 10
SLOW_S = 3.0
NONCES = 100
REALM = "hwsim camera"

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "hang": "the connection is taken and nothing is ever said",
        "401": "no login is right",
        "500": "the camera answers 500",
        "half": "the picture ends in its middle, as long as was said",
        "cut": "the connection is closed in the middle of the picture",
        "slow": f"the answer takes {SLOW_S:g} s longer",
        "garbage": "random bytes are called image/jpeg",
        "huge": "a picture without end",
        "redirect": "the camera sends to another address",
        "html": "a page with a login form is called 200 OK",
        "frozen": "the stream stands still",
    }
)
AUTHS = ("digest", "basic", "none")


@dataclass(slots=True)
class Manner:
    """How a camera behaves just now."""

    kind: str | None = None
    left: int | None = None  # answers that are still spoilt; None: all
    auth: str = "digest"
    nonces: set[str] = field(default_factory=set)
    asked: int = 0
    elsewhere: str = "http://192.0.2.1/picture"

    def strike(self) -> str | None:
        """The fault of the next answer."""
        if self.kind is None:
            return None
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.kind = self.left = None
        return self.kind


class Cameras:
    """The cameras of a site, by name (`1 front`). An async context: they serve while it is open."""

    def __init__(self, specs: Iterable[CameraSpec]) -> None:
        self.specs = {spec.name: spec for spec in specs}
        self.manners = {name: Manner(auth="digest" if spec.user else "none") for name, spec in self.specs.items()}
        self._runners: list[web.AppRunner] = []

    def describe(self, name: str) -> str:
        spec = self.specs[name]
        return (
            ", ".join(url for url in (spec.snapshot, spec.stream) if urlsplit(url).scheme == "http") or "not simulated"
        )

    def behave(self, wish: Any) -> Mapping[str, Any]:
        """Change how a camera behaves; a wrong wish is a ValueError that lists what is valid."""
        wish = wish if isinstance(wish, Mapping) else {}
        name, kind, auth = wish.get("camera"), wish.get("kind"), wish.get("auth")
        if name not in self.manners:
            raise ValueError(f"cannot find camera {name!r}; valid: {', '.join(self.manners) or 'none is simulated'}")
        manner = self.manners[name]
        if kind is not None and kind not in KINDS:
            raise ValueError(f"cannot inflict {kind!r} on a camera; valid: {', '.join(KINDS)}")
        if auth is not None and auth not in AUTHS:
            raise ValueError(f"cannot use auth {auth!r}; valid: {', '.join(AUTHS)}")
        count = wish.get("count")
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise ValueError(f"cannot use count {count!r}: a number from 1 is needed")
        manner.kind, manner.left = kind, count
        manner.auth = auth or manner.auth
        manner.elsewhere = str(wish.get("elsewhere", manner.elsewhere))
        return {"camera": name, "kind": manner.kind, "auth": manner.auth, "asked": manner.asked}

    async def __aenter__(self) -> Self:
        try:
            for (host, port), paths in self._places().items():
                await self._serve(host, port, paths)
        except listener.WireFault:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for runner in self._runners:
            await runner.cleanup()

    def _places(self) -> Mapping[tuple[str, int], Mapping[str, tuple[str, bool]]]:
        """By address, which path is which camera's snapshot or stream; what is not plain http is not simulated."""
        places: dict[tuple[str, int], dict[str, tuple[str, bool]]] = defaultdict(dict)
        for name, spec in self.specs.items():
            for url, streams in ((spec.snapshot, False), (spec.stream, True)):
                parts = urlsplit(url)
                if parts.scheme == "http" and parts.hostname:
                    path = parts.path or "/"
                    places[parts.hostname, parts.port or 80][path] = (name, streams)
        return places

    async def _serve(self, host: str, port: int, paths: Mapping[str, tuple[str, bool]]) -> None:
        async def respond(request: web.Request) -> web.StreamResponse:
            found = paths.get(request.path)
            if found is None:
                return web.Response(status=404)
            return await self._respond(request, *found)

        app = web.Application()
        app.router.add_get("/{path:.*}", respond)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise listener.unheard(host, port, error, "（摄像机）", " (a camera)") from error

    async def _respond(self, request: web.Request, name: str, streams: bool) -> web.StreamResponse:  # noqa: FBT001
        spec, manner = self.specs[name], self.manners[name]
        kind = None if streams and manner.kind != "hang" else manner.strike()
        manner.asked += 1
        match kind:
            case "hang":
                await asyncio.sleep(3600)
            case "slow":
                await asyncio.sleep(SLOW_S)
            case "500":
                return web.Response(status=500, text="Internal Server Error")
            case "redirect":
                return web.Response(status=302, headers={"Location": manner.elsewhere})
        if kind == "401" or not _lets_in(request, spec, manner):
            return _challenge(manner)
        return await self._stream(request, spec, manner) if streams else await _snapshot(request, spec, kind)

    async def _stream(self, request: web.Request, spec: CameraSpec, manner: Manner) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "multipart/x-mixed-replace;boundary=--hwsim"})
        await response.prepare(request)
        due = time.monotonic()
        while True:
            if manner.kind != "frozen":
                picture = frame.render(spec.cabinet, spec.side, time.time())
                head = f"--hwsim\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                try:
                    await response.write(head.encode() + picture + b"\r\n")
                except ConnectionError:
                    return response
            due += 1 / FRAMES_PER_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _snapshot(request: web.Request, spec: CameraSpec, kind: str | None) -> web.StreamResponse:
    picture = frame.render(spec.cabinet, spec.side, time.time())
    match kind:
        case "half":
            picture = picture[: len(picture) // 2]
        case "garbage":
            picture = random.randbytes(5000)
        case "html":
            return web.Response(text="<html><form>login</form></html>", content_type="text/html")
        case "cut" | "huge":
            return await _broken(request, picture, kind)
    return web.Response(body=picture, content_type="image/jpeg")


async def _broken(request: web.Request, picture: bytes, kind: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
    response.content_length = len(picture) if kind == "cut" else 1 << 40
    await response.prepare(request)
    await response.write(picture[: len(picture) // 2])
    try:
        while kind == "huge":
            await response.write(bytes(65536))
    except ConnectionError:
        pass
    if request.transport is not None:
        request.transport.abort()
    return response


# --- who is let in --------------------------------------------------------------------------------------------------

_PAIR = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


def _challenge(manner: Manner) -> web.Response:
    if manner.auth == "basic":
        header = f'Basic realm="{REALM}"'
    else:
        nonce = secrets.token_hex(16)
        if len(manner.nonces) >= NONCES:
            manner.nonces.clear()
        manner.nonces.add(nonce)
        header = f'Digest realm="{REALM}", qop="auth", algorithm=MD5, nonce="{nonce}", opaque="{nonce[:8]}"'
    return web.Response(status=401, headers={"WWW-Authenticate": header}, text="Unauthorized")


def _lets_in(request: web.Request, spec: CameraSpec, manner: Manner) -> bool:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    match manner.auth:
        case "none":
            return True
        case "basic":
            right = base64.b64encode(f"{spec.user}:{spec.password}".encode()).decode()
            return scheme.lower() == "basic" and given.strip() == right
    said = {name: quoted or plain for name, quoted, plain in _PAIR.findall(given)}
    if scheme.lower() != "digest" or said.get("nonce") not in manner.nonces or said.get("uri") != request.path_qs:
        return False
    one = _md5(f"{spec.user}:{REALM}:{spec.password}")
    two = _md5(f"{request.method}:{said['uri']}")
    parts = [one, said["nonce"], said.get("nc", ""), said.get("cnonce", ""), said.get("qop", ""), two]
    return said.get("qop") == "auth" and said.get("response") == _md5(":".join(parts))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
