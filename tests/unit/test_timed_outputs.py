"""Outputs of SNMP devices: pulses that the device times by itself, rows of tables, and what goes back by itself."""

from pathlib import Path

import pytest

from gantry_agent.faults import ConfigFault
from gantry_agent.field import plan, plan_writes
from gantry_agent.field import profile as profiles
from gantry_agent.field.product import Profile
from gantry_agent.field.request import GetOids, SetOid
from gantry_agent.model import BadReply, Device
from hwsim.site import build
from hwsim.world import World

STRIP = """\
profile: strip
title: {zh: 插座, en: strip}
protocol: snmp
maturity: draft
sources: [{document: a, page: b}]
prefixes: {P: 1.3.6.1.4.1.9}
tables:
  outlets:
    index: P.1.1
    where: {column: P.1.2, not: ""}
    points:
      outlet:
        column: P.1.3
        lane: fast
        write: {column: P.1.4, map: {1: 1, 0: 2}, within_s: 7}
        pulse: {off: {column: P.1.4, value: 3}, width: {column: P.1.5, set: true, choices: [5, 10]}, step_ms: 1000}
      opened: {column: P.1.6, lane: fast, write: {column: P.1.7, map: {1: 0}, returns: true}}
"""
P = "1.3.6.1.4.1.9.1"
MARK = plan.Mark(f"{P}.2.31", b"lpr")
LOCATED = plan.Located({"outlets": ("7", "31")}, {("outlets", "31"): (MARK,)})
AT = Device("1.strip", 1, "strip", "net", 1, {})


def load(folder: Path, text: str) -> Profile:
    (folder / "strip.yaml").write_text(text, encoding="utf-8")
    return profiles.load("strip", (folder,))


@pytest.fixture
def strip(tmp_path: Path) -> Profile:
    return load(tmp_path, STRIP)


def test_an_output_in_a_row_is_written_where_the_row_was_found_and_only_while_it_is_that_row(strip: Profile):
    assert strip.writable == {"outlet", "opened"}
    first = plan_writes.write(strip, AT, "outlet", 0, LOCATED)
    assert first.requests == (SetOid(f"{P}.4.7", "integer", 2),)
    second = plan_writes.write(strip, AT, "outlet[2]", 0, LOCATED)
    (stage,) = second.requests
    assert stage == plan_writes.IfRow(GetOids((MARK.oid,)), (MARK,), SetOid(f"{P}.4.31", "integer", 2))
    assert second.confirm is not None
    assert second.confirm.block.request == GetOids((f"{P}.3.31", MARK.oid))
    assert (second.confirm.within_s, second.confirm.shown_by(0), second.confirm.shown_by(1)) == (7, True, False)
    with pytest.raises(plan_writes.UnknownWrite, match="2 were found") as refused:
        plan_writes.write(strip, AT, "outlet[3]", 0, LOCATED)
    assert refused.value.why == "设备上没有该单元"


def test_what_goes_back_by_itself_is_set_for_1_only(strip: Profile):
    opened = plan_writes.write(strip, AT, "opened", 1, LOCATED)
    assert opened.requests == (SetOid(f"{P}.7.7", "integer", 0),)
    assert opened.confirm is not None
    assert opened.confirm.expected == 1
    assert plan_writes.write(strip, AT, "opened", 0, LOCATED) == plan_writes.Write(())


def test_a_pulse_in_a_row_sets_how_long_and_begins_only_while_that_reads_so(strip: Profile):
    write = plan_writes.pulse(strip, AT, "outlet", 0, 10, LOCATED)
    width, begin = GetOids((f"{P}.5.7",)), SetOid(f"{P}.4.7", "integer", 3)
    set_it, do_it = write.requests
    assert set_it == plan_writes.Unless(width, SetOid(f"{P}.5.7", "integer", 10))
    assert do_it == plan_writes.WhileTimed(width, 10, 1000, 3.0, begin)
    assert plan_writes.finished(set_it, {f"{P}.5.7": 10}) is None
    assert plan_writes.finished(set_it, {f"{P}.5.7": 5}) == SetOid(f"{P}.5.7", "integer", 10)
    assert plan_writes.finished(do_it, {f"{P}.5.7": 10}) == begin
    with pytest.raises(plan_writes.Mistimed) as mistimed:
        plan_writes.finished(do_it, {f"{P}.5.7": 5})
    assert mistimed.value.why == "设备脉宽5s，应设为10s"
    for reply in ({}, {f"{P}.5.7": None}, {f"{P}.5.7": b"10"}):
        for stage in (set_it, do_it):
            with pytest.raises(BadReply):
                plan_writes.finished(stage, reply)


@pytest.mark.parametrize(
    ("target", "value", "seconds", "able"),
    [
        ("outlet[2]", 0, 5, True),
        ("outlet[2]", 0, 7, False),
        ("outlet[2]", 1, 5, False),
        ("opened", 1, 5, False),
        ("rack", 1, 5, False),
        ("elec.voltage", 1, 5, False),
    ],
)
def test_a_device_times_only_what_it_can(strip: Profile, target: str, value: int, seconds: float, *, able: bool):
    assert plan_writes.can_pulse(strip, target, value, seconds) is able
    if not able:
        with pytest.raises(plan_writes.UnknownWrite):
            plan_writes.pulse(strip, AT, target, value, seconds, LOCATED)


def test_rows_of_outputs_are_located_though_no_field_wants_them(strip: Profile):
    assert plan.tables(strip, AT) == ()
    (table,) = plan.tables(strip, Device("1.strip", 1, "strip", "net", 1, {}, rows=frozenset({"outlet"})))
    assert table.name == "outlets"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("off: {column: P.1.4, value: 3}, ", "", "is missing: give on, off or both"),
        ("off: {column: P.1.4, value: 3}, ", "off: {column: P.1.4}, ", "needs value where there is a width"),
        ("off: {column: P.1.4, value: 3}, ", "off: {oid: P.1.4, value: 3}, ", "there is no such key"),
        ("width: {column: P.1.5, set: true, choices: [5, 10]}, ", "", "needs value where there is a width"),
        ("choices: [5, 10]", "choices: [5, ten]", "must be whole numbers above 0"),
        ("choices: [5, 10]", "choices: [0]", "must be whole numbers above 0"),
        ("set: true", "set: yes please", "true or false"),
        ("map: {1: 0}, returns: true", "map: {1: 0}", "must say which whole numbers 0 and 1 are set as"),
        ("map: {1: 0}, returns: true", "map: {1: 0, 0: 1}, returns: true", "only 1 with `returns`"),
    ],
)
def test_a_faulty_output_of_a_row_is_told(tmp_path: Path, old: str, new: str, said: str):
    assert STRIP.count(old) == 1
    with pytest.raises(ConfigFault) as caught:
        load(tmp_path, STRIP.replace(old, new))
    assert any(said in fault.text.en for fault in caught.value.faults), caught.value.faults


# --- hwsim ------------------------------------------------------------------------------------------------------------

SITE = {
    "buses": {"net": {"type": "snmp", "host": "127.0.0.1"}},
    "cabinets": [
        {
            "id": 1,
            "devices": {
                name: {"profile": name, "bus": "net"}
                for name in ("apc-pdu", "iboot-pdu", "papouch-quido", "teracom-tcw241")
            },
            "outputs": {
                "camera": {"device": "apc-pdu", "point": "outlet3", "invert": True},
                "lpr": {"device": "iboot-pdu", "point": "outlet1", "invert": True},
                "router": {"device": "papouch-quido", "point": "do2"},
                "pc": {"device": "teracom-tcw241", "point": "do4"},
            },
        }
    ],
    "relays": [
        {"ip": "10.0.0.1", "port": k, "output": name} for k, name in enumerate(["camera", "lpr", "router", "pc"])
    ],
}
APC, IBOOT, QUIDO, TERACOM = (f"1.3.6.1.4.1.{one}" for one in ("318.1.1.4", "1418.6.5.1", "18248.16.3.1.1", "38783.3"))


@pytest.mark.parametrize(
    ("name", "supply", "sets", "seconds"),
    [
        ("apc-pdu", "camera", [(f"{APC}.4.2.1.3.3", 3)], 5.0),
        ("apc-pdu", "camera", [(f"{APC}.5.2.1.5.3", 12), (f"{APC}.4.2.1.3.3", 3)], 10.0),  # the next lower
        ("apc-pdu", "camera", [(f"{APC}.5.2.1.5.3", 1), (f"{APC}.4.2.1.3.3", 3)], 5.0),
        ("iboot-pdu", "lpr", [(f"{IBOOT}.4.0", 7), (f"{IBOOT}.5.0", 2)], 7.0),
        ("papouch-quido", "router", [(f"{QUIDO}.3.2", 9)], 4.5),
        ("teracom-tcw241", "pc", [(f"{TERACOM}.3.4.4.2.0", 1)], 4.0),
        ("teracom-tcw241", "pc", [(f"{TERACOM}.2.2.4.4.2.0", 25), (f"{TERACOM}.3.4.4.2.0", 1)], 2.5),
    ],
)
def test_a_simulated_device_cuts_for_its_own_time(name: str, supply: str, sets: list[tuple[str, int]], seconds: float):
    from hwsim.devices.oids import integer

    world = World(build(SITE), lambda: 0.0)
    spec = world.site.devices[f"1.{name}"]
    for oid, value in sets:
        assert oid in world.snmp(spec).table(world.seen(spec))
        world.absorb(spec, world.snmp(spec).set(world.seen(spec), oid, integer(value)))
    assert not world.plants[1].supplies[supply].on
    world.advance(seconds - 0.1)
    assert not world.plants[1].supplies[supply].on
    world.advance(0.1)
    assert (world.plants[1].supplies[supply].on, world.plants[1].supplies[supply].last_cut_s) == (True, seconds)
