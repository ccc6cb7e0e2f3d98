"""Small RS485 probes: XY-MD02, the gantry's temperature/humidity probe, Renda water and smoke probes (tables §6)."""

from hwsim.devices.image import Image, ModbusProduct, Seen, s16, u16


def xy_md02(seen: Seen) -> Image:
    """SHT20 board: input registers 1 °C ×0.1, 2 %RH ×0.1; 0x0101… hold its address and line rate."""
    climate = seen.plant.climate
    return Image(
        input={1: s16(climate.inside_c * 10), 2: u16(climate.inside_rh * 10)},
        holding={0x0101: 1, 0x0102: 9600, 0x0103: 0, 0x0104: 0},
    )


def temperature_humidity(seen: Seen) -> Image:
    """Humidity first, then temperature, both ×0.1 (allCollector; Renke's manual, which has its line rate in 0x07D1)."""
    climate = seen.plant.climate
    return Image(holding={0: u16(climate.inside_rh * 10), 1: s16(climate.inside_c * 10), 0x07D0: 1, 0x07D1: 1})


def water(seen: Seen) -> Image:
    return Image(holding={0x0010: int(seen.plant.water)})


def smoke(seen: Seen) -> Image:
    """Only the high byte counts; the low byte here is a raw reading that must be ignored."""
    return Image(holding={0: (0x0100 if seen.plant.smoke else 0) | 0x2A})


XY_MD02 = ModbusProduct(xy_md02, frozenset({3, 4}), response_s=0.02)
TEMPERATURE_HUMIDITY = ModbusProduct(temperature_humidity, frozenset({3}), response_s=0.03)
WATER = ModbusProduct(water, frozenset({3}), response_s=0.03)
SMOKE = ModbusProduct(smoke, frozenset({3}), response_s=0.03)
