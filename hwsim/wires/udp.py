"""A bus of type udp: one Huazi (华咨) surge protector monitor behind one UDP port, asked by datagrams (tables §8).

A question is six little-endian numbers of four bytes: 100, version, length, address, command, checksum. One that has
another beginning, length or address stays unanswered.
"""

import struct
from collections.abc import Sequence

from hwsim.devices import PRODUCTS
from hwsim.devices.spoken import DatagramProduct
from hwsim.faults import spoil
from hwsim.site import DeviceSpec
from hwsim.wires.datagrams import Port
from hwsim.world import World

PREAMBLE, VERSION, QUESTION_BYTES = 100, 1, 24


class UdpWire:
    """One bus of type udp."""

    def __init__(self, host: str, port: int, world: World, specs: Sequence[DeviceSpec]) -> None:
        self._world, self._specs = world, specs
        self._port = Port(host, port, self.take)

    @property
    def place(self) -> str:
        return self._port.place

    async def plug(self) -> None:
        await self._port.open()

    async def unplug(self) -> None:
        await self._port.close()

    def take(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a datagram, as the fault in force lets."""
        for spec in self._specs:
            answer = self._answer(spec, data)
            if answer is not None:
                spoilt = spoil(self._world.faults.take(spec.key), data, answer, lambda _, whole=answer: whole)  # type: ignore[misc]
                for piece in spoilt.pieces:
                    self._port.answer(piece, addr)

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
