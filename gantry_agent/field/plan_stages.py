"""What a write is made of: requests, what has to be looked at before them, and what shows that it was done.

Most orders are known in full beforehand. Some have to look first, because what is written depends on what stands there:
a block that is taken only whole, a lock that counts on, a row that may have moved, a pulse whose length is kept in the
device. Those are `Looking` stages: `finished` makes the request of them, once the answer is there. `plan_writes` and
`plan_outputs` put the stages together, `talk` carries them out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

from gantry_agent.field import codec
from gantry_agent.field.request import (
    Block,
    GetOids,
    Mark,
    ReadRegisters,
    Reply,
    SetKind,
    SetOid,
    WriteRegisters,
    WriteRequest,
)
from gantry_agent.model import AgentError, BadReply, Quality, Value
from gantry_agent.text import Text

Ordered = int | float | Decimal


class UnknownWrite(AgentError):
    """The device has no such order or output, or does not take this value; `why` is for the cloud's `msg`."""

    def __init__(self, message: Text, why: str = "设备不支持") -> None:
        super().__init__(message)
        self.why = why


class Mistimed(AgentError):
    """How long a device's pulses last is set otherwise in it than the site asks; `why` is for the cloud's `msg`."""

    def __init__(self, found_s: float, wanted_s: float) -> None:
        super().__init__(
            Text(
                f"设备中的脉冲宽度为 {found_s:g} 秒，站点要求 {wanted_s:g} 秒；请在设备上改设",
                f"cannot have the device time {wanted_s:g} s: {found_s:g} s are set in it; set it there",
            )
        )
        self.why = f"设备脉宽{found_s:g}s，应设为{wanted_s:g}s"


# --- what a write is made of ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InBlock:
    """Registers that are taken only all together: words are put in at their places, and all of them written back."""

    first: ReadRegisters
    changes: tuple[tuple[int, int], ...]  # register from the first, word


@dataclass(frozen=True, slots=True)
class AsRead:
    """What stands there is written back (TestAndIncr of RFC 2579: who writes another value came too late)."""

    first: GetOids
    kind: SetKind


@dataclass(frozen=True, slots=True)
class IfRow:
    """A row is written only while it is the row that was found."""

    first: GetOids
    marks: tuple[Mark, ...]
    then: SetOid


@dataclass(frozen=True, slots=True)
class Unless:
    """An object is set only where it reads otherwise: settings are somebody's, and wear out what keeps them."""

    first: GetOids
    then: SetOid


@dataclass(frozen=True, slots=True)
class WhileTimed:
    """A pulse is begun only while the device would time it as it is meant: so many steps."""

    first: GetOids
    steps: int
    step_ms: int
    within_s: float  # how long to wait for what was set just before; 0: nothing was
    then: SetOid


Looking = InBlock | AsRead | IfRow | Unless | WhileTimed
Stage = WriteRequest | Looking


@dataclass(frozen=True, slots=True)
class Confirm:
    """Read `block` until every point in it shows the order; after `within_s` the order has failed."""

    block: Block
    point: str  # as the profile names it
    expected: Value
    within_s: float
    others: tuple[Value, ...] = ()  # readings that show it as well
    tolerance: float = 0.0

    def shown_by(self, reading: Value | Quality | None) -> bool:
        """Tell whether this reading shows that the order was done."""
        if isinstance(reading, Quality) or reading is None:
            return False
        return any(self._same(reading, one) for one in (self.expected, *self.others))

    def _same(self, reading: Value, wanted: Value) -> bool:
        if isinstance(reading, str) or isinstance(wanted, str):
            return reading == wanted
        return abs(reading - wanted) <= self.tolerance


@dataclass(frozen=True, slots=True)
class Permit:
    """Nothing is written unless `block` reads one of `values` everywhere."""

    block: Block
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Write:
    """What carries out an order, in this order, and what proves it: all of `proofs`; none if nothing can."""

    requests: tuple[Stage, ...]
    proofs: tuple[Confirm, ...] = ()
    permits: tuple[Permit, ...] = ()

    @property
    def confirm(self) -> Confirm | None:
        """The first proof."""
        return self.proofs[0] if self.proofs else None


def finished(stage: Looking, reply: Reply) -> WriteRequest | None:
    """Make the request of what was read; None if nothing has to be written.

    Raises BadReply when the answer is not one or the row has moved, Mistimed when the device would time a pulse
    otherwise than it is meant.
    """
    match stage:
        case InBlock(first, changes):
            held = [word for word in reply if isinstance(word, int)] if isinstance(reply, tuple) else []
            if len(held) != first.count:
                raise BadReply(f"cannot use the reply: {first.count} registers are wanted")
            for at, word in changes:
                held[at] = word
            return WriteRegisters(first.unit, 16, first.address, tuple(held))
        case AsRead(first, kind):
            (oid,) = first.oids
            found = reply.get(oid) if isinstance(reply, Mapping) else None
            if found is None or isinstance(found, float):
                raise BadReply(f"cannot use the reply: there is no {oid}")
            return SetOid(oid, kind, found)
        case IfRow(_, marks, then):
            for mark in marks:
                if not isinstance(reply, Mapping) or reply.get(mark.oid) != mark.value:
                    raise codec.RowsMoved(f"cannot write {then.oid}: {mark.oid} is not {mark.value!r} any more")
            return then
        case Unless(first, then):
            return None if _number_of(reply, first) == then.value else then
        case WhileTimed(first, steps, step_ms, _, then):
            if (found := _number_of(reply, first)) != steps:
                raise Mistimed(found * step_ms / 1000, steps * step_ms / 1000)
            return then
        case never:
            assert_never(never)


def _number_of(reply: Reply, first: GetOids) -> int:
    (oid,) = first.oids
    found = reply.get(oid) if isinstance(reply, Mapping) else None
    if not isinstance(found, int):
        raise BadReply(f"cannot use the reply: {oid} is no number")
    return found
