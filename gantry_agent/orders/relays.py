"""Reboots (cmd 1, D10): a supply is cut for its time and comes back; both are read back before the answer is 1000.

A board that can time a pulse is given one write and ends it by its own clock, whatever becomes of this program; else
the end is in hand before the beginning (`field.actuator`). Where the answer could not reach the cloud afterwards – the
way to it, or this very PC, is what is rebooted – everything is checked, the answer goes first, and it is done a moment
later. What was rebooted when is stored before it is done, so that no restart makes the rest after it any shorter.
"""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from gantry_agent.command import Done, Failed, Outcome, Reboot
from gantry_agent.core import interlocks
from gantry_agent.field.actuator import Actuator
from gantry_agent.field.trace import Trace
from gantry_agent.model import Output, Relay, Site
from gantry_agent.orders.changes import REBOOTED
from gantry_agent.orders.modes import Modes, Place

log = logging.getLogger(__name__)

ANSWER_S = 1.5  # for the answer to leave, and to be remembered
BACK_S = 3.0  # for a supply to be read as back after its time: a write and its read-back
SYSTEMCTL_S = 30.0
ERROR_BYTES = 300
LOGIN = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")

Spawn = Callable[[str, Coroutine[Any, Any, None]], object]


class Memory(Protocol):
    """What the store gives."""

    async def set_setting(self, name: str, value: str | None) -> None: ...
    async def checkpoint(self) -> bool: ...


class Relays:
    """Carries out cmd 1. `rebooted` is when each relay was last cut, as an earlier run stored it (Unix seconds)."""

    def __init__(
        self,
        site: Site,
        actuator: Actuator,
        store: Memory,
        modes: Modes,
        spawn: Spawn,
        rebooted: Mapping[str, float],
    ) -> None:
        self._site = site
        self._relays = {relay.name: relay for relay in site.relays}
        self._actuator = actuator
        self._store = store
        self._modes = modes
        self._spawn = spawn
        wall, mono = time.time(), time.monotonic()
        self._last = {name: interlocks.taken_up(at, wall, mono) for name, at in rebooted.items()}

    def start(self) -> None:
        """Have what a killed run may have left cut let go; a pulse that a board times is left to end by itself."""
        for relay in self._relays.values():
            if relay.output is None:
                continue
            output = self._output(relay)
            self._modes.spare(relay.output, output.pulse_s if self._actuator.times_itself(output) else 0.0)

    def devices(self, name: str) -> frozenset[str]:
        """Name the device by which a relay cuts; none for this PC."""
        place = self._relays[name].output
        return frozenset() if place is None else frozenset({self._site.output(place).device})

    async def reboot(self, command: Reboot, trace: Trace) -> Outcome:
        """Cut what the relay feeds for its time, unless that must not be now."""
        relay = self._relays[command.relay]
        why = self._why_not(relay)
        if why is not None:
            trace.note(f"relay {relay.name}: {why}")
            return Failed(why)
        if relay.output is None:
            return await self._reboot_host(relay, trace)
        output = self._output(relay)
        timed = self._actuator.times_itself(output)
        if trace.dry:
            return await self._rehearse(output, trace, timed=timed)
        if output.feeds == "agent" and not timed:  # `check` refuses it, but a profile may have been changed
            return Failed("继电器不能自行计时")
        if isinstance(seen := await self._actuator.seen(output), Failed):
            trace.note(f"{output.device} {output.point} cannot be read ({seen.why}); nothing was written")
            return seen
        if output.feeds:
            if (why := self._why_not(relay)) is not None:  # another one came while the board was asked
                return Failed(why)
            await self._note(relay)
            trace.note(f"{output.name} feeds the {output.feeds}: answered first, done {ANSWER_S:g} s later")
            self._spawn(f"reboot {relay.name}", self._reboot_later(relay, relay.output, output))
            return Done()
        async with self._modes.lock(relay.output):
            if (why := self._why_not(relay)) is not None:  # while it waited for another one
                return Failed(why)
            await self._note(relay)
            return await self._cycle(relay.output, output, trace, timed=timed)

    # --- whether

    def _why_not(self, relay: Relay) -> str | None:
        if relay.output is not None and self._modes.cuts(relay.output):
            return "该输出已被供电模式切断"
        return interlocks.hold_off(self._last.get(relay.name), time.monotonic(), relay.hold_off_s)

    async def _note(self, relay: Relay) -> None:
        self._last[relay.name] = time.monotonic()
        await self._store.set_setting(f"{REBOOTED}{relay.name}", f"{time.time():.3f}")

    # --- how

    def _output(self, relay: Relay) -> Output:
        assert relay.output is not None
        return replace(self._site.output(relay.output), pulse_s=relay.pulse_s)

    async def _rehearse(self, output: Output, trace: Trace, *, timed: bool) -> Outcome:
        if timed:
            return await self._actuator.pulse(output, trace)
        outcome = await self._actuator.switch(output, trace, on=True)
        trace.note(f"{output.pulse_s:g} s later")
        return outcome if not isinstance(outcome, Done) else await self._actuator.switch(output, trace, on=False)

    async def _cycle(self, place: Place, output: Output, trace: Trace, *, timed: bool) -> Outcome:
        """Cut, wait, and see it come back; what is not seen to come back is looked after until it does."""
        if not timed:
            outcome = await self._actuator.switch(output, trace, on=True)
            if not isinstance(outcome, Done):  # what it may have done all the same is ended after the pulse's time
                return outcome
            back = await self._actuator.over(output, output.pulse_s + BACK_S)
            trace.note(f"output {output.name} is {'off again, read back' if back else 'not read back as off yet'}")
            return Done() if back else Failed("已断电，未确认恢复，重试中")
        outcome = await self._actuator.pulse(output, trace)
        if not isinstance(outcome, Done):
            self._modes.spare(place, output.pulse_s)  # and then looked at: it may have been cut all the same
            return outcome
        await asyncio.sleep(output.pulse_s)
        if await self._actuator.shows(output, trace, on=False):
            return Done()
        log.error("output %s is not seen off after its pulse of %g s", output.name, output.pulse_s)
        self._modes.spare(place, 0.0)
        return Failed("已断电，未按时恢复，重试中")

    async def _reboot_later(self, relay: Relay, place: Place, output: Output) -> None:
        await asyncio.sleep(ANSWER_S)
        if output.feeds == "agent":
            await self._flush()
        async with self._modes.lock(place):
            log.warning("rebooting %s for %g s, as ordered", relay.name, output.pulse_s)
            trace = Trace()
            outcome = await self._cycle(place, output, trace, timed=self._actuator.times_itself(output))
        if isinstance(outcome, Done):
            log.info("%s was rebooted", relay.name)
        else:
            log.error("cannot reboot %s: %s (%s)", relay.name, outcome, "; ".join(trace.steps))

    async def _flush(self) -> None:
        if not await self._store.checkpoint():
            log.warning("the disk does not take the state database now; what is only in memory will be lost")

    # --- this PC

    async def _reboot_host(self, relay: Relay, trace: Trace) -> Outcome:
        systemctl = shutil.which("systemctl")
        if systemctl is None:
            return Failed("本机没有systemctl")
        if (why := await refused_by_login()) is not None:
            trace.note(f"logind does not let this user reboot: {why}")
            return Failed("本机不允许重启(polkit)")
        if (why := self._why_not(relay)) is not None:  # another one came while logind was asked
            return Failed(why)
        trace.note(f"{systemctl} reboot, {ANSWER_S:g} s after the answer")
        if not trace.dry:
            await self._note(relay)
            self._spawn(f"reboot {relay.name}", self._reboot_host_later(relay, systemctl))
        return Done()

    async def _reboot_host_later(self, relay: Relay, systemctl: str) -> None:
        await asyncio.sleep(ANSWER_S)
        await self._flush()
        log.warning("rebooting this PC, as ordered")
        if (why := await run_to_end(systemctl, "reboot")) is None:
            return
        log.error("cannot reboot this PC: systemctl reboot %s (is the polkit rule installed?)", why)
        self._last.pop(relay.name, None)  # nothing was rebooted
        await self._store.set_setting(f"{REBOOTED}{relay.name}", None)


async def refused_by_login() -> str | None:
    """Ask logind whether it would reboot for us; None if it would, or if nobody can tell."""
    busctl = shutil.which("busctl")
    if busctl is None:
        return None
    ended, said = await _run(busctl, ("call", *LOGIN, "CanReboot"), SYSTEMCTL_S / 6)
    return said if ended is None and said and said.startswith("s ") and said != 's "yes"' else None


async def run_to_end(program: str, *arguments: str, within_s: float = SYSTEMCTL_S) -> str | None:
    """Run a program that asks nothing; None if it ended well, else what it said, or that it did not end in time."""
    return (await _run(program, arguments, within_s))[0]


async def _run(program: str, arguments: Sequence[str], within_s: float) -> tuple[str | None, str]:
    """Why a program did not end well, and what it wrote on its way."""
    pipe, quiet = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        child = await asyncio.create_subprocess_exec(program, *arguments, stdin=quiet, stdout=pipe, stderr=pipe)
    except OSError as fault:
        return f"cannot be run: {fault.strerror}", ""
    try:
        async with asyncio.timeout(within_s):
            out, said = await child.communicate()
    except TimeoutError:
        return f"did not end in {within_s:g} s", ""
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    text, told = (one[-ERROR_BYTES:].decode("utf-8", "replace").strip() for one in (said, out))
    return None if child.returncode == 0 else f"ended with {child.returncode}: {text}", told
