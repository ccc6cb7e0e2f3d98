"""What a Modbus product is to the simulator: a table of what it shows and a rule for what a write does. Pure.

`Seen` is all a device can see: the plant, its own latches, what is wired to its inputs. `image(seen)` gives every
coil and register it has; an address that is not in it does not exist. A write gives an `Effect`: new latches, and
orders to the plant. No frame, no socket, no time here.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from hwsim.plant.host import Host
from hwsim.plant.orders import Order
from hwsim.plant.state import State

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3

Table = Mapping[int, int]


class Illegal(Exception):
    """The device declines; `code` is the Modbus exception."""

    def __init__(self, code: int) -> None:
        super().__init__(f"Modbus exception {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Image:
    """Everything the unit shows at one instant, by protocol address."""

    coils: Table = field(default_factory=dict)
    discrete: Table = field(default_factory=dict)
    holding: Table = field(default_factory=dict)
    input: Table = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one device knows. `instance` counts devices of its kind in the cabinet from 0."""

    plant: State
    memory: Table = field(default_factory=dict)  # its own latches: outputs of an I/O module, written settings
    inputs: tuple[bool, ...] = ()  # what is wired to its inputs
    parameters: Mapping[str, float | int | str] = field(default_factory=dict)
    instance: int = 0
    host: Host | None = None  # of a toll computer, which stands outside the cabinets


@dataclass(frozen=True, slots=True)
class Effect:
    """What a write does: latches to set, orders to the plant."""

    memory: Table = field(default_factory=dict)
    orders: tuple[Order, ...] = ()
    later: tuple[tuple[float, int, int], ...] = ()  # latches that the device sets by itself: after s, which, to what


def _no_write(_seen: Seen, _address: int, _values: tuple[int, ...]) -> Effect:
    raise Illegal(ILLEGAL_ADDRESS)


@dataclass(frozen=True, slots=True)
class ModbusProduct:
    """A product family. `functions` are the Modbus functions it knows; the rest is answered with exception 1."""

    image: Callable[[Seen], Image]
    functions: frozenset[int]
    write_registers: Callable[[Seen, int, tuple[int, ...]], Effect] = _no_write
    write_coils: Callable[[Seen, int, tuple[int, ...]], Effect] = _no_write
    flash: Callable[[Seen, int, int], Effect] | None = None  # function 5 with a value that is neither on nor off
    identity: Callable[[Seen], Mapping[int, bytes]] | None = None  # function 0x2B/0x0E, objects by number
    response_s: float = 0.02  # from the end of the request to the first byte of the answer
    largest: int = 125  # registers per request


def take(table: Table, address: int, count: int) -> tuple[int, ...]:
    """`count` cells from `address`; a hole is an illegal address, as on strict devices."""
    try:
        return tuple(table[address + k] for k in range(count))
    except KeyError:
        raise Illegal(ILLEGAL_ADDRESS) from None


# --- registers of values --------------------------------------------------------------------------------------------


def u16(value: float) -> int:
    return max(0, min(0xFFFF, round(value)))


def s16(value: float) -> int:
    return max(-0x8000, min(0x7FFF, round(value))) & 0xFFFF


def signed(register: int) -> int:
    return register - 0x10000 if register & 0x8000 else register


def u32(value: float) -> tuple[int, int]:
    """High word first."""
    whole = max(0, min(0xFFFFFFFF, round(value)))
    return whole >> 16, whole & 0xFFFF


def f32(value: float) -> tuple[int, int]:
    """Big-endian, high word first."""
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    return high, low


def f32_swapped(value: float) -> tuple[int, int]:
    """Little-endian as the bytes come: words and bytes both swapped against the usual."""
    first, second = struct.unpack(">HH", struct.pack("<f", value))
    return first, second


def floats(values: Mapping[int, float]) -> dict[int, int]:
    """Two registers per address, big-endian."""
    table: dict[int, int] = {}
    for address, value in values.items():
        table[address], table[address + 1] = f32(value)
    return table


def zeros(*spans: tuple[int, int]) -> dict[int, int]:
    """Registers that exist and read 0: (first, count) each."""
    return {first + k: 0 for first, count in spans for k in range(count)}


def row(first: int, values: Iterable[float]) -> dict[int, int]:
    """Consecutive signed registers from `first`."""
    return {first + k: s16(value) for k, value in enumerate(values)}
