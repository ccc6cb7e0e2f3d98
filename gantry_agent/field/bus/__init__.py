"""Buses: one module per kind of medium, all of them a `Link`.

A link asks one question at a time and gives back the answer, or says why there is none: NoReply, BadReply,
DeviceRefused. It opens itself on first use and again after a loss. It knows requests and replies; which points they
hold, when to ask, and how often to try again are the poller's.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from gantry_agent.field.bus.journal import Journal
from gantry_agent.field.request import Reply, Request, Timing
from gantry_agent.model import Bus


class Link(Protocol):
    """One conversation with one medium."""

    @property
    def journal(self) -> Journal:
        """Give what the bus remembers of its conversations; a medium without units counts under 0."""

    def held_s(self, request: Request | None = None) -> float:
        """Tell how long the medium is not ready for this question, or for any: a pause to be kept, answers still owed.

        Another question may be ready sooner, one for the same points too when its answer looks otherwise. Whoever asks
        for a question is taken to wait with it. `transact` waits too, but then nobody can go before it.
        """

    async def transact(self, request: Request, timing: Timing) -> Reply:
        """Ask and give the answer. Raises NoReply (BusDown when nothing could be asked), BadReply or DeviceRefused.

        ValueError is a fault of the caller.
        """

    async def close(self) -> None:
        """Give the medium back; a transaction that waits gets NoReply."""


def _open_line(bus: Bus) -> Link:
    from gantry_agent.field.bus.serial import Line

    return Line(bus)


def _open_modbus_tcp(bus: Bus) -> Link:
    from gantry_agent.field.bus.modbus_tcp import ModbusTcp

    return ModbusTcp(bus)


def _open_snmp(bus: Bus) -> Link:
    from gantry_agent.field.bus.snmp import open_agent

    return open_agent(bus)


def _open_uhppote(bus: Bus) -> Link:
    from gantry_agent.field.bus.uhppote import Controllers

    return Controllers(bus)


def _open_zte_objects(bus: Bus) -> Link:
    from gantry_agent.field.bus.zte import Objects

    return Objects(bus)


def _open_zte_tunnel(bus: Bus) -> Link:
    from gantry_agent.field.bus.zte import Tunnel

    return Tunnel(bus)


def _open_udp(bus: Bus) -> Link:
    from gantry_agent.field.bus.udp import Datagrams

    return Datagrams(bus)


def _open_host(bus: Bus) -> Link:
    from gantry_agent.field.bus.host import Host

    return Host(bus)


# A site pays memory only for the media it has: each module is imported when the first bus of its kind is opened.
KINDS: Mapping[str, Callable[[Bus], Link]] = {
    "serial": _open_line,
    "serial-tcp": _open_line,
    "modbus-tcp": _open_modbus_tcp,
    "snmp": _open_snmp,
    "uhppote": _open_uhppote,
    "udp": _open_udp,
    "zte-http": _open_zte_objects,
    "zte-serial": _open_zte_tunnel,
    "host": _open_host,
}


def open_link(bus: Bus) -> Link:
    """Make the link of a configured bus; nothing is opened before its first transaction."""
    if bus.kind not in KINDS:
        raise ValueError(f"cannot open bus {bus.name}: kind {bus.kind!r} is none of {', '.join(KINDS)}")
    return KINDS[bus.kind](bus)
