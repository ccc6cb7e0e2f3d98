"""UHPPOTE / Weigeng (微耕) door controllers in bytes: 64-byte datagrams, both ways, that begin with 17 and a function.

Source: uhppoted (github.com/uhppoted, the protocol by its community; the maker publishes none). Bytes 4–7 are the
controller's serial number, little-endian; what follows depends on the function; the rest is zero. There is no checksum
and no number of the question: an answer is told by its function and the serial number, and UDP checks the bytes. Which
functions are asked when, and what their answers mean for a site, is not known here.
"""

import struct
from dataclasses import dataclass
from datetime import date, datetime
from ipaddress import IPv4Address
from typing import Final

from gantry_agent.field.request import AskController
from gantry_agent.model import BadReply, DeviceRefused

SIZE: Final = 64
MARK: Final = 0x17
HEAD: Final = 8  # mark, function, two zeros, serial number

STATUS: Final = 0x20
SET_TIME: Final = 0x30
GET_TIME: Final = 0x32
OPEN_DOOR: Final = 0x40
PUT_CARD: Final = 0x50
DELETE_CARD: Final = 0x52
COUNT_CARDS: Final = 0x58
GET_CARD: Final = 0x5A
GET_CARD_AT: Final = 0x5C
DISCOVER: Final = 0x94
GET_EVENT: Final = 0xB0
SET_LISTENER: Final = 0x90
GET_LISTENER: Final = 0x92

PUSH_MARKS: Final = frozenset({MARK, 0x19})  # firmware 6.62 begins a pushed event with 19
ANYBODY: Final = 0  # the serial number to ask by who is there

DOORS: Final = (1, 2, 3, 4)
SWIPE: Final = 1  # type of event: a card was shown
HIGHEST_CARD: Final = 0xFFFFFFFE  # FFFFFFFF is what stands where a card was deleted
DECLINED: Final = 0  # DeviceRefused.code: the controller understood and did not do it
_ECHOED: Final = frozenset({GET_CARD, GET_EVENT})  # the answer begins with what was asked for, or with 0: there is none
# Byte 8 of the answer is 1, or 0: declined.
_SAYS_DONE: Final = frozenset({OPEN_DOOR, PUT_CARD, DELETE_CARD, SET_LISTENER})


@dataclass(frozen=True, slots=True)
class CardRecord:
    """A card as a controller keeps it: from the beginning of the first day to the end of the last, at these doors."""

    number: int
    first: date | None
    last: date | None
    doors: frozenset[int]


@dataclass(frozen=True, slots=True)
class Event:
    """What a controller has noted; index 0 where there is none. `door` and `card` are 0 where they do not belong."""

    index: int
    kind: int
    granted: bool
    door: int
    card: int


@dataclass(frozen=True, slots=True)
class Listener:
    """Whom a controller pushes events to, 0.0.0.0 is nobody; and its status each `every_s`, 0 is never."""

    address: IPv4Address
    port: int
    every_s: int = 0

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


# --- frames ---------------------------------------------------------------------------------------------------------


def frame(request: AskController) -> bytes:
    """Write the datagram that asks `request`; data that do not fit are a ValueError, since they are our fault."""
    if len(request.data) > SIZE - HEAD:
        raise ValueError(f"cannot ask function {request.function:#04x}: {len(request.data)} bytes do not fit")
    return struct.pack("<BBHI", MARK, request.function, 0, request.serial) + request.data.ljust(SIZE - HEAD, b"\0")


def answers(request: AskController, datagram: bytes) -> bool:
    """Tell whether this is an answer to that question; anything else that comes is somebody else's, or late."""
    if len(datagram) != SIZE or datagram[0] != MARK or datagram[1] != request.function:
        return False
    whom = ANYBODY if request.function == DISCOVER else request.serial
    if whom not in (ANYBODY, read_serial(datagram)):
        return False
    return request.function not in _ECHOED or number(read_number(datagram)) in {request.data, number(0)}


def check(request: AskController, datagram: bytes) -> bytes:
    """Give an answer back whole, so that offsets are the vendor's. Raises DeviceRefused where it says no."""
    if request.function in _SAYS_DONE and datagram[HEAD] != 1:
        raise DeviceRefused(
            f"cannot have function {request.function:#04x} done: controller {request.serial} declined", DECLINED
        )
    return datagram


# --- questions ------------------------------------------------------------------------------------------------------


def number(value: int) -> bytes:
    """The data of a question that is asked by one number: a card, an index."""
    return value.to_bytes(4, "little")


def put_card(record: CardRecord) -> bytes:
    """The data of PUT_CARD; without a PIN."""
    doors = bytes(int(door in record.doors) for door in DOORS)
    return number(record.number) + _date(record.first) + _date(record.last) + doors


def set_time(now: datetime) -> bytes:
    """The data of SET_TIME: the controller's clock knows no zone, so local time."""
    return bytes.fromhex(now.strftime("%Y%m%d%H%M%S"))


def set_listener(wanted: Listener) -> bytes:
    """The data of SET_LISTENER."""
    return wanted.address.packed + struct.pack("<HB", wanted.port, wanted.every_s)


# --- answers --------------------------------------------------------------------------------------------------------


def read_number(datagram: bytes) -> int:
    """The number that an answer begins with: a count, a card."""
    return int.from_bytes(datagram[HEAD : HEAD + 4], "little")


def read_serial(datagram: bytes) -> int:
    """Who answered."""
    return int.from_bytes(datagram[4:8], "little")


def read_version(datagram: bytes) -> str:
    """The firmware that an answer to DISCOVER tells of: `8.92 2018-08-16`."""
    day = datagram[28:32].hex()
    return f"{datagram[26]:x}.{datagram[27]:02x} {day[:4]}-{day[4:6]}-{day[6:]}"


def read_card(datagram: bytes) -> CardRecord | None:
    """Read an answer to GET_CARD or GET_CARD_AT; None where there is no card, or one was deleted."""
    card = read_number(datagram)
    if not 0 < card <= HIGHEST_CARD:
        return None
    doors = frozenset(door for door, allowed in zip(DOORS, datagram[20:24], strict=True) if allowed)
    return CardRecord(card, _read_date(datagram[12:16]), _read_date(datagram[16:20]), doors)


def read_time(datagram: bytes) -> datetime | None:
    """Read an answer to GET_TIME; None for a clock that shows no time."""
    try:
        return datetime.strptime(datagram[HEAD : HEAD + 7].hex(), "%Y%m%d%H%M%S")  # noqa: DTZ007 - it has no zone
    except ValueError:
        return None


def read_listener(datagram: bytes) -> Listener:
    """Read an answer to GET_LISTENER."""
    return Listener(IPv4Address(datagram[HEAD : HEAD + 4]), *struct.unpack_from("<HB", datagram, HEAD + 4))


def pushed_by(datagram: bytes) -> int | None:
    """Tell the serial number in an event that was pushed: a status nobody asked for. None for what is none."""
    if len(datagram) != SIZE or datagram[0] not in PUSH_MARKS or datagram[1] != STATUS:
        return None
    return read_serial(datagram)


def read_event(datagram: bytes) -> Event:
    """Read an answer to GET_EVENT, or the newest event of a STATUS: both have it in the same place."""
    index, kind, granted, door = struct.unpack_from("<IBBB", datagram, HEAD)
    return Event(index, kind, bool(granted), door, int.from_bytes(datagram[16:20], "little"))


def _date(day: date | None) -> bytes:
    return bytes(4) if day is None else bytes.fromhex(day.strftime("%Y%m%d"))


def _read_date(raw: bytes) -> date | None:
    """A date in BCD; None for zeros. What is no date at all spoils the answer: nobody wrote it so."""
    if not any(raw):
        return None
    try:
        return datetime.strptime(raw.hex(), "%Y%m%d").date()  # noqa: DTZ007 - a day
    except ValueError:
        raise BadReply(f"cannot use the answer: {raw.hex()} is no date") from None
