"""A bus of type udp: one Huazi (华咨) surge protector monitor behind one UDP port, asked by datagrams (tables §8).

A question is six little-endian numbers of four bytes: 100, version, length, address, command, checksum. One that has
another beginning, length or address stays unanswered.
"""

import asyncio
import socket
import struct
from collections.abc import Sequence

from hwsim.devices import PRODUCTS
from hwsim.devices.spoken import DatagramProduct
from hwsim.faults import Piece, spoil
from hwsim.site import DeviceSpec
from hwsim.wires import listener
from hwsim.wires.tasks import Tasks
from hwsim.world import World

PREAMBLE, VERSION, QUESTION_BYTES = 100, 1, 24


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, wire: "UdpWire") -> None:
        self._wire = wire

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._wire.take(data, addr)


class UdpWire:
    """One bus of type udp."""

    def __init__(self, host: str, port: int, world: World, specs: Sequence[DeviceSpec]) -> None:
        self._host, self._port, self._world, self._specs = host, port, world, specs
        self._tasks = Tasks()
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def place(self) -> str:
        return f"{self._host}:{self._port}/udp"

    async def plug(self) -> None:
        sock = listener.bound(socket.SOCK_DGRAM, self._host, self._port)
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=sock)

    async def unplug(self) -> None:
        await self._tasks.cancel()
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def take(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a datagram, as the fault in force lets."""
        for spec in self._specs:
            answer = self._answer(spec, data)
            if answer is not None:
                spoilt = spoil(self._world.faults.take(spec.key), data, answer, lambda _, whole=answer: whole)  # type: ignore[misc]
                for piece in spoilt.pieces:
                    self._tasks.start(self._send(piece, addr))

    def _answer(self, spec: DeviceSpec, data: bytes) -> bytes | None:
        product = PRODUCTS[spec.profile]
        if len(data) != QUESTION_BYTES or not isinstance(product, DatagramProduct):
            return None
        preamble, _, length, address, command, _ = struct.unpack("<6I", data)
        if (preamble, length, address) != (PREAMBLE, QUESTION_BYTES, spec.unit):
            return None
        body = product.answer(self._world.seen(spec), command)
        if body is None:
            return None
        return struct.pack("<3I", PREAMBLE, VERSION, 12 + len(body)) + body

    async def _send(self, piece: Piece, addr: tuple[str, int]) -> None:
        if piece.wait_s:
            await asyncio.sleep(piece.wait_s)
        if self._transport is not None:
            self._transport.sendto(piece.data, addr)
