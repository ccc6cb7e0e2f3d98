"""From a good request to its answer: done once, written down before and after, answered to every repeat (D6, D8).

Where a request came from, the port or a technician's shell, is only a name here. What the orders do is a function that
is given; so is the register, which keeps answers and the audit. A register that fails keeps no door shut: answers are
then remembered in memory, and the log says so. The shared code is not known here.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

from gantry_agent.cloud import commands, protocol
from gantry_agent.cloud.protocol import Code, Refusal
from gantry_agent.cloud.words import shown
from gantry_agent.command import Carried, Command, Done, Failed, Outcome, Partial, Refused, UpdateNow
from gantry_agent.core.audit import Entry
from gantry_agent.model import AgentError, Site
from gantry_agent.text import Text, joined, read_kept

log = logging.getLogger(__name__)

T = TypeVar("T")

NOTHING: Final = Text("", "")

COMMAND_S: Final = 30.0  # longer than any confirmation by read-back; beyond it the cloud has hung up
ANSWERS_UNSAVED: Final = 256  # remembered in memory while the store cannot
STRANGERS: Final = 200  # refusals of whoever shows no code in the audit, an hour: they must not push the orders out
REFUSALS_WAITING: Final = 1000  # to be written down; more at once come from no cloud
WRITE_EVERY_S: Final = 1.0  # refusals are written together: a crowd of strangers must not keep the disk busy

INTERRUPTED = protocol.answer(Code.FAILED, "上次执行被中断")  # what a repeat hears if the agent died while executing


class Register(Protocol):
    """Where requests are written down: the answers given, by the MD5 of the request (D6), and the audit."""

    async def recall(self, md5: str, since: float) -> str | None: ...
    async def begin_request(self, entry: Entry, repeat: tuple[str, str] | None, at: float) -> int: ...
    async def end_request(self, token: int, entry: Entry, repeat: tuple[str, str] | None, at: float) -> None: ...
    async def note_requests(self, entries: Iterable[Entry]) -> None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came: from whom, by which way (`cloud`, `shell`), when (Unix seconds), and its bytes' hash."""

    who: str
    via: str
    at: float
    digest: str
    what: str = ""

    def entry(self, outcome: Text, answer: bytes, intent: Text = NOTHING, steps: Iterable[Text] = ()) -> Entry:
        """What the audit says of it, in both languages."""
        said, done = answer.decode("utf-8", "replace"), tuple(step.kept() for step in steps)
        return Entry(self.at, self.who, self.via, self.what, self.digest, intent.kept(), done, outcome.kept(), said)


def asked(who: str, via: str, at: float, body: bytes) -> Asked:
    return Asked(who, via, at, hashlib.sha256(body).hexdigest())


class Execution:
    """Carries out the orders of requests. `tasks` is set while it may."""

    def __init__(
        self,
        site: Site,
        carry_out: Callable[[Command], Awaitable[Carried]],
        register: Register,
        now: Callable[[], float],
        *,
        tolerance_s: float = 300.0,
        command_s: float = COMMAND_S,
    ) -> None:
        self._site = site
        self._carry_out = carry_out
        self._register = register
        self._now = now
        # A body may come from timeStamp - tolerance to timeStamp + tolerance: that long is it a repeat.
        self._repeat_s = 2 * tolerance_s
        self._command_s = command_s
        self._executing: dict[str, asyncio.Task[bytes]] = {}
        self._unsaved: OrderedDict[str, bytes] = OrderedDict()
        self._refusals: list[Entry] = []
        self._untold = 0
        self._strangers, self._counted_at = float(STRANGERS), 0.0  # that may still be noted; the loop's time
        self._write = asyncio.Event()
        self.tasks: asyncio.TaskGroup | None = None
        self.present: Callable[[Command], Awaitable[Outcome | None]] | None = None  # how a wish stands by now

    async def run(self) -> None:
        """Write down refusals until cancelled; those that wait then are written as well."""
        try:
            while True:
                await self._write.wait()
                await asyncio.sleep(WRITE_EVERY_S)
                await self._write_refusals()
        finally:
            await self._write_refusals()

    async def settle(self, limit_s: float) -> None:
        """Let what is under way end, within so long."""
        if self._executing:
            await asyncio.wait(set(self._executing.values()), timeout=limit_s)

    def refuse(self, asked: Asked, refusal: Refusal, *, stranger: bool = False) -> bytes:
        """Answer a request of which nothing was begun. Of strangers so many are noted, and how many more there were."""
        told = protocol.answer(refusal.code, refusal.detail)
        if refusal.code is not Code.TOO_FREQUENT:  # logged once, when it begins
            said = f"{refusal.code} {refusal.detail}".rstrip()
            log.info("refused a request from %s: %s%s", asked.who, said, f" ({asked.what})" if asked.what else "")
        if stranger and not self._room_for_stranger():
            self._untold += 1
        else:
            self.note(asked.entry(Text("拒绝", "refused"), told))
        return told

    def _room_for_stranger(self) -> bool:
        now = asyncio.get_running_loop().time()
        more = (now - self._counted_at) * STRANGERS / 3600
        self._strangers, self._counted_at = min(float(STRANGERS), self._strangers + more), now
        if self._strangers < 1:
            return False
        self._strangers -= 1
        return True

    def note(self, entry: Entry) -> None:
        """Have the audit say what moved nothing; soon, together with others."""
        if len(self._refusals) < REFUSALS_WAITING:
            self._refusals.append(entry)
        else:
            self._untold += 1
        self._write.set()

    async def answer(
        self,
        asked: Asked,
        method: str,
        business: commands.Business,
        md5: str | None,
        refused: Callable[[Refused], None] | None = None,
    ) -> bytes:
        """Do what a checked request asks, or say what was answered when the same bytes came before (D6).

        Without `md5` it is never a repeat. While the first is executed its repeats wait for it. `refused` is told of
        an order that cannot be, with what would be valid.
        """
        if self.tasks is None:
            raise AgentError(
                Text(
                    "无法执行命令：控制端口没有打开，见日志",
                    "cannot carry out a command: the control port is not up, see the log",
                )
            )
        name = md5 or f"{id(asked)}"
        if (task := self._executing.get(name)) is None:
            work = self._answer(asked, method, business, md5, refused or (lambda _: None))
            task = self.tasks.create_task(self.guarded(work), name=f"request {name[:8]}")
            self._executing[name] = task
            task.add_done_callback(lambda _: self._executing.pop(name, None))
        else:
            said = Text("重复请求，前一个正在执行；未再执行", "a repeat of one under way; not executed again")
            self.note(asked.entry(said, b""))
        return await asyncio.shield(task)  # a caller that hangs up does not stop what others wait for

    async def guarded(self, work: Awaitable[T]) -> T | bytes:
        """The edge: a bug answers 1008, and only the log hears what it was (D7)."""
        try:
            return await work
        except Exception:
            log.exception("a request failed on a bug")
            return protocol.answer(Code.UNKNOWN)

    async def _answer(
        self,
        asked: Asked,
        method: str,
        business: commands.Business,
        md5: str | None,
        refused: Callable[[Refused], None],
    ) -> bytes:
        if md5 is not None and (given := await self._recall(md5)) is not None:
            if given == INTERRUPTED and (stands := await self._as_it_stands(asked, method, business, md5)) is not None:
                return stands
            log.info("%s repeats a request of %s; it is not executed again", asked.who, method)
            self.note(asked.entry(Text("重复请求；未再执行", "a repeat; not executed again"), given))
            return given
        orders = commands.read_commands(method, business, self._site)
        if isinstance(orders, Refused):
            refused(orders)
            return self.refuse(asked, Refusal(Code.BAD_PARAMETER, orders.field))
        intent = joined(map(shown, orders))
        token = await self._begin(asked, intent, md5)
        # Begun: whatever comes now is the answer to every repeat.
        steps: list[Text] = []
        told = await self.guarded(self._execute(asked.who, orders, steps, refused))
        outcome = Text("已执行", "done") if protocol.says_ok(told) else Text("未执行", "not done")
        await self._end(token, asked.entry(outcome, told, intent, steps), md5, told)
        for order in orders:
            if isinstance(order, UpdateNow):
                assert self.tasks is not None
                self.tasks.create_task(self.guarded(self._trigger(order)), name=f"update {order.channel}")
        return told

    async def _as_it_stands(self, asked: Asked, method: str, business: commands.Business, md5: str) -> bytes | None:
        """Answer the repeat of a request that was interrupted, where its order is a wish that a later run carries out.

        Nothing is executed for it. Once it is done, that is its answer; None for what nobody can tell of.
        """
        read = commands.read_commands(method, business, self._site)
        orders = () if isinstance(read, Refused) else [one for one in read if not isinstance(one, UpdateNow)]
        if self.present is None or len(orders) != 1:
            return None
        try:
            async with asyncio.timeout(self._command_s):
                outcome = await self.present(orders[0])
        except TimeoutError:
            outcome = Failed("超时")
        if outcome is None:
            return None
        refusal = why_not(outcome)
        told = protocol.answer(refusal.code, refusal.detail) if refusal else protocol.answer(Code.OK)
        said = Text("中断请求的重复；按现状应答", "a repeat of one that was interrupted; answered by how it stands now")
        entry = asked.entry(said, told, shown(orders[0]))
        if refusal:
            self.note(entry)
        else:
            await self._end(None, entry, md5, told)
        return told

    async def _execute(
        self, who: str, orders: tuple[Command, ...], steps: list[Text], refused: Callable[[Refused], None]
    ) -> bytes:
        """Server, frequency, cmd in that order; the first that fails ends it (D8)."""
        told: dict[str, object] = {}
        for order in orders:
            if isinstance(order, UpdateNow):
                continue
            carried = await self._carried(order)
            steps += carried.steps
            if isinstance(carried.outcome, Refused):
                refused(carried.outcome)
            if (refusal := why_not(carried.outcome)) is not None:
                log.warning("%s ordered %s: %s %s", who, shown(order).en, refusal.code, refusal.detail)
                return protocol.answer(refusal.code, refusal.detail)
            if isinstance(carried.outcome, Done) and carried.outcome.told is not None:
                told[protocol.TEST_RESULT] = dict(carried.outcome.told)  # only cmd 10 asks anything
            log.info("%s ordered %s: done", who, shown(order).en)
        return protocol.answer(Code.OK, extra=told)

    async def _carried(self, order: Command) -> Carried:
        try:
            async with asyncio.timeout(self._command_s) as deadline:
                return await self._carry_out(order)
        except TimeoutError:
            if not deadline.expired():
                raise
            return Carried(Failed("超时"))
        except AgentError as fault:  # no bug: a device or the disk
            log.warning("cannot carry out %s: %s", shown(order).en, fault)
            return Carried(Failed("内部错误，见日志"))

    async def _trigger(self, order: UpdateNow) -> bytes:
        refusal = why_not((await self._carried(order)).outcome)
        if refusal is not None:
            log.warning("cannot update the %s status now: %s", order.channel, refusal.detail)
        return b""

    # --- the register ---

    async def _recall(self, md5: str) -> bytes | None:
        if md5 in self._unsaved:
            return self._unsaved[md5]
        try:
            told = await self._register.recall(md5, self._now() - self._repeat_s)
        except AgentError as fault:
            log.error("cannot look up repeats: %s", fault)  # noqa: TRY400 -- the cause is in the message
            return None
        return None if told is None else told.encode()

    async def _begin(self, asked: Asked, intent: Text, md5: str | None) -> int | None:
        """Write down what is about to be done. A full disk must not keep a door shut."""
        repeat = None if md5 is None else (md5, INTERRUPTED.decode())
        try:
            return await self._register.begin_request(asked.entry(NOTHING, b"", intent), repeat, self._now())
        except AgentError as fault:
            log.error("cannot write down a request: %s", fault)  # noqa: TRY400 -- the cause is in the message
            self._keep_unsaved(md5, INTERRUPTED)
            return None

    async def _end(self, token: int | None, entry: Entry, md5: str | None, told: bytes) -> None:
        repeat = None if md5 is None else (md5, told.decode())
        try:
            await self._register.end_request(token or 0, entry, repeat, self._now())
            self._unsaved.pop(md5 or "", None)
        except AgentError as fault:
            log.error("cannot store an answer: %s", fault)  # noqa: TRY400 -- the cause is in the message
            self._keep_unsaved(md5, told)

    def _keep_unsaved(self, md5: str | None, told: bytes) -> None:
        if md5 is not None:
            self._unsaved[md5] = told
            if len(self._unsaved) > ANSWERS_UNSAVED:
                self._unsaved.popitem(last=False)

    async def _write_refusals(self) -> None:
        self._write.clear()
        entries, self._refusals = self._refusals, []
        if self._untold and entries:
            more = Text(f"另有 {self._untold} 个请求未记录", f"{self._untold} more requests were not noted")
            said = joined((read_kept(entries[-1].outcome), more))
            entries[-1] = replace(entries[-1], outcome=said.kept())
            self._untold = 0
        if not entries:
            return
        try:
            await self._register.note_requests(entries)
        except AgentError as fault:
            log.error("cannot write %d requests to the audit: %s", len(entries), fault)  # noqa: TRY400


def why_not(outcome: Outcome) -> Refusal | None:
    """What the asker hears of an order that was not done."""
    match outcome:
        case Done():
            return None
        case Partial(failed, why):  # only cmd 3 and 4 have parts (D13)
            return Refusal(Code.FAILED, "空调" + ",".join(map(str, failed)) + (f": {why}" if why else ""))
        case Refused(field):
            return Refusal(Code.BAD_PARAMETER, field)
        case Failed(why):
            return Refusal(Code.FAILED, why)
