"""Commands from a technician's shell at the cabinet: the cloud's own, through the same checks and the same audit; and
`state reset`, which takes back what such commands have set.

A dry run is judged like a real one and says what would be written, frame by frame; nothing moves.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gantry_agent.cloud import commands, protocol
from gantry_agent.cloud.execution import COMMAND_S, Asked, Execution, asked, why_not
from gantry_agent.cloud.protocol import Code
from gantry_agent.cloud.words import shown, told
from gantry_agent.command import Done, Failed, Refused, SetPowerMode
from gantry_agent.core.audit import Entry
from gantry_agent.field.trace import Trace
from gantry_agent.model import AgentError, Site
from gantry_agent.orders import Orders
from gantry_agent.orders.changes import OVERRIDES_SHOWN, POWER_MODE, Changes, is_override
from gantry_agent.orders.modes import Modes
from gantry_agent.text import Text, joined

Step = Mapping[str, Any]

DROPPED, INTERRUPTED = Text("已删除", "dropped"), Text("被中断", "interrupted")


class Kept(Protocol):
    """What a reset needs of the store."""

    async def settings(self) -> dict[str, str]: ...
    async def set_setting(self, name: str, value: str | None) -> None: ...
    async def note_requests(self, entries: Iterable[Entry]) -> None: ...


@dataclass(frozen=True, slots=True)
class Resets:
    """Who lets go of what a command has set: the hardware first, where there is any."""

    kept: Kept
    changes: Changes
    modes: Modes

    async def drop(self, name: str) -> Text | None:
        """Apply what the site file says and forget the setting, or say why not."""
        if name == POWER_MODE:
            try:
                async with asyncio.timeout(COMMAND_S):
                    outcome = await self.modes.set_power_mode(SetPowerMode(0), Trace())
            except TimeoutError:
                outcome = Failed("超时")
            if not isinstance(outcome, Done):
                return told(outcome)
        await self.kept.set_setting(name, None)
        await self.changes.dropped(name)
        return None


class Shell:
    """Answers the question `command`: `method`, `business`, `dry`, and `who` asks."""

    def __init__(
        self, site: Site, orders: Orders, execution: Execution, now: Callable[[], float], resets: Resets
    ) -> None:
        self._site = site
        self._orders = orders
        self._execution = execution
        self._now = now
        self._resets = resets

    async def answer(self, question: Step) -> AsyncIterator[Step]:
        """Give a step per order of a dry run, and last the answer the cloud would get. Raises AgentError."""
        method, business = question.get("method"), question.get("business")
        if not isinstance(method, str) or method not in commands.CHANNEL or not isinstance(business, dict):
            valid = ", ".join(commands.CHANNEL)
            raise AgentError(
                Text(
                    f"无法执行 {method}：可用 {valid} 及其字段",
                    f"cannot carry out {method}: valid are {valid} with their members",
                )
            )
        if unknown := commands.unknown_members(method, business):  # a person's slip must not pass as nothing
            valid = ", ".join(sorted(commands.KNOWN[method]))
            names = ", ".join(map(ascii, unknown))
            raise AgentError(Text(f"没有字段 {names}；可用：{valid}", f"cannot read {names}: valid are {valid}"))
        body = json.dumps(business, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")
        came = asked(str(question.get("who", "?")), "shell", self._now(), body)
        who = Asked(came.who, came.via, came.at, came.digest, commands.named(method, business))
        if question.get("dry"):
            async for step in self._rehearse(who, method, business):
                yield step
            return
        wrong: list[Refused] = []
        answer = await self._execution.answer(who, method, business, None, wrong.append)
        for step in map(_valid, wrong):
            yield step
        yield {"answer": json.loads(answer)}

    async def reset(self, question: Step) -> AsyncIterator[Step]:
        """Let the site file count again for settings that commands made; a step for each `names`. Raises AgentError."""
        names = question.get("names")
        if not isinstance(names, list) or not names or not all(isinstance(n, str) and is_override(n) for n in names):
            raise AgentError(
                Text(f"无法恢复：可用的名称为 {OVERRIDES_SHOWN}", f"cannot reset that: valid are {OVERRIDES_SHOWN}")
            )
        there = await self._resets.kept.settings()
        ends: dict[str, Text] = {}  # of each that was there
        try:
            for name in dict.fromkeys(names):
                if name not in there:
                    yield {"reset": name, "known": False}
                    continue
                ends[name] = INTERRUPTED  # until it is known better: outputs may have moved
                failed = await self._resets.drop(name)
                ends[name] = failed or DROPPED
                yield {"reset": name, "known": True, "failed": failed.both() if failed else None}
        finally:  # also when whoever asked has gone
            who = str(question.get("who", "?"))
            for end in dict.fromkeys(ends.values()):
                what = ", ".join(sorted(f"{name} = {there[name]}" for name, one in ends.items() if one == end))
                entry = Entry(self._now(), who, "shell", "state reset", "", what, (), end.kept())
                await self._resets.kept.note_requests((entry,))

    async def _rehearse(self, who: Asked, method: str, business: commands.Business) -> AsyncIterator[Step]:
        orders = commands.read_commands(method, business, self._site)
        answer = protocol.answer(Code.OK)
        if isinstance(orders, Refused):
            answer = protocol.answer(Code.BAD_PARAMETER, orders.field)
            yield _valid(orders)
            orders = ()
        steps: list[Text] = []
        for order in orders:
            carried = await self._orders.carry_out(order, dry=True)
            steps += carried.steps
            yield {"order": shown(order).both(), "steps": [step.both() for step in carried.steps]}
            if (refusal := why_not(carried.outcome)) is not None:
                answer = protocol.answer(refusal.code, refusal.detail)
                if isinstance(carried.outcome, Refused):
                    yield _valid(carried.outcome)
                break
            assert isinstance(carried.outcome, Done)
        self._execution.note(who.entry(Text("演练", "dry run"), answer, joined(map(shown, orders)), steps))
        yield {"answer": json.loads(answer)}


def _valid(wrong: Refused) -> Step:
    """What the shell says beside the answer that the cloud would get."""
    return {"refused": wrong.field, "valid": wrong.valid.both() if wrong.valid else None}
