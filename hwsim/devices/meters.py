"""Mains meters: Chint DTSU666, DDSU666, Eastron SDM120, SDM630. Registers from the tables §4 and the makers' lists.

Where a model stores scaled numbers the scale is a site parameter; the defaults are those of the CT type (×0.1 V,
×0.001 A, ×0.1 W, ×0.01 Hz), as volkszaehler/mbmd `meters/rs485/dtsu666.go` divides.
"""

import math

from hwsim.devices.image import Image, ModbusProduct, Seen, floats, zeros
from hwsim.devices.spoken import MeterProduct, Spoken

POWER_FACTOR = 0.95


def _scale(seen: Seen, name: str, default: float) -> float:
    return float(seen.parameters.get(name, default))


def _line_voltage(a: float, b: float) -> float:
    """Between two phases 120° apart."""
    return math.sqrt(a * a + b * b + a * b)


def dtsu666(seen: Seen) -> Image:
    plant = seen.plant
    v = [plant.mains.at(phase) for phase in range(3)]
    volt = _scale(seen, "voltage_scale", 0.1)
    amp = _scale(seen, "current_scale", 0.001)
    watt = _scale(seen, "power_scale", 0.1)
    hertz = _scale(seen, "frequency_scale", 0.01)
    frequency = plant.mains.frequency_hz if any(v) else 0.0
    w, a = plant.phase_w, plant.phase_a
    factor = 1 if amp == 1 else 1000  # the power factor is stored ×0.001 on the scaled type
    energy = int(_scale(seen, "energy_address", 0x101E))  # 0x401E with other firmware
    return Image(
        holding=zeros((0x0000, 12), (energy, 12))
        | floats(
            {
                energy: plant.energy_kwh,
                0x2000: _line_voltage(v[0], v[1]) / volt,
                0x2002: _line_voltage(v[1], v[2]) / volt,
                0x2004: _line_voltage(v[2], v[0]) / volt,
                **{0x2006 + 2 * k: v[k] / volt for k in range(3)},
                **{0x200C + 2 * k: a[k] / amp for k in range(3)},
                0x2012: sum(w) / watt,
                **{0x2014 + 2 * k: w[k] / watt for k in range(3)},
                **dict.fromkeys(range(0x201A, 0x2022, 2), 0.0),
                **dict.fromkeys(range(0x202A, 0x2032, 2), POWER_FACTOR * factor),
                0x2044: frequency / hertz,
            }
        )
    )


def ddsu666(seen: Seen) -> Image:
    """Single phase, on L1; power in kW, no scaling."""
    plant = seen.plant
    v = plant.mains.at(0)
    w, a = plant.phase_w[0], plant.phase_a[0]
    return Image(
        holding=zeros((0x0000, 12))
        | floats(
            {
                0x2000: v,
                0x2002: a,
                0x2004: w / 1000.0,
                0x2006: 0.0,
                0x2008: w / POWER_FACTOR / 1000.0,
                0x200A: POWER_FACTOR,
                0x200C: 0.0,
                0x200E: plant.mains.frequency_hz if v else 0.0,
                0x4000: plant.energy_kwh,
                0x400A: 0.0,
            }
        )
    )


def sdm630(seen: Seen) -> Image:
    """Lenient: gaps inside 0–0x17F read 0, because public clients read across them in one request (mbmd, OpenEMS)."""
    plant = seen.plant
    v = [plant.mains.at(phase) for phase in range(3)]
    w, a = plant.phase_w, plant.phase_a
    return Image(
        input=zeros((0x0000, 0x180))
        | floats(
            {
                **{2 * k: v[k] for k in range(3)},
                **{0x06 + 2 * k: a[k] for k in range(3)},
                **{0x0C + 2 * k: w[k] for k in range(3)},
                **{0x12 + 2 * k: w[k] / POWER_FACTOR for k in range(3)},
                **{0x1E + 2 * k: POWER_FACTOR for k in range(3)},
                0x2A: sum(v) / 3.0,
                0x2E: sum(a) / 3.0,
                0x30: sum(a),
                0x34: sum(w),
                0x38: sum(w) / POWER_FACTOR,
                0x3E: POWER_FACTOR,
                0x46: plant.mains.frequency_hz if any(v) else 0.0,
                0x48: plant.energy_kwh,
                0x4A: 0.0,
                0x156: plant.energy_kwh,
            }
        )
    )


def sdm120(seen: Seen) -> Image:
    """Single phase, on L1; as lenient in its gaps as its bigger sister."""
    plant = seen.plant
    v, w = plant.mains.at(0), plant.phase_w[0]
    return Image(
        input=zeros((0x0000, 0x58), (0x0156, 4))
        | floats(
            {
                0x00: v,
                0x06: plant.phase_a[0],
                0x0C: w,
                0x12: w / POWER_FACTOR,
                0x1E: POWER_FACTOR,
                0x46: plant.mains.frequency_hz if v else 0.0,
                0x48: plant.energy_kwh,
                0x156: plant.energy_kwh,
            }
        )
    )


def dlt645(seen: Seen, item: int) -> Spoken:
    """DL/T 645-2007: decimal digits, two in a byte, lowest first; signs (the highest bit) do not come up here."""
    plant = seen.plant
    volts = [plant.mains.at(phase) for phase in range(3)]
    wired = range(plant.mains.phases)
    held = {
        **{0x02010100 + (k << 8): (volts[k] * 10, 2) for k in wired},
        **{0x02020100 + (k << 8): (plant.phase_a[k] * 1000, 3) for k in wired},
        0x02030000: (sum(plant.phase_w) * 10, 3),
        0x02060000: (POWER_FACTOR * 1000, 2),
        0x02800002: (plant.mains.frequency_hz * 100 if any(volts) else 0, 2),
        0x00000000: (plant.energy_kwh * 100, 4),
        0x00010000: (plant.energy_kwh * 100, 4),
    }
    if item not in held:
        return Spoken()
    value, size = held[item]
    return Spoken(bytes.fromhex(f"{round(value):0{2 * size}d}")[::-1])


DLT645 = MeterProduct(dlt645, (0x02010100, 0x02020100, 0x02030000, 0x02800002, 0x00000000))
DTSU666 = ModbusProduct(dtsu666, frozenset({3}), response_s=0.05, largest=60)
DDSU666 = ModbusProduct(ddsu666, frozenset({3}), response_s=0.05, largest=60)
SDM120 = ModbusProduct(sdm120, frozenset({4}), response_s=0.04, largest=80)
SDM630 = ModbusProduct(sdm630, frozenset({4}), response_s=0.04, largest=80)
