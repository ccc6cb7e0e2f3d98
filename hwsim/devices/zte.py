"""What a ZTE (中兴) site supervision unit knows of what it looks after (tables §10.1): texts by point, and alarms.

Written from the table, which field software is the source of. Of the numbers that a point has in units of different
firmware, the newer one is shown, or with the parameter `firmware: 1` of the site file the older. What 0 and 1 mean
follows that software's comments: 1 an alarm, a fan that runs; an air conditioner's state is 1 stand by, 2 running,
3 fault. A UPS's numbers are known from its comments only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hwsim.devices.image import Seen
from hwsim.plant.state import AirConditioner

Values = Mapping[str, str]
STAND_BY, RUNNING, FAULT = 1, 2, 3
HIGH_V, LOW_V, BATTERY_LOW_V = 264.0, 176.0, 45.0


@dataclass(frozen=True, slots=True)
class ZteProduct:
    """One kind of object: the name that the unit lists it under, its values, and whether an alarm of it stands."""

    name: str
    values: Callable[[Seen], Values]
    alarm: Callable[[Seen], bool]


def number(value: float) -> str:
    """As the unit writes it: 222.2, 49.35, 27."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def flag(value: object) -> str:
    return "1" if value else "0"


def _old(seen: Seen) -> bool:
    return seen.parameters.get("firmware") == 1


# --- sensors --------------------------------------------------------------------------------------------------------


def climate(seen: Seen) -> Values:
    inside = seen.plant.climate
    return {"118201001": number(inside.inside_c), "118204001": number(inside.inside_rh)}


def _opened(seen: Seen) -> bool:
    return bool(seen.inputs and seen.inputs[0])


CLIMATE = ZteProduct("数字温湿度", climate, lambda seen: seen.plant.climate.inside_c > 55.0)
WATER = ZteProduct("水浸", lambda seen: {"118001001": flag(seen.plant.water)}, lambda seen: seen.plant.water)
SMOKE = ZteProduct("烟感", lambda seen: {"118002001": flag(seen.plant.smoke)}, lambda seen: seen.plant.smoke)
DOOR = ZteProduct("门磁", lambda seen: {"118012001": flag(_opened(seen))}, _opened)


# --- air conditioner ------------------------------------------------------------------------------------------------


def _unit(seen: Seen) -> AirConditioner:
    return seen.plant.air[seen.instance]


def _hot(seen: Seen) -> bool:
    return seen.plant.climate.inside_c > _unit(seen).high_alarm_c


def _cold(seen: Seen) -> bool:
    return seen.plant.climate.inside_c < _unit(seen).low_alarm_c


def air(seen: Seen) -> Values:
    unit, plant = _unit(seen), seen.plant
    state = FAULT if unit.fault else RUNNING if unit.compressor or unit.heater else STAND_BY
    values = {
        "115009001": flag(unit.fan),
        "115010001": flag(unit.compressor),
        "115011001": number(FAULT if unit.fault else RUNNING if unit.compressor else STAND_BY),
        "115014001": number(plant.climate.outside_c + (15.0 if unit.compressor else 0.0)),
        "115020001": "0",
        "115021001": "0",
        "115022001": flag(unit.fault),
        "115237001": number(2.9 if unit.compressor else 0.3),
    }
    inside, dc = number(plant.climate.inside_c), number(plant.dc.bus_v)
    if _old(seen):
        return values | {
            "115008001": number(state), "115012001": inside, "115013001": number(plant.climate.outside_c),
            "115016001": dc, "115018001": flag(_hot(seen)), "115019001": flag(_cold(seen)),
        }  # fmt: skip
    return values | {
        "115238001": number(state), "115236001": inside, "115015001": dc, "115233001": flag(_hot(seen)),
        "115234001": flag(_cold(seen)), "115235001": number(unit.cool_on_c), "115232001": number(unit.heat_on_c),
        "115239001": "0", "115240001": "0",
    }  # fmt: skip


AIR = ZteProduct("普通空调", air, lambda seen: _unit(seen).fault or _hot(seen) or _cold(seen))


# --- power ----------------------------------------------------------------------------------------------------------


def power(seen: Seen) -> Values:
    dc, mains = seen.plant.dc, seen.plant.mains
    given = (dc.bus_v, sum(module.current_a for module in dc.modules), dc.modules[0].temperature_c)
    numbers = ("106030001", "106100001", "106101001") if _old(seen) else ("106304001", "106305001", "106002001")
    phases = ("106206001", "106207001", "106208001") if _old(seen) else ("106400001", "106417001", "106425001")
    values = dict(zip(numbers, map(number, given), strict=True))
    values |= {point: number(mains.at(phase)) for phase, point in enumerate(phases)}
    return values | {"106335002": number(dc.battery.current_a)}


def _power_alarm(seen: Seen) -> bool:
    return not all(seen.plant.mains.good) or any(module.fault for module in seen.plant.dc.modules)


def ups(seen: Seen) -> Values:
    unit, mains = seen.plant.ups, seen.plant.mains
    running = unit.source != "off"
    return {
        "108035001": number(mains.at(0)), "108036001": number(230.0 if running else 0.0), "108011001": "31",
        "108037001": number(100 * unit.load_w / unit.rated_va), "108012001": number(unit.battery_v),
        "108056001": number(mains.frequency_hz if mains.at(0) else 0.0), "108304001": flag(unit.source == "bypass"),
        "108308001": flag(running), "108302001": "0", "108303001": flag(unit.charge < 0.2),
        "108305001": flag(not mains.good[0]),
    }  # fmt: skip


def battery(seen: Seen) -> Values:
    string, bus_v = seen.plant.dc.battery, seen.plant.dc.bus_v
    voltage = {"190004001" if _old(seen) else "190229001": number(bus_v)}
    return voltage | {
        "190264001": number(string.charge * string.capacity_ah), "190265001": number(string.capacity_ah),
        "190262001": number(100 * string.charge), "190263001": "98", "190002001": number(string.temperature_c),
    }  # fmt: skip


POWER = ZteProduct("开关电源", power, _power_alarm)
UPS = ZteProduct("UPS", ups, lambda seen: not seen.plant.mains.good[0] or seen.plant.ups.charge < 0.2)
BATTERY = ZteProduct("锂电池", battery, lambda seen: seen.plant.dc.bus_v < BATTERY_LOW_V)
