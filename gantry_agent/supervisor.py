"""Who owns the tasks: one group for the process, one way of keeping a task alive, one watchdog.

A kept task that raises is logged, waited out (2 s doubling to 60 s) and run again; cancellation passes. The watchdog
pings systemd only while every kept task that shows progress does so within its own limit, so that a loop that hangs or
a task that starves ends in a restart. Knows nothing of what the tasks do.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from gantry_agent.model import AgentError

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 60.0
HEALTHY_S = 60.0  # a task that ran so long begins again at the first wait


@dataclass(slots=True)
class Supervisor:
    """Gives tasks to one TaskGroup and knows how each is doing."""

    group: asyncio.TaskGroup
    _limits: dict[str, tuple[float, Callable[[], float]]] = field(default_factory=dict)
    _kept: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)

    def keep(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        *,
        progress: Callable[[], float] | None = None,
        limit_s: float = 120.0,
    ) -> None:
        """Run a task for as long as the process lives; `progress` tells the monotonic time of its last step."""
        if progress is not None:
            self._limits[name] = (limit_s, progress)
        self._kept[name] = self.group.create_task(self._keep(name, run), name=name)

    async def end(self, name: str, limit_s: float) -> None:
        """End one kept task before the others, and wait for it, at most so long."""
        task = self._kept.pop(name)
        task.cancel()
        await asyncio.wait([task], timeout=limit_s)

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Own a task that ends by itself; its failure is logged and hurts nobody else."""
        return self.group.create_task(_once(name, work), name=name)

    async def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            started = time.monotonic()
            try:
                await run()
            except AgentError as e:  # told on purpose: a port taken, a disk full
                log.error("task %s: %s; trying again in %.0f s", name, e, wait_s)  # noqa: TRY400
            except Exception:
                log.exception("task %s failed; running it again in %.0f s", name, wait_s)
            else:
                log.error("task %s ended by itself; running it again in %.0f s", name, wait_s)
            self.restarts[name] = self.restarts.get(name, 0) + 1
            if time.monotonic() - started > HEALTHY_S:
                wait_s = FIRST_WAIT_S
            await asyncio.sleep(wait_s)
            wait_s = min(LONGEST_WAIT_S, wait_s * 2)

    def stuck(self) -> list[str]:
        """Name the kept tasks that have shown no progress within their limit."""
        now = time.monotonic()
        return [name for name, (limit_s, progress) in self._limits.items() if (p := progress()) and now - p > limit_s]

    async def watchdog(self) -> None:
        """Ping systemd's watchdog at a third of its interval, until something is stuck."""
        interval_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6 / 3
        while True:
            await asyncio.sleep(interval_s or 20.0)
            if stuck := self.stuck():
                log.critical("no progress from %s; leaving the watchdog to end the process", ", ".join(stuck))
            else:
                notify("WATCHDOG=1")


async def _once(name: str, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        log.exception("task %s failed", name)


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)); without systemd do nothing."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as s:
        try:
            s.connect("\0" + address[1:] if address.startswith("@") else address)
            s.sendall(state.encode())
        except OSError as e:
            log.warning("cannot notify systemd at %s: %s", address, e)
