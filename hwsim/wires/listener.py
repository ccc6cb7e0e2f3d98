"""Opening a listening socket, with a message that a person can act on when the port is taken."""

import asyncio
import socket
from collections.abc import Callable

from hwsim.terminal import Complaint, not_listening

# Not a coroutine: the tasks that asyncio would start itself complain when they are cancelled (CPython 3.11).
Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


class WireFault(Complaint):
    """A wire cannot be put up."""


def unheard(host: str, port: int, error: OSError, whose_zh: str = "", whose: str = "") -> WireFault:
    """The fault of an address that cannot be listened on; `whose` it is to be."""
    said = not_listening(host, port, error)
    return WireFault(f"{said.zh}{whose_zh}", f"{said.en}{whose}")


def bound(kind: socket.SocketKind, host: str, port: int) -> socket.socket:
    """A bound socket, or a `WireFault` that says which address and why not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, kind)
    sock.setblocking(False)
    if kind == socket.SOCK_STREAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise unheard(host, port, error) from error
    return sock


async def start(client: Client, host: str, port: int) -> asyncio.Server:
    sock = bound(socket.SOCK_STREAM, host, port)
    try:
        return await asyncio.start_server(client, sock=sock)
    except OSError as error:  # another listener with the same option, found only by listen()
        sock.close()
        raise unheard(host, port, error) from error
