"""Huawei SMU11B site monitor with an embedded DC power system: HUAWEI-SITE-MONITOR-MIB (tables §1.1).

Rows and types are those of the SMU11B recording: rectifier rows start at 28676 and run against the module numbers, the
battery string is row 5, an absent phase reads 2147483647. Objects of the MIB that the recording does not show are left
out, except where a command needs them. What sheds load, inputs and sensors are in `gantry_power`.
"""

from collections.abc import Callable
from functools import partial

from hwsim.devices import gantry_power
from hwsim.devices.image import Effect, Seen
from hwsim.devices.oids import (
    ABSENT,
    Alarm,
    Cell,
    Declined,
    SnmpProduct,
    gauge,
    integer,
    number,
    system,
    text,
    within,
)
from hwsim.plant.orders import BatteryTesting, Change
from hwsim.plant.power import CHARGE_LIMIT_C10, SHORT_TEST_S, STANDARD_TEST_S, supplied_a
from hwsim.plant.state import Mains, State

B = "1.3.6.1.4.1.2011.6.164.1"
FIRST_RECTIFIER, STRING = 28676, 5
INPUT_HIGH_V, INPUT_LOW_V = 280, 180
DC_HIGH_V, DC_LOW_V = 58.0, 45.0
HIGH_LATCH, LOW_LATCH = 101, 102  # beyond those of `gantry_power`
CHARGE_STATES = {"float": 1, "boost": 2, "discharge": 3}


def table(seen: Seen) -> dict[str, Cell]:
    plant = seen.plant
    cells = system("SMU11B", "1.3.6.1.4.1.2011.6.164.1.2", "GSE200M", plant.t + 90412.0)
    for part in (_site, _rectifiers, _battery, _battery_test, _ac_input, _dc_output, _environment, gantry_power.cells):
        cells |= {f"{B}.{name}": cell for name, cell in part(seen).items()}
    return cells


def _site(_seen: Seen) -> dict[str, Cell]:
    definitions = {}
    for k in range(24):  # the alarm *definitions*: a full table says nothing about active alarms
        row = 538322929 + k
        definitions[f"1.2.100.1.1.{row}"] = gauge(row)
        definitions[f"1.2.100.1.3.{row}"] = text(f"Alarm {k + 1}")
        definitions[f"1.2.100.1.4.{row}"] = integer(1 + k % 4)
    return {
        "1.1.1.0": text("gantry"),
        "1.1.2.0": text("HUAWEI eMap"),
        "1.1.3.0": gauge(1),
        "1.1.4.0": text("HUAWEI SMU"),
        "1.1.6.0": text("127.0.0.1"),
        "1.2.3.0": gauge(24),
        "2.2.1.1.3.1": text("Monitor"),
        "2.2.1.1.7.1": text("HUAWEI"),
        "2.2.1.1.99.1": integer(1),
        **definitions,
    }


def rectifier_row(seen: Seen, module: int) -> int:
    """The row of module 0…: the last module comes first, as in the recording, unless the rows were moved. 0 is none."""
    dc = seen.plant.dc
    return dc.rows[module] if module < len(dc.rows) else FIRST_RECTIFIER + len(dc.modules) - 1 - module


def _rectifiers(seen: Seen) -> dict[str, Cell]:
    dc, mains = seen.plant.dc, seen.plant.mains
    total_a = sum(module.current_a for module in dc.modules)
    cells = {
        "3.1.1.0": gauge(2000),
        "3.1.2.0": text("Rectifier Group"),
        "3.1.3.0": gauge(total_a * 10),
        "3.1.4.0": gauge(len(dc.modules)),
        "3.1.5.0": gauge(dc.bus_v * 10),
        "3.1.6.0": gauge(dc.float_v * 10),
        "3.1.7.0": integer(1),
        "3.1.8.0": integer(1 if dc.enabled else 2),
        "3.1.9.0": gauge(total_a * dc.bus_v),
    }
    for k, module in enumerate(dc.modules):
        row, input_v = rectifier_row(seen, k), mains.at(k % mains.phases)
        if not row:
            continue
        running = dc.enabled and module.on and not module.fault and input_v > 0.0
        cells |= {
            f"3.2.1.1.1.{row}": integer(row),
            f"3.2.1.1.2.{row}": gauge(2001 + k),
            f"3.2.1.1.3.{row}": text(f"Rectifier{k + 1}"),
            f"3.2.1.1.8.{row}": text(f"2102311SIM{k + 1:07d}"),
            f"3.2.1.1.9.{row}": gauge(345),
            f"3.2.1.1.10.{row}": gauge(860),
            f"3.2.1.1.12.{row}": integer(1 if module.on else 2),
            f"3.2.2.1.1.{row}": integer(row),
            f"3.2.2.1.2.{row}": gauge(module.current_a * 10),
            f"3.2.2.1.3.{row}": gauge(dc.bus_v * 10 if running else 0),
            f"3.2.2.1.5.{row}": gauge(module.current_a * dc.bus_v),
            f"3.2.2.1.6.{row}": gauge(input_v * 10),
            f"3.2.2.1.7.{row}": gauge(96 if running else 0),
            f"3.2.2.1.8.{row}": integer(module.temperature_c * 10),
            f"3.2.2.1.99.{row}": integer(_module_status(seen, k)),
        }
    return cells


def _module_status(seen: Seen, k: int) -> int:
    """1 normal, 2 fault, 4 communication failed (no input, no life), 5 switched off."""
    dc, mains = seen.plant.dc, seen.plant.mains
    module = dc.modules[k]
    if mains.at(k % mains.phases) <= 0.0:
        return 4
    if module.fault:
        return 2
    return 1 if dc.enabled and module.on else 5


def _battery(seen: Seen) -> dict[str, Cell]:
    dc = seen.plant.dc
    battery = dc.battery
    left_ah = battery.capacity_ah * battery.charge
    minutes = left_ah / max(dc.load_a, 0.1) * 60
    return {
        "4.1.1.0": gauge(3000),
        "4.1.3.0": gauge(1),
        "4.1.8.0": gauge(dc.float_v * 10),
        "4.1.9.0": gauge(dc.boost_v * 10),
        "4.1.10.0": gauge(CHARGE_LIMIT_C10 * 100),
        "4.1.12.0": integer(255),
        "4.2.1.0": integer(battery.current_a * 10),
        "4.2.2.0": gauge(minutes),
        "4.2.3.0": integer(CHARGE_STATES[battery.mode]),
        "4.2.4.0": integer(2 if battery.limiting else 1),
        "4.2.5.0": integer(ABSENT),
        "4.2.8.0": gauge(battery.capacity_ah),
        "4.2.9.0": gauge(left_ah),
        "4.2.10.0": gauge(battery.charge * 100),
        f"4.4.1.1.1.{STRING}": integer(STRING),
        f"4.4.1.1.2.{STRING}": gauge(3001),
        f"4.4.1.1.3.{STRING}": text("Battery String1"),
        f"4.4.1.1.8.{STRING}": integer(battery.capacity_ah),
        f"4.4.2.1.1.{STRING}": integer(STRING),
        f"4.4.2.1.2.{STRING}": integer(battery.current_a * 10),
        f"4.4.2.1.3.{STRING}": gauge(battery.charge * 1000),
        f"4.4.2.1.4.{STRING}": gauge(left_ah),
        f"4.4.2.1.6.{STRING}": integer(_battery_temperature(seen)),
        f"4.4.2.1.99.{STRING}": integer(1 if battery.fuse else 4),
    }


def _battery_temperature(seen: Seen) -> float:
    """There is no probe, as recorded, unless the site says in what steps one counts: 0.1 or 1 °C by version."""
    scale = seen.parameters.get("battery_temperature_scale")
    return seen.plant.dc.battery.temperature_c / float(scale) if scale else ABSENT


def _battery_test(seen: Seen) -> dict[str, Cell]:
    battery = seen.plant.dc.battery
    running = 3 if battery.test is None else 2 if battery.test.kind == 4 else 1
    cells = {
        "4.3.2.0": gauge(STANDARD_TEST_S / 60),
        "4.3.5.0": gauge(SHORT_TEST_S / 60),
        "4.3.6.0": gauge(450),
        "4.3.7.0": integer(running),
    }
    if battery.results:  # the count is absent until a test was run
        cells["4.3.1.0"] = gauge(len(battery.results))
    for k, result in enumerate(reversed(battery.results), 1):  # the MIB promises no order
        columns = {
            1: integer(k),
            2: integer(result.kind),
            3: text(_clock(result.started_s)),
            4: integer(result.result),
            5: integer(result.efficiency_percent),
            6: gauge(result.duration_s / 36),
            7: gauge(result.end_voltage_v * 10),
            8: integer(result.mean_current_a * 10),
            9: gauge(result.discharged_ah),
            10: integer(result.temperature_c),
            11: integer(result.end_cause),
        }
        cells |= {f"4.3.100.1.{column}.{k}": cell for column, cell in columns.items()}
    return cells


def _clock(seconds: float) -> str:
    """The plant's own time as text; it began on 2026-01-01 00:00:00."""
    days, rest = divmod(int(seconds), 86400)
    return f"2026-01-{days + 1:02d} {rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"


def _ac_input(seen: Seen) -> dict[str, Cell]:
    plant = seen.plant
    mains, wired = plant.mains, plant.mains.phases
    columns = {1: integer(1), 2: gauge(4001), 3: text("AC Distribution"), 99: integer(_input_status(seen, mains))}
    for phase in range(3):
        fitted = phase < wired
        columns[4 + phase] = gauge(mains.at(phase) * 10 if fitted else ABSENT)
        columns[7 + phase] = integer(plant.phase_a[phase] * 10 if fitted else ABSENT)
    return {
        "5.1.1.0": gauge(4000),
        "5.1.3.0": gauge(sum(plant.phase_a) * 10),
        "5.1.4.0": gauge(1),
        "5.1.5.0": gauge(seen.memory.get(HIGH_LATCH, INPUT_HIGH_V)),
        "5.1.6.0": gauge(seen.memory.get(LOW_LATCH, INPUT_LOW_V)),
        **{f"5.2.1.1.{column}.1": cell for column, cell in columns.items()},
    }


def _input_status(seen: Seen, mains: Mains) -> int:
    """1 normal, 2 mains off, 3 a phase absent, 4 high, 5 low."""
    volts = [mains.at(phase) for phase in range(mains.phases)]
    if not any(volts):
        return 2
    if not all(volts):
        return 3
    if max(volts) > seen.memory.get(HIGH_LATCH, INPUT_HIGH_V):
        return 4
    return 5 if min(volts) < seen.memory.get(LOW_LATCH, INPUT_LOW_V) else 1


def _dc_output(seen: Seen) -> dict[str, Cell]:
    dc = seen.plant.dc
    load_a = supplied_a(dc)
    status = 2 if dc.bus_v > DC_HIGH_V else 3 if dc.bus_v < DC_LOW_V else 1
    return {
        "6.1.1.0": gauge(6000),
        "6.1.3.0": gauge(dc.bus_v * 10),
        "6.1.4.0": integer(load_a * 10),
        "6.1.5.0": gauge(load_a * dc.bus_v),
        "6.1.7.0": gauge(DC_HIGH_V * 10),
        "6.1.8.0": gauge(DC_LOW_V * 10),
        "6.2.1.1.1.1": integer(1),
        "6.2.1.1.2.1": gauge(6001),
        "6.2.1.1.3.1": text("DC Distribution"),
        "6.2.1.1.4.1": gauge(dc.bus_v * 10),
        "6.2.1.1.5.1": integer(load_a * 10),
        "6.2.1.1.6.1": gauge(load_a * dc.bus_v),
        "6.2.1.1.99.1": integer(status),
    }


def _environment(seen: Seen) -> dict[str, Cell]:
    plant: State = seen.plant
    climate = plant.climate
    return {
        "8.1.1.0": gauge(9000),
        "8.2.1.1.1.1": integer(1),
        "8.2.1.1.2.1": gauge(9001),
        "8.2.1.1.3.1": text("Environment temperature sensor1"),
        "8.2.1.1.4.1": integer(climate.inside_c),
        "8.2.1.1.5.1": integer(55),
        "8.2.1.1.6.1": integer(-20),
        "8.2.1.1.99.1": integer(2 if climate.inside_c > 55 else 1),
        "8.2.2.1.1.1": integer(1),
        "8.2.2.1.2.1": gauge(10001),
        "8.2.2.1.3.1": text("Environment humidity sensor1"),
        "8.2.2.1.4.1": integer(climate.inside_rh),
        "8.2.2.1.99.1": integer(1),
    }


# --- SET ------------------------------------------------------------------------------------------------------------


def _set_voltage(_seen: Seen, cell: Cell) -> Effect:
    tenths = number(cell)
    if not 420 <= tenths <= 580:
        raise Declined("wrongValue")
    return Effect(orders=(Change("dc", (("float_v", tenths / 10),)),))


def _set_group(_seen: Seen, cell: Cell) -> Effect:
    return Effect(orders=(Change("dc", (("enabled", within(cell, 1, 2) == 1),)),))


def _set_test(seen: Seen, cell: Cell) -> Effect:
    what = {1: "standard", 2: "short", 3: "stop"}[within(cell, 1, 2, 3)]
    if what != "stop" and seen.plant.dc.battery.mode == "discharge":
        raise Declined("inconsistentValue")
    return Effect(orders=(BatteryTesting(what),))


def _set_limit(latch: int, _seen: Seen, cell: Cell) -> Effect:
    """Input voltage limits are Unsigned: an INTEGER is a wrong type here (field program)."""
    if cell.kind != "gauge":
        raise Declined("wrongType")
    return Effect(memory={latch: number(cell)})


def _set_module(module: int, _seen: Seen, cell: Cell) -> Effect:
    return Effect(orders=(Change("module", (("on", within(cell, 1, 2) == 1),), module),))


_SET: dict[str, Callable[[Seen, Cell], Effect]] = {
    f"{B}.3.1.6.0": _set_voltage,
    f"{B}.3.1.8.0": _set_group,
    f"{B}.4.3.7.0": _set_test,
    f"{B}.5.1.5.0": partial(_set_limit, HIGH_LATCH),
    f"{B}.5.1.6.0": partial(_set_limit, LOW_LATCH),
}


def set_object(seen: Seen, oid: str, cell: Cell) -> Effect:
    if oid in _SET:
        return _SET[oid](seen, cell)
    for module in range(len(seen.plant.dc.modules)):
        if oid == f"{B}.3.2.1.1.12.{rectifier_row(seen, module)}":
            return _set_module(module, seen, cell)
    return gantry_power.set_object(seen, oid.removeprefix(f"{B}."), cell)


# --- traps ----------------------------------------------------------------------------------------------------------

T = "1.3.6.1.4.1.2011.6.164.2.1"


def _pair(group: str, raised: int) -> Alarm:
    """Raise and clear are neighbours, the raise first; numbers as the MIB has them: 15 AC lost, 19 DC voltage."""
    return Alarm(f"{T}.{group}.{raised}", f"{T}.{group}.{raised + 1}")


_ALARMS: tuple[tuple[Alarm, Callable[[State], bool]], ...] = (
    (_pair("0", 15), lambda plant: not all(plant.mains.at(k) for k in range(plant.mains.phases))),
    (_pair("0", 19), lambda plant: not DC_LOW_V <= plant.dc.bus_v <= DC_HIGH_V),
    (_pair("0", 31), lambda plant: not (plant.front.closed and plant.back.closed)),
    (_pair("0", 33), lambda plant: plant.water),
    (_pair("0", 35), lambda plant: plant.smoke),
    (_pair("0", 57), lambda plant: not all(spd.healthy for spd in plant.spds)),
    (_pair("2.0", 99), lambda plant: any(module.fault for module in plant.dc.modules)),
    (_pair("3.0", 99), lambda plant: not plant.dc.battery.fuse),
)


def alarms(seen: Seen) -> frozenset[Alarm]:
    return frozenset(alarm for alarm, active in _ALARMS if active(seen.plant))


SITE_MONITOR = SnmpProduct(table, set_object, alarms)
