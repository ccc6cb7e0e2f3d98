"""Huaruan (华软) cabinet air conditioner, Modbus (MyServer9608_new `common/supervision_hr.h` and `supervision_hr.o`).

From 0x000A eleven settings and from 0x1000 fourteen values, each in the first of two registers, in tenths; the first
four values and the pump are states, 1 standing by and 2 running (inferred). From 0x0300 seventeen alarms, a register
each. The field program writes its settings all together, by function 16, with 0xFFFF in the second registers: this
unit takes nothing else. It answers neither 0x0104 nor 0x1E1A with anything but a number, and nothing is known of
0x0200.
"""

from hwsim.devices.image import (
    ILLEGAL_ADDRESS,
    ILLEGAL_VALUE,
    Effect,
    Illegal,
    Image,
    ModbusProduct,
    Seen,
    s16,
    signed,
    u16,
)
from hwsim.plant.orders import Change
from hwsim.plant.state import AirConditioner

SETTINGS = 0x000A
FILLER = 0xFFFF
CLIMATE = {0: "cool_on_c", 1: "cool_band_c", 2: "high_alarm_c", 3: "low_alarm_c", 9: "heat_on_c", 10: "heat_band_c"}
VOLTAGES = {4: 58.0, 5: 45.0, 6: 44.0, 7: 264.0, 8: 176.0}  # DC over, under, off; AC over, under
COUNT = len(CLIMATE) + len(VOLTAGES)
ALARMS, STATES = 0x0300, 0x1000
IDLE, RUNS = 1, 2


def _unit(seen: Seen) -> AirConditioner:
    return seen.plant.air[seen.instance]


def _pairs(first: int, values: list[int]) -> dict[int, int]:
    """Each value in the first of two registers."""
    found = {first + 2 * k: value for k, value in enumerate(values)}
    return found | {first + 2 * k + 1: FILLER for k in range(len(values))}


def image(seen: Seen) -> Image:
    unit, climate, mains, dc_v = _unit(seen), seen.plant.climate, seen.plant.mains.at(0), seen.plant.dc.bus_v
    states = [IDLE + int(on) for on in (unit.remote and unit.powered, unit.fan, unit.compressor, unit.compressor)]
    condenser_c = climate.outside_c + (15.0 if unit.compressor else 0.0)
    speed, amps = (2400.0 if unit.fan else 0.0), (2.9 if unit.compressor else 0.3)
    readings = [climate.outside_c, condenser_c, unit.coil_c, speed, speed, mains, dc_v, amps]
    settings = [_setting(seen, unit, place) for place in range(COUNT)]
    info = [*states, _tenths(climate.inside_c), IDLE, *(_tenths(one) for one in readings)]  # in 5 the pump of the drain
    return Image(
        holding={0x0104: 12, 0x1E1A: 1, **{0x101C + k: 0 for k in range(23)}}
        | _pairs(SETTINGS, settings)
        | {ALARMS + k: int(alarm) for k, alarm in enumerate(_alarms(seen))}
        | _pairs(STATES, info)
    )


def _tenths(value: float) -> int:
    return u16(value * 10)


def _setting(seen: Seen, unit: AirConditioner, place: int) -> int:
    if place in CLIMATE:
        return s16(getattr(unit, CLIMATE[place]) * 10)
    return seen.memory.get(SETTINGS + 2 * place, _tenths(VOLTAGES[place]))


def _alarms(seen: Seen) -> list[bool]:
    unit, climate, mains = _unit(seen), seen.plant.climate, seen.plant.mains
    volts, dc_v = mains.at(0), seen.plant.dc.bus_v
    alarms = [False] * 17
    alarms[0] = climate.inside_c > unit.high_alarm_c
    alarms[3] = unit.fault
    alarms[6] = climate.inside_c < unit.low_alarm_c
    alarms[7], alarms[8] = dc_v > VOLTAGES[4], dc_v < VOLTAGES[5]
    alarms[9], alarms[10] = volts > VOLTAGES[7], 0.0 < volts < VOLTAGES[8]
    alarms[11] = not any(mains.good)
    return alarms


def write(seen: Seen, address: int, values: tuple[int, ...]) -> Effect:
    if address != SETTINGS or len(values) != 2 * COUNT:
        raise Illegal(ILLEGAL_ADDRESS)
    if any(one != FILLER for one in values[1::2]):
        raise Illegal(ILLEGAL_VALUE)
    tenths = [signed(one) for one in values[::2]]
    fields = tuple((CLIMATE[place], tenths[place] / 10) for place in CLIMATE)
    if any(not -50.0 <= value <= 100.0 for _, value in fields):
        raise Illegal(ILLEGAL_VALUE)
    kept = {SETTINGS + 2 * place: tenths[place] for place in VOLTAGES}
    return Effect(memory=kept, orders=(Change("air", fields, seen.instance),))


HUARUAN = ModbusProduct(image, frozenset({3, 16}), write_registers=write, response_s=0.05)
