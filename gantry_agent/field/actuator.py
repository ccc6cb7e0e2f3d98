"""Orders for hardware: Command → writes in the bus's command lane, confirmed by read-back → Outcome.

An order is Done only when the device was read and shows it. Orders for one output or unit are done one after the
other, never mixed. The end of a pulse is a task of its own, so that the cloud has its answer when the lock has opened,
not when it has closed again; it is tried until the device confirms it. A lock must not stay energised because this
process went: `rest` ends running pulses when it stops, `settle` ends at start what it left behind when it was killed.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from gantry_agent.command import Done, Failed, Outcome, Partial, Refused, RunAirConditioner, Unlock
from gantry_agent.field import codec, plan
from gantry_agent.field.poller import Poller
from gantry_agent.field.product import Profile
from gantry_agent.field.request import Timing, WriteRequest
from gantry_agent.field.rota import pause
from gantry_agent.field.trace import Trace
from gantry_agent.model import BadReply, Cabinet, DeviceRefused, NoReply, Output, Site

log = logging.getLogger(__name__)

READ_BACK_EVERY_S = 0.2
RETRY_S = 2.0  # a lock that is energised with its module silent is let go this soon after the module answers again
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
        self._ending: dict[str, asyncio.Task[None]] = {}  # ends of pulses and wishes under way, by output
        self._on: dict[str, Output] = {}  # what `hold` wishes to be on

    async def unlock(self, command: Unlock, trace: Trace) -> Outcome:
        """Switch the output that unlocks a door, and off again after its pulse."""
        cabinet = self._cabinet(command.cabinet)
        door = next((d for d in cabinet.doors if d.side == command.side), None) if cabinet else None
        if cabinet is None or door is None or door.unlock is None:
            return Refused("unlockDoorId")
        output = cabinet.outputs[door.unlock]
        if trace.dry:
            return await self.switch(output, trace, on=True)
        self._granted(command, output.pulse_s + cabinet.unlock_window_s)
        outcome = await self.switch(output, trace, on=True)
        if not isinstance(outcome, Done):
            self._granted(command, 0.0)  # a lock that opens after a failed order was opened by somebody else
        return outcome

    async def run_air_conditioner(self, command: RunAirConditioner, trace: Trace) -> Outcome:
        """Set one air conditioner, or every one of the cabinet, running or standing by (D13)."""
        units = self._air_conditioners(command.cabinet)
        numbers = sorted(units) if command.number == 0 else [command.number]
        if not numbers or any(number not in units for number in numbers):
            return Refused("airId")
        value = 1 if command.run else 2
        outcomes = [await self.order(*units[number], value, trace) for number in numbers]
        failed = tuple(n for n, outcome in zip(numbers, outcomes, strict=True) if not isinstance(outcome, Done))
        if not failed:
            return Done()
        return outcomes[0] if len(numbers) == 1 else Partial(failed)

    async def switch(self, output: Output, trace: Trace, *, on: bool) -> Outcome:
        """Switch an output, confirmed; one with a pulse goes back by itself."""
        pulse = on and output.pulse_s > 0 and not trace.dry
        if pulse:  # its end is in hand before it begins: whatever happens to this order, nothing stays on
            self._end_later(output, output.pulse_s)
        outcome = await self.order(output.device, output.point, int(on is not output.invert), trace)
        if pulse:  # and counts from when it went on
            self._end_later(output, output.pulse_s)
        return outcome

    def hold(self, output: Output, *, on: bool) -> None:
        """Bring an output where it is to stay, and try until it is confirmed; the newest wish counts."""
        if on:
            self._on[_name(output)] = output
        else:
            self._on.pop(_name(output), None)
        self._end_later(output, 0.0, on=on)

    def settle(self) -> None:
        """Switch off every output that is on for pulses only; for the start, when nobody knows what was left on."""
        for cabinet in self._site.cabinets:
            for output in cabinet.outputs.values():
                if output.pulse_s:
                    self._end_later(output, 0.0)

    async def rest(self, limit_s: float) -> None:
        """End what is on for a time only, within so long; for the stop, after which nobody could."""
        names = self._ending.keys() | self._on.keys()
        running = [o for c in self._site.cabinets for o in c.outputs.values() if _name(o) in names]
        for output in running:
            self._end_later(output, 0.0)
        tasks = [self._ending[_name(output)] for output in running if _name(output) in self._ending]
        if tasks:
            await asyncio.wait(tasks, timeout=limit_s)

    def _end_later(self, output: Output, after_s: float, *, on: bool = False) -> None:
        """Switch an output off (or on) in a while; what was to come before is not done any more.

        So a pulse begun again is ended once, after the newer one.
        """
        name = _name(output)
        if (earlier := self._ending.pop(name, None)) is not None:
            earlier.cancel()
        task = self._spawn(f"output {name}", self._bring(output, after_s, on=on))
        self._ending[name] = task
        task.add_done_callback(lambda done: self._ending.pop(name) if self._ending.get(name) is done else None)

    async def _bring(self, output: Output, after_s: float, *, on: bool) -> None:
        await asyncio.sleep(after_s)
        tries, value = 0, int(on is not output.invert)
        while not isinstance(outcome := await self.order(output.device, output.point, value, Trace()), Done):
            tries += 1
            if tries == 1:
                where = "on" if on else "off"
                log.error(
                    "cannot switch %s output %s (%s); trying until it is confirmed", where, _name(output), outcome
                )
            await asyncio.sleep(min(pause(tries), RETRY_S))
        if tries:
            log.info("output %s is %s after %d more tries", _name(output), "on" if on else "off", tries)
        if on and output.pulse_s:
            await self._bring(output, output.pulse_s, on=False)

    def _cabinet(self, number: int) -> Cabinet | None:
        return next((c for c in self._site.cabinets if c.number == number), None)

    def _air_conditioners(self, cabinet: int) -> dict[int, tuple[str, str]]:
        """Find the air conditioners of a cabinet that can be ordered: number → (device, target)."""
        found = {}
        for key, device in self._site.devices.items():
            if device.cabinet == cabinet:
                for number in device.roles.get(AIR, ()):
                    found[number] = (key, f"{AIR}[{number}].airOperate")
        return found

    async def order(self, key: str, target: str, value: int, trace: Trace) -> Outcome:
        """Write one value of a device (as `plan.write` has it) and wait for the read-back to show it.

        Orders for one target are done one after the other. A dry trace only notes what would be written.
        """
        device, profile = self._site.devices[key], self._profiles[key]
        try:
            write = plan.write(profile, device, target, value)
        except plan.UnknownWrite:
            return Failed("设备不支持")
        for request in write.requests:
            trace.note(f"{key} {target}={value}: {request}")
        if trace.dry:
            return Done()
        poller = self._pollers[device.bus]
        async with self._locks.setdefault((key, target), asyncio.Lock()):
            try:
                async with asyncio.timeout(ORDER_S):
                    unsure = await _write(poller, write.requests, profile.timing)
                    if write.confirm is None:
                        return unsure or Done()
                    outcome = await self._confirm(poller, key, write.confirm, trace)
                    return unsure or outcome if isinstance(outcome, Failed) else outcome
            except TimeoutError:
                return Failed("总线忙或已停")
            except DeviceRefused as e:
                return Failed(f"设备拒绝{e.code}")

    async def _confirm(self, poller: Poller, key: str, confirm: plan.Confirm, trace: Trace) -> Outcome:
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
                trace.note(f"{key} {confirm.point} reads {seen}")
                return Done()
            if time.monotonic() + READ_BACK_EVERY_S > deadline:
                trace.note(f"{key} {confirm.point} reads {seen}, not {confirm.expected}")
                return Failed(f"回读{seen}")
            await asyncio.sleep(READ_BACK_EVERY_S)


def _name(output: Output) -> str:
    """Name an output in the whole site."""
    return f"{output.device.partition('.')[0]}.{output.name}"


async def _write(poller: Poller, requests: Sequence[WriteRequest], timing: Timing) -> Failed | None:
    """Write, one after the other; return what to say if the read-back does not show it after all.

    A write whose answer was lost may have been done: that is for the read-back to say.
    """
    unsure = None
    for request in requests:
        try:
            await poller.transact(request, timing)
        except NoReply:
            unsure = Failed("设备无应答")
        except BadReply:
            unsure = Failed("设备应答有误")
    return unsure
