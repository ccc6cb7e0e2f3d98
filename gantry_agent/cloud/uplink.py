"""The outbox's way to the cloud: whose turn it is, POST, verdict, and how long to wait before the next try (D16, D17).

One loop per channel, so that a cabinet server that is down does not hold up the computers'. What an answer means is
`protocol.judge`; the order of records is the outbox's. What is decided here is patience: a record leaves only on 1000
or when it can never pass, and one that fails where others pass must not stand in their way.

A connection that breaks before the answer leaves the outcome unknown. The record is sent again: the cloud sees the
same body with the same timeStamp, which is the 重传 that the source names.
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import aiohttp

from gantry_agent.cloud.protocol import CONTENT_TYPE, Fate, Verdict, judge, sign
from gantry_agent.model import Channel, Record

log = logging.getLogger(__name__)

ANSWER_LIMIT: Final = 64 * 1024  # an answer has 50 bytes; a portal that answers instead may have megabytes
REUSE_S: Final = 15.0  # mobile networks forget a silent connection sooner than either end notices
HELD: Final = 32  # records held back at a time; more would only mean that the cloud as a whole is in trouble
NO_ANSWER: Final = "no answer"


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


@dataclass(frozen=True, slots=True)
class UplinkState:
    """How a channel fares, for the page. Instants are Unix seconds; `code` and `msg` are of the last answer."""

    connected: bool | None = None  # None before the first attempt
    failing_since: float | None = None
    code: str = ""
    msg: str = ""
    delivered_at: float | None = None


class Outbox(Protocol):
    """Where records wait (D16); `skip` holds the numbers of records to leave out."""

    async def next_record(self, channel: Channel, skip: Collection[int] = ()) -> Record | None: ...
    async def newest_record(self, channel: Channel, skip: Collection[int] = ()) -> Record | None: ...
    async def delivered(self, number: int) -> None: ...
    async def set_aside(self, number: int, code: str, answer: str) -> None: ...


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


class Uplink:
    """The way to the cloud; `run` once per channel.

    `target` gives a channel's address at each attempt. `now` is the wall clock, for `state` only. `on_verdict` hears
    of every attempt. `tls` replaces the system's trusted authorities for https.
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
        pace: Pace | None = None,
    ) -> None:
        self._outbox = outbox
        self._target = target
        self._auth = auth
        self._now = now
        self._on_verdict = on_verdict
        self._tls = tls
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
                early_s = line.answered_at + self._pace.spacing_s - asyncio.get_running_loop().time()
                if early_s > 0 and not record.urgent:
                    await _wait(line.woken, early_s)  # and look again: an alarm may have come meanwhile
                    continue
                verdict = await self._send(session, line, record)
                await self._absorb(line, record, verdict)
                if self._on_verdict is not None:
                    self._on_verdict(record, verdict)
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
            trust_env=False,  # a proxy meant for a technician's shell is not the way to the cloud
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
        except TimeoutError:
            return Verdict(Fate.RETRY, NO_ANSWER, "timeout")
        except (aiohttp.ClientError, OSError) as fault:
            return Verdict(Fate.RETRY, NO_ANSWER, f"{type(fault).__name__}: {fault}"[:200])

    async def _post(self, session: aiohttp.ClientSession, line: _Line, record: Record) -> Verdict:
        headers = sign(record.body, self._auth)
        request = session.post(line.tried_url, data=record.body, headers=headers, allow_redirects=False)
        async with request as response:
            said = b""
            while len(said) < ANSWER_LIMIT and (part := await response.content.read(ANSWER_LIMIT - len(said))):
                said += part
            line.answered_at = asyncio.get_running_loop().time()
            return judge(response.status, said)

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
            case Fate.RETRY_OTHERS_FIRST if number in line.held and line.held[number].proven:
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
                self._fails(line, verdict)

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
        line.state = replace(line.state, connected=True, failing_since=None)

    def _fails(self, line: _Line, verdict: Verdict) -> None:
        """Count a failure, and say so when it begins; what a person must mend is said loudly, once each."""
        if not line.failures:
            line.failing_since = asyncio.get_running_loop().time()
            line.state = replace(line.state, failing_since=self._now())
        line.failures += 1
        line.state = replace(line.state, connected=verdict.code != NO_ANSWER)
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
        while (left_s := until - loop.time()) > 0:
            if not await _wait(line.woken, left_s):
                return
            line.woken.clear()
            if not slow or self._target(line.channel) != line.tried_url:
                break
        if (early_s := line.tried_at + pace.wake_gap_s - loop.time()) > 0:
            await asyncio.sleep(early_s)


async def _wait(event: asyncio.Event, longest_s: float) -> bool:
    """Wait for the event, but no longer than that; tell whether it came."""
    try:
        async with asyncio.timeout(longest_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
