"""The device's side of the interface: /remotecontrol.do on port 3699 (D1 to D8).

The edge: who asks, how often, how slowly, how large, and whether this very body was asked before. Who may hold a
connection is `reception`, what a request must be `protocol`, what it orders `commands`; doing it is a function that is
given. Limits are generous for a cloud and small for a stranger: the port stands open on a roadside network. It does
not know the store, the buses or the site file; the shared code is never logged.
"""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from aiohttp import web
from aiohttp.http import HttpProcessingError

from gantry_agent.cloud import commands, protocol
from gantry_agent.cloud.protocol import BINFILE_AUTH, BINFILE_MD5, CONTENT_TYPE, Code, Refusal, Request
from gantry_agent.cloud.rates import Rates
from gantry_agent.cloud.reception import BACKLOG, Reception
from gantry_agent.command import Carried, Command, Done, Failed, Outcome, Partial, Refused, SetWhitelist, UpdateNow
from gantry_agent.model import AgentError, Site

log = logging.getLogger(__name__)

KEEPALIVE_S: Final = 5.0  # for a whole header, or the next request (aiohttp's own default is an hour)
BODY_S: Final = 10.0  # a body of 1 MiB comes through a poor mobile line in that
COMMAND_S: Final = 30.0  # longer than any confirmation by read-back; beyond it the cloud has hung up
LINGER_S: Final = 2.0  # for the rest of a body that was answered before it ended
GRACE_S: Final = 3.0  # for commands on their way when the agent stops
ANSWERS_UNSAVED: Final = 256  # remembered in memory while the store cannot

INTERRUPTED = protocol.answer(Code.FAILED, "上次执行被中断")  # what a repeat hears if the agent died while executing


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


class Repeats(Protocol):
    """Where the answers given are kept, by the MD5 of the request (D6)."""

    async def recall(self, md5: str, since: float) -> str | None: ...
    async def remember(self, md5: str, answer: str, at: float) -> None: ...


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
        carry_out: Callable[[Command], Awaitable[Carried]],
        repeats: Repeats,
        now: Callable[[], float],
        *,
        body_s: float = BODY_S,
        keepalive_s: float = KEEPALIVE_S,
        command_s: float = COMMAND_S,
    ) -> None:
        self._settings = settings
        self._site = site
        self._auth = auth
        self._carry_out = carry_out
        self._repeats = repeats
        self._now = now
        self._body_s, self._keepalive_s, self._command_s = body_s, keepalive_s, command_s
        self._allow = tuple(ipaddress.ip_network(each, strict=False) for each in settings.allow)
        self._rates = Rates(settings.requests_per_minute)
        self._executing: dict[str, asyncio.Task[bytes]] = {}
        self._unsaved: OrderedDict[str, bytes] = OrderedDict()
        self._reception: Reception | None = None
        self._tasks: asyncio.TaskGroup | None = None
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
        async with asyncio.TaskGroup() as self._tasks:
            accepting = [self._tasks.create_task(self._reception.accept(each, self._tasks)) for each in listening]
            try:
                self.port = listening[0].getsockname()[1]
                log.info("listening on %s, port %d", self._settings.listen, self.port)
                if ready is not None:
                    ready.set()
                await asyncio.get_running_loop().create_future()
            finally:
                for task in accepting:
                    task.cancel()
                for each in listening:
                    each.close()
                if self._executing:
                    await asyncio.wait(set(self._executing.values()), timeout=GRACE_S)

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

    async def _respond(self, request: web.Request) -> web.Response:
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
        with self._reception.busy(request.protocol):
            told = await self._guard(self._judge(address, body, headers.get(BINFILE_MD5), headers.get(BINFILE_AUTH)))
        return web.Response(body=told, headers={"Content-Type": CONTENT_TYPE})

    async def _guard(self, work: Awaitable[bytes]) -> bytes:
        """The HTTP edge: a bug answers 1008, and only the log hears what it was (D7)."""
        try:
            return await work
        except Exception:
            log.exception("a request failed on a bug")
            return protocol.answer(Code.UNKNOWN)

    # --- judging, in the order of PROTOCOL §4 ---

    async def _judge(self, address: str, body: bytes, md5: str | None, auth: str | None) -> bytes:
        refusal = self._stop_stranger(address, body, md5, auth)
        if refusal is not None:
            return _refuse(address, refusal)
        tolerance_s = self._settings.clock_tolerance_s
        request = protocol.check_request(body, self._site.gantry_id, self._now(), tolerance_s)
        if isinstance(request, Refusal):
            return _refuse(address, request)
        unknown = request.unknown + commands.unknown_members(request.method, request.business)
        if unknown:
            log.info("%s sent members that the interface does not have: %s", address, ascii(unknown[:8])[:200])
        if request.method == "getCabinetImageVedio":
            query = commands.read_media_query(request.business, self._site)
            if isinstance(query, Refused):
                return _refuse(address, _parameter(query.field))
            return _refuse(address, Refusal(Code.NO_MEDIA))  # no cameras in this version: nothing to find
        if commands.asks_result(request.business):
            return await self._answer(address, request)
        return await self._answer_once(address, request, protocol.digest(body))

    def _stop_stranger(self, address: str, body: bytes, md5: str | None, auth: str | None) -> Refusal | None:
        """D5 and D2. The rate comes first, or a code could be guessed by trying faster than it allows."""
        now = asyncio.get_running_loop().time()
        judgement = self._rates.admit(address, now)
        if judgement != "admitted":
            if judgement == "refused first":
                log.warning("%s asks too often: 1005 until it slows down", address)
            return Refusal(Code.TOO_FREQUENT)
        if not protocol.signature_holds(body, md5):
            return Refusal(Code.BAD_SIGNATURE)
        if not self._allowed(address) or not protocol.auth_holds(auth, self._auth):
            self._rates.failed(address, now)
            return Refusal(Code.NOT_ALLOWED)
        return None

    def _allowed(self, address: str) -> bool:
        if not self._allow:
            return True
        try:
            caller = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(caller in network for network in self._allow)

    # --- doing ---

    async def _answer_once(self, address: str, request: Request, md5: str) -> bytes:
        """D6. While the first is executed its repeats wait for it; afterwards they hear what it heard."""
        if (task := self._executing.get(md5)) is None:
            assert self._tasks is not None
            work = self._answer_first(address, request, md5)
            task = self._tasks.create_task(self._guard(work), name=f"request {md5[:8]}")
            self._executing[md5] = task
            task.add_done_callback(lambda _: self._executing.pop(md5, None))
        return await asyncio.shield(task)  # a caller that hangs up does not stop what others wait for

    async def _answer_first(self, address: str, request: Request, md5: str) -> bytes:
        # A body may come from timeStamp - tolerance to timeStamp + tolerance: that long is it a repeat.
        given = await self._recall(md5, self._now() - 2 * self._settings.clock_tolerance_s)
        if given is None:
            return await self._answer(address, request, md5)
        log.info("%s repeats a request of %s; it is not executed again", address, request.method)
        return given

    async def _answer(self, address: str, request: Request, md5: str | None = None) -> bytes:
        orders = commands.read_commands(request.method, request.business, self._site)
        if isinstance(orders, Refused):
            return _refuse(address, _parameter(orders.field))
        if md5 is not None:
            await self._remember(md5, INTERRUPTED)
        # Begun: whatever comes now is the answer to every repeat.
        told = await self._guard(self._execute(address, orders))
        if md5 is not None:
            await self._remember(md5, told)
        for order in orders:
            if isinstance(order, UpdateNow):
                assert self._tasks is not None
                self._tasks.create_task(self._guard(self._trigger(order)), name=f"update {order.channel}")
        return told

    async def _execute(self, address: str, orders: tuple[Command, ...]) -> bytes:
        """Server, frequency, cmd in that order; the first that fails ends it (D8)."""
        told: dict[str, object] = {}
        for order in orders:
            if isinstance(order, UpdateNow):
                continue
            outcome = await self._outcome(order)
            refusal = _refusal(outcome)
            if refusal is not None:
                log.warning("%s ordered %s: %s %s", address, _shown(order), refusal.code, refusal.detail)
                return protocol.answer(refusal.code, refusal.detail)
            if isinstance(outcome, Done) and outcome.told is not None:
                told[protocol.TEST_RESULT] = dict(outcome.told)  # only cmd 10 asks anything
            log.info("%s ordered %s: done", address, _shown(order))
        return protocol.answer(Code.OK, extra=told)

    async def _outcome(self, order: Command) -> Outcome:
        try:
            async with asyncio.timeout(self._command_s) as deadline:
                return (await self._carry_out(order)).outcome
        except TimeoutError:
            if not deadline.expired():
                raise
            return Failed("超时")
        except AgentError as fault:  # no bug: a device or the disk
            log.warning("cannot carry out %s: %s", _shown(order), fault)
            return Failed("内部错误，见日志")

    async def _trigger(self, order: UpdateNow) -> bytes:
        refusal = _refusal(await self._outcome(order))
        if refusal is not None:
            log.warning("cannot update the %s status now: %s", order.channel, refusal.detail)
        return b""

    async def _recall(self, md5: str, since: float) -> bytes | None:
        if md5 in self._unsaved:
            return self._unsaved[md5]
        try:
            told = await self._repeats.recall(md5, since)
        except AgentError as fault:
            log.error("cannot look up repeats: %s", fault)  # noqa: TRY400 -- the cause is in the message
            return None
        return None if told is None else told.encode()

    async def _remember(self, md5: str, told: bytes) -> None:
        """Keep an answer. A full disk must not keep a door shut: then it is kept in memory."""
        try:
            await self._repeats.remember(md5, told.decode(), self._now())
            self._unsaved.pop(md5, None)
        except AgentError as fault:
            log.error("cannot store an answer: %s", fault)  # noqa: TRY400 -- the cause is in the message
            self._unsaved[md5] = told
            if len(self._unsaved) > ANSWERS_UNSAVED:
                self._unsaved.popitem(last=False)


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


def _shown(order: Command) -> str:
    """An order for the log; of a whitelist its length, for it is long and its numbers open doors."""
    return f"SetWhitelist of {len(order.cards)} cards" if isinstance(order, SetWhitelist) else str(order)


def _hang_up(status: int) -> web.Response:
    response = web.Response(status=status)
    response.force_close()
    return response


def _parameter(field: str) -> Refusal:
    return Refusal(Code.BAD_PARAMETER, field)


def _refuse(address: str, refusal: Refusal) -> bytes:
    if refusal.code is not Code.TOO_FREQUENT:  # logged once, when it begins
        log.info("refused a request from %s: %s %s", address, refusal.code, refusal.detail)
    return protocol.answer(refusal.code, refusal.detail)


def _refusal(outcome: Outcome) -> Refusal | None:
    match outcome:
        case Done():
            return None
        case Partial(failed):
            return Refusal(Code.FAILED, "空调" + ",".join(map(str, failed)))  # only cmd 3 has parts (D13)
        case Refused(field):
            return _parameter(field)
        case Failed(why):
            return Refusal(Code.FAILED, why)


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
