"""Envicool (英维克) cabinet air conditioner, Modbus. Blocks from the device tables §5.1 (two field programs).

Readings are ×0.1 °C signed, 2000 raw means a missing sensor. The set-points in 0x0700 are whole degrees: the field
program keeps each in one byte (`common/air_condition.h`); the four of them are taken only together, by function 16, as
that program writes them. 0x0801 is the remote switch; that it reads back is inferred.
"""

from hwsim.devices.image import (
    ILLEGAL_ADDRESS,
    ILLEGAL_VALUE,
    Effect,
    Illegal,
    Image,
    ModbusProduct,
    Seen,
    row,
    s16,
    signed,
    u16,
    zeros,
)
from hwsim.plant.orders import Change
from hwsim.plant.state import AirConditioner

MISSING_SENSOR = 2000
ALARMS = 33  # 0x0600 high temperature … 0x0620 DC under-voltage
SWITCH = 0x0801
BLOCK = range(0x0700, 0x0704)
SETTINGS = {  # register → field of the air conditioner
    0x0700: "cool_on_c",
    0x0701: "cool_band_c",
    0x0702: "heat_on_c",
    0x0703: "heat_band_c",
    0x0706: "high_alarm_c",
    0x0707: "low_alarm_c",
    0x0708: "high_alarm_rh",
}


def _unit(seen: Seen) -> AirConditioner:
    return seen.plant.air[seen.instance]


def image(seen: Seen) -> Image:
    unit, plant = _unit(seen), seen.plant
    running = (unit.fan, unit.compressor, unit.compressor, unit.heater, False, False)
    readings = (
        unit.coil_c * 10,
        plant.climate.outside_c * 10,
        (plant.climate.outside_c + (15.0 if unit.compressor else 0.0)) * 10,
        plant.climate.inside_c * 10,
        MISSING_SENSOR,  # exhaust sensor not fitted
        plant.climate.inside_rh,
        (2.9 if unit.compressor else 0.3) * 10,
        plant.mains.at(0),
        plant.dc.bus_v * 10,
    )
    return Image(
        holding=zeros((0x0000, 1), (0x0700, 9))
        | row(0x0100, running)
        | row(0x0500, readings)
        | row(0x0600, _alarms(seen))
        | {address: s16(getattr(unit, name)) for address, name in SETTINGS.items()}
        | {SWITCH: u16(unit.remote)}
    )


def _alarms(seen: Seen) -> list[int]:
    unit, climate, mains = _unit(seen), seen.plant.climate, seen.plant.mains
    alarms = [0] * ALARMS
    alarms[0] = climate.inside_c > unit.high_alarm_c
    alarms[1] = climate.inside_c < unit.low_alarm_c
    alarms[2] = climate.inside_rh > unit.high_alarm_rh
    alarms[14] = unit.fault
    alarms[25] = mains.at(0) > 264.0
    alarms[26] = 0.0 < mains.at(0) < 176.0
    alarms[27] = not any(mains.good)
    alarms[28] = not all(mains.good)
    return [int(alarm) for alarm in alarms]


def write(seen: Seen, address: int, values: tuple[int, ...]) -> Effect:
    if address == SWITCH and len(values) == 1:
        if values[0] not in (0, 1):
            raise Illegal(ILLEGAL_VALUE)
        return Effect(orders=(Change("air", (("remote", bool(values[0])),), seen.instance),))
    wanted = {address + k: value for k, value in enumerate(values)}
    if not wanted.keys() <= SETTINGS.keys():
        raise Illegal(ILLEGAL_ADDRESS)
    fields = tuple((SETTINGS[register], float(signed(value))) for register, value in wanted.items())
    if any(not -50.0 <= value <= 100.0 for _, value in fields):
        raise Illegal(ILLEGAL_VALUE)
    if wanted.keys() & set(BLOCK) and wanted.keys() != set(BLOCK):
        raise Illegal(ILLEGAL_ADDRESS)
    return Effect(orders=(Change("air", fields, seen.instance),))


ENVICOOL = ModbusProduct(image, frozenset({3, 6, 16}), write_registers=write, response_s=0.03)
