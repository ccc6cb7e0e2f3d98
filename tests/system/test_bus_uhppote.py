"""The link to UHPPOTE controllers over UDP on loopback: what is taken for an answer, and the events between two looks.

The far end is scripted: a datagram that comes → what is sent, each after so long. Answers are written out as bytes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from gantry_agent.field.bus import Link, open_link
from gantry_agent.field.request import AskController, ControllerState, ReadController, ReadRegisters, Timing
from gantry_agent.model import Bus, BusDown, DeviceRefused, NoReply

pytestmark = pytest.mark.system
T = Timing(0.15, 0.0)
SERIAL = 423187757
STATUS = ReadController(3, SERIAL)
COUNT = AskController(3, SERIAL, 0x58)
Pieces = list[tuple[float, bytes]]


def answer(function: int, body: bytes = b"", serial: int = SERIAL) -> bytes:
    return (bytes([0x17, function, 0, 0]) + serial.to_bytes(4, "little") + body).ljust(64, b"\0")


def event(index: int, kind: int, granted: int, door: int, card: int) -> bytes:
    return index.to_bytes(4, "little") + bytes([kind, granted, door, 1]) + card.to_bytes(4, "little")


class Far(asyncio.DatagramProtocol):
    def __init__(self, script: Callable[[bytes], Pieces]) -> None:
        self.script = script
        self.asked: list[bytes] = []

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked.append(data)
        for after_s, piece in self.script(data):
            asyncio.get_running_loop().call_later(after_s, self.transport.sendto, piece, addr)


@contextlib.asynccontextmanager
async def far_end(script: Callable[[bytes], Pieces]) -> AsyncIterator[tuple[Link, Far]]:
    loop = asyncio.get_running_loop()
    transport, far = await loop.create_datagram_endpoint(lambda: Far(script), local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    link = open_link(Bus("doors", "uhppote", {"host": "127.0.0.1", "port": port}))
    try:
        yield link, far
    finally:
        await link.close()
        transport.close()


async def test_a_question_is_64_bytes_and_so_is_its_answer():
    async with far_end(lambda _: [(0.0, answer(0x58, b"\x10\x27"))]) as (link, far):
        assert await link.transact(COUNT, T) == answer(0x58, b"\x10\x27")
        assert far.asked == [answer(0x58)]
        assert link.journal.statistics[3].ok == 1
        assert [frame.direction for frame in link.journal.frames] == ["sent", "received"]


async def test_what_is_no_answer_to_this_question_is_passed_over():
    rubbish = [b"\x17", answer(0x5A), answer(0x58, b"\1", serial=SERIAL + 1), answer(0x58, b"\1") + b"\0"]
    script = [(0.01 * k, one) for k, one in enumerate([*rubbish, answer(0x58, b"\7")])]
    async with far_end(lambda _: script) as (link, _):
        assert await link.transact(COUNT, T) == answer(0x58, b"\7")
        assert link.journal.statistics[3].late == len(rubbish)


async def test_a_card_that_was_asked_for_before_is_no_answer():
    def late(asked: bytes) -> Pieces:
        if asked[8] == 1:
            return [(0.2, answer(0x5A, b"\1"))]
        return [(0.1, answer(0x5A, b"\2"))]

    async with far_end(late) as (link, _):
        with pytest.raises(NoReply, match=r"controller 423187757 .* nothing in 0\.15 s"):
            await link.transact(AskController(3, SERIAL, 0x5A, b"\1\0\0\0"), T)
        assert await link.transact(AskController(3, SERIAL, 0x5A, b"\2\0\0\0"), T) == answer(0x5A, b"\2")


async def test_a_function_that_was_declined_and_one_that_was_done():
    answers = iter((answer(0x40, b"\0"), answer(0x40, b"\1")))
    async with far_end(lambda _: [(0.0, next(answers))]) as (link, _):
        with pytest.raises(DeviceRefused):
            await link.transact(AskController(3, SERIAL, 0x40, b"\1"), T)
        assert await link.transact(AskController(3, SERIAL, 0x40, b"\1"), T)
        assert link.journal.statistics[3].refused == 1


async def test_the_card_that_opened_a_door_is_found_behind_the_doors_opening():
    newest = [event(10, 1, 1, 1, 111)]
    noted = {11: event(11, 1, 1, 1, 222), 12: event(12, 1, 0, 1, 333), 13: event(13, 1, 1, 2, 444)}

    def script(asked: bytes) -> Pieces:
        if asked[1] == 0xB0:
            return [(0.0, answer(0xB0, noted[asked[8]]))]
        return [(0.0, answer(0x20, newest[-1]))]

    async with far_end(script) as (link, far):
        first = await link.transact(STATUS, T)
        assert isinstance(first, ControllerState)
        assert first.swipes == {}, "what was noted before the first look explains nothing"
        newest.append(event(14, 2, 1, 1, 0))
        second = await link.transact(STATUS, T)
        assert isinstance(second, ControllerState)
        assert second.swipes == {1: (11, 222), 2: (13, 444)}, "333 was not let in"
        assert [one[1] for one in far.asked] == [0x20, 0x20, 0xB0, 0xB0, 0xB0]
        assert (await link.transact(STATUS, T)).swipes == second.swipes  # type: ignore[union-attr]
        newest.append(event(2, 1, 1, 1, 555))  # it was reset, and counts anew
        assert (await link.transact(STATUS, T)).swipes == second.swipes  # type: ignore[union-attr]


async def test_no_more_events_are_fetched_than_an_order_may_wait_for():
    newest = [event(10, 1, 1, 1, 111), event(5000, 1, 1, 1, 222)]

    def script(asked: bytes) -> Pieces:
        if asked[1] == 0xB0:
            return [(0.0, answer(0xB0, asked[8:12] + event(0, 2, 1, 1, 0)[4:]))]
        return [(0.0, answer(0x20, newest.pop(0)))]

    async with far_end(script) as (link, far):
        await link.transact(STATUS, T)
        await link.transact(STATUS, T)
        assert len(far.asked) == 2 + 7


async def test_nobody_there_costs_no_more_than_the_time_out_and_a_closed_link_says_so():
    link = open_link(Bus("doors", "uhppote", {"host": "127.0.0.1", "port": 9}))
    for _ in range(5):
        with pytest.raises(NoReply):
            await link.transact(COUNT, T)
    with pytest.raises(TypeError, match=r"not for a UHPPOTE controller"):
        await link.transact(ReadRegisters(1, 3, 0, 1), T)
    waiting = asyncio.create_task(link.transact(COUNT, Timing(5.0, 0.0)))
    await asyncio.sleep(0.01)
    await link.close()
    with pytest.raises(NoReply):
        await waiting
    with pytest.raises(NoReply, match=r"bus closed"):
        await link.transact(COUNT, T)


async def test_a_name_that_nobody_knows_is_the_bus_not_the_controller():
    link = open_link(Bus("doors", "uhppote", {"host": "no-such-host.invalid"}))
    for _ in range(2):
        with pytest.raises(BusDown):
            await link.transact(COUNT, T)
    await link.close()
