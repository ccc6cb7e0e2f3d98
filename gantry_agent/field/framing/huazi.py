"""The Huazi (华咨) surge protector monitor in bytes: datagrams of little-endian numbers, the first of them always 100.

Source: jayronjiang/MyServer9608_new `net_spd.cpp` (before November 2020) and `common/SpdClient.h`. A question is six
numbers of four bytes: 100, version 1, length, address, command, checksum 0. An answer has 100, a number that is not
looked at there, its length, and then values of two bytes each from byte 12 on; what it ends with is not known, nor a
checksum. It names neither the address nor the command: the answers to the two commands are told by their length, and
devices by where they are, so there is one behind each port.
"""

import struct
from typing import Final

from gantry_agent.field.request import AskSurge

MARK: Final = 100
VERSION: Final = 1
SURGE: Final = 0x0C  # the command that reads the surge protector; 0D reads an earth tester
QUESTION: Final = struct.Struct("<6I")
HEAD: Final = struct.Struct("<III")
SURGE_BYTES: Final = 0x2E


def frame(request: AskSurge) -> bytes:
    """Write the datagram that asks `request`."""
    return QUESTION.pack(MARK, VERSION, QUESTION.size, request.unit, SURGE, 0)


def is_answer(request: AskSurge, datagram: bytes) -> bool:
    """Tell whether this is an answer to that question; it must have the length that it says."""
    del request
    if len(datagram) != SURGE_BYTES:
        return False
    mark, _, length = HEAD.unpack_from(datagram)
    return (mark, length) == (MARK, SURGE_BYTES)
