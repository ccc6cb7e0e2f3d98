"""Frames of the Zhongpu Tongan (中普同安) input board: 48 3A, address, function, eight bytes, sum, 45 44.

Written from the tables (§8), sharing nothing with the agent. 52 asks for the inputs, 41 answers.
"""

from dataclasses import dataclass, replace

from hwsim.faults import Fault

READ, ANSWER = 0x52, 0x41
FIRST, LAST = b"H:", b"ED"  # 48 3A and 45 44
SIZE = 15


@dataclass(frozen=True, slots=True)
class BoardFrame:
    address: int
    function: int
    data: bytes = bytes(8)

    @property
    def written(self) -> bytes:
        said = FIRST + bytes([self.address, self.function, *self.data])
        return said + bytes([sum(said) % 256]) + LAST


def begins(data: bytes) -> bool:
    """Whether what came may be the beginning of a frame."""
    return data[:2] == FIRST


def parsed(data: bytes) -> BoardFrame | None:
    """The frame that `data` is; None for what is no sound one."""
    if len(data) != SIZE:
        return None
    frame = BoardFrame(data[2], data[3], data[4:12])
    return frame if frame.written == data else None


def changed(answer: BoardFrame, fault: Fault) -> bytes:
    """An answer with a fault inside it."""
    match fault.kind:
        case "wrong_unit":
            return replace(answer, address=answer.address % 0xFE + 1).written
        case "wrong_function":
            return replace(answer, function=answer.function ^ 0x13).written
        case "bad_crc":
            good = answer.written
            return good[:12] + bytes([good[12] ^ 0xFF]) + good[13:]
    return answer.written
