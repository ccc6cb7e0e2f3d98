"""Profile files: the shipped ones, and how a faulty one is told off: everything at once, with line and column."""

import re
from pathlib import Path

import pytest

from gantry_agent.faults import ConfigFault
from gantry_agent.field import profile
from gantry_agent.field.product import (
    read_name,
)
from gantry_agent.field.product_places import (
    Address,
)
from gantry_agent.field.profile_links import plain, used_by_derived, used_by_when
from gantry_agent.vocabulary import MEMBERS, WARNING_FIELD

# Scales in no source; no frame of a real lock.
FOR_THE_SITE = re.compile(  # what a site maps or switches
    r"(di|do|ai|count|relay|sensor|outlet)\d+(_alarm)?|door_closed|return_air"
)
DRAFTS = {"emerson-ups-ydn23", "shengjiu-lock"}
GOOD = """\
profile: it
title: {zh: 它, en: it}
protocol: modbus
maturity: draft
sources: [{document: manual, page: "7"}]
members: {elec: 1}
points:
  elec.voltage: {read: holding 0x10, unit: V}
  amps: {read: input 3}
derived:
  elec.current: {value: amps, scale: 0.1, unit: A}
"""
KEYS_OF_A_POINT = (
    "as, bit, else, inferred, lane, map, mask, none, offset, order, pulse, read, scale, shows, terminal, unit, write"
)


def check(tmp_path: Path, text: str) -> profile.Profile:
    path = tmp_path / "it.yaml"
    path.write_text(text, encoding="utf-8")
    return profile.check(path)


def faults(tmp_path: Path, text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigFault) as caught:
        check(tmp_path, text)
    assert all(fault.text.zh and fault.text.en for fault in caught.value.faults)
    places = [f"{fault.file}:{fault.line}:{fault.column}" for fault in caught.value.faults]
    texts = [fault.text.en for fault in caught.value.faults]
    return [(place.removeprefix(f"{tmp_path}/"), text) for place, text in zip(places, texts, strict=True)]


def test_a_good_profile_is_read(tmp_path: Path) -> None:
    it = check(tmp_path, GOOD)
    assert it.provides("elec") == {"voltage", "current", "status"}
    assert it.provides("ups") == frozenset()
    assert it.timing.response_s == 0.5
    assert it.writable == frozenset()


def test_all_faults_are_found_in_one_run_with_their_places(tmp_path: Path) -> None:
    text = """\
profile: other
titel: {zh: 它, en: it}
title: {zh: 它, en: it}
protocol: modbuss
maturity: draft
members: {elec: 1, upss: 1}
points:
  elec.voltage: {read: holding 0x10, unit: kV}
  elec.volts: {read: holdin 0x10, as: u8, scale: faktor}
derived:
  elec.power: {summ: [a, b]}
"""
    found = faults(tmp_path, text)
    assert [where for where, _ in found] == [
        "it.yaml:1:1",  # the name is not the file's
        "it.yaml:1:1",  # sources are missing
        "it.yaml:2:1",  # titel
        "it.yaml:4:1",  # protocol
        "it.yaml:6:20",  # upss
        "it.yaml:8:38",  # unit
        "it.yaml:9:3",  # elec.volts
        "it.yaml:9:16",  # holdin
        "it.yaml:9:35",  # u8
        "it.yaml:9:43",  # faktor
        "it.yaml:11:3",  # no operation
        "it.yaml:11:16",  # summ
    ]
    texts = "\n".join(text for _, text in found)
    for hint in (
        "did you mean modbus?",
        "did you mean ups?",
        "wants 'V'",
        "did you mean voltage?",
        "did you mean title?",
        "did you mean sum?",
    ):
        assert hint in texts


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ('sources: [{document: manual, page: "7"}]', "sources: []", "it.yaml:5:1", "cannot be empty"),
        ('page: "7"', "note: x", "it.yaml:5:11", "is missing; it must be a text"),
        ("holding 0x10", "holding register", "it.yaml:8:18", "cannot be read"),
        ("holding 0x10, unit: V", "holding 0x10, unit: V, lane: quick", "it.yaml:8:47", "cannot be 'quick'"),
        ("value: amps", "value: ampss", "it.yaml:11:3", "there is no point ampss; did you mean amps?"),
        ("elec.current: {value: amps, scale: 0.1, unit: A}", "elec.voltage: {value: amps}", "it.yaml:11:3", "twice"),
        ("input 3", "input 3, inferred: true", "it.yaml:1:1", "cannot be empty: inferred values must be told"),
        ("input 3", "input 3, bit: 99", "it.yaml:9:25", "a whole number from 0 to 63"),
        ("input 3", "input 3, none: [[1]]", "it.yaml:9:25", "it must be raw values, like 0xFFFF"),
        ("input 3", "input 3, map: 7", "it.yaml:9:25", "raw values with their meaning, {raw: value}"),
        ("amps: {read: input 3}", "amps: {read: input 3}\n  b c: {read: input 4}", "it.yaml:10:3", "cannot be a name"),
        ("amps: {read: input 3}", 'amps: {read: input 3}\n  "amps[1]": {read: input 4}', "it.yaml:10:3", "given twice"),
        ("maturity: draft", "maturity: ripe", "it.yaml:4:1", "cannot be 'ripe'"),
        ("maturity: draft\n", "", "it.yaml:1:1", "is missing; valid: draft, recorded"),
        ("input 3", "input 3, else: [1]", "it.yaml:9:25", "it must be a number or a text"),
        ("value: amps", "value: [[amps]]", "it.yaml:11:18", "a list of numbers or texts"),
        (
            "members: {elec: 1}",
            """members: {elec: 1, airConditioners: 1}
writes: {airConditioners.airOperate: {write: holding 1, confirm: {point: amp, within_s: 1}}}""",
            "it.yaml:7:57",
            "there is no point amp; did you mean amps?",
        ),
        ("input 3", "input 3, inferred: maybe", "it.yaml:9:25", "true or false"),
        ("maturity: draft", "maturity: [", "it.yaml:4:11", "the closing ] is missing"),
        ("maturity: draft", "maturity: draft\nmaturity: draft", "it.yaml:5:1", "given twice (first in line 4)"),
        ("input 3", "input 3, lan: fast", "it.yaml:9:25", "did you mean lane?"),
        ("input 3", "input 3, skale: 1", "it.yaml:9:25", KEYS_OF_A_POINT),
        ("input 3", "input 3, as: f32, bit: 3", "it.yaml:9:34", "cannot be used with f32: it has no bits"),
        ("amps: {read: input 3}", "amps: {read: input 3}\n  Amps2: {read: input 4}", "it.yaml:10:3", "lower case"),
        ("scale: 0.1,", "scal: 0.1,", "it.yaml:11:31", "did you mean scale?"),
        ("value: amps,", "value: amps, sum: [amps],", "it.yaml:11:3", "give exactly one of"),
        ("members: {elec: 1}", "members: {elec: 1}\ntiming: {response_ms: 0}", "it.yaml:7:10", "a number above 0"),
        ("members: {elec: 1}", "members: {elec: 1}\ntiming: {gap_ms: -1}", "it.yaml:7:10", "a number of at least 0"),
        (
            "derived:",
            "derived:\n  elec.status: {case: [{when: {amps: 1}, then: 7}], else: 1}",
            "it.yaml:11:42",
            "cannot be 7: the interface's codes of elec.status are 0, 1",
        ),
        (
            "derived:",
            "derived:\n  elec.status: {case: [{when: {amps: 1}, then: 0}], else: 5}",
            "it.yaml:11:53",
            "cannot be 5: the interface's codes",
        ),
        (
            "derived:",
            "warnings: [{member: elec, text: a, when: {amps: 1}}, {member: elec, text: b, when: {ampss: 1}}]\nderived:",
            "it.yaml:10:78",
            "there is no point ampss; did you mean amps?",
        ),
        (
            "derived:",
            "warnings:\n  - {member: elec, text: a, when: {amps: {not: 1, above: 2}}}\nderived:",
            "it.yaml:11:51",
            "cannot stand beside the other keys here",
        ),
        (
            "members: {elec: 1}",
            "members: {elec: 1, airConditioners: 1}\nwrites: {airConditioners.airOperate: {write: coil 1, map: 3}}",
            "it.yaml:7:54",
            "it must be {order: value}, like {1: 1, 2: 0}",
        ),
        ("members: {elec: 1}", "members: {elec: many}", "it.yaml:6:11", "a whole number"),
        ("members: {elec: 1}", "members: 3", "it.yaml:6:1", "it must be keys with values"),
        ("members: {elec: 1}", "members: {elec: 1}\ncaveats: [x]", "it.yaml:7:1", "a list of entries with keys"),
        ("members: {elec: 1}", "members: {elec: 1}\nlimits: {registers: 200}", "it.yaml:7:10", "from 1 to 125"),
        ("members: {elec: 1}", "members: {elec: 1}\ntiming: {response_ms: soon}", "it.yaml:7:10", "a number"),
        (
            "members: {elec: 1}",
            "members: {elec: 1}\nwarnings: [{member: elec, text: x}]",
            "it.yaml:7:12",
            "a condition is missing",
        ),
        (
            "members: {elec: 1}",
            "members: {elec: 1}\nwarnings: [{member: elec, text: x, when: {amps: {}}}]",
            "it.yaml:7:43",
            "a value, a list, below, above or not",
        ),
        (
            "members: {elec: 1}",
            "members: {elec: 1}\nwrites: {elec.off: {write: holding 1}}",
            "it.yaml:7:10",
            "the interface has no such order",
        ),
    ],
)
def test_one_fault_is_told_with_its_place(tmp_path: Path, old: str, new: str, where: str, what: str) -> None:
    assert old in GOOD
    found = faults(tmp_path, GOOD.replace(old, new))
    assert any(what in text for _, text in found), found
    assert where in [place for place, _ in found], found


def test_an_oid_needs_its_prefix(tmp_path: Path) -> None:
    text = GOOD.replace("modbus", "snmp").replace("members", "prefixes: {UPS: 1.3.6}\nmembers")
    text = text.replace("read: holding 0x10", "oid: UPS.1.0").replace("read: input 3", "oid: UPPS.1.0")
    assert faults(tmp_path, text) == [
        ("it.yaml:10:10", "points.amps.oid: cannot be an OID: 'UPPS.1.0'; did you mean UPS?; valid: UPS")
    ]


def test_a_local_name_means_one_thing_in_all_tables(tmp_path: Path) -> None:
    text = (
        GOOD.replace("modbus", "snmp")
        .replace("read: holding 0x10", "oid: 1.3.6")
        .replace("read: input 3", "oid: 1.3.7")
    )
    text += "tables: {t: {index: 1.3.8, points: {amps: {column: 1.3.8}}}}\n"
    assert faults(tmp_path, text) == [("it.yaml:12:37", "tables.t.points.amps: is given twice")]


def test_a_file_that_is_no_mapping_or_not_there_is_a_fault(tmp_path: Path) -> None:
    assert faults(tmp_path, "- 1\n")[0][0] == "it.yaml:1:1"
    with pytest.raises(ConfigFault, match="cannot read the file"):
        profile.check(tmp_path / "none.yaml")


def test_an_unknown_profile_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigFault, match="did you mean chint-dtsu666"):
        profile.load("chint-dtsu66")


def test_the_site_overlays_a_shipped_profile_by_name(tmp_path: Path) -> None:
    mine = tmp_path / "xy-md02.yaml"
    mine.write_text(GOOD.replace("profile: it", "profile: xy-md02"), encoding="utf-8")
    assert profile.load("xy-md02", (tmp_path, profile.SHIPPED)).title.en == "it"
    assert profile.load("xy-md02").title.en != "it"
    assert "xy-md02" in profile.names((tmp_path,))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("elec.voltage", ("elec", None, "voltage")),
        ("rectifier[2].status", ("rectifier", 2, "status")),
        ("di0", ("", None, "di0")),
        ("load[3]", ("", 3, "load")),
        ("elec.voltage[3]", None),
        ("a b", None),
        ("", None),
    ],
)
def test_names(text: str, name: tuple[str, int | None, str] | None) -> None:
    found = read_name(text)
    assert (found and (found.member, found.number, found.field)) == name


def test_an_address_is_a_sum() -> None:
    assert Address(7, ((1, "base"), (1000, "unit"))).at({"base": 5}, 3) == 3012


@pytest.mark.parametrize("name", profile.names())
def test_a_shipped_profile_loads_and_says_where_it_is_from(name: str) -> None:
    it = profile.load(name)
    assert it.title.zh
    assert it.title.en
    assert all(source.document and source.page for source in it.sources)
    assert (it.maturity == "draft") is (name in DRAFTS)


@pytest.mark.parametrize("name", [name for name in profile.names() if profile.load(name).members])  # not bare contacts
def test_a_shipped_profile_uses_every_local_point_it_reads(name: str) -> None:
    it = profile.load(name)
    used = {plain(n) for one in it.derived for n in used_by_derived(one)}
    used |= {plain(n) for one in it.warnings for n in used_by_when(one.when)}
    used |= {order.confirm.point for order in it.writes if order.confirm} | it.battery_test.points
    used |= {order.permission.point for order in it.writes if order.permission}
    points = {plain(key) for key in it.points} | {plain(k) for table in it.tables.values() for k in table.points}
    local = {name for name in points - it.writable if "." not in name and not FOR_THE_SITE.fullmatch(name)}
    assert local <= used


@pytest.mark.parametrize("name", profile.names())
def test_a_member_that_has_an_alarm_field_has_alarm_texts(name: str) -> None:
    it = profile.load(name)
    for member in it.members:
        assert member in MEMBERS
        if member in WARNING_FIELD:
            assert WARNING_FIELD[member] in it.provides(member)
