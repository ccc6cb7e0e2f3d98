"""What is spoken on a serial line: one set of verbs over its framings, since units of all of them may share the line.

The framing follows from the request, which the profile named. A framing is a row of functions in `_FRAMINGS`: how the
question looks, how its answer is found in what came, what no answer means. A new one is one module and one row. No line
and no time here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gantry_agent.field.framing import dlt645, megatec, modbus, shengjiu, ydt1363, zpta
from gantry_agent.field.framing.found import Found, Shape
from gantry_agent.field.request import (
    AskInputs,
    AskLock,
    AskMeter,
    AskText,
    AskYdt,
    PulseBit,
    ReadBits,
    ReadRegisters,
    Reply,
    WriteBit,
    WriteRegisters,
)

LineRequest = (
    ReadRegisters | ReadBits | WriteRegisters | WriteBit | PulseBit | AskText | AskYdt | AskMeter | AskLock | AskInputs
)


@dataclass(frozen=True, slots=True)
class Framing:
    """What a line asks of a framing; every function takes the request first."""

    kept_bytes: int  # of a line that babbles only the latest bytes matter
    frame: Callable[[Any], bytes]
    find: Callable[..., Found | None]
    decode: Callable[[Any, bytes], Reply]
    answer_length: Callable[[Any], int]
    to_come: Callable[[Any, bytes], int]
    promised: Callable[[Any, bytes], int]
    repeats_request: Callable[[Any], bool]
    shape: Callable[[Any], Shape]
    silence: Callable[[Any, bytes], Reply | None]
    explain: Callable[[Any, bytes], str]


_MODBUS = Framing(
    kept_bytes=1024,  # four of the longest frames
    frame=modbus.rtu_request,
    find=modbus.find_rtu_reply,
    decode=modbus.decode,
    answer_length=lambda request: modbus.reply_size(request) + 3,
    to_come=modbus.rtu_to_come,
    promised=lambda _request, _received: 0,  # the request fixes the length
    repeats_request=modbus.repeats_request,
    shape=modbus.rtu_shape,
    silence=lambda _request, _received: None,
    explain=modbus.explain_rtu,
)
_MEGATEC = Framing(
    kept_bytes=megatec.KEPT_BYTES,
    frame=megatec.frame,
    find=megatec.find,
    decode=megatec.decode,
    answer_length=megatec.answer_length,
    to_come=megatec.to_come,
    promised=lambda _request, _received: 0,  # nothing says how long it will be
    repeats_request=lambda _request: False,  # an answer has a mark that no command has
    shape=megatec.shape,
    silence=megatec.silence,
    explain=megatec.explain,
)
_YDT1363 = Framing(
    kept_bytes=ydt1363.KEPT_BYTES,
    frame=ydt1363.frame,
    find=ydt1363.find,
    decode=ydt1363.decode_answer,
    answer_length=lambda _request: ydt1363.HEAD + ydt1363.TAIL,  # the rest is known once its LENGTH is there
    to_come=ydt1363.to_come,
    promised=ydt1363.promised,
    repeats_request=lambda _request: False,  # no RTN is a CID2
    shape=ydt1363.shape,
    silence=lambda _request, _received: None,
    explain=ydt1363.explain,
)
_SHENGJIU = Framing(
    kept_bytes=shengjiu.KEPT_BYTES,
    frame=shengjiu.frame,
    find=shengjiu.find,
    decode=shengjiu.decode,
    answer_length=shengjiu.answer_length,
    to_come=shengjiu.to_come,
    promised=shengjiu.promised,
    repeats_request=lambda _request: False,  # an answer has data, which no question has
    shape=shengjiu.shape,
    silence=shengjiu.silence,
    explain=shengjiu.explain,
)
_DLT645 = Framing(
    kept_bytes=dlt645.KEPT_BYTES,
    frame=dlt645.frame,
    find=dlt645.find,
    decode=dlt645.decode,
    answer_length=dlt645.answer_length,
    to_come=dlt645.to_come,
    promised=dlt645.promised,
    repeats_request=lambda _request: False,  # no answer has a question's control byte
    shape=dlt645.shape,
    silence=lambda _request, _received: None,
    explain=dlt645.explain,
)
_ZPTA = Framing(
    kept_bytes=zpta.KEPT_BYTES,
    frame=zpta.frame,
    find=zpta.find,
    decode=zpta.decode,
    answer_length=zpta.answer_length,
    to_come=zpta.to_come,
    promised=lambda _request, _received: 0,  # every frame is of one length
    repeats_request=lambda _request: False,  # an answer has another function
    shape=zpta.shape,
    silence=lambda _request, _received: None,
    explain=zpta.explain,
)
_FRAMINGS: dict[type[Any], Framing] = {
    ReadRegisters: _MODBUS,
    ReadBits: _MODBUS,
    WriteRegisters: _MODBUS,
    WriteBit: _MODBUS,
    PulseBit: _MODBUS,
    AskText: _MEGATEC,
    AskYdt: _YDT1363,
    AskMeter: _DLT645,
    AskLock: _SHENGJIU,
    AskInputs: _ZPTA,
}


def framing(request: LineRequest) -> Framing:
    """Give the framing that the request travels in."""
    return _FRAMINGS[type(request)]


def frame(request: LineRequest) -> bytes:
    """Write the whole frame that asks `request`."""
    return framing(request).frame(request)


def find(request: LineRequest, received: bytes, *, echoes: bool = False) -> Found | None:
    """Look for the whole, sound answer to `request` in what came so far; None as long as there is none."""
    return framing(request).find(request, received, echoes=echoes)


def decode(request: LineRequest, pdu: bytes) -> Reply:
    """Read what an answer carries. Raises DeviceRefused, or BadReply for what is not an answer to this request."""
    return framing(request).decode(request, pdu)


def answer_length(request: LineRequest) -> int:
    """Tell how many bytes the answer takes on the line, or at the least takes where only the answer itself says it."""
    return framing(request).answer_length(request)


def to_come(request: LineRequest, received: bytes) -> int:
    """Tell how many bytes must still come at the least before there can be an answer."""
    return framing(request).to_come(request, received)


def promised(request: LineRequest, received: bytes) -> int:
    """Tell how many bytes are missing of an answer that has begun and told its length; 0 in all other cases."""
    return framing(request).promised(request, received)


def repeats_request(request: LineRequest) -> bool:
    """Tell whether the answer is the request's own bytes."""
    return framing(request).repeats_request(request)


def shape(request: LineRequest) -> Shape:
    """Tell what answers to this request look like: two of one shape cannot be told apart."""
    return framing(request).shape(request)


def silence(request: LineRequest, received: bytes) -> Reply | None:
    """Say what it means that no answer came: the reply where silence is one, else None. May raise DeviceRefused.

    `received` is without the echo of a line that echoes.
    """
    return framing(request).silence(request, received)


def explain(request: LineRequest, received: bytes) -> str:
    """Say what is wrong with what came instead of an answer."""
    return framing(request).explain(request, received)
