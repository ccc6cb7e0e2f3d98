"""Power modes (cmd 5, D11): which outputs are cut, kept in the store and held against whatever happens to the boards.

A mode is a wish: it is stored before anything moves, taken up again at the next start, and looked after meanwhile: an
output that reads otherwise than it is wished, because its board lost power or somebody switched it, is written again.
A change that is not confirmed everywhere is no change: the mode from before stands again, and is tried until it does.
When the agent stops, everything stays as it is: a restart of a program must not cycle an air conditioner.
"""

import asyncio
import logging
import time
from collections.abc import Iterable

from gantry_agent.command import Done, Failed, Outcome, SetPowerMode
from gantry_agent.field.actuator import Actuator
from gantry_agent.field.trace import Trace
from gantry_agent.model import Output, Site
from gantry_agent.orders.changes import POWER_MODE, Settings

log = logging.getLogger(__name__)

HELD_S = (10.0, 60.0)  # an output is looked at so often; one that is not as it should be ever more seldom
LOOK_S = 1.0  # how often it is asked whose turn it is
SAID = 3  # outputs that a message names, of those that failed

Place = tuple[int, str]


class Modes:
    """Carries out cmd 5 and holds what it wishes; `mode` is what stood when the agent ended last."""

    def __init__(self, site: Site, actuator: Actuator, store: Settings, mode: int) -> None:
        self._levels = site.power_modes
        self._actuator = actuator
        self._store = store
        self._mode = mode
        self._outputs = {place: site.output(place) for level in site.power_modes for place in level}
        rebooted = [relay.output for relay in site.relays if relay.output is not None]
        self._held = self._outputs | {place: site.output(place) for place in rebooted}  # a relay cuts for a time only
        self._changing = asyncio.Lock()
        self._locks: dict[Place, asyncio.Lock] = {}
        self._due = dict.fromkeys(self._held, 0.0)  # when each is looked at next (monotonic)
        self._trouble: dict[Place, int] = {}  # looks in a row that found it otherwise, or nobody there

    def cuts(self, place: Place) -> bool:
        """Tell whether the mode that stands wishes this output to cut its supply."""
        return place in cut_by(self._levels, self._mode)

    def devices(self) -> frozenset[str]:
        """Name the devices that a mode switches something of."""
        return frozenset(output.device for output in self._outputs.values())

    def lock(self, place: Place) -> asyncio.Lock:
        """Give what keeps a reboot and a mode from mixing at one output."""
        return self._locks.setdefault(place, asyncio.Lock())

    def spare(self, place: Place, for_s: float) -> None:
        """Do not look after an output for so long: its board may be timing a pulse."""
        self._due[place] = time.monotonic() + for_s

    async def set_power_mode(self, command: SetPowerMode, trace: Trace) -> Outcome:
        """Bring every output of the modes where the mode wishes it, or leave the mode from before."""
        cut = cut_by(self._levels, command.mode)
        if trace.dry:
            outcomes = [await self._bring(place, trace, on=place in cut) for place in self._outputs]
            return next((one for one in outcomes if not isinstance(one, Done)), Done())
        async with self._changing:
            before = self._mode
            await self._store.set_setting(POWER_MODE, str(command.mode))
            self._mode = command.mode
            outcome: Outcome = Failed("被中断")
            try:
                outcome = await self._change(trace)
            finally:
                if not isinstance(outcome, Done):  # also when whoever ordered it has waited long enough
                    await self._restore(before)
            if isinstance(outcome, Done):
                log.info("power mode %d: %s", self._mode, _named(cut) or "nothing is cut")
            return outcome

    async def _change(self, trace: Trace) -> Outcome:
        """Each output in its bus's turn, so that a dead board does not keep the others waiting."""
        places = list(self._outputs)
        outcomes = await asyncio.gather(*(self._bring(place, trace, on=self.cuts(place)) for place in places))
        failed = {p: one for p, one in zip(places, outcomes, strict=True) if isinstance(one, Failed)}
        if not failed:
            return Done()
        several = len({cabinet for cabinet, _ in places}) > 1
        names = [f"{cabinet}.{name}" if several else name for cabinet, name in failed]
        return Failed(f"{','.join(names[:SAID])}{next(iter(failed.values())).why}")

    async def _restore(self, before: int) -> None:
        self._mode = before
        self._due |= dict.fromkeys(self._outputs, 0.0)  # `run` brings back what did change, and tries until it is so
        await self._store.set_setting(POWER_MODE, str(before))
        log.warning("the power mode stays %d", before)

    async def _bring(self, place: Place, trace: Trace, *, on: bool) -> Outcome:
        output = self._outputs[place]
        if trace.dry:
            return await self._actuator.bring(output, trace, on=on)
        async with self.lock(place):
            outcome = await self._actuator.bring(output, trace, on=on)
            if isinstance(outcome, Done):
                self._settled(place)
            return outcome

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
            if seen is wish:
                self._settled(place)
                return
            self._doubt(place, output, seen)
            if isinstance(seen, Failed):  # nobody there: nothing is written blindly, and the bus is for others
                return
            outcome = await self._actuator.bring(output, Trace(), on=wish)
            if isinstance(outcome, Done):
                self._settled(place)

    def _settled(self, place: Place) -> None:
        if looks := self._trouble.pop(place, 0):
            log.info("output %s is as it should be after %d looks", _named([place]), looks)
        self._due[place] = time.monotonic() + HELD_S[0]

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


def _named(places: Iterable[Place]) -> str:
    return ", ".join(f"{cabinet}.{name}" for cabinet, name in sorted(places))
