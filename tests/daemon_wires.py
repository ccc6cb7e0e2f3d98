"""The far ends of lines, datagrams and site units that answer as a transcript says, on free ports of 127.0.0.1.

Registers are answered by the Modbus application protocol, on TCP or as RTU with pymodbus's CRC; what is asked by whole
commands is answered by whole answers. Nothing here decodes or frames with the agent's code.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymodbus.framer.rtu import FramerRTU

from tests import profile_rig as rig

Bus = dict[str, Any]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]
RTU_REQUEST = 8  # unit, function, address, count, CRC
BITS = (1, 2)


def registers(image: rig.Image, unit: int, asked: bytes) -> bytes:
    """The PDU that answers this PDU."""
    function, address, count = struct.unpack(">BHH", asked)
    words = [image.words.get((rig.SPACES[function], address + i), 0) for i in range(count)]
    if function in BITS:
        data = sum(bool(word) << i for i, word in enumerate(words)).to_bytes((count + 7) // 8, "little")
    else:
        data = struct.pack(f">{count}H", *words)
    return bytes((function, len(data))) + data


def modbus_tcp(image: rig.Image, unit: int) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            number, protocol, length, whom = struct.unpack(">HHHB", await reader.readexactly(7))
            pdu = await reader.readexactly(length - 1)
            if whom == unit:
                answer = registers(image, unit, pdu)
                writer.write(struct.pack(">HHHB", number, protocol, len(answer) + 1, unit) + answer)

    return serve


def modbus_rtu(image: rig.Image, unit: int) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked = await reader.readexactly(RTU_REQUEST)
            if asked[0] == unit and FramerRTU.compute_CRC(asked[:6]).to_bytes(2, "big") == asked[6:]:
                answer = bytes((unit,)) + registers(image, unit, asked[1:6])
                writer.write(answer + FramerRTU.compute_CRC(answer).to_bytes(2, "big"))

    return serve


def talking(answers: Mapping[bytes, bytes]) -> Serve:
    """Who is asked by whole commands; what is none of these is not heard."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = b""
        while True:
            asked += await reader.readexactly(1)
            for question, answer in answers.items():
                if asked.endswith(question):
                    asked = b""
                    writer.write(answer)

    return serve


def site_unit(pages: Mapping[bytes, bytes]) -> Serve:
    """An HTTP server with these pages; one question a connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        said = pages.get(head.split(b" ", 2)[1], b"")
        status = "200 OK" if said else "404 Not Found"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(said)}\r\nConnection: close\r\n\r\n".encode() + said)

    return serve


@dataclass(slots=True)
class FarEnd:
    """A device and the kind of bus that it is on; what it answers may be changed at any time."""

    kind: str
    serve: Serve | None  # None: datagrams
    image: rig.Image | None = None
    answers: dict[bytes, bytes] = field(default_factory=dict)

    def change(self, other: "FarEnd") -> None:
        """Answer as the other would."""
        if self.image is not None and other.image is not None:
            self.image.words = other.image.words
        self.answers.clear()
        self.answers.update(other.answers)


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answers: Mapping[bytes, bytes]) -> None:
        self._answers = answers
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if data in self._answers and self._transport:
            self._transport.sendto(self._answers[data], addr)


@contextlib.asynccontextmanager
async def all_of(ends: Sequence[FarEnd]) -> AsyncIterator[Sequence[Bus]]:
    """Listen for all of them; give their buses as a site file has them."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(_one(end)) for end in ends]


@contextlib.asynccontextmanager
async def _one(end: FarEnd) -> AsyncIterator[Bus]:
    known = {"serial-tcp": {"baudrate": 115200}, "zte-http": {"gap_ms": 0}}
    bus = {"type": end.kind, "host": "127.0.0.1", **known.get(end.kind, {})}
    serve = end.serve
    if serve is None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(end.answers), ("127.0.0.1", 0))
        try:
            yield bus | {"port": transport.get_extra_info("sockname")[1]}
        finally:
            transport.close()
        return
    tasks: set[asyncio.Task[None]] = set()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
            await serve(reader, writer)
            await writer.drain()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(served(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield bus | {"port": server.sockets[0].getsockname()[1]}
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Relay(asyncio.DatagramProtocol):
    """Stands before an SNMP agent and asks it in the name of another community of the same length, which may change."""

    def __init__(self, asked: bytes, agent: tuple[str, int]) -> None:
        self.asked = self.community = asked
        self._agent = agent
        self._client: tuple[str | Any, int] | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        if addr != self._agent:
            self._client = addr
            self._transport.sendto(data.replace(self.asked, self.community, 1), self._agent)
        elif self._client is not None:  # an answer to what was asked under the name before is none
            self._transport.sendto(data.replace(self.community, self.asked, 1), self._client)


@contextlib.asynccontextmanager
async def relays(
    askeds: Sequence[bytes], agents: Sequence[int]
) -> AsyncIterator[tuple[Sequence[Bus], Sequence[Relay]]]:
    """One before each of these agents, as buses of a site file."""
    loop = asyncio.get_running_loop()
    opened, buses, found = [], [], []
    try:
        for asked, port in zip(askeds, agents, strict=True):
            relay = Relay(asked, ("127.0.0.1", port))
            transport, _ = await loop.create_datagram_endpoint(lambda relay=relay: relay, ("127.0.0.1", 0))
            opened.append(transport)
            found.append(relay)
            at = transport.get_extra_info("sockname")[1]
            buses.append({"type": "snmp", "host": "127.0.0.1", "port": at, "community": asked.decode("ascii")})
        yield buses, found
    finally:
        for transport in opened:
            transport.close()
