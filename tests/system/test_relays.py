"""Reboots and power modes on real wires: what is cut is seen at the plant, and nothing stays cut that should not."""

import contextlib
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gantry import Gantry, gantry
from support import ask, eventually, python

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(120)]

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: 3600}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.2, slow_s: 1, misses: 3}}
buses:
  rs485: {{type: serial, port: {folder}/ttyRS485, baudrate: 38400}}
  io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}
  boards: {{type: modbus-tcp, host: 127.0.0.1, port: {converter}}}
cabinets:
  - id: 1
    devices:
      aircon: {{profile: envicool-cabinet-ac, bus: rs485, unit: 60}}
      io: {{profile: moxa-iologik-e1212, bus: io, map: {{doors.frontDoorClosed: di2}}}}
      board: {{profile: waveshare-relay, bus: boards}}
    outputs:
      switch: {{device: io, point: do0}}
      pump: {{device: io, point: do1}}
      cooling: {{device: io, point: do2}}
      camera: {{device: board, point: do0}}
      router: {{device: board, point: do1, feeds: uplink}}
      pc: {{device: board, point: do2, feeds: agent}}
      lamp: {{device: board, point: do3, invert: true}}
      lpr: {{device: board, point: do4}}
      antenna: {{device: board, point: do5}}
      modem: {{device: board, point: do6, feeds: uplink}}
relays:
  - {{ip: 10.0.0.9, port: 1, output: camera, pulse_s: 1, hold_off_s: 0, default: true}}
  - {{ip: 10.0.0.9, port: 2, output: switch, pulse_s: 1, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 3, output: router, pulse_s: 1, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 4, output: pc, pulse_s: 1, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 5, output: lamp, pulse_s: 2, hold_off_s: 600}}
  - {{ip: 10.0.0.9, port: 6, output: pump, pulse_s: 2, hold_off_s: 600}}
  - {{ip: 10.0.0.9, port: 7, output: lpr, pulse_s: 1, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 8, host: true}}
  - {{ip: 10.0.0.9, port: 9, output: modem, pulse_s: 1, hold_off_s: 600}}
power_modes: {{1: [cooling], 2: [lpr], 3: [antenna]}}
"""
RELAYS = {
    name: k for k, name in enumerate(["camera", "switch", "router", "pc", "lamp", "pump", "lpr", "host", "modem"], 1)
}


@pytest.fixture(scope="module")
def running_gantry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    """A gantry whose `systemctl` only writes down what it was asked."""
    folder = tmp_path_factory.mktemp("relays")
    systemctl = folder / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n')
    systemctl.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(systemctl.parent), prepend=":")
        with gantry(folder, SITE) as made:
            yield made


@pytest.fixture
def site(running_gantry: Gantry) -> Iterator[Gantry]:
    """The same gantry for every test: nothing cut before and after, nothing faulty, no bug met."""
    if not running_gantry.agent.alive:
        running_gantry.start_agent()
    all_on(running_gantry)
    yield running_gantry
    ask(f"{running_gantry.api}/fault", method="DELETE")
    ask(f"{running_gantry.api}/speed", {"speed": 1})
    if running_gantry.agent.alive and any(is_cut(running_gantry, name) for name in ("cooling", "lpr", "antenna")):
        set_mode(running_gantry, 0)
    assert "Traceback" not in running_gantry.agent.output
    all_on(running_gantry)


def supply(site: Gantry, name: str) -> dict[str, Any]:
    return site.state()["supplies"][name]


def is_cut(site: Gantry, name: str) -> bool:
    return not supply(site, name)["on"]


def all_on(site: Gantry) -> None:
    eventually(lambda: all(one["on"] for one in site.state()["supplies"].values()), 25, "every supply on")


def reboot(site: Gantry, name: str) -> dict[str, str]:
    # no two requests have the same bytes, or the later would be a repeat
    at = str(time.monotonic_ns())
    return site.order({"cmd": "1", "rebootIp": "10.0.0.9", "rebootPort": str(RELAYS[name]), "why": at})


def set_mode(site: Gantry, mode: int) -> dict[str, str]:
    return site.order({"cmd": "5", "mode": str(mode), "why": str(time.monotonic_ns())})


def cut(site: Gantry, *names: str) -> bool:
    return {name for name, one in site.state()["supplies"].items() if not one["on"]} == set(names)


# --- cmd 1 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["camera", "switch"])  # timed by the board, and by the agent
def test_a_reboot_cuts_the_supply_for_its_time_and_is_answered_when_it_is_back(site: Gantry, name: str):
    before, began = supply(site, name), time.monotonic()
    assert reboot(site, name)["code"] == "1000"
    took_s, after = time.monotonic() - began, supply(site, name)
    assert (after["cuts"], after["on"]) == (before["cuts"] + 1, True)
    assert 0.9 <= after["last_cut_s"] <= 1.6
    assert took_s >= 1.0


def test_without_an_address_the_default_relay_is_meant_and_one_that_is_not_there_is_refused(site: Gantry):
    before = supply(site, "camera")["cuts"]
    assert site.order({"cmd": "1"})["code"] == "1000"
    assert supply(site, "camera")["cuts"] == before + 1
    refused = site.order({"cmd": "1", "rebootIp": "10.0.0.9", "rebootPort": "99"})
    assert (refused["code"], "rebootPort" in refused["msg"]) == ("1002", True)


@pytest.mark.parametrize(
    ("name", "device", "fault", "said"),
    [
        ("camera", "1.board", {"kind": "silent"}, "无应答"),
        ("switch", "1.io", {"kind": "silent"}, "无应答"),
        ("camera", "1.board", {"kind": "missing", "first": 0x200, "last": 0x2FF}, "设备拒绝2"),
        ("camera", "1.board", {"kind": "exception", "code": 6}, "设备拒绝6"),
        ("camera", "1.board", {"kind": "ignore"}, "回读0"),
    ],
)
def test_what_a_board_does_not_do_is_not_called_done(site: Gantry, name: str, device: str, fault: dict, said: str):
    before = supply(site, name)["cuts"]
    site.fault(device, **fault)
    answer = reboot(site, name)
    assert answer["code"] == "1007"
    assert said in answer["msg"]
    assert supply(site, name)["cuts"] == before


def test_a_board_lost_in_the_middle_is_told_and_the_supply_comes_back_with_it(site: Gantry):
    answers: list[dict[str, str]] = []
    asking = [threading.Thread(target=lambda n=name: answers.append(reboot(site, n))) for name in ("camera", "switch")]
    for one in asking:
        one.start()
    eventually(lambda: cut(site, "camera", "switch"), 3)
    time.sleep(0.4)  # the read-backs are through
    for device in ("1.board", "1.io"):
        site.fault(device, "silent")
    for one in asking:
        one.join(20)
    assert [(one["code"], "已断电" in one["msg"]) for one in answers] == [("1007", True)] * 2
    assert cut(site, "switch"), "this one had to be ended by the agent"
    for device in ("1.board", "1.io"):
        site.mend(device)
    eventually(lambda: cut(site), 8)


def test_reboots_of_one_output_are_done_one_after_the_other(site: Gantry):
    before, answers = supply(site, "switch")["cuts"], []
    asking = [threading.Thread(target=lambda: answers.append(reboot(site, "switch"))) for _ in range(2)]
    for one in asking:
        one.start()
    for one in asking:
        one.join(20)
    assert [answer["code"] for answer in answers] == ["1000", "1000"]
    assert supply(site, "switch")["cuts"] == before + 2


def test_a_kill_in_the_middle_leaves_nothing_cut_and_the_rest_after_it_holds(site: Gantry):
    for name in ("lamp", "pump"):
        threading.Thread(target=lambda n=name: _unanswered(site, n)).start()
    eventually(lambda: cut(site, "lamp", "pump"), 3)
    site.agent.kill()
    eventually(lambda: supply(site, "lamp")["on"], 5, "the board's own clock")
    assert 1.9 <= supply(site, "lamp")["last_cut_s"] <= 2.4
    assert is_cut(site, "pump"), "nobody is there to end it"
    site.start_agent()
    eventually(lambda: supply(site, "pump")["on"], 5, "ended at the start")
    for name in ("lamp", "pump"):
        refused, before = reboot(site, name), supply(site, name)["cuts"]
        assert (refused["code"], "距上次重启过近" in refused["msg"]) == ("1007", True)
        assert supply(site, name)["cuts"] == before


def _unanswered(site: Gantry, name: str) -> None:
    with contextlib.suppress(OSError):
        reboot(site, name)


def test_what_the_answer_needs_is_rebooted_after_the_answer(site: Gantry):
    names = ("router", "pc")
    unwritten = (site.folder / "state" / "agent.db-wal").stat
    much = unwritten().st_size
    before = {name: supply(site, name)["cuts"] for name in names}
    for name in names:
        assert reboot(site, name)["code"] == "1000"
    assert {name: supply(site, name)["cuts"] for name in names} == before
    for name in names:
        eventually(lambda n=name: supply(site, n)["cuts"] == before[n] + 1 and supply(site, n)["on"], 6)
        assert 0.9 <= supply(site, name)["last_cut_s"] <= 1.4
        site.agent.wait_for(f"{name} was rebooted")
    assert unwritten().st_size < much, "what waits is in the file itself before this PC loses its supply"


def test_of_two_reboots_of_the_way_to_the_cloud_at_once_one_is_done(site: Gantry):
    before, answers = supply(site, "modem")["cuts"], []
    asking = [threading.Thread(target=lambda: answers.append(reboot(site, "modem"))) for _ in range(3)]
    for one in asking:
        one.start()
    for one in asking:
        one.join(20)
    assert sorted(answer["code"] for answer in answers) == ["1000", "1007", "1007"]
    time.sleep(5.0)  # answered first, done then: one cut and, if there were another, that
    assert supply(site, "modem")["cuts"] == before + 1


def test_a_promise_is_ended_before_another_is_made_though_no_hold_off_is_asked(site: Gantry):
    before, said, answers = supply(site, "router")["cuts"], site.agent.output.count("router was rebooted"), []
    asking = [threading.Thread(target=lambda: answers.append(reboot(site, "router"))) for _ in range(3)]
    for one in asking:
        one.start()
    for one in asking:
        one.join(20)
    told = sorted((one["code"], one["msg"][-8:]) for one in answers)
    assert told == [("1000", "成功"), *[("1007", "上次重启尚未结束")] * 2]
    eventually(lambda: reboot(site, "router")["code"] == "1000", 8, "when it has ended the next one may come")
    assert supply(site, "router")["cuts"] == before + 1
    eventually(lambda: site.agent.output.count("router was rebooted") == said + 2, 6)
    assert (supply(site, "router")["cuts"], supply(site, "router")["on"]) == (before + 2, True)


def test_what_the_answer_needs_is_checked_before_it(site: Gantry):
    site.fault("1.board", "silent")
    assert reboot(site, "router")["code"] == "1007"
    assert "Reboot failed" in frames(site, "boards"), "the raw frames of that moment are kept"


def test_the_host_is_rebooted_after_the_answer_and_not_twice(site: Gantry):
    asked = site.folder / "asked"
    busctl = site.folder / "bin" / "busctl"  # logind does not let us: nothing is promised, and no rest begins
    no_polkit = "echo 'Call failed: Unit polkit.service is masked.' >&2; exit 1"  # as seen by `make try-reboot`
    for script, expected in (("echo 's \"challenge\"'", "1007"), (no_polkit, "1007"), ("echo 's \"yes\"'", "1000")):
        busctl.write_text(f"#!/bin/sh\n{script}\n")
        busctl.chmod(0o755)
        assert reboot(site, "host")["code"] == expected
    assert not asked.exists()
    eventually(lambda: asked.exists() and asked.read_text(), 5)
    assert asked.read_text() == "reboot\n"
    assert reboot(site, "host")["code"] == "1007"


# --- cmd 5 ----------------------------------------------------------------------------------------------------------


def test_a_mode_cuts_its_level_and_those_below_and_0_brings_all_back(site: Gantry):
    site.plant(outside_c=45, inside_c=38)
    eventually(lambda: site.state()["air"][0]["compressor"], 3)
    assert set_mode(site, 1)["code"] == "1000"
    assert cut(site, "cooling")
    ask(f"{site.api}/speed", {"speed": 1200})
    eventually(lambda: site.state()["climate"]["inside_c"] > 40, 5, "the room is warm")
    assert not site.state()["air"][0]["compressor"]
    ask(f"{site.api}/speed", {"speed": 1})
    assert set_mode(site, 3)["code"] == "1000"
    assert cut(site, "cooling", "lpr", "antenna")
    assert set_mode(site, 2)["code"] == "1000"
    assert cut(site, "cooling", "lpr")
    refused = reboot(site, "lpr")
    assert (refused["code"], "供电模式" in refused["msg"]) == ("1007", True)
    assert set_mode(site, 0)["code"] == "1000"
    assert cut(site)
    eventually(lambda: site.state()["air"][0]["compressor"], 3)
    site.plant(outside_c=25, inside_c=30)


def test_a_mode_is_taken_up_after_a_kill_and_a_stop_leaves_it_as_it_is(site: Gantry):
    assert set_mode(site, 2)["code"] == "1000"
    before = supply(site, "cooling")["cuts"]
    site.agent.kill()
    ask(f"{site.api}/powercycle", {"device": "1.board"})
    assert cut(site, "cooling", "lamp"), "an inverted output cuts while its board is dead: not the convention"
    site.start_agent()
    eventually(lambda: cut(site, "cooling", "lpr"), 10)
    assert supply(site, "cooling")["cuts"] == before, "what is as it should be is not switched"
    assert state(site) == {"power_mode": "2"}
    site.agent.stop()
    assert cut(site, "cooling", "lpr")
    state(site, "reset", "power_mode")
    site.start_agent()
    eventually(lambda: cut(site), 10)


def test_a_mode_is_held_when_a_board_returns_from_a_power_cut(site: Gantry):
    assert set_mode(site, 3)["code"] == "1000"
    ask(f"{site.api}/powercycle", {"device": "1.board"})
    assert not is_cut(site, "lpr")
    eventually(lambda: is_cut(site, "lpr") and is_cut(site, "antenna"), 14)
    site.agent.wait_for(r"output 1.lpr .* is off and should be on .power mode 3.")
    assert set_mode(site, 0)["code"] == "1000"


def test_a_mode_that_cuts_more_and_is_not_confirmed_everywhere_leaves_the_one_from_before(site: Gantry):
    assert set_mode(site, 1)["code"] == "1000"
    site.fault("1.board", "ignore")
    answer = set_mode(site, 3)
    assert answer["code"] == "1007"
    assert re.search("lpr,antenna回读0", answer["msg"])
    assert state(site) == {"power_mode": "1"}
    site.mend("1.board")
    time.sleep(1.0)
    assert cut(site, "cooling")
    assert set_mode(site, 0)["code"] == "1000"


def test_a_mode_that_gives_back_cuts_nothing_again_for_a_dead_board_and_goes_on_until_it_is_back(site: Gantry):
    assert set_mode(site, 2)["code"] == "1000"
    before = supply(site, "cooling")["cuts"]
    site.fault("1.board", "silent")
    answer = set_mode(site, 0)
    assert (answer["code"], "lpr" in answer["msg"], "继续重试" in answer["msg"]) == ("1007", True, True)
    assert state(site) == {"power_mode": "0"}, "what was ordered stays the wish"
    time.sleep(2.5)
    assert cut(site, "lpr"), "what came back is not cut again"
    site.mend("1.board")
    eventually(lambda: cut(site), 25, "given back when its board is there again")
    assert supply(site, "cooling")["cuts"] == before


def test_a_reset_of_the_mode_gives_the_supplies_back_first_or_leaves_it(site: Gantry):
    assert set_mode(site, 2)["code"] == "1000"
    site.fault("1.board", "silent")
    refused = subprocess.run(
        python("gantry_agent", "state", "reset", "power_mode", "-c", str(site.site)),
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "zh_CN.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    site.mend("1.board")
    assert refused.returncode == 1
    assert "power_mode 没有恢复：未执行" in refused.stdout
    assert "power_mode" in state(site)
    shown = subprocess.run(
        python("gantry_agent", "audit", "show", "-c", str(site.site)), capture_output=True, text=True, check=True
    )
    assert re.search(r"state reset\n +power_mode = 2\n +not done", shown.stdout), "it moved what it could"
    state(site, "reset", "power_mode")
    assert cut(site)
    assert state(site) == {}


def frames(site: Gantry, bus: str) -> str:
    return subprocess.run(
        python("gantry_agent", "frames", bus, "-c", str(site.site)), capture_output=True, text=True, check=True
    ).stdout


def state(site: Gantry, *words: str) -> dict[str, str]:
    """What `gantry-agent state` tells, or drops."""
    shown = subprocess.run(
        python("gantry_agent", "state", *words, "-c", str(site.site)), capture_output=True, text=True, check=True
    )
    return dict(re.findall(r"(\S+) = (\S+)", shown.stdout))


def test_a_dry_run_tells_the_frames_and_moves_nothing(site: Gantry, tmp_path: Path):
    before = site.state()["supplies"]
    shown = subprocess.run(
        python("gantry_agent", "command", "--dry-run", "cmd=1", "-c", str(site.site)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "00 00 00 00 00 06 01 05 02 00 00 0A" in shown.stdout, shown.stdout + shown.stderr
    assert site.state()["supplies"] == before
