"""Power modes (cmd 5, D11): which outputs are cut, kept in the store and held against whatever happens to the boards.

A mode is a wish: it is stored before anything moves, taken up again at the next start, and looked after meanwhile: an
output that reads otherwise than it is wished, because its board lost power or somebody switched it, is written again.
A mode that cuts more is all or nothing: what is not confirmed everywhere is no change, and the mode from before is
tried until it stands again. A mode that gives back gives back what it can, and goes on until all of it is back: nothing
that works again is cut for a board that is dead, nor for a compressor that must rest first (`rests`).
When the agent stops, everything stays as it is: a restart of a program must not cycle an air conditioner. What an
earlier run had cut and nobody lists any more is given back (`strays`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from gantry_agent.command import Done, Failed, Outcome, SetPowerMode
from gantry_agent.core import interlocks
from gantry_agent.core.audit import Entry
from gantry_agent.core.cuts import Cut, Place
from gantry_agent.field.actuator import Actuator
from gantry_agent.field.trace import Trace
from gantry_agent.model import Output, Site
from gantry_agent.orders.changes import POWER_MODE, Settings
from gantry_agent.orders.rests import Rests
from gantry_agent.orders.strays import strays
from gantry_agent.text import Text

log = logging.getLogger(__name__)

HELD_S = (10.0, 60.0)  # an output is looked at so often; one that is not as it should be ever more seldom
LOOK_S = 1.0  # how often it is asked whose turn it is
ROOM = 30  # characters of `msg` beside the words of the interface
WAIT_S = 10.0  # a rest that is over so soon is waited for by the answer; the writes after it have their time too


class Modes:
    """Carries out cmd 5 and holds what it wishes; `mode` is what stood when the agent ended last, `kept` was cut."""

    def __init__(
        self, site: Site, actuator: Actuator, store: Settings, rests: Rests, mode: int, kept: Mapping[Place, Cut]
    ) -> None:
        self._levels = site.power_modes
        self._actuator = actuator
        self._store = store
        self._rests = rests
        self._mode = mode
        self._outputs = {place: site.output(place) for level in site.power_modes for place in level}
        rebooted = [relay.output for relay in site.relays if relay.output is not None]
        held = self._outputs | {place: site.output(place) for place in rebooted}  # a relay cuts for a time only
        self._strays = strays(site, actuator.can_switch, held, kept)
        self._held = held | self._strays
        self.note: Callable[[Entry], None] | None = None  # for the audit: what was given back that nobody lists
        self._changing = asyncio.Lock()
        self._locks: dict[Place, asyncio.Lock] = {}
        self._due = dict.fromkeys(self._held, 0.0)  # when each is looked at next (monotonic)
        self._resting: set[Place] = set()  # cut still, since their compressors rest
        self._trouble: dict[Place, int] = {}  # looks in a row that found it otherwise, or nobody there

    def cuts(self, place: Place) -> bool:
        """Tell whether the mode that stands wishes this output to cut its supply."""
        return place in cut_by(self._levels, self._mode)

    def lock(self, place: Place) -> asyncio.Lock:
        """Give what keeps a reboot and a mode from mixing at one output."""
        return self._locks.setdefault(place, asyncio.Lock())

    def spare(self, place: Place, for_s: float) -> None:
        """Do not look after an output for so long: its board may be timing a pulse."""
        self._due[place] = time.monotonic() + for_s

    async def set_power_mode(self, command: SetPowerMode, trace: Trace) -> Outcome:
        """Bring every output of the modes where the mode wishes it. What is cut more is cut everywhere or nowhere."""
        cut = cut_by(self._levels, command.mode)
        if trace.dry:
            found = {place: await self._bring(place, trace, on=place in cut) for place in self._outputs}
            return self._summed(found, command.mode)
        async with self._changing:
            before = self._mode
            await self._store.set_setting(POWER_MODE, str(command.mode))
            self._mode = command.mode
            outcome: Outcome = Failed("被中断")
            try:
                outcome = self._summed(await self._change(trace), before)
            finally:  # also when whoever ordered it has waited long enough
                if not isinstance(outcome, Done) and command.mode > before:
                    await self._restore(before)
            if isinstance(outcome, Done):
                log.info("power mode %d: %s", self._mode, _named(cut) or "nothing is cut")
            return outcome

    async def present(self, command: SetPowerMode) -> Outcome | None:
        """Say how an order that was interrupted stands by now; None when another mode was ordered since."""
        if self._mode != command.mode:
            return None
        seen = await asyncio.gather(*(self._actuator.seen(output) for output in self._outputs.values()))
        found: dict[Place, Outcome] = {}
        for place, one in zip(self._outputs, seen, strict=True):
            left_s, wish = self._rests.left_s(place), self.cuts(place)
            late = Failed(interlocks.stays_cut(left_s)) if left_s and not wish else Failed("尚未切换，继续重试")
            found[place] = one if isinstance(one, Failed) else Done() if one is wish else late
        return self._summed(found, 0)

    async def _change(self, trace: Trace) -> dict[Place, Outcome]:
        """Each output in its bus's turn, so that a dead board does not keep the others waiting."""
        places = list(self._outputs)
        outcomes = await asyncio.gather(*(self._bring(place, trace, on=self.cuts(place)) for place in places))
        return dict(zip(places, outcomes, strict=True))

    def _summed(self, outcomes: Mapping[Place, Outcome], before: int) -> Outcome:
        """One outcome of all; what the hardware did not do is told before what only waits."""
        failed = {place: one for place, one in outcomes.items() if isinstance(one, Failed)}
        if not failed:
            return Done()
        faults = {place: one for place, one in failed.items() if not self._waits(place)}
        goes_on = "，继续重试" if faults and self._mode < before else ""
        told = faults or failed
        several = len({cabinet for cabinet, _ in outcomes}) > 1
        names = [f"{cabinet}.{name}" if several else name for cabinet, name in told]
        why = f"{next(iter(told.values())).why}{goes_on}"
        return Failed(f"{_listed(names, ROOM - len(why))}{why}")

    def _waits(self, place: Place) -> bool:
        return self._rests.left_s(place) > 0

    async def _restore(self, before: int) -> None:
        self._mode = before
        self._due |= dict.fromkeys(self._outputs, 0.0)  # `run` brings back what did change, and tries until it is so
        await self._store.set_setting(POWER_MODE, str(before))
        log.warning("the power mode stays %d", before)

    async def _bring(self, place: Place, trace: Trace, *, on: bool) -> Outcome:
        output = self._outputs[place]
        if trace.dry:
            waits = self._at_rest(place, trace) if not on else None
            return waits or await self._actuator.bring(output, trace, on=on)
        async with self.lock(place):
            self._due[place] = 0.0  # whatever becomes of this order, it is looked after
            if self._rests.feeds_air(place):
                if isinstance(seen := await self._actuator.seen(output), Failed):  # what is written could not be proved
                    trace.devices.add(output.device)
                    return seen
                await self._rests.saw(place, output, cut=seen)
            if not on and 0 < (left_s := self._rests.left_s(place)) <= WAIT_S:
                await asyncio.sleep(left_s)
            if not on and (waits := self._at_rest(place, trace)) is not None:
                self._let_rest(place)
                return waits
            return await self._write(place, output, trace, on=on)

    def _at_rest(self, place: Place, trace: Trace) -> Failed | None:
        """Why a supply is not given back yet."""
        if not (left_s := self._rests.left_s(place)):
            return None
        name = _named([place])
        trace.note(
            f"输出 {name} 为空调供电，{left_s:.0f} 秒后自动恢复",
            f"output {name} feeds an air conditioner and is given back in {left_s:.0f} s",
        )
        log.info("output %s is given back in %.0f s, when its compressor has rested", name, left_s)
        return Failed(interlocks.stays_cut(left_s))

    def _let_rest(self, place: Place) -> None:
        self._resting.add(place)
        self.spare(place, self._rests.left_s(place))

    async def _write(self, place: Place, output: Output, trace: Trace, *, on: bool) -> Outcome:
        """Move one output; what is cut is in the store before it is."""
        if on:
            await self._rests.cutting(place, output)
        outcome = await self._actuator.bring(output, trace, on=on)
        if isinstance(outcome, Done):
            await self._rests.saw(place, output, cut=on)
            self._settled(place, moved=True)
        return outcome

    # --- for a reboot of what feeds an air conditioner

    async def cut_for_rest(self, place: Place, output: Output, trace: Trace) -> Outcome:
        """Cut a supply that is given back when its compressors have rested, by `run`, also of a later process.

        The caller has the output's lock.
        """
        self._due[place] = 0.0
        outcome = await self._write(place, output, trace, on=True)
        if isinstance(outcome, Done):
            self._let_rest(place)
        return outcome

    async def give_back(self, place: Place, output: Output, trace: Trace) -> Outcome:
        """Let a supply through again, its rest being over. The caller has the output's lock."""
        self._due[place] = 0.0
        return await self._write(place, output, trace, on=False)

    # --- holding

    async def run(self) -> None:
        """Look after the outputs, each in its turn, until cancelled."""
        while True:
            now = time.monotonic()
            due = [p for p, at in self._due.items() if at <= now and not self.lock(p).locked()]
            await asyncio.gather(*(self._look_after(place) for place in due))
            await asyncio.sleep(LOOK_S)

    async def _look_after(self, place: Place) -> None:
        output = self._held[place]
        async with self.lock(place):
            wish = self.cuts(place)
            seen = await self._actuator.seen(output)
            if isinstance(seen, bool):
                await self._rests.saw(place, output, cut=seen)
            if seen is wish:
                self._settled(place)
            elif seen is True and self._at_rest(place, Trace()):
                self._let_rest(place)
            else:
                if place in self._resting:  # nothing is wrong: its time has come
                    self._resting.discard(place)
                    log.info("output %s is given back now, its compressor has rested", _named([place]))
                else:
                    self._doubt(place, output, seen)
                if isinstance(seen, bool):  # else nobody is there: nothing is written blindly, the bus is for others
                    await self._write(place, output, Trace(), on=wish)

    def _settled(self, place: Place, *, moved: bool = False) -> None:
        looks = self._trouble.pop(place, 0)
        self._resting.discard(place)
        self._due[place] = time.monotonic() + HELD_S[0]
        if place in self._strays:
            self._gave_back(place, self._strays.pop(place), moved=moved)
        elif looks:
            log.info("output %s is as it should be after %d looks", _named([place]), looks)

    def _gave_back(self, place: Place, output: Output, *, moved: bool) -> None:
        """What nobody lists is not held any longer than until it is back; audited if it was cut until now."""
        del self._held[place], self._due[place]
        if not moved:
            return
        log.warning("output %s had been cut and is in no list of the site file now; given back", _named([place]))
        if self.note:
            what = Text(f"输出 {output.name} 恢复供电", f"supply of output {output.name} given back")
            why = Text("曾被切断，站点文件已不再列出", "it had been cut, and the site file lists it no longer")
            where = Text(f"机柜 {place[0]}", f"cabinet {place[0]}")
            self.note(Entry(time.time(), where.kept(), "site", what.kept(), "", outcome=why.kept()))

    def _doubt(self, place: Place, output: Output, seen: bool | Failed) -> None:  # noqa: FBT001 - what was read
        looks = self._trouble[place] = self._trouble.get(place, 0) + 1
        if looks == 1:
            said = f"cannot be read ({seen.why})" if isinstance(seen, Failed) else "is on" if seen else "is off"
            log.warning(
                "output %s (%s of %s) %s and should be %s (power mode %d); trying until it is so",
                *(_named([place]), output.point, output.device, said, "on" if self.cuts(place) else "off", self._mode),
            )
        self._due[place] = time.monotonic() + min(HELD_S[1], HELD_S[0] * 2 ** min(looks - 1, 8))


def cut_by(levels: Iterable[tuple[Place, ...]], mode: int) -> frozenset[Place]:
    """The outputs that a mode cuts: those of its level and of every one below."""
    return frozenset(place for level, places in enumerate(levels, 1) if level <= mode for place in places)


def _listed(names: Sequence[str], room: int) -> str:
    """The names of outputs for a message: all of them, or the first, or how many, as there is room."""
    ways = (",".join(names), f"{names[0]}等{len(names)}路", f"{len(names)}路输出")
    return next((said for said in ways if len(said) <= room), ways[-1])


def _named(places: Iterable[Place]) -> str:
    return ", ".join(f"{cabinet}.{name}" for cabinet, name in sorted(places))
