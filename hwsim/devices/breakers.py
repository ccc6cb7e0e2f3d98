"""Breakers that are opened and closed over RS485, from the tables of field programs (§9).

Renda cabinets (allCollector `ModbusServer.h`): a module with its status in 0x5000 and orders in 0x6802 (0x33 close,
0x13 open, 0x03 open and lock, 0x23 unlock), and an auto-reclosing breaker with its status in 0x10 and orders in 0x11
(1 open, 2 close). What the status words mean is in no source: this one shows the words that the site file says it has
seen (`closed_word`, `open_word`), else some of its own.

LX47LE-125 (the record of a real unit): input register 0 is the state, its low byte F0 closed and 0F open, its high
byte the lock; 4 Hz × 10, 6 and 7 °C + 40, 8 V, 9 A × 100, 10 power factor × 100, 11 W, 12 var, 13 VA; coil 1 closes
and opens.

The latch 0, which an output of the site drives, is whether it is open.
"""

from hwsim.devices.image import ILLEGAL_ADDRESS, ILLEGAL_VALUE, Effect, Illegal, Image, ModbusProduct, Seen, u16

OPENED, LOCKED = 0, 100
OWN_WORDS = (0x0180, 0x0240)  # closed, open


def _word(seen: Seen) -> int:
    closed, opened = (int(seen.parameters.get(name, -1)) for name in ("closed_word", "open_word"))
    if closed < 0 or opened < 0:
        closed, opened = OWN_WORDS
    return opened if seen.memory.get(OPENED, 0) else closed


# --- Renda ------------------------------------------------------------------------------------------------------------

MODULE_STATUS, MODULE_ORDER = 0x5000, 0x6802
RECLOSER_STATUS, RECLOSER_ORDER = 0x10, 0x11


def _only(address: int, values: tuple[int, ...], order: int) -> int:
    if address != order or len(values) != 1:
        raise Illegal(ILLEGAL_ADDRESS)
    return values[0]


def module(seen: Seen) -> Image:
    return Image(holding={MODULE_STATUS: _word(seen), MODULE_ORDER: 0})


def order_module(seen: Seen, address: int, values: tuple[int, ...]) -> Effect:
    match _only(address, values, MODULE_ORDER):
        case 0x33 if seen.memory.get(LOCKED, 0):
            return Effect()  # taken and not done, as locked breakers do
        case 0x33:
            return Effect(memory={OPENED: 0})
        case 0x13:
            return Effect(memory={OPENED: 1})
        case 0x03:
            return Effect(memory={OPENED: 1, LOCKED: 1})
        case 0x23:
            return Effect(memory={LOCKED: 0})
    raise Illegal(ILLEGAL_VALUE)


def recloser(seen: Seen) -> Image:
    return Image(holding={RECLOSER_STATUS: _word(seen), RECLOSER_ORDER: 0})


def order_recloser(_seen: Seen, address: int, values: tuple[int, ...]) -> Effect:
    wanted = _only(address, values, RECLOSER_ORDER)
    if wanted not in (1, 2):
        raise Illegal(ILLEGAL_VALUE)
    return Effect(memory={OPENED: int(wanted == 1)})


MODULE = ModbusProduct(module, frozenset({3, 6}), write_registers=order_module, response_s=0.03)
RECLOSER = ModbusProduct(recloser, frozenset({3, 6}), write_registers=order_recloser, response_s=0.03)

# --- LX47LE-125 -------------------------------------------------------------------------------------------------------

LOAD_A, COSINE, SWITCH = 1.5, 0.98, 1


def lx47le(seen: Seen) -> Image:
    opened = bool(seen.memory.get(OPENED, 0))
    volts, hertz = seen.plant.mains.at(0), seen.plant.mains.frequency_hz
    amps = 0.0 if opened or not volts else LOAD_A
    values = {
        0: 0x0F if opened else 0xF0,
        4: hertz * 10 if volts else 0,
        6: seen.plant.climate.inside_c + 40,
        7: seen.plant.climate.inside_c + 40,
        8: volts,
        9: amps * 100,
        10: COSINE * 100 if amps else 0,
        11: volts * amps * COSINE,
        13: volts * amps,
    }
    return Image(
        coils={0: 0, SWITCH: int(not opened), 2: 0, 3: 0, 4: 0, 5: 0},
        input={k: u16(values.get(k, 0)) for k in range(24)},
    )


def switch_lx47le(_seen: Seen, address: int, values: tuple[int, ...]) -> Effect:
    if address != SWITCH or len(values) != 1:
        raise Illegal(ILLEGAL_ADDRESS)
    return Effect(memory={OPENED: int(not values[0])})


LX47LE = ModbusProduct(lx47le, frozenset({1, 3, 4, 5, 6}), write_coils=switch_lx47le, response_s=0.03)
