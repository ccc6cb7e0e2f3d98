"""The composition root: Config in, running agent out.

Here the storeys meet: buses hand readings to the monitor, the monitor's events go to the reporter, the reporter's
records to the outbox, the uplink empties it; control's commands go to the actuator and to the settings. This module
decides nothing about devices, payloads or answers; it owns the one current `Watch` and the order of start and stop.
"""

import asyncio
import logging
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gantry_agent.cloud import commands
from gantry_agent.cloud.control import Control
from gantry_agent.cloud.uplink import Uplink
from gantry_agent.config import Config
from gantry_agent.core import monitor
from gantry_agent.field.actuator import Actuator
from gantry_agent.field.bus import open_link
from gantry_agent.field.poller import Lanes, Poller
from gantry_agent.model import (
    Answered,
    Channel,
    Command,
    Done,
    Failed,
    Missed,
    NotYet,
    Outcome,
    RunAirConditioner,
    SetFrequency,
    SetServer,
    Unlock,
    UpdateNow,
)
from gantry_agent.reporter import Reporter
from gantry_agent.store import Store
from gantry_agent.supervisor import Supervisor, notify
from gantry_agent.ticks import Ticks

log = logging.getLogger(__name__)

CHANNELS: tuple[Channel, Channel] = ("computer", "cabinet")
FIRST_LOOK_S = 10.0  # the first status waits this long for everything to have been read
REST_S = 3.0  # for the ends of running pulses when the agent stops
DATABASE = "agent.db"
OVERRIDES = frozenset(f"{name}.{channel}" for name in ("server", "interval_s") for channel in CHANNELS)


@dataclass(slots=True)
class Overrides:
    """What commands have set, over what the site file says; durable (D9)."""

    server: dict[Channel, str] = field(default_factory=dict)
    interval_s: dict[Channel, int] = field(default_factory=dict)


def read_overrides(settings: Mapping[str, str]) -> Overrides:
    """Read the overrides from the stored settings; one that makes no sense is dropped with a warning."""
    found = Overrides()
    for channel in CHANNELS:
        if server := settings.get(f"server.{channel}"):
            found.server[channel] = server
        if interval := settings.get(f"interval_s.{channel}"):
            if interval.isdigit() and int(interval) > 0:
                found.interval_s[channel] = int(interval)
            else:
                log.warning("cannot use the stored interval_s.%s = %r; using the site file's", channel, interval)
    return found


class Watcher:
    """Holds the current watch: the one shared state, replaced whole."""

    def __init__(self, config: Config) -> None:
        self.watch = monitor.begin(config.site, monitor.Layout(config.filled, config.site.misses))
        self.reporter: Reporter | None = None

    def hand_over(self, message: Answered | Missed) -> None:
        """Absorb what a poller says; called on the event loop, never waits."""
        was_lost = self.watch.is_lost(message.device)
        self.watch, events = monitor.absorb(self.watch, message, time.monotonic())
        is_lost = self.watch.is_lost(message.device)
        if is_lost and not was_lost and isinstance(message, Missed):
            log.warning("device %s does not answer: %s", message.device, message.why)
        elif was_lost and not is_lost:
            log.info("device %s answers again", message.device)
        if events and self.reporter:
            self.reporter.note(events)

    def granted(self, command: Unlock, within_s: float) -> None:
        """Note that an unlocking is about to happen (D21)."""
        until = time.monotonic() + within_s
        self.watch = monitor.grant_unlock(self.watch, command.cabinet, command.side, until)


def build_pollers(config: Config, watcher: Watcher) -> dict[str, Poller]:
    """Build one poller per bus that has devices."""
    site = config.site
    lanes = Lanes(site.fast_s, site.slow_s, site.misses)
    pollers = {}
    for bus in site.buses.values():
        mine = [(d, config.profiles[d.key]) for d in site.devices.values() if d.bus == bus.name]
        if mine:
            pollers[bus.name] = Poller(open_link(bus), mine, lanes, watcher.hand_over)
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

    def __init__(self, config: Config, store: Store, overrides: Overrides, supervisor: Supervisor) -> None:
        self._config = config
        self._store = store
        self._overrides = overrides
        self._supervisor = supervisor
        site = config.site
        self.watcher = Watcher(config)
        self.pollers = build_pollers(config, self.watcher)
        self.uplink = Uplink(store, self._server, config.cloud.auth)
        self.reporter = Reporter(site, lambda: self.watcher.watch, store.put, self.uplink.wake)
        self.watcher.reporter = self.reporter
        self.ticks = Ticks(site.gantry_id)
        self.actuator = Actuator(site, config.profiles, self.pollers, supervisor.spawn, self.watcher.granted)
        self.control = Control(config.control, site, config.cloud.auth, self.carry_out, store, time.time)

    def start(self, ready: asyncio.Event) -> None:
        """Give every task to the supervisor; `ready` is set when the control port listens."""
        keep = self._supervisor.keep
        for name, poller in self.pollers.items():
            keep(f"bus {name}", poller.run, progress=lambda p=poller: p.progress)  # type: ignore[misc]
        for channel in CHANNELS:
            keep(f"uplink {channel}", lambda c=channel: self.uplink.run(c))  # type: ignore[misc]
        keep("reporter", self.reporter.run)
        keep("control", lambda: self.control.run(ready))
        keep("ticks", self.ticks.run)
        keep("watchdog", self._supervisor.watchdog)
        self._supervisor.spawn("first status", self._first_status())
        self.actuator.settle()

    async def carry_out(self, command: Command) -> Outcome:
        """Do one checked command."""
        match command:
            case SetServer(channel, server):
                url = commands.server_url(self._server(channel), server)
                await self._store.set_setting(f"server.{channel}", url)
                self._overrides.server[channel] = url
                self.uplink.wake(channel)
                log.info("uploads of %s go to %s from now on", channel, url)
            case SetFrequency(channel, interval_s):
                await self._store.set_setting(f"interval_s.{channel}", str(interval_s))
                self._overrides.interval_s[channel] = interval_s
                self._tick(channel)
                log.info("uploads of %s every %d s from now on", channel, interval_s)
            case UpdateNow(channel):
                self._supervisor.spawn(f"updateNow {channel}", self.reporter.report(channel))
            case Unlock():
                return await self.actuator.unlock(command)
            case RunAirConditioner():
                return await self.actuator.run_air_conditioner(command)
            case NotYet(cmd):
                return Failed(f"本版本不支持cmd={cmd}")
        return Done()

    def _server(self, channel: Channel) -> str:
        return self._overrides.server.get(channel, self._config.cloud.server)

    def _tick(self, channel: Channel) -> None:
        interval_s = self._overrides.interval_s.get(channel, self._config.cloud.interval_s)
        self.ticks.set(f"status {channel}", interval_s, lambda: self.reporter.report(channel))

    async def _first_status(self) -> None:
        await first_look(self.pollers, FIRST_LOOK_S)
        for channel in CHANNELS:
            await self.reporter.report(channel)
            self._tick(channel)


class _Stop(Exception):
    """Raised inside the task group when a signal asks to stop."""


async def run(config: Config) -> None:
    """Run the agent until SIGTERM or SIGINT. Raises OSError when the control port or the storage cannot be had."""
    async with Store(config.storage / DATABASE) as store:
        overrides = read_overrides(await store.settings())
        try:
            async with asyncio.TaskGroup() as group:
                stop = _stop_on_signals()
                agent = Agent(config, store, overrides, Supervisor(group))
                ready = asyncio.Event()
                agent.start(ready)
                group.create_task(_announce(config, ready), name="announce")
                await stop.wait()
                notify("STOPPING=1")
                log.info("stopping")
                await agent.actuator.rest(REST_S)
                raise _Stop
        except* _Stop:
            pass


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _announce(config: Config, ready: asyncio.Event) -> None:
    await ready.wait()
    notify("READY=1")
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
