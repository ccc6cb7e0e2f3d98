"""What is asked of a bus and what comes back, as frozen values.

The planner makes these from a profile, the buses put them on a wire, the codec reads the replies. A request says what
is wanted, never how it is framed: `ReadRegisters` is the same on a line, through a converter and over Modbus TCP.
Nothing here knows a profile or a medium. Others reach them by way of `plan`, which hands them on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gantry_agent.model import Lane, Quality, Value

SnmpValue = int | bytes | str  # str: an OBJECT IDENTIFIER or an IP address, without a leading dot
SetKind = Literal["integer", "unsigned", "octets", "oid"]


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to wait for an answer, and how long to leave the device alone after it."""

    response_s: float
    gap_s: float
    seeking: bool = False  # nobody may be there: silence is no fault and is not counted


@dataclass(frozen=True, slots=True)
class ReadRegisters:
    """Reply: one int 0…65535 per register."""

    unit: int
    function: Literal[3, 4]
    address: int
    count: int


@dataclass(frozen=True, slots=True)
class ReadBits:
    """Reply: one 0 or 1 per bit."""

    unit: int
    function: Literal[1, 2]
    address: int
    count: int


@dataclass(frozen=True, slots=True)
class WriteRegisters:
    """Reply: (). Function 6 writes exactly one register."""

    unit: int
    function: Literal[6, 16]
    address: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WriteBit:
    """Function 5. Reply: ()."""

    unit: int
    address: int
    on: bool


@dataclass(frozen=True, slots=True)
class PulseBit:
    """Function 5 with a value of the vendor's own, for how long; the device ends it by itself. Reply: ()."""

    unit: int
    address: int
    value: int


@dataclass(frozen=True, slots=True)
class GetOids:
    """Reply: a mapping with every one of `oids`; None is noSuchObject or noSuchInstance."""

    oids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WalkColumn:
    """Reply: (index, value) of every row of the column, in the order of the agent; index is what follows `oid`."""

    oid: str


@dataclass(frozen=True, slots=True)
class SetOid:
    """Reply: ()."""

    oid: str
    kind: SetKind
    value: int | bytes | str


@dataclass(frozen=True, slots=True)
class ReadHost:
    """Reply: a mapping with every one of `names`; None is what this host does not have."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskText:
    """A command of the Megatec family. Reply: the answer as it came, without its CR; () for one that is not answered.

    `unit` is only how the site counts the device: nothing on the wire says whom a command is for.
    """

    unit: int
    command: str
    answered: bool = True  # the family answers questions; T and CT are obeyed in silence


@dataclass(frozen=True, slots=True)
class AskYdt:
    """A command of YD/T 1363. Reply: the INFO of the answer."""

    unit: int  # ADR
    version: int
    cid1: int
    cid2: int
    info: bytes


@dataclass(frozen=True, slots=True)
class AskMeter:
    """An item of a DL/T 645 meter. Reply: its bytes, lowest first, without the 33H."""

    unit: int  # how the site counts the meters of a line; the wire has the address
    address: str  # twelve digits, or twelve A for the one meter on the line
    item: int  # 02010100H: voltage of L1


@dataclass(frozen=True, slots=True)
class AskLock:
    """A signal to a Shengjiu lock. Reply: the whole frame of the answer to a query, () to a command."""

    unit: int
    source: int  # our own address, as the lock expects it
    signal: int
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class AskInputs:
    """The inputs of a Zhongpu Tongan board. Reply: the whole frame of the answer."""

    unit: int


@dataclass(frozen=True, slots=True)
class AskSurge:
    """What a Huazi monitor knows of its surge protector. Reply: the whole datagram of the answer."""

    unit: int


@dataclass(frozen=True, slots=True)
class AskController:
    """A function of a UHPPOTE door controller. Reply: the whole datagram of the answer."""

    unit: int  # how the site counts the controllers of a bus
    serial: int
    function: int
    data: bytes = field(default=b"", repr=False)  # from byte 8 on; may hold a card number


@dataclass(frozen=True, slots=True)
class ReadController:
    """How a UHPPOTE controller stands, and which cards it has let in. Reply: ControllerState."""

    unit: int
    serial: int


@dataclass(frozen=True, slots=True)
class ControllerState:
    """The datagram of a status, and the newest card let in at each door since the link was made: (event, card)."""

    status: bytes
    swipes: Mapping[int, tuple[int, int]] = field(hash=False, repr=False)


@dataclass(frozen=True, slots=True)
class ReadObject:
    """The values of an object that a ZTE site unit looks after. Reply: their texts, by the number of the point."""

    unit: int  # how the site counts the objects of a bus
    object: str


@dataclass(frozen=True, slots=True)
class ReadAlarms:
    """The active alarms of a ZTE site unit, of all its objects. Reply: how many, by object; others have none."""

    unit: int


@dataclass(frozen=True, slots=True)
class ListObjects:
    """What a ZTE site unit looks after. Reply: (object, name), or with `ports` (object, serial port and address)."""

    unit: int
    ports: bool = False


ReadRequest = (
    ReadRegisters
    | ReadBits
    | GetOids
    | ReadHost
    | AskText
    | AskYdt
    | AskMeter
    | AskLock
    | AskInputs
    | AskSurge
    | ReadController
    | ReadObject
    | ReadAlarms
)
WriteRequest = WriteRegisters | WriteBit | PulseBit | SetOid | AskText | AskYdt | AskLock | AskController
Request = ReadRequest | WriteRequest | WalkColumn | ListObjects

Registers = tuple[int, ...]
Varbinds = Mapping[str, SnmpValue | None]
HostValues = Mapping[str, Value | None]
Rows = tuple[tuple[str, SnmpValue], ...]
Reply = Registers | Varbinds | HostValues | Rows | str | bytes | ControllerState


@dataclass(frozen=True, slots=True)
class Placed:
    """A point of one device and where its answer stands in the reply of its block.

    `at` and `width` are registers or bits from the block's start; for SNMP and the host `name` is the OID or the name.
    `decode` turns the raw words (or the one SNMP or host value, or the whole answer to a command or of an item)
    into a value; the codec made it.
    """

    key: str  # 'elec.voltage', 'rectifier[2].module_status', 'di0'
    decode: Callable[..., Value | Quality] = field(compare=False, repr=False)
    at: int = 0
    width: int = 1
    name: str = ""
    table: str = ""  # the table whose row it is: the row is gone when this answers nothing


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells the row of a table, and what it said when the row was found; when it changes, rows have moved."""

    oid: str
    value: SnmpValue


@dataclass(frozen=True, slots=True)
class Block:
    """Points that are read in one request."""

    request: ReadRequest
    points: tuple[Placed, ...]
    lane: Lane
    marks: tuple[Mark, ...] = ()  # read along with the points, so that no value is taken from another row

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(point.key for point in self.points)
