"""A Modbus TCP listener: several units behind one address, several clients, each served in the order of its requests.

TCP is a stream: a segment may hold several requests or half a one. What is not Modbus (another protocol number, an
impossible length) closes the connection, as devices do.
"""

import asyncio
import contextlib
from collections.abc import Mapping

from hwsim.faults import Spoilt, spoil
from hwsim.site import DeviceSpec
from hwsim.wires import listener
from hwsim.wires.modbus import Frame, Units, mbap, rebuilt
from hwsim.wires.tasks import Tasks
from hwsim.world import World

HEADER = 7  # transaction 2, protocol 2, length 2, unit 1
LONGEST = 254  # unit and PDU


class ModbusTcpWire:
    """One bus of type modbus-tcp."""

    def __init__(self, host: str, port: int, world: World, specs: Mapping[int, DeviceSpec]) -> None:
        self._host, self._port = host, port
        self._units = Units(world, specs)
        self._world = world
        self._tasks = Tasks()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def place(self) -> str:
        return f"{self._host}:{self._port}"

    async def plug(self) -> None:
        self._server = await listener.start(self._accept, self._host, self._port)

    async def unplug(self) -> None:
        """The listener and every connection go, as when the cable is pulled and the device restarts."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await self._tasks.cancel()
        self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.start(self._client(reader, writer))

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (frame := await _request(reader)) is not None:
                if not await self._serve(frame, writer):
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client went away
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _serve(self, frame: Frame, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is to be closed."""
        answer = self._units.answer(frame)
        if answer is None:
            return True
        spec = self._units.specs[frame.unit]
        await asyncio.sleep(self._world.modbus(spec).response_s)
        fault = self._world.faults.take(spec.key)
        sent = spoil(fault, mbap(frame), mbap(answer), rebuilt(frame, answer, mbap))
        if sent.aside:
            self._tasks.start(_send(sent, writer))
        else:
            await _send(sent, writer)
        return not sent.close


async def _request(reader: asyncio.StreamReader) -> Frame | None:
    """The next whole request; None when what comes is not Modbus."""
    header = await reader.readexactly(HEADER)
    length = int.from_bytes(header[4:6], "big")
    if header[2:4] != b"\x00\x00" or not 2 <= length <= LONGEST:
        return None
    pdu = await reader.readexactly(length - 1)
    return Frame(header[6], pdu, int.from_bytes(header[:2], "big"))


async def _send(sent: Spoilt, writer: asyncio.StreamWriter) -> None:
    for piece in sent.pieces:
        await asyncio.sleep(piece.wait_s)
        with contextlib.suppress(ConnectionError):  # a late answer may find the client gone
            writer.write(piece.data)
            await writer.drain()
