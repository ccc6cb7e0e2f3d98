"""What the daemon tells the cloud of every recorded SNMP device, and of each shape of site for every SNMP product.

The cases are those of the recordings and of `products/`; snmpsim answers for all of them at once.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from gantry_agent.field import examine, plan
from gantry_agent.field.bus import open_link
from gantry_agent.field.poller import Lanes, Poller
from gantry_agent.field.request import SnmpValue
from tests import daemon_rig, daemon_wires, recording_rig
from tests import profile_rig as rig
from tests.daemon_rig import Case, Told
from tests.recordings.test_profile_recordings import CASES as READ_BY_EYE
from tests.recordings.test_recorded_products import CASES as BY_THE_TABLE
from tests.recordings.test_recorded_products import PRODUCTS, the_source

AT_ONCE = 34
HAVE = frozenset(path.stem for path in rig.RECORDINGS.glob("*.snmprec"))
RECORDED = [
    Case(f"{name}: {recording}", name, {**given, "recording": recording}, expected)
    for recording, name, given, expected in (case.values for case in READ_BY_EYE)
]
WRITTEN = [
    daemon_rig.sayable(f"{name}: {case['name']}", name, case, case["expected"])
    for name, case in (case.values for case in BY_THE_TABLE)
    if "earlier" not in case
]
REPLAYED = [case for case in WRITTEN if "recording" in case.given and "said" not in case.given]
SHAPES = daemon_rig.by_shape(case for case in WRITTEN if "said" in case.given)
CASES = [case for case in (*RECORDED, *REPLAYED, *SHAPES) if daemon_rig.can_be_written(case)]


def text_of(rows: Mapping[str, SnmpValue]) -> str:
    """A recording of these objects, in the order that snmpsim wants."""
    ordered = sorted(rows, key=lambda oid: [int(part) for part in oid.split(".")])
    return "".join(f"{oid}|{_typed(rows[oid])}\n" for oid in ordered)


def _typed(value: SnmpValue) -> str:
    if isinstance(value, bytes):
        return f"4x|{value.hex()}"
    if isinstance(value, int):
        return f"{2 if -(2**31) <= value < 2**31 else 66 if 0 <= value < 2**32 else 70}|{value}"
    return f"{64 if str(value).count('.') == 3 else 6}|{value}"


@contextlib.asynccontextmanager
async def agents(ports: Sequence[int], communities: Sequence[str]) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    yield [
        {"type": "snmp", "host": "127.0.0.1", "port": port, "community": community}
        for port, community in zip(ports, communities, strict=True)
    ]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Told]:
    """One site file after the other: all at once would be more than snmpsim answers in time."""
    folder = tmp_path_factory.mktemp("daemon")
    cases = [case for case in CASES if case.given.get("recording") in {None, *HAVE}]
    plain = {case.given["recording"] for case in cases if "said" not in case.given}
    own = {
        f"case{n}": text_of(the_source(case.profile, case.given).rows)
        for n, case in enumerate(cases)
        if "said" in case.given
    }
    communities = [f"case{n}" if "said" in case.given else case.given["recording"] for n, case in enumerate(cases)]
    found: dict[str, Told] = {}
    with recording_rig.snmpsim_on(folder, sorted(plain), own, AT_ONCE) as ports:
        for first in range(0, len(cases), AT_ONCE):
            some = cases[first : first + AT_ONCE]
            wires = agents(ports[: len(some)], communities[first : first + AT_ONCE])
            found |= daemon_rig.all_told([[case] for case in some], wires, folder)
    return found


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_the_daemon_tells_this_of_the_device(told: Mapping[str, Told], case: Case) -> None:
    if "recording" in case.given:
        rig.recording(case.given["recording"])  # skips
    daemon_rig.assert_told(told[case.name], case)


def test_every_snmp_product_and_every_recording_with_readings_is_among_them() -> None:
    assert {case.profile for case in CASES} >= set(PRODUCTS)


# --- rows that all go, and come back


ONLY_ROWS = [
    next(case for case in (*REPLAYED, *SHAPES) if case.profile == name)
    for name in sorted({case.profile for case in SHAPES})
    if plan.blocks(rig.load(name), rig.device(rig.load(name))) == (plan.UPTIME,)
]
UNITS = ("airConditioners", "ups")  # whose rows are the unit itself; a sensor that is not there is NotSupport
UPTIME = {"1.3.6.1.2.1.1.3.0": 4711}


async def seen_to(told: Callable[[Case], bool], cases: Sequence[Case], within_s: float) -> list[str]:
    """Wait until all cases are told so; give the names of those that are not in time."""
    until = time.monotonic() + within_s
    while (left := [case for case in cases if not told(case)]) and time.monotonic() < until:
        await asyncio.sleep(0.1)
    return [case.name for case in left]


def test_a_device_whose_rows_all_go_is_found_again_when_they_are_back(tmp_path: Path) -> None:
    cases = [case for case in ONLY_ROWS if case.given.get("recording") in {None, *HAVE}]
    assert len(cases) > 5
    own = {f"here{n:02}": text_of(the_source(case.profile, case.given).rows) for n, case in enumerate(cases)}
    own |= {f"gone{n:02}": text_of(UPTIME) for n in range(len(cases))}

    async def run(ports: Sequence[int]) -> None:
        here = [f"here{n:02}".encode() for n in range(len(cases))]
        async with (
            daemon_wires.relays(here, ports) as (buses, relays),
            daemon_rig.daemon(daemon_rig.site(cases, buses, tmp_path), tmp_path) as it,
        ):
            number = {case.name: n for n, case in enumerate(cases, 1)}

            def as_before(case: Case) -> bool:
                return not daemon_rig.differing(it.payload(number[case.name]), case.expected)

            def has_nothing(case: Case) -> bool:
                payload = it.payload(number[case.name])
                said = {payload[name] for name in case.expected if not name.endswith(".status")}
                units = {payload[f"{member}.status"] for member in UNITS if f"{member}.status" in payload}
                return said <= {"NoData", "NotSupport"} and units <= {"0"}

            assert not await seen_to(as_before, cases, 20.0)
            for relay in relays:
                relay.community = relay.asked.replace(b"here", b"gone")
            assert not await seen_to(has_nothing, cases, 10.0)
            for relay in relays:
                relay.community = relay.asked
            assert not await seen_to(as_before, cases, 20.0)

    with recording_rig.snmpsim_on(tmp_path, [], own, len(cases)) as ports:
        asyncio.run(run(ports))


def test_probe_reads_every_row_of_what_fills_nothing_by_itself(tmp_path: Path) -> None:
    """Such a device is looked at before a site names any of its points."""
    name = "vertiv-chd2100j"
    case, product = next(case for case in WRITTEN if case.profile == name), rig.load(name)

    async def probed(port: int) -> set[str]:
        poller = Poller(open_link(recording_rig.the_bus(port, "doors")), (), Lanes(1, 5, 3), lambda _: None)
        task = asyncio.create_task(poller.run())
        try:
            steps = [step async for step in examine.probe(poller, product, rig.device(product))]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return {point["point"] for step in steps for point in step.get("points", ())}

    with recording_rig.snmpsim(tmp_path, [], {"doors": text_of(the_source(name, case.given).rows)}) as port:
        assert asyncio.run(probed(port)) >= {name for table in product.tables.values() for name in table.points}
