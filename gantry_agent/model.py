"""The nouns: what the program talks about, as frozen values.

Nothing here does anything: no input or output, no clock, no parsing. `vocabulary` names the quantities; this module
names the things that have them. One concept, one word, in code, YAML, log and page (README, "How it works").
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from gantry_agent.text import Text

Value = int | float | str
Lane = Literal["fast", "slow"]
Channel = Literal["computer", "cabinet"]  # the two upload methods, each with its own server and frequency (D9)

NOTHING: Mapping[str, Value] = MappingProxyType({})


# --- readings -------------------------------------------------------------------------------------------------------


class Quality(StrEnum):
    """Whether a reading has a value; the other three are the words of the interface (§1.8)."""

    OK = "ok"
    NO_DATA = "NoData"
    GET_FAILED = "GetFailed"
    NOT_SUPPORT = "NotSupport"


@dataclass(frozen=True, slots=True)
class Reading:
    """A point's value and when it was taken (Unix seconds), or why there is none."""

    value: Value | None
    quality: Quality = Quality.OK
    at: float = 0.0


NO_DATA = Reading(None, Quality.NO_DATA)
GET_FAILED = Reading(None, Quality.GET_FAILED)
NOT_SUPPORT = Reading(None, Quality.NOT_SUPPORT)


@dataclass(frozen=True, slots=True, order=True)
class Role:
    """A place in the payloads: member `ups` number 2 of cabinet 1. Cabinet 0 is the gantry's computers.

    A member of one object (doors) has number 1.
    """

    cabinet: int
    member: str
    number: int = 1


@dataclass(frozen=True, slots=True)
class Answered:
    """What one device said in one round: fields of its roles that were read, whatever their quality."""

    device: str
    at: float
    fields: Mapping[tuple[Role, str], Reading]
    points: Mapping[str, Reading] = field(default_factory=dict)  # raw, those that the site watches (`Device.watched`)
    partial: frozenset[tuple[Role, str]] = frozenset()  # fields that rest on other blocks too, still to be read


@dataclass(frozen=True, slots=True)
class Missed:
    """A device did not answer, or not usably; `why` is for the log."""

    device: str
    at: float
    why: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All latest readings of one cabinet at one instant; replaced whole, never edited."""

    cabinet: int
    entries: Mapping[Role, Mapping[str, Reading]]


@dataclass(frozen=True, slots=True)
class Event:
    """A difference between two snapshots that the cloud must hear of at once."""

    role: Role
    field: str
    before: Reading
    after: Reading
    at: float


# --- the site -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bus:
    """A shared medium, as configured. `settings` are those of its kind (README, "The site file")."""

    name: str
    kind: Literal["serial", "serial-tcp", "modbus-tcp", "snmp", "uhppote", "udp", "zte-http", "zte-serial", "host"]
    settings: Mapping[str, Value | None] = field(hash=False, repr=False)  # communities and keys among them


@dataclass(frozen=True, slots=True)
class MappedPoint:
    """A generic point of a device given a meaning by the site file: `frontDoorClosed: di2`."""

    point: str
    invert: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """A profile on a bus at an address, in one or more roles.

    `key` is unique in the site (`1.meter`, `computer 2`). `roles` gives, by member, the numbers that the profile's
    first, second … instance of that member take. `skip` names members (`elec`) or fields (`elec.voltage`) that the
    profile offers and this site does not want. `mapping` adds fields by generic points. `object` is what a ZTE site
    unit calls it.
    """

    key: str
    cabinet: int
    profile: str
    bus: str
    unit: int
    roles: Mapping[str, tuple[int, ...]] = field(hash=False)
    parameters: Mapping[str, Value] = field(hash=False, default_factory=lambda: NOTHING)
    mapping: Mapping[tuple[Role, str], MappedPoint] = field(hash=False, default_factory=lambda: MappingProxyType({}))
    skip: frozenset[str] = frozenset()
    watched: frozenset[str] = frozenset()  # points that are wanted raw: of card readers
    rows: frozenset[str] = frozenset()  # points of tables that are outputs, so that their rows are located
    object: str = ""


# What loses its supply while an output is on: the way to the cloud, this PC, air conditioners.
Feeds = Literal["", "uplink", "agent", "airConditioners"]


@dataclass(frozen=True, slots=True)
class Output:
    """A switched contact of the site: a writable point of a device, on for `pulse_s` (0 = until told otherwise)."""

    name: str
    device: str
    point: str
    pulse_s: float = 0.0
    invert: bool = False
    feeds: Feeds = ""
    units: tuple[int, ...] = ()  # the numbers of the air conditioners that it feeds, those that the site reads


@dataclass(frozen=True, slots=True)
class Door:
    """What unlocks one door and how long an unlocking explains a lock that opens (D21)."""

    side: Literal["front", "back"]
    unlock: str | None = None  # name of an Output of the same cabinet


@dataclass(frozen=True, slots=True)
class Threshold:
    """An alarm that the site declares on a measured field: too high (`above`) or too low, for so long, until `clear`.

    `limit` and `clear` are in the field's unit; what lies between them changes nothing (hysteresis).
    """

    role: Role
    field: str
    above: bool
    limit: float
    clear: float
    for_s: float
    text: str  # Chinese, as the cloud gets it


@dataclass(frozen=True, slots=True)
class Cabinet:
    number: int
    devices: tuple[str, ...]
    outputs: Mapping[str, Output] = field(hash=False)
    doors: tuple[Door, ...] = ()
    unlock_window_s: float = 10.0
    siren: str | None = None  # names of Outputs; both are on while an illegal opening in defence mode lasts (D22)
    beacon: str | None = None
    alarms: tuple[Threshold, ...] = ()


@dataclass(frozen=True, slots=True)
class Relay:
    """What the cloud calls a relay (cmd 1): an address and port that stand for an output, or for this host (D10).

    `output` is (cabinet, name of the output), None for the host itself. Its contact is wired normally closed: on for
    `pulse_s` cuts the supply for so long. It is not cut again within `hold_off_s`.
    """

    name: str
    ip: str
    port: int
    output: tuple[int, str] | None
    pulse_s: float = 10.0
    hold_off_s: float = 120.0
    default: bool = False


@dataclass(frozen=True, slots=True)
class Camera:
    """What looks at one door: an HTTP snapshot, an RTSP or MJPEG stream, or both."""

    cabinet: int
    side: Literal["front", "back"]
    snapshot: str | None = field(repr=False)  # some cameras want their password in the URL's query
    stream: str | None = field(repr=False)
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Capture:
    """A picture or video of one door opening, whole on the disk; `stamp` is the opening's `yyyyMMddhhmmsszzz`."""

    path: Path
    stamp: str


@dataclass(frozen=True, slots=True)
class Reader:
    """A card reader at one door: the point that shows the card, and those that tell of a showing ('' without).

    It only reads, and the agent decides (D12); or `decides`: a controller has let in whom it shows.
    """

    cabinet: int
    side: Literal["front", "back"]
    device: str
    point: str
    count: str = ""  # changes with every showing
    given: str = ""  # 0 while there is no card
    decides: bool = False


@dataclass(frozen=True, slots=True)
class DoorController:
    """A board that keeps cards of its own, and those of its doors that the whitelist opens."""

    device: str  # by which it is asked
    serial: int
    doors: frozenset[int]


@dataclass(frozen=True, slots=True)
class Interlocks:
    """What is never ordered of hardware, whoever asks; the defaults are safe for a 48 V cabinet."""

    compressor_off_s: float = 180.0  # at least so long does an air conditioner rest before it runs again
    battery_low_v: float = 48.0  # below it, or discharging, no rectifier is switched off
    battery_low_percent: float = 50.0


@dataclass(frozen=True, slots=True)
class Computer:
    """One industrial PC of the gantry; what is read of it comes from the device of the same key `computer N`."""

    number: int
    monitor: bool
    main: bool
    ip: str


@dataclass(frozen=True, slots=True)
class Site:
    """The gantry as configured: built once, never changes."""

    gantry_id: str
    timezone: str
    buses: Mapping[str, Bus] = field(hash=False)
    devices: Mapping[str, Device] = field(hash=False)
    cabinets: tuple[Cabinet, ...]
    computers: tuple[Computer, ...]
    misses: int = 3
    fast_s: float = 0.5
    slow_s: float = 5.0
    flap_changes: int = 3
    hold_down_s: float = 30.0
    gather_ms: int = 100
    relays: tuple[Relay, ...] = ()
    power_modes: tuple[tuple[tuple[int, str], ...], ...] = ((), (), ())  # (cabinet, output) cut from level 1, 2, 3 on
    cameras: tuple[Camera, ...] = ()
    readers: tuple[Reader, ...] = ()
    controllers: tuple[DoorController, ...] = ()
    merge_cards: bool = False  # a new whitelist adds to the old one instead of taking its place (D12)
    card_numbers: Literal["decimal", "hex"] = "decimal"  # how the cloud writes a cardId that is all digits
    interlocks: Interlocks = Interlocks()

    def output(self, place: tuple[int, str]) -> Output:
        """The output of that name in that cabinet."""
        return next(c.outputs[place[1]] for c in self.cabinets if c.number == place[0])


# --- uploads --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """An upload ready to send: the exact body, and what decides its turn (D16, D17).

    `number` is given by the outbox when it accepts the record, 0 before.
    """

    channel: Channel
    cabinet: int  # 0 for computers
    urgent: bool  # carries an event, or is a periodic status
    taken_at: float  # Unix seconds; the body's timeStamp
    body: bytes
    number: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """A tick of the upload schedule: Unix seconds, and the interval whose tick it is."""

    at: int
    interval_s: int


# --- errors ---------------------------------------------------------------------------------------------------------


class AgentError(Exception):
    """Base of every error this program raises on purpose. Said in words for people (`Text`) where people meet it."""

    @property
    def text(self) -> Text:
        said = self.args[0] if self.args else ""
        return said if isinstance(said, Text) else Text(str(said), str(said))

    def __str__(self) -> str:
        return self.text.en


class NoReply(AgentError):
    """Nothing came back in time, or there is no way to the device."""


class BusDown(NoReply):
    """Nothing was asked: the medium itself cannot be had. Says nothing about the device."""


class BadReply(AgentError):
    """Something came back that is not an answer to what was asked."""


class DeviceRefused(AgentError):
    """The device understood and declined; `code` is the protocol's own (Modbus exception, SNMP error-status)."""

    def __init__(self, message: str | Text, code: int) -> None:
        super().__init__(message)
        self.code = code
