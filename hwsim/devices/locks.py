"""Electronic locks that show cards and are unlocked by a command: the Huawei cabinet lock and the Shengjiu RS485 lock.

Huawei (tables §7.2, Modbus RTU). The query block in its order: state, reason, upload count, ID length, card ID in up to
16 bytes. The register numbers are in no public source, so they are the parameters `query` and `command` of the site
file, as they are for the agent.

Shengjiu (tables §7.1). The answer to the query 0016: state (0 closed), the card's 4 bytes, least significant first, and
9 bytes more of which nothing is known: the frame's flag stands at offset 25. 0005 unlocks, 0006 locks.
"""

from hwsim.devices.image import ILLEGAL_ADDRESS, Effect, Illegal, Image, ModbusProduct, Seen
from hwsim.devices.spoken import LockProduct, Spoken

UNLOCKED, COUNT, LENGTH, CARD, REASON = 0, 101, 102, 103, 104  # latches; 0 is what an output of the site names
ID_REGISTERS = 8
BY_COMMAND = 1


def _registers(seen: Seen) -> tuple[int, int]:
    return int(seen.parameters.get("query", 0)), int(seen.parameters.get("command", 0x10))


def image(seen: Seen) -> Image:
    query, command = _registers(seen)
    card = seen.memory.get(CARD, 0)
    block = (
        seen.memory.get(UNLOCKED, 0),
        seen.memory.get(REASON, 0),
        seen.memory.get(COUNT, 0) & 0xFFFF,
        seen.memory.get(LENGTH, 0),
        *(card >> 16, card & 0xFFFF),
        *(0,) * (ID_REGISTERS - 2),
    )
    return Image(holding={query + k: word for k, word in enumerate(block)} | {command: seen.memory.get(UNLOCKED, 0)})


def write(seen: Seen, address: int, values: tuple[int, ...]) -> Effect:
    _, command = _registers(seen)
    if address != command or len(values) != 1:
        raise Illegal(ILLEGAL_ADDRESS)
    on = int(values[0] != 0)
    return Effect(memory={UNLOCKED: on, REASON: BY_COMMAND * on})


def shown(seen: Seen, card: int) -> Effect:
    """A card is shown: 4 bytes, high byte first, and the upload count rises."""
    return Effect(memory={CARD: card & 0xFFFFFFFF, LENGTH: 4, COUNT: seen.memory.get(COUNT, 0) + 1})


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
