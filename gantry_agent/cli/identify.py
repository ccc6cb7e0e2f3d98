"""`identify`: which products answer on a bus or host, how surely, and the lines that the site file wants for them.

A bus of the site file is asked through the running daemon, which owns it; one that the daemon does not use, and a host
that stands in no site file yet, are opened here.
"""

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from gantry_agent.cli import technician
from gantry_agent.config import Config
from gantry_agent.config.site import SHIPPED_PROFILES, SITE_PROFILES
from gantry_agent.console import door
from gantry_agent.doctor import Step, place
from gantry_agent.field.bus import open_link
from gantry_agent.field.poller import Poller
from gantry_agent.field.unit import Lanes
from gantry_agent.inquiry import identify_bus
from gantry_agent.model import AgentError, Bus, Value
from gantry_agent.text import Language, Text

PORTS = {"snmp": 161, "modbus-tcp": 502}
SURE = {
    3: Text("确定", "sure"),
    2: Text("很可能", "likely"),
    1: Text("也许", "perhaps"),
}
NAMES = {  # of a device by the member that it is there for, the first that fits
    "rectifier": "power", "airConditioners": "aircon", "ups": "ups", "elec": "meter", "thermohygrometer": "climate",
    "waterloggingSensor": "water", "smokeSensor": "smoke", "thunderSpd": "surge", "doors": "door",
}  # fmt: skip
PUBLIC = "public"  # the one community that is no secret
FOLDERS = (SITE_PROFILES, SHIPPED_PROFILES)


def run(config: Config | None, arguments: argparse.Namespace, language: Language) -> int:
    """Ask, print what is found as it is found; 1 when nothing fits."""
    bus = _bus(config, arguments)
    teller = _Teller(language, bus, known=config is not None and bus.name in config.site.buses)
    question: dict[str, Any] = {"ask": "identify", "bus": bus.name, "units": arguments.units}
    question["record"] = arguments.record

    async def listen() -> None:
        async with contextlib.aclosing(_steps(config, bus, question, language)) as steps:  # type: ignore[type-var]
            async for step in steps:
                if "recording" in step:
                    print(technician.keep(step, arguments.output).render(language), file=sys.stderr)
                lines = [*teller.tell(step)]
                for line in [json.dumps(step, ensure_ascii=False)] if arguments.json else lines:
                    print(line, flush=True)
        for line in [] if arguments.json else teller.end():
            print(line)

    asyncio.run(listen())
    return int(not teller.found)


def is_host(target: str) -> bool:
    """Whether a target is a host for certain: it can be asked, however faulty the site file is."""
    return "." in target or ":" in target


def _bus(config: Config | None, arguments: argparse.Namespace) -> Bus:
    """The bus of that name, or one made for the host."""
    name = arguments.target
    if config and name in config.site.buses:
        return config.site.buses[name]
    host, _, port = name.rpartition(":") if name.count(":") == 1 else (name, "", "")
    number = int(port) if port.isdigit() else PORTS[arguments.type]
    if not host or (port and not port.isdigit()):
        raise AgentError(f"cannot identify {name!r}: give a bus of the site file, or a host like 192.168.1.20[:161]")
    settings: dict[str, Value | None] = {"host": host, "port": number}
    if arguments.type == "snmp":
        settings |= {"version": arguments.snmp_version, "community": arguments.community}
    return Bus("found", arguments.type, settings)


async def _steps(config: Config | None, bus: Bus, question: Step, language: Language) -> AsyncIterator[Step]:
    used = config is not None and any(device.bus == bus.name for device in config.site.devices.values())
    if config is not None and used:
        try:
            async for step in door.ask(config.storage / door.NAME, question):
                yield step
        except door.NobodyHome:
            print(technician.ALONE.render(language), file=sys.stderr)
        else:
            return
    async for step in _alone(bus, question):
        yield step


async def _alone(bus: Bus, question: Step) -> AsyncIterator[Step]:
    poller = Poller(open_link(bus), (), Lanes(1, 5, 3), lambda _: None)
    task = asyncio.create_task(poller.run(), name=f"bus {bus.name}")
    try:
        async for step in identify_bus(poller, bus, {}, question, FOLDERS):
            yield step
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Teller:
    def __init__(self, language: Language, bus: Bus, *, known: bool) -> None:
        self._language: Language = language
        self._bus, self._known = bus, known
        self.found = False
        self.lines: list[str] = []  # of the site file
        self._computers: list[str] = []

    def say(self, zh: str, en: str) -> str:
        return Text(zh, en).render(self._language)

    def tell(self, step: Step) -> Iterator[str]:
        if "progress" in step and sys.stderr.isatty():
            print(f"\r{step['progress']}/{step['of']} ", end="", file=sys.stderr, flush=True)
        elif "kind" in step:
            yield f"{step['bus']}  {step['kind']}  {place(self._bus)}"
        elif "candidates" in step:
            yield from self._unit(step)
        elif "serial" in step:
            yield self.say(f"微耕控制器，序列号 {step['serial']}", f"a UHPPOTE controller, serial {step['serial']}")
            self.found = True
            self._add("doors", "uhppote-controller", 1, f", parameters: {{serial: {step['serial']}}}")
        elif "failed" in step:
            yield step["failed"]

    def _unit(self, step: Step) -> Iterator[str]:
        if not step["answered"]:
            yield self.say(f"地址 {step['unit']}：无应答", f"unit {step['unit']}: no answer") + f"  {step['failed']}"
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
        place = "" if self._bus.kind in {"snmp", "uhppote"} else f", unit: {unit}"
        self.lines.append(f"      {name}: {{profile: {profile}, bus: {self._bus.name}{place}{more}}}")

    def end(self) -> Iterator[str]:
        """The lines for the site file."""
        if not self.lines:
            return
        yield ""
        yield self.say("# 写入配置文件：", "# for the site file:")
        if not self._known:
            yield "buses:"
            yield f"  {self._bus.name}: {_settings(self._bus)}"
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
    return (
        "{"
        + ", ".join(f'{key}: "{value}"' if value == "…" else f"{key}: {value}" for key, value in given.items())
        + "}"
    )


def add_arguments(sub: argparse.ArgumentParser, language: Language) -> None:
    """Add the arguments of the subcommand."""
    target = Text("总线名，或主机地址[:端口]", "a bus of the site file, or host[:port]")
    community = Text("SNMP 团体名（默认 public）", "SNMP community (default public)")
    kind = Text("主机讲什么（默认 snmp）", "what the host speaks (default snmp)")
    units = Text("只问这些地址，如 1-32", "only these units, like 1-32")
    sub.add_argument("target", metavar="BUS|HOST", help=target.render(language))
    sub.add_argument("--community", default=PUBLIC, help=community.render(language))
    sub.add_argument("--snmp-version", choices=("1", "2c"), default="2c")
    sub.add_argument("--type", choices=tuple(PORTS), default="snmp", help=kind.render(language))
    sub.add_argument("--units", type=units_of, metavar="FIRST-LAST", help=units.render(language))
    add_recording(sub, language)
    sub.add_argument("--json", action="store_true")


def add_recording(sub: argparse.ArgumentParser, language: Language) -> None:
    """Add `--record`."""
    record = Text(
        "同时录制（已隐去名称、序列号、地址、口令），可发给开发者",
        "record it too, without names, serial numbers, addresses and secrets, to be sent in",
    )
    output = Text("录制文件", "the file of the recording")
    sub.add_argument("--record", action="store_true", help=record.render(language))
    sub.add_argument("-o", "--output", type=Path, metavar="FILE", help=output.render(language))


def units_of(text: str) -> list[int]:
    """`1-32` or `7`."""
    first, _, last = text.partition("-")
    return [int(first), int(last or first)]
