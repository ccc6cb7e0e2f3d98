"""`profiles lint` tells what is well written and makes no sense; and no spoilt profile gives anything but faults."""

import copy
import io
import random
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gantry_agent.cli import main
from gantry_agent.faults import ConfigFault
from gantry_agent.field import arithmetic, derive, plan, profile
from gantry_agent.model import Quality
from tests import profile_rig as rig

HEAD = """\
profile: mine
title: {{zh: 我的, en: mine}}
protocol: {protocol}
maturity: draft
sources: [{{document: d, page: p}}]
members: {{elec: 1, doors: 1}}
prefixes: {{Q: 1.3.6.1.4.1.9}}
parameters: {{word: {{default: 3}}, name: {{default: abc}}}}
{written}
"""
SEEDS, SPOILT = 2, 60
ODD = [
    None, True, -1, 10**30, 1.5, "", "x", "holding 010", "holding 70000", "coil 1", "1.3.6", "Q1 field 0", "every x",
    "NoData", [], {}, [None], {1: 2}, {None: None}, ["a"], {"oid": "B.1"}, {"point": "x"}, {"above": "x"}, "text:99",
]  # fmt: skip


def written(folder: Path, protocol: str, lines: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(HEAD.format(protocol=protocol, written=lines), encoding="utf-8")
    try:
        profile.check(path)
    except ConfigFault as faulty:
        return str(faulty)
    return ""


@pytest.mark.parametrize(
    ("protocol", "lines", "said"),
    [
        ("modbus", "points: {a: {read: holding 70000}}", "points.a.read: cannot be read: the last address is 0xFFFF"),
        ("modbus", "points: {a: {read: holding 0xFFFF, as: f32}}", "the last address is 0xFFFF"),
        ("modbus", "points: {a: {read: holding 0xFFFE, as: 'text:6'}}", "the last address is 0xFFFF"),
        ("modbus", "points: {a: {read: holding 010}}", "points.a.read: cannot be read: write holding|input"),
        ("modbus", "points: {a: {read: holding 1, bit: 16}}", "points.a.bit: cannot be cut out: u16 has 16 bits"),
        ("modbus", "points: {a: {read: holding 1, mask: 0x10000}}", "points.a.mask: cannot be cut out: u16 has 16"),
        ("modbus", "points: {a: {read: holding 1, scale: name}}", "cannot use the parameter name: 'abc' is no number"),
        ("snmp", "points: {a: {oid: Q.1.0, map: {word: 1}}}", "cannot have 'word': what is read here is a number"),
        (
            "modbus",
            "points: {doors.frontDoorClosed: {read: coil 1, map: {0: 5}}}",
            "points.doors.frontDoorClosed.map: cannot give 5: the interface's codes of doors.frontDoorClosed are 0, 1",
        ),
        (
            "modbus",
            "points: {a: {read: holding 1}}\nderived: {elec.power: {ratio: [a], unit: kW}}",
            "derived.elec.power.ratio: cannot be of 1 values: it takes 2",
        ),
        (
            "modbus",
            "points: {a: {read: holding 1}}\nderived: {b: {sum: [c, a]}, c: {sum: [b, a]}}",
            "derived.b: cannot be calculated: it is made of itself",
        ),
        ("modbus", "points: {a: {read: holding 1}}\nobjects: [door]", "objects: cannot be used with modbus"),
        ("huazi", "points: {a: {read: card 1}}", "write 'status BYTE', like status 28; the last byte is 63"),
    ],
)
def test_what_could_never_be_read_is_told(tmp_path: Path, protocol: str, lines: str, said: str) -> None:
    assert said in written(tmp_path, protocol, lines)


def test_a_default_that_is_no_choice_is_told(tmp_path: Path) -> None:
    text = HEAD.replace("word: {{default: 3}}", "word: {{default: 3, choices: [1, 2]}}")
    path = tmp_path / "mine.yaml"
    path.write_text(text.format(protocol="modbus", written="points: {a: {read: holding 1}}"), encoding="utf-8")
    with pytest.raises(ConfigFault, match=r"parameters\.word\.default: is none of the choices; valid: 1, 2"):
        profile.check(path)


def test_a_member_that_nothing_fills_is_a_doubt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert not written(tmp_path, "modbus", "points: {elec.voltage: {read: holding 1, unit: V}}")
    assert main(["profiles", "lint", str(tmp_path / "mine.yaml")]) == 0
    said = capsys.readouterr().out
    assert "members.doors: nothing fills any of its fields" in said
    assert "members.elec" not in said


def test_an_exponent_that_means_no_value_is_not_reckoned_with() -> None:
    operands: list[arithmetic.Get] = [lambda now, _: now["raw"].value, lambda _, __: 2**31 - 1]
    shifted = arithmetic.of_all(arithmetic.STRICT["shifted"], operands)
    assert shifted({"raw": derive.Sample(5, 0.0)}, {}) is Quality.NO_DATA


def spoil(tree: Any, chance: random.Random) -> Any:
    """One or two places of a profile are changed: another value, one from elsewhere, a key gone, a letter wrong."""
    for _ in range(chance.choice((1, 1, 2))):
        places = list(slots(tree))
        if not places:
            break
        node, key = chance.choice(places)
        other = chance.choice(places)
        match chance.randrange(5):
            case 0:
                node[key] = copy.deepcopy(chance.choice(ODD))
            case 1:
                node[key] = copy.deepcopy(other[0][other[1]])
            case 2:
                del node[key]
            case 3 if isinstance(node, dict):
                node[str(other[1])] = node.pop(key)
            case _ if isinstance(node[key], str) and node[key]:
                at = chance.randrange(len(node[key]))
                node[key] = node[key][:at] + chance.choice("0x[]{}.:-+* a") + node[key][at + 1 :]
    return tree


def slots(tree: Any) -> Any:
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from slots(tree[key])


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_spoilt_profile_is_faulty_or_works_and_never_anything_else(tmp_path: Path, seed: int) -> None:
    chance, yaml = random.Random(seed), YAML(typ="safe", pure=True)
    works = 0
    for path in chance.sample(sorted(profile.SHIPPED.glob("*.yaml")), 12):
        whole = yaml.load(path)
        for _ in range(SPOILT // 12):
            text = io.StringIO()
            yaml.dump(spoil(copy.deepcopy(whole), chance), text)
            spoilt = tmp_path / path.name
            spoilt.write_text(text.getvalue(), encoding="utf-8")
            try:
                product = profile.check(spoilt)
            except ConfigFault as faulty:
                assert all(fault.line and fault.text.en and fault.text.zh for fault in faulty.faults)
                continue
            works += 1
            calculate(product)
    assert works


def calculate(product: profile.Profile) -> None:
    """Plan what is asked, and make fields of whatever is answered."""
    it = rig.device(product)
    rows = dict.fromkeys(product.tables, ("1",))
    keys = [key for block in plan.blocks(product, it, rows, {}) for key in block.keys]
    deriver = derive.Deriver(product, it, rows)
    for value in (0, 1, 2**31 - 1, -1, "x", 1e300, Quality.NO_DATA):
        deriver.fields({key: derive.Sample(value, 1.0) for key in keys}, {})
