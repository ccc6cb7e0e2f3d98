"""Orders for hardware: Command → writes in the bus's command lane, confirmed by read-back → Outcome.

An order is Done only when the device was read and shows it. Orders for one output or unit are done one after the
other, never mixed. The end of a pulse is a task of its own, so that the cloud has its answer when the lock has opened,
not when it has closed again; it is tried until the device confirms it. A lock must not stay energised because this
process went: `rest` ends running pulses when it stops, `settle` ends at start what it left behind when it was killed.
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

Spawn = Callable[[str, Coroutine[Any, Any, None]], "asyncio.Task[None]"]  # gives a task to its owner, by name
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
        self._ending: dict[str, asyncio.Task[None]] = {}  # ends of pulses under way, by output

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
            self._end_later(output, output.pulse_s)
        return outcome

    def settle(self) -> None:
        """Switch off every output that is on for pulses only; for the start, when nobody knows what was left on."""
        for cabinet in self._site.cabinets:
            for output in cabinet.outputs.values():
                if output.pulse_s:
                    self._end_later(output, 0.0)

    async def rest(self, limit_s: float) -> None:
        """End the pulses that are running, within so long; for the stop."""
        running = [o for c in self._site.cabinets for o in c.outputs.values() if _name(o) in self._ending]
        for output in running:
            self._end_later(output, 0.0)
        tasks = [self._ending[_name(output)] for output in running if _name(output) in self._ending]
        if tasks:
            await asyncio.wait(tasks, timeout=limit_s)

    def _end_later(self, output: Output, after_s: float) -> None:
        """End a pulse in a while; a pulse begun again is ended once, after the newer one."""
        name = _name(output)
        if (earlier := self._ending.pop(name, None)) is not None:
            earlier.cancel()
        task = self._spawn(f"end of pulse {name}", self._end_pulse(output, after_s))
        self._ending[name] = task
        task.add_done_callback(lambda done: self._ending.pop(name) if self._ending.get(name) is done else None)

    async def _end_pulse(self, output: Output, after_s: float) -> None:
        await asyncio.sleep(after_s)
        tries = 0
        while not isinstance(outcome := await self._order(output.device, output.point, int(output.invert)), Done):
            tries += 1
            if tries == 1:
                log.error("cannot switch off output %s (%s); trying until it is confirmed", _name(output), outcome)
            await asyncio.sleep(pause(tries))
        if tries:
            log.info("output %s is off after %d more tries", _name(output), tries)

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


def _name(output: Output) -> str:
    """Name an output in the whole site."""
    return f"{output.device.partition('.')[0]}.{output.name}"
