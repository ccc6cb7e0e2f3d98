"""The clock of the status uploads: APScheduler with a trigger that a jump of the wall clock cannot hurt.

Uploads fall on a phase derived from gantryId (D19), so that thousands of gantries do not meet on one second.
APScheduler's own interval trigger lists every tick that went by (measured: 30 days forward blocks the loop for seconds)
and waits out a step back; `Phased` looks only ahead, and `watch` notices a step and sets the jobs anew.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

log = logging.getLogger(__name__)

STEP_S = 1.0  # a larger difference between wall and monotonic clock from one second to the next is a step
JOB_LIMIT_S = 60.0


def phase(gantry_id: str, interval_s: int) -> int:
    """Choose the second of the interval at which this gantry uploads (D19)."""
    return int.from_bytes(hashlib.sha256(gantry_id.encode()).digest()[:8], "big") % interval_s


class Phased(BaseTrigger):  # type: ignore[misc]  # apscheduler carries no types
    """Fires whenever Unix time is `phase_s` past a multiple of `interval_s`."""

    def __init__(self, interval_s: int, phase_s: int) -> None:
        self.interval_s, self.phase_s = interval_s, phase_s

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """Look ahead from now; ticks that went by are gone."""
        start = max(now, previous + timedelta(seconds=1)) if previous and previous - now < self._period() else now
        ticks = (start.timestamp() - self.phase_s) // self.interval_s + 1
        return datetime.fromtimestamp(ticks * self.interval_s + self.phase_s, UTC)

    def _period(self) -> timedelta:
        return timedelta(seconds=self.interval_s)


class Ticks:
    """Named jobs, each with an interval that may change while it runs."""

    def __init__(self, gantry_id: str) -> None:
        self._gantry_id = gantry_id
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )

    def set(self, name: str, interval_s: int, job: Callable[[], Awaitable[None]]) -> None:
        """Run `job` every interval from now on, in place of what ran under this name."""

        async def bounded() -> None:
            async with asyncio.timeout(JOB_LIMIT_S):
                await job()

        trigger = Phased(interval_s, phase(self._gantry_id, interval_s))
        self._scheduler.add_job(bounded, trigger, id=name, name=name, replace_existing=True)

    async def run(self) -> None:
        """Tick until cancelled."""
        self._scheduler.start()
        try:
            await self._watch()
        finally:
            self._scheduler.shutdown(wait=False)

    async def _watch(self) -> None:
        offset = time.time() - time.monotonic()
        while True:
            await asyncio.sleep(1)
            now_offset = time.time() - time.monotonic()
            if abs(now_offset - offset) > STEP_S:
                log.warning("the wall clock stepped by %+.1f s", now_offset - offset)
                now = datetime.now(UTC)
                for job in self._scheduler.get_jobs():
                    job.modify(next_run_time=job.trigger.get_next_fire_time(None, now))
            offset = now_offset
