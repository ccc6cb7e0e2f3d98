"""The device's side of the interface: /remotecontrol.do on port 3699 (D1 to D8).

The edge: who asks, how often, how slowly, how large. Who may hold a connection is `reception`, what a request must be
`protocol`; doing what it asks, once, is `execution`. Limits are generous for a cloud and small for a stranger: the port
stands open on a roadside network. It does not know the store, the buses or the site file; the shared code is never
logged.
"""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.http import HttpProcessingError

from gantry_agent.cloud import commands, protocol
from gantry_agent.cloud.execution import Asked, Execution, asked
from gantry_agent.cloud.media import Enclosure, Envelopes, Media, send
from gantry_agent.cloud.protocol import BINFILE_AUTH, BINFILE_MD5, CONTENT_TYPE, Code, Refusal
from gantry_agent.cloud.rates import Rates, asker_at
from gantry_agent.cloud.reception import BACKLOG, Reception
from gantry_agent.command import Refused
from gantry_agent.model import AgentError, Site
from gantry_agent.text import Text

log = logging.getLogger(__name__)

KEEPALIVE_S: Final = 5.0  # for a whole header, or the next request (aiohttp's own default is an hour)
BODY_S: Final = 10.0  # a body of 1 MiB comes through a poor mobile line in that
LINGER_S: Final = 2.0  # for the rest of a body that was answered before it ended
GRACE_S: Final = 3.0  # for commands on their way when the agent stops


@dataclass(frozen=True, slots=True)
class Tls:
    """Files for https; with `client_ca` only clients with a certificate of that authority get in."""

    cert: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """`control:` of the site file. `allow` holds addresses and networks; empty lets anybody try."""

    listen: str = "0.0.0.0:3699"  # the cloud calls from outside, §1.4
    allow: tuple[str, ...] = ()
    clock_tolerance_s: float = 300.0
    requests_per_minute: int = 120
    body_limit_kb: int = 1024
    tls: Tls | None = None


class CannotListen(AgentError):
    """The port cannot be had; the message names it and says why."""


def load_tls(tls: Tls) -> ssl.SSLContext:
    """Read the files into a server's context; raises CannotListen when they do not do."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    what = f"{tls.cert} with {tls.key}: not a PEM certificate and its unencrypted key"
    try:
        context.load_cert_chain(tls.cert, tls.key, password=lambda: "")  # or OpenSSL would ask at the terminal
        if tls.client_ca is not None:
            what = f"{tls.client_ca}: no certificate in PEM form"
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(tls.client_ca)
    except (OSError, ValueError) as fault:  # an SSLError is an OSError
        why = getattr(fault, "reason", None) or getattr(fault, "strerror", None) or str(fault)
        raise CannotListen(f"cannot use the TLS files {what} ({why})") from fault
    return context


class Control:
    """Serves the cloud's requests while `run` runs. `now` is the wall clock, for timeStamp."""

    def __init__(
        self,
        settings: ControlSettings,
        site: Site,
        auth: str,
        execution: Execution,
        now: Callable[[], float],
        *,
        body_s: float = BODY_S,
        keepalive_s: float = KEEPALIVE_S,
        media: Media | None = None,
    ) -> None:
        self._settings = settings
        self._site = site
        self._auth = auth
        self._execution = execution
        self._now = now
        self._body_s, self._keepalive_s = body_s, keepalive_s
        self._media, self._envelopes = media, Envelopes(site.gantry_id)
        self._allow = tuple(ipaddress.ip_network(each, strict=False) for each in settings.allow)
        self._rates = Rates(settings.requests_per_minute)
        self._reception: Reception | None = None
        self.port = 0  # the one listened on, once `run` has set `ready`

    # --- serving ---

    async def run(self, ready: asyncio.Event | None = None) -> None:
        """Serve until cancelled. Raises CannotListen if the port is not to be had or the TLS files do not do."""
        app = web.Application(client_max_size=self._settings.body_limit_kb * 1024)
        app.router.add_post(protocol.PATH_CONTROL, self._respond)  # another path 404, another verb 405 (D1)
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=_http_log(),
            keepalive_timeout=self._keepalive_s,
            shutdown_timeout=GRACE_S,
            max_headers=64,
            lingering_time=LINGER_S,
            auto_decompress=False,  # the MD5 is that of the bytes that came, and no archive may swell here
        )
        await runner.setup()
        try:
            assert runner.server is not None
            tls = None if self._settings.tls is None else load_tls(self._settings.tls)
            self._reception = Reception(runner.server, self._lets_in, tls, self._keepalive_s)
            await self._serve(await self._listen(), ready)
        finally:
            await runner.cleanup()

    async def _serve(self, listening: tuple[socket.socket, ...], ready: asyncio.Event | None) -> None:
        assert self._reception is not None
        async with asyncio.TaskGroup() as tasks:
            self._execution.tasks = tasks
            accepting = [tasks.create_task(self._reception.accept(each, tasks)) for each in listening]
            writing = tasks.create_task(self._execution.run(), name="audit of refusals")
            try:
                self.port = listening[0].getsockname()[1]
                _, port = _address(self._settings.listen)
                log.info("listening on %s%s", self._settings.listen, "" if port == self.port else f", port {self.port}")
                if ready is not None:
                    ready.set()
                await asyncio.get_running_loop().create_future()
            finally:
                for task in accepting:
                    task.cancel()
                for each in listening:
                    each.close()
                await self._execution.settle(GRACE_S)
                self._execution.tasks = None
                writing.cancel()

    async def _listen(self) -> tuple[socket.socket, ...]:
        host, port = _address(self._settings.listen)
        try:
            # Only for its sockets, one for each address of the host; whom they let in is not left to it.
            server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port, start_serving=False)
            listening = tuple(each.dup() for each in server.sockets)
            server.close()
            for each in listening:
                each.listen(BACKLOG)
        except OSError as fault:
            why = "the port is already in use" if fault.errno == errno.EADDRINUSE else fault.strerror or str(fault)
            raise CannotListen(f"cannot listen on {self._settings.listen}: {why}") from fault
        return listening

    def _lets_in(self, address: str) -> bool:
        return self._allowed(_plain(address))

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        address = _plain(request.remote or "")
        try:
            async with asyncio.timeout(self._body_s):
                body = await request.read()
        except TimeoutError:
            log.info("%s sent no whole body within %g s", address, self._body_s)
            return _hang_up(408)
        except (ConnectionError, web.RequestPayloadError) as fault:
            log.info("%s broke off in the middle of a body: %s", address, fault)
            return _hang_up(400)
        headers = request.headers
        assert self._reception is not None
        who = asked(address, "cloud", self._now(), body)
        with self._reception.busy(request.protocol):
            judged = self._judge(who, body, headers.get(BINFILE_MD5), headers.get(BINFILE_AUTH))
            told = await self._execution.guarded(judged)
            if isinstance(told, Enclosure):
                return await send(request, told, self._auth)
        return web.Response(body=told, headers={"Content-Type": CONTENT_TYPE})

    # --- judging, in the order of PROTOCOL §4 ---

    async def _judge(self, who: Asked, body: bytes, md5: str | None, auth: str | None) -> bytes | Enclosure:
        refuse = self._execution.refuse
        refusal = self._stop_stranger(who.who, body, md5, auth)
        if refusal is not None:
            return refuse(who, refusal, stranger=True)
        tolerance_s = self._settings.clock_tolerance_s
        request = protocol.check_request(body, self._site.gantry_id, self._now(), tolerance_s)
        if isinstance(request, Refusal):
            return refuse(who, request)
        unknown = request.unknown + commands.unknown_members(request.method, request.business)
        if unknown:
            log.info("%s sent members that the interface does not have: %s", who.who, ascii(unknown[:8])[:200])
        who = replace(who, what=commands.named(request.method, request.business))
        if request.method == "getCabinetImageVedio":
            query = commands.read_media_query(request.business, self._site)
            if isinstance(query, Refused):
                return refuse(who, Refusal(Code.BAD_PARAMETER, query.field))
            return await self._show(who, query)
        repeatable = not commands.asks_result(request.business)
        digest = protocol.digest(body) if repeatable else None
        return await self._execution.answer(who, request.method, request.business, digest)

    async def _show(self, who: Asked, query: commands.MediaQuery) -> bytes | Enclosure:
        """D23. A query: D6 does not hold for it, and each one is answered with what there is then."""
        capture = await self._media.find(query.cabinet, query.opened_at) if self._media else None
        enclosure = await self._envelopes.enclose(capture) if capture else None
        if enclosure is None:
            return self._execution.refuse(who, Refusal(Code.NO_MEDIA))
        sent = f"{enclosure.name}, MD5 {enclosure.md5}"
        self._execution.note(who.entry(Text(f"已发送 {sent}", f"answered with {sent}"), b""))
        log.info("%s gets %s (%d kB)", who.who, enclosure.name, enclosure.size // 1000)
        return enclosure

    def _stop_stranger(self, address: str, body: bytes, md5: str | None, auth: str | None) -> Refusal | None:
        """D5 and D2. The rate comes first, or a code could be guessed by trying faster than it allows."""
        now, asker = asyncio.get_running_loop().time(), asker_at(address)
        judgement = self._rates.admit(asker, now)
        if judgement != "admitted":
            if judgement == "refused first":
                log.warning("%s asks too often: 1005 until it slows down", address)
            return Refusal(Code.TOO_FREQUENT)
        if not protocol.signature_holds(body, md5):
            return Refusal(Code.BAD_SIGNATURE)
        if not self._allowed(address) or not protocol.auth_holds(auth, self._auth):
            self._rates.failed(asker, now)
            return Refusal(Code.NOT_ALLOWED)
        self._rates.passed(asker)
        return None

    def _allowed(self, address: str) -> bool:
        if not self._allow:
            return True
        try:
            caller = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(caller in network for network in self._allow)


def _http_log() -> logging.Logger:
    """Where aiohttp tells of what is not HTTP: one short line for each, as the port is open to every scanner."""
    http = logging.getLogger(f"{__name__}.http")
    http.addFilter(_without_strangers)
    return http


def _without_strangers(record: logging.LogRecord) -> bool:
    fault = record.exc_info[1] if record.exc_info else None
    if not isinstance(fault, HttpProcessingError):
        return True
    log.info("%s: %s %s", record.getMessage(), fault.code, ascii(fault.message)[:100])
    return False


def _hang_up(status: int) -> web.Response:
    response = web.Response(status=status)
    response.force_close()
    return response


def _plain(address: str) -> str:
    """An IPv4 caller on a dual-stack socket, as IPv4."""
    with contextlib.suppress(ValueError):
        mapped = getattr(ipaddress.ip_address(address), "ipv4_mapped", None)
        return address if mapped is None else str(mapped)
    return address


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise CannotListen(f"cannot listen on {listen!r}: not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)
