"""Breakers over RS485 as outputs of cmd 1 and cmd 5: what is cut is seen at the plant; only a read-back says done."""

import itertools
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from gantry import Gantry, gantry
from support import ask, eventually, python

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

# Of `dark` nobody has looked up the words; both of the others have been seen closed and open.
SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: {interval}}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.2, slow_s: 1, misses: 3}}
buses:
  rs485: {{type: serial, port: {folder}/ttyRS485, baudrate: 38400}}
cabinets:
  - id: 1
    devices:
      module: {{profile: renda-breaker, bus: rs485, unit: 1, parameters: {{closed_word: 0x11, open_word: 0x22}}}}
      dark: {{profile: renda-breaker, bus: rs485, unit: 2}}
      recloser: {{profile: renda-recloser, bus: rs485, unit: 3, parameters: {{closed_word: 2, open_word: 1}}}}
      meter: {{profile: lx47le-breaker, bus: rs485, unit: 4, ids: {{elec: [1]}}}}
    outputs:
      lpr: {{device: module, point: open}}
      rsu: {{device: dark, point: open}}
      antenna: {{device: recloser, point: open}}
      camera: {{device: meter, point: open}}
relays:
  - {{ip: 10.0.0.9, port: 1, output: lpr, pulse_s: 1, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 2, output: rsu, pulse_s: 1, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 3, output: antenna, pulse_s: 1, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 4, output: camera, pulse_s: 1, hold_off_s: 0}}
power_modes: {{1: [camera], 2: [lpr], 3: [antenna]}}
"""
PORTS = {"lpr": 1, "rsu": 2, "antenna": 3, "camera": 4}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with gantry(tmp_path_factory.mktemp("breakers"), SITE, interval=3600) as site:
        yield site


@pytest.fixture
def site(running: Gantry) -> Iterator[Gantry]:
    yield running
    ask(f"{running.api}/fault", method="DELETE")
    assert "Traceback" not in running.agent.output


def supply(site: Gantry, name: str) -> dict[str, Any]:
    found: dict[str, Any] = site.state()["supplies"][name]
    return found


def order(site: Gantry, number: int, **fields: Any) -> dict[str, str]:
    return site.order({"cmd": number, "n": next(_numbers), **fields})


def reboot(site: Gantry, name: str) -> dict[str, str]:
    return order(site, 1, rebootIp="10.0.0.9", rebootPort=PORTS[name])


@pytest.mark.parametrize("name", ["lpr", "antenna", "camera"])
def test_a_reboot_opens_the_breaker_for_its_time_and_closes_it_again(site: Gantry, name: str) -> None:
    before = supply(site, name)["cuts"]
    assert reboot(site, name)["code"] == "1000"
    eventually(lambda: supply(site, name)["on"] and supply(site, name)["cuts"] == before + 1, 10, f"{name} is back")
    assert supply(site, name)["last_cut_s"] >= 0.9


def test_power_modes_open_breakers_and_mode_0_closes_them(site: Gantry) -> None:
    assert order(site, 5, mode=3)["code"] == "1000"
    assert [supply(site, name)["on"] for name in ("camera", "lpr", "antenna", "rsu")] == [False, False, False, True]
    assert order(site, 5, mode=0)["code"] == "1000"
    assert [supply(site, name)["on"] for name in ("camera", "lpr", "antenna")] == [True, True, True]


def test_a_breaker_whose_words_nobody_looked_up_is_opened_and_closed_but_never_said_to_be(site: Gantry) -> None:
    before = supply(site, "rsu")["cuts"]
    answer = reboot(site, "rsu")
    assert answer["code"] == "1007", answer
    eventually(lambda: supply(site, "rsu")["on"], 15, "it is closed again")
    assert supply(site, "rsu")["cuts"] == before + 1


@pytest.mark.parametrize(("kind", "more", "msg"), [("exception", {"code": 4}, "设备拒绝"), ("ignore", {}, "回读0")])
def test_a_breaker_that_does_not_move_is_told(site: Gantry, kind: str, more: dict[str, Any], msg: str) -> None:
    site.fault("1.module", kind, **more)
    answer = order(site, 5, mode=2)
    assert answer["code"] == "1007", answer
    assert msg in answer["msg"], answer
    assert supply(site, "lpr")["on"] is True
    site.mend("1.module")
    assert order(site, 5, mode=0)["code"] == "1000"
    assert all(supply(site, name)["on"] for name in PORTS)


def test_the_breaker_that_measures_gives_the_mains(site: Gantry) -> None:
    status = site.latest(1)["elec"][0]
    assert (status["status"], status["voltage"], status["frequency"], status["current"]) == ("1", "231", "50", "1.5")


def test_the_technician_looks_up_the_word_of_a_breaker_that_no_field_comes_from(site: Gantry) -> None:
    command = [*python("gantry_agent", "probe", "1.dark"), "-c", str(site.site)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    (word,) = [line.split()[-1] for line in done.stdout.splitlines() if "status_word" in line]
    assert word == str(0x0180)  # of the simulated module, closed
