"""Commands carried out: one table of who does what, and the modules that do it.

A module here is one concern of the site (settings, relays, air, cards, …): it knows the current watch, the actuator
and the store, decides whether an order may be done now, and keeps what must survive a restart. What is written to
which device is the actuator's business; who asked is the control port's.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping

from gantry_agent.command import Carried, Command, Failed, Outcome
from gantry_agent.field.trace import Trace

log = logging.getLogger(__name__)

LIMIT_S = 29.0  # just before whoever waits for the answer gives up: what was written by then is in the audit

# With a dry trace an order is judged like any other, and what would be written is noted; nothing is changed.
Carry = Callable[[Command, Trace], Awaitable[Outcome]]


class Orders:
    """The table: which function carries out which kind of command."""

    def __init__(
        self,
        table: Mapping[type, Carry],
        failed: Callable[[Command, Collection[str]], None],
        limit_s: float = LIMIT_S,
    ) -> None:
        self._table = table
        self._limit_s = limit_s
        self._failed = failed  # told of what the hardware did not do, and of what devices, to keep the raw frames

    async def carry_out(self, command: Command, *, dry: bool = False) -> Carried:
        """Do one checked command, or with `dry` only find out what that would be. Raises AgentError."""
        trace = Trace(dry)
        carry = self._table.get(type(command))
        outcome: Outcome = Failed("本版本不支持")
        try:
            async with asyncio.timeout(self._limit_s) as deadline:
                outcome = await carry(command, trace) if carry else outcome
        except TimeoutError:
            if not deadline.expired():
                raise
            outcome = Failed("超时")
        if isinstance(outcome, Failed) and not dry:
            self._failed(command, trace.devices)
        return Carried(outcome, tuple(trace.steps))
