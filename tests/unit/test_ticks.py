"""The clock of the uploads, on a clock that jumps: neither skipped nor bunched, and spread over gantries (D19)."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent import ticks
from gantry_agent.core.ledger import KILLED, gaps
from gantry_agent.diary import Diary
from gantry_agent.model import Due, Record
from gantry_agent.store import Store
from gantry_agent.ticks import Phased, Ticks, phase

NOW = datetime(2026, 11, 24, 5, 30, tzinfo=UTC)


def test_ticks_fall_on_the_phase_of_the_interval():
    trigger = Phased(600, 123)
    first = trigger.get_next_fire_time(None, NOW)
    assert first.timestamp() % 600 == 123
    assert timedelta(0) < first - NOW <= timedelta(seconds=600)
    assert trigger.get_next_fire_time(first, first) - first == timedelta(seconds=600)


@given(st.integers(10, 86400), st.floats(-10 * 365, 10 * 365))
def test_after_a_jump_the_next_tick_is_within_one_interval_of_the_new_time(interval, days):
    trigger = Phased(interval, phase("G000211001002110010", interval))
    previous = trigger.get_next_fire_time(None, NOW)
    jumped = previous + timedelta(days=days)
    following = trigger.get_next_fire_time(previous, jumped)
    assert following > jumped
    assert following - jumped <= timedelta(seconds=2 * interval)
    assert trigger.get_next_fire_time(None, jumped) - jumped <= timedelta(seconds=interval)


def test_gantries_are_spread_over_the_interval():
    minutes = Counter(phase(f"G0002110010021100{n:02}", 600) // 60 for n in range(100))
    assert len(minutes) == 10
    assert max(minutes.values()) < 25


# --- every tick is accounted for, whatever becomes of its job -------------------------------------------------------

EVERY_S = 2
SERIES = {"status cabinet": (("cabinet", 1),)}
Job = Callable[[Store, Due], Awaitable[None]]


async def good(store: Store, due: Due) -> None:
    await store.put(Record("cabinet", 1, False, due.at, b"{}"), due=due)


async def building(_store: Store, _due: Due) -> None:
    await asyncio.sleep(3600)


async def failing(_store: Store, _due: Due) -> None:
    raise OSError


async def slow_at_first(store: Store, due: Due) -> None:
    if not (await store.books()).spans:
        await asyncio.sleep(EVERY_S + 0.6)
    await good(store, due)


async def causes(folder: Path, job: Job, live_s: float) -> list[str]:
    """Why ticks are missing of an agent that was killed after so long, as the next one sees it."""
    since, path = time.time(), folder / f"{job.__name__}.db"
    name = next(name for name in "abcdefgh" if phase(name, EVERY_S) == (int(since) + 1) % EVERY_S)
    async with Store(path) as store:
        mine = Ticks(name, Diary(store, SERIES))
        mine.set("status cabinet", EVERY_S, lambda due: job(store, due))
        await mine.begin()
        running = asyncio.create_task(mine.run())
        await asyncio.sleep(live_s)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    async with Store(path) as store:
        after = Ticks(name, Diary(store, SERIES))
        after.set("status cabinet", EVERY_S, lambda due: good(store, due))
        await after.begin()
        return [gap.cause for gap in gaps(await store.books(), since, time.time(), running=True)]


@pytest.mark.alone
async def test_a_tick_is_taken_or_its_cause_is_known_whatever_its_job_does(tmp_path, monkeypatch):
    monkeypatch.setattr(ticks, "HEARTBEAT_S", 0.0)  # each second
    await asyncio.sleep((1.3 - time.time() % 1) % 1)  # to each the first tick comes after 0.7 s, and then every 2 s
    found = await asyncio.gather(
        causes(tmp_path, good, 2.4),
        causes(tmp_path, building, 2.4),  # the tick is past, a heartbeat was written, and it dies at it
        causes(tmp_path, failing, 2.4),
        causes(tmp_path, slow_at_first, 5.6),
    )
    assert found == [[], [KILLED], ["failed: OSError"], ["busy"]]


async def test_a_clock_that_was_ahead_for_a_moment_leaves_no_job_waiting_for_that_time(tmp_path):
    came = asyncio.Event()

    async def job(_due: Due) -> None:
        came.set()

    async with Store(tmp_path / "state.db") as store:
        mine = Ticks("a", Diary(store, SERIES))
        mine.set("status cabinet", EVERY_S, job)
        await mine.begin()
        running = asyncio.create_task(mine.run())
        await asyncio.sleep(0.1)
        (waiting,) = mine._scheduler.get_jobs()
        waiting.modify(next_run_time=datetime.now(UTC) + timedelta(days=3650))  # as a tick of that time leaves it
        mine._taken["status cabinet"] += 3650 * 86_400
        try:
            async with asyncio.timeout(10):
                await came.wait()
            assert mine.taken_until(time.time() + 3 * EVERY_S) < time.time() + 3 * EVERY_S, (
                "what is to come is not taken"
            )
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
