"""The ZTE site supervision unit (动环监控 FSU) in bytes: what is asked of it over HTTP, and its JSON answers.

Source: jayronjiang/MyServer9608_new `supervision_zte.cpp` and `jsonPackage.cpp` (field software of a gantry maker); no
recording of a real unit was to be had. Everything it looks after is an object with a number of its own; an object's
values are texts, told by the numbers of their points. A frame for a serial device behind it goes in Base64 inside a
JSON-RPC call, and so comes the answer back. What the points mean is for the profiles; how HTTP is spoken, for the bus.
"""

import base64
import binascii
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from gantry_agent.field.request import ListObjects, ReadAlarms, ReadObject
from gantry_agent.model import BadReply, NoReply, Value

LONGEST_TEXT: Final = 64  # of a value; a name in Chinese, a time
MOST_FRAME: Final = 1024  # bytes of an answer that came through the tunnel, as a line keeps of one that babbles
SERIAL_SEND: Final = "/jscmd/serialsend"
OBJECT: Final = "object "  # in a tunnel's settings: `object 3` is the object of the device with unit 3

ZteRequest = ReadObject | ReadAlarms | ListObjects
Rows = tuple[tuple[str, str], ...]


# --- questions ------------------------------------------------------------------------------------------------------


def target(request: ZteRequest) -> str:
    """The path and query that ask `request`, by GET."""
    match request:
        case ReadObject(object=number):
            return f"/jscmd/objdataquery?objId={number}&mId=0"
        case ReadAlarms():
            return "/jscmd/alarmquery?type=now"
        case ListObjects(ports=True):
            return "/jscmd/sensorports"
        case ListObjects():
            return "/jscmd/objs"


def serial_send(number: str, frame: bytes) -> bytes:
    """The body that has a frame sent to the serial device of an object, by POST. Its `id` is as the source has it."""
    params = {"objid": number, "data": base64.b64encode(frame).decode("ascii"), "endchar": ""}
    call = {"jsonrpc": "2.0", "method": "POST_METHOD", "id": "3", "params": params}
    return json.dumps(call, separators=(",", ":")).encode("ascii")


# --- answers --------------------------------------------------------------------------------------------------------


def decode(request: ZteRequest, body: bytes) -> Mapping[str, Value] | Rows:
    """Read the answer to `request`. Raises BadReply, or NoReply where the unit itself misses the object."""
    result = _result(body)
    match request:
        case ReadObject(object=number):
            return _values(number, result)
        case ReadAlarms():
            return _alarms(result)
        case ListObjects(ports=True):
            return tuple((_number(one, "objId"), _port(one)) for one in _items(result))
        case ListObjects():
            objects = result.get("Objs") if isinstance(result, dict) else None
            return tuple((_number(one, "ObjId"), _text(one.get("Name"))) for one in _items(objects))


def serial_sent(number: str, body: bytes) -> bytes:
    """What the serial device said; nothing where it was silent."""
    result = _result(body)
    if not isinstance(result, dict):
        raise BadReply(f"cannot use what came for object {number}: an entry is wanted")
    data = result.get("data")
    if data is None:
        return b""  # the source took an answer without data as it takes an empty one
    if not isinstance(data, str):
        raise BadReply(f"cannot use what came for object {number}: its data is no text")
    try:
        said = base64.b64decode(data.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadReply(f"cannot use what came for object {number}: {error}") from None
    if len(said) > MOST_FRAME:
        raise BadReply(f"cannot use what came for object {number}: {len(said)} bytes are more than {MOST_FRAME}")
    return said


def _result(body: bytes) -> Any:
    """The `result` of an answer; an answer without one says no more than that."""
    try:
        answer = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, a number of thousands of digits, ten thousand [
        why = "nested too deep" if isinstance(error, RecursionError) else str(error)[:80]
        raise BadReply(f"cannot use the answer: it is no JSON ({why})") from None
    if not isinstance(answer, dict) or answer.get("result") is None:
        raise BadReply("cannot use the answer: it has no result")
    return answer["result"]


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _values(number: str, result: Any) -> dict[str, Value]:
    """Texts by point; of two with one number the first, as the source takes it."""
    values: dict[str, Value] = {}
    for one in _items(result):
        values.setdefault(_number(one, "Id"), _text(one.get("Value")))
    if not values:
        raise NoReply(f"cannot read object {number}: the unit has no values of it, so what it stands for is not there")
    return values


def _alarms(result: Any) -> dict[str, Value]:
    """How many alarms of each object are active; one that cannot be read spoils all: it might be anybody's."""
    return dict(Counter(_number(one, "DeviceId") for one in _items(result)))


def _items(result: Any) -> list[dict[str, Any]]:
    if not isinstance(result, list) or not all(isinstance(one, dict) for one in result):
        raise BadReply("cannot use the answer: a list of entries is wanted")
    return result


def _number(entry: Mapping[str, Any], key: str) -> str:
    """The number of an object or point: a text in the source; a plain number would say the same."""
    number = entry.get(key)
    text = str(number) if isinstance(number, int) and not isinstance(number, bool) else number
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST_TEXT:
        raise BadReply(f"cannot use the answer: an entry has no {key}")
    return text


def _text(value: Any) -> str:
    """A value as a text, '' where it has none that could be one."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = str(value) if number else value
    return text.strip() if isinstance(text, str) and len(text) <= LONGEST_TEXT else ""


def _port(entry: Mapping[str, Any]) -> str:
    """The serial port behind the unit and the address on it: `0_COM5 1`."""
    return f"{_text(entry.get('portId'))} {_text(entry.get('addr'))}".strip()
