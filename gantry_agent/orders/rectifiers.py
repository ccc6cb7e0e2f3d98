"""Rectifiers on and off (cmd 8): every one of a cabinet, by the group object where the product has one.

Off leaves the cabinet to its battery, so it is refused while the battery could not carry it (`core.interlocks`).
"""

import math
import time
from collections.abc import Callable, Mapping

from gantry_agent.command import Done, Failed, Outcome, SwitchRectifiers
from gantry_agent.core import interlocks
from gantry_agent.field.actuator import Actuator
from gantry_agent.field.trace import Trace
from gantry_agent.model import Site, Snapshot

RECTIFIER = "rectifier"
SHOWN_S = 3.0  # after they are off, besides two rounds of readings: until the battery reads as discharging


class Rectifiers:
    """Carries out cmd 8."""

    def __init__(
        self,
        actuator: Actuator,
        site: Site,
        snapshots: Callable[[], Mapping[int, Snapshot]],
        tested: Callable[[int], bool],
    ) -> None:
        self._actuator = actuator
        self._limits = site.interlocks
        self._snapshots = snapshots
        self._shown_s = SHOWN_S + 2 * site.slow_s
        self._off_until: dict[int, float] = {}  # until when readings may not show yet that a cabinet's are off
        self._tested = tested  # whether a battery of a cabinet is, which readings show only seconds later

    def going_off(self, cabinet: int) -> bool:
        """Tell whether a cabinet's were just told to be off, which readings do not show yet."""
        return time.monotonic() < self._off_until.get(cabinet, -math.inf)

    async def switch(self, command: SwitchRectifiers, trace: Trace) -> Outcome:
        """Switch all rectifiers of the cabinet; those that did not do it are named."""
        aims = self._actuator.targets(command.cabinet, RECTIFIER, "onOff")
        if not aims:
            return Failed("该机柜没有整流模块")
        if not command.on:
            why = interlocks.rectifier_off(self._snapshots()[command.cabinet], self._limits)
            if why is None and self._tested(command.cabinet):
                why = "电池正在测试"
            if why is not None:
                trace.note(f"整流模块保持开启：{why}", f"rectifiers stay on: {why}")
                return Failed(why)
        if not all(aim.target for aim in aims):
            return Failed("设备不支持")
        off = not command.on and not trace.dry
        if off:
            self._off_until[command.cabinet] = math.inf
        try:
            outcomes = [await self._actuator.order(aim.device, aim.target, int(command.on), trace) for aim in aims]
        finally:
            if off:  # also what was not confirmed may be off
                self._off_until[command.cabinet] = time.monotonic() + self._shown_s
        for aim, outcome in zip(aims, outcomes, strict=True):
            if not isinstance(outcome, Done):
                return _named(outcome, aim.numbers, several=len(aims) > 1)
        if command.on and not trace.dry:
            self._off_until.pop(command.cabinet, None)
        return Done()


def _named(outcome: Outcome, numbers: tuple[int, ...], *, several: bool) -> Outcome:
    """Say which modules an outcome is of, where it is not of all."""
    if not several or not isinstance(outcome, Failed) or "号" in outcome.why:
        return outcome
    return Failed(f"{'、'.join(map(str, numbers))}号{outcome.why}")
