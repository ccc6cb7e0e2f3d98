"""What is cut and since when, and how long each compressor has rested: one account for cmd 1, 3 and 5.

A compressor that has just stopped, or lost its supply, is not run again before its rest is over. When a unit stopped
is what it was seen to do (`heard`), what it was ordered to, or when its supply was cut; what was never seen working may
have stopped the moment before this program began. What is cut is kept in the store before it is; of the rest nothing
is: it begins anew after a restart, which is the safe side. What a unit without supply says of itself does not count.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from gantry_agent.core import cuts, interlocks
from gantry_agent.core.cuts import Cut, Place
from gantry_agent.model import Answered, Missed, Output, Quality, Role, Site

AIR: Final = "airConditioners"
NO_SUPPLY: Final = "供电已被切断"


class Memory(Protocol):
    """Where what is cut is kept."""

    async def set_setting(self, name: str, value: str | None) -> None: ...


class Rests:
    """The account; `kept` is what an earlier run had cut."""

    def __init__(
        self,
        site: Site,
        store: Memory,
        kept: Mapping[Place, Cut],
        now: Callable[[], float] = time.monotonic,
        *,
        boot: str = "",
    ) -> None:
        self.rest_s = site.interlocks.compressor_off_s
        self.boot = boot  # of the host; what is kept of it counts by its monotonic clock
        self._store = store
        self._now = now
        self._began = now()
        self._fed = {
            (cabinet.number, name): tuple(Role(cabinet.number, AIR, number) for number in output.units)
            for cabinet in site.cabinets
            for name, output in cabinet.outputs.items()
            if output.feeds == AIR
        }
        self._fed = {place: () for place, cut in kept.items() if cut.air} | self._fed
        wall = time.time()
        self._cut = {place: cuts.since(cut, wall, self._began, boot) for place, cut in kept.items()}
        self._unproven: set[Place] = set()  # written, and not seen cut yet
        self._off_since: dict[Role, float | None] = {}  # None: it was seen working since it last stopped
        self._told_off: dict[Role, float] = {}  # a reading from before says for a moment that it works still
        self._working: set[Role] = set()  # by the last reading since it was told to stop
        for place, at in self._cut.items():
            for role in self._fed.get(place, ()):
                self._off_since[role] = max(at, self._off_since.get(role) or at)

    # --- units

    def heard(self, message: Answered | Missed) -> None:
        """Note what units are seen to do; called for everything that is read, so it must be quick."""
        if isinstance(message, Missed):
            return
        for (role, name), reading in message.fields.items():
            if name == "isWorking" and reading.quality is Quality.OK and not self._is_without_supply(role):
                if reading.value == 1:
                    self._working.add(role)
                    if self._now() >= self._told_off.get(role, 0.0) + self.rest_s:
                        self._off_since[role] = None
                elif role in self._working or self._off_since.get(role, self._began) is None:
                    self._working.discard(role)
                    self._off_since[role] = self._now()

    def why_not(self, role: Role) -> str | None:
        """Tell why a unit must not be run now (cmd 3)."""
        left = interlocks.compressor(self._off_since.get(role, self._began), self._now(), self.rest_s)
        return left or (NO_SUPPLY if self._is_without_supply(role) else None)

    def runs(self, role: Role) -> None:
        """It was told to run, and shows it."""
        self._off_since[role] = None

    def stopped(self, role: Role) -> None:
        """It was told to stop, confirmed or not. What has no supply stopped when it lost it."""
        if not self._is_without_supply(role):
            self._stops(role, self._now())

    def _stops(self, role: Role, at: float) -> None:
        self._off_since[role] = self._told_off[role] = at
        self._working.discard(role)

    def _is_without_supply(self, role: Role) -> bool:
        return any(role in self._fed.get(place, ()) for place in self._cut)

    # --- supplies

    def is_cut(self, place: Place) -> bool:
        """Whether an output has cut its supply, as far as is known."""
        return place in self._cut

    def left_s(self, place: Place) -> float:
        """Seconds until an output may give its supply back; 0 for one that feeds no air conditioner, or is not cut."""
        if place not in self._fed or place not in self._cut:
            return 0.0
        stopped = (at for role in self._fed[place] if (at := self._off_since.get(role)) is not None)
        return interlocks.supply(self._cut[place], stopped, self._now(), self.rest_s)

    def feeds_air(self, place: Place) -> bool:
        return place in self._fed

    async def cutting(self, place: Place, output: Output) -> None:
        """An output is about to cut its supply; of one that is cut already nothing changes."""
        if place not in self._cut:
            self._unproven.add(place)
            await self._counted(place, output)

    async def saw(self, place: Place, output: Output, *, cut: bool) -> None:
        """An output was read. One that lets its supply through, whoever did that, is cut anew the next time."""
        if not cut:
            self._unproven.discard(place)
            if self._cut.pop(place, None) is not None:
                await self._store.set_setting(cuts.name(place), None)
        elif place not in self._cut or place in self._unproven:  # it counts from when it is seen: a write takes time
            self._unproven.discard(place)
            await self._counted(place, output)

    async def _counted(self, place: Place, output: Output) -> None:
        at = self._cut[place] = self._now()
        for role in self._fed.get(place, ()):
            self._stops(role, at)
        await self._store.set_setting(cuts.name(place), cuts.written(cuts.of(output, time.time(), self.boot, at)))
