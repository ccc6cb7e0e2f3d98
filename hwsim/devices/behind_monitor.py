"""Devices behind a Huawei site monitor, which shows them in its own tables (§1.1, §5.2): the DC air conditioner
of a gantry cabinet, and a lithium battery group.

Not in the public MIB. A DC air conditioner cools by an on and an off temperature, in whole degrees, within limits that
depend on the cooling mode; the battery is the plant's own 48 V string.
"""

from hwsim.devices.image import Effect, Seen
from hwsim.devices.oids import Cell, Declined, SnmpProduct, gauge, integer, number, within
from hwsim.plant.orders import Change
from hwsim.plant.state import AirConditioner

B = "1.3.6.1.4.1.2011.6.164.1"
UNIT, MODE_OBJECT = f"{B}.10.2.2.1", f"{B}.10.1.3.0"
MODE, SMART = 1, 3  # latch; cooling modes are 1 fans, 2 air conditioner, 3 both
GROUP = f"{B}.17.1.1"
GROUP_ROW = 96
CHARGE_STATES = {"float": 1, "boost": 2, "discharge": 3}
RUNNING_STATES = {"float": 3, "boost": 4, "discharge": 5}


def _air(seen: Seen) -> AirConditioner:
    return seen.plant.air[seen.instance]


def _address(seen: Seen) -> int:
    return int(seen.parameters.get("address", 21))


def _row(seen: Seen) -> int:
    return 100 - _address(seen)  # each unit of the monitor its own, the one with the higher address first


def _aircon(seen: Seen) -> dict[str, Cell]:
    unit, row = _air(seen), _row(seen)
    columns = {
        1: gauge(row),
        2: gauge(20980 + _address(seen)),
        6: integer(2 if unit.fan or unit.compressor else 1),
        7: integer(3 if unit.fault else 2 if unit.compressor else 1),
        8: integer(2100 if unit.fan else 0),
        9: integer(1800 if unit.compressor else 0),
        13: integer(seen.plant.climate.inside_c),
        14: integer(unit.cool_on_c),
        15: integer(unit.cool_on_c - unit.cool_band_c),
        21: integer(_address(seen)),
    }
    table = {f"{UNIT}.{column}.{row}": cell for column, cell in columns.items()}
    return table | {MODE_OBJECT: integer(seen.memory.get(MODE, 2))}


def _set_aircon(seen: Seen, oid: str, cell: Cell) -> Effect:
    if oid == MODE_OBJECT:
        return Effect(memory={MODE: within(cell, 1, 2, 3)})
    smart, unit, row = seen.memory.get(MODE) == SMART, _air(seen), _row(seen)
    if cell.kind != "integer":
        raise Declined("wrongType")
    on, off = unit.cool_on_c, unit.cool_on_c - unit.cool_band_c
    if oid == f"{UNIT}.14.{row}":
        on, low, high = float(number(cell)), 38 if smart else 35, 50
        wanted = on
    elif oid == f"{UNIT}.15.{row}":
        off, low, high = float(number(cell)), 33 if smart else 27, 45
        wanted = off
    else:
        raise Declined("notWritable")
    if not low <= wanted <= high or off >= on:
        raise Declined("wrongValue")
    return Effect(orders=(Change("air", (("cool_on_c", on), ("cool_band_c", on - off)), seen.instance),))


def _lithium(seen: Seen) -> dict[str, Cell]:
    dc = seen.plant.dc
    battery = dc.battery
    hours = battery.capacity_ah * battery.charge / max(dc.load_a, 0.1)
    columns = {
        4: integer(RUNNING_STATES[battery.mode] if battery.connected and battery.fuse else 2),
        5: integer(dc.bus_v * 10),
        6: integer(battery.current_a * 10),
        7: integer(battery.capacity_ah * 10),
        8: integer(battery.charge * 1000),
        9: integer(battery.temperature_c * 10),
        11: integer(hours * 10),
        12: integer(CHARGE_STATES[battery.mode]),
        13: integer(1000),
    }
    return {f"{GROUP}.{column}.{GROUP_ROW}": cell for column, cell in columns.items()}


DC_AIRCON = SnmpProduct(_aircon, _set_aircon)
LITHIUM = SnmpProduct(_lithium)
