"""A transparent converter: a serial line behind a TCP port. One client at a time, as converters default to.

A new client takes the line over; the old connection is closed.
"""

import asyncio
import contextlib

from hwsim.wires import listener
from hwsim.wires.line import Line
from hwsim.wires.tasks import Tasks


class SerialTcpWire:
    """One bus of type serial-tcp."""

    def __init__(self, host: str, port: int, line: Line) -> None:
        self._host, self._port, self._line = host, port, line
        self._tasks = Tasks()
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def place(self) -> str:
        return f"{self._host}:{self._port}"

    async def plug(self) -> None:
        self._server = await listener.start(self._accept, self._host, self._port)
        self._tasks.start(self._line_task())

    async def unplug(self) -> None:
        if self._server is not None:
            self._server.close()
        self._close_client()
        await self._tasks.cancel()
        self._server = None

    async def _line_task(self) -> None:
        while True:
            with contextlib.suppress(ConnectionAbortedError):
                await self._line.run(self._send)
            self._close_client()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._close_client()
        self._writer = writer
        self._tasks.start(self._client(reader, writer))

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                self._line.feed(data)
        writer.close()

    async def _send(self, data: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            with contextlib.suppress(ConnectionError):
                self._writer.write(data)
                await self._writer.drain()

    def _close_client(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None
