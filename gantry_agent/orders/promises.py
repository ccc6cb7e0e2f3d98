"""Reboots that are answered first, since the answer needs what they cut: a promise is kept, or said not to be.

It is stored before the answer leaves, done a moment after, and struck out when it has ended, which the audit says. An
agent that is told to stop in that moment does at once what ends without it (a board times the pulse, this PC boots);
what nobody could end it does not begin. A promise that a killed agent had not begun is not done later, when nobody
expects it: the audit says so, and the rest after a reboot is not counted from one that never was.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, Final, Protocol

from gantry_agent.cloud import words
from gantry_agent.command import Done, Failed, Outcome
from gantry_agent.core.audit import Entry
from gantry_agent.field.trace import Trace
from gantry_agent.model import AgentError
from gantry_agent.orders.changes import PROMISED
from gantry_agent.text import Text

log = logging.getLogger(__name__)

ANSWER_S: Final = 1.5  # for the answer to leave, and to be remembered
ANSWERED, BEGUN = "answered", "begun"  # how far it came

STOPPED = Text("未执行：程序停止，断电后无人恢复", "not done: the agent stopped, and nobody would have ended the cut")
INTERRUPTED = Text("未执行：程序在开始前中断", "not done: the agent was interrupted before it began")
UNSEEN = Text("已开始，未见结束：程序停止或断电", "begun, and not seen to end: the agent stopped or lost power")

Spawn = Callable[[str, Coroutine[Any, Any, None]], "asyncio.Task[None]"]
Work = Callable[[Trace], Awaitable[Outcome]]
Undo = Callable[[str], Awaitable[None]]  # of what was noted of a reboot that was not done


class Memory(Protocol):
    """What the store gives."""

    async def set_setting(self, name: str, value: str | None) -> None: ...
    async def note_requests(self, entries: Iterable[Entry]) -> None: ...


class Promises:
    """Keeps them; `left` are those of an earlier run."""

    def __init__(self, store: Memory, spawn: Spawn, left: Mapping[str, str], undo: Undo) -> None:
        self._store = store
        self._spawn = spawn
        self._left = dict(left)
        self._undo = undo
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._made: set[str] = set()  # and not ended
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Tell what became of those of an earlier run."""
        if self._left:
            self._spawn("promises of before", self._tell_left())

    async def make(self, name: str, work: Work, *, outlives: bool) -> None:
        """Have a reboot done after the answer; `outlives`: once begun it ends without this program."""
        self._made.add(name)
        try:
            await self._store.set_setting(f"{PROMISED}{name}", ANSWERED)
            task = self._tasks[name] = self._spawn(f"reboot {name}", self._keep(name, work, outlives=outlives))
            task.add_done_callback(lambda _: self._gone(name))
        finally:
            if name not in self._tasks:
                self._made.discard(name)

    def waits(self, name: str) -> bool:
        """Tell whether one is promised and has not ended: what is kept of it is one for each relay."""
        return name in self._made

    def _gone(self, name: str) -> None:
        self._tasks.pop(name, None)
        self._made.discard(name)

    def hurry(self) -> None:
        """The agent stops: what may still be begun is begun now, the rest not at all."""
        self._stopping.set()

    async def rest(self, limit_s: float) -> None:
        """Wait for what is under way, so long; of the rest it is said that its end was not seen."""
        self.hurry()
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks.values()), timeout=limit_s)
            for name in [name for name, task in self._tasks.items() if task in late]:
                await self._ended(name, UNSEEN, Trace())

    async def _keep(self, name: str, work: Work, *, outlives: bool) -> None:
        if await self._pause() and not outlives:
            log.error("%s is not rebooted, as ordered: the agent stops, and nobody would end the cut", name)
            await self._undo(name)
            await self._ended(name, STOPPED, Trace())
            return
        trace = Trace()
        try:
            await self._store.set_setting(f"{PROMISED}{name}", BEGUN)
            outcome = await work(trace)
        except AgentError as fault:  # the disk
            trace.add(fault.text)
            outcome = Failed("内部错误，见日志")
        if isinstance(outcome, Done):
            log.info("%s was rebooted", name)
        else:
            log.error("cannot reboot %s: %s (%s)", name, outcome, "; ".join(one.en for one in trace.steps))
        await self._ended(name, words.told(outcome), trace)

    async def _pause(self) -> bool:
        """Let the answer leave; True when the agent stops meanwhile."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    async def _tell_left(self) -> None:
        for name, stage in self._left.items():
            if stage == ANSWERED:
                log.error("%s was not rebooted though that was answered: the agent was interrupted before", name)
                await self._undo(name)
            else:
                log.warning("the reboot of %s was begun, and not seen to end", name)
            await self._ended(name, INTERRUPTED if stage == ANSWERED else UNSEEN, Trace())

    async def _ended(self, name: str, said: Text, trace: Trace) -> None:
        who, what = Text(f"继电器 {name}", f"relay {name}"), Text("已先应答的重启", "reboot that was answered first")
        steps = tuple(step.kept() for step in trace.steps)
        try:
            entry = Entry(time.time(), who.kept(), "site", what.kept(), "", steps=steps, outcome=said.kept())
            await self._store.note_requests((entry,))
            await self._store.set_setting(f"{PROMISED}{name}", None)
        except AgentError as fault:
            log.error("cannot write down how the reboot of %s ended: %s", name, fault)  # noqa: TRY400
