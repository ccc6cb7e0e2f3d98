"""The ZTE site supervision unit over HTTP: its objects as JSON, and the serial lines behind it through its tunnel.

Two kinds of bus with one way of asking (`http`), one question at a time on each. The unit is slow: the field program
of the source waits 15 s for an answer, after 2 s had been too short, and leaves it alone for 1 s after each, after
0.5 s. A serial device behind it answers inside the unit's own answer, so nothing comes unasked, nothing late and
nothing of anybody else's; what its frames look like is `framing.speech`'s matter as on any line.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from gantry_agent.field.bus.http import Place, Server
from gantry_agent.field.bus.journal import Backoff, Journal, number_setting, text_setting
from gantry_agent.field.framing import speech, zte
from gantry_agent.field.request import ReadAlarms, Reply, Request, Timing
from gantry_agent.model import BadReply, Bus, BusDown, NoReply, Value
from gantry_agent.text import Text

PORT: Final = 80
GAP_MS: Final = 1000
UNIT_S: Final = 10.0  # for the unit's own part of an answer that comes through the tunnel
ALARMS_S: Final = 1.0  # the list of alarms is the unit's: one answer is for all objects that ask so soon after the gap
KEPT_ANSWER: Final = 2048  # bytes of an answer in the journal: the first of it say what it is


class Turns:
    """What both kinds share: the turn, the gap, the back-off, and what is remembered of it all."""

    def __init__(self, bus: Bus) -> None:
        settings = bus.settings
        self.where = bus.name
        self.journal = Journal()
        self.lock = asyncio.Lock()
        place = Place(
            text_setting(settings, "host"),
            int(number_setting(settings, "port", PORT)),
            text_setting(settings, "user", ""),
            text_setting(settings, "password", ""),
        )
        self._server = Server(place)
        self.gap_s = number_setting(settings, "gap_ms", GAP_MS) / 1000
        self._backoff = Backoff()
        self._not_before = 0.0
        self._down_why = Text("", "")
        self._closed = asyncio.Event()
        self._task: asyncio.Task[bytes] | None = None

    def held_s(self) -> float:
        return self._not_before - asyncio.get_running_loop().time()

    async def ask(self, target: str, body: bytes | None, limit_s: float) -> bytes:
        """Ask the unit when it may be asked; the caller has the turn."""
        loop = asyncio.get_running_loop()
        if self._closed.is_set():
            raise NoReply(f"cannot ask on {self.where}: bus closed")
        if (wait_s := self._backoff.remaining_s(loop.time())) > 0:
            zh, en = f"（{self._down_why.zh}）", f" ({self._down_why.en})"
            raise BusDown(
                Text(
                    f"总线 {self.where} 不通{zh}，{wait_s:.1f} 秒后再试",
                    f"cannot ask on {self.where}{en}: next attempt in {wait_s:.1f} s",
                )
            )
        if (wait_s := self.held_s()) > 0:
            await asyncio.sleep(wait_s)
        sent = target.encode() if body is None else target.encode() + b"\n" + body
        self.journal.frame(loop.time(), "sent", sent)
        self._task = loop.create_task(self._server.ask(target, body, limit_s), name=f"question on {self.where}")
        try:
            answer = await self._task
        except BusDown as error:
            self._down_why = error.text
            self._backoff.failed(loop.time())
            raise
        except asyncio.CancelledError:
            asker = asyncio.current_task()
            if self._closed.is_set() and asker is not None and not asker.cancelling():  # it was the question that was
                raise NoReply(f"cannot get an answer on {self.where}: bus closed") from None
            raise
        finally:
            self._not_before = loop.time() + self.gap_s
        self.journal.frame(loop.time(), "received", answer[:KEPT_ANSWER])
        self._backoff.worked()
        return answer

    async def close(self) -> None:
        self._closed.set()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._server.close()


class Objects:
    """The link of a `zte-http` bus: what the unit knows of everything that it looks after."""

    def __init__(self, bus: Bus) -> None:
        self._turns = Turns(bus)
        self.journal = self._turns.journal
        self._alarms: tuple[float, Mapping[str, Value]] = (0.0, {})
        self._told: set[int] = set()  # units that had their answer from it

    def held_s(self, request: Request | None = None) -> float:
        return 0.0 if self._known(request) is not None else self._turns.held_s()

    async def transact(self, request: Request, timing: Timing) -> Reply:
        if not isinstance(request, zte.ZteRequest):
            raise TypeError(f"cannot ask {self._turns.where} for {request}: not for a ZTE site unit")
        loop = asyncio.get_running_loop()
        async with self._turns.lock:
            if (known := self._known(request)) is not None:
                self._told.add(request.unit)
                return known
            with self.journal.transaction(request.unit, seeking=timing.seeking):
                began = loop.time()
                body = await self._turns.ask(zte.target(request), None, timing.response_s)
                reply = zte.decode(request, body)
                if isinstance(request, ReadAlarms) and isinstance(reply, Mapping):
                    self._alarms, self._told = (loop.time(), reply), {request.unit}
            if not timing.seeking:
                self.journal.answered(request.unit, loop.time() - began)
            return reply

    async def close(self) -> None:
        await self._turns.close()

    def _known(self, request: Request | None) -> Mapping[str, Value] | None:
        """The alarms, where they were asked for a moment ago and this object has not had them yet."""
        at, alarms = self._alarms
        if not isinstance(request, ReadAlarms) or not self._told or request.unit in self._told:
            return None
        return alarms if asyncio.get_running_loop().time() - at < self._turns.gap_s + ALARMS_S else None


class Tunnel:
    """The link of a `zte-serial` bus: a serial line behind the unit. Each device on it is an object of the unit."""

    def __init__(self, bus: Bus) -> None:
        self._turns = Turns(bus)
        self.journal = self._turns.journal
        self._objects = {
            int(key.removeprefix(zte.OBJECT)): str(value)
            for key, value in bus.settings.items()
            if key.startswith(zte.OBJECT)
        }

    def held_s(self, request: Request | None = None) -> float:  # noqa: ARG002 - the unit is one for all
        return self._turns.held_s()

    async def transact(self, request: Request, timing: Timing) -> Reply:
        if not isinstance(request, speech.LineRequest):
            raise TypeError(f"cannot ask {request} on {self._turns.where}: nothing that is spoken on a line")
        if (number := self._objects.get(request.unit)) is None:
            raise ValueError(f"cannot ask {request} on {self._turns.where}: unit {request.unit} has no object")
        loop = asyncio.get_running_loop()
        frame = speech.frame(request)
        async with self._turns.lock:
            with self.journal.transaction(request.unit, seeking=timing.seeking):
                began = loop.time()
                body = zte.serial_send(number, frame)
                answer = await self._turns.ask(zte.SERIAL_SEND, body, UNIT_S + timing.response_s)
                reply = self._reply(request, frame, zte.serial_sent(number, answer))
            if not timing.seeking:
                self.journal.answered(request.unit, loop.time() - began)
            return reply

    async def close(self) -> None:
        await self._turns.close()

    def _reply(self, request: speech.LineRequest, frame: bytes, said: bytes) -> Reply:
        """What the device said, found in what came as on a line; an echo of the question is none."""
        if (found := speech.find(request, said)) is not None:
            return speech.decode(request, found.pdu)
        heard = said.removeprefix(frame)
        if (silence := speech.silence(request, heard)) is not None:
            return silence
        if not heard:
            raise NoReply(f"cannot get an answer from unit {request.unit} on {self._turns.where}: it said nothing")
        what = speech.explain(request, said)
        raise BadReply(f"cannot use the answer of unit {request.unit} on {self._turns.where}: {what}")
