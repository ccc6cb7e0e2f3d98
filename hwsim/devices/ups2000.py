"""Huawei UPS2000, Modbus RTU (tables §3.4; NUT `drivers/huawei-ups2000.c`).

Status registers are 10000 × the UPS's number in a parallel group + the number in the table; there is one UPS here, so
1000 is 11000 on the wire. Alarm words stand at number + 1024. A driver reads the blocks whole: registers of the table's
blocks that have no meaning known to us exist and read "no value".
"""

from collections.abc import Mapping

from hwsim.devices.image import ILLEGAL_ADDRESS, ILLEGAL_VALUE, Effect, Illegal, Image, ModbusProduct, Seen, u16, u32
from hwsim.plant.orders import Change, UpsTesting
from hwsim.plant.power import ups_remaining_s
from hwsim.plant.state import Ups

STATUS, ALARM = 10_000, 1024
NO_VALUE = 0x7FFF
MODES = {"off": 0, "bypass": 1, "line": 2, "battery": 3}
QUICK_TEST_S, DEEP_TEST_S = 10.0, 600.0
LOW_CHARGE = 0.2


def _battery_state(ups: Ups) -> int:
    if ups.source == "battery":
        return 5
    return 3 if ups.charge > 0.98 else 4


def image(seen: Seen) -> Image:
    plant, ups = seen.plant, seen.plant.ups
    v, on = plant.mains.at(0), ups.source != "off"
    hertz = plant.mains.frequency_hz
    load_w = ups.load_w if on else 0.0
    low = ups.source == "battery" and ups.charge < LOW_CHARGE
    left = u32(ups_remaining_s(ups))
    known = {
        1000: u16(v * 10),
        1003: u16(hertz * 10 if v else 0),
        1004: u16(v * 10),
        1007: u16(hertz * 10 if v else 0),
        1008: u16(2201 if on else 0),
        1011: u16(load_w / 220.1 * 10),
        1014: u16(500 if on else 0),
        1015: u16(load_w / 100),
        1018: u16(load_w / 0.9 / 100),
        1021: u16(load_w / 0.9 / ups.rated_va * 1000),
        1024: MODES[ups.source],
        1027: u16((plant.climate.inside_c + 3) * 10),
        1043: (4 if ups.testing_s > 0 else 0) | (64 if low else 0),
        2000: u16(ups.battery_v * 10),
        2002: _battery_state(ups),
        2003: u16(ups.charge * 100),
        2004: left[0],
        2005: left[1],
        2007: 6,
        2033: u16(ups.capacity_ah),
        9009: u16(ups.rated_va / 100),
    }
    blocks = dict.fromkeys((*range(1000, 1028), *range(2000, 2034)), NO_VALUE)
    settings = {number: seen.memory.get(number, value) for number, value in SETTINGS.items()}
    holding = {STATUS + number: value for number, value in {**blocks, **settings, **known}.items()}
    return Image(holding=holding | {ALARM + number: word for number, word in _alarms(seen).items()})


def _alarms(seen: Seen) -> dict[int, int]:
    ups, mains = seen.plant.ups, seen.plant.mains
    words = dict.fromkeys(range(40156, 40183), 0)
    words[40156] = (seen.plant.climate.inside_c > 50.0) << 3
    words[40161] = (not 176.0 <= mains.at(0) <= 264.0) << 1
    words[40164] = ups.replace << 1 | (ups.source == "battery" and ups.charge < LOW_CHARGE) << 3
    words[40173] = (ups.load_w / 0.9 > 1.05 * ups.rated_va) << 5
    return words


SETTINGS = {1029: 0, 1030: 0, 1044: 1, 1045: 0, 1046: 0, 1047: 60, 1048: 60, 1049: 60, 2021: 0, 2023: 0, 2028: 0}


def write(seen: Seen, address: int, values: tuple[int, ...]) -> Effect:
    """One register at a time, as the driver does; 1045 says what 1030 will do (load off, or bypass)."""
    number = address - STATUS
    if number not in SETTINGS or len(values) != 1:
        raise Illegal(ILLEGAL_ADDRESS)
    value = values[0]
    match number:
        case 2028 | 2021 if value == 1:
            return Effect(orders=(UpsTesting(QUICK_TEST_S if number == 2028 else DEEP_TEST_S),))
        case 2023 if value == 1:
            return Effect(orders=(UpsTesting(0.0),))
        case 1029 if value == 1:
            return Effect(orders=(Change("ups", (("enabled", True),)),))
        case 1030 if value == 1 and seen.memory.get(1045, 0) == 0:
            return Effect(orders=(Change("ups", (("enabled", False),)),))
        case 2028 | 2021 | 2023 | 1029 if value != 1:
            raise Illegal(ILLEGAL_VALUE)
    return Effect(memory={number: value})


def identity(_seen: Seen) -> Mapping[int, bytes]:
    description = "1=UPS2000A;2=V2R1C1SPC40;3=P1.0-D1.0;4=SIM0000001;5=1;6=0"
    return {0x87: (1).to_bytes(4, "big"), 0x88: description.encode()}


UPS2000 = ModbusProduct(image, frozenset({3, 6, 16, 0x2B}), write_registers=write, identity=identity, response_s=0.08)
