"""What SNMP products need of the profile format: rows told by two columns, dates, scales beside a value, outputs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gantry_agent.faults import ConfigFault
from gantry_agent.field import codec, derive, plan, plan_writes, profile
from gantry_agent.field.bus import open_link
from gantry_agent.field.product import Encoding, Profile
from gantry_agent.field.request import SetOid, WalkColumn
from gantry_agent.model import Quality
from tests import profile_rig as rig
from tests import recording_rig

HEAD = """\
profile: it
title: {zh: 它, en: it}
protocol: snmp
maturity: draft
sources: [{document: mib, page: "1"}]
prefixes: {P: 1.3.6.1.4.1.9}
"""
NAMES = ((".1", b"Room"), (".2", b"Room"), (".3", b"Supply"), (".4", b""))
UNITS = ((".1", b"F"), (".2", b"C"), (".3", b"C"), (".4", b"C"))


def product(folder: Path, text: str) -> Profile:
    path = folder / "it.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    return profile.check(path)


def rows(folder: Path, where: str, *columns: tuple[tuple[str, Any], ...], given: str = "") -> tuple[Any, Any]:
    """The rows that a filter lets pass, and the table that was planned for it."""
    it = product(
        folder,
        f"members: {{ups: 1}}\n{given}\ntables: {{rows: {{index: P.2, where: {where}, points: {{ups.temperature: "
        "{column: P.3, unit: °C}}}}\n",
    )
    table = plan.table(it, rig.device(it), "rows")
    replies = [tuple((index.removeprefix("."), value) for index, value in column) for column in columns]
    return plan.locate(table, replies), plan.marks(table, replies, plan.locate(table, replies))


def test_a_row_must_pass_a_filter_and_what_it_asks_for_as_well(tmp_path: Path) -> None:
    found, marks = rows(tmp_path, "{column: P.2, equals: Room, and: {column: P.4, equals: C}}", NAMES, UNITS)
    assert found == ("2",)
    assert [(mark.oid, mark.value) for mark in marks["rows", "2"]] == [
        ("1.3.6.1.4.1.9.2.2", b"Room"),
        ("1.3.6.1.4.1.9.4.2", b"C"),
    ]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("{column: P.2, not: Room}", ("3", "4")),
        ("{column: P.2, not: [Room, Supply]}", ("4",)),
        ('{column: P.2, not: ""}', ("1", "2", "3")),
        ('{column: P.2, equals: ""}', ()),
        ("{column: P.2, not: wanted}", ("1", "2", "4")),
    ],
)
def test_rows_may_be_those_that_do_not_say_something(tmp_path: Path, where: str, found: tuple[str, ...]) -> None:
    assert rows(tmp_path, where, NAMES, given="parameters: {wanted: {default: Supply}}")[0] == found


def test_a_row_that_lacks_the_column_passes_no_filter_not_even_not(tmp_path: Path) -> None:
    where = "{column: P.2, not: Supply, and: {column: P.4, not: F}}"
    assert rows(tmp_path, where, NAMES, UNITS[:3])[0] == ("2",)


def test_a_parameter_may_stand_in_the_second_filter(tmp_path: Path) -> None:
    where = "{column: P.2, equals: Room, and: {column: P.4, equals: unit}}"
    assert rows(tmp_path, where, NAMES, UNITS, given="parameters: {unit: {default: F}}")[0] == ("1",)


def test_rows_that_carry_dates_are_in_the_order_of_time(tmp_path: Path) -> None:
    it = product(
        tmp_path,
        "members: {ups: 1}\ntables: {tests: {index: P.2, order: value, points: {when: {column: P.2, as: date}}}}\n"
        "derived: {ups.temperature: {value: when}}\n",
    )
    starts = {"1": "07E20101000A0000", "2": "07E2010100050000", "3": "07E10C1F173B0000", "4": "07E2010100000000"}
    walked = tuple((index, bytes.fromhex(octets)) for index, octets in starts.items())
    assert plan.locate(plan.table(it, rig.device(it), "tests"), [walked]) == ("3", "4", "2", "1")


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (bytes.fromhex("07E1041313360000"), "2017-04-19 19:54:00"),
        (bytes.fromhex("07EA0C1F173B3C092B0800"), "2026-12-31 23:59:60"),  # a leap second, and a time zone
        (bytes.fromhex("0000000000000000"), Quality.NO_DATA),
        (bytes.fromhex("07EA0D1F00000000"), Quality.NO_DATA),
        (bytes.fromhex("07EA011F18000000"), Quality.NO_DATA),
        (b"2026-01-01", Quality.NO_DATA),
        (7, Quality.NO_DATA),
        (None, Quality.NOT_SUPPORT),
    ],
)
def test_a_date_of_eight_or_eleven_octets(raw: Any, value: Any) -> None:
    assert codec.value_reader(Encoding("date"), {})(raw) == value


@pytest.mark.parametrize(
    ("operation", "values", "result"),
    [
        ("shifted", [5445, -2], 54.45),
        ("shifted", [3, 2], 300),
        ("shifted", [7, 0], 7),
        ("shifted", [7, Quality.NO_DATA], Quality.NO_DATA),
        ("quotient", [248, 10], 24.8),
        ("quotient", [248, 0], Quality.NO_DATA),
        ("quotient", [Quality.NOT_SUPPORT, 10], Quality.NOT_SUPPORT),
    ],
)
def test_a_scale_may_stand_beside_the_value(tmp_path: Path, operation: str, values: list[Any], result: Any) -> None:
    it = product(
        tmp_path,
        "members: {elec: 1}\npoints: {raw: {oid: P.1.0}, scale: {oid: P.2.0}}\n"
        f"derived: {{elec.voltage: {{{operation}: [raw, scale], unit: V}}}}\n",
    )
    now = {key: derive.Sample(value, 0.0) for key, value in zip(("raw", "scale"), values, strict=True)}
    assert rig.named(derive.Deriver(it, rig.device(it)).fields(now, {}))["elec.voltage"] == (
        str(result) if isinstance(result, Quality) else result
    )


OUTPUTS = """\
points:
  plain: {oid: P.1.1, write: {oid: P.1.1}}
  coded: {oid: P.2.1, map: {1: 1, 2: 0}, write: {oid: P.3.1, kind: unsigned, map: {1: 1, 0: 2}, within_s: 8}}
"""


@pytest.mark.parametrize(
    ("target", "value", "setting", "within_s"),
    [
        ("plain", 1, SetOid("1.3.6.1.4.1.9.1.1", "integer", 1), 5),
        ("plain", 0, SetOid("1.3.6.1.4.1.9.1.1", "integer", 0), 5),
        ("coded", 1, SetOid("1.3.6.1.4.1.9.3.1", "unsigned", 1), 8),
        ("coded", 0, SetOid("1.3.6.1.4.1.9.3.1", "unsigned", 2), 8),
    ],
)
def test_an_object_may_be_an_output(tmp_path: Path, target: str, value: int, setting: SetOid, within_s: float) -> None:
    it = product(tmp_path, OUTPUTS)
    assert it.writable == {"plain", "coded"}
    write = plan_writes.write(it, rig.device(it), target, value)
    assert write.requests == (setting,)
    assert write.confirm is not None
    assert (write.confirm.point, write.confirm.expected, write.confirm.within_s) == (target, value, within_s)
    read = "1.3.6.1.4.1.9.1.1" if target == "plain" else "1.3.6.1.4.1.9.2.1"
    assert write.confirm.block.request == plan.GetOids((read,))


def test_an_output_takes_no_other_value(tmp_path: Path) -> None:
    it = product(tmp_path, OUTPUTS)
    with pytest.raises(plan_writes.UnknownWrite, match=r"cannot write 2 to coded on 1\.it: \[0, 1\] are valid"):
        plan_writes.write(it, rig.device(it), "coded", 2)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("map: {1: 1}", "must say which whole numbers 0 and 1 are set as"),
        ("map: {1: on, 0: off, 2: 3}", "must say which whole numbers 0 and 1 are set as"),
        ("kind: octets", "cannot be 'octets'"),
        ("within_s: 0", "a number above 0"),
        ("pulse: 1", "there is no such key"),
    ],
)
def test_a_fault_of_an_output_is_told(tmp_path: Path, given: str, what: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        product(tmp_path, f"points: {{out: {{oid: P.1.1, write: {{oid: P.1.1, {given}}}}}}}\n")
    assert what in caught.value.faults[0].text.en


@pytest.fixture
def pdu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Somebody else's agent that keeps what is set, in an object that is both command and state; its UDP port."""
    rows = "1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.9\n1.3.6.1.4.1.9.1.1|2:writecache|value=1\n"
    with recording_rig.snmpsim(tmp_path_factory.mktemp("pdu"), (), {"pdu": rows}) as port:
        yield port


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pysnmp uses old names of pysmi
async def test_an_output_is_switched_over_the_wire_and_shows_it(tmp_path: Path, pdu: int) -> None:
    it = product(tmp_path, "points: {out: {oid: P.1.1, map: {1: 1, 2: 0}, write: {oid: P.1.1, map: {1: 1, 0: 2}}}}\n")
    device, timing = rig.device(it), plan.Timing(5.0, 0.0)
    link = open_link(recording_rig.the_bus(pdu, "pdu"))
    try:
        for wanted in (0, 1):
            order, other = (plan_writes.write(it, device, "out", value) for value in (wanted, 1 - wanted))
            await link.transact(order.requests[0], timing)
            (proof,), (wrong,) = order.proofs, other.proofs
            said = codec.decode(proof.block, await link.transact(proof.block.request, timing), it, device)["out"]
            assert (proof.shown_by(said), wrong.shown_by(said)) == (True, False)
    finally:
        await link.close()


def test_every_column_of_a_filter_is_walked_once(tmp_path: Path) -> None:
    it = product(
        tmp_path,
        "members: {ups: 1}\ntables: {rows: {index: P.2, where: {column: P.2, equals: a, and: {column: P.4, not: b}}, "
        "points: {ups.temperature: {column: P.3, unit: °C}}}}\n",
    )
    walks = plan.table(it, rig.device(it), "rows").requests
    assert walks == (WalkColumn("1.3.6.1.4.1.9.2"), WalkColumn("1.3.6.1.4.1.9.4"))
