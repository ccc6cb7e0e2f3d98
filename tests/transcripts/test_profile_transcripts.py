"""Every shipped profile of a line against the words of its device, written down by hand in the YAML files beside this.

`image` are registers and bits; `said` are questions and answers of devices that are asked by commands.
"""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from gantry_agent.field import plan, plan_writes, profile
from gantry_agent.field.framing import speech
from gantry_agent.field.product import read_name
from gantry_agent.field.request import PulseBit
from gantry_agent.model import Role
from tests import profile_rig as rig

HERE = Path(__file__).parent
TRANSCRIPTS = {path.stem: YAML(typ="safe", pure=True).load(path) for path in sorted(HERE.glob("*.yaml"))}
CASES = [
    pytest.param(name, case, id=f"{name}: {case['name']}") for name, one in TRANSCRIPTS.items() for case in one["cases"]
]
CHANGES = [
    pytest.param(name, change, id=f"{name}: {number}")
    for name, one in TRANSCRIPTS.items()
    for number, change in enumerate(one.get("changes", ()), 1)
]
ORDERS = [
    pytest.param(name, order, id=f"{name}: {order['target']} = {order['value']}")
    for name, one in TRANSCRIPTS.items()
    for order in one.get("orders", ())
]


def the_device(name: str, case: dict[str, Any]) -> Any:
    product = rig.load(name)
    mapping = {}
    for target, point in case.get("map", {}).items():
        named = read_name(target)
        assert named
        mapping[Role(1, named.member, named.number or 1), named.field] = tuple(point)
    return product, rig.device(
        product,
        unit=case.get("unit", TRANSCRIPTS[name]["unit"]),
        parameters=case.get("parameters", {}),
        roles=case.get("roles"),
        mapping=mapping,
        object=case.get("object", TRANSCRIPTS[name].get("object", "")),
    )


def the_source(case: dict[str, Any]) -> rig.Image | rig.Talk:
    return rig.Talk(case["said"]) if "said" in case else rig.Image(case["image"])


@pytest.mark.parametrize(("name", "case"), CASES)
def test_the_words_of_the_device_mean_these_readings(name: str, case: dict[str, Any]) -> None:
    product, it = the_device(name, case)
    rig.assert_readings(rig.readings(product, it, the_source(case)), case["expected"])


@pytest.mark.parametrize(("name", "case"), CASES)
def test_its_contacts_read_so(name: str, case: dict[str, Any]) -> None:
    product, it = the_device(name, case)
    it = dataclasses.replace(it, watched=frozenset(case.get("points", ())))
    found = {key: sample.value for key, sample in rig.read_all(product, it, the_source(case)).items()}
    rig.assert_readings(found, case.get("points", {}))


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_a_word_that_changes_changes_these_readings(name: str, change: dict[str, Any]) -> None:
    """The case that is named, or the first, with other words at some addresses."""
    cases = {case["name"]: case for case in TRANSCRIPTS[name]["cases"]}
    case = {**(cases[change["case"]] if "case" in change else TRANSCRIPTS[name]["cases"][0]), **change}
    product, it = the_device(name, case)
    source = the_source(case)
    assert isinstance(source, rig.Image)
    for space, words in change["set"].items():
        source.words |= {(space, address): word for address, word in words.items()}
    rig.assert_readings(rig.readings(product, it, source), change["expected"])


@pytest.mark.parametrize(("name", "case"), CASES)
def test_the_device_is_asked_in_few_requests(name: str, case: dict[str, Any]) -> None:
    product, it = the_device(name, case)
    it = dataclasses.replace(it, watched=frozenset(case.get("points", ())))
    source = the_source(case)
    rig.read_all(product, it, source)
    if isinstance(source, rig.Talk):
        assert set(source.asked) == set(case["said"])
    else:
        assert sorted(source.asked) == [tuple(ask) for ask in case["asks"]]


def finished(stage: plan_writes.Stage, order: dict[str, Any]) -> plan.WriteRequest:
    """What is written, once the device has answered what is asked before."""
    if not isinstance(stage, plan_writes.InBlock | plan_writes.AsRead | plan_writes.IfRow):
        return stage
    assert isinstance(stage.first, plan.ReadRegisters)
    assert [stage.first.function, stage.first.address, stage.first.count] == order["looks"]["ask"]
    return plan_writes.finished(stage, tuple(order["looks"]["answer"]))


@pytest.mark.parametrize(("name", "order"), ORDERS)
def test_an_order_is_written_and_read_back(name: str, order: dict[str, Any]) -> None:
    product, it = the_device(name, order)
    located = plan.Located({table: tuple(rows) for table, rows in order.get("rows", {}).items()}, {})
    write = plan_writes.write(product, it, order["target"], order["value"], located)
    if "said" in order:
        assert [speech.frame(one) for one in write.requests] == [order["said"].encode() + b"\r"]
        assert write.confirm is not None
        assert speech.frame(write.confirm.block.request) == order["confirm"].encode() + b"\r"
        assert (write.confirm.point, write.confirm.expected) == (order.get("point", order["target"]), order["expected"])
        return
    requests = [finished(stage, order) for stage in write.requests]
    function, address, value = order["write"]
    if function == 5:
        assert requests == [plan.WriteBit(it.unit, address, value)]
    else:
        assert requests == [plan.WriteRegisters(it.unit, function, address, tuple(value))]
    if "frame" in order:
        assert [speech.frame(one) for one in requests] == [bytes.fromhex(order["frame"])]
    assert write.confirm is not None
    assert write.confirm.point == order["confirm"]["point"]
    assert write.confirm.expected == order["confirm"]["expected"]
    read = write.confirm.block.request
    assert isinstance(read, plan.ReadRegisters | plan.ReadBits)
    assert [read.function, read.address, read.count] == order["confirm"]["ask"]


PULSES = [
    pytest.param(name, one, id=f"{name}: {one['target']}")
    for name, known in TRANSCRIPTS.items()
    for one in known.get("pulses", ())
]


@pytest.mark.parametrize(("name", "pulse"), PULSES)
def test_a_pulse_is_timed_by_the_device(name: str, pulse: dict[str, Any]) -> None:
    product, it = the_device(name, pulse)
    for value, word in ((1, "on"), (0, "off")):
        address, steps = pulse[word]
        write = plan_writes.pulse(product, it, pulse["target"], value, pulse["seconds"])
        assert write.requests == (PulseBit(it.unit, address, steps),)


@pytest.mark.parametrize("name", profile.names())
def test_every_shipped_profile_of_a_line_has_a_transcript(name: str) -> None:
    if rig.load(name).protocol in ("modbus", "megatec", "ydt1363", "dlt645", "zpta", "huazi", "zte"):
        assert name in TRANSCRIPTS


def test_every_transcript_belongs_to_a_shipped_profile() -> None:
    assert set(TRANSCRIPTS) <= set(profile.names())
