"""Commands from a technician's shell at the cabinet: the cloud's own, through the same checks and the same audit.

A dry run is judged like a real one and says what would be written, frame by frame; nothing moves.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from gantry_agent.cloud import commands, protocol
from gantry_agent.cloud.execution import Asked, Execution, asked, shown, why_not
from gantry_agent.cloud.protocol import Code
from gantry_agent.command import Done, Refused
from gantry_agent.model import AgentError, Site
from gantry_agent.orders import Orders

Step = Mapping[str, Any]


class Shell:
    """Answers the question `command`: `method`, `business`, `dry`, and `who` asks."""

    def __init__(self, site: Site, orders: Orders, execution: Execution, now: Callable[[], float]) -> None:
        self._site = site
        self._orders = orders
        self._execution = execution
        self._now = now

    async def answer(self, question: Step) -> AsyncIterator[Step]:
        """Give a step per order of a dry run, and last the answer the cloud would get. Raises AgentError."""
        method, business = question.get("method"), question.get("business")
        if not isinstance(method, str) or method not in commands.CHANNEL or not isinstance(business, dict):
            raise AgentError(f"cannot carry out {method}: valid are {', '.join(commands.CHANNEL)} with their members")
        if unknown := commands.unknown_members(method, business):  # a person's slip must not pass as nothing
            valid = ", ".join(sorted(commands.KNOWN[method]))
            raise AgentError(f"cannot read {', '.join(map(ascii, unknown))}: valid are {valid}")
        body = json.dumps(business, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")
        came = asked(str(question.get("who", "?")), "shell", self._now(), body)
        who = Asked(came.who, came.via, came.at, came.digest, commands.named(method, business))
        if question.get("dry"):
            async for step in self._rehearse(who, method, business):
                yield step
            return
        yield {"answer": json.loads(await self._execution.answer(who, method, business, None))}

    async def _rehearse(self, who: Asked, method: str, business: commands.Business) -> AsyncIterator[Step]:
        orders = commands.read_commands(method, business, self._site)
        told = protocol.answer(Code.OK)
        if isinstance(orders, Refused):
            told = protocol.answer(Code.BAD_PARAMETER, orders.field)
            orders = ()
        steps: list[str] = []
        for order in orders:
            carried = await self._orders.carry_out(order, dry=True)
            steps += carried.steps
            yield {"order": shown(order), "steps": list(carried.steps)}
            if (refusal := why_not(carried.outcome)) is not None:
                told = protocol.answer(refusal.code, refusal.detail)
                break
            assert isinstance(carried.outcome, Done)
        self._execution.note(who.entry("dry run", told, "; ".join(map(shown, orders)), tuple(steps)))
        yield {"answer": json.loads(told)}
