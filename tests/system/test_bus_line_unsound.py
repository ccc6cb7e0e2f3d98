"""A Modbus RTU line gone bad: broken, foreign, late and missing answers, echoes, noise. No value is taken wrongly."""

import asyncio
import random
import struct
import time
from dataclasses import replace

import pytest
from line_rig import BROKEN, WIRES, Far, T, at_once, fails, framed, good, leaving_nothing, on_pty

from gantry_agent.field.bus.debts import DOUBT_S
from gantry_agent.field.request import ReadRegisters, Timing, WriteBit, WriteRegisters
from gantry_agent.model import BadReply, NoReply

pytestmark = [pytest.mark.system, pytest.mark.alone]


@pytest.fixture(params=WIRES)
def wire(request):
    return WIRES[request.param]


@pytest.fixture(autouse=True)
async def nothing_leaks():
    async with leaving_nothing():
        yield


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_broken_answer_is_a_bad_reply_and_the_next_question_is_answered(wire, fault):
    faults = [BROKEN[fault]]

    def once(request: bytes) -> list[tuple[float, bytes]]:
        return [(0.0, (faults.pop() if faults else good)(request))]

    async with wire(Far(once)) as line:
        await fails(BadReply, line.transact(ReadRegisters(1, 3, 100, 4), T))
        assert await line.transact(ReadRegisters(1, 3, 200, 3), T) == (200, 201, 202)
        assert (line.journal.statistics[1].bad, line.journal.statistics[1].ok) == (1, 1)


@pytest.mark.parametrize(
    "before",
    [
        b"\x00",
        b"\xff\x00\xff",
        b"\x01\x03",  # looks like the beginning of an answer
        good(framed(struct.pack(">BBHH", 2, 3, 100, 4))),  # an answer of another unit
        b"\x01\x03\x08\x00\x64\x00\x65\x00\x66\x00\x67\x00\x00",  # one with a wrong CRC
    ],
)
async def test_what_comes_before_the_answer_is_passed_over(wire, before):
    async with wire(Far(at_once(lambda r: before + good(r)))) as line:
        assert await line.transact(ReadRegisters(1, 3, 100, 4), T) == (100, 101, 102, 103)


async def test_the_echo_of_an_adapter_that_hears_itself_is_stripped(wire):
    far = Far(lambda r: [(0.0, r), (0.01, good(r))])
    async with wire(far) as line:
        assert await line.transact(WriteBit(1, 3, True), T) == ()  # before it is known that this line echoes
        assert await line.transact(ReadRegisters(1, 3, 100, 4), T) == (100, 101, 102, 103)
        assert await line.transact(WriteRegisters(1, 6, 5, (9,)), T) == ()
        assert await line.transact(WriteRegisters(1, 16, 5, (9, 8)), T) == ()
        far.script = at_once(lambda r: r)  # the unit goes silent, the adapter still hears itself
        for request in (ReadRegisters(1, 3, 7, 1), WriteBit(1, 3, True), WriteRegisters(1, 16, 5, (9, 8))):
            await fails(NoReply, line.transact(request, T), "only our own echo")


async def test_a_late_answer_before_the_echo_does_not_pass_for_a_line_without_echoes(wire):
    far = Far(lambda r: [(0.0, r), (0.01, good(r))])
    async with wire(far) as line:
        assert await line.transact(ReadRegisters(1, 3, 100, 4), T) == (100, 101, 102, 103)
        far.script = at_once(lambda r: r)
        await fails(NoReply, line.transact(ReadRegisters(1, 3, 100, 4), T), "only our own echo")
        far.script = lambda r: [(0.0, good(r)), (0.01, r), (0.02, good(r))]
        assert await line.transact(ReadRegisters(1, 3, 100, 4), T) == (100, 101, 102, 103)
        await asyncio.sleep(0.05)
        far.script = at_once(lambda r: r)
        await fails(NoReply, line.transact(WriteBit(1, 3, True), T), "only our own echo")


async def test_a_silent_unit_is_no_reply_and_its_neighbour_is_answered(wire):
    async with wire(Far(lambda r: [(0.0, good(r))] if r[0] == 1 else [])) as line:
        began = time.monotonic()
        await fails(NoReply, line.transact(ReadRegisters(2, 3, 100, 4), T), "nothing in 0.1 s")
        assert 0.09 < time.monotonic() - began < 0.4
        assert await line.transact(ReadRegisters(1, 3, 200, 4), T) == (200, 201, 202, 203)
        assert (line.journal.statistics[2].timeouts, line.journal.statistics[1].timeouts) == (1, 0)


async def test_a_late_answer_is_not_taken_for_the_next_one_and_the_line_waits_no_longer_than_for_it(wire):
    delays, slow = [0.4], Timing(0.3, 0.0)
    async with wire(Far(lambda r: [(delays.pop() if delays else 0.0, good(r))])) as line:
        began = time.monotonic()
        await fails(NoReply, line.transact(ReadRegisters(1, 3, 100, 4), slow))
        assert await line.transact(ReadRegisters(1, 3, 200, 4), slow) == (200, 201, 202, 203)
        assert 0.39 < time.monotonic() - began < 0.59
        assert line.journal.statistics[1].late == 1


async def test_an_answer_that_comes_very_late_is_not_taken_for_another():
    delays = [0.33, 0.01]
    async with on_pty(Far(lambda r: [(delays.pop() if delays else 0.01, good(r))])) as line:
        assert await line.transact(ReadRegisters(1, 3, 1, 1), T) == (1,)
        await fails(NoReply, line.transact(ReadRegisters(1, 3, 100, 4), T))
        for address in range(200, 240):
            assert (await line.transact(ReadRegisters(1, 3, address, 4), T))[0] == address


async def test_an_answer_that_comes_very_late_and_alone_is_not_taken_for_another(wire):
    lost, late = ReadRegisters(1, 3, 200, 4), ReadRegisters(1, 3, 100, 4)
    far = Far(lambda r: [(0.33, good(r))] if r[3] == 100 else [])
    async with wire(far) as line:
        await fails(NoReply, line.transact(late, T))
        assert line.held_s(lost) > DOUBT_S
        await asyncio.sleep(0.1)
        await fails(NoReply, line.transact(replace(lost, count=5), T))  # in the midst of which it comes
        assert line.held_s(lost) > 0.9 * DOUBT_S
        far.script = at_once(good)
        assert await line.transact(replace(lost, count=6), T) == tuple(range(200, 206))
        assert line.held_s(late) > line.held_s(lost)  # who waits goes first


async def test_a_late_refusal_is_not_taken_for_one_of_another_question(wire):
    def refuse(request: bytes) -> bytes:
        return framed(bytes((request[0], request[1] | 0x80, 2)))

    async with wire(Far(lambda r: [(0.25, refuse(r))] if r[3] == 100 else [])) as line:
        await fails(NoReply, line.transact(ReadRegisters(1, 3, 100, 4), T))
        await asyncio.sleep(0.1)
        await fails(BadReply, line.transact(ReadRegisters(1, 3, 200, 5), T), "cannot tell what unit 1 .* refused")
        await asyncio.sleep(0.1)
        await fails(NoReply, line.transact(ReadRegisters(1, 4, 200, 5), T))


async def test_a_cancelled_question_leaves_the_line_safe(wire):
    async with wire(Far(lambda r: [(0.05, good(r))])) as line:
        asking = asyncio.create_task(line.transact(ReadRegisters(1, 3, 100, 4), T))
        await asyncio.sleep(0.02)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await line.transact(ReadRegisters(1, 3, 200, 4), T) == (200, 201, 202, 203)
        assert line.journal.statistics[1].late == 1


async def test_a_line_that_is_never_silent_is_given_up_for_this_question(wire):
    far = Far(lambda _: [(0.001 * n, b"\x55") for n in range(2500)])
    async with wire(far, baudrate=1200) as line:
        await fails(BadReply, line.transact(ReadRegisters(1, 3, 100, 4), T))
        await fails(NoReply, line.transact(ReadRegisters(1, 3, 100, 4), T), "has not been silent")


async def test_no_fault_ever_puts_a_value_under_the_wrong_question(wire):
    fate = random.Random(20261124)
    names = [*BROKEN]

    def unreliable(request: bytes) -> list[tuple[float, bytes]]:
        kind = fate.randrange(12)
        if kind < 5:
            return [(fate.uniform(0, 0.005), good(request))]
        if kind == 5:
            return []
        if kind == 6:
            return [(fate.choice((0.02, 0.08, 2.0)) * fate.uniform(1, 2), good(request))]
        if kind == 7:
            return [(0.0, request), (0.002, good(request))]
        if kind == 8:
            return [(0.0, fate.randbytes(fate.randrange(1, 30))), (0.003, good(request))]
        if kind == 9:
            cut = fate.randrange(1, 8)
            return [(0.0, good(request)[:cut]), (0.004, good(request)[cut:])]
        return [(0.0, BROKEN[fate.choice(names)](request))]

    def question() -> ReadRegisters:
        return ReadRegisters(fate.choice((1, 2, 3)), 3, fate.randrange(1000), fate.randrange(1, 40))

    answered = 0
    async with wire(Far(unreliable)) as line:
        request = question()
        for _ in range(200):
            request = replace(request, address=fate.randrange(1000))  # its answer will look like the latest
            while line.held_s(request) > 0.1:
                request = question()
            try:
                reply = await line.transact(request, Timing(0.02, 0.0))
            except (NoReply, BadReply):
                continue
            assert reply == tuple(range(request.address, request.address + request.count))
            answered += 1
    assert answered > 80
