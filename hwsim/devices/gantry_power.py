"""What a Huawei site monitor of a gantry shows beyond its power system (tables §1.1): what sheds load, inputs, sensors.

Disconnect units (LVD) and the branches of a distribution unit (PDE) are of the public MIB; smoke, water, door magnets
and the RS485 sensor are of the gantry version only. Rows stand where they please: units are told by their equip ids.
"""

from hwsim.devices.image import Effect, Seen
from hwsim.devices.oids import ABSENT, Cell, Declined, gauge, integer, text, within
from hwsim.plant.orders import Change
from hwsim.plant.power import DISCONNECT_V

NOTHING = 255  # a control that rests, a sensor that is not wired
BATTERY_LVD = 3
LVDS = {7: (1, "LLVD1"), 6: (2, "LLVD2"), 3: (BATTERY_LVD, "BLVD")}  # row → number in the equip id, name
PDE_ROW, BRANCHES = 2, range(1, 5)
SMOKE_ROW, UNWIRED_ROW, WATER_ROW, FRONT_ROW, BACK_ROW, SENSOR_ROW = 5601, 5602, 5701, 5801, 5802, 4101
INPUTS = range(1, 6)


def branch(number: int) -> int:
    """The latch of a branch of the first PDE; a disconnect unit's is its number. A latch is 1 while it cuts."""
    return 10 + number


def cells(seen: Seen) -> dict[str, Cell]:
    return _lvds(seen) | _pde(seen) | _sensors(seen) | _inputs(seen)


def _cut(seen: Seen, latch: int) -> bool:
    return bool(seen.memory.get(latch, 0))


def _lvds(seen: Seen) -> dict[str, Cell]:
    table = {"7.1.3.0": gauge(len(LVDS))}
    for row, (number, name) in LVDS.items():
        off = 3 if _cut(seen, number) else 2 if number == BATTERY_LVD and not seen.plant.dc.battery.connected else 0
        table |= {
            f"7.2.1.1.1.{row}": integer(row),
            f"7.2.1.1.2.{row}": gauge(8000 + number),
            f"7.2.1.1.3.{row}": text(name),
            f"7.2.1.1.5.{row}": integer(DISCONNECT_V * 10),
            f"7.2.1.1.6.{row}": integer(NOTHING),
            f"7.2.1.1.99.{row}": integer(off or 1),
        }
    return table


def _pde(seen: Seen) -> dict[str, Cell]:
    config, running = "9.3.2.1", "9.3.1.1"
    table = {f"{config}.2.{PDE_ROW}": gauge(12001), f"{running}.2.{PDE_ROW}": gauge(12001)}
    for number in BRANCHES:
        cut = _cut(seen, branch(number))
        table[f"{config}.{9 + number}.{PDE_ROW}"] = integer(1 if cut else 2)  # open 1, close 2
        table[f"{running}.{15 + number}.{PDE_ROW}"] = gauge(0 if cut else seen.plant.dc.bus_v * 10)
    return table


def _sensors(seen: Seen) -> dict[str, Cell]:
    plant = seen.plant
    return {
        f"8.2.13.1.4.{SMOKE_ROW}": integer(plant.smoke),
        f"8.2.13.1.4.{UNWIRED_ROW}": integer(NOTHING),
        f"8.2.14.1.4.{WATER_ROW}": integer(plant.water),
        f"8.2.15.1.4.{FRONT_ROW}": integer(not plant.front.closed),
        f"8.2.15.1.4.{BACK_ROW}": integer(not plant.back.closed),
        f"28.1.1.4.{SENSOR_ROW}": integer(plant.climate.inside_c),
        f"28.1.1.5.{SENSOR_ROW}": integer(plant.climate.inside_rh),
        f"28.1.1.10.{SENSOR_ROW}": integer(51),
        f"28.1.1.4.{SENSOR_ROW + 1}": integer(ABSENT),
        f"28.1.1.5.{SENSOR_ROW + 1}": integer(ABSENT),
        f"28.1.1.10.{SENSOR_ROW + 1}": integer(52),
    }


def _inputs(seen: Seen) -> dict[str, Cell]:
    table: dict[str, Cell] = {}
    for k in INPUTS:
        alarm = k < len(seen.inputs) and seen.inputs[k]
        table |= {
            f"8.2.3.1.1.{k}": integer(k),
            f"8.2.3.1.2.{k}": gauge(11000 + k),
            f"8.2.3.1.3.{k}": text(f"DI{k}"),
            f"8.2.3.1.4.{k}": integer(1),
            f"8.2.3.1.99.{k}": integer(2 if alarm else 1),
        }
    return table


def set_object(_seen: Seen, name: str, cell: Cell) -> Effect:
    """Switch a disconnect unit (1 off, 2 on) or a branch (1 open, 2 close); `name` is what follows the MIB's prefix."""
    column, _, row = name.rpartition(".")
    if column == "7.2.1.1.6" and int(row) in LVDS:
        number, cut = LVDS[int(row)][0], within(cell, 1, 2) == 1
        orders = (Change("battery", (("connected", not cut),)),) if number == BATTERY_LVD else ()
        return Effect(memory={number: int(cut)}, orders=orders)
    head, _, place = column.rpartition(".")
    if head == "9.3.2.1" and int(row) == PDE_ROW and int(place) - 9 in BRANCHES:
        return Effect(memory={branch(int(place) - 9): int(within(cell, 1, 2) == 1)})
    raise Declined("notWritable")
