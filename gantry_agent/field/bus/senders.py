"""Who of a site stands at the address that a datagram nobody asked for comes from.

Names are looked up when this begins, and again, at most once a minute, when somebody sends whom nobody knows: a device
whose name got another address, or a stranger, who is told of once. What was sent is not known here.
"""

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

log = logging.getLogger(__name__)

LOOK_UP_S: Final = 60.0
RESOLVE_S: Final = 5.0
STRANGERS_KEPT: Final = 64


class Senders:
    """The buses by the addresses of their hosts; `found` is called for each bus that turns out to have sent."""

    def __init__(self, what: str, hosts: Mapping[str, str], found: Callable[[str], None]) -> None:
        self._what = what  # is sent; in the plural, for the log
        self._hosts = hosts  # by bus
        self._found = found
        self._addresses: dict[str, frozenset[str]] = {}  # by bus
        self._buses: dict[str, list[str]] = {}  # by address
        self._strangers: set[str] = set()  # since the latest look-up
        self._told: set[str] = set()
        self._unknown = asyncio.Event()

    def at(self, sender: str) -> Sequence[str]:
        """Tell which buses stand there; none is a stranger, as far as is known now."""
        address = plain_address(sender)
        buses = self._buses.get(address, ())
        if not buses:
            if len(self._strangers) < STRANGERS_KEPT:
                self._strangers.add(address)
            self._unknown.set()
        return buses

    async def run(self) -> None:
        """Keep what is known of addresses up to date until cancelled."""
        while True:
            await self.look_up()
            looked_up_at = time.monotonic()
            self._unknown.clear()
            await self._unknown.wait()
            await asyncio.sleep(max(0.0, looked_up_at + LOOK_UP_S - time.monotonic()))

    async def look_up(self) -> None:
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
                self._found(bus)
            if address not in buses and address not in self._told and len(self._told) < STRANGERS_KEPT:
                self._told.add(address)
                log.warning("%s come from %s, which is no host of this site; they are ignored", self._what, address)


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
