"""Switched power strips and relay modules over SNMP (tables §9), each of which can time a cut, or a pulse, by itself.

APC's sPDU objects and Dataprobe's iBoot-PDU: an outlet rests on, a cycle takes it off for its time. Papouch's Quido and
Teracom's TCW241: a relay rests off, a pulse puts it on. A latch per outlet, by its number on the panel; iBoot counts
from 0 on the wire. How long is a latch too, in the steps of its maker, 100 above.
"""

from collections.abc import Mapping

from hwsim.devices.image import Effect, Seen
from hwsim.devices.oids import Cell, Declined, SnmpProduct, integer, number, system, text, within

OUTLETS = range(1, 9)
RELAYS = range(1, 5)
LENGTH = 100  # the latch of how long, above that of the outlet
APC = "1.3.6.1.4.1.318.1.1.4"
APC_OUTLET, APC_REBOOT = f"{APC}.4.2.1.3", f"{APC}.5.2.1.5"  # sPDUOutletCtl, sPDUOutletRebootDuration
APC_TIMES = (5, 10, 15, 20, 30, 45, 60)  # PowerNet-MIB: any other is taken as the next lower one
IBOOT = "1.3.6.1.4.1.1418.6"
QUIDO = "1.3.6.1.4.1.18248.16"
QUIDO_STEP_S = 0.5
TCW241 = "1.3.6.1.4.1.38783.3"
TCW241_STEP_S = 0.1


def _on(seen: Seen, outlet: int, rest: int = 1) -> bool:
    return bool(seen.memory.get(outlet, rest))


def _switch(outlet: int, *, on: bool) -> Effect:
    return Effect(memory={outlet: int(on)})


def _for_a_time(outlet: int, seconds: float, *, on: bool) -> Effect:
    return Effect(memory={outlet: int(on)}, later=((seconds, outlet, int(not on)),))


def _index(oid: str, column: str) -> int | None:
    head, _, index = oid.rpartition(".")
    return int(index) if head == column else None


# --- strips -----------------------------------------------------------------------------------------------------------


def _apc(seen: Seen) -> Mapping[str, Cell]:
    head = system("APC Switched Rack PDU", "1.3.6.1.4.1.318.1.3.4.4", "pdu", seen.plant.t + 3600.0)
    outlets = {f"{APC_OUTLET}.{k}": integer(1 if _on(seen, k) else 2) for k in OUTLETS}
    return head | outlets | {f"{APC_REBOOT}.{k}": integer(seen.memory.get(LENGTH + k, 5)) for k in OUTLETS}


def _set_apc(seen: Seen, oid: str, cell: Cell) -> Effect:
    """1 on, 2 off, 3 reboot."""
    if (outlet := _index(oid, APC_REBOOT)) is not None:
        wanted = number(cell)
        return Effect(memory={LENGTH + outlet: max((one for one in APC_TIMES if one <= wanted), default=APC_TIMES[0])})
    if (outlet := _index(oid, APC_OUTLET)) is None:
        raise Declined("notWritable")
    word = within(cell, 1, 2, 3)
    if word == 3:
        return _for_a_time(outlet, seen.memory.get(LENGTH + outlet, 5), on=False)
    return _switch(outlet, on=word == 1)


def _iboot(seen: Seen) -> Mapping[str, Cell]:
    cells = {f"{IBOOT}.1.4.0": text("iBoot-PDU8")}
    for k in OUTLETS:
        state, length = integer(_on(seen, k)), integer(seen.memory.get(LENGTH + k, 10))
        cells |= {f"{IBOOT}.5.1.{column}.{k - 1}": state for column in (5, 6, 7)}
        cells |= {f"{IBOOT}.5.1.2.{k - 1}": text(f"outlet {k}"), f"{IBOOT}.5.1.4.{k - 1}": length}
    return system("iBoot-PDU", IBOOT, "pdu", seen.plant.t + 3600.0) | cells


def _set_iboot(seen: Seen, oid: str, cell: Cell) -> Effect:
    """0 off, 1 on, 2 cycle."""
    if (index := _index(oid, f"{IBOOT}.5.1.4")) is not None:
        return Effect(memory={LENGTH + index + 1: number(cell)})
    if (index := _index(oid, f"{IBOOT}.5.1.5")) is None:
        raise Declined("notWritable")
    word = within(cell, 0, 1, 2)
    if word == 2:
        return _for_a_time(index + 1, seen.memory.get(LENGTH + index + 1, 10), on=False)
    return _switch(index + 1, on=word == 1)


# --- relay modules ----------------------------------------------------------------------------------------------------


def _quido(seen: Seen) -> Mapping[str, Cell]:
    head = system("Quido ETH 8/8", QUIDO, "quido", seen.plant.t + 3600.0) | {f"{QUIDO}.1.1.0": integer(231)}
    wired = tuple(seen.inputs[:8]) + (False,) * (8 - len(seen.inputs[:8]))
    head |= {f"{QUIDO}.2.1.1.1.{k}": integer(wired[k - 1]) for k in OUTLETS}
    head |= {f"{QUIDO}.3.1.1.1.{k}": integer(_on(seen, k, 0)) for k in OUTLETS}
    return head | {f"{QUIDO}.3.1.1.3.{k}": integer(0) for k in OUTLETS}


def _set_quido(_seen: Seen, oid: str, cell: Cell) -> Effect:
    """0 off, 1 on; in the third column, on for so many half seconds."""
    if (relay := _index(oid, f"{QUIDO}.3.1.1.3")) is not None:
        steps = within(cell, *range(256))
        return _for_a_time(relay, steps * QUIDO_STEP_S, on=True) if steps else Effect()
    if (relay := _index(oid, f"{QUIDO}.3.1.1.1")) is None:
        raise Declined("notWritable")
    return _switch(relay, on=within(cell, 0, 1) == 1)


def _tcw241(seen: Seen) -> Mapping[str, Cell]:
    cells = {f"{TCW241}.1.1.0": text("TCW241"), f"{TCW241}.3.7.0": integer(0)}
    for k in RELAYS:
        cells |= {f"{TCW241}.3.3.{k}.0": integer(1), f"{TCW241}.3.4.{k}.1.0": integer(_on(seen, k, 0))}
        cells |= {f"{TCW241}.3.4.{k}.2.0": integer(0)}
        cells |= {f"{TCW241}.2.2.4.{k}.2.0": integer(seen.memory.get(LENGTH + k, 10 * k))}
    return system("TCW241", TCW241, "tcw241", seen.plant.t + 3600.0) | cells


def _set_tcw241(seen: Seen, oid: str, cell: Cell) -> Effect:
    """0 off, 1 on; 1 in the second object begins a pulse, whose width is set up elsewhere."""
    for k in RELAYS:
        if oid == f"{TCW241}.3.4.{k}.1.0":
            return _switch(k, on=within(cell, 0, 1) == 1)
        if oid == f"{TCW241}.3.4.{k}.2.0":
            width_s = seen.memory.get(LENGTH + k, 10 * k) * TCW241_STEP_S
            return _for_a_time(k, width_s, on=True) if within(cell, 0, 1) else Effect()
        if oid == f"{TCW241}.2.2.4.{k}.2.0":
            return Effect(memory={LENGTH + k: within(cell, *range(1, 65536))})
    raise Declined("notWritable")


_RESTING = dict.fromkeys(OUTLETS, 1)
APC_PDU = SnmpProduct(_apc, _set_apc, resting=_RESTING)
IBOOT_PDU = SnmpProduct(_iboot, _set_iboot, resting=_RESTING)
QUIDO_MODULE = SnmpProduct(_quido, _set_quido)
TCW241_MODULE = SnmpProduct(_tcw241, _set_tcw241)
