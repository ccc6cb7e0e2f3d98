"""An SNMP agent: GET, walks and SET, one question at a time.

v1 and v2c questions are encoded once and kept; answers are read by `framing.ber` and matched by request id on one
connected UDP socket. v3 and every SET go through `snmp_engine`, which costs memory and is loaded when first needed.
What both share is here: an answer too big for the agent halves the questions from then on (`appetite`); one object that
a v1 agent lacks, or that any agent fails at, does not take the others with it; a walk must advance and end. Retrying
after silence is the poller's.
"""

import asyncio
import random
from functools import lru_cache
from typing import Literal, Protocol

from gantry_agent.field.bus.appetite import Appetite
from gantry_agent.field.bus.journal import Journal, number_setting, text_setting
from gantry_agent.field.bus.peer import Peer
from gantry_agent.field.framing import ber
from gantry_agent.field.request import GetOids, Reply, Request, Rows, SetOid, SnmpValue, Timing, WalkColumn
from gantry_agent.model import BadReply, Bus, BusDown, DeviceRefused, NoReply

PORT = 161
TOO_BIG, NO_SUCH_NAME, GENERAL_ERROR = 1, 2, 5  # RFC 3416 §3, error-status
MOST_SPARED = 3  # objects of one question that an agent may fail at; more, and it is the agent that fails
STATUSES = {1: "answer too big", 2: "no such name", 3: "bad value", 4: "read only", 5: "general error", 6: "no access"}
STATUSES |= {7: "wrong type", 10: "wrong value", 11: "no creation", 16: "authorization error", 17: "not writable"}
MOST_ROWS = 5000  # a column of a cabinet has tens; an agent that gives thousands is not what the profile thinks
REPETITIONS = 20  # rows per GETBULK: below 1400 bytes with values of the usual size
CACHED_REQUESTS = 256


class Asker(Protocol):
    """Sends one question and gives the agent's answer, whatever its status."""

    async def ask(self, kind: int, oids: tuple[str, ...], repetitions: int, response_s: float) -> ber.Response: ...
    async def set(self, request: SetOid, response_s: float) -> ber.Response: ...
    async def close(self) -> None: ...


class Agent:
    """The link of an `snmp` bus."""

    def __init__(self, where: str, version: str, asker: Asker, journal: Journal) -> None:
        self._where = where
        self._bulk = version != "1"
        self._asker = asker
        self.journal = journal
        self._turn = asyncio.Lock()
        self._oids, self._rows = Appetite(), Appetite()
        self._not_before = 0.0

    def held_s(self, request: Request | None = None) -> float:  # noqa: ARG002 - answers are told apart by their number
        return self._not_before - asyncio.get_running_loop().time()

    async def transact(self, request: Request, timing: Timing) -> Reply:
        loop = asyncio.get_running_loop()
        async with self._turn:
            if (wait_s := self._not_before - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            began = loop.time()
            with self.journal.transaction(0):
                try:
                    reply = await self._carry(request, timing)
                finally:
                    self._not_before = loop.time() + timing.gap_s
            self.journal.answered(0, loop.time() - began)
            return reply

    async def close(self) -> None:
        await self._asker.close()

    async def _carry(self, request: Request, timing: Timing) -> Reply:
        match request:
            case GetOids(oids=oids):
                return await self._get(oids, timing)
            case WalkColumn(oid=oid):
                return await self._walk(oid.removeprefix("."), timing)
            case SetOid():
                self._accept(await self._asker.set(request, timing.response_s), f"SET {request.oid}")
                return ()
            case _:
                raise TypeError(f"cannot ask {self._where} for {request}: not an SNMP request")

    async def _get(self, oids: tuple[str, ...], timing: Timing) -> dict[str, SnmpValue | None]:
        values: dict[str, SnmpValue | None] = {}
        waiting, failed = [oids], 0
        now = asyncio.get_running_loop().time
        while waiting:
            asked = waiting.pop()
            if not asked:
                continue
            if (size := self._oids.helping(len(asked), now())) < len(asked):
                waiting.append(asked[size:])
                asked = asked[:size]
            try:
                response = await self._asker.ask(ber.GET, asked, 0, timing.response_s)
            except BusDown:  # a smaller question would not get there either
                raise
            except (NoReply, BadReply):
                if not self._oids.silent(len(asked), now()):
                    raise
                waiting.append(asked)
                continue
            if response.status == TOO_BIG and len(asked) > 1:
                self._oids.too_big(len(asked), now())
                waiting.append(asked)
                continue
            self._oids.answered(len(asked))
            failed += response.status == GENERAL_ERROR
            others = len(asked) > 1 or any(value is not None for value in values.values())
            if _lacks_one(response, len(asked), spare=others and failed <= MOST_SPARED):
                missing = response.index - 1 if len(asked) > 1 else 0
                values[asked[missing]] = None
                waiting.append(asked[:missing] + asked[missing + 1 :])
            else:
                self._accept(response, f"GET of {len(asked)} OIDs, {asked[max(response.index, 1) - 1 :][:1]}")
                values |= self._match(asked, response)
        return values

    def _match(self, asked: tuple[str, ...], response: ber.Response) -> dict[str, SnmpValue | None]:
        if len(response.varbinds) != len(asked):
            raise BadReply(f"cannot use the answer of {self._where}: {len(response.varbinds)} values of {len(asked)}")
        for oid, varbind in zip(asked, response.varbinds, strict=True):
            if varbind.oid != oid.removeprefix("."):
                raise BadReply(f"cannot use the answer of {self._where}: {varbind.oid} where {oid} was asked")
        return {oid: varbind.value for oid, varbind in zip(asked, response.varbinds, strict=True)}

    async def _walk(self, column: str, timing: Timing) -> Rows:
        rows: list[tuple[str, SnmpValue]] = []
        last, under = column, column + "."
        while True:
            response = await self._next_rows(last, timing)
            if response.status == NO_SUCH_NAME:  # how v1 says that the MIB ends here
                return tuple(rows)
            self._accept(response, f"walk of {column}")
            if not response.varbinds:
                raise BadReply(f"cannot use the answer of {self._where}: a walk of {column} came back empty")
            for varbind in response.varbinds:
                if varbind.tag == ber.END_OF_MIB or not varbind.oid.startswith(under):
                    return tuple(rows)
                if _arcs(varbind.oid) <= _arcs(last):
                    raise BadReply(f"cannot walk {column} of {self._where}: it goes back from {last} to {varbind.oid}")
                last = varbind.oid
                if varbind.value is not None:
                    rows.append((last.removeprefix(under), varbind.value))
                if len(rows) > MOST_ROWS:
                    raise BadReply(f"cannot walk {column} of {self._where}: more than {MOST_ROWS} rows")

    async def _next_rows(self, last: str, timing: Timing) -> ber.Response:
        """Ask for what follows `last`, as many rows at once as the agent takes."""
        if not self._bulk:
            return await self._asker.ask(ber.GET_NEXT, (last,), 0, timing.response_s)
        now = asyncio.get_running_loop().time
        while True:
            size = self._rows.helping(REPETITIONS, now())
            try:
                response = await self._asker.ask(ber.GET_BULK, (last,), size, timing.response_s)
            except BusDown:
                raise
            except (NoReply, BadReply):
                if not self._rows.silent(size, now()):
                    raise
                continue
            if response.status != TOO_BIG or size == 1:
                self._rows.answered(size)
                return response
            self._rows.too_big(size, now())

    def _accept(self, response: ber.Response, what: str) -> None:
        if response.status != 0:
            meaning = STATUSES.get(response.status, "unknown")
            raise DeviceRefused(
                f"cannot get an answer: {self._where} refused {what}: status {response.status}, {meaning}",
                response.status,
            )


def _lacks_one(response: ber.Response, asked: int, *, spare: bool) -> bool:
    """Tell whether the agent names one object that it does not have, or that it fails at and that others can spare."""
    names_one = 1 <= response.index <= asked or asked == 1
    return names_one and (response.status == NO_SUCH_NAME or (response.status == GENERAL_ERROR and spare))


def _arcs(oid: str) -> tuple[int, ...]:
    return tuple(map(int, oid.split(".")))


# --- v1 and v2c -----------------------------------------------------------------------------------------------------


class Datagrams:
    """Asks a v1 or v2c agent."""

    def __init__(self, bus: Bus, version: str, journal: Journal) -> None:
        self._bus = bus
        self._peer = Peer(bus, PORT, self._absorb, self._fail)
        self._version = ber.V1 if version == "1" else ber.V2C
        self._community = text_setting(bus.settings, "community", "public").encode()
        self.journal = journal
        self._waiter: asyncio.Future[ber.Response] | None = None
        self._request_id = random.randint(ber.FIRST_ID, ber.LAST_ID)
        self._rubbish: BadReply | None = None
        self._setter: Asker | None = None
        self._encoded = lru_cache(maxsize=CACHED_REQUESTS)(self._encode)

    def _encode(self, kind: int, oids: tuple[str, ...], repetitions: int) -> ber.Request:
        return ber.encode_request(self._version, self._community, kind, oids, repetitions=repetitions)

    async def ask(self, kind: int, oids: tuple[str, ...], repetitions: int, response_s: float) -> ber.Response:
        request = self._encoded(kind, oids, repetitions)
        transport = await self._peer.opened()
        loop = asyncio.get_running_loop()
        self._request_id = self._request_id + 1 if self._request_id < ber.LAST_ID else ber.FIRST_ID
        message = request.with_id(self._request_id)
        waiter = self._waiter = loop.create_future()
        self._rubbish = None
        self._remember("sent", message)
        transport.sendto(message)
        timer = loop.call_later(response_s, self._expire, waiter, response_s)
        try:
            response: ber.Response = await waiter
        finally:
            timer.cancel()
            self._waiter = None
        self._peer.answered()
        return response

    async def set(self, request: SetOid, response_s: float) -> ber.Response:
        if self._setter is None:
            from gantry_agent.field.bus.snmp_engine import EngineAsker

            self._setter = EngineAsker(self._bus)
        return await self._setter.set(request, response_s)

    async def close(self) -> None:
        await self._peer.close()
        if self._setter is not None:
            await self._setter.close()

    def _absorb(self, data: bytes) -> None:
        """Take a datagram of the agent."""
        self._remember("received", data)
        try:
            response = ber.decode_response(data, self._version, self._community)
        except BadReply as error:
            self._rubbish = error  # the right answer may still come behind it
            return
        if self._waiter is None or self._waiter.done() or response.request_id != self._request_id:
            self.journal.came_late(0)
            return
        self._waiter.set_result(response)

    def _fail(self, error: NoReply) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    def _expire(self, waiter: asyncio.Future[ber.Response], response_s: float) -> None:
        if waiter.done():
            return
        self._peer.silent()
        waiter.set_exception(
            self._rubbish or NoReply(f"cannot get an answer from {self._peer.where}: nothing in {response_s:g} s")
        )

    def _remember(self, direction: Literal["sent", "received"], message: bytes) -> None:
        """Keep the frame for the technician's eyes, without the password that it carries."""
        hidden = message.replace(self._community, b"*" * len(self._community), 1)
        self.journal.frame(asyncio.get_running_loop().time(), direction, hidden)


def open_agent(bus: Bus) -> Agent:
    """Make the link of an `snmp` bus; its `version` is 1, 2c (or 2) or 3."""
    version = text_setting(bus.settings, "version", "2c")
    where = f"{text_setting(bus.settings, 'host')} port {int(number_setting(bus.settings, 'port', PORT))}"
    journal = Journal()
    if version in ("1", "2", "2c"):
        return Agent(where, version, Datagrams(bus, version, journal), journal)
    if version != "3":
        raise ValueError(f"cannot open bus {bus.name}: SNMP version {version!r} is none of 1, 2c, 3")
    from gantry_agent.field.bus.snmp_engine import EngineAsker

    return Agent(where, version, EngineAsker(bus), journal)
