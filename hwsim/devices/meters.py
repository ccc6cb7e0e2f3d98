"""Mains meters: Chint DTSU666 and DDSU666, Eastron SDM630. Registers from the device tables §4 and the makers' lists.

Where a model stores scaled numbers the scale is a site parameter; the defaults are those of the CT type (×0.1 V,
×0.001 A, ×0.1 W, ×0.01 Hz), as volkszaehler/mbmd `meters/rs485/dtsu666.go` divides.
"""

import math

from hwsim.devices.image import Image, ModbusProduct, Seen, floats, zeros

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


DTSU666 = ModbusProduct(dtsu666, frozenset({3}), response_s=0.05, largest=60)
DDSU666 = ModbusProduct(ddsu666, frozenset({3}), response_s=0.05, largest=60)
SDM630 = ModbusProduct(sdm630, frozenset({4}), response_s=0.04, largest=80)
