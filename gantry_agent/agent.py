"""The composition root: Config in, running agent out.

Here the storeys meet: buses hand readings to the monitor, the monitor's events go to the reporter, the reporter's
records to the outbox, the uplink empties it; control's commands go to the actuator and to the settings. This module
decides nothing about devices, payloads or answers; it owns the one current `Watch` and the order of start and stop.
"""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Any

from gantry_agent.cloud.control import Control
from gantry_agent.cloud.execution import Execution
from gantry_agent.cloud.uplink import Pace, Uplink, UplinkState
from gantry_agent.command import (
    AskBatteryTest,
    Command,
    Defend,
    Outcome,
    Reboot,
    RunAirConditioner,
    SetFrequency,
    SetPowerMode,
    SetServer,
    SetTemperatures,
    SetWhitelist,
    SwitchRectifiers,
    TestBattery,
    Unlock,
    UpdateNow,
)
from gantry_agent.config import Config
from gantry_agent.console import door
from gantry_agent.core import monitor, told
from gantry_agent.diary import Diary, boot, series_of
from gantry_agent.doctor import Doctor, Step, bus_of, device_of
from gantry_agent.field.actuator import Actuator
from gantry_agent.field.bus import open_link
from gantry_agent.field.bus.recorder import RING_BYTES
from gantry_agent.field.bus.traps import Traps
from gantry_agent.field.poller import Poller
from gantry_agent.field.unit import Lanes
from gantry_agent.media import Capturer
from gantry_agent.model import Channel
from gantry_agent.orders import Carry, Orders
from gantry_agent.orders.air import Air
from gantry_agent.orders.battery import Batteries
from gantry_agent.orders.cards import Cards
from gantry_agent.orders.changes import CHANNELS, Changes, Effects, Overrides, read_overrides
from gantry_agent.orders.listeners import Listeners
from gantry_agent.orders.modes import Modes
from gantry_agent.orders.openings import Openings
from gantry_agent.orders.rectifiers import Rectifiers
from gantry_agent.orders.relays import Relays
from gantry_agent.orders.rests import Rests
from gantry_agent.orders.shell import Resets, Shell
from gantry_agent.orders.strays import followed
from gantry_agent.reporter import Reporter
from gantry_agent.store import Bounds, Counts, Outage, Store, lock
from gantry_agent.supervisor import Supervisor, notify
from gantry_agent.text import Text
from gantry_agent.ticks import Ticks
from gantry_agent.watcher import Watcher

log = logging.getLogger(__name__)

LISTEN_S, LISTEN_MORE_S = 15.0, 4.0  # a silent device is asked three times in this
FIRST_LOOK_S = 10.0  # the first status waits this long for everything to have been read
CONTROL_STOP_S = 8.0  # its own grace for commands under way, and for their answers to leave
REST_S = 3.0  # for the ends of running pulses when the agent stops
PROMISES_S = 4.0  # for reboots that were answered already; with the others less than TimeoutStopSec of the unit
FORGET_S = 600.0
OUTAGES_S, OUTAGES_TOLD = 7 * 86_400.0, 20  # what `doctor` tells of "why were you offline?"
STEADY_S = 3600.0  # a clock that was stepped is believed after so long: one that jumped by years must cost no records
DATABASE = "agent.db"
DOOR = door.NAME
AUDIT_S = 3600.0  # between two notes of the newest mark in the log


def build_pollers(config: Config, watcher: Watcher) -> dict[str, Poller]:
    """Build one poller per bus that has devices."""
    site = config.site
    lanes = Lanes(site.fast_s, site.slow_s, site.misses)
    pollers = {}
    for bus in site.buses.values():
        mine = [(d, config.profiles[d.key]) for d in site.devices.values() if d.bus == bus.name]
        if mine:
            pollers[bus.name] = Poller(open_link(bus), mine, lanes, watcher.hand_over)
    for poller in pollers.values():
        poller.journal.recorder.limit = RING_BYTES // len(pollers)
    return pollers


async def first_look(pollers: Mapping[str, Poller], limit_s: float) -> None:
    """Wait until everything was read once, at most so long."""
    try:
        async with asyncio.timeout(limit_s):
            for poller in pollers.values():
                await poller.looked.wait()
    except TimeoutError:
        slow = [name for name, poller in pollers.items() if not poller.looked.is_set()]
        log.info("not everything on %s was read within %g s", ", ".join(slow), limit_s)


class Agent:
    """A running gantry agent; `run` returns when it has been told to stop."""

    def __init__(
        self,
        config: Config,
        store: Store,
        overrides: Overrides,
        supervisor: Supervisor,
        past: monitor.Past = monitor.NO_PAST,
    ) -> None:
        self._config = config
        self._store = store
        self._supervisor = supervisor
        site = config.site
        self.watcher = Watcher(config, past, overrides.defended & {cabinet.number for cabinet in site.cabinets})
        self.pollers = build_pollers(config, self.watcher)
        cloud = config.cloud
        pace = Pace(spacing_s=60.0 / cloud.backlog_per_minute)
        self.changes = Changes(site, cloud.server, cloud.interval_s, overrides, store)
        self.uplink = Uplink(store, self.changes.server, cloud.auth, tls=cloud.tls, proxy=cloud.proxy, pace=pace)
        self.traps = Traps(config.traps, site.buses.values(), self._hint) if config.traps else None
        self.reporter = Reporter(site, lambda: self.watcher.watch, store.put, self.uplink.wake, self._look)
        self.watcher.reporter = self.reporter
        self.watcher.sound = self._sound
        self.watcher.pin = self._pin
        self.doctor = Doctor(config, self.pollers, running=True)
        self.door = door.Door(config.storage / door.NAME, self._answer)
        self.ticks = Ticks(site.gantry_id, Diary(store, series_of(site)))
        self.actuator = Actuator(site, config.profiles, self.pollers, supervisor.spawn, self.watcher.granted)
        self.changes.effects = Effects(
            self.uplink.wake,
            self._retick,
            self.reporter.report,
            lambda cabinet, on: self.watcher.defend(cabinet, on=on),
            supervisor.spawn,
        )
        rests = Rests(site, store, overrides.cut, boot=boot())
        self.watcher.heard.append(rests.heard)
        self.air = Air(self.actuator, rests)
        self.modes = Modes(site, self.actuator, store, rests, overrides.power_mode, overrides.cut)
        self.relays = Relays(
            site, self.actuator, store, self.modes, rests, supervisor.spawn, overrides.rebooted, overrides.promised
        )
        spawn, granted = supervisor.spawn, self.watcher.granted
        self.cards = Cards(site, config.profiles, self.pollers, store, self.actuator, spawn, granted, overrides.day)
        self.watcher.first.append(self.cards.heard)
        self.batteries = Batteries(
            site, config.profiles, self.pollers, self.actuator, lambda: self.watcher.watch, store, supervisor.spawn
        )
        self.watcher.heard.append(self.batteries.see)
        snapshots = lambda: self.watcher.watch.snapshots  # noqa: E731
        self.rectifiers = Rectifiers(self.actuator, site, snapshots, self.batteries.tests)
        self.batteries.supply_cut = self.rectifiers.going_off
        self.orders = Orders(self._table(), self._keep_frames)
        tolerance_s = config.control.clock_tolerance_s
        self.execution = Execution(site, self.orders.carry_out, store, time.time, tolerance_s=tolerance_s)
        self.cards.note = self.modes.note = self.execution.note
        self.execution.present = self._present
        self.listeners = Listeners(site, config.profiles, self.pollers, self.execution.note, self._hint)
        self.watcher.first.append(self.listeners.heard)
        self.capturer = Capturer(site.cameras, config.media, config.storage / "media", site.timezone, supervisor.spawn)
        self.watcher.changed.append(self.capturer.note)
        auth = config.cloud.auth
        self.control = Control(config.control, site, auth, self.execution, time.time, media=self.capturer)
        self.watcher.changed.append(Openings(self.execution.note, time.monotonic).hear)
        self.shell = Shell(site, self.orders, self.execution, time.time, Resets(store, self.changes, self.modes))

    def start(self, ready: asyncio.Event) -> None:
        """Give every task to the supervisor; `ready` is set when the control port listens."""
        keep = self._supervisor.keep
        for name, poller in self.pollers.items():
            keep(f"bus {name}", poller.run, progress=lambda p=poller: p.progress)  # type: ignore[misc]
        for channel in CHANNELS:
            keep(f"uplink {channel}", lambda c=channel: self.uplink.run(c))  # type: ignore[misc]
        if self.traps:
            keep("traps", self.traps.run)
        for pushes in self.listeners.pushes:
            keep(f"events on {pushes.listen}", pushes.run)
        keep("reporter", self.reporter.run)
        keep("control", lambda: self.control.run(ready))
        keep("local door", self.door.run)
        keep("ticks", self.ticks.run)
        for name, stream in self.capturer.streams():
            keep(name, stream.run)
        keep("power mode", self.modes.run)
        keep("cards", self.cards.run)
        keep("listeners", self.listeners.run)
        keep("age", self._forget)
        keep("battery tests", self.batteries.run)
        keep("audit", self._anchor)
        keep("watchdog", self._supervisor.watchdog)
        self._supervisor.spawn("first status", self._first_status())
        self._supervisor.spawn("tidy media", self.capturer.tidy())
        self.actuator.settle()
        self.relays.start()
        for cabinet in self._config.site.cabinets:  # as it is to be, whatever a killed run left behind
            self._sound(cabinet.number, cabinet.number in monitor.sounding(self.watcher.watch))

    def _sound(self, number: int, on: bool) -> None:  # noqa: FBT001 - the position
        cabinet = next(cabinet for cabinet in self._config.site.cabinets if cabinet.number == number)
        for name in (cabinet.siren, cabinet.beacon):
            if name is not None:
                self.actuator.hold(cabinet.outputs[name], on=on)

    def _look(self, devices: Collection[str]) -> None:
        for poller in self.pollers.values():
            poller.look(devices)

    async def stop(self) -> None:
        """Take no more commands, let those under way end while the buses live, and leave no pulse on."""
        await self._supervisor.end("control", CONTROL_STOP_S)
        self.relays.hurry()
        await self.actuator.rest(REST_S)
        await self.relays.rest(PROMISES_S)

    def _table(self) -> Mapping[type, Carry]:
        """Who carries out what."""
        table: dict[type, Any] = {
            SetServer: self.changes.set_server,
            SetFrequency: self.changes.set_frequency,
            UpdateNow: self.changes.update_now,
            Defend: self.changes.defend,
            Reboot: self.relays.reboot,
            SetPowerMode: self.modes.set_power_mode,
            Unlock: self.actuator.unlock,
            RunAirConditioner: self.air.run,
            SetTemperatures: self.air.set_temperatures,
            SwitchRectifiers: self.rectifiers.switch,
            TestBattery: self.batteries.test,
            AskBatteryTest: self.batteries.ask,
            SetWhitelist: self.cards.set_whitelist,
        }
        return table

    async def _present(self, command: Command) -> Outcome | None:
        """Say how an order stands that an earlier run was given; None of what is no wish."""
        return await self.modes.present(command) if isinstance(command, SetPowerMode) else None

    def _keep_frames(self, command: Command, devices: Collection[str]) -> None:
        """Keep the raw frames of the moment in which the devices that a command asked did not do it."""
        buses = {self._config.site.devices[device].bus: device for device in sorted(devices)}
        for device in buses.values():  # one pin a bus
            name = type(command).__name__
            self._pin(device, Text(f"命令 {name} 未执行", f"{name} failed").kept())

    def _hint(self, bus: str) -> None:
        """Poll what is on a bus now: somebody at its address says that there is news."""
        if poller := self.pollers.get(bus):
            for device in self._config.site.devices.values():
                if device.bus == bus:
                    poller.hint(device.key)

    def _pin(self, device: str, cause: str) -> None:
        if poller := self.pollers.get(self._config.site.devices[device].bus):
            poller.journal.recorder.pin(cause, time.monotonic())

    async def _answer(self, question: Step) -> AsyncIterator[Step]:
        """Answer a technician at the door."""
        if question.get("ask") == "command":
            async for step in self.shell.answer(question):
                yield step
            return
        if question.get("ask") == "reset":
            async for step in self.shell.reset(question):
                yield step
            return
        if question.get("ask") != "doctor":
            async for step in self.doctor.answer(question):
                yield step
            return
        uplinks = {channel: self.uplink.state(channel) for channel in CHANNELS}
        servers = {channel: self.changes.server(channel) for channel in CHANNELS}
        lost = filter(self.watcher.watch.is_lost, self._config.site.devices)
        outages = (await self._store.outages(time.time() - OUTAGES_S))[-OUTAGES_TOLD:]
        counts = await self._store.counts()
        in_memory = self._store.in_memory
        more = (*self.changes.told(), *(await self.capturer.report() if self._config.site.cameras else ()))
        for step in self.doctor.examination(lost, counts, uplinks, servers, outages, in_memory=in_memory, more=more):
            yield step

    def _tick(self, channel: Channel) -> None:
        interval_s = self.changes.interval_s(channel)
        self.ticks.set(f"status {channel}", interval_s, lambda due: self.reporter.report(channel, due))

    async def _retick(self, channel: Channel) -> None:
        self._tick(channel)
        await self.ticks.begin()

    async def _first_status(self) -> None:
        await first_look(self.pollers, FIRST_LOOK_S)
        try:
            for channel in CHANNELS:
                await self.reporter.report(channel)
        finally:
            self.reporter.begin()
            for channel in CHANNELS:
                self._tick(channel)
            await self.ticks.begin()

    async def _forget(self) -> None:
        """Keep the outbox within its age, while the clock can be trusted to tell age."""
        while True:
            await asyncio.sleep(FORGET_S)
            wrong = any(self.uplink.state(channel).wrong_clock == "ours" for channel in CHANNELS)
            if self.ticks.steady_s() >= STEADY_S and not wrong:
                await self._store.forget_too_old(time.time())
                await self.capturer.forget_too_old(time.time())

    async def _anchor(self) -> None:
        """Log the newest mark of the audit: out of reach of whoever edits the file."""
        told = 0
        while True:
            newest = await self._store.audit_newest()
            if newest.number != told:
                log.info("the audit has %d entries, newest mark %s", newest.number, newest.mark)
                told = newest.number
            await asyncio.sleep(AUDIT_S)


class _Stop(Exception):
    """Raised inside the task group when a signal asks to stop."""


async def run(config: Config) -> None:
    """Run the agent until SIGTERM or SIGINT. Raises AgentError when the storage cannot be had or is in use."""
    bounds = Bounds(age_s=config.max_age_days * 86_400.0)
    with lock.held(config.storage):
        async with Store(config.storage / DATABASE, bounds=bounds, stand_in=True) as store:
            await _run(config, store)


async def _run(config: Config, store: Store) -> None:
    overrides = read_overrides(await store.settings())
    overrides.cut = await followed(config.site, store, overrides.cut)
    past = told.read(await store.told())
    if count := await store.interrupted_requests():  # once, before any request of this process is begun
        log.warning("%d requests were under way when the agent ended; the audit calls them interrupted", count)
    try:
        async with asyncio.TaskGroup() as group:
            stop = _stop_on_signals()
            agent = Agent(config, store, overrides, Supervisor(group), past)
            ready = asyncio.Event()
            agent.start(ready)
            notify("READY=1")  # also while the control port is not to be had: reading and uploading go on
            group.create_task(_announce(config, ready), name="announce")
            await stop.wait()
            notify("STOPPING=1")
            log.info("stopping")
            await agent.stop()
            raise _Stop
    except* _Stop:
        await agent.ticks.end()


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _announce(config: Config, ready: asyncio.Event) -> None:
    await ready.wait()
    log.info("ready: gantry %s, control on %s", config.site.gantry_id, config.control.listen)


async def look_once(config: Config, limit_s: float = 15.0) -> monitor.Watch:
    """Read every device once and return what is known then; for `gantry-agent show`."""
    watcher = Watcher(config)
    pollers = build_pollers(config, watcher)
    tasks = [asyncio.create_task(poller.run(), name=f"bus {name}") for name, poller in pollers.items()]
    try:
        await first_look(pollers, limit_s)
        await asyncio.sleep(config.site.slow_s + 1.0)  # two readings of each counter
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return watcher.watch


def silent(watch: monitor.Watch) -> Iterable[str]:
    """Name the devices whose last exchange failed."""
    return (device for device, misses in watch.misses.items() if misses)


async def answer_alone(config: Config, question: Step) -> AsyncIterator[Step]:
    """Answer a technician as the daemon would, over buses opened for it; for when no daemon runs."""
    site = config.site
    watcher = Watcher(config)
    if question.get("ask") == "doctor":
        pollers = build_pollers(config, watcher)
    else:
        asks = question.get("ask") == "probe"
        bus = site.buses[device_of(config, question.get("device")).bus] if asks else bus_of(config, question.get("bus"))
        lanes = Lanes(site.fast_s, site.slow_s, site.misses)
        pollers = {bus.name: Poller(open_link(bus), (), lanes, watcher.hand_over)}
    doctor = Doctor(config, pollers, running=False)
    tasks = [asyncio.create_task(poller.run(), name=f"bus {name}") for name, poller in pollers.items()]
    try:
        if question.get("ask") != "doctor":
            async for step in doctor.answer(question):
                yield step
            return
        await first_look(pollers, LISTEN_S)
        await asyncio.sleep(site.slow_s + LISTEN_MORE_S)
        kept, more = await _kept(config)
        for step in doctor.examination(silent(watcher.watch), *kept, more=more):
            yield step
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


_Kept = tuple[Counts | None, Mapping[Channel, UplinkState], Mapping[Channel, str], Iterable[Outage]]


async def _kept(config: Config) -> tuple[_Kept, Iterable[Step]]:
    """What an agent that does not run has left behind, as far as `doctor` tells it."""
    path = config.storage / DATABASE
    kept: _Kept = (None, {}, {}, ())
    more: list[Step] = []
    if path.exists():
        async with Store(path, readonly=True) as store:
            outages = (await store.outages(time.time() - OUTAGES_S))[-OUTAGES_TOLD:]
            kept = (await store.counts(), {}, {}, outages)
            overrides = read_overrides(await store.settings())
            more += Changes(config.site, config.cloud.server, config.cloud.interval_s, overrides, store).told()
    if config.site.cameras:
        group = asyncio.create_task  # nothing is captured, so nothing is started
        spawn = lambda name, work: group(work, name=name)  # noqa: E731
        folder = config.storage / "media"
        capturer = Capturer(config.site.cameras, config.media, folder, config.site.timezone, spawn)
        more += await capturer.report()
    return kept, more
