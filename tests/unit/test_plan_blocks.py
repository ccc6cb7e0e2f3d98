"""Planning: what is read for a device, in which requests, and how orders are written."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.field import codec, plan, plan_writes, profile
from gantry_agent.field.product import Profile
from gantry_agent.model import Role
from tests import profile_rig as rig

HEAD = """
profile: it
title: {zh: 它, en: it}
maturity: draft
sources: [{document: a, page: b}]
"""


def product(tmp_path: Path, text: str) -> Profile:
    path = tmp_path / "it.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    return profile.check(path)


def asked(blocks: tuple[plan.Block, ...]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for block in blocks:
        request = block.request
        if isinstance(request, plan.ReadRegisters | plan.ReadBits):
            found.append((block.lane, (request.function, request.address, request.count)))
        elif isinstance(request, plan.GetOids):
            found.append((block.lane, request.oids))
        else:
            found.append((block.lane, request.names))
    return found


def test_neighbours_are_merged_and_a_wide_gap_is_not_read(tmp_path: Path) -> None:
    it = product(
        tmp_path,
        """
protocol: modbus
limits: {registers: 10, hole: 2}
members: {elec: 1}
points:
  elec.voltage: {read: holding 10, unit: V}
  elec.current: {read: holding 13, as: u32, unit: A}
  elec.frequency: {read: holding 18, unit: Hz}
  elec.power: {read: input 10, unit: kW}
""",
    )
    assert asked(plan.blocks(it, rig.device(it))) == [
        ("slow", (3, 10, 5)),
        ("slow", (3, 18, 1)),
        ("slow", (4, 10, 1)),
    ]


def test_a_block_is_never_longer_than_the_device_can_answer(tmp_path: Path) -> None:
    points = "\n".join(f"  p{i}: {{read: holding {2 * i}, as: f32}}" for i in range(10))
    it = product(
        tmp_path,
        f"""
protocol: modbus
limits: {{registers: 6, hole: 0}}
members: {{elec: 1}}
points:
{points}
derived:
  elec.power: {{sum: [{", ".join(f"p{i}" for i in range(10))}]}}
""",
    )
    assert [request[1][2] for request in asked(plan.blocks(it, rig.device(it)))] == [6, 6, 6, 2]


def test_points_of_alarms_are_fast_and_measurements_slow(tmp_path: Path) -> None:
    it = product(
        tmp_path,
        """
protocol: modbus
members: {ups: 1}
points:
  ups.powerRate: {read: holding 0, unit: "%"}
  state: {read: holding 1}
  ups.temperature: {read: holding 2, unit: °C}
  fuse: {read: holding 3, lane: slow}
derived:
  ups.status: {case: [{when: {state: 1}, then: 1}], else: 0}
warnings:
  - {member: ups, text: 电池熔丝断, when: {fuse: 1}}
""",
    )
    assert asked(plan.blocks(it, rig.device(it))) == [("fast", (3, 1, 1)), ("slow", (3, 0, 4))]


def test_what_only_feeds_a_skipped_field_is_not_read(tmp_path: Path) -> None:
    it = product(
        tmp_path,
        """
protocol: modbus
members: {elec: 1}
points:
  elec.voltage: {read: holding 0, unit: V}
  watts: {read: holding 50}
derived:
  elec.power: {value: watts, scale: 0.001}
""",
    )
    assert asked(plan.blocks(it, rig.device(it, skip=["elec.power"]))) == [("slow", (3, 0, 1))]
    assert asked(plan.blocks(it, rig.device(it, skip=["elec"]))) == []


def test_of_a_module_with_contacts_only_the_mapped_are_read() -> None:
    it = rig.load("moxa-iologik-e1212")
    mapping = {
        (Role(1, "doors"), "frontDoorClosed"): ("di2",),
        (Role(1, "smokeSensor"), "isWarning"): ("di4", True),
    }
    assert asked(plan.blocks(it, rig.device(it, mapping=mapping))) == [("fast", (2, 2, 3))]


def test_oids_are_asked_in_gets_of_the_profiles_size(tmp_path: Path) -> None:
    points = "\n".join(f"  p{i}: {{oid: P.{i}.0}}" for i in range(5))
    it = product(
        tmp_path,
        f"""
protocol: snmp
limits: {{oids: 2}}
prefixes: {{P: 1.3.6.1}}
members: {{ups: 1}}
points:
{points}
derived:
  ups.temperature: {{max: [p0, p1, p2, p3, p4]}}
""",
    )
    assert asked(plan.blocks(it, rig.device(it))) == [
        ("slow", ("1.3.6.1.0.0", "1.3.6.1.1.0")),
        ("slow", ("1.3.6.1.2.0", "1.3.6.1.3.0")),
        ("slow", ("1.3.6.1.4.0",)),
    ]


TABLE = """
protocol: snmp
members: {rectifier: 1}
parameters: {disk: {default: "/"}}
tables:
  modules:
    member: rectifier
    index: 1.3.2
    order: value
    points:
      rectifier.outputCurrent: {column: 1.3.5, unit: A}
"""


def test_rows_are_ordered_by_the_value_of_their_column(tmp_path: Path) -> None:
    it = product(tmp_path, TABLE)
    device = rig.device(it, roles={"rectifier": [4, 7]})
    (table,) = plan.tables(it, device)
    assert table.requests == (plan.WalkColumn("1.3.2"),)
    rows = plan.locate(table, [(("28676", 2002), ("28677", 2001), ("28678", 2003))])
    assert rows == ("28677", "28676", "28678")
    assert asked(plan.blocks(it, device, {"modules": rows})) == [("slow", ("1.3.5.28677", "1.3.5.28676"))]


def test_what_tells_a_row_is_read_with_it_and_a_row_that_moved_gives_no_value(tmp_path: Path) -> None:
    it = product(tmp_path, TABLE.replace("tables:", "limits: {oids: 3}\ntables:"))
    device = rig.device(it, roles={"rectifier": [4, 7]})
    (table,) = plan.tables(it, device)
    replies = [(("28676", 2002), ("28677", 2001))]
    rows = plan.locate(table, replies)
    known_by = plan.marks(table, replies, rows)
    first, second = plan.blocks(it, device, {"modules": rows}, known_by)  # two OIDs to a row, and three are too few
    assert first.request.oids == ("1.3.5.28677", "1.3.2.28677")
    assert codec.decode(first, {"1.3.2.28677": 2001, "1.3.5.28677": 7}, it, device) == {"rectifier.outputCurrent": 7}
    for other in (2002, None):
        with pytest.raises(codec.RowsMoved, match="rows have moved"):
            codec.decode(second, {"1.3.2.28676": other and 2001, "1.3.5.28676": 7}, it, device)


def test_rows_that_their_index_tells_have_no_mark(tmp_path: Path) -> None:
    it = product(tmp_path, TABLE.replace("    order: value\n", ""))
    (table,) = plan.tables(it, rig.device(it, roles={"rectifier": [4, 7]}))
    replies = [(("5", 230), ("7", 231))]
    assert plan.marks(table, replies, plan.locate(table, replies)) == {("modules", "5"): (), ("modules", "7"): ()}


def test_rows_are_ordered_by_index_as_numbers_and_filtered_by_text(tmp_path: Path) -> None:
    it = product(
        tmp_path,
        """
protocol: snmp
members: {computerStatus: 1}
parameters: {disk: {default: "C:\\\\"}}
tables:
  disks:
    index: 1.3.3
    where: {column: 1.3.3, word: disk}
    points:
      used: {column: 1.3.6}
derived:
  computerStatus.sysDiskUsage: {value: used}
""",
    )
    names = (("10", b"D:\\"), ("9", b"C:\\ Label: system"), ("100", b"C:\\"), ("11", b"C:\\x"))
    device = rig.device(it)
    (table,) = plan.tables(it, device)
    assert plan.locate(table, [names]) == ("9", "100")
    (none,) = plan.tables(it, rig.device(it, parameters={"disk": ""}))
    assert plan.locate(none, [names]) == ()


def test_a_row_passes_by_any_of_several_columns(tmp_path: Path) -> None:
    it = rig.load("host-resources")
    device = rig.device(it, parameters={"nic": "eth0"})
    cards = next(table for table in plan.tables(it, device) if table.name == "cards")
    described = (("1", b"lo"), ("2", b"eth0"), ("3", b"Device 8086:10d3"), ("4", b"Device 8086:10d3"))
    named = (("1", b"lo"), ("3", b"eth0"), ("4", b"eth1"))  # no name for row 2
    assert plan.locate(cards, [described, named]) == ("2", "3")


def test_a_table_nobody_needs_is_not_walked(tmp_path: Path) -> None:
    it = product(tmp_path, TABLE)
    assert plan.tables(it, rig.device(it, skip=["rectifier"])) == ()


def test_an_address_may_depend_on_the_unit_and_on_parameters(tmp_path: Path) -> None:
    it = product(
        tmp_path,
        """
protocol: modbus
parameters: {base: {default: 100}}
members: {elec: 1}
points:
  elec.voltage: {read: holding base + 0x10 + 1000*unit, unit: V}
""",
    )
    assert asked(plan.blocks(it, rig.device(it, unit=3, parameters={"base": 7}))) == [("slow", (3, 3023, 1))]


def test_host_names_carry_the_parameters_of_the_site() -> None:
    it = rig.load("local-host")
    given = {"sys_disk": "/", "data_disk": "/data", "nic": "eth0", "link_mbps": 1000.0}
    (block,) = plan.blocks(it, rig.device(it, parameters=given))
    assert isinstance(block.request, plan.ReadHost)
    assert set(block.request.names) == {
        "cpu_percent", "memory_total_kb", "memory_used_percent", "cpu_temperature", "ip:eth0", "net_percent:eth0:1000",
        "disk_total_kb:/", "disk_used_percent:/", "disk_total_kb:/data", "disk_used_percent:/data",
    }  # fmt: skip


# --- splitting


def test_a_refused_block_is_halved_down_to_its_points() -> None:
    it = rig.load("envicool-cabinet-ac")
    block = next(b for b in plan.blocks(it, rig.device(it)) if len(b.points) == 33)
    waiting, single = [block], []
    while waiting:
        halves = plan.split(waiting[0])
        if not halves:
            single.append(waiting[0])
        waiting = [*halves, *waiting[1:]]
    assert sorted(key for b in single for key in b.keys) == sorted(block.keys)
    assert [b.request.address for b in single] == list(range(0x600, 0x621))  # type: ignore[union-attr]
    assert all(b.points[0].at == 0 and b.lane == "fast" for b in single)


@given(st.lists(st.integers(0, 300), min_size=2, max_size=12, unique=True))
def test_halves_ask_for_the_same_points(addresses: list[int]) -> None:
    points = tuple(plan.Placed(f"p{a}", decode=lambda *_: 0, at=a - min(addresses)) for a in sorted(addresses))
    block = plan.Block(plan.ReadRegisters(1, 3, min(addresses), max(addresses) - min(addresses) + 1), points, "slow")
    halves = plan.split(block)
    assert len(halves) == 2
    seen = {
        p.key: half.request.address + p.at  # type: ignore[union-attr]
        for half in halves
        for p in half.points
        if p.at < half.request.count  # type: ignore[union-attr]
    }
    assert seen == {f"p{a}": a for a in addresses}


def test_a_get_and_a_host_read_are_halved_too() -> None:
    points = tuple(plan.Placed(f"p{i}", decode=lambda *_: 0, name=str(i)) for i in range(3))
    get = plan.Block(plan.GetOids(("0", "1", "2")), points, "slow")
    assert [half.request for half in plan.split(get)] == [plan.GetOids(("0",)), plan.GetOids(("1", "2"))]
    host = plan.Block(plan.ReadHost(("0", "1", "2")), points, "slow")
    assert [half.request for half in plan.split(host)] == [plan.ReadHost(("0",)), plan.ReadHost(("1", "2"))]
    assert plan.split(plan.Block(plan.GetOids(("0",)), points[:1], "slow")) == ()


# --- writes


def test_an_order_goes_by_the_number_the_site_gave(tmp_path: Path) -> None:
    it = rig.load("envicool-cabinet-ac")
    device = rig.device(it, roles={"airConditioners": [2]})
    write = plan_writes.write(it, device, "airConditioners[2].airOperate", 2)
    assert write.requests == (plan.WriteRegisters(1, 16, 0x0801, (0,)),)
    with pytest.raises(plan_writes.UnknownWrite, match=r"cannot write airConditioners\.airOperate"):
        plan_writes.write(it, device, "airConditioners.airOperate", 1)
    with pytest.raises(plan_writes.UnknownWrite, match=r"cannot write 3 to .*\[1, 2\] are valid"):
        plan_writes.write(it, device, "airConditioners[2].airOperate", 3)


def test_a_point_that_is_not_an_output_is_not_written() -> None:
    it = rig.load("moxa-iologik-e1212")
    with pytest.raises(plan_writes.UnknownWrite, match="cannot write di0"):
        plan_writes.write(it, rig.device(it), "di0", 1)


def test_an_order_that_nothing_can_confirm_must_say_so(tmp_path: Path) -> None:
    it = product(
        tmp_path,
        """
protocol: modbus
members: {airConditioners: 1}
writes:
  airConditioners.airOperate: {write: holding 8, momentary: true}
""",
    )
    write = plan_writes.write(it, rig.device(it), "airConditioners.airOperate", 1)
    assert write == plan_writes.Write((plan.WriteRegisters(1, 6, 8, (1,)),))


def test_snmp_orders_are_sets_and_a_translated_read_back(tmp_path: Path) -> None:
    it = product(
        tmp_path,
        """
protocol: snmp
members: {airConditioners: 1}
points:
  running: {oid: 1.3.9.0}
writes:
  airConditioners.airOperate:
    {oid: 1.3.8.0, kind: unsigned, map: {1: 112, 2: 113}, confirm: {point: running, within_s: 5, expect: {1: 1, 2: 0}}}
""",
    )
    write = plan_writes.write(it, rig.device(it), "airConditioners.airOperate", 2)
    assert write.requests == (plan.SetOid("1.3.8.0", "unsigned", 113),)
    assert write.confirm
    assert (write.confirm.expected, write.confirm.within_s) == (0, 5)
    assert write.confirm.block.request == plan.GetOids(("1.3.9.0",))


def test_a_device_all_of_whose_points_stand_in_rows_is_asked_before_they_are_found_and_when_there_are_none(
    tmp_path: Path,
) -> None:
    it = product(
        tmp_path,
        """
protocol: snmp
members: {thermohygrometer: 1}
tables:
  probes: {index: 1.3.8.1, points: {thermohygrometer.temperature: {column: 1.3.8.1, unit: °C}}}
""",
    )
    device = rig.device(it)
    uptime = [("slow", ("1.3.6.1.2.1.1.3.0",))]
    assert asked(plan.blocks(it, device)) == uptime
    assert asked(plan.blocks(it, device, {"probes": ()})) == uptime
    assert asked(plan.blocks(it, device, {"probes": ("7",)})) == [("slow", ("1.3.8.1.7",))]
    (block,) = plan.blocks(it, device)
    assert codec.decode(block, {"1.3.6.1.2.1.1.3.0": 4711}, it, device) == {}
    assert plan.blocks(it, rig.device(it, roles={"thermohygrometer": []})) == ()


@pytest.mark.parametrize("name", sorted(path.stem for path in profile.SHIPPED.glob("*.yaml")))
def test_every_shipped_profile_that_fills_something_has_something_to_ask_from_the_start(name: str) -> None:
    it = rig.load(name)
    device = rig.device(it)
    assert plan.blocks(it, device) or not any(device.roles.values())
