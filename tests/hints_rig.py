"""A simulated bus of each kind for the tests of the wiring hints: faults on it, questions to it, what was concluded.

`validates` is the mark of a test that injects the fault of a rule; `VALIDATED` are the rules that have one.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from support import ask

from gantry_agent.core.stethoscope import (
    SEVERAL,
    WORKING,
    BusStatistics,
    Ending,
    Hint,
    Listened,
    Look,
)
from gantry_agent.core.wiring import NOTES, hints
from gantry_agent.field.bus import Link, open_link
from gantry_agent.field.request import AskYdt, GetOids, ReadRegisters, Request, Timing
from gantry_agent.model import AgentError, Bus

SITE = """\
gantry: {{id: G000211001002110010}}
cloud: {{server: "http://127.0.0.1:9/monitor.do", auth: "roadside-7"}}
storage: {{path: {folder}/state}}
buses:
  line: {{type: serial, port: {folder}/tty, baudrate: 115200}}
  slow: {{type: serial, port: {folder}/ttySlow, baudrate: 1200}}
  gateway: {{type: modbus-tcp, host: 127.0.0.1, port: {tcp}}}
  converter: {{type: serial-tcp, host: 127.0.0.1, port: {converter}, baudrate: 115200}}
  agent: {{type: snmp, host: 127.0.0.1, port: {udp}, version: 2c, community: s3cret}}
cabinets:
  - id: 1
    devices:
      meter: {{profile: chint-dtsu666, bus: line, unit: 3}}
      climate: {{profile: xy-md02, bus: line, unit: 52}}
      surge: {{profile: renda-spd, bus: line, unit: 35}}
      water: {{profile: renda-water, bus: line, unit: 2}}
      smoke: {{profile: renda-smoke, bus: line, unit: 7}}
      psu: {{profile: ydt1363-psu, bus: line, unit: 9}}
      slow: {{profile: renda-water, bus: slow, unit: 2}}
      far: {{profile: chint-dtsu666, bus: gateway, unit: 3}}
      behind: {{profile: renda-smoke, bus: converter, unit: 7}}
      power: {{profile: huawei-site-monitor, bus: agent}}
"""
QUESTIONS = {
    3: ReadRegisters(3, 3, 0x2000, 20),
    52: ReadRegisters(52, 4, 1, 2),
    35: ReadRegisters(35, 3, 0, 4),
    2: ReadRegisters(2, 3, 16, 1),
    7: ReadRegisters(7, 3, 0, 1),
}
NAMES = {3: "1.meter", 52: "1.climate", 35: "1.surge", 2: "1.water", 7: "1.smoke"}
OTHERS: dict[int, Request] = {0: GetOids(("1.3.6.1.2.1.1.1.0",)), 9: AskYdt(9, 0x21, 0x41, 0x43, b"\xff")}
OTHER_NAMES = {0: "1.power", 9: "1.psu"}
WAIT_S = 0.06
PATIENT_S = 0.5  # an answer that comes slowly, as on a machine that is busy, is to be none of the faults
Found = tuple[Hint, ...]


class Rig:
    """hwsim with a bus of each kind, and a link to it of the test's own."""

    def __init__(self, api: str, folder: Path, ports: dict[str, int]) -> None:
        self.api, self.folder, self.ports = api, folder, ports

    def fault(self, kind: str, *names: str, **more: int) -> None:
        for name in names:
            ask(f"{self.api}/fault", {"device": name, "kind": kind, **more})

    def line(self, **settings: object) -> Bus:
        return Bus("line", "serial", {"port": str(self.folder / "tty"), "baudrate": 115200, **settings})

    def gateway(self, port: int | None = None) -> Bus:
        return Bus("gateway", "modbus-tcp", {"host": "127.0.0.1", "port": port or self.ports["tcp"]})

    def converter(self) -> Bus:
        return Bus("converter", "serial-tcp", {"host": "127.0.0.1", "port": self.ports["converter"]})

    def agent(self, community: str = "s3cret") -> Bus:
        where = {"host": "127.0.0.1", "port": self.ports["udp"]}
        return Bus("agent", "snmp", {**where, "version": "2c", "community": community})

    def interrupt(self, bus: Bus) -> None:
        """Take the medium away for a moment: a port that vanishes, or a connection that is closed for an answer."""
        match bus.kind:
            case "serial":
                for word in ("unplug", "replug"):
                    ask(f"{self.api}/{word}", {"wire": bus.name})
            case "serial-tcp":
                self.fault("drop", "1.behind", count=1)
            case _:
                self.fault("drop", "1.far", count=1)


def look(link: Link, bus: Bus, response_s: float) -> Look:
    heard = link.journal.heard(time.monotonic())
    names = NAMES | OTHER_NAMES
    units = tuple(Listened(unit, names[unit], response_s, heard.units[unit]) for unit in sorted(heard.units))
    return Look(bus.kind, "the line", heard, units)


async def listen(
    bus: Bus,
    units=tuple(QUESTIONS),
    rounds: int = 24,
    response_s: float = WAIT_S,
    pause_s: float = 0.0,
    patience: int = 8,
) -> Found:
    """Ask every unit so many times; a dead one makes it long, so a few of its silences suffice."""
    link = open_link(bus)
    silences: dict[int, int] = {}
    try:
        for _ in range(rounds):
            for unit in units:
                if silences.get(unit, 0) >= patience:
                    continue
                if not await asked(link, unit, response_s):
                    silences[unit] = silences.get(unit, 0) + 1
                await asyncio.sleep(pause_s)
        return hints(look(link, bus, response_s))
    finally:
        await link.close()


async def listen_until(
    enough: Callable[[BusStatistics], bool],
    bus: Bus,
    units: tuple[int, ...],
    within_s: float = 20.0,
    during: Callable[[], None] = lambda: None,
) -> Found:
    """Ask until `enough` of a fault that chance has a hand in was heard; `during` is done after a first good round."""
    link = open_link(bus)
    try:
        for unit in units:
            assert await asked(link, unit, PATIENT_S), f"unit {unit} does not answer before there is a fault"
        during()
        async with asyncio.timeout(within_s):
            while not enough(link.journal.heard(time.monotonic())):
                for unit in units:
                    await asked(link, unit, WAIT_S if bus.kind == "serial" else 4 * WAIT_S)
                await asyncio.sleep(0.02)
        return hints(look(link, bus, WAIT_S))
    finally:
        await link.close()


async def lose_again_and_again(rig: Rig, bus: Bus, unit: int, *, back: bool) -> Found:
    """Lose the medium between good answers; in the end it is back, or just lost and not yet to be had again."""
    link = open_link(bus)
    try:
        async with asyncio.timeout(20):
            for n in range(1, SEVERAL + 1):
                while not await asked(link, unit):
                    await asyncio.sleep(0.05)
                rig.interrupt(bus)
                while link.journal.heard(time.monotonic()).losses < n:
                    await asked(link, unit)
            while await asked(link, unit) is not back:
                await asyncio.sleep(0.05)
        return hints(look(link, bus, WAIT_S))
    finally:
        await link.close()


def often(unit: int, endings: frozenset[Ending]) -> Callable[[BusStatistics], bool]:
    """Tell that questions to a unit ended so several times, and that the latest one ended well."""

    def enough(heard: BusStatistics) -> bool:
        recent = heard.units[unit].recent if unit in heard.units else ()
        return sum(ending in endings for ending in recent) >= SEVERAL and recent[-1] in WORKING

    return enough


async def asked(link: Link, unit: int, response_s: float = PATIENT_S) -> bool:
    """Ask one unit; tell whether it has answered."""
    try:
        await link.transact((QUESTIONS | OTHERS)[unit], Timing(response_s, 0.0))
    except AgentError:
        return False
    return True


VALIDATED: set[str] = set()


def validates(rule: str, *, zh: str, en: str) -> Callable[[Callable[..., Awaitable[Found]]], Callable[..., object]]:
    """Mark a test that injects the fault of a rule: the first of the hints that it gives is to be of this rule."""
    VALIDATED.add(rule)

    def mark(test: Callable[..., Awaitable[Found]]) -> Callable[..., object]:
        @functools.wraps(test)
        async def held(*arguments: object, **named: object) -> None:
            found = await test(*arguments, **named)
            assert found, "no hint"
            assert found[0].rule == rule, found
            assert zh in found[0].text.zh
            assert en in found[0].text.en
            assert found[0].note == (rule in NOTES)

        return held

    return mark
