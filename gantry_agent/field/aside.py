"""Questions asked aside: a technician's, put on the wire when the poller has nothing to do, or when they have waited.

An aside gives everything there is to see of one transaction: the answer or why there is none, the raw frames, the
time. Whose wire it is and when an aside may go is the poller's.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gantry_agent.field.bus.journal import Frame, Journal
from gantry_agent.field.request import Reply, Request, Timing
from gantry_agent.model import BadReply, DeviceRefused, NoReply

PATIENCE_S = 1.0  # how long a question waits for an idle line


@dataclass(frozen=True, slots=True)
class Exchange:
    """One transaction looked at closely."""

    reply: Reply | None
    error: NoReply | BadReply | DeviceRefused | None
    frames: tuple[Frame, ...]
    took_s: float


@dataclass(eq=False, slots=True)
class Aside:
    """A question that waits for its turn."""

    request: Request
    timing: Timing
    asked_at: float  # monotonic
    answer: "asyncio.Future[Exchange]"


class Asides:
    """The questions that wait on one bus, in their order."""

    def __init__(self, journal: Journal, ask: Callable[[Request, Timing], Awaitable[Reply]]) -> None:
        self._journal = journal
        self._ask = ask
        self._waiting: deque[Aside] = deque()

    def add(self, request: Request, timing: Timing) -> "asyncio.Future[Exchange]":
        answer: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()
        self._waiting.append(Aside(request, timing, time.monotonic(), answer))
        return answer

    def first(self) -> Aside | None:
        """Show whose turn it is; those whose asker has gone are dropped."""
        while self._waiting and self._waiting[0].answer.done():
            self._waiting.popleft()
        return self._waiting[0] if self._waiting else None

    async def take(self) -> None:
        """Ask the first; the frames are taken here, before anything else is put on the wire."""
        aside = self._waiting.popleft()
        mark, began = self._journal.recorder.mark, time.monotonic()
        reply: Reply | None = None
        error: NoReply | BadReply | DeviceRefused | None = None
        try:
            reply = await self._ask(aside.request, aside.timing)
        except (NoReply, BadReply, DeviceRefused) as e:
            error = e
        except asyncio.CancelledError:
            aside.answer.cancel()
            raise
        if not aside.answer.done():
            frames = self._journal.recorder.since(mark)
            aside.answer.set_result(Exchange(reply, error, frames, time.monotonic() - began))
