"""Orders for hardware: Command → writes in the bus's command lane, confirmed by read-back → Outcome.

An order is Done only when the device was read and shows it. Orders for one output or unit are done one after the
other, never mixed. The end of a pulse is a task of its own, so that the cloud has its answer when the lock has opened,
not when it has closed again; it is tried until the device confirms it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from gantry_agent.field import codec, plan
from gantry_agent.field.poller import Poller
from gantry_agent.field.product import Profile
from gantry_agent.field.rota import pause
from gantry_agent.model import (
    BadReply,
    Cabinet,
    DeviceRefused,
    Done,
    Failed,
    NoReply,
    Outcome,
    Output,
    Partial,
    Refused,
    RunAirConditioner,
    Site,
    Unlock,
)

log = logging.getLogger(__name__)

READ_BACK_EVERY_S = 0.2
ORDER_S = 15.0  # the whole of one write with its read-back; a bus whose task has died does not hold an order for ever
AIR = "airConditioners"

Spawn = Callable[[str, Coroutine[Any, Any, None]], object]  # gives a task to its owner, by name
Granted = Callable[[Unlock, float], None]  # an unlocking is about to explain an opening, for so many seconds (D21)


class Actuator:
    """Carries out what moves something."""

    def __init__(
        self, site: Site, profiles: Mapping[str, Profile], pollers: Mapping[str, Poller], spawn: Spawn, granted: Granted
    ) -> None:
        self._site = site
        self._profiles = profiles
        self._pollers = pollers  # by bus
        self._spawn = spawn
        self._granted = granted
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def unlock(self, command: Unlock) -> Outcome:
        """Switch the output that unlocks a door, and off again after its pulse."""
        cabinet = self._cabinet(command.cabinet)
        door = next((d for d in cabinet.doors if d.side == command.side), None) if cabinet else None
        if cabinet is None or door is None or door.unlock is None:
            return Refused("unlockDoorId")
        output = cabinet.outputs[door.unlock]
        self._granted(command, output.pulse_s + cabinet.unlock_window_s)
        return await self.switch(output, on=True)

    async def run_air_conditioner(self, command: RunAirConditioner) -> Outcome:
        """Set one air conditioner, or every one of the cabinet, running or standing by (D13)."""
        units = self._air_conditioners(command.cabinet)
        numbers = sorted(units) if command.number == 0 else [command.number]
        if not numbers or any(number not in units for number in numbers):
            return Refused("airId")
        value = 1 if command.run else 2
        outcomes = [await self._order(*units[number], value) for number in numbers]
        failed = tuple(n for n, outcome in zip(numbers, outcomes, strict=True) if not isinstance(outcome, Done))
        if not failed:
            return Done()
        return outcomes[0] if len(numbers) == 1 else Partial(failed)

    async def switch(self, output: Output, *, on: bool) -> Outcome:
        """Switch an output, confirmed; one with a pulse goes back by itself."""
        value = int(on is not output.invert)
        outcome = await self._order(output.device, output.point, value)
        if on and output.pulse_s:  # also after a failure: an output that went on unconfirmed must not stay on
            self._spawn(f"end of pulse {output.name}", self._end_pulse(output, 1 - value))
        return outcome

    async def _end_pulse(self, output: Output, value: int) -> None:
        await asyncio.sleep(output.pulse_s)
        tries = 0
        while not isinstance(outcome := await self._order(output.device, output.point, value), Done):
            tries += 1
            if tries == 1:
                log.error("cannot end the pulse of output %s (%s); trying until it is confirmed", output.name, outcome)
            await asyncio.sleep(pause(tries))
        if tries:
            log.info("the pulse of output %s has ended after %d more tries", output.name, tries)

    def _cabinet(self, number: int) -> Cabinet | None:
        return next((c for c in self._site.cabinets if c.number == number), None)

    def _air_conditioners(self, cabinet: int) -> dict[int, tuple[str, str]]:
        """Find the air conditioners of a cabinet that can be ordered: number → (device, target)."""
        found = {}
        for key, device in self._site.devices.items():
            if device.cabinet == cabinet:
                for instance, number in enumerate(device.roles.get(AIR, ()), start=1):
                    found[number] = (key, f"{AIR}[{instance}].airOperate" if instance > 1 else f"{AIR}.airOperate")
        return found

    async def _order(self, key: str, target: str, value: int) -> Outcome:
        """Write one value and wait for the read-back to show it."""
        device, profile = self._site.devices[key], self._profiles[key]
        try:
            write = plan.write(profile, device, target, value)
        except plan.UnknownWrite:
            return Failed("设备不支持")
        poller = self._pollers[device.bus]
        async with self._locks.setdefault((key, target), asyncio.Lock()):
            try:
                async with asyncio.timeout(ORDER_S):
                    for request in write.requests:
                        await poller.transact(request, profile.timing)
                    return await self._confirm(poller, key, write.confirm) if write.confirm else Done()
            except TimeoutError:
                return Failed("总线忙或已停")
            except NoReply:
                return Failed("设备无应答")
            except BadReply:
                return Failed("设备应答有误")
            except DeviceRefused as e:
                return Failed(f"设备拒绝{e.code}")

    async def _confirm(self, poller: Poller, key: str, confirm: plan.Confirm) -> Outcome:
        """Read back until the point shows what was ordered; a read that fails on the way is tried again in time."""
        device, profile = self._site.devices[key], self._profiles[key]
        deadline = time.monotonic() + confirm.within_s
        seen: object = None
        while True:
            try:
                reply = await poller.transact(confirm.block.request, profile.timing)
                seen = codec.decode(confirm.block, reply, profile, device).get(confirm.point)
            except (NoReply, BadReply):
                seen = "无应答"
            if seen == confirm.expected:
                return Done()
            if time.monotonic() + READ_BACK_EVERY_S > deadline:
                return Failed(f"回读{seen}")
            await asyncio.sleep(READ_BACK_EVERY_S)
