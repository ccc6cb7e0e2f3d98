"""Air conditioners: run or stand by (cmd 3), and set points (cmd 4), of one unit or of all of a cabinet (D13).

A compressor that has just stopped, or lost its supply, is not run again before its rest is over (`rests`); nor is a
unit told to run that has no supply, for it would start by itself when that comes back.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal

from gantry_agent.command import Done, Failed, Outcome, Partial, Refused, RunAirConditioner, SetTemperatures
from gantry_agent.field.actuator import Actuator
from gantry_agent.field.plan_writes import Ordered
from gantry_agent.field.trace import Trace
from gantry_agent.model import Role
from gantry_agent.orders.rests import AIR, Rests

RUN, STANDBY = 1, 2
UNABLE = Failed("设备不支持")

Wanted = Sequence[tuple[str, Ordered]]  # target, value


class Air:
    """Carries out cmd 3 and 4."""

    def __init__(self, actuator: Actuator, rests: Rests) -> None:
        self._actuator = actuator
        self._rests = rests
        self._turns: defaultdict[Role, asyncio.Lock] = defaultdict(asyncio.Lock)

    # --- cmd 3

    async def run(self, command: RunAirConditioner, trace: Trace) -> Outcome:
        """Set units running or standing by; one after the other, for compressors that start together trip a fuse."""
        units = self._units(command.cabinet, "airOperate")
        numbers = _numbers(command.number, units)
        if not numbers:
            return Refused("airId")
        value = RUN if command.run else STANDBY
        return _summed({number: await self._switch(command, number, units[number], value, trace) for number in numbers})

    async def _switch(
        self, command: RunAirConditioner, number: int, aim: tuple[str, str], value: int, trace: Trace
    ) -> Outcome:
        role = Role(command.cabinet, AIR, number)
        async with self._turns[role]:  # whether it may run is asked when a standby under way has ended
            if value == RUN and (why := self._rests.why_not(role)) is not None:
                trace.note(f"空调 {number}：{why}", f"air conditioner {number}: {why}")
                return Failed(why)
            key, target = aim
            try:
                outcome = await self._actuator.order(key, target, value, trace) if target else UNABLE
            finally:
                if value == STANDBY and not trace.dry:  # even if it was not confirmed, it may have stopped
                    self._rests.stopped(role)
            if value == RUN and isinstance(outcome, Done) and not trace.dry:
                self._rests.runs(role)
            return outcome

    # --- cmd 4

    async def set_temperatures(self, command: SetTemperatures, trace: Trace) -> Outcome:
        """Set one or both of the set points; of one unit both, or none if one of them cannot be."""
        cooling = self._units(command.cabinet, "autoRefrigerationTemp")
        heating = self._units(command.cabinet, "autoHeatingTemp")
        numbers = _numbers(command.number, cooling)
        if not numbers:
            return Refused("airId")
        outcomes = {}
        for number in numbers:
            async with self._turns[Role(command.cabinet, AIR, number)]:  # one is judged by what the other has set
                outcomes[number] = await self._set(command, cooling[number], heating[number][1], trace)
        return _summed(outcomes)

    async def _set(self, command: SetTemperatures, aim: tuple[str, str], heating_target: str, trace: Trace) -> Outcome:
        key, cooling_target = aim
        if command.cooling is not None and not cooling_target:
            return Failed("设备不支持制冷温度设定")
        if command.heating is not None and not heating_target:
            return Failed("设备不支持制热温度设定")
        wanted: list[tuple[str, Ordered]] = []
        if command.cooling is not None:
            wanted.append((cooling_target, command.cooling))
        if command.heating is not None:
            wanted.append((heating_target, command.heating))
        if cooling_target and heating_target:
            now = []
            for target in (cooling_target, heating_target):
                if isinstance(said := await self._actuator.read(key, target, trace), Failed):
                    return said
                now.append(Decimal(str(said)))
            cooling_now, heating_now = now
            if (why := _crossed(command, cooling_now, heating_now)) is not None:
                return why
            if command.cooling is not None and command.cooling <= heating_now:
                wanted.reverse()  # so that cooling is above heating at every moment
        return await self._actuator.order_together(key, wanted, trace)

    def _units(self, cabinet: int, field: str) -> Mapping[int, tuple[str, str]]:
        """Every unit of a cabinet with its device and what to order of it, '' if it cannot be ordered so."""
        found: dict[int, tuple[str, str]] = {}
        for aim in self._actuator.targets(cabinet, AIR, field):
            for number in aim.numbers:
                found[number] = (aim.device, aim.target)
        return found


def _crossed(command: SetTemperatures, cooling_now: Decimal, heating_now: Decimal) -> Failed | None:
    """A unit whose cooling begins where its heating does would do both at once (D13)."""
    if command.heating is None and command.cooling is not None and command.cooling <= heating_now:
        return Failed(f"须高于现有制热温度{heating_now}")
    if command.cooling is None and command.heating is not None and command.heating >= cooling_now:
        return Failed(f"须低于现有制冷温度{cooling_now}")
    return None


def _numbers(asked: int, units: Mapping[int, object]) -> Sequence[int]:
    """The units that are meant: 0 is every one; () if there is no such unit."""
    if asked == 0:
        return sorted(units)
    return [asked] if asked in units else ()


def _summed(outcomes: Mapping[int, Outcome]) -> Outcome:
    """One outcome of several units: done only when every one has done it (D13)."""
    failed = tuple(number for number, outcome in outcomes.items() if not isinstance(outcome, Done))
    if not failed:
        return Done()
    first = outcomes[failed[0]]
    if len(outcomes) == 1:
        return first
    return Partial(failed, first.why if isinstance(first, Failed) else "")
