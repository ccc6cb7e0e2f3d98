"""One UDP port of simulated devices: what comes is handed on, and what they answer is sent when it is due."""

import asyncio
import socket
from collections.abc import Callable

from hwsim.faults import Piece
from hwsim.wires import listener
from hwsim.wires.tasks import Tasks

Take = Callable[[bytes, tuple[str, int]], None]


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, take: Take) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._take(data, addr)


class Port:
    """`take` gets every datagram and who sent it; `tasks` are cancelled when the port is closed."""

    def __init__(self, host: str, port: int, take: Take) -> None:
        self._host, self._port, self._take = host, port, take
        self.tasks = Tasks()
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def place(self) -> str:
        return f"{self._host}:{self._port}/udp"

    async def open(self) -> None:
        sock = listener.bound(socket.SOCK_DGRAM, self._host, self._port)
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(self._take), sock=sock)

    async def close(self) -> None:
        await self.tasks.cancel()
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def send(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None:
            self._transport.sendto(data, addr)

    def answer(self, piece: Piece, addr: tuple[str, int]) -> None:
        """Send a piece of an answer, now or after its delay."""
        if piece.wait_s:
            self.tasks.start(self._later(piece, addr))
        else:
            self.send(piece.data, addr)

    async def _later(self, piece: Piece, addr: tuple[str, int]) -> None:
        await asyncio.sleep(piece.wait_s)
        self.send(piece.data, addr)
