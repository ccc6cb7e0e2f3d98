"""One task per bus: what is due is read, decoded and handed over; orders go first.

The wire belongs to `Poller.run` alone, one transaction at a time by construction. An order (`transact`) waits for at
most the transaction that is on the wire: whatever takes several – finding the rows of a table, setting up a device
that is back – is done one a step, and a question that the line is not ready for is put off rather than waited for.
What a block means is `codec` and `derive`; whose turn it is, `rota`; how the bus keeps up, `load`; what to think of
a silent device, `core.monitor`: this module only tells it `Answered` or `Missed`.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from gantry_agent.field import codec, derive, plan, plan_writes
from gantry_agent.field.aside import PATIENCE_S, Asides, Exchange
from gantry_agent.field.bus import Link
from gantry_agent.field.bus.journal import Journal
from gantry_agent.field.framing import dlt645, megatec, ydt1363
from gantry_agent.field.load import Change, Gauge, Load, gauge
from gantry_agent.field.parts import Parts, askable
from gantry_agent.field.product import Profile
from gantry_agent.field.request import Block, Reply, Request, Timing
from gantry_agent.field.rota import Rota, Turn
from gantry_agent.field.unit import Lanes, Unit, begin, doubtful, gone, keep_earlier, partial, relook_s, watched
from gantry_agent.model import (
    Answered,
    BadReply,
    BusDown,
    Device,
    DeviceRefused,
    Missed,
    NoReply,
    Quality,
    Reading,
    Value,
)

log = logging.getLogger(__name__)

HINT_GAP_S = 1.0  # hints of one device are heeded so often, or once in a fast period if that is shorter
ILLEGAL: Mapping[str, frozenset[int]] = {  # by protocol, the refusals that say: this does not exist here
    "modbus": frozenset({1, 2, 3}),
    "megatec": frozenset({megatec.UNKNOWN}),
    "ydt1363": frozenset({ydt1363.CID2_UNKNOWN}),
    "dlt645": frozenset({dlt645.NO_SUCH_ITEM}),
}
GATEWAY_SILENT = frozenset({10, 11})  # Modbus exceptions of a gateway whose own line got no answer
# What a device refused is asked for again: soon once, since one that is still starting refuses too, then once a day,
# since new firmware may have it. A device that was lost and is back is asked at once.
RELEARN_S = (600.0, 86_400.0)
HELD_S = 0.005  # a line held for less than this is waited for

HandOver = Callable[[Answered | Missed], None]


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
        self._units = [begin(device, profile) for device, profile in devices]
        self._by_state = {id(unit.state): unit for unit in self._units}
        self._rota = Rota()
        self._orders: deque[_Order] = deque()
        self._asides = Asides(link.journal, self._ask)
        self._wake = asyncio.Event()
        self._down = False
        self._gauge: Gauge = gauge(0.0, lanes.slow_s)
        self.progress = 0.0  # monotonic time of the last finished step; the watchdog reads it
        self.looked = asyncio.Event()  # every block was read once, or its device is silent

    @property
    def load(self) -> Load:
        """Tell how the bus keeps up with what is asked of it."""
        return self._gauge.load

    def located(self, device: str) -> plan.Located:
        """Tell which rows of a device's tables were found, for who wants to write to one."""
        for unit in self._units:
            if unit.device.key == device:
                return plan.Located(unit.rows, unit.known_by)
        return plan.NOWHERE

    def relearn(self, device: str) -> None:
        """Ask a device again for what it has refused: somebody knows that it has changed."""
        for unit in self._units:
            if unit.device.key == device and unit.relearn_at is not None:
                unit.relearn_at = 0.0
                self._wake.set()

    async def transact(self, request: Request, timing: Timing) -> Reply:
        """Put one request before everything that is not yet on the wire; raises what the link raises."""
        order = _Order(request, timing, asyncio.get_running_loop().create_future())
        self._orders.append(order)
        self._wake.set()
        return await order.answer

    async def examine(self, request: Request, timing: Timing) -> Exchange:
        """Ask something for a technician, when the line has nothing to do, or at the latest after some seconds."""
        answer = self._asides.add(request, timing)
        self._wake.set()
        return await answer

    @property
    def journal(self) -> Journal:
        """Give what the bus remembers of its conversations."""
        return self._link.journal

    def hint(self, device: str, gap_s: float = HINT_GAP_S) -> bool:
        """Poll a device now, since somebody says that it has news; tell whether that is heeded.

        Whoever cries wolf costs little: hints that follow within the gap make one poll at its end.
        """
        unit = next((unit for unit in self._units if unit.device.key == device), None)
        if unit is None:
            return False
        now, gap_s = time.monotonic(), min(HINT_GAP_S if unit.state.misses else gap_s, self._lanes.fast_s)
        at = now if unit.heeded_at is None else max(now, unit.heeded_at + gap_s)
        if unit.heeded_at is not None and unit.heeded_at > now:
            return False  # one is waiting already
        unit.heeded_at = at
        self._rota.hint(unit.state, at)
        self._wake.set()
        return True

    def look(self, devices: Collection[str]) -> None:
        """Read the alarm and door points of these devices now: what was seen elsewhere may show there as well (D18)."""
        now = time.monotonic()
        for unit in self._units:
            if unit.device.key in devices and not unit.state.misses:
                self._rota.look(unit.state, now, unit.telling)
                unit.awaited = unit.telling
        self._wake.set()

    async def run(self) -> None:
        """Poll until cancelled, then close the link. After a failure it can be run again: the link is still there."""
        self._rota = Rota()
        start = time.monotonic()
        self._gauge = gauge(start, self._lanes.slow_s)
        for unit in self._units:
            unit.locate_at, unit.relearn_at = 0.0, None
            unit.walks.clear()
            self._replan(unit, start)
        if self._rota.all_tried():  # boards whose outputs are only written
            self.looked.set()
        try:
            while True:
                await self._step()
                self.progress = time.monotonic()
        except asyncio.CancelledError:
            await self._link.close()
            raise

    async def _step(self) -> None:
        now = time.monotonic()
        order_at = self._order_at(now)
        if order_at <= now:
            await self._serve(self._orders.popleft())
            return
        for change in self._gauge.roll(now):
            self._tell(change)
        for unit in self._units:
            if unit.relearn_at is not None and unit.relearn_at <= now:
                self._begin_anew(unit, now)
        if (pause_s := self._link.held_s()) > 0:  # an order may still come before a turn is chosen, not after
            await self._nap(min(pause_s, order_at - now))
            return
        aside_at = self._aside_at(now)
        if aside_at + PATIENCE_S < now:
            await self._asides.take()
            return
        turn, due = self._rota.next(now)
        if turn is None and aside_at <= now:
            await self._asides.take()
            return
        due = min(due, aside_at, order_at)
        if turn is not None:
            await self._take(turn)
            if not self.looked.is_set() and self._rota.all_tried():
                self.looked.set()
            return
        await self._nap(max(0.0, due - now))
        self._gauge.idle(time.monotonic() - now)

    def _aside_at(self, now: float) -> float:
        """Tell since when a technician's question waits, or when the line is ready for it; infinity without one."""
        if (aside := self._asides.first()) is None:
            return math.inf
        held_s = self._link.held_s(aside.request)
        return now + held_s if held_s > HELD_S else aside.asked_at

    async def _nap(self, seconds: float) -> None:
        """Wait so long, or until somebody has an order or news."""
        self._wake.clear()
        timer = asyncio.get_running_loop().call_later(seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def _order_at(self, now: float) -> float:
        """Move the order that the line is ready for first, the oldest of those, to the front; tell when it may go.

        That is now when no more than a late answer is waited for, infinity without an order.
        """
        for given_up in [order for order in self._orders if order.answer.done()]:
            self._orders.remove(given_up)
        if not self._orders:
            return math.inf
        held_s, first = min((round(self._link.held_s(order.request), 2), n) for n, order in enumerate(self._orders))
        order = self._orders[first]
        self._orders.remove(order)
        self._orders.appendleft(order)
        return now if held_s <= order.timing.response_s else now + held_s

    async def _ask(self, request: Request, timing: Timing) -> Reply:
        down = False
        try:
            return await self._link.transact(request, timing)
        except BusDown:
            down = True
            raise
        finally:
            if self._down and not down:
                self._rota.hurry(time.monotonic())  # it was the medium that was away, not they
            self._down = down

    async def _serve(self, order: _Order) -> None:
        if order.answer.done():  # whoever asked has gone
            return
        try:
            reply = await self._ask(order.request, order.timing)
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
        ahead = self._ahead(unit)
        if ahead is None:
            held_s, parts = askable(turn, self._link.held_s, unit.profile.timing.response_s)
        else:
            held_s, parts = self._link.held_s(ahead), ()
        if held_s > HELD_S:
            self._rota.put_off(turn, time.monotonic() + held_s)
            return
        try:
            if ahead is not None:
                await self._prepare(unit)
                self._rota.put_off(turn, turn.due)
                return
            values = await self._read(unit, turn, parts)
            if turn.parts:
                self._rota.put_off(turn, turn.due)
                return
        except DeviceRefused as e:
            whole = not parts or parts[0] is turn.block  # a part is asked because of the line, not of the device
            self._refused(unit, turn, e, illegal=whole and lacks(e, unit.profile))
        except (NoReply, BadReply) as e:
            if isinstance(e, codec.RowsMoved):
                log.info("rows of %s have moved: %s", unit.device.key, e)
                unit.locate_at = 0.0
            self._failed(unit, turn, e)
        else:
            turn.doubted = not turn.doubted and doubtful(unit, values)
            if turn.doubted:
                self._rota.put_off(turn, turn.due)
                return
            missing = [point.key for point in turn.block.points if point.table and gone(unit, point.key, values)]
            now = time.monotonic()
            if turn.read_at is not None:
                self._gauge.read(turn.lane, now - turn.read_at, turn.period_s)
            turn.read_at = now
            if self._answered(unit, turn, now):
                return
            self._absorb(unit, values)
            if missing:
                log.info("rows of %s are gone: %s", unit.device.key, ", ".join(missing))
                unit.locate_at = 0.0
                self._rota.hint(unit.state, time.monotonic())

    async def _read(self, unit: Unit, turn: Turn, parts: Parts) -> Mapping[str, Value | Quality]:
        """Ask the first of what is left of a turn; give all that was read once nothing is left."""
        before, turn.read, turn.parts = turn.read, {}, ()
        reply = await self._ask(parts[0].request, unit.profile.timing)
        values = {**before, **codec.decode(parts[0], reply, unit.profile, unit.device)}
        turn.parts, turn.read = parts[1:], values if parts[1:] else {}
        return values

    def _answered(self, unit: Unit, turn: Turn, now: float) -> bool:
        """Put a turn back whose unit has answered; tell whether it was lost and what it said is not to be used."""
        lost = turn.unit.misses >= self._lanes.misses
        self._rota.succeeded(turn, now)
        if not lost:
            return False
        unit.held = True  # its other blocks are due now; one picture of the whole is better than pieces
        unit.settings.extend(plan_writes.settings(unit.profile, unit.device))
        if unit.settings or unit.relearn_at is not None:
            self._begin_anew(unit, now)
            return True
        self._rota.begin_round(turn)
        return False

    def _refused(self, unit: Unit, turn: Turn, refusal: DeviceRefused, *, illegal: bool) -> None:
        """The device answered, but not this block: split it, give the single point up, or call it a miss.

        A point that gave a value before is not given up but asked again: modules answer "illegal" while they start.
        """
        if refusal.code in GATEWAY_SILENT and unit.profile.protocol == "modbus":
            self._failed(unit, turn, refusal)
            return
        now = time.monotonic()
        if turn.unit.misses >= self._lanes.misses:  # it is back; what it refuses is for its next round
            self._answered(unit, turn, now)
            return
        keys = frozenset(turn.block.keys)
        unit.gave |= {key for key in keys if (s := unit.now.get(key)) and not isinstance(s.value, Quality)}
        parts = plan.split(turn.block) if illegal else ()
        if illegal and unit.relearn_at is None:
            unit.relearn_at = now + RELEARN_S[min(unit.relearnt, len(RELEARN_S) - 1)]
        if not illegal or (not parts and keys <= unit.gave):
            turn.read_at = None
            self._rota.refused(turn, now)
            if turn.misses >= self._lanes.misses:
                self._absorb(unit, dict.fromkeys(turn.block.keys, Quality.GET_FAILED))
            return
        if self._answered(unit, turn, now):
            return
        turn.dropped = True
        self._rota.add(Turn(turn.unit, part, turn.lane, turn.period_s, now) for part in parts)
        if not parts:
            if not keys <= unit.lacking:
                unit.lacking |= keys
                log.info("%s does not have %s (%s)", unit.device.key, ", ".join(turn.block.keys), refusal)
            self._absorb(unit, dict.fromkeys(turn.block.keys, Quality.NOT_SUPPORT))

    def _failed(self, unit: Unit, turn: Turn, why: Exception) -> None:
        turn.read_at = None
        self._rota.failed(turn, time.monotonic())
        self._hand_over(Missed(unit.device.key, time.time(), str(why)))
        if turn.misses == self._lanes.misses and turn.unit.misses < turn.misses:  # the others of this unit answer
            self._absorb(unit, dict.fromkeys(turn.block.keys, Quality.GET_FAILED), alive=False)

    def _absorb(self, unit: Unit, values: Mapping[str, Value | Quality], *, alive: bool = True) -> None:
        at, mono = time.time(), time.monotonic()
        for key, value in values.items():
            sample = derive.Sample(value, mono)
            if unit.counters and key.partition("[")[0] in unit.counters:
                keep_earlier(unit, key, sample)
            unit.now[key] = sample
            if key in unit.lacking and value is not Quality.NOT_SUPPORT:
                unit.lacking -= {key}
                log.info("%s has %s now", unit.device.key, key)
        if unit.held:
            if not self._rota.all_tried(unit.state):
                return
            unit.held = False
            fields = unit.deriver.fields(unit.now, unit.before)
        else:
            fields = unit.deriver.fields(unit.now, unit.before, values.keys())
        if alive or fields:
            points = {key: _reading(value, at) for key, value in watched(unit, values).items()}
            told = {key: _reading(v, at) for key, v in fields.items()}
            self._hand_over(Answered(unit.device.key, at, told, points, partial(unit, told, values)))

    # --- planning

    def _must_locate(self, unit: Unit) -> bool:
        return bool(unit.profile.tables) and time.monotonic() >= unit.locate_at

    def _ahead(self, unit: Unit) -> Request | None:
        """Tell what has to be asked or written before a unit's blocks are read."""
        if unit.settings:
            return unit.settings[0]
        if self._must_locate(unit):
            if not unit.walks:
                unit.walks, unit.walked = deque(plan.walks(unit.profile, unit.device)), {}
            if unit.walks:
                return unit.walks[0]
            unit.locate_at = math.inf  # the site needs none of its tables
        return None

    async def _prepare(self, unit: Unit) -> None:
        """Do the one thing that is `_ahead`."""
        if unit.settings:
            await self._set(unit)
            return
        unit.walked[unit.walks[0]] = await self._walk(unit)
        unit.walks.popleft()
        if not unit.walks:
            self._locate(unit)

    async def _walk(self, unit: Unit) -> Reply:
        """Do the next walk; a device that does not know what is asked has no rows there."""
        try:
            return await self._ask(unit.walks[0], unit.profile.timing)
        except DeviceRefused as e:
            if not lacks(e, unit.profile):
                raise
            return ()

    async def _set(self, unit: Unit) -> None:
        """Write one setting to a device that is back; one that it refuses is told of and left."""
        try:
            await self._ask(unit.settings[0], unit.profile.timing)
        except (DeviceRefused, BadReply) as e:
            log.warning("cannot set %s up after its return: %s", unit.device.key, e)
        unit.settings.popleft()
        if not unit.settings:
            log.info("%s is back and has been set up", unit.device.key)

    def _locate(self, unit: Unit) -> None:
        """Find the rows of a device's tables in what was walked, and plan anew when they are not where they were."""
        found = plan.located(unit.profile, unit.device, unit.walked)
        rows, known_by = found.rows, found.known_by
        unit.walked = {}
        now = time.monotonic()
        unit.relook_s = relook_s(unit, rows)
        unit.locate_at = now + unit.relook_s
        if rows != unit.rows or known_by != unit.known_by:
            unit.rows, unit.known_by = rows, known_by
            unit.deriver = derive.Deriver(unit.profile, unit.device, rows)
            unit.now, unit.before, unit.between = {}, {}, {}  # row 1 may be another row now
            self._rota.drop(unit.state)
            self._replan(unit, now)

    def _begin_anew(self, unit: Unit, now: float) -> None:
        """Ask for whole blocks again, whatever was refused before."""
        unit.relearnt += unit.relearn_at is not None
        unit.relearn_at, unit.gave = None, frozenset()
        self._rota.drop(unit.state)
        self._replan(unit, now)

    def _replan(self, unit: Unit, now: float) -> None:
        periods = {"fast": self._lanes.fast_s, "slow": self._lanes.slow_s}
        blocks: tuple[Block, ...] = plan.blocks(unit.profile, unit.device, unit.rows, unit.known_by)
        unit.telling = unit.deriver.telling.intersection(key for block in blocks for key in block.keys)
        self._rota.add(Turn(unit.state, block, block.lane, periods[block.lane], now) for block in blocks)

    def _tell(self, change: Change) -> None:
        what, period_s = {
            "fast": ("alarm and door points", self._lanes.fast_s),
            "slow": ("measurements", self._lanes.slow_s),
        }[change.lane]
        bus = self._units[0].device.bus
        if change.late:
            text = "bus %s is too slow for what is asked of it: %s come every %.1f s instead of %g s"
            log.warning(text, bus, what, change.stretch * period_s, period_s)
        else:
            log.info("bus %s keeps up again: %s come every %g s", bus, what, period_s)


def lacks(why: Exception | None, profile: Profile) -> bool:
    """Tell whether a device has refused something because it does not have it."""
    return isinstance(why, DeviceRefused) and why.code in ILLEGAL.get(profile.protocol, ())


def _reading(value: Value | Quality, at: float) -> Reading:
    return Reading(None, value, at) if isinstance(value, Quality) else Reading(value, Quality.OK, at)
