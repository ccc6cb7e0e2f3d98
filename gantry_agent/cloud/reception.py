"""Who may hold a connection to the control port, and who makes room: the port must answer through any crowd.

A connection that has not yet sent a whole request costs its sender nothing, so there is no right to keep one: when the
port is full, the address that holds most gives up its oldest. Strangers to the allow-list are only to be told 1001
(D2); a few at a time are, the others are cut off before anything is spent on them, a TLS handshake included. What is
said over a connection is aiohttp's; `Guests` decides, `Reception` accepts.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

log = logging.getLogger(__name__)

CONNECTIONS: Final = 64  # a cloud needs one or two; each costs some 50 kB
OF_ONE_ADDRESS: Final = 8  # idle ones, once they have had the time to send a request
STRANGERS: Final = 4
SETTLE_S: Final = 1.0  # a burst of requests needs its connections for less
BACKLOG: Final = 1024  # the kernel holds a crowd until it is turned away
PAUSE_S: Final = 0.2  # when the process has no file left for a connection

Leave = Callable[[], None]


@dataclass(eq=False, slots=True)
class Guest:
    """One connection; `since` is when it became idle, monotonic. One whose request is being answered is `busy`."""

    address: str
    stranger: bool
    since: float
    leave: Leave
    busy: bool = False


@dataclass(eq=False, slots=True)
class Guests:
    """The connections there are; those longest idle come first."""

    _present: dict[Guest, None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._present)

    def admit(self, address: str, now: float, leave: Leave, *, stranger: bool = False) -> Guest | None:
        """Let one in, perhaps in another's place, who is told to leave; None if there is no place."""
        if stranger and sum(guest.stranger for guest in self._present) >= STRANGERS:
            return None
        own = [guest for guest in self._idle() if guest.address == address]
        for guest in own[: max(0, len(own) + 1 - OF_ONE_ADDRESS)]:
            if now - guest.since >= SETTLE_S:
                self._send_away(guest)
        if len(self._present) >= CONNECTIONS and not self._make_room():
            return None
        guest = Guest(address, stranger, now, leave)
        self._present[guest] = None
        return guest

    def begin(self, guest: Guest) -> None:
        """Note that a whole request has come: nobody takes this place until it is answered."""
        guest.busy = True

    def end(self, guest: Guest, now: float) -> None:
        guest.busy, guest.since = False, now
        if guest in self._present:
            del self._present[guest]
            self._present[guest] = None

    def gone(self, guest: Guest) -> None:
        self._present.pop(guest, None)

    def _idle(self) -> list[Guest]:
        return [guest for guest in self._present if not guest.busy]

    def _make_room(self) -> bool:
        idle = self._idle()
        if not idle:
            return False
        held = Counter(guest.address for guest in idle)
        most = max(held.values())
        self._send_away(next(guest for guest in idle if held[guest.address] == most))
        return True

    def _send_away(self, guest: Guest) -> None:
        self.gone(guest)
        guest.leave()


class Reception:
    """Accepts connections for `made`, a maker of protocols, while `accept` runs."""

    def __init__(
        self,
        made: Callable[[], asyncio.Protocol],
        allowed: Callable[[str], bool],
        tls: ssl.SSLContext | None,
        handshake_s: float,
    ) -> None:
        self._made = made
        self._allowed = allowed
        self._tls = tls
        self._handshake_s = None if tls is None else handshake_s
        self._guests = Guests()
        self._of: dict[asyncio.BaseProtocol, Guest] = {}

    async def accept(self, listening: socket.socket, tasks: asyncio.TaskGroup) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, place = await loop.sock_accept(listening)
            except OSError as fault:
                log.debug("cannot accept a connection: %s", fault)
                await asyncio.sleep(PAUSE_S)
                continue
            self._receive(connection, str(place[0]), tasks)
            await asyncio.sleep(0)  # a crowd at the door must not keep those inside waiting

    @contextlib.contextmanager
    def busy(self, handler: asyncio.BaseProtocol) -> Iterator[None]:
        """Keep a connection's place while its request is answered; `handler` is what `made` gave for it."""
        guest = self._of.get(handler)
        if guest is None:  # it has just gone
            yield
            return
        self._guests.begin(guest)
        try:
            yield
        finally:
            self._guests.end(guest, asyncio.get_running_loop().time())

    def _receive(self, connection: socket.socket, address: str, tasks: asyncio.TaskGroup) -> None:
        connection.setblocking(False)
        visit = _Visit(connection, self._made, self._left)
        now = asyncio.get_running_loop().time()
        guest = self._guests.admit(address, now, visit.leave, stranger=not self._allowed(address))
        if guest is None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            return
        self._of[visit.handler] = guest
        bringing = tasks.create_task(self._bring_up(visit, address), name=f"connection of {address}")
        bringing.add_done_callback(lambda _: visit.give_up())

    async def _bring_up(self, visit: "_Visit", address: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: visit, visit.connection, ssl=self._tls, ssl_handshake_timeout=self._handshake_s
            )
        except OSError as fault:  # also a TLS fault, and a handshake that takes too long
            log.debug("no connection with %s: %s", address, fault)

    def _left(self, handler: asyncio.BaseProtocol) -> None:
        guest = self._of.pop(handler, None)
        if guest is not None:
            self._guests.gone(guest)


class _Visit(asyncio.Protocol):
    """A connection from its acceptance to its end; in between, all is passed to the protocol `handler`."""

    def __init__(
        self,
        connection: socket.socket,
        made: Callable[[], asyncio.Protocol],
        left: Callable[[asyncio.BaseProtocol], None],
    ) -> None:
        self.connection = connection
        self.handler = made()
        self._left = left
        self._transport: asyncio.Transport | None = None
        self._unwanted = False

    def leave(self) -> None:
        self._unwanted = True
        if self._transport is not None:
            self._transport.abort()
        else:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)  # ends a handshake

    def give_up(self) -> None:
        """Clean up if no connection came of it."""
        if self._transport is None:
            self.connection.close()
            self._left(self.handler)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.handler.connection_made(transport)
        if self._unwanted:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._left(self.handler)
            self.handler.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.handler.data_received(data)

    def eof_received(self) -> bool | None:
        return self.handler.eof_received()

    def pause_writing(self) -> None:
        self.handler.pause_writing()

    def resume_writing(self) -> None:
        self.handler.resume_writing()
