"""Values out of raw words and back: registers, bits, SNMP varbinds and host values, by the encoding of each point.

`reader` compiles an encoding once per device; `decode` runs the compiled readers of a block over its reply, hundreds of
times a second. A reply of the wrong shape raises BadReply; a value that means "no value" becomes a Quality. Nothing
here knows how requests are made or what a value is for.
"""

import math
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

from gantry_agent.field.framing.counted import Unpacked, unpack
from gantry_agent.field.product import (
    Bound,
    Encoding,
    Profile,
    amount,
)
from gantry_agent.field.product_places import (
    InAnswer,
    InObject,
    InStatus,
    InSwipe,
    InText,
)
from gantry_agent.field.request import (
    AskInputs,
    AskLock,
    AskMeter,
    AskSurge,
    AskText,
    AskYdt,
    Block,
    ControllerState,
    ReadAlarms,
    ReadBits,
    ReadController,
    ReadObject,
    ReadRegisters,
    Reply,
)
from gantry_agent.model import BadReply, Device, Quality, Value

Decoded = Value | Quality
Finish = Callable[[Any], Decoded]

FORMATS: Mapping[str, str] = {
    "u16": "H", "s16": "h", "u32": "I", "s32": "i", "u64": "Q", "s64": "q", "f32": "f", "f64": "d",
}  # fmt: skip
_DECIMAL = re.compile(r"[-+]?\d+(?:\.\d+)?")
_NUMBER = re.compile(r"\s*([-+]?\d+(?:\.\d+)?)")
_PLAIN_DECIMAL = re.compile(r"[-+]?[0-9]{1,15}(?:\.[0-9]{1,15})?")


class RowsMoved(BadReply):
    """The rows of a table are not where they were found; nothing of the reply may be used."""


def width(kind: str) -> int:
    """How many registers a value of this kind takes."""
    if kind.startswith("text:"):
        return int(kind[5:])
    return struct.calcsize(FORMATS[kind]) // 2 if kind in FORMATS else 1


def decode(block: Block, reply: Reply, profile: Profile, device: Device) -> dict[str, Decoded]:
    """Read every point of a block out of its reply. Raises BadReply when the reply has not the block's shape."""
    request = block.request
    if isinstance(request, AskText):
        if not isinstance(reply, str):
            raise BadReply("cannot use the reply: a text is wanted")
        return {point.key: point.decode(reply) for point in block.points}
    if isinstance(request, AskYdt):
        unpacked = _unpacked(request, reply, profile, device)
        return {point.key: point.decode(unpacked) for point in block.points}
    if isinstance(request, AskMeter):
        if not isinstance(reply, bytes) or not reply:
            raise BadReply("cannot use the reply: the digits of an item are wanted")
        return {point.key: point.decode(reply) for point in block.points}
    if isinstance(request, ReadRegisters):
        words = _packed(reply, request.count)
        return {point.key: point.decode(words, point.at) for point in block.points}
    if isinstance(request, ReadBits):
        bits = _bits(reply, request.count)
        return {point.key: point.decode(bits[point.at]) for point in block.points}
    if isinstance(request, AskLock | AskInputs | AskSurge):
        if not isinstance(reply, bytes):
            raise BadReply("cannot use the reply: the whole answer of the device is wanted")
        return {point.key: point.decode(ControllerState(reply, {})) for point in block.points}
    if isinstance(request, ReadController):
        if not isinstance(reply, ControllerState):
            raise BadReply("cannot use the reply: the state of a controller is wanted")
        return {point.key: point.decode(reply) for point in block.points}
    if not isinstance(reply, Mapping):
        raise BadReply("cannot use the reply: a value for every name is wanted")
    if isinstance(request, ReadObject | ReadAlarms):
        return {point.key: point.decode(reply) for point in block.points}
    for mark in block.marks:
        if (said := reply.get(mark.oid)) != mark.value:
            raise RowsMoved(f"cannot use the reply: {mark.oid} is {said!r} now and was {mark.value!r}: rows have moved")
    try:
        return {point.key: point.decode(reply[point.name]) for point in block.points}
    except KeyError as missing:
        raise BadReply(f"cannot use the reply: {missing} is not in it") from None


def absent(parameters: Mapping[str, Value]) -> frozenset[str]:
    """The parameters that are 0: what a layout gives only where they are not."""
    return frozenset(name for name, value in parameters.items() if value == 0)


def _unpacked(request: AskYdt, reply: Reply, profile: Profile, device: Device) -> Unpacked:
    """Take an answer of YD/T 1363 apart by the layout that the profile gives for its command."""
    if not isinstance(reply, bytes):
        raise BadReply("cannot use the reply: the INFO of an answer is wanted")
    for answer in profile.answers.values():
        if (answer.question.cid1, answer.question.cid2) == (request.cid1, request.cid2):
            return unpack(answer.layout, reply, absent(profile.parameters_of(device)))
    raise BadReply(f"cannot use the reply: nothing is known of {request.cid1:02X}/{request.cid2:02X}")


def _packed(reply: Reply, count: int) -> bytes:
    if not isinstance(reply, tuple) or len(reply) != count:
        raise BadReply(f"cannot use the reply: {count} registers are wanted")
    try:
        return struct.pack(f">{count}H", *reply)
    except struct.error as error:
        raise BadReply(f"cannot use the reply: {error}") from None


def _bits(reply: Reply, count: int) -> tuple[Any, ...]:
    if not isinstance(reply, tuple) or len(reply) != count:
        raise BadReply(f"cannot use the reply: {count} bits are wanted")
    for bit in reply:
        if bit not in (0, 1):
            raise BadReply(f"cannot use the reply: {bit!r} is no bit")
    return reply


# --- compiling an encoding --------------------------------------------------------------------------------------------


def register_reader(encoding: Encoding, parameters: Mapping[str, Value]) -> Callable[..., Decoded]:
    """Compile an encoding: `f(bytes of the block, register)` for registers, `f(bit)` for bits."""
    finish = _finish(encoding, parameters)
    if encoding.kind == "bit":
        return finish
    if encoding.kind.startswith("text:"):
        return _text_reader(2 * width(encoding.kind), finish)
    return _register_reader(encoding, finish)


def value_reader(encoding: Encoding, parameters: Mapping[str, Value]) -> Callable[[Any], Decoded]:
    """Compile an encoding of an SNMP or host value; None is what the device does not have."""
    return _VALUE_READERS[encoding.kind](_finish(encoding, parameters))


def answer_reader(
    place: InAnswer, encoding: Encoding, parameters: Mapping[str, Value]
) -> Callable[[Unpacked], Decoded]:
    """Compile a point of YD/T 1363: `f(the answer taken apart)`; what is not there the device does not have."""
    read = value_reader(encoding, parameters)
    row = place.row or 1
    return lambda unpacked: read(unpacked.value(place.path, row, place.place))


def controller_reader(
    place: InStatus | InSwipe, encoding: Encoding, parameters: Mapping[str, Value]
) -> Callable[[ControllerState], Decoded]:
    """Compile a point of an answer that is kept whole: `f(it)`; nothing was let in yet where no swipe is known."""
    finish = _finish(encoding, parameters)
    if isinstance(place, InSwipe):
        which = 0 if place.what == "event" else 1
        return lambda state: finish(found[which]) if (found := state.swipes.get(place.door)) else Quality.NO_DATA
    end = place.at + {"u8": 1, "u16": 2, "u32": 4}[encoding.kind]
    return lambda state: finish(int.from_bytes(state.status[place.at : end], "little"))


def object_reader(
    place: InObject, encoding: Encoding, parameters: Mapping[str, Value]
) -> Callable[[Mapping[str, Value]], Decoded]:
    """Compile a point of a ZTE site unit: `f(its object's texts)`; of several numbers the first that says something."""
    finish = _finish(encoding, parameters)
    numeric = encoding.kind == "decimal"

    def text(reply: Mapping[str, Value]) -> Decoded:
        said = [str(reply[number]) for number in place.points if number in reply]
        if not said:
            return Quality.NOT_SUPPORT
        first = next(filter(None, said), "")
        if not first or (numeric and not _PLAIN_DECIMAL.fullmatch(first)):
            return Quality.NO_DATA
        if not numeric:
            return finish(first)
        return finish(float(first) if "." in first else int(first))

    return text


def alarm_reader(
    number: str, encoding: Encoding, parameters: Mapping[str, Value]
) -> Callable[[Mapping[str, Value]], Decoded]:
    """Compile whether an object of a ZTE site unit has an alarm: `f(how many each object has)`."""
    finish = _finish(encoding, parameters)
    return lambda reply: finish(int(bool(reply.get(number))))


def meter_reader(encoding: Encoding, parameters: Mapping[str, Value]) -> Callable[[bytes], Decoded]:
    """Compile a point of DL/T 645: `f(the item's bytes, lowest first)`, two digits in each; all F is no value."""
    finish = _finish(encoding, parameters)
    signed = encoding.kind == "signed"

    def digits(reply: bytes) -> Decoded:
        if set(reply) == {0xFF}:
            return Quality.NO_DATA
        negative = signed and bool(reply[-1] & 0x80)
        text = (reply[:-1] + bytes((reply[-1] & 0x7F,)) if negative else reply)[::-1].hex()
        if not text.isdecimal():
            raise BadReply(f"cannot use the item: {text} are no digits")
        return finish(-int(text) if negative else int(text))

    return digits


def text_reader(place: InText, encoding: Encoding, parameters: Mapping[str, Value]) -> Callable[[str], Decoded]:
    """Compile a point of Megatec: `f(the answer)`. There is no checksum: what does not fit spoils all of it."""
    finish = _finish(encoding, parameters)
    numeric = encoding.kind == "decimal"

    def text(answer: str) -> Decoded:
        part = _part_of(place, answer)
        if part in encoding.none:
            return Quality.NO_DATA
        if not numeric:
            return finish(part)
        if not _DECIMAL.fullmatch(part):
            raise BadReply(f"cannot use the answer to {place.command}: {part!r} is no number")
        return finish(float(part) if "." in part else int(part))

    return text


def _part_of(place: InText, answer: str) -> str:
    """Cut a point out of the answer; raises BadReply when it is not so long."""
    part, first = answer, place.first
    if place.field:
        fields = answer[1:].split()
        if place.field > len(fields):
            raise BadReply(f"cannot use the answer to {place.command}: it has {len(fields)} fields")
        part = fields[place.field - 1]
        first = None if first is None else first - 1
    elif first is None:
        return answer[1:].strip()
    if first is None or place.last is None or place.first is None:
        return part
    found = part[first : first + place.last - place.first + 1]
    if len(found) != place.last - place.first + 1:
        raise BadReply(f"cannot use the answer to {place.command}: it ends before character {place.last}")
    return found.strip()


def _register_reader(encoding: Encoding, finish: Finish) -> Callable[[bytes, int], Decoded]:
    backwards = encoding.order in ("little", "swap-bytes")
    unpack = struct.Struct(("<" if backwards else ">") + FORMATS[encoding.kind]).unpack_from
    if encoding.order in ("big", "little"):
        return lambda words, at: finish(unpack(words, 2 * at)[0])
    size = 2 * width(encoding.kind)

    def swapped(words: bytes, at: int) -> Decoded:
        part = words[2 * at : 2 * at + size]
        return finish(unpack(b"".join(part[i : i + 2] for i in range(size - 2, -1, -2)))[0])

    return swapped


def _text_reader(size: int, finish: Finish) -> Callable[[bytes, int], Decoded]:
    def text(words: bytes, at: int) -> Decoded:
        return finish(words[2 * at : 2 * at + size].split(b"\0")[0].decode("utf-8", "replace").strip())

    return text


def _any(finish: Finish) -> Callable[[Any], Decoded]:
    return lambda raw: finish(raw) if isinstance(raw, (int, float, str)) else Quality.NOT_SUPPORT


def _integer(finish: Finish, mend: Callable[[int], int] | None = None) -> Callable[[Any], Decoded]:
    """An INTEGER, Gauge, Counter or TimeTicks; some cards send the digits as a text."""

    def integer(raw: Any) -> Decoded:
        if raw is None:
            return Quality.NOT_SUPPORT
        if isinstance(raw, int):
            return finish(mend(raw) if mend else raw)
        return _decimal(finish)(raw)

    return integer


def _u32(finish: Finish) -> Callable[[Any], Decoded]:
    """A size that overflowed the signed 32 bits of its MIB."""
    return _integer(finish, lambda raw: raw + (1 << 32) if -(1 << 31) <= raw < 0 else raw)


def _s32(finish: Finish) -> Callable[[Any], Decoded]:
    """A signed value in an unsigned type."""
    return _integer(finish, lambda raw: raw - (1 << 32) if (1 << 31) <= raw < (1 << 32) else raw)


def _decimal(finish: Finish) -> Callable[[Any], Decoded]:
    """The number a text begins with: "22.9", "15 PERCENT"."""

    def decimal(raw: Any) -> Decoded:
        if raw is None:
            return Quality.NOT_SUPPORT
        if isinstance(raw, int):
            return finish(raw)
        found = _NUMBER.match(raw.decode("ascii", "replace")) if isinstance(raw, bytes) else None
        if not found:
            return Quality.NO_DATA
        return finish(float(found[1]) if "." in found[1] else int(found[1]))

    return decimal


def _text(finish: Finish) -> Callable[[Any], Decoded]:
    def text(raw: Any) -> Decoded:
        if raw is None:
            return Quality.NOT_SUPPORT
        return finish(plain_text(raw))

    return text


def _date(finish: Finish) -> Callable[[Any], Decoded]:
    """A DateAndTime of RFC 2579 as yyyy-mm-dd hh:mm:ss of the device's clock; its time zone is not looked at."""

    def date(raw: Any) -> Decoded:
        if raw is None:
            return Quality.NOT_SUPPORT
        if not isinstance(raw, bytes) or len(raw) not in (8, 11):
            return Quality.NO_DATA
        year, month, day, hour, minute, second = struct.unpack(">H5B", raw[:7])
        if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
            return Quality.NO_DATA  # an entry that was never used is all zeros
        return finish(f"{year:04d}-{month:02d}-{day:02d} {hour:02d}:{minute:02d}:{second:02d}")

    return date


def plain_text(raw: int | bytes | str) -> str:
    """An SNMP value as a text: names come as octets, some with a NUL behind, OIDs with or without a leading dot."""
    if isinstance(raw, bytes):
        return raw.split(b"\0")[0].decode("utf-8", "replace").strip()
    return str(raw).lstrip(".") if isinstance(raw, str) else str(raw)


_VALUE_READERS: Mapping[str, Callable[[Finish], Callable[[Any], Decoded]]] = {
    "any": _any,
    "integer": _integer,
    "u32": _u32,
    "s32": _s32,
    "decimal": _decimal,
    "text": _text,
    "date": _date,
}


# --- from raw to value: refuse, cut out, translate, scale -------------------------------------------------------------


def _finish(encoding: Encoding, parameters: Mapping[str, Value]) -> Finish:
    finish = _scaler(amount(encoding.scale, parameters), amount(encoding.offset, parameters))
    if encoding.map is not None:
        known = encoding.map
        if encoding.kind in FORMATS:
            known = {parameters.get(raw, raw) if isinstance(raw, str) else raw: value for raw, value in known.items()}
        finish = _translator(known, encoding.otherwise)
    if encoding.bit is not None or encoding.mask is not None:
        finish = _cutter(encoding, finish)
    for items, quality in ((encoding.none, Quality.NO_DATA), (encoding.absent, Quality.NOT_SUPPORT)):
        if items:
            finish = _refuser(items, quality, parameters, finish)
    return finish


def _scaler(scale: float, offset: float) -> Finish:
    divisor = round(1 / scale) if 0 < scale < 1 else 0
    if divisor and not math.isclose(divisor * scale, 1, rel_tol=1e-12):
        divisor = 0

    def scaled(raw: Any) -> Decoded:
        if isinstance(raw, str):
            return raw
        # Dividing by 10 gives 231.2 where multiplying by 0.1 gives 231.20000000000002.
        value = raw / divisor + offset if divisor else raw * scale + offset
        return value if math.isfinite(value) else Quality.NO_DATA

    def unscaled(raw: Any) -> Decoded:
        if isinstance(raw, float) and not math.isfinite(raw):
            return Quality.NO_DATA
        return raw  # type: ignore[no-any-return]

    return unscaled if scale == 1 and offset == 0 else scaled


def _translator(table: Mapping[Value, Decoded], otherwise: Decoded) -> Finish:
    known = dict(table)
    return lambda raw: known.get(raw, otherwise)


def _refuser(
    items: tuple[Value | Bound, ...], quality: Quality, parameters: Mapping[str, Value], finish: Finish
) -> Finish:
    values = frozenset(item for item in items if not isinstance(item, Bound))
    bounds = [within(item, parameters) for item in items if isinstance(item, Bound)]

    def refused(raw: Any) -> Decoded:
        if raw in values or (bounds and not isinstance(raw, str) and any(bound(raw) for bound in bounds)):
            return quality
        return finish(raw)

    return refused


def within(bound: Bound, parameters: Mapping[str, Value]) -> Callable[[float], bool]:
    """Compile a bound: strictly below, strictly above, or both."""
    below = None if bound.below is None else amount(bound.below, parameters)
    above = None if bound.above is None else amount(bound.above, parameters)
    return lambda value: (below is None or value < below) and (above is None or value > above)


def _cutter(encoding: Encoding, finish: Finish) -> Finish:
    mask = encoding.mask if encoding.mask is not None else -1
    shift = (mask & -mask).bit_length() - 1 if encoding.mask is not None else 0
    bit = encoding.bit

    def cut(raw: Any) -> Decoded:
        if not isinstance(raw, int):
            return Quality.NO_DATA
        part = (raw & mask) >> shift
        return finish(part if bit is None else (part >> bit) & 1)

    return cut


# --- the other way ----------------------------------------------------------------------------------------------------


def encode(kind: str, value: Value, order: str = "big") -> tuple[int, ...]:
    """The registers that write a number; raises ValueError when it does not fit."""
    backwards = order in ("little", "swap-bytes")
    try:
        packed = struct.pack(("<" if backwards else ">") + FORMATS[kind], value)
    except struct.error as error:
        raise ValueError(f"cannot write {value} as {kind}: {error}") from None
    words = struct.unpack(f">{len(packed) // 2}H", packed)
    return words if order in ("big", "little") else words[::-1]
