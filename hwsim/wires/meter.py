"""Frames of DL/T 645-2007 as a meter takes and sends them: 68, address, 68, control, length, data + 33H, sum, 16.

Written from the tables (§4), sharing nothing with the agent. A question may be led by FE bytes, and so is an answer.
"""

from dataclasses import dataclass, replace

from hwsim.faults import Fault

WAKE, START, END = 0xFE, 0x68, 0x16
READ, ANSWER, ERROR = 0x11, 0x91, 0xD1
NO_SUCH_DATA = 0x02
ANYBODY = bytes.fromhex("AA") * 6
HEAD = 10


@dataclass(frozen=True, slots=True)
class MeterFrame:
    """`address` as it stands on the wire; `data` without the 33H."""

    address: bytes
    control: int
    data: bytes

    @property
    def written(self) -> bytes:
        shifted = bytes((one + 0x33) % 256 for one in self.data)
        said = bytes([START, *self.address, START, self.control, len(shifted), *shifted])
        return bytes([WAKE] * 4) + said + bytes([sum(said) % 256, END])


def begins(data: bytes) -> bool:
    """Whether what came may be the beginning of a frame; 68H alone may be a Modbus unit as well."""
    bare = data.lstrip(bytes([WAKE]))
    return data[:1] == bytes([WAKE]) or (len(bare) >= HEAD and bare[0] == bare[7] == START)


def ended(data: bytes) -> bool:
    """Whether a frame that has begun is there whole."""
    bare = data.lstrip(bytes([WAKE]))
    return len(bare) >= HEAD and len(bare) >= HEAD + bare[9] + 2


def parsed(data: bytes) -> MeterFrame | None:
    """The frame that `data` is; None for what is no sound one."""
    bare = data.lstrip(bytes([WAKE]))
    if not ended(data) or len(bare) != HEAD + bare[9] + 2:
        return None
    frame = MeterFrame(bare[1:7], bare[8], bytes((one - 0x33) % 256 for one in bare[HEAD:-2]))
    return frame if frame.written.lstrip(bytes([WAKE])) == bare else None


def changed(answer: MeterFrame, fault: Fault) -> bytes:
    """An answer with a fault inside it."""
    match fault.kind:
        case "wrong_unit":
            return replace(answer, address=bytes([answer.address[0] ^ 0x01]) + answer.address[1:]).written
        case "wrong_function":
            return replace(answer, control=answer.control ^ 0x05).written
        case "bad_crc":
            good = answer.written
            return good[:-2] + bytes([good[-2] ^ 0xFF]) + good[-1:]
    return answer.written
