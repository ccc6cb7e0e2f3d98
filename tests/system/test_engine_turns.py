"""Turn-taking of the real poller on a 9600 baud line with real byte timing: orders, lanes, dead units, slow lines."""

import asyncio
import contextlib
import itertools
import logging
import random
import time

import pytest
from engine_rig import SILENCE_S, Asked, device, far, profile

from gantry_agent.field.bus import open_link
from gantry_agent.field.load import Load
from gantry_agent.field.poller import Lanes, Poller
from gantry_agent.field.request import ReadRegisters, Timing, WriteBit
from gantry_agent.model import Answered, Bus, Missed, NoReply

pytestmark = [pytest.mark.system, pytest.mark.alone]
SEEN_S = 0.01  # the far end is a process: it may see a first byte this long after it was written


@contextlib.asynccontextmanager
async def polling(path: str, devices, lanes: Lanes):
    """Run a poller; gives it and the list of what it hands over."""
    heard: list[Answered | Missed] = []
    link = open_link(Bus("line", "serial", {"port": path, "baudrate": 9600}))
    poller = Poller(link, devices, lanes, heard.append)
    task = asyncio.create_task(poller.run())
    try:
        yield poller, heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def orders(poller: Poller, count: int, apart_s: tuple[float, float], unit: int = 1) -> list[float]:
    """Give orders at random moments; when each was given (monotonic). Those to a dead unit fail, as they should."""
    fate, given = random.Random(3), []
    for _ in range(count):
        await asyncio.sleep(fate.uniform(*apart_s))
        given.append(time.monotonic())
        with contextlib.suppress(NoReply):
            await poller.transact(WriteBit(unit, 3, True), Timing(0.3, 0.0))
    return given


def begun_between(asked: list[Asked], given: list[float]) -> tuple[list[int], list[float]]:
    """How many other transactions began between each order and its first byte, and how long that took."""
    writes = [one for one in asked if one.function == 5]
    others = [one for one in asked if one.function != 5]
    assert len(writes) == len(given)
    overtaken = [sum(at + SEEN_S < o.began < w.began for o in others) for at, w in zip(given, writes, strict=True)]
    return overtaken, [w.began - at for at, w in zip(given, writes, strict=True)]


async def test_an_order_waits_for_no_more_than_the_transaction_on_the_wire(tmp_path):
    its = profile(tmp_path)
    with far() as line:
        async with polling(line.path, [(device(n), its) for n in range(1, 9)], Lanes(0.5, 0.05, 3)) as (poller, _):
            await asyncio.wait_for(poller.looked.wait(), 10)
            given = await orders(poller, 20, (0.05, 0.12))
        asked = line.stop()
    overtaken, waits = begun_between(asked, given)
    longest = max(one.free - one.began for one in asked)
    assert max(overtaken) == 0
    assert sorted(waits)[-2] <= longest + SILENCE_S + 0.02  # one may be the scheduler's


async def test_an_order_does_not_wait_for_late_answers_of_a_dead_unit(tmp_path):
    its = profile(tmp_path, response_ms=400)
    with far() as line:
        line.tell("dead", 2, 3, 4)
        async with polling(line.path, [(device(n), its) for n in range(1, 9)], Lanes(0.5, 0.05, 3)) as (poller, _):
            await asyncio.wait_for(poller.looked.wait(), 10)
            given = await orders(poller, 6, (0.05, 0.3))
        asked = line.stop()
    overtaken, waits = begun_between(asked, given)
    assert max(overtaken) == 0
    # A question to a dead unit holds the line for the time of its longest possible answer and 400 ms, no longer.
    assert max(waits) <= 0.4 + (8 + 45 + 3.5) * 10 / 9600 + 0.05


async def test_an_order_to_a_unit_whose_answer_is_owed_lets_others_go_first(tmp_path):
    its = profile(tmp_path, response_ms=600)
    with far() as line:
        line.tell("dead", 2)
        async with polling(line.path, [(device(n), its) for n in (1, 2)], Lanes(0.5, 30.0, 3)) as (poller, _):
            await asyncio.wait_for(poller.looked.wait(), 10)
            slow = Timing(0.6, 0.0)
            with contextlib.suppress(NoReply):
                await poller.transact(ReadRegisters(2, 3, 0, 1), slow)
            began = time.monotonic()
            held = asyncio.create_task(poller.transact(WriteBit(2, 3, True), slow))
            await asyncio.sleep(0.01)
            await poller.transact(WriteBit(1, 3, True), slow)
            assert time.monotonic() - began < 1.3  # the held one may have been first, but never both holds
            with contextlib.suppress(NoReply):
                await held


async def test_a_line_that_is_too_slow_stretches_measurements_evenly_and_says_by_how_much(tmp_path, caplog):
    caplog.set_level(logging.INFO, "gantry_agent.field.poller")
    its = profile(tmp_path)
    devices = [(device(n), its) for n in range(1, 9)]
    with far() as line:
        async with polling(line.path, devices, Lanes(0.5, 0.5, 3)) as (poller, _):
            await asyncio.sleep(7)
            load = poller.load
        asked = line.stop()
    assert isinstance(load, Load)
    assert load.busy > 0.9
    assert load.fast < 1.1
    assert 1.2 < load.slow < 3.0
    told = [one.getMessage() for one in caplog.records if "too slow" in one.getMessage()]
    assert len(told) == 1
    assert f"measurements come every {load.slow * 0.5:.1f} s instead of 0.5 s" in told[0]
    for unit in range(1, 9):  # and alarms keep their period: late by two transactions at most
        alarms = [one.began for one in asked if one.function == 2 and one.unit == unit]
        assert max(b - a for a, b in itertools.pairwise(alarms[1:])) <= 0.5 + 0.2
    counts = [sum(one.function == 3 and one.unit == unit for one in asked) for unit in range(1, 9)]
    assert max(counts) - min(counts) <= 1


async def test_dead_units_cost_their_neighbours_little_and_are_seen_when_they_return(tmp_path):
    its = profile(tmp_path, fast=False)
    with far() as line:
        async with polling(line.path, [(device(n), its) for n in range(1, 9)], Lanes(0.5, 0.05, 3)) as (_, heard):
            await asyncio.sleep(1.5)
            died = time.monotonic()
            line.tell("dead", 3)
            await asyncio.sleep(2)
            back = time.monotonic()
            line.tell("dead")
            heard.clear()
            while not any(isinstance(one, Answered) and one.device == "1.unit3" for one in heard):
                await asyncio.sleep(0.05)
                assert time.monotonic() - back < 60
        asked = line.stop()
    neighbours = [one for one in asked if one.unit != 3]
    before = [one for one in neighbours if one.began < died]
    during = [one for one in neighbours if died < one.began < back]
    # Before, seven of eight transactions were theirs; with one unit gone, all but its probes are.
    rate_before = len(before) / (before[-1].began - before[0].began) * 8 / 7
    rate_during = len(during) / (during[-1].began - during[0].began)
    assert rate_before / rate_during < 1.7  # the first 2 s hold all the early probes; the bench tells the long run
