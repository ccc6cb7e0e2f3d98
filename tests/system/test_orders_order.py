"""Orders for one output are done one after the other: seen at the far end of the wire, under random crowds of orders.

The unit of the test takes its time to do what it was told, so that an order is open for a while after its write; it
notes every write and every value it told. The orders are those of a seed, given by tasks that wake at random.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from gantry_agent.command import Done, Failed, Outcome, Reboot, Unlock
from gantry_agent.field import profile
from gantry_agent.field.actuator import Actuator
from gantry_agent.field.bus import open_link
from gantry_agent.field.poller import Poller
from gantry_agent.field.trace import Trace
from gantry_agent.field.unit import Lanes
from gantry_agent.model import Bus, Cabinet, Device, Door, Output, Relay, Site
from gantry_agent.orders.modes import Modes
from gantry_agent.orders.relays import Relays
from gantry_agent.orders.rests import Rests
from gantry_agent.store import Store

pytestmark = pytest.mark.system

PROFILE = """\
profile: it
title: {zh: 它, en: it}
protocol: modbus
maturity: draft
sources: [{document: manual, page: "7"}]
timing: {response_ms: 500}
members: {airConditioners: 1, ups: 1}
points:
  do0: {read: coil 0, write: coil 0, lane: fast}
  do1: {read: coil 1, write: coil 1, lane: fast}
  do2: {read: coil 2, write: coil 2, lane: fast}
  cooling: {read: holding 10, as: s16}
  heating: {read: holding 11, as: s16}
  testing: {read: holding 41}
writes:
  airConditioners.autoRefrigerationTemp: {write: holding 10, as: s16, confirm: {point: cooling}}
  airConditioners.autoHeatingTemp: {write: holding 11, as: s16, confirm: {point: heating}}
  ups.testStartStop:
    steps:
      - {write: holding 40, value: 0x55AA}
      - {write: holding 41}
    confirm: {point: testing}
"""
COIL, WORD = "coil", "word"
SLOWEST_S = 0.05


@dataclass
class Unit:
    """Coils and registers that take a while to change; `heard` is all that was written and told, in order."""

    fate: random.Random
    values: dict[tuple[str, int], int] = field(default_factory=dict)
    heard: list[tuple[str, str, int, int]] = field(default_factory=list)  # wrote or told, what, where, which value
    changing: dict[tuple[str, int], float] = field(default_factory=dict)  # until when
    declines: bool = False  # to write a coil
    wrote_at: dict[tuple[str, int, int], float] = field(default_factory=dict)  # what, where, which value, last

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                header = await reader.readexactly(7)
                pdu = await reader.readexactly(int.from_bytes(header[4:6], "big") - 1)
                answer = self.answer(pdu)
                writer.write(header[:4] + (len(answer) + 1).to_bytes(2, "big") + header[6:] + answer)
                await writer.drain()
        writer.close()

    def answer(self, pdu: bytes) -> bytes:
        function, address, count = pdu[0], int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        if function == 1:
            bits = [self.tell(COIL, address + k) for k in range(count)]
            return bytes([1, (count + 7) // 8]) + bytes(
                sum(bit << n for n, bit in enumerate(bits[k : k + 8])) for k in range(0, count, 8)
            )
        if function == 3:
            words = [self.tell(WORD, address + k) for k in range(count)]
            return bytes([3, 2 * count]) + b"".join(word.to_bytes(2, "big") for word in words)
        if function == 5 and self.declines:
            return b"\x85\x04"
        if function == 5:
            self.write(COIL, address, int(count == 0xFF00))
        else:
            body = pdu[3:5] if function == 6 else pdu[6:]
            for k in range(0, len(body), 2):
                self.write(WORD, address + k // 2, int.from_bytes(body[k : k + 2], "big"))
        return pdu[:5]

    def tell(self, what: str, where: int) -> int:
        value = self.values.get((what, where), 0)
        self.heard.append(("told", what, where, value))
        return value

    def write(self, what: str, where: int, value: int) -> None:
        self.heard.append(("wrote", what, where, value))
        loop = asyncio.get_running_loop()
        self.wrote_at[what, where, value] = loop.time()
        at = max(loop.time(), self.changing.get((what, where), 0.0)) + self.fate.uniform(0, SLOWEST_S)
        self.changing[what, where] = at
        loop.call_at(at, self.values.__setitem__, (what, where), value)


@dataclass
class Rig:
    unit: Unit
    actuator: Actuator
    output: Output
    pulsed: Output
    granted: list[float]  # for how long an unlocking was to explain an opening


@pytest.fixture
async def rig(tmp_path: Path, seed: int) -> AsyncIterator[Rig]:
    path = tmp_path / "it.yaml"
    path.write_text(PROFILE, encoding="utf-8")
    product, unit = profile.check(path), Unit(random.Random(seed))
    server = await asyncio.start_server(unit.serve, "127.0.0.1", 0)
    bus = Bus("io", "modbus-tcp", {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]})
    device = Device("1.it", 1, "it", "io", 1, dict.fromkeys(product.members, (1,)))
    poller = Poller(open_link(bus), [(device, product)], Lanes(0.1, 60, 3), lambda _: None)
    output, pulsed = Output("fan", "1.it", "do0"), Output("lock", "1.it", "do1", pulse_s=0.15)
    cabinet = Cabinet(1, ("1.it",), {"fan": output, "lock": pulsed}, (Door("front", "lock"),))
    granted: list[float] = []
    site = Site("G", "UTC", {"io": bus}, {"1.it": device}, (cabinet,), ())
    async with asyncio.TaskGroup() as tasks:
        actuator = Actuator(
            site,
            {"1.it": product},
            {"io": poller},
            lambda name, work: tasks.create_task(work, name=name),
            lambda _command, within_s: granted.append(within_s),
        )
        task = tasks.create_task(poller.run())
        yield Rig(unit, actuator, output, pulsed, granted)
        task.cancel()
        server.close()
        await server.wait_closed()


async def order(rig: Rig, fate: random.Random) -> Outcome:
    """One order of any kind, some time within the next second."""
    act, trace, value = rig.actuator, Trace(), fate.randrange(2)
    kind, wait_s = fate.choice(("fan", "fan", "lock", "other", "air", "airs", "test", "dry")), fate.uniform(0, 1)
    await asyncio.sleep(wait_s)
    match kind:
        case "fan":
            return await act.bring(rig.output, trace, on=bool(value))
        case "lock":
            return await act.switch(rig.pulsed, trace, on=True)
        case "other":
            return await act.order("1.it", "do2", value, trace)
        case "air":
            return await act.order("1.it", "airConditioners.autoRefrigerationTemp", Decimal(20 + 5 * value), trace)
        case "airs":
            both = (
                ("airConditioners.autoRefrigerationTemp", Decimal(30 + value)),
                ("airConditioners.autoHeatingTemp", Decimal(5 + value)),
            )
            return await act.order_together("1.it", both, trace)
        case "test":
            return await act.order("1.it", "ups.testStartStop", value, trace)
    return await act.order("1.it", "do0", value, Trace(dry=True))


def unconfirmed(heard: list[tuple[str, str, int, int]], what: str, where: int) -> list[tuple[int, int]]:
    """The writes of one target that another write followed before the unit had told their value."""
    found, open_ = [], None
    for verb, kind, at, value in heard:
        if (kind, at) != (what, where):
            continue
        if verb == "wrote":
            if open_ is not None:
                found.append((open_, value))
            open_ = value
        elif value == open_:
            open_ = None
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_no_write_of_one_order_comes_into_another_for_the_same_target(rig: Rig, seed: int) -> None:
    fate = random.Random(seed)
    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*(order(rig, fate) for _ in range(40)))
        assert await rig.actuator.over(rig.pulsed, 10)
    heard = rig.unit.heard
    for where in (0, 2):
        assert unconfirmed(heard, COIL, where) == []
    # The end of a pulse gives way to the next one, but nothing follows the beginning before it was confirmed.
    assert [pair for pair in unconfirmed(heard, COIL, 1) if pair[0] == 1] == []
    assert rig.unit.values[COIL, 1] == 0
    for where in (10, 11, 41):
        assert unconfirmed(heard, WORD, where) == []
    # What the interface orders of one device is one after the other too: a step is followed by its next.
    written = [(where, value) for verb, kind, where, value in heard if (verb, kind) == ("wrote", WORD)]
    for (where, value), (then, following) in zip(written, [*written[1:], (0, 0)], strict=True):
        assert (where == 40) == (then == 41), written
        assert where != 10 or value < 30 or (then, following) == (11, value - 25), written
    assert set(outcomes) == {Done()}


@pytest.mark.parametrize("seed", [0])
async def test_an_unlocking_that_failed_takes_no_explanation_from_the_one_before_it(rig: Rig) -> None:
    unlock = Unlock(1, "front")
    async with asyncio.timeout(30):
        rig.unit.declines = True
        assert isinstance(await rig.actuator.unlock(unlock, Trace()), Failed)
        assert rig.granted[-1] == 0.0  # whoever opens it now, it was not by this
        rig.unit.declines = False
        assert await rig.actuator.unlock(unlock, Trace()) == Done()
        rig.unit.declines = True
        assert isinstance(await rig.actuator.unlock(unlock, Trace()), Failed)
        rig.unit.declines = False
        assert await rig.actuator.over(rig.pulsed, 10)  # first: an output that is still on keeps the rig from ending
        assert 0.0 < rig.granted[-1] < rig.granted[-2]


@pytest.mark.parametrize("seed", [0])
async def test_a_reboot_lasts_for_its_time_though_who_ordered_it_waits_no_longer(rig: Rig, tmp_path: Path) -> None:
    cabinet = Cabinet(1, ("1.it",), {"fan": rig.output})
    site = Site("G", "UTC", {}, {}, (cabinet,), (), relays=(Relay("fan", "10.0.0.9", 1, (1, "fan"), 2.0, 0.0),))
    async with Store(tmp_path / "agent.db") as store, asyncio.TaskGroup() as tasks:
        rests = Rests(site, store, {})
        modes = Modes(site, rig.actuator, store, rests, 0, {})
        relays = Relays(
            site, rig.actuator, store, modes, rests, lambda name, work: tasks.create_task(work, name=name), {}, {}
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.8):
                await relays.reboot(Reboot("fan"), Trace())
        holding = tasks.create_task(modes.run())
        assert await rig.actuator.over(rig.output, 5.0)
        holding.cancel()
    assert rig.unit.wrote_at[COIL, 0, 0] >= rig.unit.wrote_at[COIL, 0, 1] + 2.0
