"""A bus of type uhppote: door controllers behind one UDP port, each answering what is for its own serial number, and
pushing its events to the listener that is set in it."""

import asyncio
from collections.abc import Sequence

from hwsim.devices.access import Bits
from hwsim.devices.image import Effect
from hwsim.faults import DEAF, Fault, spoil
from hwsim.site import DeviceSpec
from hwsim.wires.datagrams import Port
from hwsim.world import World

PORT = 60000
DOORS = (1, 2, 3, 4)
PUSH_S = 0.02  # a board tells an event this long after it, at most
DECLINES = frozenset({0x40, 0x50, 0x52, 0x54, 0x90})  # whose answer says 1 for done


class UhppoteWire:
    """One bus of type uhppote."""

    def __init__(self, host: str, port: int, world: World, specs: Sequence[DeviceSpec]) -> None:
        self._world, self._specs = world, specs
        self._port = Port(host, port, self.take)

    @property
    def place(self) -> str:
        return self._port.place

    async def plug(self) -> None:
        await self._port.open()
        self._port.tasks.start(self._push())

    async def unplug(self) -> None:
        await self._port.close()

    def take(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a datagram, as the fault in force lets."""
        for spec in self._specs:
            if (answer := self._answer(spec, data)) is not None:
                spoilt = spoil(self._world.faults.take(spec.key), data, answer, lambda _, a=answer: _declined(a))  # type: ignore[misc]
                for piece in spoilt.pieces:
                    self._port.answer(piece, addr)

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
                    if panel.pushes_to and not (fault and fault.kind == "silent"):
                        self._port.send(packet, panel.pushes_to)


def _is_deaf(fault: Fault | None, data: bytes) -> bool:
    """Whether nothing is done for this; a question is answered also by one that declines all writes."""
    if fault is None or fault.kind not in DEAF:
        return False
    return fault.kind == "silent" or data[1:2] in {bytes([one]) for one in DECLINES}


def _declined(answer: bytes) -> bytes:
    return answer[:8] + b"\0" + answer[9:] if answer[1] in DECLINES else answer
