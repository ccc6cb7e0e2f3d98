"""`identify`: which products answer on a bus or host, how surely, and the lines that the site file wants for them.

A bus of the site file is asked through the running daemon, which owns it; one that the daemon does not use, and a host
that stands in no site file yet, are opened here.
"""

import argparse
import asyncio
import functools
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from gantry_agent.cli import technician
from gantry_agent.cli.arguments import PORTS, PUBLIC
from gantry_agent.config import Config
from gantry_agent.config.site import SHIPPED_PROFILES, SITE_PROFILES
from gantry_agent.console import door
from gantry_agent.doctor import Step, place
from gantry_agent.field.bus import open_link
from gantry_agent.field.poller import Poller
from gantry_agent.field.product import Profile
from gantry_agent.field.unit import Lanes
from gantry_agent.inquiry import identify_bus, known_profiles
from gantry_agent.model import AgentError, Bus, Value
from gantry_agent.text import Language, Text

SURE = {
    3: Text("确定", "sure"),
    2: Text("很可能", "likely"),
    1: Text("也许", "perhaps"),
}
NAMES = {  # of a device by the member that it is there for, the first that fits
    "rectifier": "power", "airConditioners": "aircon", "ups": "ups", "elec": "meter", "thermohygrometer": "climate",
    "waterloggingSensor": "water", "smokeSensor": "smoke", "thunderSpd": "surge", "doors": "door",
}  # fmt: skip
FOLDERS = (SITE_PROFILES, SHIPPED_PROFILES)
Known = Callable[[], tuple[Profile, ...]]


def run(config: Config | None, arguments: argparse.Namespace, language: Language) -> int:
    """Ask, print what is found as it is found; 1 when nothing fits."""
    found = False
    known = functools.cache(functools.partial(known_profiles, FOLDERS))  # read once for all kinds of a host
    for bus in _buses(config, arguments):
        teller = _Teller(language, bus, known=config is not None and bus.name in config.site.buses)
        question: dict[str, Any] = {"ask": "identify", "bus": bus.name, "units": arguments.units}
        question["record"] = arguments.record
        steps = _steps(config, bus, question, known, language)
        told = technician.ask(steps, teller, language, as_json=arguments.json, output=arguments.output)
        found = told and teller.found
        if not told or teller.answered:
            break
    return int(not found)


def is_host(target: str) -> bool:
    """Whether a target is a host for certain: it can be asked, however faulty the site file is."""
    return "." in target or ":" in target


def _buses(config: Config | None, arguments: argparse.Namespace) -> Iterator[Bus]:
    """The bus of that name, or one made for the host; one of each kind, if neither kind nor port is given."""
    name = arguments.target
    if config and name in config.site.buses:
        yield config.site.buses[name]
        return
    host, _, port = name.rpartition(":") if name.count(":") == 1 else (name, "", "")
    if not host or (port and not port.isdigit()):
        raise AgentError(
            Text(
                f"无法辨认 {name}：请给配置文件中的总线名，或主机地址，如 192.168.1.20[:161]",
                f"cannot identify {name!r}: give a bus of the site file, or a host like 192.168.1.20[:161]",
            )
        )
    usual = [kind for kind, number in PORTS.items() if port == str(number)]
    kinds: list[Any] = [arguments.type] if arguments.type else usual or list(PORTS)[: 1 if port else None]
    for kind in kinds:
        settings: dict[str, Value | None] = {"host": host, "port": int(port) if port else PORTS[kind]}
        if kind == "snmp":
            settings |= {"version": arguments.snmp_version, "community": arguments.community}
        yield Bus("found", kind, settings)


async def _steps(
    config: Config | None, bus: Bus, question: Step, known: Known, language: Language
) -> AsyncIterator[Step]:
    used = config is not None and any(device.bus == bus.name for device in config.site.devices.values())
    if config is not None and used:
        try:
            async for step in technician.through_door(config, question):
                yield step
        except door.NobodyHome:
            print(technician.ALONE.render(language), file=sys.stderr)
        else:
            return
    async for step in _alone(bus, question, known):
        yield step


async def _alone(bus: Bus, question: Step, known: Known) -> AsyncIterator[Step]:
    poller = Poller(open_link(bus), (), Lanes(1, 5, 3), lambda _: None)
    task = asyncio.create_task(poller.run(), name=f"bus {bus.name}")
    try:
        async for step in identify_bus(poller, bus, {}, question, known):
            yield step
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Teller:
    def __init__(self, language: Language, bus: Bus, *, known: bool) -> None:
        self._language: Language = language
        self._bus, self._known = bus, known
        self.found = self.answered = False
        self.lines: list[str] = []  # of the site file
        self._computers: list[str] = []
        self._more_buses: dict[str, str] = {}  # serial lines behind a site unit

    def say(self, zh: str, en: str) -> str:
        return Text(zh, en).render(self._language)

    def tell(self, step: Step) -> Iterator[str]:
        self.answered |= bool(step.get("answered")) or "serial" in step or "object" in step
        if "kind" in step:
            yield f"{step['bus']}  {step['kind']}  {place(self._bus)}"
        elif "candidates" in step:
            yield from self._unit(step)
        elif "serial" in step:
            yield self.say(f"微耕控制器，序列号 {step['serial']}", f"a UHPPOTE controller, serial {step['serial']}")
            self.found = True
            self._add("doors", "uhppote-controller", 1, f", parameters: {{serial: {step['serial']}}}")
        elif "object" in step:
            yield from self._object(step)
        elif "failed" in step:
            yield self.say(**step["failed"])

    def _object(self, step: Step) -> Iterator[str]:
        """An object of a site unit; one on a serial line behind it wants a bus of its own."""
        where = f"  {step['port']} {step['address'] or ''}".rstrip() if step["port"] else ""
        title = self.say(step["zh"], step["en"]) if "profile" in step else self.say("没有对应的型号", "no product fits")
        yield f"{step['object']:12} {step['name']}{where}  {title}"
        if "profile" not in step:
            return
        self.found = True
        name = _name(step, self.lines) if step["members"] else f"door-{len(self.lines) + 1}"  # a contact, or a lock
        more = f', object: "{step["object"]}"'
        if step["protocol"] == "zte":
            self._add(name, step["profile"], 1, more, step["members"])
            return
        line = f"{self._bus.name}-{step['port'].rpartition('_')[2].lower() or 'serial'}"
        self._more_buses[line] = _settings(Bus(line, "zte-serial", self._bus.settings))
        unit = f", unit: {step['address']}" if step["address"] else ""
        self.lines.append(f"      {name}: {{profile: {step['profile']}, bus: {line}{unit}{more}}}")

    def _unit(self, step: Step) -> Iterator[str]:
        if not step["answered"]:
            yield self.say(f"地址 {step['unit']}：无应答", f"unit {step['unit']}: no answer") + (
                f"  {self.say(**step['failed'])}" if step["failed"] else ""
            )
            return
        who = "  ".join(str(one) for one in (step.get("agent"), step.get("identity")) if one)
        device = step.get("device")
        yield self.say(f"地址 {step['unit']}", f"unit {step['unit']}") + (f"  {device}" if device else "") + f"  {who}"
        for one in step["candidates"]:
            fits = self.say(f"符合 {one['fits']}/{one['of']}", f"{one['fits']} of {one['of']} signs")
            title = self.say(one["zh"], one["en"])
            yield f"    {SURE[one['sure']].render(self._language):8} {one['profile']:28} {fits}  {title}"
        if not step["candidates"]:
            yield "    " + self.say("没有符合的型号", "no product fits")
        if step["cut"]:
            yield "    " + self.say("（时间到，未问完）", "(out of time; not everything was asked)")
        self.found |= bool(step["candidates"])
        if step["candidates"] and not device:
            best = step["candidates"][0]
            self._add(_name(best, self.lines), best["profile"], step["unit"], "", best["members"])

    def _add(self, name: str, profile: str, unit: int, more: str, members: Sequence[str] = ()) -> None:
        if "computerStatus" in members:
            self._computers.append(f"  - {{id: 2, source: snmp, bus: {self._bus.name}}}")
            self.lines.append("")
            return
        place = "" if self._bus.kind in {"snmp", "uhppote", "zte-http"} else f", unit: {unit}"
        self.lines.append(f"      {name}: {{profile: {profile}, bus: {self._bus.name}{place}{more}}}")

    def end(self) -> Iterator[str]:
        """The lines for the site file."""
        if not self.lines:
            return
        yield ""
        yield self.say("# 写入配置文件：", "# for the site file:")
        if not self._known or self._more_buses:
            yield "buses:"
        if not self._known:
            yield f"  {self._bus.name}: {_settings(self._bus)}"
        for name, settings in self._more_buses.items():
            yield f"  {name}: {settings}"
        if self._computers:
            yield "computers:"
            yield from self._computers
        if devices := [line for line in self.lines if line]:
            yield "cabinets:"
            yield "  - id: 1"
            yield "    devices:"
            yield from devices


def _name(found: Step, lines: Sequence[str]) -> str:
    """A name for the device: what it is there for, and a number."""
    first = next((NAMES[member] for member in found["members"] if member in NAMES), "io")
    return f"{first}-{len(lines) + 1}"


def _settings(bus: Bus) -> str:
    given = {"type": bus.kind, **{key: value for key, value in bus.settings.items() if value is not None}}
    if given.get("community", PUBLIC) != PUBLIC:
        given["community"] = "…"  # it was typed on the command line and is a secret
    given = {key: "…" if key == "password" else value for key, value in given.items()}
    return (
        "{"
        + ", ".join(f'{key}: "{value}"' if value == "…" else f"{key}: {value}" for key, value in given.items())
        + "}"
    )
