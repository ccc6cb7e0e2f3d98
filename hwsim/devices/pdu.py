"""Switched power strips: APC's (sPDU objects) and Dataprobe's iBoot-PDU (tables §9). An outlet rests on.

A latch per outlet, by its number on the panel; iBoot counts from 0 on the wire.
"""

from collections.abc import Mapping

from hwsim.devices.image import Effect, Seen
from hwsim.devices.oids import Cell, Declined, SnmpProduct, integer, system, text, within

OUTLETS = range(1, 9)
REBOOT_S = 5.0  # off for so long; both makers let it be set
APC_OUTLET = "1.3.6.1.4.1.318.1.1.4.4.2.1.3"
IBOOT = "1.3.6.1.4.1.1418.6"


def _on(seen: Seen, outlet: int) -> bool:
    return bool(seen.memory.get(outlet, 1))


def _switch(outlet: int, *, on: bool, cycle: bool = False) -> Effect:
    later = ((REBOOT_S, outlet, 1),) if cycle else ()
    return Effect(memory={outlet: int(on and not cycle)}, later=later)


def _outlet(oid: str, column: str, first: int) -> int:
    head, _, index = oid.rpartition(".")
    if head != column:
        raise Declined("notWritable")
    return int(index) + 1 - first


def _apc(seen: Seen) -> Mapping[str, Cell]:
    head = system("APC Switched Rack PDU", "1.3.6.1.4.1.318.1.3.4.4", "pdu", seen.plant.t + 3600.0)
    return head | {f"{APC_OUTLET}.{k}": integer(1 if _on(seen, k) else 2) for k in OUTLETS}


def _set_apc(_seen: Seen, oid: str, cell: Cell) -> Effect:
    """1 on, 2 off, 3 reboot."""
    outlet, word = _outlet(oid, APC_OUTLET, 1), within(cell, 1, 2, 3)
    return _switch(outlet, on=word == 1, cycle=word == 3)


def _iboot(seen: Seen) -> Mapping[str, Cell]:
    cells = {f"{IBOOT}.1.4.0": text("iBoot-PDU8")}
    for k in OUTLETS:
        state = integer(_on(seen, k))
        cells |= {f"{IBOOT}.5.1.{column}.{k - 1}": state for column in (5, 6, 7)}
        cells |= {f"{IBOOT}.5.1.2.{k - 1}": text(f"outlet {k}"), f"{IBOOT}.5.1.4.{k - 1}": integer(REBOOT_S)}
    return system("iBoot-PDU", IBOOT, "pdu", seen.plant.t + 3600.0) | cells


def _set_iboot(_seen: Seen, oid: str, cell: Cell) -> Effect:
    """0 off, 1 on, 2 cycle."""
    outlet, word = _outlet(oid, f"{IBOOT}.5.1.5", 0), within(cell, 0, 1, 2)
    return _switch(outlet, on=word == 1, cycle=word == 2)


_RESTING = dict.fromkeys(OUTLETS, 1)
APC_PDU = SnmpProduct(_apc, _set_apc, resting=_RESTING)
IBOOT_PDU = SnmpProduct(_iboot, _set_iboot, resting=_RESTING)
