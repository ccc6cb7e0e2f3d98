"""A bus of type uhppote: door controllers behind one UDP port, each answering what is for its own serial number, and
pushing its events to the listener that is set in it."""

import asyncio
import socket
from collections.abc import Sequence

from hwsim.devices.access import Bits
from hwsim.devices.image import Effect
from hwsim.faults import DEAF, Fault, Piece, spoil
from hwsim.site import DeviceSpec
from hwsim.wires import listener
from hwsim.wires.tasks import Tasks
from hwsim.world import World

PORT = 60000
DOORS = (1, 2, 3, 4)
PUSH_S = 0.02  # a board tells an event this long after it, at most
DECLINES = frozenset({0x40, 0x50, 0x52, 0x54, 0x90})  # whose answer says 1 for done


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, wire: "UhppoteWire") -> None:
        self._wire = wire

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._wire.take(data, addr)


class UhppoteWire:
    """One bus of type uhppote."""

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
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=sock)
        self._transport = transport
        self._tasks.start(self._push())

    async def unplug(self) -> None:
        await self._tasks.cancel()
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def take(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a datagram, as the fault in force lets."""
        for spec in self._specs:
            if (answer := self._answer(spec, data)) is not None:
                spoilt = spoil(self._world.faults.take(spec.key), data, answer, lambda _, a=answer: _declined(a))  # type: ignore[misc]
                for piece in spoilt.pieces:
                    self._send(piece, addr)

    def _answer(self, spec: DeviceSpec, data: bytes) -> bytes | None:
        panel, fault = self._world.panels[spec.key], self._world.faults.of(spec.key)
        panel.stubborn = fault is not None and fault.kind == "ignore"
        if _is_deaf(fault, data):
            return data[:8].ljust(64, b"\0")
        contacts, relays = self._stand(spec)
        panel.watch(contacts, self._world.local_now())
        answered = panel.answer(data, contacts, relays, self._world.local_now())
        if answered is None:
            return None
        said, opened = answered
        for door in opened:
            self._world.absorb(spec, Effect(memory={door: 1}, later=((panel.delays[door], door, 0),)))
        return said

    def _stand(self, spec: DeviceSpec) -> tuple[Bits, Bits]:
        """Which of the four doors are open, and which relays are on."""
        seen = self._world.seen(spec)
        contacts = tuple(door < len(seen.inputs) and seen.inputs[door] for door in DOORS)
        return contacts, tuple(bool(seen.memory.get(door, 0)) for door in DOORS)

    async def _push(self) -> None:
        """Tell listeners what happens, until cancelled; one that is silent tells nothing, nor later."""
        while True:
            await asyncio.sleep(PUSH_S)
            for spec in self._specs:
                panel, fault, now = (
                    self._world.panels[spec.key],
                    self._world.faults.of(spec.key),
                    self._world.local_now(),
                )
                contacts, relays = self._stand(spec)
                panel.watch(contacts, now)
                for packet in panel.news(contacts, relays, now):
                    if panel.pushes_to and self._transport is not None and not (fault and fault.kind == "silent"):
                        self._transport.sendto(packet, panel.pushes_to)

    def _send(self, piece: Piece, addr: tuple[str, int]) -> None:
        if piece.wait_s:
            self._tasks.start(self._later(piece, addr))
        elif self._transport is not None:
            self._transport.sendto(piece.data, addr)

    async def _later(self, piece: Piece, addr: tuple[str, int]) -> None:
        await asyncio.sleep(piece.wait_s)
        if self._transport is not None:
            self._transport.sendto(piece.data, addr)


def _is_deaf(fault: Fault | None, data: bytes) -> bool:
    """Whether nothing is done for this; a question is answered also by one that declines all writes."""
    if fault is None or fault.kind not in DEAF:
        return False
    return fault.kind == "silent" or data[1:2] in {bytes([one]) for one in DECLINES}


def _declined(answer: bytes) -> bytes:
    return answer[:8] + b"\0" + answer[9:] if answer[1] in DECLINES else answer
