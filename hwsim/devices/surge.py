"""Surge protectors (tables §8): Renda strike counter, Leixun (雷迅) and Kuanyong (宽永) monitors and Leixun's earth
tester over Modbus RTU, the Zhongpu Tongan (中普同安) board, and the Huazi (华咨) monitor with its datagrams.

Leixun's floats come little-endian as the bytes stand. Where the life percentage stands in its 58 registers is not
public; it is put behind the five last strikes (inferred).
"""

import struct

from hwsim.devices.image import ILLEGAL_ADDRESS, Effect, Illegal, Image, ModbusProduct, Seen, f32_swapped, u16, zeros
from hwsim.devices.spoken import BoardProduct, DatagramProduct
from hwsim.plant.orders import ClearStrikes
from hwsim.plant.state import Spd


def _spd(seen: Seen) -> Spd:
    return seen.plant.spds[seen.instance]


def renda(seen: Seen) -> Image:
    return Image(holding={2001: u16(_spd(seen).strikes)})


def leixun(seen: Seen) -> Image:
    spd, plant = _spd(seen), seen.plant
    values = (
        spd.leakage_ma,
        220.0,
        plant.mains.at(0),
        plant.climate.inside_c + 2.0,
        plant.climate.inside_c,
        float(seen.instance + 1),
        float(spd.strikes),
        float(spd.total),
        1.2,
        1.0,
        365.0,
    )
    holding = zeros((0, 58))
    for k, value in enumerate(values):
        holding[2 * k], holding[2 * k + 1] = f32_swapped(value)
    holding |= dict(zip(range(22, 28), (2026, 1, 1, 0, 0, 0), strict=True))
    holding[53] = u16(spd.life_percent)
    contact, leakage = spd.healthy, spd.leakage_ma <= 1.0
    bits = (0, 0, 0, int(contact), 0, 0, int(leakage), int(plant.mains.at(0) > 264.0))
    return Image(holding=holding, discrete=dict(enumerate(bits)), coils=zeros((0, 6)))


def write_coils(seen: Seen, address: int, values: tuple[int, ...]) -> Effect:
    """Coil 0 clears the count, coil 1 the total; both read 0 again at once."""
    if address + len(values) > 2:
        raise Illegal(ILLEGAL_ADDRESS)
    pressed = [address + k for k, value in enumerate(values) if value]
    return Effect(orders=tuple(ClearStrikes(seen.instance, total=coil == 1) for coil in pressed))


def wth(seen: Seen) -> Image:
    """Holding 5 count, 9 contact (1 closed), 10 alarm mode (0: closed is well), 11 state, all ones in alarm."""
    spd = _spd(seen)
    told = {5: u16(spd.strikes), 9: int(spd.healthy), 10: 0, 11: 0 if spd.healthy else 0xFFFF}
    return Image(holding={k: told.get(k, 0) for k in range(12)})


def kuanyong(seen: Seen) -> Image:
    """0x63: currents, voltages, count, strength, greatest, (°C × 10) + 1000, %RH, degradation; 0x201: contacts.

    The trip contact (bit 0) is normally open, so that 0 is the alarm; bit 2 is the ground alarm.
    """
    spd, plant = _spd(seen), seen.plant
    volts = [u16(plant.mains.at(phase) * 10) for phase in range(3)]
    climate = (u16(plant.climate.inside_c * 10 + 1000), u16(plant.climate.inside_rh * 10))
    running = (
        0,
        u16(spd.leakage_ma / 10),
        0,
        *volts,
        u16(spd.strikes),
        0,
        0,
        *climate,
        u16((100 - spd.life_percent) * 10),
    )
    return Image(holding=dict(enumerate(running, 0x63)) | {0x200: 0, 0x201: int(spd.healthy)})


def ground_tester(_seen: Seen) -> Image:
    """0x0C: alarm, value, decimal places, volts, -, test, id, alarm limit: 1.85 ohm, whatever the weather."""
    return Image(holding=dict(enumerate((0, 185, 2, 0, 0, 0, 9, 10), 0x0C)))


def tongan(seen: Seen) -> bytes:
    """Input 0 is the trip contact, normally closed: 1 is well."""
    return bytes([int(_spd(seen).healthy), *bytes(7)])


def huazi(seen: Seen, command: int) -> bytes | None:
    """Behind the head: fifteen numbers of two bytes, low byte first, and four bytes that nobody reads."""
    if command != 0x0C:
        return None
    spd, plant = _spd(seen), seen.plant
    volts = [u16(plant.mains.at(phase) * 10) for phase in range(3)]
    leakage = u16(spd.leakage_ma * 10_000)
    climate = (u16(plant.climate.inside_c * 10 + 20), u16(plant.climate.inside_c * 10))
    tripped = int(not spd.healthy)
    values = (tripped, 0, 0, spd.strikes, 0, *volts, *[leakage] * 3, *climate, 0, u16(spd.life_percent * 10))
    return struct.pack("<15H", *values) + bytes(4)


RENDA_SPD = ModbusProduct(renda, frozenset({3}), response_s=0.03)
KUANYONG = ModbusProduct(kuanyong, frozenset({3}), response_s=0.05)
LEIXUN = ModbusProduct(leixun, frozenset({1, 2, 3, 5}), write_coils=write_coils, response_s=0.05)
GROUND_TESTER = ModbusProduct(ground_tester, frozenset({3, 6}), response_s=0.05)
TONGAN = BoardProduct(tongan)
HUAZI = DatagramProduct(huazi, (0x0C,))
WTH = ModbusProduct(wth, frozenset({3}), response_s=0.02)
