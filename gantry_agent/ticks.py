"""The clock of the status uploads: APScheduler with a trigger that a jump of the wall clock cannot hurt.

Uploads fall on a phase derived from gantryId (D19), so that thousands of gantries do not meet on one second.
APScheduler's own interval trigger lists every tick that went by (measured: 30 days forward blocks the loop for seconds)
and waits out a step back; `Phased` looks only ahead, and `watch` notices a step and sets the jobs anew.

Every tick is accounted for: the diary hears when a stretch of ticking begins, how far all ticks are taken (never past
one whose job is not done), and what kept others from being taken.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from gantry_agent.core.ledger import CLOCK, SCHEDULE, STOPPED, last_tick
from gantry_agent.model import Due

log = logging.getLogger(__name__)

STEP_S = 1.0  # a larger difference between wall and monotonic clock from one second to the next is a step
JOB_LIMIT_S = 60.0
EARLY_S = 1.0  # a job called so much before its tick, as the clock was slewed, is that tick's
HEARTBEAT_S = 30.0  # how exactly an absence of the agent is known; each costs one commit

Times = Mapping[str, tuple[int, int]]  # interval and phase of each job, seconds


class Diary(Protocol):
    """Keeps account of ticks. Instants are of the wall clock."""

    async def begin(self, at: float, times: Times) -> None: ...
    async def seen(self, at: float) -> None: ...
    async def end(self, at: float, cause: str) -> None: ...
    async def mark(self, from_at: float, until_at: float, cause: str) -> None: ...


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

    def __init__(self, gantry_id: str, diary: Diary) -> None:
        self._gantry_id = gantry_id
        self._diary = diary
        self._times: dict[str, tuple[int, int]] = {}
        self._taken: dict[str, int] = {}  # the newest tick of each job that is done or told to be missing
        self._begun = False
        self._steady_since = time.monotonic()
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )

    def set(self, name: str, interval_s: int, job: Callable[[Due], Awaitable[None]]) -> None:
        """Run `job` every interval from now on, in place of what ran under this name."""
        phase_s = phase(self._gantry_id, interval_s)
        self._times[name] = interval_s, phase_s
        self._taken[name] = last_tick(time.time(), interval_s, phase_s)

        async def bounded() -> None:
            due = Due(last_tick(time.time() + EARLY_S, interval_s, phase_s), interval_s)
            await self._take(name, due, job)

        trigger = Phased(interval_s, phase_s)
        self._scheduler.add_job(bounded, trigger, id=name, name=name, replace_existing=True)

    async def begin(self) -> None:
        """Say that everything is set and ticks are due from now on; again whenever that changes."""
        if self._begun:
            await self._diary.end(self.taken_until(time.time()), SCHEDULE)
        await self._diary.begin(time.time(), self._times)
        self._begun = True

    async def end(self) -> None:
        """Say that nothing is due any more: the agent stops."""
        if self._begun:
            await self._diary.end(self.taken_until(time.time()), STOPPED)
            self._begun = False

    def taken_until(self, now: float) -> float:
        """How far every tick is taken: now, or just before one whose job is not done."""
        until = now
        for name, (interval_s, phase_s) in self._times.items():
            if self._taken[name] < last_tick(now, interval_s, phase_s):
                until = min(until, self._taken[name] + interval_s - 1.0)
        return until

    def steady_s(self) -> float:
        """How long the wall clock has not been stepped, as far as this process saw."""
        return time.monotonic() - self._steady_since

    async def _take(self, name: str, due: Due, job: Callable[[Due], Awaitable[None]]) -> None:
        earliest = self._taken[name] + due.interval_s
        if self._begun and earliest < due.at:  # the loop was blocked, or the job before ran over its tick
            await self._diary.mark(earliest, due.at - due.interval_s, "busy")
        try:
            async with asyncio.timeout(JOB_LIMIT_S):
                await job(due)
        except Exception as fault:
            await self._diary.mark(due.at, due.at, f"failed: {type(fault).__name__}")
            self._taken[name] = max(due.at, self._taken[name])
            raise
        self._taken[name] = max(due.at, self._taken[name])

    async def run(self) -> None:
        """Tick until cancelled. After a failure it can be run again: the jobs are still there."""
        if not self._scheduler.running:
            self._scheduler.start()
        try:
            await self._watch()
        except asyncio.CancelledError:
            self._scheduler.shutdown(wait=False)  # which forgets the jobs
            raise

    async def _watch(self) -> None:
        offset = time.time() - time.monotonic()
        beat_at = time.monotonic()
        while True:
            await asyncio.sleep(1)
            now_offset = time.time() - time.monotonic()
            if abs(now_offset - offset) > STEP_S:
                log.warning("the wall clock stepped by %+.1f s", now_offset - offset)
                now = datetime.now(UTC)
                for job in self._scheduler.get_jobs():
                    job.modify(next_run_time=job.trigger.get_next_fire_time(None, now))
                await self._stepped(offset + time.monotonic())
            offset = now_offset
            self._recall(datetime.now(UTC))
            if self._begun and time.monotonic() - beat_at >= HEARTBEAT_S:
                beat_at = time.monotonic()
                await self._diary.seen(self.taken_until(time.time()))

    def _recall(self, now: datetime) -> None:
        """Set anew what waits for a far time: a clock that was ahead for less than a second has left it so."""
        for job in self._scheduler.get_jobs():
            interval_s, phase_s = self._times[job.id]
            if (job.next_run_time - now).total_seconds() > 2 * interval_s:
                job.modify(next_run_time=job.trigger.get_next_fire_time(None, now))
                self._taken[job.id] = min(self._taken[job.id], last_tick(now.timestamp(), interval_s, phase_s))

    async def _stepped(self, before: float) -> None:
        """Begin a new stretch on the new time; `before` is what the clock would show had it not been stepped."""
        self._steady_since = time.monotonic()
        until, now = self.taken_until(before), time.time()
        self._taken = {name: last_tick(now, *times) for name, times in self._times.items()}
        if self._begun:
            await self._diary.end(until, CLOCK)
            await self._diary.begin(now, self._times)
