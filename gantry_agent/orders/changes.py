"""Orders that change how the agent itself behaves: server, frequency, update now, defence (D9, D22).

What they set is kept in the store before it counts, over what the site file says, and survives a restart.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol

from gantry_agent.cloud import commands
from gantry_agent.command import Defend, Done, Outcome, SetFrequency, SetServer, UpdateNow
from gantry_agent.core import cuts, whitelist
from gantry_agent.core.cuts import Cut, Place
from gantry_agent.core.interlocks import Instant
from gantry_agent.field.trace import Trace
from gantry_agent.model import Channel, Site
from gantry_agent.text import Text

log = logging.getLogger(__name__)

CHANNELS: tuple[Channel, Channel] = ("computer", "cabinet")
DEFEND = "defend."  # setting of a cabinet in defence mode
POWER_MODE = "power_mode"  # setting: the mode that stands (cmd 5)
REBOOTED = "rebooted."  # setting: when a relay was last cut, by `written`; nothing that a person would drop
PROMISED = "promised."  # setting: a reboot that was answered first, and how far it came; likewise
DAY = "day"  # setting: the last day that a clock which could be believed has shown; likewise
_INSTANT = re.compile(r"(\d{1,12}(?:\.\d+)?)(?: (\d{1,12}(?:\.\d+)?) (\S+))?")
_OVERRIDES = frozenset(f"{name}.{channel}" for name in ("server", "interval_s") for channel in CHANNELS) | {POWER_MODE}
OVERRIDES_SHOWN = ", ".join(sorted([*_OVERRIDES, f"{DEFEND}N"]))


def is_override(name: str) -> bool:
    """Tell whether a setting is one that a command made over what the site file says, and that may be dropped."""
    return name in _OVERRIDES or (name.startswith(DEFEND) and name.removeprefix(DEFEND).isdecimal())


@dataclass(slots=True)
class Overrides:
    """What commands have set, over what the site file says; durable (D9)."""

    server: dict[Channel, str] = field(default_factory=dict)
    interval_s: dict[Channel, int] = field(default_factory=dict)
    defended: frozenset[int] = frozenset()  # cabinets in defence mode (cmd 6)
    power_mode: int = 0  # (cmd 5)
    rebooted: dict[str, Instant] = field(default_factory=dict)  # when a relay was last cut, by its name (cmd 1)
    promised: dict[str, str] = field(default_factory=dict)  # reboots that were answered first and not seen to end
    cut: dict[Place, Cut] = field(default_factory=dict)  # what is cut off (cmd 1 and 5)
    day: date | None = None  # that a clock which could be believed has shown


def read_overrides(settings: Mapping[str, str]) -> Overrides:
    """Read the overrides from the stored settings; one that makes no sense is dropped with a warning."""
    numbers = (
        name.removeprefix(DEFEND) for name, value in settings.items() if value == "1" and name.startswith(DEFEND)
    )
    found = Overrides(defended=frozenset(int(number) for number in numbers if number.isdigit()))
    for channel in CHANNELS:
        if server := settings.get(f"server.{channel}"):
            found.server[channel] = server
        if interval := settings.get(f"interval_s.{channel}"):
            if interval.isdigit() and int(interval) > 0:
                found.interval_s[channel] = int(interval)
            else:
                log.warning("cannot use the stored interval_s.%s = %r; using the site file's", channel, interval)
    if (mode := settings.get(POWER_MODE, "0")) in {"0", "1", "2", "3"}:
        found.power_mode = int(mode)
    else:
        log.warning("cannot use the stored %s = %r; nothing is cut", POWER_MODE, mode)
    for name, value in settings.items():
        if name.startswith(REBOOTED) and (when := _INSTANT.fullmatch(value)):
            at, mono, boot = when.groups(default="")
            found.rebooted[name.removeprefix(REBOOTED)] = Instant(float(at), boot, float(mono or 0))
        elif name.startswith(PROMISED):
            found.promised[name.removeprefix(PROMISED)] = value
    found.cut = cuts.read(settings)
    found.day = whitelist.read_day(settings.get(DAY, ""))
    return found


def written(when: Instant) -> str:
    return f"{when.at:.3f}" + (f" {when.mono:.3f} {when.boot}" if when.boot else "")


class Settings(Protocol):
    """Where settings are kept."""

    async def set_setting(self, name: str, value: str | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Effects:
    """What of the running agent these orders set going."""

    wake: Callable[[Channel], None]  # the uplink, to use the new server
    tick: Callable[[Channel], Awaitable[None]]  # the schedule, to use the new interval
    report: Callable[[Channel], Coroutine[Any, Any, None]]
    defend: Callable[[int, bool], None]  # a cabinet
    spawn: Callable[[str, Coroutine[Any, Any, None]], object]


class Changes:
    """Carries out what is written to no device, and knows what has been set."""

    def __init__(self, site: Site, server: str, interval_s: int, overrides: Overrides, store: Settings) -> None:
        self._site = site
        self._server = server  # of the site file, as is the interval
        self._interval_s = interval_s
        self._overrides = overrides
        self._store = store
        self.effects: Effects | None = None

    def server(self, channel: Channel) -> str:
        """Where uploads go."""
        return self._overrides.server.get(channel, self._server)

    def interval_s(self, channel: Channel) -> int:
        return self._overrides.interval_s.get(channel, self._interval_s)

    async def set_server(self, command: SetServer, trace: Trace) -> Outcome:
        url = commands.server_url(self.server(command.channel), command.server)
        trace.note(f"{command.channel} 上传到 {url}", f"uploads of {command.channel} go to {url}")
        if not trace.dry and self.effects:
            await self._store.set_setting(f"server.{command.channel}", url)
            self._overrides.server[command.channel] = url
            self.effects.wake(command.channel)
            log.info("uploads of %s go to %s from now on", command.channel, url)
        return Done()

    async def set_frequency(self, command: SetFrequency, trace: Trace) -> Outcome:
        every_s = command.interval_s
        trace.note(f"{command.channel} 每 {every_s} 秒上传一次", f"uploads of {command.channel} every {every_s} s")
        if not trace.dry and self.effects:
            await self._store.set_setting(f"interval_s.{command.channel}", str(command.interval_s))
            self._overrides.interval_s[command.channel] = command.interval_s
            await self.effects.tick(command.channel)
            log.info("uploads of %s every %d s from now on", command.channel, command.interval_s)
        return Done()

    def told(self) -> tuple[Mapping[str, Any], ...]:
        """Where each channel goes and how often, and what the site file says if the cloud has set it; for JSON."""
        mine = self._overrides
        return tuple(
            {
                "upload": channel,
                "server": self.server(channel),
                "interval_s": self.interval_s(channel),
                "file_server": self._server if channel in mine.server else None,
                "file_interval_s": self._interval_s if channel in mine.interval_s else None,
            }
            for channel in CHANNELS
        )

    async def dropped(self, name: str) -> None:
        """Let the site file count again for a setting that is not stored any more."""
        kind, _, of = name.partition(".")
        effects = self.effects
        if effects is None:
            return
        for channel in CHANNELS:
            if of != channel:
                continue
            if kind == "server":
                self._overrides.server.pop(channel, None)
                effects.wake(channel)
            else:
                self._overrides.interval_s.pop(channel, None)
                await effects.tick(channel)
        if name.startswith(DEFEND) and int(of) in {cabinet.number for cabinet in self._site.cabinets}:
            effects.defend(int(of), False)
        log.info("the site file counts again for %s, as asked at the shell", name)

    async def update_now(self, command: UpdateNow, trace: Trace) -> Outcome:
        trace.note(f"立即上传 {command.channel} 状态", f"status of {command.channel} is uploaded")
        if not trace.dry and self.effects:
            self.effects.spawn(f"updateNow {command.channel}", self.effects.report(command.channel))
        return Done()

    async def defend(self, command: Defend, trace: Trace) -> Outcome:
        """Set the defence mode of every cabinet's doors, for good."""
        for cabinet in self._site.cabinets:
            said = Text("布防", "defence on") if command.on else Text("撤防", "defence off")
            trace.note(f"机柜 {cabinet.number}：{said.zh}", f"cabinet {cabinet.number}: {said.en}")
            if not trace.dry and self.effects:
                await self._store.set_setting(f"{DEFEND}{cabinet.number}", str(int(command.on)))
                self.effects.defend(cabinet.number, command.on)
        if not trace.dry:
            log.info("the doors are %s", "in defence mode from now on" if command.on else "not defended any more")
        return Done()
