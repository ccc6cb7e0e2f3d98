"""One task per bus: what is due is read, decoded and handed over; orders go first.

The wire belongs to `Poller.run` alone, one transaction at a time by construction. An order (`transact`) waits for at
most the transaction that is on the wire. What a block means is `codec` and `derive`; whose turn it is, `rota`; what
to think of a silent device, `core.monitor`: this module only tells it `Answered` or `Missed`.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gantry_agent.field import codec, derive, plan
from gantry_agent.field.bus import Link
from gantry_agent.field.product import Profile
from gantry_agent.field.request import Block, Reply, Request, Timing
from gantry_agent.field.rota import Rota, Turn, UnitState
from gantry_agent.model import (
    Answered,
    BadReply,
    Device,
    DeviceRefused,
    Missed,
    NoReply,
    Quality,
    Reading,
    Value,
)

log = logging.getLogger(__name__)

RELOCATE_S = 600.0  # rows of an SNMP table come and go (DEVICES §1.1 tells of it): look again this often
RATE_SPAN_S = 10.0  # net-snmp renews its counters every 5 s: over less a rate is nothing, or double
ILLEGAL = frozenset({1, 2, 3})  # Modbus exceptions: this point does not exist here
GATEWAY_SILENT = frozenset({10, 11})  # Modbus exceptions of a gateway whose own line got no answer

HandOver = Callable[[Answered | Missed], None]


@dataclass(frozen=True, slots=True)
class Lanes:
    """How often each lane is read, in seconds, and after how many misses a block's points are given up."""

    fast_s: float
    slow_s: float
    misses: int


@dataclass(eq=False, slots=True)
class Unit:
    """One device on the bus: its plan, and the two latest samples of each of its points."""

    device: Device
    profile: Profile
    state: UnitState
    deriver: derive.Deriver
    rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    located_at: float | None = None  # monotonic; None before the tables were ever found
    held: bool = True  # nothing is handed over until every block was read: at start, and when a lost device is back
    now: dict[str, derive.Sample] = field(default_factory=dict)
    before: dict[str, derive.Sample] = field(default_factory=dict)  # of counters, RATE_SPAN_S ago or more
    between: dict[str, derive.Sample] = field(default_factory=dict)  # what `before` will be next
    counters: frozenset[str] = frozenset()  # points whose rate is asked for


@dataclass(eq=False, slots=True)
class _Order:
    request: Request
    timing: Timing
    answer: "asyncio.Future[Reply]"


class Poller:
    """The sole owner of one link."""

    def __init__(
        self, link: Link, devices: Iterable[tuple[Device, Profile]], lanes: Lanes, hand_over: HandOver
    ) -> None:
        self._link = link
        self._lanes = lanes
        self._hand_over = hand_over
        self._units = [_unit(device, profile) for device, profile in devices]
        self._by_state = {id(unit.state): unit for unit in self._units}
        self._rota = Rota()
        self._orders: deque[_Order] = deque()
        self._wake = asyncio.Event()
        self.progress = 0.0  # monotonic time of the last finished step; the watchdog reads it
        self.looked = asyncio.Event()  # every block was read once, or its device is silent

    async def transact(self, request: Request, timing: Timing) -> Reply:
        """Put one request before everything that is not yet on the wire; raises what the link raises."""
        order = _Order(request, timing, asyncio.get_running_loop().create_future())
        self._orders.append(order)
        self._wake.set()
        return await order.answer

    async def run(self) -> None:
        """Poll until cancelled, then close the link."""
        self._rota = Rota()
        start = time.monotonic()
        for unit in self._units:
            unit.located_at = None
            self._replan(unit, start)
        try:
            while True:
                await self._step()
                self.progress = time.monotonic()
        finally:
            await self._link.close()

    async def _step(self) -> None:
        if self._orders:
            await self._serve(self._orders.popleft())
            return
        now = time.monotonic()
        turn, due = self._rota.next(now)
        if turn is not None:
            await self._take(turn)
            if not self.looked.is_set() and self._rota.all_tried():
                self.looked.set()
            return
        self._wake.clear()
        try:
            async with asyncio.timeout(max(0.0, due - now)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _serve(self, order: _Order) -> None:
        if order.answer.done():  # whoever asked has gone
            return
        try:
            reply = await self._link.transact(order.request, order.timing)
        except (NoReply, BadReply, DeviceRefused) as e:
            if not order.answer.done():
                order.answer.set_exception(e)
        except asyncio.CancelledError:
            order.answer.cancel()
            raise
        else:
            if not order.answer.done():
                order.answer.set_result(reply)

    # --- reading

    async def _take(self, turn: Turn) -> None:
        unit = self._by_state[id(turn.unit)]
        try:
            if self._must_locate(unit):
                await self._locate(unit)
                if turn.dropped:
                    return
            reply = await self._link.transact(turn.block.request, unit.profile.timing)
            values = codec.decode(turn.block, reply, unit.profile, unit.device)
        except DeviceRefused as e:
            self._refused(unit, turn, e)
        except (NoReply, BadReply) as e:
            self._failed(unit, turn, e)
        else:
            lost = turn.unit.misses >= self._lanes.misses
            self._rota.succeeded(turn, time.monotonic())
            if lost:  # its other blocks are due now; one picture of the whole is better than pieces
                unit.held = True
                self._rota.begin_round(turn)
            self._absorb(unit, values)
            if any(point.table and values.get(point.key) is Quality.NOT_SUPPORT for point in turn.block.points):
                unit.located_at = min(unit.located_at or 0.0, time.monotonic() - RELOCATE_S + 10.0)  # a row is gone

    def _refused(self, unit: Unit, turn: Turn, refusal: DeviceRefused) -> None:
        """The device answered, but not this block: split it, give the single point up, or call it a miss."""
        if refusal.code in GATEWAY_SILENT and unit.profile.protocol == "modbus":
            self._failed(unit, turn, refusal)
            return
        now = time.monotonic()
        if refusal.code in ILLEGAL and unit.profile.protocol == "modbus":
            turn.dropped = True
            turn.unit.misses, turn.unit.silent_until = 0, 0.0
            parts = plan.split(turn.block)
            self._rota.add(Turn(turn.unit, part, turn.lane, turn.period_s, now) for part in parts)
            if not parts:
                log.info("%s does not have %s (%s)", unit.device.key, ", ".join(turn.block.keys), refusal)
                self._absorb(unit, dict.fromkeys(turn.block.keys, Quality.NOT_SUPPORT))
            return
        self._rota.succeeded(turn, now)
        self._absorb(unit, dict.fromkeys(turn.block.keys, Quality.GET_FAILED))

    def _failed(self, unit: Unit, turn: Turn, why: Exception) -> None:
        self._rota.failed(turn, time.monotonic())
        self._hand_over(Missed(unit.device.key, time.time(), str(why)))
        if turn.misses == self._lanes.misses and turn.unit.misses < turn.misses:  # the others of this unit answer
            self._absorb(unit, dict.fromkeys(turn.block.keys, Quality.GET_FAILED), alive=False)

    def _absorb(self, unit: Unit, values: Mapping[str, Value | Quality], *, alive: bool = True) -> None:
        at, mono = time.time(), time.monotonic()
        for key, value in values.items():
            sample = derive.Sample(value, mono)
            if unit.counters and key.partition("[")[0] in unit.counters:
                _keep_earlier(unit, key, sample)
            unit.now[key] = sample
        if unit.held:
            if not self._rota.all_tried(unit.state):
                return
            unit.held = False
            fields = unit.deriver.fields(unit.now, unit.before)
        else:
            fields = unit.deriver.fields(unit.now, unit.before, values.keys())
        if alive or fields:
            self._hand_over(Answered(unit.device.key, at, {key: _reading(v, at) for key, v in fields.items()}))

    # --- planning

    def _must_locate(self, unit: Unit) -> bool:
        if not unit.profile.tables:
            return False
        return unit.located_at is None or time.monotonic() - unit.located_at >= RELOCATE_S

    async def _locate(self, unit: Unit) -> None:
        """Find the rows of a device's tables, and plan anew when they are not where they were."""
        rows = {}
        for table in plan.tables(unit.profile, unit.device):
            replies = [await self._link.transact(request, unit.profile.timing) for request in table.requests]
            rows[table.name] = plan.locate(table, replies)
        unit.located_at = time.monotonic()
        if rows != unit.rows:
            unit.rows = rows
            unit.deriver = derive.Deriver(unit.profile, unit.device, rows)
            unit.now, unit.before, unit.between = {}, {}, {}  # row 1 may be another row now
            self._rota.drop(unit.state)
            self._replan(unit, unit.located_at)

    def _replan(self, unit: Unit, now: float) -> None:
        periods = {"fast": self._lanes.fast_s, "slow": self._lanes.slow_s}
        blocks: tuple[Block, ...] = plan.blocks(unit.profile, unit.device, unit.rows)
        self._rota.add(Turn(unit.state, block, block.lane, periods[block.lane], now) for block in blocks)


def _unit(device: Device, profile: Profile) -> Unit:
    counters = frozenset(str(d.operands[0]) for d in profile.derived if d.operation == "rate")
    return Unit(device, profile, UnitState(device.key), derive.Deriver(profile, device), counters=counters)


def _keep_earlier(unit: Unit, key: str, sample: derive.Sample) -> None:
    """Keep a counter's earlier sample, one to two spans old once it runs."""
    between = unit.between.get(key)
    if between is None:
        unit.between[key] = sample
    elif key not in unit.before or sample.t - between.t >= RATE_SPAN_S:
        unit.before[key] = between
        unit.between[key] = sample


def _reading(value: Value | Quality, at: float) -> Reading:
    return Reading(None, value, at) if isinstance(value, Quality) else Reading(value, Quality.OK, at)
