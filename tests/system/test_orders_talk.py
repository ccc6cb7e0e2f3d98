"""One order talked through with a device over a real wire: a Modbus TCP unit of the test's own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from gantry_agent.command import Done, Failed, Outcome
from gantry_agent.field import profile
from gantry_agent.field.actuator import Actuator
from gantry_agent.field.bus import open_link
from gantry_agent.field.poller import Poller
from gantry_agent.field.trace import Trace
from gantry_agent.field.unit import Lanes
from gantry_agent.model import Bus, Cabinet, Device, Site

PROFILE = """\
profile: it
title: {zh: 它, en: it}
protocol: modbus
maturity: draft
sources: [{document: manual, page: "7"}]
timing: {response_ms: 200}
members: {airConditioners: 1, rectifier: 1, ups: 1}
points:
  switch: {read: holding 1}
  cooling: {read: holding 10, as: s16}
  heating: {read: holding 12, as: s16}
  remote: {read: holding 20}
writes:
  airConditioners.airOperate: {write: holding 1, map: {1: 1, 2: 0}, require: {point: remote, is: 1}, confirm: {point: switch}}
  airConditioners.autoRefrigerationTemp:
    {block: holding 10 x4, write: holding 10, as: s16, confirm: {point: cooling, within_s: 0.5}}
  airConditioners.autoHeatingTemp:
    {block: holding 10 x4, write: holding 12, as: s16, confirm: {point: heating, within_s: 0.5}}
  rectifier.onOff: {write: holding 30, momentary: true}
  ups.testStartStop:
    steps:
      - {write: holding 40, value: 0x55AA}
      - {write: holding 41}
    confirm: {point: switch, within_s: 0.5}
"""  # noqa: E501
TEMPERATURES = (
    ("airConditioners.autoRefrigerationTemp", Decimal(30)),
    ("airConditioners.autoHeatingTemp", Decimal(-5)),
)


@dataclass
class Unit:
    """Registers by address, and what was written, in order; `mute` functions are not answered."""

    registers: dict[int, int] = field(default_factory=dict)
    written: list[tuple[int, int, list[int]]] = field(default_factory=list)
    mute: set[int] = field(default_factory=set)
    deaf: set[int] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                header = await reader.readexactly(7)
                pdu = await reader.readexactly(int.from_bytes(header[4:6], "big") - 1)
                answer = self.answer(pdu)
                if pdu[0] not in self.mute:
                    writer.write(header[:4] + (len(answer) + 1).to_bytes(2, "big") + header[6:] + answer)
                    await writer.drain()
        writer.close()

    def answer(self, pdu: bytes) -> bytes:
        function, address = pdu[0], int.from_bytes(pdu[1:3], "big")
        if function == 3:
            words = [self.registers.get(address + k, 0) for k in range(int.from_bytes(pdu[3:5], "big"))]
            return bytes([3, 2 * len(words)]) + b"".join(word.to_bytes(2, "big") for word in words)
        body = pdu[3:5] if function == 6 else pdu[6:]
        words = [int.from_bytes(body[k : k + 2], "big") for k in range(0, len(body), 2)]
        self.written.append((function, address, words))
        if function not in self.deaf:
            self.registers.update(enumerate(words, address))
        return pdu[:5]


@dataclass
class Rig:
    unit: Unit
    actuator: Actuator

    async def order(self, target: str, value: int, *, dry: bool = False) -> tuple[Outcome, str]:
        trace = Trace(dry)
        outcome = await self.actuator.order("1.it", target, value, trace)
        return outcome, "\n".join(step.en for step in trace.steps)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    path = tmp_path / "it.yaml"
    path.write_text(PROFILE, encoding="utf-8")
    product, unit = profile.check(path), Unit({10: 35, 11: 5, 12: 5, 13: 6})
    server = await asyncio.start_server(unit.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    bus = Bus("io", "modbus-tcp", {"host": "127.0.0.1", "port": port})
    roles = dict.fromkeys(product.members, (1,))
    device = Device("1.it", 1, "it", "io", 1, roles)
    poller = Poller(open_link(bus), [(device, product)], Lanes(60, 60, 3), lambda _: None)
    site = Site("G", "UTC", {"io": bus}, {"1.it": device}, (Cabinet(1, ("1.it",), {}),), ())
    actuator = Actuator(
        site,
        {"1.it": product},
        {"io": poller},
        lambda name, work: asyncio.create_task(work, name=name),
        lambda *_: None,
    )
    task = asyncio.create_task(poller.run())
    try:
        yield Rig(unit, actuator)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.close()
        await server.wait_closed()


async def test_nothing_is_written_to_a_device_that_is_set_to_local_control(rig: Rig) -> None:
    outcome, _ = await rig.order("airConditioners.airOperate", 1)
    assert outcome == Failed("设备不允许（0）")
    assert rig.unit.written == []
    rig.unit.registers[20] = 1
    assert (await rig.order("airConditioners.airOperate", 1))[0] == Done()


async def test_two_set_points_go_in_one_write_and_the_rest_of_the_block_stays(rig: Rig) -> None:
    trace = Trace()
    assert await rig.actuator.order_together("1.it", TEMPERATURES, trace) == Done()
    assert rig.unit.written == [(16, 10, [30, 5, 0xFFFB, 6])]
    said = "\n".join(step.en for step in trace.steps)
    assert "00 00 00 00 00 0F 01 10 00 0A 00 04 08 00 1E 00 05 FF FB 00 06" in said


async def test_a_dry_run_reads_the_block_and_shows_the_frame_but_writes_nothing(rig: Rig) -> None:
    outcome, steps = await rig.order("airConditioners.autoRefrigerationTemp", 30, dry=True)
    assert outcome == Done()
    assert "would write 00 00 00 00 00 0F 01 10 00 0A 00 04 08 00 1E 00 05 00 05 00 06" in steps
    assert rig.unit.written == []


async def test_a_block_that_cannot_be_read_is_not_written(rig: Rig) -> None:
    rig.unit.mute.add(3)
    outcome, steps = await rig.order("airConditioners.autoRefrigerationTemp", 30)
    assert outcome == Failed("设备无应答")
    assert rig.unit.written == []
    assert "nothing was written" in steps


async def test_a_write_whose_answer_is_lost_is_done_if_the_device_shows_it(rig: Rig) -> None:
    rig.unit.mute.add(16)
    assert (await rig.order("airConditioners.autoRefrigerationTemp", 30))[0] == Done()


async def test_a_write_that_is_lost_is_told_by_what_was_read_back(rig: Rig) -> None:
    rig.unit.mute.add(16)
    rig.unit.deaf.add(16)
    outcome, steps = await rig.order("airConditioners.autoRefrigerationTemp", 30)
    assert outcome == Failed("回读35")
    assert "cooling, to be 30: 回读35" in steps


async def test_an_acknowledgement_alone_is_no_proof(rig: Rig) -> None:
    outcome, _ = await rig.order("rectifier.onOff", 1)
    assert outcome == Failed("已下发，设备无回读，无法证实")
    assert rig.unit.written == [(6, 30, [1])]


async def test_steps_go_out_in_their_order(rig: Rig) -> None:
    outcome, _ = await rig.order("ups.testStartStop", 1)
    assert rig.unit.written == [(6, 40, [0x55AA]), (6, 41, [1])]
    assert outcome == Failed("回读0")
