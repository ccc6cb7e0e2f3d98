"""Electronic locks that show cards and are unlocked by a command: the Huawei cabinet lock and the Shengjiu RS485 lock.

Huawei (tables §7.2, Modbus RTU; numbers of the field program MyServer9608_new, hw_locker.o). It asks nine registers
from 0x1000: state, reason, upload count, ID length, ten bytes of ID, of which it takes the second to the fifth as the
card. 0x4002 takes 0x33 to unlock and 0xCC to lock, by function 6. A site may say other registers (`query`,
`command`).

Shengjiu (tables §7.1). The answer to the query 0016: state (0 closed), the card's 4 bytes, least significant first, and
9 bytes more of which nothing is known: the frame's flag stands at offset 25. 0005 unlocks, 0006 locks.
"""

from hwsim.devices.image import ILLEGAL_ADDRESS, ILLEGAL_VALUE, Effect, Illegal, Image, ModbusProduct, Seen
from hwsim.devices.spoken import LockProduct, Spoken

UNLOCKED, COUNT, LENGTH, CARD, REASON = 0, 101, 102, 103, 104  # latches; 0 is what an output of the site names
ID_BYTES = 10
FAMILY = 0x27  # the ID's first byte, which is not of the card's number
BY_COMMAND = 1
OPEN, CLOSE = 0x33, 0xCC


def _registers(seen: Seen) -> tuple[int, int]:
    return int(seen.parameters.get("query", 0x1000)), int(seen.parameters.get("command", 0x4002))


def image(seen: Seen) -> Image:
    query, command = _registers(seen)
    card, length = seen.memory.get(CARD, 0), seen.memory.get(LENGTH, 0)
    told = (bytes([FAMILY]) + card.to_bytes(4, "big") if length else b"").ljust(ID_BYTES, b"\0")
    block = (
        seen.memory.get(UNLOCKED, 0),
        seen.memory.get(REASON, 0),
        seen.memory.get(COUNT, 0) & 0xFFFF,
        length,
        *(int.from_bytes(told[k : k + 2], "big") for k in range(0, ID_BYTES, 2)),
    )
    return Image(holding={query + k: word for k, word in enumerate(block)} | {command: 0})


def write(seen: Seen, address: int, values: tuple[int, ...]) -> Effect:
    _, command = _registers(seen)
    if address != command or len(values) != 1:
        raise Illegal(ILLEGAL_ADDRESS)
    if values[0] not in (OPEN, CLOSE):
        raise Illegal(ILLEGAL_VALUE)
    on = int(values[0] == OPEN)
    return Effect(memory={UNLOCKED: on, REASON: BY_COMMAND * on})


def shown(seen: Seen, card: int) -> Effect:
    """A card is shown: a byte and the card's 4, high byte first, and the upload count rises."""
    return Effect(memory={CARD: card & 0xFFFFFFFF, LENGTH: 5, COUNT: seen.memory.get(COUNT, 0) + 1})


HUAWEI_LOCK = ModbusProduct(image, frozenset({3, 6}), write_registers=write, response_s=0.01)


# --- Shengjiu -------------------------------------------------------------------------------------------------------

QUERY, UNLOCK, LOCK = 0x0016, 0x0005, 0x0006
REST = bytes(9)


def answer(seen: Seen, signal: int, _data: bytes) -> Spoken:
    if signal == QUERY:
        card = seen.memory.get(CARD, 0).to_bytes(4, "little")
        return Spoken(bytes([seen.memory.get(UNLOCKED, 0)]) + card + REST)
    if signal in (UNLOCK, LOCK):
        return Spoken(effect=Effect(memory={UNLOCKED: int(signal == UNLOCK)}))
    return Spoken()


SHENGJIU = LockProduct(answer, (QUERY,))
