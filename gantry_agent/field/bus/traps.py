"""Receives SNMP traps and informs, and takes from them one thing only: who has news.

A notification is a hint to poll its sender now; no value is ever taken from it. So whoever forges one, which takes no
skill with UDP, can cost a poll and nothing else, and how many polls is the poller's to limit. That is also why the
community is not compared (agents have one of their own for traps, it travels in clear text) and why a v3 notification
counts by its source address alone: to decipher it would cost milliseconds for each forged one and add no trust that is
needed here. v2c informs are acknowledged, to hosts that are configured. A v3 inform is not: its sender would have to
know this agent's engine id, users and clock; it sends the same inform again a few times, which is a hint each time.

Not known here: devices, profiles, what an alarm means.
"""

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Iterable
from typing import cast

from gantry_agent.field.framing import ber
from gantry_agent.model import AgentError, BadReply, Bus

log = logging.getLogger(__name__)

KINDS = frozenset({"snmp", "modbus-tcp"})  # what is behind one address; Moxa's ioLogik sends traps beside its Modbus
LOOK_UP_S = 60.0  # a sender that nobody knows may be one whose name got another address: looked up at most so often
RESOLVE_S = 5.0
STRANGERS_KEPT = 64


class TrapsFailed(AgentError):
    """The port cannot be had."""


class Traps:
    """Listens on one port; `hint` is called with the name of each bus that stands at a sender's address."""

    def __init__(self, listen: str, buses: Iterable[Bus], hint: Callable[[str], None]) -> None:
        host, _, port = listen.rpartition(":")
        self._listen = (host.strip("[]"), int(port))
        self._hint = hint
        self._hosts = {bus.name: str(bus.settings["host"]) for bus in buses if bus.kind in KINDS}
        self._addresses: dict[str, frozenset[str]] = {}  # by bus
        self._buses: dict[str, list[str]] = {}  # by address
        self._strangers: set[str] = set()  # since the latest look-up
        self._told: set[str] = set()
        self._unknown = asyncio.Event()
        self.received = self.unreadable = 0

    async def run(self) -> None:
        """Listen until cancelled. Raises TrapsFailed when the port cannot be had."""
        loop = asyncio.get_running_loop()
        host, port = self._listen
        try:
            transport, protocol = await loop.create_datagram_endpoint(
                lambda: _Receiver(self), local_addr=(host, port), reuse_port=False
            )
        except OSError as error:
            raise TrapsFailed(f"cannot listen for traps on {host} port {port}: {error.strerror}") from error
        log.info("listening for traps on %s port %d", host, port)
        try:
            while True:
                await self._look_up()
                looked_up_at = time.monotonic()
                self._unknown.clear()
                await self._unknown.wait()
                await asyncio.sleep(max(0.0, looked_up_at + LOOK_UP_S - time.monotonic()))
        finally:
            transport.abort()
            await asyncio.shield(protocol.gone)

    def absorb(self, data: bytes, sender: str) -> bytes | None:
        """Take a datagram and give the answer to it, if it wants one."""
        address = plain_address(sender)
        buses = self._buses.get(address)
        if buses is None:
            if len(self._strangers) < STRANGERS_KEPT:
                self._strangers.add(address)
            self._unknown.set()
            return None
        try:
            notification = ber.decode_notification(data)
        except BadReply as error:
            self.unreadable += 1
            log.debug("cannot use a datagram of %s: %s", address, error)
            return None
        self.received += 1
        log.debug("%s notifies of %s", address, notification.what or "something sealed")
        for bus in buses:
            self._hint(bus)
        return notification.reply

    async def _look_up(self) -> None:
        """Find out anew who is at which address; a name that cannot be resolved now keeps what it had."""
        for name, host in self._hosts.items():
            if found := await resolve(host):
                self._addresses[name] = found
        buses: dict[str, list[str]] = {}
        for name, addresses in self._addresses.items():
            for address in addresses:
                buses.setdefault(address, []).append(name)
        self._buses = buses
        strangers, self._strangers = self._strangers, set()
        for address in strangers:
            for bus in buses.get(address, ()):
                self._hint(bus)
            if address not in buses and address not in self._told and len(self._told) < STRANGERS_KEPT:
                self._told.add(address)
                log.warning("traps come from %s, which is no host of this site; they are ignored", address)


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, owner: Traps) -> None:
        self._owner = owner
        self._transport: asyncio.DatagramTransport | None = None
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # by its methods; asyncio's own is no subclass

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._owner.absorb(data, addr[0])
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)

    def error_received(self, exc: Exception) -> None:
        log.debug("cannot acknowledge an inform: %s", exc)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.gone.set_result(None)


def plain_address(text: str) -> str:
    """Write an address in one form: without zone, and an IPv4 one as such whatever socket it came by."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


async def resolve(host: str) -> frozenset[str]:
    """Find the addresses of a host; none when the name cannot be resolved now."""
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):  # TimeoutError is an OSError
        return frozenset()
    return frozenset(plain_address(str(entry[4][0])) for entry in found)
