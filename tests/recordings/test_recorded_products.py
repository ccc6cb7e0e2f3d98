"""Profiles of SNMP products against recordings of real ones and what their MIBs say, case by case.

Each file of `products/` is one profile: what the device answers, which is a recording, or objects written from the
maker's table (`said`), or a recording with some of its objects changed so; and the readings that this means, worked
out by hand with the table beside. `python -m tests.recordings.test_recorded_products` prints all of it as a table.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gantry_agent.field import codec, derive, plan, plan_writes, profile
from gantry_agent.field.product import read_name
from gantry_agent.model import Device, Quality, Role
from tests import profile_rig as rig
from tests import recording_rig

HERE = Path(__file__).parent / "products"
PRODUCTS: dict[str, dict[str, Any]] = {
    path.stem: YAML(typ="safe", pure=True).load(path) for path in sorted(HERE.glob("*.yaml"))
}
CASES = [
    pytest.param(name, case, id=f"{name}: {case['name']}") for name, one in PRODUCTS.items() for case in one["cases"]
]
REPLAYED = [case for case in CASES if "recording" in case.values[1] and "said" not in case.values[1]]  # type: ignore[operator]
LOOKS = [pytest.param(name, look, id=name) for name, one in PRODUCTS.items() for look in one.get("looks", ())]
RECORDS = [case for case in CASES if "records" in case.values[1]]  # type: ignore[operator]
ORDERS = [
    pytest.param(name, order, id=f"{name}: {order['target']} = {order['value']}")
    for name, one in PRODUCTS.items()
    for order in one.get("orders", ())
]


def the_device(product: profile.Profile, case: Mapping[str, Any]) -> Device:
    mapping = {}
    for target, point in case.get("map", {}).items():
        named = read_name(target)
        assert named
        mapping[Role(1, named.member, named.number or 1), named.field] = tuple(point)
    return rig.device(product, parameters=case.get("parameters", {}), roles=case.get("roles"), mapping=mapping)


def the_source(name: str, case: Mapping[str, Any]) -> rig.Recording:
    """What answers: the recording, with the objects that the case gives in place of its own; null takes one away."""
    source = rig.Recording(rig.recording(case["recording"]) if "recording" in case else None)
    prefixes = PRODUCTS[name].get("prefixes", {})
    for short, value in case.get("said", {}).items():
        oid = whole(str(short), prefixes)
        if value is None:
            source.rows.pop(oid, None)
        else:
            source.rows[oid] = said(value)
    return source


def whole(short: str, prefixes: Mapping[str, str]) -> str:
    """An OID that a prefix may have shortened."""
    head, _, rest = short.partition(".")
    return f"{prefixes[head]}.{rest}" if head in prefixes else short


def said(value: int | str) -> plan.SnmpValue:
    """A number, an OID (`oid 1.3…`), octets (`hex 07E1…`) or a text."""
    if isinstance(value, int):
        return value
    if value.startswith("hex "):
        return bytes.fromhex(value[4:])
    return value[4:] if value.startswith("oid ") else value.encode()


def found(name: str, case: Mapping[str, Any]) -> dict[str, Any]:
    product = rig.load(name)
    it, source = the_device(product, case), the_source(name, case)
    now, rows = rig.read_all(product, it, source), rig.rows_of(product, it, source)
    then = now
    if "earlier" in case:  # 5 s before
        then = rig.read_all(product, it, the_source(name, {**case, "said": {**case["said"], **case["earlier"]}}))
    before = {key: derive.Sample(sample.value, -5.0) for key, sample in then.items()}
    return rig.named(derive.Deriver(product, it, rows).fields(now, before))


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Any:
    names = sorted({case.values[1]["recording"] for case in REPLAYED})  # type: ignore[index]
    with recording_rig.snmpsim(tmp_path_factory.mktemp("replay"), names) as port:
        yield port


@pytest.mark.parametrize(("name", "case"), CASES)
def test_what_the_device_answers_means_these_readings(name: str, case: dict[str, Any]) -> None:
    rig.assert_readings(found(name, case), case["expected"])


@pytest.mark.parametrize(("name", "case"), REPLAYED)
async def test_a_replayed_product_gives_the_readings_of_its_recording(
    replay: int, name: str, case: dict[str, Any]
) -> None:
    product = rig.load(name)
    it = the_device(product, case)
    readings = await recording_rig.read_twice(product, it, recording_rig.the_bus(replay, case["recording"]))
    rig.assert_readings(readings, case["expected"])


@pytest.mark.parametrize(("name", "case"), RECORDS)
def test_the_newest_record_of_a_battery_test_says_this(name: str, case: dict[str, Any]) -> None:
    product, source = rig.load(name), the_source(name, case)
    it, testing = the_device(product, case), product.battery_test
    table = plan.table(product, it, testing.records)
    rows = plan.locate(table, [source.answer(request) for request in table.requests])
    says: dict[str, Any] = {}
    for field, point in testing.fields.items():
        (block,) = plan.point_blocks(product, it, point, (len(rows),), plan.Located({table.name: rows}, {}))
        (value,) = codec.decode(block, source.answer(block.request), product, it).values()
        says[field] = str(value) if isinstance(value, Quality) else value
    rig.assert_readings(says, case["records"])


@pytest.mark.parametrize(("name", "case"), [case for case in CASES if "verdict" in case.values[1]])  # type: ignore[operator]
def test_a_product_without_records_has_this_verdict(name: str, case: dict[str, Any]) -> None:
    product, source = rig.load(name), the_source(name, case)
    it, testing = the_device(product, case), product.battery_test
    (block,) = plan.point_blocks(product, it, testing.verdict, ())
    (value,) = codec.decode(block, source.answer(block.request), product, it).values()
    assert testing.verdicts.get(value) == case["verdict"]  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "order"), ORDERS)
def test_an_order_sets_these_objects_and_is_read_back(name: str, order: dict[str, Any]) -> None:
    product = rig.load(name)
    it, source = the_device(product, order), the_source(name, order)
    located = plan.Located(rows_of_all(product, it, source), {})
    prefixes = PRODUCTS[name].get("prefixes", {})
    if "refused" in order:
        with pytest.raises(plan_writes.UnknownWrite) as refused:
            planned(product, it, order, located)
        assert refused.value.why == order["refused"]
        return
    write = planned(product, it, order, located)
    settings = [one for stage in write.requests for one in setting(stage)]
    assert settings == [expected_setting(one, prefixes) for one in order["sets"]]
    permits = [[permit.block.request.oids[0], list(permit.values)] for permit in write.permits]  # type: ignore[union-attr]
    assert permits == [[whole(oid, prefixes), values] for oid, values in order.get("permits", [])]
    if "confirm" not in order:
        assert write.proofs == ()
        return
    assert write.confirm is not None
    assert write.confirm.point == order["confirm"]["point"]
    assert [write.confirm.expected, *write.confirm.others] == order["confirm"]["shows"]
    assert write.confirm.within_s == order["confirm"]["within_s"]


@pytest.mark.parametrize(("name", "look"), LOOKS)
def test_what_confirms_an_order_reads_this(name: str, look: dict[str, Any]) -> None:
    product, source = rig.load(name), the_source(name, look)
    it = the_device(product, look)
    located = plan.Located(rows_of_all(product, it, source), {})
    (block,) = plan.point_blocks(product, it, look["point"], look["numbers"], located)
    (value,) = codec.decode(block, source.answer(block.request), product, it).values()
    assert value == pytest.approx(look["reads"])


@pytest.mark.parametrize("name", [name for name, one in PRODUCTS.items() if "walks" in one])
def test_no_more_is_walked_than_these_columns(name: str) -> None:
    product = rig.load(name)
    prefixes = PRODUCTS[name]["prefixes"]
    it = the_device(product, {})
    walked = {
        request.oid
        for table in product.tables
        for request in plan.table(product, it, table).requests
        if isinstance(request, plan.WalkColumn)
    }
    assert walked == {whole(short, prefixes) for short in PRODUCTS[name]["walks"]}


@pytest.mark.parametrize("name", [name for name, one in PRODUCTS.items() if "verdict" in one])
def test_the_verdict_on_a_battery_means_this(name: str) -> None:
    assert dict(rig.load(name).battery_test.verdicts) == PRODUCTS[name]["verdict"]


def rows_of_all(product: profile.Profile, it: Device, source: rig.Recording) -> dict[str, tuple[str, ...]]:
    """The rows of every table, also of one that only an output of the site would be found in."""
    found = {
        table: plan.locate(known, [source.answer(request) for request in known.requests])
        for table in product.tables
        if (known := plan.table(product, it, table))
    }
    return found | dict(rig.rows_of(product, it, source))


def planned(product: profile.Profile, it: Device, order: Mapping[str, Any], located: plan.Located) -> plan_writes.Write:
    if "pulse_s" in order:  # the device is to time it
        return plan_writes.pulse(product, it, order["target"], order["value"], order["pulse_s"], located)
    return plan_writes.write(product, it, order["target"], order["value"], located)


def setting(stage: plan_writes.Stage) -> list[tuple[str, str, Any]]:
    """What is set and, of a pulse, what is looked at before: `unless` it reads so, `while` it does."""
    if isinstance(stage, plan_writes.AsRead):
        return [(stage.first.oids[0], "as read", None)]
    if isinstance(stage, plan_writes.Unless):
        assert stage.first.oids == (stage.then.oid,)
        return [(stage.then.oid, "unless", stage.then.value)]
    if isinstance(stage, plan_writes.WhileTimed):
        return [(stage.first.oids[0], "while", stage.steps), *setting(stage.then)]
    if isinstance(stage, plan_writes.IfRow):
        stage = stage.then
    assert isinstance(stage, plan.SetOid)
    return [(stage.oid, stage.kind, stage.value)]


def expected_setting(one: list[Any], prefixes: Mapping[str, str]) -> tuple[str, str, Any]:
    value = one[2].encode() if one[1] == "octets" else one[2]
    return whole(one[0], prefixes), one[1], value


def test_every_product_is_a_shipped_profile_and_claims_no_more_than_its_evidence() -> None:
    assert set(PRODUCTS) <= set(profile.names())
    for name, one in PRODUCTS.items():
        recorded = any("recording" in case for case in one["cases"])
        assert rig.load(name).maturity == one.get("claims", "recorded" if recorded else "transcript"), name


def the_table() -> str:
    """Device, field, value and expected value of every case, with a mark where they differ."""
    lines = ["| profile | case | field | value | expected | |", "|---|---|---|---|---|---|"]
    for case in CASES:
        name, one = case.values
        readings = found(name, one)  # type: ignore[arg-type]
        for field, expected in one["expected"].items():  # type: ignore[index]
            value = readings.get(field)
            same = value == (pytest.approx(expected, rel=1e-6) if isinstance(expected, float) else expected)
            mark = "" if same else "**differs**"
            lines.append(f"| {name} | {one['name']} | {field} | {value} | {expected} | {mark} |")  # type: ignore[index]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(the_table() + "\n")
