"""A TCP connection to a device, kept short: bytes in by call, loss by call, and no half-open corpses.

Used by Modbus TCP and by serial lines behind a transparent converter. Names are resolved on every connect, so that a
device whose address changed is found again. It knows nothing of frames.
"""

import asyncio
import socket
from collections.abc import Callable

from gantry_agent.model import BusDown
from gantry_agent.text import Text, of_system

CONNECT_S = 3.0
# A peer that lost power says nothing: the kernel probes a silent connection after 10 s, three times 5 s apart, and
# gives up on sent bytes nobody acknowledges after 15 s.
KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 15_000),
)


class Stream(asyncio.Protocol):
    """One connection; made by `connect`."""

    def __init__(self, on_bytes: Callable[[bytes], None], on_lost: Callable[[str], None]) -> None:
        self._on_bytes = on_bytes
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.get_running_loop().create_future()
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if (sock := transport.get_extra_info("socket")) is not None:
            for level, option, value in KEEPALIVE:
                sock.setsockopt(level, option, value)

    def data_received(self, data: bytes) -> None:
        if not self.lost:
            self._on_bytes(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set_result(None)
        if not self.lost:
            self.lost = True
            self._on_lost(f"connection lost: {exc}" if exc else "connection closed by the other side")

    def write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def rest(self, seconds: float) -> None:
        """Do nothing: a connection delivers in pieces of its own making."""

    def abort(self) -> None:
        """Give the connection up at once; `on_lost` is not called."""
        self.lost = True
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Give the connection up and wait until its socket is closed."""
        self.abort()
        await asyncio.shield(self._gone)


async def connect(host: str, port: int, on_bytes: Callable[[bytes], None], on_lost: Callable[[str], None]) -> Stream:
    """Open a connection within 3 s, look-up of the name included; raises BusDown."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_S):
            _, stream = await loop.create_connection(lambda: Stream(on_bytes, on_lost), host, port)
    except TimeoutError as error:
        raise BusDown(
            Text(
                f"连不上 {host} 端口 {port}：{CONNECT_S:g} 秒内没有应答",
                f"cannot reach {host} port {port}: no answer within {CONNECT_S:g} s",
            )
        ) from error
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that is no name
        zh = of_system(error).zh if isinstance(error, OSError) else "不是主机名"
        raise BusDown(Text(f"连不上 {host} 端口 {port}：{zh}", f"cannot reach {host} port {port}: {error}")) from error
    return stream
