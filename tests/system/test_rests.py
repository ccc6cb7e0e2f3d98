"""A compressor does not run again before its rest, whatever gives it its supply back; and reboots answered first.

The cabinet is hot: an air conditioner that has supply runs its compressor. So how long a supply was off, which the
plant knows, is how long the compressor rested.
"""

import contextlib
import json
import re
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from gantry import Gantry, gantry
from support import GANTRY, ask, eventually, python, send

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(120)]

REST_S = 3
STEP_S = 0.15  # of the plant's clock, on a busy machine
LATE_S = 3.0  # a look each second, its read and its write; a start of the agent

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: 3600}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.2, slow_s: 1, misses: 3}}
interlocks: {{compressor_off_s: 3}}
buses:
  rs485: {{type: serial, port: {folder}/ttyRS485, baudrate: 38400}}
  io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}
  boards: {{type: modbus-tcp, host: 127.0.0.1, port: {converter}}}
cabinets:
  - id: 1
    devices:
      left: {{profile: envicool-cabinet-ac, bus: rs485, unit: 60}}
      right: {{profile: envicool-cabinet-ac, bus: rs485, unit: 61}}
      io: {{profile: moxa-iologik-e1212, bus: io, map: {{doors.frontDoorClosed: di2}}}}
      board: {{profile: waveshare-relay, bus: boards}}
    outputs:
      left-power: {{device: board, point: do0, feeds: {{airConditioners: [1]}}}}
      right-power: {{device: io, point: do0, feeds: {{airConditioners: 2}}}}
      lpr: {{device: board, point: do1}}
      modem: {{device: board, point: do2, feeds: uplink}}
      router: {{device: io, point: do1, feeds: uplink}}
      switch: {{device: board, point: do3, feeds: uplink}}
relays:
  - {{ip: 10.0.0.9, port: 1, output: left-power, pulse_s: 1, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 2, output: right-power, pulse_s: 1, hold_off_s: 0}}
  - {{ip: 10.0.0.9, port: 3, output: modem, pulse_s: 1, hold_off_s: 600}}
  - {{ip: 10.0.0.9, port: 4, output: router, pulse_s: 1, hold_off_s: 600}}
  - {{ip: 10.0.0.9, port: 5, output: switch, pulse_s: 1, hold_off_s: 600}}
power_modes: {{1: [left-power, right-power], 2: [lpr]}}
"""
RELAYS = {"left-power": 1, "right-power": 2, "modem": 3, "router": 4, "switch": 5}
AIR = ("left-power", "right-power")


@pytest.fixture(scope="module")
def running_gantry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with gantry(tmp_path_factory.mktemp("rests"), SITE) as made:
        made.plant(outside_c=45, inside_c=45)
        yield made


@pytest.fixture
def site(running_gantry: Gantry) -> Iterator[Gantry]:
    """The same gantry for every test: nothing is cut before and after, and no bug was met."""
    text = running_gantry.site.read_text(encoding="utf-8")
    yield running_gantry
    if running_gantry.site.read_text(encoding="utf-8") != text or not running_gantry.agent.alive:
        restart(running_gantry, text)
    set_mode(running_gantry, 0)
    eventually(lambda: all(one["on"] for one in running_gantry.state()["supplies"].values()), 10, "every supply on")
    assert "Traceback" not in running_gantry.agent.output


def restart(site: Gantry, text: str | None = None) -> None:
    """Stop the agent if it runs, and start it with another site file."""
    if site.agent.alive:
        site.agent.stop()
    if text is not None:
        site.site.write_text(text, encoding="utf-8")
    site.start_agent()


def edited(site: Gantry, old: str, new: str) -> str:
    text = site.site.read_text(encoding="utf-8")
    assert old in text
    return text.replace(old, new)


def supply(site: Gantry, name: str) -> dict[str, Any]:
    return site.state()["supplies"][name]


def cut(site: Gantry) -> set[str]:
    return {name for name, one in site.state()["supplies"].items() if not one["on"]}


def running(site: Gantry) -> list[bool]:
    return [unit["compressor"] for unit in site.state()["air"]]


def came_back_rested(site: Gantry, *names: str, late_s: float = LATE_S) -> None:
    """The supply comes back, not before its rest and not much later."""
    for name in names:
        eventually(lambda n=name: supply(site, n)["on"], REST_S + late_s + 3, f"{name} back")
        assert REST_S - STEP_S <= supply(site, name)["last_cut_s"] <= REST_S + late_s, name
    eventually(lambda: all(running(site)), 3, "both compressors")


def order(site: Gantry, **business: str) -> dict[str, str]:
    return site.order({**business, "why": str(time.monotonic_ns())})  # no two requests have the same bytes


def set_mode(site: Gantry, mode: int) -> dict[str, str]:
    return order(site, cmd="5", mode=str(mode))


def reboot(site: Gantry, name: str) -> dict[str, str]:
    return order(site, cmd="1", rebootIp="10.0.0.9", rebootPort=str(RELAYS[name]))


def begun(*work: Any) -> None:
    """Order things that nobody will answer any more."""

    def quietly(one: Any) -> None:
        with contextlib.suppress(OSError, ValueError):
            one()

    for one in work:
        threading.Thread(target=quietly, args=(one,), daemon=True).start()


def told(site: Gantry, *words: str) -> str:
    return subprocess.run(
        python("gantry_agent", *words, "-c", str(site.site)), capture_output=True, text=True, check=True
    ).stdout


def settings(site: Gantry) -> dict[str, str]:
    """What the state database keeps, read at once: a process would take a second for it."""
    with contextlib.closing(sqlite3.connect(site.folder / "state" / "agent.db")) as kept:
        return dict(kept.execute("SELECT name, value FROM settings"))


# --- rests ----------------------------------------------------------------------------------------------------------


def test_mode_0_gives_an_air_conditioner_its_supply_back_when_its_compressor_has_rested(site: Gantry):
    assert set_mode(site, 2)["code"] == "1000"
    assert cut(site) == {"left-power", "right-power", "lpr"}
    refused = order(site, cmd="3", airId="0", airOperate="1")
    assert (refused["code"], "压缩机保护" in refused["msg"]) == ("1007", True)
    assert set_mode(site, 0)["code"] == "1000", "a short rest is waited for"
    came_back_rested(site, *AIR)


def test_a_long_rest_is_told_with_its_seconds_and_what_needs_none_is_back_at_once(site: Gantry):
    restart(site, edited(site, "compressor_off_s: 3", "compressor_off_s: 60"))
    answer = reboot(site, "right-power")
    assert (answer["code"], bool(re.search(r"已断电，压缩机保护，6\d秒后恢复$", answer["msg"]))) == ("1007", True)
    assert set_mode(site, 2)["code"] == "1000"
    answer = set_mode(site, 0)
    assert answer["code"] == "1007"
    assert re.search(r"left-power等2路压缩机保护，(59|60)秒后恢复$", answer["msg"])
    assert cut(site) == set(AIR)
    assert "power_mode = 0" in told(site, "state")
    restart(site, edited(site, "compressor_off_s: 60", "compressor_off_s: 3"))
    came_back_rested(site, *AIR, late_s=12.0)


def test_a_kill_in_a_rest_makes_it_no_shorter_and_the_wish_is_carried_out_after_it(site: Gantry):
    assert set_mode(site, 1)["code"] == "1000"
    begun(lambda: set_mode(site, 0))
    time.sleep(0.5)
    site.agent.kill()
    assert cut(site) == set(AIR)
    site.start_agent()
    came_back_rested(site, *AIR)


def test_a_board_that_lost_power_in_between_begins_the_rest_anew(site: Gantry):
    assert set_mode(site, 1)["code"] == "1000"
    for device in ("1.board", "1.io"):
        ask(f"{site.api}/powercycle", {"device": device})
    eventually(lambda: all(running(site)), 3, "nobody can keep a normally closed contact open without power")
    time.sleep(1.0)  # what the first cut began must be shorter
    assert set_mode(site, 1)["code"] == "1000"
    assert cut(site) == set(AIR)
    assert set_mode(site, 0)["code"] == "1000"
    came_back_rested(site, *AIR)


def test_a_reboot_of_what_feeds_an_air_conditioner_lasts_for_the_rest_whoever_times_it(site: Gantry):
    answers: dict[str, dict[str, str]] = {}
    asking = [threading.Thread(target=lambda n=name: answers.update({n: reboot(site, n)})) for name in AIR]
    for one in asking:
        one.start()
    eventually(lambda: cut(site) == set(AIR), 3)
    refused = order(site, cmd="3", airId="1", airOperate="1")
    assert (refused["code"], "压缩机保护" in refused["msg"]) == ("1007", True)
    for one in asking:
        one.join(20)
    assert {name: one["code"] for name, one in answers.items()} == dict.fromkeys(AIR, "1000")
    came_back_rested(site, *AIR)


def test_a_kill_in_such_a_reboot_leaves_nothing_cut_and_no_rest_shorter(site: Gantry):
    begun(*(lambda n=name: reboot(site, n) for name in AIR))
    eventually(lambda: cut(site) == set(AIR), 3)
    time.sleep(0.3)
    site.agent.kill()
    site.start_agent()
    refused = reboot(site, "right-power")
    assert (refused["code"], "尚未恢复供电" in refused["msg"]) == ("1007", True)
    came_back_rested(site, *AIR)


# --- what is listed no longer ---------------------------------------------------------------------------------------


def test_what_is_in_no_list_any_more_is_given_back_at_the_start_and_audited(site: Gantry):
    assert set_mode(site, 2)["code"] == "1000"
    site.agent.stop()
    text = edited(site, "2: [lpr]", "2: []").replace("[left-power, right-power]", "[left-power]")
    text = re.sub(r"      right-power: .*\n", "", text).replace("output: right-power", "output: lpr")
    restart(site, text.replace("2: []", "3: []"))
    eventually(lambda: supply(site, "lpr")["on"], 4, "not listed, and no compressor behind it")
    eventually(lambda: supply(site, "right-power")["on"], REST_S + LATE_S, "the output itself is gone from the file")
    assert supply(site, "right-power")["last_cut_s"] >= REST_S - STEP_S
    assert not supply(site, "left-power")["on"], "still listed"
    site.agent.wait_for("right-power had been cut and is in no list")
    time.sleep(1.2)
    assert told(site, "audit", "show").count("supply of output right-power given back") == 1


# --- answered first -------------------------------------------------------------------------------------------------


def test_an_agent_that_is_told_to_stop_does_what_it_has_answered_unless_nobody_could_end_it(site: Gantry):
    names = ("modem", "router")  # the board times the one, the agent would have to end the other
    before = {name: supply(site, name)["cuts"] for name in names}
    assert [reboot(site, name)["code"] for name in names] == ["1000", "1000"]
    assert [supply(site, name)["cuts"] - before[name] for name in names] == [0, 0]
    site.agent.stop()
    assert [supply(site, name)["cuts"] - before[name] for name in names] == [1, 0]
    eventually(lambda: supply(site, "modem")["on"], 3)
    assert "not done: the agent stopped" in told(site, "audit", "show")
    site.start_agent()
    assert reboot(site, "modem")["code"] == "1007", "it was rebooted, and rests"
    assert reboot(site, "router")["code"] == "1000", "no rest after what was not done"
    eventually(lambda: supply(site, "router")["cuts"] == before["router"] + 1 and supply(site, "router")["on"], 8)


def test_one_that_a_kill_came_before_is_told_so_and_leaves_no_rest(site: Gantry):
    before = supply(site, "switch")["cuts"]
    assert reboot(site, "switch")["code"] == "1000"
    site.agent.kill()
    site.start_agent()
    assert supply(site, "switch")["cuts"] == before
    site.agent.wait_for("switch was not rebooted though that was answered")
    assert "interrupted before it began" in told(site, "audit", "show")
    assert not {"rebooted.switch", "promised.switch"} & settings(site).keys(), "nor over another restart"
    assert reboot(site, "switch")["code"] == "1000"
    eventually(lambda: supply(site, "switch")["cuts"] == before + 1, 6)


# --- a repeat of what was interrupted -------------------------------------------------------------------------------


def test_the_repeat_of_a_mode_that_a_kill_interrupted_hears_how_it_stands(site: Gantry):
    order_ = {"cmd": "5", "mode": "2"}
    envelope = {"gantryId": GANTRY, "method": "cabinetControl", "timeStamp": str(int(time.time())), "version": "1001"}
    body = json.dumps({**envelope, "cabinetControl": order_}).encode()
    for device in ("1.board", "1.io"):
        site.fault(device, "silent")
    begun(lambda: send(site.ports["control"], body))
    eventually(lambda: settings(site).get("power_mode") == "2", 5)
    site.agent.kill()
    assert cut(site) == set()
    for device in ("1.board", "1.io"):
        site.mend(device)
    site.start_agent()
    eventually(lambda: send(site.ports["control"], body)["code"] == "1000", 15)
    assert cut(site) == {"left-power", "right-power", "lpr"}
    assert set_mode(site, 0)["code"] == "1000"
    assert send(site.ports["control"], body)["code"] == "1000", "the answer once given (D6), and nothing is done for it"
    assert cut(site) == set()
