"""A device that is asked by datagrams, over UDP on loopback: what is taken for an answer, and what no answer means.

The far end is scripted: what is sent for every question, each after so long.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest
from support import free_ports

from gantry_agent.field.bus import Link, open_link
from gantry_agent.field.request import AskController, AskSurge, GetOids, ReadRegisters, Timing
from gantry_agent.model import Bus, BusDown, NoReply

pytestmark = pytest.mark.system
T = Timing(0.15, 0.0)
ASK = AskSurge(1)
ANSWER = struct.pack("<3I15HI", 100, 1, 46, *range(15), 0)


class Far(asyncio.DatagramProtocol):
    def __init__(self, script: list[tuple[float, bytes]]) -> None:
        self.script, self.asked = script, list[bytes]()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked.append(data)
        for after_s, piece in self.script:
            asyncio.get_running_loop().call_later(after_s, self.transport.sendto, piece, addr)


@contextlib.asynccontextmanager
async def far_end(*script: tuple[float, bytes]) -> AsyncIterator[tuple[Link, Far]]:
    loop = asyncio.get_running_loop()
    transport, far = await loop.create_datagram_endpoint(lambda: Far(list(script)), local_addr=("127.0.0.1", 0))
    link = open_link(Bus("surge", "udp", {"host": "127.0.0.1", "port": transport.get_extra_info("sockname")[1]}))
    try:
        yield link, far
    finally:
        await link.close()
        transport.close()


async def test_a_question_gets_its_answer_whole():
    async with far_end((0.0, ANSWER)) as (link, far):
        assert await link.transact(ASK, T) == ANSWER
        assert [len(one) for one in far.asked] == [24]
        assert link.journal.statistics[1].ok == 1
        assert [frame.direction for frame in link.journal.frames] == ["sent", "received"]


async def test_what_is_no_answer_is_passed_over_and_counted():
    rubbish = [b"d", ANSWER[:20], ANSWER + b"\0", b"\1" + ANSWER[1:], struct.pack("<3I", 100, 1, 26) + bytes(14)]
    async with far_end(*((0.01 * k, one) for k, one in enumerate([*rubbish, ANSWER]))) as (link, _):
        assert await link.transact(ASK, T) == ANSWER
        assert link.journal.statistics[1].late == len(rubbish)


async def test_silence_is_no_reply_and_an_answer_after_it_is_late():
    async with far_end((0.2, ANSWER)) as (link, _):
        with pytest.raises(NoReply, match=r"from unit 1 of 127\.0\.0\.1 port \d+: nothing in 0\.15 s") as silent:
            await link.transact(ASK, T)
        assert not isinstance(silent.value, BusDown)
        await asyncio.sleep(0.1)
        assert (link.journal.statistics[1].timeouts, link.journal.statistics[0].late) == (1, 1)
        with pytest.raises(TypeError, match="not asked by datagrams"):
            await link.transact(ReadRegisters(1, 3, 0, 1), T)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"host": "127.0.0.1"}, "Connection refused"),
        ({"host": "no-such-host.invalid", "port": 4000}, r"Name or service not known|Temporary failure|No address"),
    ],
)
async def test_a_host_that_refuses_or_is_unknown_is_the_way_there_and_says_why(settings, why):
    settings = {"port": free_ports(1, socket.SOCK_DGRAM)[0], **settings}
    link = open_link(Bus("surge", "udp", settings))
    for attempt in range(3):
        with pytest.raises(BusDown, match=why):
            await link.transact(ASK, T)
        down = link.journal.heard(asyncio.get_running_loop().time()).down
        assert down is not None, attempt
        assert down.kind == ("refused" if "refused" in why else "unknown name")
    await link.close()
    with pytest.raises(NoReply, match="bus closed"):
        await link.transact(ASK, T)


@pytest.mark.parametrize(
    ("kind", "more"), [("udp", {"port": 4000}), ("uhppote", {}), ("snmp", {"version": "2c", "community": "public"})]
)
async def test_the_next_attempt_is_told_with_the_reason(kind, more):
    request = {"udp": ASK, "uhppote": AskController(1, 7, 0x58), "snmp": GetOids(("1.3.6.1.2.1.1.1.0",))}[kind]
    link = open_link(Bus("away", kind, {"host": "no-such-host.invalid", **more}))
    with pytest.raises(BusDown) as first:
        await link.transact(request, T)
    with pytest.raises(BusDown, match=r", next attempt in 0\.\d s$") as second:
        await link.transact(request, T)
    assert str(second.value).startswith(str(first.value))
    await link.close()
