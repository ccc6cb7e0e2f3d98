"""APC Smart-UPS over Modbus (tables §3.3; NUT `drivers/apc_modbus.c` and `.h`): the plant's UPS.

Fixed point is binary, raw = value * 2^n. Blocks as the driver reads them: state 0-26, measurements 128-159, inventory
516-635; registers of a block that have no meaning here read all ones where they are measurements, else 0.
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
    u16,
    u32,
    zeros,
)
from hwsim.plant.orders import UpsTesting
from hwsim.plant.power import ups_remaining_s

TEST_COMMAND, START, ABORT = 1541, 1, 2
TEST_S = 10.0
LOW_CHARGE = 0.2
NO_VALUE = 0xFFFF
STATE_BIT = {"line": 1, "battery": 2, "bypass": 3, "off": 4}
TEST_BITS = {"none": 0, "running": 1 << 1, "passed": 1 << 2, "warning": 1 << 2, "failed": 1 << 3, "aborted": 1 << 5}
BY_PROTOCOL = 1 << 6  # who asked for the test


def _text(text: str, registers: int) -> list[int]:
    padded = text.ljust(2 * registers).encode("ascii")
    return [padded[k] << 8 | padded[k + 1] for k in range(0, 2 * registers, 2)]


def _state(seen: Seen) -> dict[int, int]:
    plant, ups = seen.plant, seen.plant.ups
    overload = ups.load_w / 0.9 > 1.05 * ups.rated_va
    bits = 1 << STATE_BIT[ups.source] | (not plant.mains.good[0]) << 6 | (ups.testing_s > 0) << 7 | overload << 21
    low = ups.source == "battery" and ups.charge < LOW_CHARGE
    result = TEST_BITS[ups.test_result]
    words = zeros((0, 27))
    words[0], words[1] = u32(bits)
    words[18] = (ups.source == "battery") | low << 1
    words[21] = int(overload) | (plant.climate.inside_c > 50.0) << 4
    words[22] = ups.replace << 2
    words[23] = result and result | BY_PROTOCOL
    return words


def image(seen: Seen) -> Image:
    plant, ups = seen.plant, seen.plant.ups
    on = ups.source != "off"
    measured = dict.fromkeys(range(128, 160), NO_VALUE)
    measured[128], measured[129] = u32(ups_remaining_s(ups))
    measured |= {
        130: u16(ups.charge * 100 * 2**9),
        131: s16(ups.battery_v * 2**5),
        135: s16((plant.climate.inside_c + 3) * 2**7),
        136: u16(100 * ups.load_w / (0.9 * ups.rated_va) * 2**8 if on else 0),
        140: u16(ups.load_w / 220.1 * 2**5 if on else 0),
        142: u16(220.1 * 2**6 if on else 0),
        144: u16(50.0 * 2**7 if on else 0),
        151: u16(plant.mains.at(0) * 2**6),
    }
    inventory = zeros((516, 120))
    for first, text, registers in ((516, "UPS 09.8", 8), (532, "Smart-UPS SIM", 16), (564, "SIM0000001", 8)):
        inventory |= {first + k: word for k, word in enumerate(_text(text, registers))}
    inventory |= {588: u16(ups.rated_va), 589: u16(ups.rated_va * 0.9)}
    return Image(holding=_state(seen) | measured | inventory | {TEST_COMMAND: 0})


def write(_seen: Seen, address: int, values: tuple[int, ...]) -> Effect:
    """Only the self-test; its register reads 0 again at once."""
    if address != TEST_COMMAND or len(values) != 1:
        raise Illegal(ILLEGAL_ADDRESS)
    if values[0] not in (START, ABORT):
        raise Illegal(ILLEGAL_VALUE)
    return Effect(orders=(UpsTesting(TEST_S if values[0] == START else 0.0),))


APC = ModbusProduct(image, frozenset({3, 16}), write_registers=write, response_s=0.05)
