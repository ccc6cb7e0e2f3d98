"""Each wiring hint against its fault on a simulated line: the right one wins, and a healthy line has none."""

import asyncio
import socket
import time
from pathlib import Path

import pytest
from support import ask, free_ports, python, running

from gantry_agent.core.stethoscope import Hint, Listened, Look
from gantry_agent.core.wiring import hints
from gantry_agent.field.bus import Link, open_link
from gantry_agent.field.request import ReadRegisters, Timing
from gantry_agent.model import AgentError, Bus

pytestmark = pytest.mark.system

SITE = """\
gantry: {{id: G000211001002110010}}
cloud: {{server: "http://127.0.0.1:9/monitor.do", auth: "123456"}}
storage: {{path: {folder}/state}}
buses:
  line: {{type: serial, port: {folder}/tty, baudrate: 115200}}
  gateway: {{type: modbus-tcp, host: 127.0.0.1, port: {tcp}}}
cabinets:
  - id: 1
    devices:
      meter: {{profile: chint-dtsu666, bus: line, unit: 3}}
      climate: {{profile: xy-md02, bus: line, unit: 52}}
      surge: {{profile: renda-spd, bus: line, unit: 35}}
      water: {{profile: renda-water, bus: line, unit: 2}}
      smoke: {{profile: renda-smoke, bus: line, unit: 7}}
      far: {{profile: chint-dtsu666, bus: gateway, unit: 3}}
"""
QUESTIONS = {
    3: ReadRegisters(3, 3, 0x2000, 20),
    52: ReadRegisters(52, 4, 1, 2),
    35: ReadRegisters(35, 3, 0, 4),
    2: ReadRegisters(2, 3, 0, 1),
    7: ReadRegisters(7, 3, 0, 1),
}
NAMES = {3: "1.meter", 52: "1.climate", 35: "1.surge", 2: "1.water", 7: "1.smoke"}
WAIT_S = 0.06


class Rig:
    """hwsim with one line and one gateway, and a link to it of the test's own."""

    def __init__(self, api: str, folder: Path, tcp: int) -> None:
        self.api, self.folder, self.tcp = api, folder, tcp

    def fault(self, kind: str, *names: str, **more: int) -> None:
        for name in names:
            ask(f"{self.api}/fault", {"device": name, "kind": kind, **more})

    def line(self, **settings: object) -> Bus:
        return Bus("line", "serial", {"port": str(self.folder / "tty"), "baudrate": 115200, **settings})

    def gateway(self, port: int | None = None) -> Bus:
        return Bus("gateway", "modbus-tcp", {"host": "127.0.0.1", "port": port or self.tcp})


@pytest.fixture(scope="module")
def hardware(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scope")
    (tcp,) = free_ports(1)
    site = folder / "site.yaml"
    site.write_text(SITE.format(folder=folder, tcp=tcp), encoding="utf-8")
    with running(*python("hwsim", "run", "--site", str(site), "--fast-lines"), ready="^hwsim ready") as process:
        api = process.wait_for(r"hwsim api http").split()[-1]
        yield Rig(api, folder, tcp)


@pytest.fixture
def rig(hardware):
    yield hardware
    ask(f"{hardware.api}/fault", method="DELETE")


def look(link: Link, bus: Bus, response_s: float) -> Look:
    heard = link.journal.heard(time.monotonic())
    units = tuple(Listened(unit, NAMES[unit], response_s, heard.units[unit]) for unit in sorted(heard.units))
    return Look(bus.kind, "the line", heard, units)


async def listen(
    bus: Bus,
    units=tuple(QUESTIONS),
    rounds: int = 24,
    response_s: float = WAIT_S,
    pause_s: float = 0.0,
    patience: int = 8,
) -> tuple[Hint, ...]:
    """Ask every unit so many times; a dead one makes it long, so a few of its silences suffice."""
    link = open_link(bus)
    silences: dict[int, int] = {}
    try:
        for _ in range(rounds):
            for unit in units:
                if silences.get(unit, 0) >= patience:
                    continue
                try:
                    await link.transact(QUESTIONS[unit], Timing(response_s, 0.0))
                except AgentError:
                    silences[unit] = silences.get(unit, 0) + 1
                await asyncio.sleep(pause_s)
        return hints(look(link, bus, response_s))
    finally:
        await link.close()


def first(found: tuple[Hint, ...]) -> tuple[str, tuple[int, ...]]:
    assert found, "no hint"
    assert found[0].text.zh != found[0].text.en
    return found[0].rule, found[0].units


async def test_a_healthy_line_gives_no_hint(rig):
    assert await listen(rig.line()) == ()
    assert await listen(rig.gateway(), (3,)) == ()


async def test_one_silent_unit_among_others_is_address_or_supply(rig):
    rig.fault("silent", "1.smoke")
    found = await listen(rig.line())
    assert first(found) == ("unit-silent", (7,))
    assert "1.smoke" in found[0].text.en
    assert "地址" in found[0].text.zh
    assert len(found) == 1


async def test_two_silent_units_share_a_piece_of_cable(rig):
    rig.fault("silent", "1.smoke", "1.water")
    assert first(await listen(rig.line())) == ("unit-silent", (2, 7))


async def test_a_whole_line_without_a_byte_is_swapped_or_the_wrong_port(rig):
    rig.fault("silent", *NAMES.values())
    found = await listen(rig.line())
    assert first(found) == ("all-silent", (2, 3, 7, 35, 52))
    assert "A/B" in found[0].text.en
    assert len(found) == 1


async def test_answers_that_break_at_their_head_are_the_direction_or_bias(rig):
    rig.fault("head", *NAMES.values(), percent=60)
    assert first(await listen(rig.line()))[0] == "head"


async def test_answers_without_their_end_are_a_transmitter_switched_off_too_early(rig):
    rig.fault("tail", "1.meter", "1.climate", percent=60, bytes=2)
    assert first(await listen(rig.line())) == ("tail", (3, 52))


async def test_flipped_bits_anywhere_are_noise(rig):
    rig.fault("noise", *NAMES.values(), percent=50)
    found = await listen(rig.line(), rounds=60, patience=25)  # chance must not put them all at the head
    assert first(found)[0] == "noise"


async def test_flipped_bits_of_one_unit_are_its_own_connection(rig):
    rig.fault("noise", "1.meter", percent=50)
    found = await listen(rig.line())
    assert first(found) == ("noise", (3,))
    assert "stub" in found[0].text.en


async def test_answers_over_each_other_at_one_address_are_two_units_there(rig):
    rig.fault("collision", "1.meter")
    assert first(await listen(rig.line(), pause_s=0.03, rounds=20)) == ("collision", (3,))


async def test_questions_that_are_not_ours_are_a_second_master(rig):
    rig.fault("second_master", "1.water")
    assert first(await listen(rig.line(), pause_s=0.03, rounds=12))[0] == "second-master"


async def test_rubbish_from_everybody_is_the_baud_rate_of_the_line(rig):
    rig.fault("baud", *NAMES.values())
    found = await listen(rig.line())
    assert first(found)[0] == "baud"
    assert "stop bits" in found[0].text.en


async def test_rubbish_from_one_unit_is_its_own_baud_rate(rig):
    rig.fault("baud", "1.meter")
    found = await listen(rig.line())
    assert first(found) == ("baud", (3,))
    assert "1.meter" in found[0].text.en


async def test_an_echoing_adapter_is_worth_a_note_and_no_fault(rig):
    rig.fault("echo", *NAMES.values())
    found = await listen(rig.line())
    assert [(hint.rule, hint.note) for hint in found] == [("echo", True)]


async def test_answers_just_beyond_the_time_out_ask_for_a_longer_one(rig):
    rig.fault("late", "1.meter", ms=80)
    found = await listen(rig.line())
    assert first(found) == ("late", (3,))
    assert "response_ms" in found[0].text.zh


async def test_late_answers_through_a_gateway_are_found_too(rig):
    rig.fault("late", "1.far", ms=20)  # behind the 50 ms that this meter always takes
    assert first(await listen(rig.gateway(), (3,))) == ("late", (3,))


async def test_sound_answers_of_another_unit_are_foreign(rig):
    rig.fault("wrong_unit", "1.meter")
    assert first(await listen(rig.line())) == ("foreign", (3,))


async def test_glitches_before_good_answers_are_a_note(rig):
    rig.fault("garbage", "1.meter", bytes=1)
    found = await listen(rig.line())
    assert [(hint.rule, hint.note) for hint in found] == [("glitches", True)]


async def test_a_reachable_gateway_without_units_is_its_own_serial_side(rig):
    rig.fault("silent", "1.far")
    found = await listen(rig.gateway(), (3,))
    assert first(found) == ("all-silent", (3,))
    assert "gateway" in found[0].text.en


async def test_a_gateway_that_reports_silence_is_told_from_one_that_is_silent(rig):
    rig.fault("exception", "1.far", code=11)
    assert first(await listen(rig.gateway(), (3,))) == ("gateway", (3,))


async def test_a_refused_connection_is_the_port_or_somebody_else(rig):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        found = await listen(rig.gateway(closed.getsockname()[1]), (3,), rounds=4)
    assert first(found)[0] == "down"
    assert "refuses" in found[0].text.en


async def test_a_missing_port_and_a_port_in_use_are_told_apart(rig):
    found = await listen(rig.line(port=str(rig.folder / "ttyUSB9")), (3,), rounds=4)
    assert first(found)[0] == "down"
    assert "by-path" in found[0].text.en
    holder = open_link(rig.line())
    await holder.transact(QUESTIONS[3], Timing(WAIT_S, 0.0))
    found = await listen(rig.line(), (3,), rounds=4)
    await holder.close()
    assert first(found)[0] == "down"
    assert "another program" in found[0].text.en
