"""`identify` and recordings against recordings of real devices, replayed over UDP by somebody else's agent.

Every recorded device must be told as its own product first, by reading alone; what is recorded of one anew reads as it
did, and holds nothing that tells whose it is.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gantry_agent.field import derive, profile
from gantry_agent.field.bus import open_link
from gantry_agent.field.identify import identify
from gantry_agent.field.poller import Poller
from gantry_agent.field.product import Profile
from gantry_agent.field.unit import Lanes
from gantry_agent.inquiry import known_profiles, record
from gantry_agent.model import Bus
from tests import devices, recording_rig
from tests import profile_rig as rig

MOST_S = 20.0
OWN = sorted((recording, name) for name, each in devices.recordings().items() for recording in each)
ASK, ANSWER, REPORT = 0xA0, 0xA2, 0xA8  # PDUs of SNMP: GET, response; no GETNEXT, GETBULK or SET among them
CANARIES = ("Canary-Gantry-17", "Canary Contact", "Canary Road", "10.17.34.51", "00:1B:21:AB:CD:EF", "SN2102310JFA")
SYSTEM = "1.3.6.1.2.1.1"
MONITOR = "1.3.6.1.4.1.2011.6.164.1"


@pytest.fixture(scope="module")
def profiles() -> tuple[Profile, ...]:
    return tuple(one for one in known_profiles((profile.SHIPPED,)) if one.protocol == "snmp" and one.identity)


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    names = sorted({recording for recording, _ in OWN})
    canary = tmp_path_factory.mktemp("canary")
    with recording_rig.snmpsim(canary, names, {"canary": with_canaries()}) as port:
        yield port


def with_canaries() -> str:
    """The SMU11B of the recordings, as if it stood at a gantry that can be told."""
    name, contact, road, address, hardware, serial = CANARIES
    rows = dict(line.split("|", 1) for line in rig.recording("huawei-smu_11b").read_text(encoding="utf-8").splitlines())
    rows |= {
        f"{SYSTEM}.1.0": f"4|SMU11B of {name} at {address}, {serial}, {hardware}",
        f"{SYSTEM}.4.0": f"4|{contact}",
        f"{SYSTEM}.5.0": f"4|{name}",
        f"{SYSTEM}.6.0": f"4|{road}",
        f"{MONITOR}.1.1.4.0": f"4|Huawei {serial}, {road}",
    }
    ordered = sorted(rows, key=lambda oid: [int(part) for part in oid.split(".")])
    return "".join(f"{oid}|{rows[oid]}\n" for oid in ordered)


@contextlib.asynccontextmanager
async def asking(bus: Bus) -> AsyncIterator[Poller]:
    poller = Poller(open_link(bus), (), Lanes(1, 5, 3), lambda _: None)
    task = asyncio.create_task(poller.run(), name="poller")
    try:
        yield poller
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(("recording", "name"), OWN)
async def test_a_recorded_device_is_told_as_its_own_product_by_reading_alone(
    replay: int, profiles: tuple[Profile, ...], recording: str, name: str
) -> None:
    began = time.monotonic()
    async with asking(recording_rig.the_bus(replay, recording)) as poller:
        (step,) = [step async for step in identify(poller, "replay", profiles)]
        frames = poller.journal.recorder.frames(1000)
    best = step["candidates"][0]["sure"] if step["candidates"] else 0
    surest = [one["profile"] for one in step["candidates"] if one["sure"] == best]
    assert name in surest, step["candidates"]
    others = {other for held, other in OWN if held == recording}
    assert set(surest) <= others  # a supervisor of several devices is each of them
    assert time.monotonic() - began < MOST_S
    assert frames
    assert all(any(pdu in frame.data[:64] for pdu in (ASK, ANSWER, REPORT)) for frame in frames)
    assert not any(kind(frame.data) in (0xA1, 0xA3, 0xA5) for frame in frames)


def kind(frame: bytes) -> int:
    """The tag of a message's PDU: after SEQUENCE, version and community."""
    at = 2 + (frame[1] & 0x7F if frame[1] & 0x80 else 0)
    at += 2 + frame[at + 1]
    return frame[at + 2 + frame[at + 1]]


async def test_where_nobody_answers_it_is_over_in_seconds(replay: int, profiles: tuple[Profile, ...]) -> None:
    began = time.monotonic()
    async with asking(recording_rig.the_bus(replay, "no-such-community")) as poller:
        (step,) = [step async for step in identify(poller, "replay", profiles)]
    assert not step["answered"]
    assert step["candidates"] == []
    assert time.monotonic() - began < MOST_S / 2


async def test_a_recording_reads_as_the_device_did_and_tells_nothing_of_whose_it_is(
    replay: int, tmp_path: Path
) -> None:
    product = rig.load("huawei-site-monitor")
    it = rig.device(product, roles={"rectifier": [1, 2]})
    bus = recording_rig.the_bus(replay, "canary")
    async with asking(bus) as poller:
        steps: list[Any] = [step async for step in record(poller, bus, product, it)]
    text = steps[-1]["recording"]
    for canary in (*CANARIES, "canary"):
        assert canary not in text
        assert canary.encode().hex() not in text.lower()
    assert "SMU11B of xxxxxxxxxxxxxxxx at xxxxxxxxxxx" in text
    assert f"{SYSTEM}.5.0" not in text
    path = tmp_path / steps[-1]["file"]
    path.write_text(text, encoding="utf-8")
    fields = next(step["fields"] for step in steps if "fields" in step)
    said = {
        f"{one['member']}{'[2]' if one['number'] == 2 else ''}.{one['field']}": one["quality"]
        if one["value"] is None
        else one["value"]
        for one in fields
    }
    source = rig.Recording(path)
    now = rig.read_all(product, it, source)
    read = rig.named(derive.Deriver(product, it, rig.rows_of(product, it, source)).fields(now, {}))
    assert read == said
    assert read["rectifier[2].outputCurrent"] == 1.3


async def test_a_slow_card_of_the_first_version_is_told_before_time_is_up(
    replay: int, profiles: tuple[Profile, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It refuses a question for one object that it lacks, so the objects of those it calls itself must come first."""
    monkeypatch.setattr("gantry_agent.field.identify.MOST_S", 2.0)
    monkeypatch.setattr("gantry_agent.field.identify.ANSWER_S", 1.0)
    began = time.monotonic()
    async with delayed(replay, 0.2) as port:
        bus = recording_rig.the_bus(port, "huawei-smu_11b")
        bus = Bus(bus.name, bus.kind, {**bus.settings, "version": "1"})
        async with asking(bus) as poller:
            (step,) = [step async for step in identify(poller, "replay", profiles)]
    assert time.monotonic() - began < 4.0
    assert step["cut"]
    assert step["candidates"][0]["profile"] == "huawei-site-monitor"


class Forth(asyncio.DatagramProtocol):
    """Passes every question on after a while."""

    def __init__(self, port: int, delay_s: float) -> None:
        self._there, self._delay_s = ("127.0.0.1", port), delay_s
        self._transport: Any = None
        self._asker: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        to = self._asker if addr == self._there else self._there
        if addr != self._there:
            self._asker = addr
        asyncio.get_running_loop().call_later(self._delay_s / 2, self._transport.sendto, data, to)


@contextlib.asynccontextmanager
async def delayed(port: int, delay_s: float) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Forth(port, delay_s), local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()
        await asyncio.sleep(delay_s)
