"""A UHPPOTE / Weigeng door controller (tables §7.3): its cards, its events, and what it answers to a datagram.

64 bytes both ways: 17, function, two zeros, serial number little-endian, then what the function has. A question that
it does not know, or that is for another serial number, it leaves unanswered. A deleted card leaves a hole in the list,
which the next new card fills; the count does not count it. Reasons of events are those of the maker's tools (1 swipe,
6 no privilege, 44 remote). Each event is pushed to the listener that is set, as the status of that moment, once. Time
is given: a board has its own clock, which may be off.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

SIZE = 64
DELETED = 0xFFFFFFFF
SWIPE, DOOR = 1, 2  # types of event
PASS, NO_PRIVILEGE, OPENED, CLOSED, REMOTE = 1, 6, 23, 24, 44
CONTROLLED = 3
DELAY_S = 3
MOST_CARDS = 20_000
MAGIC = bytes.fromhex("55AAAA55")

Bits = tuple[bool, ...]
Answer = tuple[bytes, tuple[int, ...]]  # what follows the serial number, and the doors that are opened by it


@dataclass(frozen=True, slots=True)
class Entry:
    """A card as it was put: number, the two dates as they came (BCD), the four doors, the PIN."""

    number: int
    first: bytes
    last: bytes
    doors: bytes
    pin: bytes = b"\0\0\0"

    def opens(self, door: int, today: datetime) -> bool:
        day = today.strftime("%Y%m%d")
        return bool(self.doors[door - 1]) and self.first.hex() <= day <= self.last.hex()

    @property
    def record(self) -> bytes:
        return struct.pack("<I", self.number) + self.first + self.last + self.doors + self.pin


@dataclass(frozen=True, slots=True)
class Noted:
    """An event."""

    kind: int
    granted: bool
    door: int
    card: int
    at: datetime
    reason: int


@dataclass(slots=True)
class Panel:
    """One controller. While it is `stubborn` it acknowledges what it does not do, as one with a worn memory."""

    serial: int
    places: list[Entry | None] = field(default_factory=list)
    place_of: dict[int, int] = field(default_factory=dict)  # by card
    events: list[Noted] = field(default_factory=list)
    delays: dict[int, int] = field(default_factory=lambda: dict.fromkeys((1, 2, 3, 4), DELAY_S))
    modes: dict[int, int] = field(default_factory=lambda: dict.fromkeys((1, 2, 3, 4), CONTROLLED))
    contacts: Bits = (False,) * 4
    clock_off: timedelta = timedelta(0)
    read_upto: int = 0
    listener: bytes = bytes(7)  # address, port low byte first, seconds between two tellings without an event
    pushed: int = 0  # events
    stubborn: bool = False
    capacity: int = MOST_CARDS

    # --- what people do

    def swipe(self, card: int, door: int, now: datetime) -> bool:
        """Show a card at a door; tell whether it is let in."""
        entry = self.find(card)
        granted = entry is not None and entry.opens(door, now + self.clock_off)
        self._note(Noted(SWIPE, granted, door, card, now + self.clock_off, PASS if granted else NO_PRIVILEGE))
        return granted

    def watch(self, contacts: Bits, now: datetime) -> None:
        """Note which doors were opened or closed since it last looked."""
        for k, opened in enumerate(contacts):
            if opened != self.contacts[k]:
                self._note(Noted(DOOR, True, k + 1, 0, now + self.clock_off, OPENED if opened else CLOSED))
        self.contacts = contacts

    def find(self, card: int) -> Entry | None:
        place = self.place_of.get(card)
        return None if place is None else self.places[place]

    @property
    def cards(self) -> list[Entry]:
        return [one for one in self.places if one is not None]

    def _note(self, event: Noted) -> None:
        self.events.append(event)

    # --- what it says unasked

    @property
    def pushes_to(self) -> tuple[str, int] | None:
        """Address and port of its listener."""
        address, port = self.listener[:4], int.from_bytes(self.listener[4:6], "little")
        return (".".join(map(str, address)), port) if any(address) and port else None

    def news(self, contacts: Bits, relays: Bits, now: datetime) -> list[bytes]:
        """The packets for what was noted since the last time; without a listener it is not told later either."""
        first, self.pushed = self.pushed + 1, len(self.events)
        if self.pushes_to is None:
            return []
        head = struct.pack("<BBHI", 0x17, 0x20, 0, self.serial)
        return [head + self._status(contacts, relays, now, index) for index in range(first, self.pushed + 1)]

    # --- what is asked

    def answer(self, datagram: bytes, contacts: Bits, relays: Bits, now: datetime) -> Answer | None:
        """The whole answer, and which doors open for it. `contacts` and `relays` are of the four doors: open, on."""
        whom = struct.unpack_from("<I", datagram, 4)[0] if len(datagram) == SIZE else 0
        anybody = datagram[1:2] == b"\x94" and whom == 0
        if len(datagram) != SIZE or datagram[0] != 0x17 or not (whom == self.serial or anybody):
            return None
        function, asked = datagram[1], datagram[8:]
        if function == 0x20:
            body: Answer = self._status(contacts, relays, now), ()
        elif function in _FUNCTIONS:
            body = _FUNCTIONS[function](self, asked, now)
        else:
            return None
        said, opened = body
        return struct.pack("<BBHI", 0x17, function, 0, self.serial) + said.ljust(SIZE - 8, b"\0"), opened

    def _status(self, contacts: Bits, relays: Bits, now: datetime, index: int | None = None) -> bytes:
        said = bytearray(SIZE - 8)
        if self.events:
            said[0:20] = self._event(index or len(self.events))
        shown = now + self.clock_off
        said[20:24] = bytes(int(one) for one in contacts)
        said[29:32] = bytes.fromhex(shown.strftime("%H%M%S"))
        said[41] = sum(int(on) << k for k, on in enumerate(relays))
        said[43:46] = bytes.fromhex(shown.strftime("%y%m%d"))
        return bytes(said)

    def _event(self, index: int) -> bytes:
        one = self.events[index - 1]
        head = struct.pack("<IBBBBI", index, one.kind, one.granted, one.door, 1, one.card)
        return head + bytes.fromhex(one.at.strftime("%Y%m%d%H%M%S")) + bytes([one.reason])

    def get_event(self, asked: bytes, _now: datetime) -> Answer:
        (index,) = struct.unpack_from("<I", asked)
        return (self._event(index) if 1 <= index <= len(self.events) else b""), ()

    def get_event_index(self, _asked: bytes, _now: datetime) -> Answer:
        return struct.pack("<I", self.read_upto), ()

    def set_event_index(self, asked: bytes, _now: datetime) -> Answer:
        (self.read_upto,) = struct.unpack_from("<I", asked)
        return b"\1", ()

    def set_listener(self, asked: bytes, _now: datetime) -> Answer:
        if not self.stubborn:
            self.listener = asked[:7]
        return b"\1", ()

    def get_listener(self, _asked: bytes, _now: datetime) -> Answer:
        return self.listener, ()

    def open_door(self, asked: bytes, now: datetime) -> Answer:
        door = asked[0]
        if door not in self.modes or self.modes[door] != CONTROLLED:
            return b"\0", ()
        if self.stubborn:
            return b"\1", ()
        self._note(Noted(DOOR, True, door, 0, now + self.clock_off, REMOTE))
        return b"\1", (door,)

    def put_card(self, asked: bytes, _now: datetime) -> Answer:
        (number,) = struct.unpack_from("<I", asked)
        entry = Entry(number, asked[4:8], asked[8:12], asked[12:16], asked[16:19])
        if number in (0, DELETED):
            return b"\0", ()
        if self.stubborn:
            return b"\1", ()
        place = self.place_of.get(number)
        if place is None and len(self.place_of) >= self.capacity:
            return b"\0", ()
        if place is None and len(self.place_of) < len(self.places):
            place = self.places.index(None)  # the hole that a deleted card left
        elif place is None:
            place = len(self.places)
            self.places.append(None)
        self.places[place], self.place_of[number] = entry, place
        return b"\1", ()

    def delete_card(self, asked: bytes, _now: datetime) -> Answer:
        (number,) = struct.unpack_from("<I", asked)
        if number not in self.place_of:
            return b"\0", ()
        if not self.stubborn:
            self.places[self.place_of.pop(number)] = None
        return b"\1", ()

    def delete_all(self, asked: bytes, _now: datetime) -> Answer:
        if asked[:4] != MAGIC:
            return b"\0", ()
        if not self.stubborn:
            self.places.clear()
            self.place_of.clear()
        return b"\1", ()

    def count_cards(self, _asked: bytes, _now: datetime) -> Answer:
        return struct.pack("<I", len(self.place_of)), ()

    def get_card(self, asked: bytes, _now: datetime) -> Answer:
        found = self.find(struct.unpack_from("<I", asked)[0])
        return (found.record if found else b""), ()

    def get_card_at(self, asked: bytes, _now: datetime) -> Answer:
        (place,) = struct.unpack_from("<I", asked)
        if not 1 <= place <= len(self.places):
            return b"", ()
        one = self.places[place - 1]
        return (one.record if one else struct.pack("<I", DELETED)), ()

    def door_control(self, asked: bytes, _now: datetime) -> Answer:
        door, mode, delay = asked[:3]
        if door in self.modes:
            self.modes[door], self.delays[door] = mode, delay
        return self.get_door_control(asked, _now)

    def get_door_control(self, asked: bytes, _now: datetime) -> Answer:
        door = asked[0]
        return bytes([door, self.modes.get(door, 0), self.delays.get(door, 0)]), ()

    def discover(self, _asked: bytes, _now: datetime) -> Answer:
        """Address, mask, gateway, MAC, version and date; the first four are nobody's here."""
        return bytes(18) + bytes.fromhex("0892 20180816"), ()

    def get_time(self, _asked: bytes, now: datetime) -> Answer:
        return bytes.fromhex((now + self.clock_off).strftime("%Y%m%d%H%M%S")), ()

    def set_time(self, asked: bytes, now: datetime) -> Answer:
        self.clock_off = datetime.strptime(asked[:7].hex(), "%Y%m%d%H%M%S") - now  # noqa: DTZ007 - it has no zone
        return asked[:7], ()


_FUNCTIONS: dict[int, Callable[[Panel, bytes, datetime], Answer]] = {
    0x30: Panel.set_time,
    0x32: Panel.get_time,
    0x40: Panel.open_door,
    0x50: Panel.put_card,
    0x52: Panel.delete_card,
    0x54: Panel.delete_all,
    0x58: Panel.count_cards,
    0x5A: Panel.get_card,
    0x5C: Panel.get_card_at,
    0x80: Panel.door_control,
    0x82: Panel.get_door_control,
    0x90: Panel.set_listener,
    0x92: Panel.get_listener,
    0x94: Panel.discover,
    0xB0: Panel.get_event,
    0xB2: Panel.set_event_index,
    0xB4: Panel.get_event_index,
}


@dataclass(frozen=True, slots=True)
class AccessProduct:
    """A product that is asked on wires of type uhppote."""


CONTROLLER = AccessProduct()
