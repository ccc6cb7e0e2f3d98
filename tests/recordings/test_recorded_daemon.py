"""What the daemon tells the cloud of every recorded SNMP device, and of each shape of site for every SNMP product.

The cases are those of the recordings and of `products/`; snmpsim answers for all of them at once.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from gantry_agent.field.request import SnmpValue
from tests import daemon_rig, recording_rig
from tests import profile_rig as rig
from tests.daemon_rig import Case, Told
from tests.recordings import test_profile_recordings, test_recorded_products
from tests.recordings.test_recorded_products import PRODUCTS, the_source

HAVE = frozenset(path.stem for path in rig.RECORDINGS.glob("*.snmprec"))
RECORDED = [
    Case(f"{name}: {recording}", name, {**given, "recording": recording}, expected)
    for recording, name, given, expected in (case.values for case in test_profile_recordings.CASES)
]
WRITTEN = [
    daemon_rig.sayable(f"{name}: {case['name']}", name, case, case["expected"])
    for name, case in (case.values for case in test_recorded_products.CASES)
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
    """One daemon with all of them."""
    folder = tmp_path_factory.mktemp("daemon")
    cases = [case for case in CASES if case.given.get("recording") in {None, *HAVE}]
    plain = {case.given["recording"] for case in cases if "said" not in case.given}
    own = {
        f"case{n}": text_of(the_source(case.profile, case.given).rows)
        for n, case in enumerate(cases)
        if "said" in case.given
    }
    communities = [f"case{n}" if "said" in case.given else case.given["recording"] for n, case in enumerate(cases)]
    with recording_rig.snmpsim_on(folder, sorted(plain), own, len(cases)) as ports:
        return daemon_rig.all_told([[case] for case in cases], agents(ports, communities), folder)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_the_daemon_tells_this_of_the_device(told: Mapping[str, Told], case: Case) -> None:
    if "recording" in case.given:
        rig.recording(case.given["recording"])  # skips
    daemon_rig.assert_told(told[case.name], case)


def test_every_snmp_product_and_every_recording_with_readings_is_among_them() -> None:
    assert {case.profile for case in CASES} >= set(PRODUCTS)
