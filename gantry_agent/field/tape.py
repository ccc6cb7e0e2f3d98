"""What a device said, kept in the form of the other recordings: .snmprec for SNMP, a transcript for a line.

A transcript's `expected` is left empty: what the values mean has to be written by somebody who reads the display or the
vendor's table, never by this program; what it reads itself stands beside, under `read`, to be compared.
"""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML

from gantry_agent.field import codec, redact
from gantry_agent.field.framing import huazi, speech
from gantry_agent.field.product import (
    Point,
    Profile,
)
from gantry_agent.field.product_places import (
    InOid,
    InRegister,
)
from gantry_agent.field.request import (
    AskInputs,
    AskSurge,
    AskText,
    AskYdt,
    GetOids,
    ReadBits,
    ReadRegisters,
    Reply,
    Request,
    SnmpValue,
)
from gantry_agent.field.request import WalkColumn as Walk
from gantry_agent.model import Device, Quality, Value

SPACES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
# The answers of others hold cards, or are this host's.
RECORDED = frozenset({"snmp", "modbus", "megatec", "ydt1363", "zpta", "huazi"})


@dataclass(slots=True)
class Tape:
    """Collects questions and answers of one device."""

    secrets: tuple[str, ...] = ()  # texts that must not be told: communities, hosts, names
    values: dict[str, SnmpValue] = field(default_factory=dict)
    words: dict[tuple[str, int], int] = field(default_factory=dict)
    asks: set[tuple[int, int, int]] = field(default_factory=set)
    said: dict[str, str] = field(default_factory=dict)

    def note(self, request: Request, reply: Reply, received: bytes = b"") -> None:
        """Keep an answer; `received` are the raw bytes, of what is asked by commands."""
        if isinstance(request, GetOids) and isinstance(reply, Mapping):
            self.values |= {oid: value for oid, value in reply.items() if isinstance(value, int | bytes | str)}
        elif isinstance(request, Walk) and isinstance(reply, tuple):
            self.values |= {f"{request.oid}.{row[0]}": row[1] for row in reply if isinstance(row, tuple)}
        elif isinstance(request, ReadRegisters | ReadBits) and isinstance(reply, tuple):
            self.asks.add((request.function, request.address, request.count))
            for offset, word in enumerate(reply):
                if isinstance(word, int):
                    self.words[SPACES[request.function], request.address + offset] = word
        elif isinstance(request, AskText | AskYdt) and speech.find(request, received):
            self.said[_ascii(speech.frame(request))] = _ascii(received)
        elif isinstance(request, AskInputs | AskSurge) and isinstance(reply, bytes):
            asked = huazi.frame(request) if isinstance(request, AskSurge) else speech.frame(request)
            self.said[_hex(asked)] = _hex(reply)

    @property
    def names(self) -> tuple[str, ...]:
        """The device's own names, as far as they were asked for."""
        found = (self.values.get(oid) for oid in redact.NAMES)
        texts = (redact.printable(one) for one in found if isinstance(one, bytes))
        return tuple(text.strip() for text in texts if text)


def _ascii(frame: bytes) -> str:
    return frame.decode("ascii", "replace").strip("\r\n")


def _hex(frame: bytes) -> str:
    return frame.hex(" ").upper()


# --- SNMP -------------------------------------------------------------------------------------------------------------


def snmprec(tape: Tape, profile: Profile | None = None) -> str:
    """Lines `OID|type|value` in the order of OIDs, as snmpsim wants them."""
    hidden = set(_telltale_oids(profile)) if profile else set()
    secrets = (*tape.secrets, *tape.names)
    lines = []
    for oid in sorted(tape.values, key=lambda one: [int(part) for part in one.split(".")]):
        hide = any(f"{oid}.".startswith(f"{one}.") for one in hidden)
        value = redact.varbind(oid, tape.values[oid], secrets, hide=hide)
        if value is not None:
            kind, text = _row(value)
            lines.append(f"{oid}|{kind}|{text}\n")
    return "".join(lines)


def _telltale_oids(profile: Profile) -> Iterable[str]:
    tables = (table.points for table in profile.tables.values())
    for points in (profile.points, *tables):
        for key, point in points.items():
            if isinstance(point.place, InOid) and (point.shows or redact.telltale(key)):
                yield point.place.oid


def _row(value: SnmpValue) -> tuple[str, str]:
    """The type is told by the value: a link gives numbers, whatever counter or gauge they were."""
    if isinstance(value, str):
        return ("64" if value == redact.DOCUMENTED else "6"), value
    if isinstance(value, int):
        return ("2" if value < 1 << 31 else "66" if value < 1 << 32 else "70"), str(value)
    text = redact.printable(value)
    plain = text is not None and text.isprintable() and "|" not in text and text == text.strip()
    return ("4", text or "") if plain else ("4x", value.hex())


# --- lines ------------------------------------------------------------------------------------------------------------


def transcript(tape: Tape, profile: Profile | None, device: Device, read: Mapping[str, Value | Quality]) -> str:
    """Write a transcript of a device: what it answers, and, to be compared, what was read of it."""
    case: dict[str, Any] = {"name": "recorded"}
    if device.roles:
        case["roles"] = {member: list(range(1, len(numbers) + 1)) for member, numbers in device.roles.items()}
    if parameters := {key: value for key, value in device.parameters.items() if not redact.telltale(key)}:
        case["parameters"] = parameters
    if device.mapping:
        case["map"] = {
            f"{role.member}.{name}": [mapped.point, mapped.invert] for (role, name), mapped in device.mapping.items()
        }
    if tape.said:
        case["said"] = {question: _answer(question, answer, tape.secrets) for question, answer in tape.said.items()}
    else:
        words = _without_telltales(tape.words, profile, device) if profile else dict(tape.words)
        case |= {"image": _image(words), "asks": sorted([*ask] for ask in tape.asks)}
    case["expected"] = {}
    case["read"] = {name: str(value) if isinstance(value, Quality) else value for name, value in read.items()}
    whole = {"profile": profile.name if profile else "unknown", "unit": device.unit, "cases": [case]}
    out = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.allow_unicode, yaml.sort_base_mapping_type_on_output = True, False  # type: ignore[assignment]
    yaml.width = 118
    yaml.dump(whole, out)
    return out.getvalue()


def _answer(question: str, answer: str, secrets: Iterable[str]) -> str:
    """Megatec answers are texts; those of YD/T 1363 are numbers under a checksum, and those in hexadecimal as well."""
    return answer if question.startswith("~") or " " in question else redact.scrub(answer, secrets)


def _without_telltales(
    words: Mapping[tuple[str, int], int], profile: Profile, device: Device
) -> dict[tuple[str, int], int]:
    kept = dict(words)
    parameters = profile.parameters_of(device)
    companions = {point.shows.count for point in profile.points.values() if point.shows}
    for key, point in profile.points.items():
        if _tells(key, point) and key not in companions and isinstance(point.place, InRegister):
            start = point.place.address.at(parameters, device.unit)
            for at in range(start, start + codec.width(point.encoding.kind)):
                if (point.place.space, at) in kept:
                    kept[point.place.space, at] = 0
    return kept


def _tells(key: str, point: Point) -> bool:
    return point.shows is not None or redact.telltale(key) or point.encoding.kind.startswith("text:")


def _image(words: Mapping[tuple[str, int], int]) -> dict[str, dict[int, list[int]]]:
    """Runs of neighbouring words by space and first address."""
    image: dict[str, dict[int, list[int]]] = {}
    start = at = -2
    for space, address in sorted(words):
        runs = image.setdefault(space, {})
        if not runs or address != at + 1:
            start = address
        runs.setdefault(start, []).append(words[space, address])
        at = address
    return image
