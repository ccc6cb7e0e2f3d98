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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Protocol

from gantry_agent.command import Done, Failed, Outcome, Reboot
from gantry_agent.core import interlocks
from gantry_agent.core.audit import Entry
from gantry_agent.core.cuts import Place
from gantry_agent.field.actuator import Actuator
from gantry_agent.field.trace import Trace
from gantry_agent.model import AgentError, Output, Relay, Site
from gantry_agent.orders import changes
from gantry_agent.orders.changes import REBOOTED
from gantry_agent.orders.modes import Modes
from gantry_agent.orders.promises import ANSWER_S, ANSWERED, Promises, Spawn, Work
from gantry_agent.orders.rests import AIR, Rests
from gantry_agent.text import Text

log = logging.getLogger(__name__)

BOARD_CLOCK = 1.02  # a board's own clock may run so much fast
WAITED_S = 20.4  # a cut that lasts longer is not waited for by the answer: the longest pulse of the site file
BACK_S = 3.0  # for a supply to be read as back after its time: a write and its read-back
SYSTEMCTL_S = 30.0
ERROR_BYTES = 300
LOGIN = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")


class Memory(Protocol):
    """What the store gives."""

    async def set_setting(self, name: str, value: str | None) -> None: ...
    async def note_requests(self, entries: Iterable[Entry]) -> None: ...
    async def checkpoint(self) -> bool: ...


class Relays:
    """Carries out cmd 1. `rebooted` is when each relay was last cut, as an earlier run stored it."""

    def __init__(
        self,
        site: Site,
        actuator: Actuator,
        store: Memory,
        modes: Modes,
        rests: Rests,
        spawn: Spawn,
        rebooted: Mapping[str, interlocks.Instant],
        promised: Mapping[str, str],
    ) -> None:
        self._site = site
        self._relays = {relay.name: relay for relay in site.relays}
        self._actuator = actuator
        self._store = store
        self._modes = modes
        self._rests = rests
        self._promises = Promises(store, spawn, promised, self._undo)
        wall, mono = time.time(), time.monotonic()
        done = {name: at for name, at in rebooted.items() if promised.get(name) != ANSWERED}
        self._last = {name: at.taken_up(wall, mono, rests.boot) for name, at in done.items()}

    def start(self) -> None:
        """Have what a killed run may have left cut let go; a pulse that a board times is left to end by itself."""
        for relay in self._relays.values():
            if relay.output is None:
                continue
            output = self._output(relay)
            left_s = output.pulse_s if self._actuator.times_itself(output) else 0.0
            if output.feeds == AIR:
                left_s = self._rests.left_s(relay.output) * BOARD_CLOCK
            self._modes.spare(relay.output, left_s)
        self._promises.start()

    def hurry(self) -> None:
        """The agent stops: do at once what was answered already, unless nobody would be there to end it."""
        self._promises.hurry()

    async def rest(self, limit_s: float) -> None:
        """Wait for that, so long."""
        await self._promises.rest(limit_s)

    async def reboot(self, command: Reboot, trace: Trace) -> Outcome:
        """Cut what the relay feeds for its time, unless that must not be now."""
        relay = self._relays[command.relay]
        why = self._why_not(relay)
        if why is not None:
            trace.note(f"继电器 {relay.name}：{why}", f"relay {relay.name}: {why}")
            return Failed(why)
        if relay.output is None:
            return await self._reboot_host(relay, trace)
        output = self._output(relay)
        if isinstance(timed := await self._timed(output, trace), Failed):
            return timed
        if trace.dry:
            return await self._rehearse(output, trace, timed=timed)
        if isinstance(seen := await self._actuator.seen(output), Failed):
            trace.devices.add(output.device)
            point = f"{output.device} {output.point}"
            trace.note(
                f"{point} 无法读取（{seen.why}）；未写入", f"{point} cannot be read ({seen.why}); nothing was written"
            )
            return seen
        if output.feeds and output.feeds != AIR:
            if (why := self._why_not(relay)) is not None:  # another one came while the board was asked
                return Failed(why)
            fed = Text("上行链路", "uplink") if output.feeds == "uplink" else Text("本机", "agent")
            trace.note(
                f"{output.name} 给{fed.zh}供电：先应答，{ANSWER_S:g} 秒后执行",
                f"{output.name} feeds the {fed.en}: answered first, done {ANSWER_S:g} s later",
            )
            place = relay.output
            await self._promise(relay, lambda t: self._reboot_later(relay, place, output, t, timed=timed), timed=timed)
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
        if relay.output is not None and self._rests.feeds_air(relay.output) and self._rests.is_cut(relay.output):
            left_s = self._rests.left_s(relay.output)
            return "尚未恢复供电" + (f"，还需{ceil(left_s)}秒" if left_s else "")
        why = interlocks.hold_off(self._last.get(relay.name), time.monotonic(), relay.hold_off_s)
        return "上次重启尚未结束" if why is None and self._promises.waits(relay.name) else why

    async def _note(self, relay: Relay) -> None:
        mono = self._last[relay.name] = time.monotonic()
        when = interlocks.Instant(time.time(), self._rests.boot, mono)
        await self._store.set_setting(f"{REBOOTED}{relay.name}", changes.written(when))

    async def _promise(self, relay: Relay, work: Work, *, timed: bool) -> None:
        self._last[relay.name] = time.monotonic()  # at once: another one may come while this is stored
        try:
            await self._promises.make(relay.name, work, outlives=timed)
        except AgentError:  # the disk: nothing is promised
            self._last.pop(relay.name, None)
            raise
        await self._note(relay)

    async def _undo(self, name: str) -> None:
        """Nothing was rebooted."""
        self._last.pop(name, None)
        await self._store.set_setting(f"{REBOOTED}{name}", None)

    # --- how

    def _output(self, relay: Relay) -> Output:
        """What a relay switches, and for how long: what feeds an air conditioner for its compressor's rest at least."""
        assert relay.output is not None
        output = self._site.output(relay.output)
        rest_s = self._rests.rest_s * BOARD_CLOCK if output.feeds == AIR else 0.0
        return replace(output, pulse_s=max(relay.pulse_s, rest_s))

    async def _timed(self, output: Output, trace: Trace) -> bool | Failed:
        """Whether the board is to time the cut, or this program, which cannot do so for its own supply."""
        why: Failed | None = Failed("继电器不能自行计时")  # `check` refuses that, but a profile may have been changed
        if self._actuator.times_itself(output):
            why = await self._actuator.mistimed(output, trace)
        if why is not None and output.feeds == "agent":
            return why
        return why is None

    async def _rehearse(self, output: Output, trace: Trace, *, timed: bool) -> Outcome:
        if timed:
            outcome = await self._actuator.pulse(output, trace)
            return self._answered(output) if isinstance(outcome, Done) else outcome
        outcome = await self._actuator.switch(output, trace, on=True)
        trace.note(f"{output.pulse_s:g} 秒后", f"{output.pulse_s:g} s later")
        if isinstance(outcome, Done):
            outcome = await self._actuator.switch(output, trace, on=False)
        return self._answered(output) if isinstance(outcome, Done) else outcome

    def _answered(self, output: Output) -> Outcome:
        """What the cloud hears of a supply that was cut: a rest that is too long to be waited for is told."""
        if output.pulse_s <= WAITED_S:
            return Done()
        return Failed(f"已断电，{interlocks.stays_cut(output.pulse_s)}")

    async def _cycle(self, place: Place, output: Output, trace: Trace, *, timed: bool) -> Outcome:
        """Cut, wait, and see it come back; what is not seen to come back is looked after until it does."""
        if output.feeds == AIR:
            return await self._cycle_air(place, output, trace, timed=timed)
        self._modes.spare(place, output.pulse_s + BACK_S)  # also when whoever ordered it waits no longer
        if not timed:
            await self._rests.cutting(place, output)
            outcome = await self._actuator.switch(output, trace, on=True)
            if not isinstance(outcome, Done):  # what it may have done all the same is ended after the pulse's time
                return outcome
            back = await self._actuator.over(output, output.pulse_s + BACK_S)
            said = Text("已恢复，回读确认", "is off again, read back")
            if back:
                await self._rests.saw(place, output, cut=False)
            else:
                said = Text("尚未回读到恢复", "is not read back as off yet")
            trace.note(f"输出 {output.name} {said.zh}", f"output {output.name} {said.en}")
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

    async def _cycle_air(self, place: Place, output: Output, trace: Trace, *, timed: bool) -> Outcome:
        """Cut what feeds an air conditioner until its compressor has rested, be this program there then or not."""
        if timed:
            await self._rests.cutting(place, output)
            outcome = await self._actuator.pulse(output, trace)
            self._modes.spare(place, output.pulse_s)  # and then looked at: it may have been cut all the same
            if isinstance(outcome, Done):
                await self._rests.saw(place, output, cut=True)
        else:
            outcome = await self._modes.cut_for_rest(place, output, trace)
        if not isinstance(outcome, Done) or not isinstance(told := self._answered(output), Done):
            return outcome if not isinstance(outcome, Done) else told
        await asyncio.sleep(output.pulse_s)
        if not timed:
            return await self._modes.give_back(place, output, trace)
        if await self._actuator.shows(output, trace, on=False):
            await self._rests.saw(place, output, cut=False)
            return Done()
        return Failed("已断电，未按时恢复，重试中")

    async def _reboot_later(self, relay: Relay, place: Place, output: Output, trace: Trace, *, timed: bool) -> Outcome:
        if output.feeds == "agent":
            await self._flush()
        async with self._modes.lock(place):
            log.warning("rebooting %s for %g s, as ordered", relay.name, output.pulse_s)
            return await self._cycle(place, output, trace, timed=timed)

    async def _flush(self) -> None:
        if not await self._store.checkpoint():
            log.warning("the disk does not take the state database now; what is only in memory will be lost")

    # --- this PC

    async def _reboot_host(self, relay: Relay, trace: Trace) -> Outcome:
        systemctl = shutil.which("systemctl")
        if systemctl is None:
            return Failed("本机没有systemctl")
        if (why := await refused_by_login()) is not None:
            trace.note(f"logind 不允许本用户重启：{why}", f"logind does not let this user reboot: {why}")
            return Failed("本机不允许重启(polkit)")
        if (why := self._why_not(relay)) is not None:  # another one came while logind was asked
            return Failed(why)
        trace.note(
            f"应答后 {ANSWER_S:g} 秒执行 {systemctl} reboot", f"{systemctl} reboot, {ANSWER_S:g} s after the answer"
        )
        if not trace.dry:
            await self._promise(relay, lambda t: self._reboot_host_later(relay, systemctl, t), timed=True)
        return Done()

    async def _reboot_host_later(self, relay: Relay, systemctl: str, trace: Trace) -> Outcome:
        await self._flush()
        log.warning("rebooting this PC, as ordered")
        if (why := await run_to_end(systemctl, "reboot")) is None:
            trace.note(f"{systemctl} reboot 已接受", f"{systemctl} reboot was taken")
            return Done()
        log.error("cannot reboot this PC: systemctl reboot %s (is the polkit rule installed?)", why)
        trace.note(f"{systemctl} reboot：{why}", f"{systemctl} reboot {why}")
        await self._undo(relay.name)
        return Failed("本机未能重启")


async def refused_by_login() -> str | None:
    """Ask logind whether it would reboot for us; None if it would, or if nobody can tell."""
    busctl = shutil.which("busctl")
    if busctl is None:
        return None
    ended, said = await _run(busctl, ("call", *LOGIN, "CanReboot"), SYSTEMCTL_S / 6)
    if ended is not None:  # logind answers with an error where polkit cannot be asked
        return ended if "Call failed" in ended else None
    return said if said.startswith("s ") and said != 's "yes"' else None


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
