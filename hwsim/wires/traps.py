"""What an SNMP agent sends by itself: a trap when an alarm of one of its devices comes or goes.

Sent from the agent's own address, by which a receiver knows it. The bytes are pysnmp's; which alarms there are is the
products' (`devices`). A v3 agent sends v2c here: what a receiver may believe is in both cases the sender's address.
"""

import asyncio
import socket
from collections.abc import Sequence

from pyasn1.codec.ber import encoder
from pysnmp.proto import api

from hwsim.devices.oids import Alarm
from hwsim.site import DeviceSpec
from hwsim.wires import listener
from hwsim.world import TICK_S, World

ENTERPRISE_SPECIFIC = 6
SILENT_FAULTS = frozenset({"silent"})


class TrapSender:
    """Watches the devices of one agent."""

    def __init__(self, world: World, specs: Sequence[DeviceSpec], source: str, community: str, *, v1: bool) -> None:
        self._world, self._specs = world, specs
        self._source, self._community, self._v1 = source, community, v1
        self._active: dict[str, frozenset[Alarm]] = {}
        self._version = -1

    async def run(self, to: tuple[str, int]) -> None:
        """Send until cancelled. What is active at the start is not news."""
        sock = listener.bound(socket.SOCK_DGRAM, self._source, 0)
        try:
            self._changes()
            while True:
                await asyncio.sleep(TICK_S)
                for trap in self._changes():
                    try:
                        sock.sendto(self._encode(trap), to)
                    except OSError:  # nobody listens, or another family of addresses; a trap is sent once
                        continue
        finally:
            sock.close()

    def _changes(self) -> list[str]:
        """The notifications that are due, as OIDs."""
        if self._version == self._world.version:
            return []
        self._version = self._world.version
        due: list[str] = []
        for spec in self._specs:
            active = self._world.snmp(spec).alarms(self._world.seen(spec))
            before = self._active.get(spec.key, active)
            self._active[spec.key] = active
            fault = self._world.faults.of(spec.key)
            if fault is None or fault.kind not in SILENT_FAULTS:
                due += [alarm.raised for alarm in sorted(active - before)]
                due += [alarm.cleared for alarm in sorted(before - active)]
        return due

    def _encode(self, trap: str) -> bytes:
        ticks = int(self._world.elapsed_s * 100) % 2**32
        protocol = api.PROTOCOL_MODULES[api.SNMP_VERSION_1 if self._v1 else api.SNMP_VERSION_2C]
        pdu, calls = protocol.TrapPDU(), protocol.apiTrapPDU
        calls.set_defaults(pdu)
        if self._v1:
            enterprise, _, specific = trap.rpartition(".")
            calls.set_enterprise(pdu, enterprise.removesuffix(".0"))
            calls.set_generic_trap(pdu, ENTERPRISE_SPECIFIC)
            calls.set_specific_trap(pdu, int(specific))
            calls.set_timestamp(pdu, ticks)
        else:
            oid = protocol.ObjectIdentifier(trap)
            calls.set_varbinds(pdu, [(calls.sysUpTime, protocol.TimeTicks(ticks)), (calls.snmpTrapOID, oid)])
        message = protocol.Message()
        protocol.apiMessage.set_defaults(message)
        protocol.apiMessage.set_community(message, self._community)
        protocol.apiMessage.set_pdu(message, pdu)
        return bytes(encoder.encode(message))
