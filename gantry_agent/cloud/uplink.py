"""The outbox's way to the cloud: whose turn it is, POST, verdict, and how long to wait before the next try (D16, D17).

One loop per channel, so that a cabinet server that is down does not hold up the computers'. What an answer means is
`protocol.judge`; the order of records is the outbox's. What is decided here is patience: a record leaves only on 1000
or when it can never pass, and one that fails where others pass must not stand in their way.

A connection that breaks before the answer leaves the outcome unknown. The record is sent again: the cloud sees the
same body with the same timeStamp, which is the 重传 that the source names.

When not even a connection can be had, the back-off is spent knocking: a bare TCP connection every few seconds, so that
the first status follows the link's return at once, while a cloud that answers badly is left alone for the whole wait.
"""

import asyncio
import logging
import random
import socket
import ssl
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Final, Protocol
from urllib.parse import urlsplit

import aiohttp

from gantry_agent.cloud import hops
from gantry_agent.cloud.protocol import CONTENT_TYPE, Fate, Verdict, judge, sign
from gantry_agent.model import Channel, Record

log = logging.getLogger(__name__)

ANSWER_LIMIT: Final = 64 * 1024  # an answer has 50 bytes; a portal that answers instead may have megabytes
REUSE_S: Final = 15.0  # mobile networks forget a silent connection sooner than either end notices
HELD: Final = 32  # records held back at a time; more would only mean that the cloud as a whole is in trouble
NO_ANSWER: Final = "no answer"
REFUSALS: Final = 3  # in a row of one record, with an answer: then another is tried, in case it is the record
ENVIRONMENT: Final = "environment"  # as `proxy`: http_proxy, https_proxy and no_proxy count
JITTER: Final = 0.5  # of the spacing, on top of it: gantries that came back together do not stay in step


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things may take and how long to wait; the values are constants, other ones are for tests."""

    total_s: float = 15.0
    connect_s: float = 5.0
    read_s: float = 10.0
    first_s: float = 1.0  # back-off: doubles from here to the longest, with full jitter
    longest_s: float = 300.0
    slow_first_s: float = 60.0  # after 1001 and 1004 somebody must mend a configuration
    slow_longest_s: float = 600.0
    wake_gap_s: float = 1.0  # however many alarms come, tries are at least this far apart while the cloud fails
    spacing_s: float = 0.2  # between statuses, so that a backlog is no flood
    hold_s: float = 600.0  # a record that fails where others pass
    idle_s: float = 60.0  # a look at the outbox without being woken
    knock_s: float = 2.5  # between bare connections while there is no way to the cloud
    knock_limit_s: float = 1.5


@dataclass(frozen=True, slots=True)
class UplinkState:
    """How a channel fares, for the page. Instants are Unix seconds; `code` and `msg` are of the last answer.

    `hop` is what fails now; `clock_offset_s` how far the cloud's clock is ahead by its last Date header, and
    `wrong_clock` whose clock 1003 is about (`ours`, `theirs`, `neither`), empty while there is no 1003.
    """

    connected: bool | None = None  # None before the first attempt
    failing_since: float | None = None
    code: str = ""
    msg: str = ""
    delivered_at: float | None = None
    hop: str = ""
    clock_offset_s: float | None = None
    wrong_clock: str = ""


class Outbox(Protocol):
    """Where records wait (D16); `skip` holds the numbers of records to leave out."""

    async def next_record(self, channel: Channel, skip: Collection[int] = ()) -> Record | None: ...
    async def newest_record(self, channel: Channel, skip: Collection[int] = ()) -> Record | None: ...
    async def delivered(self, number: int) -> None: ...
    async def set_aside(self, number: int, code: str, answer: str) -> None: ...
    async def trouble(self, channel: Channel, at: float, hop: str, said: str) -> None: ...
    async def over(self, channel: Channel, at: float) -> None: ...


@dataclass(slots=True)
class _Hold:
    """A record that failed and may itself be the reason."""

    until: float
    proven: bool = False  # another record has passed since; if it fails once more, it is this record, not the cloud
    told: bool = False


@dataclass(slots=True)
class _Line:
    """What one channel's loop remembers. Times are the loop's clock, but for those in `state`."""

    channel: Channel
    state: UplinkState = UplinkState()
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    held: dict[int, _Hold] = field(default_factory=dict)
    newest_delivered: int = 0
    try_newest: bool = False
    failures: int = 0
    failing_since: float = 0.0
    told: set[Fate] = field(default_factory=set)
    tried_at: float = float("-inf")
    tried_url: str = ""
    answered_at: float = float("-inf")
    spacing_s: float = 0.0
    refused: int = 0  # the record that failed last, and how often in a row
    refusals: int = 0
    hop: str = ""  # at which the last attempt failed
    said: str = ""
    noted: str | None = None  # the hop in the table of outages; None: perhaps one of a process before this


class Uplink:
    """The way to the cloud; `run` once per channel.

    `target` gives a channel's address at each attempt. `now` is the wall clock, for `state` only. `on_verdict` hears
    of every attempt. `tls` replaces the system's trusted authorities for https. `proxy` is a URL, or `environment`.
    """

    def __init__(
        self,
        outbox: Outbox,
        target: Callable[[Channel], str],
        auth: str,
        *,
        now: Callable[[], float] = time.time,
        on_verdict: Callable[[Record, Verdict], None] | None = None,
        tls: ssl.SSLContext | None = None,
        proxy: str | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._outbox = outbox
        self._target = target
        self._auth = auth
        self._now = now
        self._on_verdict = on_verdict
        self._tls = tls
        self._proxy = proxy
        self._pace = pace or Pace()
        self._lines: dict[Channel, _Line] = {"computer": _Line("computer"), "cabinet": _Line("cabinet")}

    def wake(self, channel: Channel) -> None:
        """Say that there is a new record, or a new address to try."""
        self._lines[channel].woken.set()

    def state(self, channel: Channel) -> UplinkState:
        return self._lines[channel].state

    async def run(self, channel: Channel) -> None:
        """Send what is in the outbox, for ever."""
        line = self._lines[channel]
        async with self._open_session() as session:
            while True:
                line.woken.clear()
                record = await self._pick(line)
                if record is None:
                    await _wait(line.woken, self._idle_s(line))
                    continue
                early_s = line.answered_at + line.spacing_s - asyncio.get_running_loop().time()
                if early_s > 0 and not record.urgent:
                    await _wait(line.woken, early_s)  # and look again: an alarm may have come meanwhile
                    continue
                verdict = await self._send(session, line, record)
                await self._absorb(line, record, verdict)
                if self._on_verdict is not None:
                    self._on_verdict(record, verdict)
                await self._note(line)
                if line.failures:
                    await self._back_off(line, slow=verdict.fate is Fate.RETRY_SLOWLY)

    def _open_session(self) -> aiohttp.ClientSession:
        pace = self._pace
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit_per_host=1, ttl_dns_cache=60, keepalive_timeout=REUSE_S, ssl=self._tls or True
            ),
            timeout=aiohttp.ClientTimeout(pace.total_s, sock_connect=pace.connect_s, sock_read=pace.read_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Content-Type": CONTENT_TYPE, "Accept-Encoding": "identity", "User-Agent": "gantry-agent"},
            # a proxy meant for a technician's shell is not the way to the cloud, unless the site file says so
            trust_env=self._proxy == ENVIRONMENT,
            proxy=self._proxy if self._proxy != ENVIRONMENT else None,
        )

    # --- whose turn ---

    async def _pick(self, line: _Line) -> Record | None:
        """The next record that is not held back; when all are, and none has been proven at fault, the first of them."""
        now = asyncio.get_running_loop().time()
        held = [number for number, hold in line.held.items() if hold.until > now]
        pick = self._outbox.newest_record if line.try_newest else self._outbox.next_record
        line.try_newest = False
        record = await pick(line.channel, held)
        if record is None and held:
            proven = [number for number in held if line.held[number].proven]
            record = await self._outbox.next_record(line.channel, proven)
        return record

    def _idle_s(self, line: _Line) -> float:
        """How long nothing can be sent; a hold that is over and has no record left is forgotten."""
        now = asyncio.get_running_loop().time()
        line.held = {number: hold for number, hold in line.held.items() if hold.until > now}
        return min([self._pace.idle_s, *(hold.until - now for hold in line.held.values())])

    # --- one attempt ---

    async def _send(self, session: aiohttp.ClientSession, line: _Line, record: Record) -> Verdict:
        loop = asyncio.get_running_loop()
        line.tried_at, line.tried_url = loop.time(), self._target(line.channel)
        # A connection kept open since the last answer may be dead; that says nothing about the cloud. Once over.
        reused = loop.time() - line.answered_at < REUSE_S
        try:
            if reused:
                try:
                    return await self._post(session, line, record)
                except (aiohttp.ServerDisconnectedError, ConnectionResetError, BrokenPipeError):
                    log.debug("the connection to %s was dead; trying a new one", line.tried_url)
            return await self._post(session, line, record)
        except (aiohttp.ClientError, OSError) as fault:  # a TimeoutError is an OSError
            said = "timeout" if isinstance(fault, TimeoutError) else f"{type(fault).__name__}: {fault}"[:200]
            line.hop, line.said = await self._hop(line, fault)
            return Verdict(Fate.RETRY, NO_ANSWER, said)

    async def _hop(self, line: _Line, fault: OSError | aiohttp.ClientError) -> tuple[str, str]:
        """Which hop a fault is of, after a look at the kernel's own wires where there was no connection."""
        hop, said = hops.of_fault(fault), hops.in_short(fault)
        slow_tls = hop == hops.TCP and isinstance(fault, TimeoutError) and line.tried_url.startswith("https:")
        if slow_tls and await self._knock(line):  # the library's limit is on TCP and TLS together
            hop = hops.TLS
        if hop in hops.BELOW_TLS:
            address = await _resolve(self._next_hop(line.tried_url)) if hop != hops.DNS else None
            hop, said = hops.Network.read().failing(address) or (hop, said)
        return hop, said

    def _next_hop(self, url: str) -> tuple[str, int]:
        """Whom to connect to: the cloud, or the proxy before it."""
        parts = urlsplit(self._proxy if self._proxy and self._proxy != ENVIRONMENT else url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    async def _post(self, session: aiohttp.ClientSession, line: _Line, record: Record) -> Verdict:
        headers = sign(record.body, self._auth)
        request = session.post(line.tried_url, data=record.body, headers=headers, allow_redirects=False)
        async with request as response:
            said = b""
            while len(said) < ANSWER_LIMIT and (part := await response.content.read(ANSWER_LIMIT - len(said))):
                said += part
            line.answered_at = asyncio.get_running_loop().time()
            line.spacing_s = self._pace.spacing_s * random.uniform(1, 1 + JITTER)
            verdict = judge(response.status, said)
            line.hop, line.said = hops.of_answer(verdict), f"{verdict.code} {verdict.msg}".strip()
            offset_s = hops.clock_offset(response.headers.get("Date"), self._now())
            line.state = replace(line.state, clock_offset_s=offset_s)
            return verdict

    # --- what follows ---

    async def _absorb(self, line: _Line, record: Record, verdict: Verdict) -> None:
        number = record.number
        line.state = replace(line.state, code=verdict.code, msg=verdict.msg)
        match verdict.fate:
            case Fate.DELIVERED:
                await self._outbox.delivered(number)
                self._passed(line, number)
                line.state = replace(line.state, delivered_at=self._now())
            case Fate.SET_ASIDE:
                await self._set_aside(line, record, verdict)
                self._works(line)
            case Fate.RETRY_CLOCK if number < line.newest_delivered:
                # A later record has passed, so it is not our clock: this one is too old for the cloud (D16).
                await self._set_aside(line, record, verdict)
                self._works(line)
            case Fate.RETRY_OTHERS_FIRST | Fate.RETRY | Fate.RETRY_SLOWLY if self._is_proven(line, number, verdict):
                hold = line.held[number]
                hold.until = asyncio.get_running_loop().time() + self._pace.hold_s
                if not hold.told:
                    hold.told = True
                    log.warning("record %d is answered %s %s while others pass", number, verdict.code, verdict.msg)
                self._works(line)
            case Fate.RETRY_OTHERS_FIRST | Fate.RETRY_CLOCK:
                self._hold(line, number)
                self._fails(line, verdict)
            case Fate.RETRY | Fate.RETRY_SLOWLY:
                line.refusals = line.refusals + 1 if line.refused == number else 1
                line.refused = number
                if line.refusals >= REFUSALS and verdict.code != NO_ANSWER:
                    self._hold(line, number)
                self._fails(line, verdict)

    async def _note(self, line: _Line) -> None:
        """Keep the table of outages: which hop fails, and that it is over."""
        hop = line.hop if line.failures else ""
        line.state = replace(line.state, hop=hop)
        if hop == line.noted:
            return
        if hop:
            await self._outbox.trouble(line.channel, self._now(), hop, line.said)
        else:
            await self._outbox.over(line.channel, self._now())
        line.noted = hop

    @staticmethod
    def _is_proven(line: _Line, number: int, verdict: Verdict) -> bool:
        """Tell whether it must be this record, as others have passed since it failed first."""
        return verdict.code != NO_ANSWER and number in line.held and line.held[number].proven

    async def _set_aside(self, line: _Line, record: Record, verdict: Verdict) -> None:
        log.warning(
            "record %d (%s %d, taken at %.0f) is set aside: the cloud answered %s %s",
            *(record.number, record.channel, record.cabinet, record.taken_at, verdict.code, verdict.msg),
        )
        await self._outbox.set_aside(record.number, verdict.code, verdict.msg)
        line.held.pop(record.number, None)

    def _passed(self, line: _Line, number: int) -> None:
        line.held.pop(number, None)
        line.newest_delivered = max(line.newest_delivered, number)
        for hold in line.held.values():
            if not hold.proven:  # the cloud may have been the reason: its turn comes at once, and settles it
                hold.proven, hold.until = True, 0.0
        self._works(line)

    def _hold(self, line: _Line, number: int) -> None:
        line.held.pop(number, None)
        line.held[number] = _Hold(asyncio.get_running_loop().time() + self._pace.hold_s)
        if len(line.held) > HELD:
            del line.held[next(iter(line.held))]
        line.try_newest = True

    def _works(self, line: _Line) -> None:
        if line.failures:
            lasted_s = asyncio.get_running_loop().time() - line.failing_since
            log.info("uploads of %s status work again, after %.0f s", line.channel, lasted_s)
        line.failures = 0
        line.told.clear()
        line.state = replace(line.state, connected=True, failing_since=None, wrong_clock="")

    def _fails(self, line: _Line, verdict: Verdict) -> None:
        """Count a failure, and say so when it begins; what a person must mend is said loudly, once each."""
        if not line.failures:
            line.failing_since = asyncio.get_running_loop().time()
            line.state = replace(line.state, failing_since=self._now())
        line.failures += 1
        line.state = replace(line.state, connected=verdict.code != NO_ANSWER)
        if verdict.fate is Fate.RETRY_CLOCK:
            whose, told = hops.whose_clock(line.state.clock_offset_s, self._now())
            line.state = replace(line.state, wrong_clock=whose)
            line.said = f"{line.said}; {told}"
            verdict = replace(verdict, msg=f"{verdict.msg} ({told})")
        loud = verdict.fate in {Fate.RETRY_SLOWLY, Fate.RETRY_CLOCK}
        if verdict.fate not in line.told and (loud or line.failures == 1):
            line.told.add(verdict.fate)
            level = logging.ERROR if loud else logging.WARNING
            said = f"{verdict.code} {verdict.msg}".replace(self._auth, "…") if self._auth else verdict.code
            log.log(level, "uploads of %s status to %s fail: %s", line.channel, line.tried_url, said)

    async def _back_off(self, line: _Line, *, slow: bool) -> None:
        pace = self._pace
        loop = asyncio.get_running_loop()
        doubled = 2.0 ** min(line.failures - 1, 20)
        if slow:
            delay_s = random.uniform(pace.slow_first_s, min(pace.slow_longest_s, pace.slow_first_s * doubled))
        else:
            delay_s = random.uniform(0, min(pace.longest_s, pace.first_s * doubled))
        until = loop.time() + delay_s
        knocks = line.hop in hops.BELOW_TLS
        while (left_s := until - loop.time()) > 0:
            if not await _wait(line.woken, min(left_s, pace.knock_s) if knocks else left_s):
                if knocks and until - loop.time() > 0 and not await self._knock(line):
                    continue
                return
            line.woken.clear()
            if not slow or self._target(line.channel) != line.tried_url:
                break
        if (early_s := line.tried_at + pace.wake_gap_s - loop.time()) > 0:
            await asyncio.sleep(early_s)

    async def _knock(self, line: _Line) -> bool:
        """Tell whether a connection can be had again."""
        try:
            async with asyncio.timeout(self._pace.knock_limit_s):
                _, writer = await asyncio.open_connection(*self._next_hop(self._target(line.channel)))
        except (OSError, ValueError):
            return False
        writer.transport.abort()
        return True


async def _resolve(place: tuple[str, int]) -> str | None:
    """An IPv4 address of a host that was just reached for; None if it has none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(*place, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    return str(found[0][4][0])


async def _wait(event: asyncio.Event, longest_s: float) -> bool:
    """Wait for the event, but no longer than that; tell whether it came."""
    try:
        async with asyncio.timeout(longest_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
