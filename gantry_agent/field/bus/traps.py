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
import logging
from collections.abc import Callable, Iterable
from typing import cast

from gantry_agent.field.bus.senders import Senders
from gantry_agent.field.framing import ber
from gantry_agent.model import AgentError, BadReply, Bus

log = logging.getLogger(__name__)

KINDS = frozenset({"snmp", "modbus-tcp"})  # what is behind one address; Moxa's ioLogik sends traps beside its Modbus


class TrapsFailed(AgentError):
    """The port cannot be had."""


class Traps:
    """Listens on one port; `hint` is called with the name of each bus that stands at a sender's address."""

    def __init__(self, listen: str, buses: Iterable[Bus], hint: Callable[[str], None]) -> None:
        host, _, port = listen.rpartition(":")
        self._listen = (host.strip("[]"), int(port))
        self._hint = hint
        hosts = {bus.name: str(bus.settings["host"]) for bus in buses if bus.kind in KINDS}
        self._senders = Senders("traps", hosts, hint)
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
            await self._senders.run()
        finally:
            transport.abort()
            await asyncio.shield(protocol.gone)

    def absorb(self, data: bytes, sender: str) -> bytes | None:
        """Take a datagram and give the answer to it, if it wants one."""
        buses = self._senders.at(sender)
        if not buses:
            return None
        try:
            notification = ber.decode_notification(data)
        except BadReply as error:
            self.unreadable += 1
            log.debug("cannot use a datagram of %s: %s", sender, error)
            return None
        self.received += 1
        log.debug("%s notifies of %s", sender, notification.what or "something sealed")
        for bus in buses:
            self._hint(bus)
        return notification.reply


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
