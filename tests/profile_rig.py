"""What the tests of profiles share: a device of a product, and register images and recordings that answer for it.

The image and the recording answer plain requests; no code of the agent decodes or frames anything here.
"""

import functools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gantry_agent.field import codec, derive, plan, profile
from gantry_agent.field.framing import huazi, speech, zte
from gantry_agent.field.product import Profile
from gantry_agent.field.request import AskInputs, AskMeter, AskSurge, ReadAlarms, ReadObject
from gantry_agent.model import Device, DeviceRefused, MappedPoint, Quality, Role

ROOT = Path(__file__).parent.parent
RECORDINGS = Path(os.environ.get("GANTRY_RECORDINGS", ROOT.parent / "shared/reference/recordings"))
SPACES = {3: "holding", 4: "input", 1: "coil", 2: "discrete"}


def recording(name: str) -> Path:
    path = RECORDINGS / f"{name}.snmprec"
    if not path.is_file():
        pytest.skip(f"no recording {path}; set GANTRY_RECORDINGS to the folder of recordings")
    return path


def device(product: Profile, **given: Any) -> Device:
    """A device with its usual roles, in cabinet 1 (computers: cabinet 0)."""
    roles = {member: tuple(range(1, count + 1)) for member, count in product.members.items()}
    roles |= {member: tuple(numbers) for member, numbers in (given.pop("roles", None) or {}).items()}
    mapping = given.pop("mapping", {})
    return Device(
        key="1.it",
        cabinet=0 if "computerStatus" in roles else 1,
        profile=product.name,
        bus="bus",
        unit=given.pop("unit", 1),
        roles=roles,
        mapping={target: MappedPoint(*point) for target, point in mapping.items()},
        skip=frozenset(given.pop("skip", ())),
        **given,
    )


class Image:
    """Registers and bits by space and address; what was asked is noted. Unwritten addresses read 0."""

    def __init__(self, spaces: Mapping[str, Mapping[int, Iterable[int]]]) -> None:
        self.words = {
            (space, start + offset): word
            for space, runs in spaces.items()
            for start, words in runs.items()
            for offset, word in enumerate(words)
        }
        self.asked: list[tuple[int, int, int]] = []

    def answer(self, request: plan.Request) -> plan.Reply:
        assert isinstance(request, plan.ReadRegisters | plan.ReadBits)
        self.asked.append((request.function, request.address, request.count))
        space = SPACES[request.function]
        return tuple(self.words.get((space, request.address + i), 0) for i in range(request.count))


class Talk:
    """What a device says to each question, both as they stand on the wire, without CR; noted is what was asked."""

    def __init__(self, said: Mapping[str, str]) -> None:
        self.said = said
        self.asked: list[str] = []

    def answer(self, request: plan.Request) -> plan.Reply:
        if isinstance(request, AskMeter | AskInputs):  # bytes, not characters: both in hexadecimal
            answer = speech.find(request, self._answered(speech.frame(request)))
            assert answer is not None, f"no answer to {self.asked[-1]}"
            return speech.decode(request, answer.pdu)
        if isinstance(request, AskSurge):
            datagram = self._answered(huazi.frame(request))
            assert huazi.is_answer(request, datagram), f"no answer to {self.asked[-1]}"
            return datagram
        if isinstance(request, ReadObject | ReadAlarms):  # the path, and the body of the answer
            self.asked.append(zte.target(request))
            return zte.decode(request, self.said[self.asked[-1]].encode())
        assert isinstance(request, plan.AskText | plan.AskYdt)
        question = speech.frame(request).removesuffix(b"\r").decode("ascii")
        self.asked.append(question)
        found = speech.find(request, self.said[question].encode("ascii") + b"\r")
        assert found is not None, f"no answer to {question}"
        return speech.decode(request, found.pdu)

    def _answered(self, question: bytes) -> bytes:
        self.asked.append(question.hex(" ").upper())
        return bytes.fromhex(self.said[self.asked[-1]])


class Recording:
    """A .snmprec file as an agent: lines `OID|type|value`."""

    def __init__(self, path: Path | None) -> None:
        self.rows: dict[str, plan.SnmpValue] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path else ():
            oid, kind, value = line.split("|", 2)
            if kind == "4x":
                self.rows[oid] = bytes.fromhex(value)
            elif kind == "4":
                self.rows[oid] = value.encode()
            elif kind in ("6", "64"):
                self.rows[oid] = value
            elif kind in ("2", "65", "66", "67", "70"):
                self.rows[oid] = int(value)

    def answer(self, request: plan.Request) -> plan.Reply:
        if isinstance(request, plan.WalkColumn):
            start = request.oid + "."
            return tuple((oid[len(start) :], value) for oid, value in self.rows.items() if oid.startswith(start))
        assert isinstance(request, plan.GetOids)
        return {oid: self.rows.get(oid) for oid in request.oids}


def read_all(product: Profile, it: Device, source: Image | Talk | Recording) -> dict[str, derive.Sample]:
    """Locate, read and decode everything once, at time 0."""
    samples = {}
    for block in plan.blocks(product, it, rows_of(product, it, source)):
        try:
            values = codec.decode(block, source.answer(block.request), product, it)
        except DeviceRefused:
            values = dict.fromkeys(block.keys, Quality.NOT_SUPPORT)
        samples |= {key: derive.Sample(value, 0.0) for key, value in values.items()}
    return samples


def rows_of(product: Profile, it: Device, source: Image | Talk | Recording) -> dict[str, tuple[str, ...]]:
    return {
        table.name: plan.locate(table, [_walked(source, request) for request in table.requests])
        for table in plan.tables(product, it)
    }


def _walked(source: Image | Talk | Recording, request: plan.Request) -> plan.Reply:
    """Who does not know the question has no rows."""
    try:
        return source.answer(request)
    except DeviceRefused:
        return ()


def named(fields: Mapping[tuple[Role, str], Any]) -> dict[str, Any]:
    """Fields by the name a person writes: 'rectifier[2].status'."""
    found = {}
    for (role, field), value in fields.items():
        place = f"[{role.number}]" if role.number > 1 else ""
        found[f"{role.member}{place}.{field}"] = str(value) if isinstance(value, Quality) else value
    return found


def readings(product: Profile, it: Device, source: Image | Talk | Recording) -> dict[str, Any]:
    """All fields after one round of reading."""
    now = read_all(product, it, source)
    return named(derive.Deriver(product, it, rows_of(product, it, source)).fields(now, {}))


def assert_readings(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Every expected field is there with its value; numbers to six digits."""
    for name, value in expected.items():
        assert name in found, f"{name} was not said; said: {sorted(found)}"
        if isinstance(value, float):
            assert found[name] == pytest.approx(value, rel=1e-6), name
        else:
            assert found[name] == value, f"{name}: {found[name]!r}, not {value!r}"


@functools.cache
def load(name: str) -> Profile:
    return profile.load(name)
