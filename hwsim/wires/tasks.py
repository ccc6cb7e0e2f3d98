"""A wire's own tasks, so that unplugging it leaves none behind."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """A set of tasks that are cancelled and waited for together."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def cancel(self) -> None:
        """End all but the caller."""
        doomed = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in doomed:
            task.cancel()
        await asyncio.gather(*doomed, return_exceptions=True)
