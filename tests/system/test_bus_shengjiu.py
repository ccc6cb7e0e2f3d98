"""A Shengjiu lock on a line: beside unasked frames, silent to commands, and what is believed."""

import asyncio
import contextlib
import os
import pty
import tty
from collections.abc import AsyncIterator

import pytest

from gantry_agent.field.bus import Link, open_link
from gantry_agent.field.framing import shengjiu
from gantry_agent.field.request import AskLock, Timing
from gantry_agent.model import BadReply, Bus, NoReply

pytestmark = pytest.mark.system
T = Timing(0.1, 0.0)
QUERY, UNLOCK = AskLock(9, 1, 0x0016), AskLock(9, 1, 0x0005)
STATE = b"\1" + bytes.fromhex("60c1e9d6") + bytes(9)
ANSWER = shengjiu.encode(1, 9, 0x0016, STATE)
EVENT = shengjiu.encode(1, 9, 0x00A5, STATE)


@contextlib.asynccontextmanager
async def line(*pieces: tuple[float, bytes]) -> AsyncIterator[tuple[Link, list[bytes]]]:
    """A pty whose far end answers every question with these bytes, each after so long."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    loop, asked, timers = asyncio.get_running_loop(), list[bytes](), []

    def read() -> None:
        asked.append(os.read(master, 4096))
        timers.extend(loop.call_later(after_s, os.write, master, data) for after_s, data in pieces)

    loop.add_reader(master, read)
    link = open_link(Bus("line", "serial", {"port": os.ttyname(slave), "baudrate": 115200}))
    try:
        yield link, asked
    finally:
        await link.close()
        for timer in timers:
            timer.cancel()
        loop.remove_reader(master)
        os.close(master)
        os.close(slave)


async def test_an_answer_that_comes_behind_an_unasked_frame_is_the_answer():
    async with line((0.0, EVENT), (0.01, ANSWER[:11]), (0.02, ANSWER[11:])) as (link, asked):
        assert await link.transact(QUERY, T) == ANSWER
        assert asked == [bytes.fromhex("7e0901000000020016") + asked[0][9:]]
        assert link.journal.statistics[9].ok == 1


async def test_a_command_takes_its_time_and_silence_is_obedience():
    async with line() as (link, _):
        assert await link.transact(UNLOCK, T) == ()
        with pytest.raises(NoReply):
            await link.transact(QUERY, T)


async def test_a_lock_that_repeats_a_command_is_not_taken_for_more():
    async with line((0.0, shengjiu.encode(1, 9, 0x0005))) as (link, _):
        assert await link.transact(UNLOCK, T) == ()


async def test_a_broken_answer_is_not_believed():
    async with line((0.0, ANSWER[:10] + b"\x00" + ANSWER[11:])) as (link, _):
        with pytest.raises((NoReply, BadReply)):
            await link.transact(QUERY, T)
