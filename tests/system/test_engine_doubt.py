"""How the poller gets along with a unit that owes an answer: no value at a wrong point, and nobody waits who need not.

Register n holds n. The far end answers as a script says: how long after the question, None for never.
"""

import asyncio
import contextlib
import itertools
import os
import pty
import time
import tty
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from engine_rig import answer, device

from gantry_agent.field import profile as profiles
from gantry_agent.field.bus import open_link
from gantry_agent.field.bus.debts import DOUBT_S
from gantry_agent.field.poller import Lanes, Poller
from gantry_agent.field.request import ReadRegisters, Timing
from gantry_agent.model import Answered, Bus, Missed, Quality

pytestmark = [pytest.mark.system, pytest.mark.alone]
RESPONSE_S = 0.1
PLACES = {"voltage": 100, "current": 101, "power": 300, "frequency": 301}
UNITS = {"voltage": "V", "current": "A", "power": "kW", "frequency": "Hz"}
PROFILE = """\
profile: bench
title: {zh: 台架, en: bench}
protocol: modbus
maturity: draft
sources: [{document: "MODBUS Application Protocol", page: "6.3"}]
timing: {response_ms: 100, gap_ms: 0}
limits: {registers: 125, hole: 0}
members: {elec: 1}
points:
"""
Delay = Callable[[int, int, int], float | None]  # unit, address and count of a question → how late its answer is


class Asked(list[tuple[float, int, int, int]]):
    """When what was asked: unit, address, count."""

    def of(self, unit: int, *addresses: int) -> list[tuple[float, int]]:
        """Give the askings of these registers of a unit: when, and how many."""
        return [(at, count) for at, one, address, count in self if one == unit and address in addresses]


@contextlib.asynccontextmanager
async def polling(folder: Path, delay_s: Delay, fields: tuple[str, ...], units: tuple[int, ...] = (1,)):
    """Poll units with these fields; gives the poller, what it hands over, and what the far end was asked."""
    path = folder / "bench.yaml"
    points = "".join(f"  elec.{f}: {{read: holding {PLACES[f]}, unit: {UNITS[f]}, lane: slow}}\n" for f in fields)
    path.write_text(PROFILE + points, encoding="utf-8")
    its = profiles.check(path)
    asked, heard = Asked(), []
    async with far_end(delay_s, asked) as port:
        link = open_link(Bus("line", "serial", {"port": port, "baudrate": 115200}))
        poller = Poller(link, [(device(unit), its) for unit in units], Lanes(0.1, 0.1, 3), heard.append)
        task = asyncio.create_task(poller.run())
        try:
            await asyncio.wait_for(poller.looked.wait(), 5)
            yield poller, heard, asked
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    for one in heard:  # the promise, whatever the test is about
        if isinstance(one, Answered):
            for (_, field), reading in one.fields.items():
                assert field not in PLACES or reading.value == PLACES[field] or reading.quality is not Quality.OK


@contextlib.asynccontextmanager
async def far_end(delay_s: Delay, asked: Asked) -> AsyncIterator[str]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    loop, timers = asyncio.get_running_loop(), []

    def hear() -> None:
        request = os.read(master, 4096)
        unit, function = request[:2]
        address, count = (int.from_bytes(request[n : n + 2], "big") for n in (2, 4))
        asked.append((time.monotonic(), unit, address, count))
        if (delay := delay_s(unit, address, count)) is not None:
            timers.append(loop.call_later(delay, os.write, master, answer(unit, function, address, count, request)))

    loop.add_reader(master, hear)
    try:
        yield os.ttyname(slave)
    finally:
        for timer in timers:
            timer.cancel()
        loop.remove_reader(master)
        os.close(master)
        os.close(slave)


async def until(true: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_block_is_asked_in_parts_while_its_answer_might_be_taken_for_a_late_one(tmp_path):
    late_s = [1.2]
    lost_until = [0.0]

    def delay_s(unit: int, address: int, count: int) -> float | None:
        if address == 100 and late_s and lost_until[0]:
            return late_s.pop()
        return None if (address, count) == (300, 2) and time.monotonic() < lost_until[0] else 0.0

    async with polling(tmp_path, delay_s, ("voltage", "current", "power", "frequency")) as (_, heard, asked):
        await until(lambda: len(asked.of(1, 300)) > 3, 5)
        lost_until[0] = time.monotonic() + 1.1
        await until(lambda: not late_s, 2)
        lost_at, n = asked[-1][0], len(heard)
        await asyncio.sleep(0.8)
        fresh = {f for one in heard[n:] if isinstance(one, Answered) for _, f in one.fields}
        assert {"power", "frequency"} <= fresh
        await asyncio.sleep(2)
    after = [(at - lost_at, count) for at, count in asked.of(1, 300, 301) if at > lost_at]
    in_doubt = [count for after_s, count in after if after_s < 1.2]
    assert len(in_doubt) > 4
    assert {*in_doubt} == {1}
    assert after[-1][1] == 2  # once it has come


async def test_a_single_point_waits_for_a_silent_one_and_its_unit_is_not_taken_for_dead(tmp_path):
    """Neither its neighbours on the line nor an order to another unit wait with it."""
    silent = [False]

    def delay_s(unit: int, address: int, count: int) -> float | None:
        return None if silent[0] and (unit, address) == (1, 100) else 0.0

    async with polling(tmp_path, delay_s, ("voltage", "power"), (1, 2)) as (poller, heard, asked):
        await until(lambda: len(asked.of(1, 300)) > 3, 5)
        silent[0] = True
        n = len(heard)
        await until(lambda: any(isinstance(one, Missed) for one in heard[n:]), 2)
        lost_at, n = asked.of(1, 100)[-1][0], len(heard)
        await asyncio.sleep(0.3)
        timing = Timing(RESPONSE_S, 0.0)
        held = asyncio.create_task(poller.transact(ReadRegisters(1, 3, 500, 1), timing))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        assert await poller.transact(ReadRegisters(2, 3, 500, 1), timing) == (500,)
        assert time.monotonic() - began < 0.2
        assert await asyncio.wait_for(held, DOUBT_S + 2) == (500,)
        assert asked.of(1, 500)[0][0] - lost_at > DOUBT_S
        await until(lambda: any(isinstance(one, Answered) and one.device == "1.unit1" for one in heard[n:]), 2)
        first = next(k for k, one in enumerate(heard[n:]) if isinstance(one, Answered) and one.device == "1.unit1")
        assert sum(isinstance(one, Missed) for one in heard[n : n + first]) < 2
    neighbours = [at for at, _ in asked.of(2, 100, 300)]
    assert max(b - a for a, b in itertools.pairwise(neighbours)) < 0.5


async def test_a_unit_that_was_dead_is_found_again_whatever_it_owes(tmp_path):
    dead = [False]

    def delay_s(unit: int, address: int, count: int) -> float | None:
        return None if dead[0] else 0.0

    async with polling(tmp_path, delay_s, ("voltage", "power")) as (_, heard, _asked):
        dead[0] = True
        await until(lambda: sum(isinstance(one, Missed) for one in heard) >= 2, 15)
        dead[0], n, back = False, len(heard), time.monotonic()
        await until(lambda: any(isinstance(one, Answered) for one in heard[n:]), 15)
        assert time.monotonic() - back < 2 * DOUBT_S
