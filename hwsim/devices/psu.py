"""A DC power system that speaks YD/T 1363.3 (tables §1.6): AC input, rectifiers, battery and fuses of the plant's bus.

Answers as a PSM-A gives them: DATAFLAG first, its own values of a module are °C, limit %, V and protection V, its own
alarms protection, fan, hot and communication. Where the table leaves the shape open, DC answers count screens as AC
ones do. The codes of remote control are inferred there, and here.
"""

import struct
from collections.abc import Callable, Iterable

from hwsim.devices.image import Effect, Seen
from hwsim.devices.spoken import INVALID_DATA, UNKNOWN_CID2, WRONG_FORMAT, Spoken, YdtProduct
from hwsim.plant.orders import BatteryTesting, Change, Order
from hwsim.plant.power import ready_modules, supplied_a

DATAFLAG = b"\x00"
HIGH_V, LOW_V, LOST_V = 280.0, 180.0, 30.0
HIGH_HZ, LOW_HZ = 52.0, 48.0
DC_HIGH_V, DC_LOW_V = 58.0, 45.0
LIMIT_PERCENT, PROTECTION_V = 110.0, 59.0
NORMAL, BELOW, ABOVE, LOST, FUSE = 0, 1, 2, 3, 3
ALL_SCREENS = (0xFF, 0x01)
SWITCH_ON, SWITCH_OFF, BOOST, FLOAT = 0x20, 0x2F, 0x10, 0x1F


def floats(values: Iterable[float]) -> bytes:
    """IEEE 754, low byte first."""
    return b"".join(struct.pack("<f", value) for value in values)


def counted(items: list[bytes]) -> bytes:
    """A byte that counts, then the items."""
    return bytes([len(items)]) + b"".join(items)


def _run(values: Iterable[float]) -> bytes:
    return counted([floats([value]) for value in values])


# --- AC -------------------------------------------------------------------------------------------------------------


def ac_values(seen: Seen) -> bytes:
    plant = seen.plant
    phases = [plant.mains.at(phase) for phase in range(3)]
    hertz = plant.mains.frequency_hz if any(phases) else 0.0
    inputs = counted([floats([*phases, hertz]) + _run([])])
    return counted([inputs + floats(plant.phase_a)])


def ac_switches(_seen: Seen) -> bytes:
    return counted([counted([bytes([0]) + counted([])])])


def ac_alarms(seen: Seen) -> bytes:
    mains = seen.plant.mains
    bytes_ = [_voltage(mains.at(phase)) if phase < mains.phases else NORMAL for phase in range(3)]
    hertz = mains.frequency_hz
    bytes_.append(ABOVE if hertz > HIGH_HZ else BELOW if hertz < LOW_HZ else NORMAL)
    switches, own = counted([bytes([NORMAL])]), counted([])
    inputs = counted([bytes(bytes_) + switches + own])
    return counted([inputs + bytes([NORMAL, NORMAL, NORMAL])])


def _voltage(volts: float) -> int:
    if volts < LOST_V:
        return LOST
    return ABOVE if volts > HIGH_V else BELOW if volts < LOW_V else NORMAL


# --- rectifiers -----------------------------------------------------------------------------------------------------


def module_values(seen: Seen) -> bytes:
    dc = seen.plant.dc
    modules = [
        floats([module.current_a]) + _run([module.temperature_c, LIMIT_PERCENT, dc.bus_v, PROTECTION_V])
        for module in dc.modules
    ]
    return floats([dc.bus_v]) + counted(modules)


def module_states(seen: Seen) -> bytes:
    """0 on 1 off; 0 limiting 1 not; 0 float 1 boost 2 test 3 AC off."""
    dc, mains = seen.plant.dc, seen.plant.mains
    battery = dc.battery
    mode = 3 if not any(mains.good) else 2 if battery.test else 1 if battery.mode == "boost" else 0
    modules = [
        bytes([0 if dc.enabled and module.on else 1, 0 if battery.limiting else 1, mode]) + counted([])
        for module in dc.modules
    ]
    return counted(modules)


def module_alarms(seen: Seen) -> bytes:
    dc, mains = seen.plant.dc, seen.plant.mains
    ready = ready_modules(dc, mains)
    modules = []
    for k, module in enumerate(dc.modules):
        link = 1 if not mains.good[k % len(mains.good)] else 0  # without input it has no life to answer with
        own = [0, 0, 1 if module.temperature_c > 75 else 0, link]
        state = 1 if module.fault or (link and not ready[k]) else 0
        modules.append(bytes([state]) + counted([bytes([value]) for value in own]))
    return counted(modules)


# --- DC -------------------------------------------------------------------------------------------------------------


def dc_values(seen: Seen) -> bytes:
    dc = seen.plant.dc
    batteries, branches = _run([dc.battery.current_a]), _run([supplied_a(dc)])
    return counted([floats([dc.bus_v, supplied_a(dc)]) + batteries + branches + _run([])])


def dc_alarms(seen: Seen) -> bytes:
    dc = seen.plant.dc
    volts = ABOVE if dc.bus_v > DC_HIGH_V else BELOW if dc.bus_v < DC_LOW_V else NORMAL
    fuses = counted([bytes([NORMAL if dc.battery.fuse else FUSE])])
    return counted([bytes([volts]) + fuses + counted([])])


# --- commands -------------------------------------------------------------------------------------------------------

ANSWERS: dict[tuple[int, int], Callable[[Seen], bytes]] = {
    (0x40, 0x41): ac_values,
    (0x40, 0x43): ac_switches,
    (0x40, 0x44): ac_alarms,
    (0x41, 0x41): module_values,
    (0x41, 0x43): module_states,
    (0x41, 0x44): module_alarms,
    (0x42, 0x41): dc_values,
    (0x42, 0x44): dc_alarms,
}
CONTROL = (0x41, 0x45)


def answer(seen: Seen, cid1: int, cid2: int, info: bytes) -> Spoken:
    if (cid1, cid2) == CONTROL:
        return _control(seen, info)
    gives = ANSWERS.get((cid1, cid2))
    if gives is None:
        return Spoken(b"", code=UNKNOWN_CID2)
    if len(info) > 1:
        return Spoken(b"", code=WRONG_FORMAT)
    if info and info[0] not in ALL_SCREENS:
        return Spoken(b"", code=INVALID_DATA)
    return Spoken((DATAFLAG if seen.parameters.get("data_flag", 1) else b"") + gives(seen))


def _control(seen: Seen, info: bytes) -> Spoken:
    if len(info) != 2:
        return Spoken(b"", code=WRONG_FORMAT)
    what, module = info
    orders: tuple[Order, ...]
    if what in (SWITCH_ON, SWITCH_OFF) and 1 <= module <= len(seen.plant.dc.modules):
        orders = (Change("module", (("on", what == SWITCH_ON),), module - 1),)
    elif what in (BOOST, FLOAT):
        orders = (Change("battery", (("mode", "boost" if what == BOOST else "float"),)), BatteryTesting("stop"))
    else:
        return Spoken(b"", code=INVALID_DATA)
    return Spoken(b"", Effect(orders=orders))


PSU = YdtProduct(answer, tuple(ANSWERS))
