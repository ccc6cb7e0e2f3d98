"""What an SNMP product is to the simulator: an OID table of what it shows, and a rule for SET. Pure.

`Cell` is a typed value, by the names of SMI; which of INTEGER and Gauge32 an object has matters to managers, so tables
say it. A declined SET is `Declined` with the SNMP error's own word.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from hwsim.devices.image import Effect, Seen

Kind = Literal["integer", "gauge", "counter", "counter64", "octets", "oid", "ticks", "address"]
Reason = Literal["notWritable", "wrongType", "wrongValue", "inconsistentValue", "genErr"]
ABSENT = 2147483647  # "no value" of HUAWEI-SITE-MONITOR-MIB


@dataclass(frozen=True, slots=True)
class Cell:
    """One object's value."""

    kind: Kind
    value: int | str | bytes


class Declined(Exception):
    """The agent does not set it; `reason` is the v2c error-status word."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class Alarm(NamedTuple):
    """A condition of which a product sends word: the trap when it comes, and the one when it goes."""

    raised: str
    cleared: str
    of: int = 0  # tells alarms apart that are sent by the same OIDs


def _no_alarms(_seen: Seen) -> frozenset[Alarm]:
    return frozenset()


def _no_set(_seen: Seen, _oid: str, _cell: Cell) -> Effect:
    raise Declined("notWritable")


@dataclass(frozen=True, slots=True)
class SnmpProduct:
    """`table(seen)`: dotted OID → cell. `set(seen, oid, cell)` for an object in the table. `alarms`: active now.

    `resting`: what its latches are when it gets power.
    """

    table: Callable[[Seen], Mapping[str, Cell]]
    set: Callable[[Seen, str, Cell], Effect] = _no_set
    alarms: Callable[[Seen], frozenset[Alarm]] = _no_alarms
    resting: Mapping[int, int] = field(default_factory=dict, hash=False)


def integer(value: float) -> Cell:
    return Cell("integer", round(value))


def gauge(value: float) -> Cell:
    return Cell("gauge", max(0, min(0xFFFFFFFF, round(value))))


def text(value: str) -> Cell:
    return Cell("octets", value.encode())


def number(cell: Cell) -> int:
    """The whole number of a SET, or `wrongType`."""
    if cell.kind not in ("integer", "gauge") or not isinstance(cell.value, int):
        raise Declined("wrongType")
    return cell.value


def within(cell: Cell, *allowed: int) -> int:
    value = number(cell)
    if value not in allowed:
        raise Declined("wrongValue")
    return value


def system(description: str, object_id: str, name: str, seen_s: float) -> dict[str, Cell]:
    """MIB-II system group."""
    base = "1.3.6.1.2.1.1"
    return {
        f"{base}.1.0": text(description),
        f"{base}.2.0": Cell("oid", object_id),
        f"{base}.3.0": Cell("ticks", int(seen_s * 100) % 2**32),
        f"{base}.4.0": text(""),
        f"{base}.5.0": text(name),
        f"{base}.6.0": text("gantry"),
        f"{base}.7.0": integer(72),
    }
