"""What a silent unit costs its line: its answers are waited out, others are asked meanwhile, nothing is mixed up."""

import asyncio
import contextlib
import os
import pty
import socket
import time
import tty
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_rig import answer
from support import ask, free_ports, python, running

from gantry_agent.field import profile as profiles
from gantry_agent.field.bus import open_link
from gantry_agent.field.bus.debts import DOUBT_S
from gantry_agent.field.poller import Lanes, Poller
from gantry_agent.field.request import GetOids, ReadRegisters, Timing
from gantry_agent.model import Bus, Device, NoReply

pytestmark = [pytest.mark.system, pytest.mark.alone]
T = Timing(0.2, 0.0)
SLACK_S = 0.08


@contextlib.asynccontextmanager
async def line(delay_s: Callable[[int, int], float | None]):
    """A line whose units answer after so long, or never; asked by unit and how often this unit was asked before."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    loop, asked, timers = asyncio.get_running_loop(), {}, []

    def hear() -> None:
        request = os.read(master, 4096)
        unit = request[0]
        asked[unit] = asked.get(unit, -1) + 1
        if (delay := delay_s(unit, asked[unit])) is not None:
            data = answer(unit, request[1], *(int.from_bytes(request[n : n + 2], "big") for n in (2, 4)), request)
            timers.append(loop.call_later(delay, os.write, master, data))

    loop.add_reader(master, hear)
    link = open_link(Bus("line", "serial", {"port": os.ttyname(slave), "baudrate": 115200}))
    try:
        yield link
    finally:
        await link.close()
        for timer in timers:
            timer.cancel()
        loop.remove_reader(master)
        os.close(master)
        os.close(slave)


async def silent(link, unit: int) -> None:
    with pytest.raises(NoReply):
        await link.transact(ReadRegisters(unit, 3, 100, 4), T)


async def timed(link, unit: int, address: int, count: int = 4) -> float:
    began = time.monotonic()
    assert await link.transact(ReadRegisters(unit, 3, address, count), T) == tuple(range(address, address + count))
    return time.monotonic() - began


async def test_after_a_dead_unit_another_is_asked_at_once_but_the_same_is_waited_for():
    async with line(lambda unit, n: None if unit == 2 and n == 0 else 0.0) as link:
        await silent(link, 2)
        assert link.held_s(ReadRegisters(1, 3, 0, 4)) < 0.01
        assert 0.15 < link.held_s(ReadRegisters(2, 3, 100, 4)) <= 0.2
        assert 0.15 < link.held_s(ReadRegisters(2, 3, 0, 3)) <= 0.2
        assert link.held_s(ReadRegisters(2, 3, 0, 4)) > DOUBT_S  # its answer would look like the one that is owed
        assert await timed(link, 1, 300) < SLACK_S
        assert 0.1 < await timed(link, 2, 300, 3) < 0.2 + SLACK_S


async def test_a_late_answer_that_comes_while_another_unit_is_asked_is_known_for_what_it_is():
    # Unit 2 answers its first question after 0.25 s: 30 ms into the time in which unit 1 is waited for.
    async with line(lambda unit, n: (0.25 if n == 0 else 0.0) if unit == 2 else 0.1) as link:
        await silent(link, 2)
        assert await timed(link, 1, 100) < 0.1 + SLACK_S  # the same shape as the late one
        assert link.journal.statistics[2].late == 1
        assert await timed(link, 2, 500) < SLACK_S  # nothing is owed any more
        # From now on this unit is known to be late, and the line is held for it.
        assert link.held_s(ReadRegisters(1, 3, 0, 4)) < 0.01


async def test_a_unit_that_has_answered_late_is_waited_for_by_the_whole_line():
    async with line(lambda unit, n: {0: 0.25, 1: None}.get(n, 0.0) if unit == 2 else 0.0) as link:
        await silent(link, 2)
        await asyncio.sleep(0.1)
        assert link.journal.statistics[2].late == 1
        await silent(link, 2)
        assert 0.15 < link.held_s(ReadRegisters(1, 3, 0, 4)) <= 0.2
        assert 0.1 < await timed(link, 1, 300) < 0.2 + SLACK_S


async def test_a_unit_that_was_late_and_is_dead_now_is_waited_for_three_times_and_no_more():
    async with line(lambda unit, n: (0.25 if n == 0 else None) if unit == 2 else 0.0) as link:
        held = []
        for _ in range(5):
            await silent(link, 2)
            await asyncio.sleep(0.06)  # the late answer of the first time
            held.append(link.held_s(ReadRegisters(1, 3, 0, 4)) > 0.05)
            await asyncio.sleep(0.2)
            link.held_s()
        assert held == [False, True, True, True, False]


async def test_a_cancelled_question_is_waited_for_by_everybody_until_its_answer_is_due():
    async with line(lambda unit, n: 0.1) as link:
        asking = asyncio.create_task(link.transact(ReadRegisters(2, 3, 100, 4), T))
        await asyncio.sleep(0.03)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await timed(link, 1, 100) < 0.2 + SLACK_S
        assert link.journal.statistics[2].late == 1


# --- looking for rows -----------------------------------------------------------------------------------------------

SITE = """\
gantry: {{id: G000211001002110010}}
buses:
  power: {{type: snmp, host: 127.0.0.1, port: {port}, version: 2c, community: public}}
computers: [{{id: 1, monitor: true, source: local}}]
cabinets:
  - id: 1
    devices:
      power: {{profile: huawei-site-monitor, bus: power, ids: {{rectifier: [1, 2]}}}}
"""


async def test_an_order_goes_between_the_walks_that_look_for_rows(tmp_path: Path):
    [port] = free_ports(1, socket.SOCK_DGRAM)
    site = tmp_path / "site.yaml"
    site.write_text(SITE.format(port=port), encoding="utf-8")
    its = profiles.load("huawei-site-monitor")
    roles = {member: tuple(range(1, count + 1)) for member, count in its.members.items()}
    device = Device("1.power", 1, its.name, "power", 1, roles)
    with running(*python("hwsim", "run", "--site", str(site), "--api", "127.0.0.1:0"), ready="^hwsim ready") as process:
        api = process.wait_for(r"hwsim api http").split()[-1]
        await asyncio.to_thread(ask, f"{api}/fault", {"device": "1.power", "kind": "delay", "ms": 200})
        link = open_link(Bus("power", "snmp", {"host": "127.0.0.1", "port": port}))
        poller = Poller(link, [(device, its)], Lanes(0.5, 5.0, 3), lambda _: None)
        task = asyncio.create_task(poller.run())
        try:
            await asyncio.sleep(0.05)  # the first walk is on the wire
            began = time.monotonic()
            await poller.transact(GetOids(("1.3.6.1.2.1.1.1.0",)), Timing(1.0, 0.0))
            waited_s = time.monotonic() - began
            assert poller._units[0].locate_at == 0.0  # the rows have not been found yet
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert waited_s < 3 * 0.2 + 0.15  # the rest of one walk, of two datagrams at most, and its own answer
