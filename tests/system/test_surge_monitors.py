"""Surge protector monitors that speak in ways of their own, hwsim's: on a line beside Modbus units, and over UDP."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gantry import Gantry, gantry
from ruamel.yaml import YAML
from support import ROOT, eventually, python

from tests import profile_rig as rig

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: 3600}}
control: {{listen: "127.0.0.1:{control}"}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.2, slow_s: 1, misses: 3}}
events: {{flap_changes: 20, hold_down_s: 1}}
buses:
  line: {{type: serial-tcp, host: 127.0.0.1, port: {converter}, baudrate: 9600}}
  second: {{type: serial-tcp, host: 127.0.0.1, port: {io}, baudrate: 9600}}
  huazi: {{type: udp, host: 127.0.0.1, port: {ups}}}
cabinets:
  - id: 1
    devices:
      climate: {{profile: xy-md02, bus: line, unit: 52}}
      tongan: {{profile: zpta-spd, bus: line, unit: 1}}
      tongan2: {{profile: zpta-spd, bus: second, unit: 2}}
      huazi: {{profile: huazi-spd, bus: huazi}}
      earth: {{profile: leixun-ground-tester, bus: line, unit: 9, ids: {{thunderSpd: [4]}}}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with gantry(tmp_path_factory.mktemp("surge"), SITE) as made:
        eventually(lambda: made.uploads("cabinetStatusUpdate"), 30, "the first upload")
        yield made
        assert not [one["complaints"] for one in made.uploads() if one["complaints"]]
        assert "Traceback" not in made.agent.output


def surge(site: Gantry) -> list[tuple[str, str]]:
    return [(one["status"], one["lightningCount"]) for one in site.latest(1)["thunderSpd"]]


def test_each_shows_its_protector_and_what_it_cannot_know_is_not_supported(site: Gantry):
    assert surge(site) == [("1", "NotSupport"), ("1", "NotSupport"), ("1", "0"), ("1", "NotSupport")]
    assert site.latest(1)["thermohygrometer"]["status"] == "1", "they share the line"


def test_strikes_are_counted_and_a_trip_is_an_alarm(site: Gantry):
    site.plant(strike={"number": 3, "count": 4})
    eventually(lambda: surge(site)[2] == ("1", "4"), 10, "four strikes")
    for index in (1, 3):
        site.plant(spd={"number": index, "status": False})
    eventually(lambda: [status for status, _ in surge(site)] == ["0", "1", "0", "1"], 10, "two trips")
    for index in (1, 3):
        site.plant(spd={"number": index, "status": True})
    eventually(lambda: [status for status, _ in surge(site)] == ["1", "1", "1", "1"], 10, "both are well")


@pytest.mark.parametrize("kind", ["half", "wrong_unit", "noise"])
def test_a_broken_answer_of_a_board_on_the_line_is_no_trip(site: Gantry, kind: str):
    since = site.received()
    site.fault("1.tongan", kind, percent=50)
    time.sleep(0.8)  # some ten questions
    site.mend("1.tongan")
    for one in site.uploads("cabinetStatusUpdate", 1, since):
        assert one["payload"]["cabinetStatus"]["thunderSpd"][0]["status"] != "0"


def command(site: Gantry, folder: Path, *words: str, code: int = 0) -> str:
    run = subprocess.run(
        python("gantry_agent", *words, "-c", str(site.site)),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
    )
    assert run.returncode == code, run.stderr
    return run.stdout + run.stderr


@pytest.mark.parametrize(("name", "unit"), [("tongan2", 2), ("huazi", 1)])
def test_a_monitor_is_recorded_as_a_transcript_that_reads_as_it_did(site: Gantry, tmp_path: Path, name: str, unit: int):
    command(site, tmp_path, "probe", name, "--record", "-o", "mine.yaml")
    whole = YAML(typ="safe", pure=True).load(tmp_path / "mine.yaml")
    (case,) = whole["cases"]
    product = rig.load(whole["profile"])
    read = rig.readings(product, rig.device(product, unit=unit), rig.Talk(case["said"]))
    recorded = {key.replace("[2]", "").replace("[3]", ""): value for key, value in case["read"].items()}
    assert read.items() <= recorded.items()
    assert read["thunderSpd.status"] == 1


def test_one_behind_a_port_is_identified_by_its_answer_and_a_scan_says_why_there_is_none(site: Gantry, tmp_path: Path):
    assert "huazi-spd" in command(site, tmp_path, "identify", "huazi")
    assert "cannot scan a bus of type udp" in command(site, tmp_path, "scan", "huazi", code=1)
