"""Receives what door controllers push to their listener, and takes from it one thing only: which one has news.

A pushed event is the packet of a status, without a question, a secret or a checksum: whoever is on the network can make
one in a controller's name. So it is a hint to ask that controller now, as a trap is (`traps`), and a door, a card or a
swipe comes from its own answer alone. Whoever forges pushes can cost polls, and how many is the poller's to limit;
reading them is bounded here: what comes faster waits in the kernel's small buffer or is lost in it, and polling goes on
as without pushes.

A packet counts when it has the length, the mark and the function of a push, and names a controller that is configured
on a bus whose host sent it. From which port is not looked at: controllers differ in that.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gantry_agent.field.bus.senders import STRANGERS_KEPT, Senders
from gantry_agent.field.framing import uhppote
from gantry_agent.model import AgentError

log = logging.getLogger(__name__)

MOST: Final = 50  # taken in a row, and then no more before so many seconds have passed
PER_S: Final = 0.25
BUFFER_BYTES: Final = 32 * 1024  # some dozens: older ones would be no news any more

Push = Callable[[str, bytes], None]  # a device, and the packet as it came


class PushesFailed(AgentError):
    """The port cannot be had."""


class Pushes:
    """Listens on one port for the controllers of `boards`: the devices by bus and serial number.

    `hosts` are those of the buses; `found` is called with a bus whose address turns out to have changed.
    """

    def __init__(
        self,
        listen: str,
        hosts: Mapping[str, str],
        boards: Mapping[tuple[str, int], Sequence[str]],
        push: Push,
        found: Callable[[str], None],
    ) -> None:
        host, _, port = listen.rpartition(":")
        self.listen = listen
        self._address = (host.strip("[]"), int(port))
        self._boards, self._push = boards, push
        self._senders = Senders("events of door controllers", hosts, found)
        self._heard: set[int] = set()  # serial numbers that were told of
        self.received = self.unreadable = 0

    async def run(self) -> None:
        """Listen until cancelled. Raises PushesFailed when the port cannot be had."""
        sock = await self._bound()
        log.info("listening for events of door controllers on %s port %d", *self._address)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._senders.run(), name=f"addresses for {self.listen}")
                await self._receive(sock)
        finally:
            sock.close()

    async def _bound(self) -> socket.socket:
        host, port = self._address
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, address = found[0]
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
                sock.bind(address)
            except OSError:
                sock.close()
                raise
        except (OSError, UnicodeError) as error:
            said = getattr(error, "strerror", None) or error
            raise PushesFailed(f"cannot listen for door controllers on {host} port {port}: {said}") from error
        return sock

    async def _receive(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        began, taken = loop.time(), 0
        while True:
            data, sender = await loop.sock_recvfrom(sock, uhppote.SIZE + 1)  # a longer one is cut, and still too long
            self.absorb(data, str(sender[0]))
            taken += 1
            if taken >= MOST:  # a socket that is full never waits: without this nobody else would have a turn
                await asyncio.sleep(max(0.0, began + PER_S - loop.time()))
                began, taken = loop.time(), 0

    def absorb(self, data: bytes, sender: str) -> None:
        """Take a datagram."""
        buses = self._senders.at(sender)
        if not buses:
            return
        serial = uhppote.pushed_by(data)
        if serial is None:
            self.unreadable += 1
            log.debug("cannot use a datagram of %s: it is no event of a door controller", sender)
            return
        self.received += 1
        devices = [device for bus in buses for device in self._boards.get((bus, serial), ())]
        if serial not in self._heard and len(self._heard) < STRANGERS_KEPT:
            self._heard.add(serial)
            if devices:
                log.info("door controller %s (serial %d) pushes its events", ", ".join(devices), serial)
            else:
                log.warning("events come from controller %d at %s, which the site file does not have", serial, sender)
        for device in devices:
            self._push(device, data)
