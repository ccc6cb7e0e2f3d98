"""The JSON Schema of profile files says what the reader reads: no key more and no key less."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gantry_agent.faults import ConfigFault
from gantry_agent.field import profile, profile_yaml
from gantry_agent.field.profile_schema import json_schema
from tests.schema_check import problems

SCHEMA = json_schema()
FILES = sorted(profile.SHIPPED.glob("*.yaml"))
FREE = {  # mappings whose keys are the writer's own
    "prefixes", "parameters", "answers", "points", "tables", "derived", "tables.*.points", "writes",
}  # fmt: skip


def plain(path: Path) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_profile_passes(path: Path) -> None:
    assert problems(plain(path), SCHEMA, SCHEMA) == []


def mappings(node: Any, path: str = "") -> list[tuple[str, dict[Any, Any]]]:
    if isinstance(node, dict):
        below = [one for key, value in node.items() for one in mappings(value, f"{path}.{key}")]
        return [(path, node), *below]
    return [one for item in node for one in mappings(item, f"{path}[]")] if isinstance(node, list) else []


def accepted(root: dict[str, Any], folder: Path) -> bool:
    path = folder / f"{root['profile']}.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(root, file)
    try:
        profile.check(path)
    except ConfigFault:
        return False
    return True


@pytest.mark.parametrize("name", ["ups-mib", "waveshare-relay", "megatec-q1"])
def test_a_key_that_the_reader_refuses_is_refused_by_the_schema_wherever_it_stands(name: str, tmp_path: Path) -> None:
    whole = plain(profile.SHIPPED / f"{name}.yaml")
    refused = 0
    shapes = {re.sub(r"\.[^.]*(?=$)", "", path) + str(sorted(map(str, at))): path for path, at in mappings(whole)}
    for path in shapes.values():
        mutant = copy.deepcopy(whole)
        next(at for one, at in mappings(mutant) if one == path)["no_such_key"] = 1
        found = problems(mutant, SCHEMA, SCHEMA)
        if accepted(mutant, tmp_path):
            assert not found, f"the schema refuses what the reader takes at {path}: {found}"
        elif not re.search(r"when|map|expect|fields|strings|prefixes", path):
            refused += 1
            assert found, f"the schema takes an unknown key at {path}"
    assert refused > 10


def asked_by_the_reader(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, set[str]]:
    """The keys that the reader looks for in each part, over all shipped profiles and one that has every part."""
    asked: dict[str, set[str]] = {}
    finish = profile_yaml.Entries.finish

    def watched(self: profile_yaml.Entries) -> None:
        asked.setdefault(general(self._path), set()).update(self._known)
        finish(self)

    monkeypatch.setattr(profile_yaml.Entries, "finish", watched)
    for path in FILES:
        profile.check(path)
    rest = folder / "rest.yaml"
    rest.write_text(REST, encoding="utf-8")
    profile.check(rest)
    return asked


REST = """\
profile: rest
title: {zh: 其余, en: the rest}
protocol: snmp
maturity: draft
sources: [{document: d, page: p}]
members: {rectifier: 1, ups: 1}
points: {state: {oid: 1.3.6.1, write: {oid: 1.3.6.1, map: {0: 0, 1: 1}}}}
on_return: [{oid: 1.3.6.2, value: 1}]
writes:
  ups.testStartStop: {oid: 1.3.6.3, map: {0: 0, 1: 1}, require: {point: state, is: [1]}, confirm: {point: state}}
"""


def general(path: str) -> str:
    """`tables.*.points.*`: a path without the writer's names."""
    if ".when" in path:
        return path
    path = re.sub(r"\[\d+\]$", "[]", path)
    for before in ("tables", "parameters", "answers"):
        path = re.sub(rf"^{before}\.[^.]+", f"{before}.*", path)
    path = re.sub(r"((?:^|\.)points)\.(.+?)(?=(?:\.(?:pulse(?:\.(?:on|off|width))?|shows|write))?$)", r"\1.*", path)
    path = re.sub(r"^writes\.[A-Za-z]+(?:\[\d+\])?\.[A-Za-z]+", "writes.*", path)
    path = re.sub(r"^(derived)\.(.+?)(?=(?:\.case\[\])?$)", r"\1.*", path)
    return re.sub(r"(\.and)+$", ".and", path)


PARTS = {  # of the reader: the same part of the schema
    "": (),
    "title": ("title",),
    "sources[]": ("sources", 0),
    "timing": ("timing",),
    "limits": ("limits",),
    "parameters.*": ("parameters", "*"),
    "identity[]": ("identity", 0),
    "answers.*": ("answers", "*"),
    "points.*": ("points", "*"),
    "points.*.pulse": ("points", "*", "pulse"),
    "points.*.pulse.off": ("points", "*", "pulse", "off", 1),
    "points.*.pulse.width": ("points", "*", "pulse", "width"),
    "points.*.shows": ("points", "*", "shows"),
    "points.*.write": ("points", "*", "write", 1),
    "tables.*": ("tables", "*"),
    "tables.*.points.*": ("tables", "*", "points", "*"),
    "tables.*.where[]": ("tables", "*", "where", 0),
    "derived.*": ("derived", "*"),
    "derived.*.case[]": ("derived", "*", "case", 0),
    "warnings[]": ("warnings", 0),
    "writes.*": ("writes", "*"),
    "writes.*.steps[]": ("writes", "*", "steps", 0),
    "writes.*.confirm": ("writes", "*", "confirm"),
    "writes.*.require": ("writes", "*", "require"),
    "on_return[]": ("on_return", 0),
    "battery_test": ("battery_test",),
    "battery_test.verdict": ("battery_test", "verdict"),
}


FORMS = {"points.*.write"}  # of an object, and of registers that take words of their own


def keys_of_the_schema(steps: tuple[Any, ...]) -> set[str]:
    found: Any = SCHEMA
    for step in steps:
        if isinstance(step, int):
            found = found["anyOf"][step]
        else:
            found = found["additionalProperties"] if step == "*" else found["properties"][step]
        while "$ref" in found:
            found = SCHEMA["$defs"][found["$ref"].rpartition("/")[2]]
    return set(found["properties"])


def test_the_schema_has_every_key_that_the_reader_asks_for_and_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = asked_by_the_reader(monkeypatch, tmp_path)
    for part, steps in PARTS.items():
        assert part in asked, f"no profile has a part {part}"
        # A point is asked for the place of its own protocol only, and a step only for what can stand in it.
        extra = {
            "scale",
            "offset",
            "read",
            "oid",
            "host",
            "write",
            "block",
            "pad",
            "function",
            "as",
            "order",
            "column",
            "table",
            "point",
            "kind",
        }
        known = keys_of_the_schema(steps) | (keys_of_the_schema((*steps[:-1], 2)) if part in FORMS else set())
        missing, more = asked[part] - known, known - asked[part]
        assert not missing, f"the schema lacks {sorted(missing)} of {part}"
        assert not more - extra, f"the reader never asks for {sorted(more)} of {part}"


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("maturity",), "proven"),
        (("protocol",), "profibus"),
        (("members", "elect"), 1),
        (("limits", "registers"), 126),
        (("timing", "response_ms"), 0),
        (("points", "elec.voltage", "as"), "u8x"),
        (("points", "elec.voltage", "bit"), 64),
        (("points", "elec.voltage", "lane"), "quick"),
        (("points", "Voltage"), {"read": "holding 1"}),
        (("derived", "elec.status", "sum"), ["elec.voltage"]),
        (("identity", 0, "there"), True),
        (("warnings", 0, "member"), "doors"),
        (("sources",), [{"document": "one without a page"}]),
    ],
)
def test_what_the_reader_refuses_the_schema_refuses_too(where: tuple[Any, ...], value: Any, tmp_path: Path) -> None:
    whole = plain(profile.SHIPPED / "chint-ddsu666.yaml")
    at: Any = whole
    for step in where[:-1]:
        at = at[step]
    at[where[-1]] = value
    assert not accepted(whole, tmp_path)
    assert problems(whole, SCHEMA, SCHEMA)
