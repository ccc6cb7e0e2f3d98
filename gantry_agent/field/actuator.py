"""Orders for hardware: Command → writes in the bus's command lane, confirmed by read-back → Outcome.

An order is Done only when the device was read and shows it. Orders for one output or unit are done one after the
other, never mixed. The end of a pulse is a task of its own, so that the cloud has its answer when the lock has opened,
not when it has closed again; it is tried until the device confirms it. A lock must not stay energised because this
process went: `rest` ends running pulses when it stops, `settle` ends at start what it left behind when it was killed.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gantry_agent.command import Done, Failed, Outcome, Refused, Unlock
from gantry_agent.field import codec, plan_writes
from gantry_agent.field.poller import Poller
from gantry_agent.field.product import Profile
from gantry_agent.field.rota import pause
from gantry_agent.field.talk import GARBLED, READ_BACK_EVERY_S, SILENT, Talk, refused
from gantry_agent.field.trace import Trace
from gantry_agent.model import BadReply, Cabinet, DeviceRefused, NoReply, Output, Quality, Site, Value

log = logging.getLogger(__name__)

RETRY_S = 2.0  # a lock that is energised with its module silent is let go this soon after the module answers again
ORDER_S = 15.0  # the whole of one write with its read-back; a bus whose task has died does not hold an order for ever
LOOKED_S = 5.0  # for what stands in rows: at the start they are looked for first
BUSY = Failed("总线忙或已停")

Spawn = Callable[[str, Coroutine[Any, Any, None]], "asyncio.Task[None]"]  # gives a task to its owner, by name
Granted = Callable[[Unlock, float], None]  # an unlocking is about to explain an opening, for so many seconds (D21)


@dataclass(frozen=True, slots=True)
class Aim:
    """What to order of which device, and the numbers of the units that do it then; target '' if it cannot be."""

    device: str
    target: str
    numbers: tuple[int, ...]


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
        self._explained: dict[str, float] = {}  # until when an unlocking that was done explains an opening, by output

    async def unlock(self, command: Unlock, trace: Trace) -> Outcome:
        """Switch the output that unlocks a door, and off again after its pulse."""
        cabinet = self._cabinet(command.cabinet)
        door = next((d for d in cabinet.doors if d.side == command.side), None) if cabinet else None
        if cabinet is None or door is None or door.unlock is None:
            return Refused("unlockDoorId")
        output = cabinet.outputs[door.unlock]
        if trace.dry:
            return await self.switch(output, trace, on=True)
        within_s, name = output.pulse_s + cabinet.unlock_window_s, _name(output)
        self._granted(command, within_s)
        outcome = await self.switch(output, trace, on=True)
        if isinstance(outcome, Done):
            self._explained[name] = time.monotonic() + within_s
        else:  # a lock that opens after a failed order was opened by somebody else, or by the order before it
            self._granted(command, max(0.0, self._explained.get(name, 0.0) - time.monotonic()))
        return outcome

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

    async def bring(self, output: Output, trace: Trace, *, on: bool) -> Outcome:
        """Switch an output that stays so, confirmed; whatever was still to be done with it is not done any more."""
        if not trace.dry:
            self._forget(output)
        return await self.order(output.device, output.point, int(on is not output.invert), trace)

    async def over(self, output: Output, within_s: float) -> bool:
        """Wait for the end of an output's pulse; tell whether it was confirmed by then. It is tried on if not."""
        task = self._ending.get(_name(output))
        if task is None:
            return True
        await asyncio.wait({task}, timeout=within_s)
        return task.done() and not task.cancelled()

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
        self._forget(output)
        task = self._spawn(f"output {name}", self._bring(output, after_s, on=on))
        self._ending[name] = task
        task.add_done_callback(lambda done: self._ending.pop(name) if self._ending.get(name) is done else None)

    def _forget(self, output: Output) -> None:
        if (earlier := self._ending.pop(_name(output), None)) is not None:
            earlier.cancel()

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

    def targets(self, cabinet: int, member: str, field: str) -> tuple[Aim, ...]:
        """What has to be ordered so that every unit of a cabinet does it; `field` is an order of the interface.

        A device that cannot be ordered so stands there as well: that its units do not do it must be told.
        """
        found: list[Aim] = []
        for key, device in self._site.devices.items():
            if device.cabinet != cabinet or member in device.skip or not device.roles.get(member):
                continue
            able = plan_writes.targets(self._profiles[key], device, member, field)
            found += [Aim(key, one.name, one.numbers) for one in able]
            if unable := set(device.roles[member]).difference(*(one.numbers for one in able)):
                found.append(Aim(key, "", tuple(sorted(unable))))
        return tuple(found)

    async def read(self, key: str, target: str, trace: Trace) -> Value | Failed:
        """Read what an order of the interface would change, such as a set point; in its own unit."""
        device, profile = self._site.devices[key], self._profiles[key]
        poller = self._pollers[device.bus]
        trace.devices.add(key)
        try:
            blocks = plan_writes.reading(profile, device, target, poller.located(key))
            async with asyncio.timeout(ORDER_S):
                seen = await Talk(poller, self._site.buses[device.bus].kind, device, profile, trace).told(blocks)
        except plan_writes.UnknownWrite as e:
            trace.add(e.text)
            return Failed(e.why)
        except TimeoutError:
            return BUSY
        except DeviceRefused as e:
            trace.note(f"设备拒绝：{e.text.zh}", f"refused: {e}")
            return refused(e, self._site.buses[device.bus].kind)
        if isinstance(seen, Failed):
            return seen
        value = next(iter(seen.values()), Quality.NOT_SUPPORT)
        return Failed(f"读数{value}") if isinstance(value, Quality) else value

    async def order(self, key: str, target: str, value: plan_writes.Ordered, trace: Trace) -> Outcome:
        """Write one value of a device (as `plan_writes.write` has it) and wait for the read-back to show it.

        Orders for one target are done one after the other, and so are all that the interface has for one device. A dry
        trace only notes what would be written; what that depends on is read.
        """
        return await self.order_together(key, ((target, value),), trace)

    async def order_together(
        self, key: str, orders: Sequence[tuple[str, plan_writes.Ordered]], trace: Trace
    ) -> Outcome:
        """Write several values of one device at once, as `order` does one."""
        device, profile = self._site.devices[key], self._profiles[key]
        await self._looked(key, orders[0][0])
        located = self._pollers[device.bus].located(key)

        def planned() -> plan_writes.Write:
            return plan_writes.together(
                [plan_writes.write(profile, device, target, value, located) for target, value in orders]
            )

        said = ", ".join(f"{key} {target}={value}" for target, value in orders)
        trace.note(said, said)
        return await self._carry_out(key, orders[0][0], planned, trace)

    async def pulse(self, output: Output, trace: Trace) -> Outcome:
        """Have the device itself keep an output on for its pulse; done when it shows so, and ended by the device."""
        device, profile = self._site.devices[output.device], self._profiles[output.device]
        value, located = int(not output.invert), self._pollers[device.bus].located(output.device)
        said = f"{output.device} {output.point}={value}"
        trace.note(
            f"{said}，{output.pulse_s:g} 秒，由设备计时", f"{said} for {output.pulse_s:g} s, timed by the device"
        )
        return await self._carry_out(
            output.device,
            output.point,
            lambda: plan_writes.pulse(profile, device, output.point, value, output.pulse_s, located),
            trace,
        )

    def can_switch(self, output: Output) -> bool:
        """Tell whether the site has that contact."""
        return output.device in self._profiles and output.point in self._profiles[output.device].writable

    def times_itself(self, output: Output) -> bool:
        """Tell whether the output's device can end its pulse by its own clock."""
        value = int(not output.invert)
        return plan_writes.can_pulse(self._profiles[output.device], output.point, value, output.pulse_s)

    async def mistimed(self, output: Output, trace: Trace) -> Failed | None:
        """Tell why a device in which the length is set would not time this pulse as it is meant; None if it would."""
        device, profile = self._site.devices[output.device], self._profiles[output.device]
        value, poller = int(not output.invert), self._pollers[device.bus]
        try:
            located = poller.located(output.device)
            write = plan_writes.pulse(profile, device, output.point, value, output.pulse_s, located)
            if (stage := plan_writes.preset(write)) is None:
                return None
            async with asyncio.timeout(ORDER_S):
                return await Talk(poller, self._site.buses[device.bus].kind, device, profile, trace).not_ready(stage)
        except plan_writes.UnknownWrite as e:
            trace.add(e.text)
            return Failed(e.why)
        except TimeoutError:
            return BUSY
        except DeviceRefused as e:
            return refused(e, self._site.buses[device.bus].kind)

    async def shows(self, output: Output, trace: Trace, *, on: bool) -> bool:
        """Read back, within the time of an output, until it is on, or off; nothing is written."""
        proof = self._proof(output)
        deadline = time.monotonic() + (proof.within_s if proof else 0.0)
        seen = await self.seen(output)
        while seen is not on and time.monotonic() < deadline:
            await asyncio.sleep(READ_BACK_EVERY_S)
            seen = await self.seen(output)
        point, read = f"{output.device} {output.point}", seen.why if isinstance(seen, Failed) else seen
        trace.note(f"输出 {output.name}：{point} 回读 {read}", f"{point} for output {output.name} reads {read}")
        return seen is on

    async def seen(self, output: Output) -> bool | Failed:
        """Read once whether an output is on."""
        device, profile = self._site.devices[output.device], self._profiles[output.device]
        await self._looked(output.device, output.point)
        proof = self._proof(output)
        if proof is None:
            return Failed("设备无回读")
        try:
            async with asyncio.timeout(ORDER_S):
                reply = await self._pollers[device.bus].transact(proof.block.request, profile.timing)
            values = codec.decode(proof.block, reply, profile, device).values()
        except TimeoutError:
            return BUSY
        except DeviceRefused as e:
            return refused(e, self._site.buses[device.bus].kind)
        except NoReply:
            return SILENT
        except BadReply:
            return GARBLED
        return all(proof.shown_by(value) for value in values)

    def _proof(self, output: Output) -> plan_writes.Confirm | None:
        """What is read to know whether an output is on; None if nothing is, or its row was not found."""
        device, profile = self._site.devices[output.device], self._profiles[output.device]
        located = self._pollers[device.bus].located(output.device)
        try:
            return plan_writes.write(profile, device, output.point, int(not output.invert), located).confirm
        except plan_writes.UnknownWrite:
            return None

    async def _looked(self, key: str, target: str) -> None:
        """Wait until the rows of an output have been looked for once; before, nothing could be told of it."""
        found, poller = self._profiles[key].switched(target), self._pollers[self._site.devices[key].bus]
        if found is not None and found.table is not None and found.table.name not in poller.located(key).rows:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOKED_S):
                    await poller.looked.wait()

    async def _carry_out(
        self, key: str, target: str, plan_it: Callable[[], plan_writes.Write], trace: Trace
    ) -> Outcome:
        device, profile = self._site.devices[key], self._profiles[key]
        trace.devices.add(key)
        try:
            write = plan_it()
        except plan_writes.UnknownWrite as e:
            trace.add(e.text)
            return Failed(e.why)
        talk = Talk(self._pollers[device.bus], self._site.buses[device.bus].kind, device, profile, trace)
        lock = self._locks.setdefault((key, target if profile.switched(target) else ""), asyncio.Lock())
        async with lock:
            try:
                async with asyncio.timeout(ORDER_S):
                    return await (talk.rehearse(write) if trace.dry else talk.carry_out(write))
            except TimeoutError:
                return BUSY
            except DeviceRefused as e:
                trace.note(f"设备拒绝：{e.text.zh}", f"refused: {e}")
                return refused(e, self._site.buses[device.bus].kind)


def _name(output: Output) -> str:
    """Name an output in the whole site."""
    return f"{output.device.partition('.')[0]}.{output.name}"
