"""I/O modules: Moxa ioLogik E1212 and E1214, and the Modbus relay board of Waveshare and its clones.

Moxa's addresses are those of the "Modbus/TCP Default Address Mappings" in the ioLogik E1200 manual, appendix A: the
DIO channels of an E1212, used as outputs here, count as DO 0–7 and as DI 8–15.
"""

from collections.abc import Callable

from hwsim.devices.image import ILLEGAL_ADDRESS, ILLEGAL_VALUE, Effect, Illegal, Image, ModbusProduct, Seen, zeros

Bits = tuple[int, ...]


def _outputs(seen: Seen, count: int) -> Bits:
    return tuple(seen.memory.get(k, 0) for k in range(count))


def _inputs(seen: Seen, count: int) -> Bits:
    wired = tuple(int(level) for level in seen.inputs[:count])
    return wired + (0,) * (count - len(wired))


def _word(bits: Bits) -> int:
    return sum(bit << k for k, bit in enumerate(bits))


def _moxa(inputs: int, outputs: int, dio: int) -> Callable[[Seen], Image]:
    def image(seen: Seen) -> Image:
        di = _inputs(seen, inputs) + (0,) * dio
        do = _outputs(seen, outputs)
        return Image(
            coils=zeros((0x0010, outputs)) | dict(enumerate(do)),  # 0x10…: pulse output running
            discrete=dict(enumerate(di)),
            input=zeros((0x0010, 2 * len(di))) | {0x0030: _word(di)},  # 0x10…: counters, stopped
            holding={0x0020: _word(do)},
        )

    return image


def _latch(outputs: int) -> Callable[[Seen, int, Bits], Effect]:
    def write_coils(_seen: Seen, address: int, values: Bits) -> Effect:
        if address + len(values) > outputs:
            raise Illegal(ILLEGAL_ADDRESS)
        return Effect(memory={address + k: value for k, value in enumerate(values)})

    return write_coils


def _latch_word(outputs: int) -> Callable[[Seen, int, Bits], Effect]:
    def write_registers(_seen: Seen, address: int, values: Bits) -> Effect:
        if address != 0x0020 or len(values) != 1:
            raise Illegal(ILLEGAL_ADDRESS)
        return Effect(memory={k: values[0] >> k & 1 for k in range(outputs)})

    return write_registers


def relay_board(seen: Seen) -> Image:
    """Eight relays and eight inputs."""
    return Image(coils=dict(enumerate(_outputs(seen, 8))), discrete=dict(enumerate(_inputs(seen, 8))))


FLASH_ON, FLASH_OFF, FLASH_STEP_S = 0x0200, 0x0400, 0.1  # "Modbus RTU Relay", development protocol: 05, value × 100 ms


def _flash(_seen: Seen, address: int, value: int) -> Effect:
    """Hold one of the eight relays on, or off, for a time that the board itself keeps."""
    state, channel = (1, address - FLASH_ON) if address < FLASH_OFF else (0, address - FLASH_OFF)
    if not 0 <= channel < 8:
        raise Illegal(ILLEGAL_ADDRESS)
    if not 0 < value <= 0x7FFF:
        raise Illegal(ILLEGAL_VALUE)
    return Effect(memory={channel: state}, later=((value * FLASH_STEP_S, channel, 1 - state),))


_MOXA_FUNCTIONS = frozenset({1, 2, 3, 4, 5, 6, 15, 16})
E1212 = ModbusProduct(
    _moxa(8, 8, dio=8), _MOXA_FUNCTIONS, write_registers=_latch_word(8), write_coils=_latch(8), response_s=0.005
)
E1214 = ModbusProduct(
    _moxa(6, 6, dio=0), _MOXA_FUNCTIONS, write_registers=_latch_word(6), write_coils=_latch(6), response_s=0.005
)
RELAY_BOARD = ModbusProduct(relay_board, frozenset({1, 2, 5, 15}), write_coils=_latch(8), flash=_flash, response_s=0.01)
