"""Events on real wires: gathered, held down, durable over kill -9, thresholds, and siren and beacon in defence mode."""

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bench_events
import bench_mains
import pytest
from gantry import Gantry, gantry
from support import eventually

from gantry_agent.store import Store

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(120)]

HOLD_S = 2
SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: 3600}}
control: {{listen: "127.0.0.1:{control}"}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.2, slow_s: 1, misses: 3}}
events: {{hold_down_s: 2}}
buses:
  rs485: {{type: serial, port: {folder}/ttyRS485, baudrate: 38400}}
  io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}
  power: {{type: snmp, host: 127.0.0.1, port: {power}, version: 2c, community: public}}
cabinets:
  - id: 1
    devices:
      power: {{profile: huawei-site-monitor, bus: power, ids: {{rectifier: [1, 2]}}, skip: [elec, thermohygrometer]}}
      meter: {{profile: chint-dtsu666, bus: rs485, unit: 3}}
      climate: {{profile: xy-md02, bus: rs485, unit: 52}}
      io:
        profile: moxa-iologik-e1212
        bus: io
        map:
          waterloggingSensor.isWarning: di0
          smokeSensor.isWarning: {{point: di1, invert: true}}
          doors.frontDoorClosed: di2
          doors.frontDoorLocked: di3
    outputs:
      front-lock: {{device: io, point: do0, pulse_s: 1}}
      siren: {{device: io, point: do1}}
      beacon: {{device: io, point: do2}}
    doors: {{front: {{unlock: front-lock}}, siren: siren, beacon: beacon}}
    alarms:
      - {{point: thermohygrometer.temperature, above: 45, clear: 42, for_s: 1, text: 柜内温度过高}}
      - {{point: elec.voltage, below: 180, clear: 200, for_s: 0, text: 电压偏低}}
"""


@pytest.fixture(scope="module")
def running_gantry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with gantry(tmp_path_factory.mktemp("events"), SITE) as made:
        eventually(made.uploads, 30, "the first upload")
        yield made


@pytest.fixture
def site(running_gantry: Gantry) -> Iterator[Gantry]:
    yield running_gantry
    assert not [one["complaints"] for one in running_gantry.uploads() if one["complaints"]]
    assert "Traceback" not in running_gantry.agent.output


def status(upload: dict[str, Any]) -> dict[str, Any]:
    return upload["payload"]["cabinetStatus"]


def restart(site: Gantry, **settings: str) -> None:
    """Kill the agent as a power cut would, and start it again, with settings changed meanwhile."""
    site.agent.kill()
    asyncio.run(_set(site.folder / "state" / "agent.db", settings))
    before = site.received()
    site.start_agent()
    eventually(lambda: site.received() > before, 20, "the first upload after the start")


async def _set(path: Path, settings: dict[str, str]) -> None:
    async with Store(path) as store:
        for name, value in settings.items():
            await store.set_setting(name.replace("_", "."), value)


def test_an_input_that_flaps_is_pushed_three_times_and_summed_up_once_per_hold(site: Gantry):
    time.sleep(HOLD_S)
    since, began, water = site.received(), time.monotonic(), False
    while time.monotonic() - began < 2 * HOLD_S:
        water = not water
        site.plant(water=water)
        time.sleep(0.3)
    site.plant(water=True)
    time.sleep(2 * HOLD_S + 1)
    uploads = site.uploads(since=since)
    lasted_s = time.monotonic() - began
    for first in uploads:
        burst = [one for one in uploads if 0 <= one["received"] - first["received"] < HOLD_S]
        assert len(burst) <= 4, f"{len(burst)} pushes in one hold"
    assert 4 <= len(uploads) <= 4 * lasted_s / HOLD_S
    assert status(uploads[-1])["waterloggingSensor"]["isWarning"] == "1"
    site.agent.wait_for(r"waterloggingSensor 1.isWarning flaps: more than 3 changes in 2 s")
    site.agent.wait_for(r"isWarning is held down no more", 10)
    site.plant(water=False)
    site.sees(1, since=since + len(uploads), within_s=5, waterloggingSensor_isWarning="0")


def test_a_room_too_hot_is_an_alarm_after_its_delay_and_until_it_is_cool(site: Gantry):
    since = site.received()
    site.plant(outside_c=60, inside_c=60)
    hot = site.sees(1, since=since, within_s=10, thermohygrometer_status="0")
    assert float(status(hot)["thermohygrometer"]["temperature"]) > 45
    site.agent.wait_for("cabinet 1 raised: thermohygrometer.1..temperature > 45 °C: 柜内温度过高")
    site.plant(outside_c=25, inside_c=25)
    site.sees(1, since=since, within_s=10, thermohygrometer_status="1")
    site.agent.wait_for("cabinet 1 cleared: thermohygrometer.1..temperature")


def test_a_threshold_stands_beside_the_meters_own_texts(site: Gantry):
    since = site.received()
    site.plant(phase={"L1": 120})
    low = site.sees(1, since=since, within_s=5)
    eventually(lambda: "电压偏低" in site.latest(1)["elec"][0]["warningMsg"], 5)
    assert len(site.latest(1)["elec"][0]["warningMsg"].split(",")) >= 2, low
    site.plant(phase={"L1": 230})
    eventually(lambda: site.latest(1)["elec"][0]["warningMsg"] == "", 5)


def test_after_a_power_cut_what_is_over_is_cleared_once_and_what_stands_is_not_raised_again(site: Gantry):
    since = site.received()
    site.plant(water=True, smoke=True)
    eventually(
        lambda: (
            (site.latest(1)["waterloggingSensor"]["isWarning"], site.latest(1)["smokeSensor"]["isWarning"])
            == ("1", "1")
        ),
        5,
    )
    raised_at = site.latest(1)["smokeSensor"]["warningChangeTime"]
    site.agent.kill()
    site.plant(water=False)
    site.start_agent()
    site.sees(1, since=since, within_s=10, waterloggingSensor_isWarning="0")
    time.sleep(1.0)
    told = [status(one) for one in site.uploads(since=since)]
    water = [one["waterloggingSensor"]["isWarning"] for one in told]
    assert (water.count("1") >= 1, sorted(set(water), reverse=True), water[-1]) == (True, ["1", "0"], "0")
    assert water == sorted(water, reverse=True), "raised once, cleared once"
    assert [one["smokeSensor"]["isWarning"] for one in told][water.index("0") :] == ["1"] * water.count("0")
    assert water.count("0") == 1, "the truth is sent once"
    assert told[-1]["smokeSensor"]["warningChangeTime"] == raised_at
    records = [line for line in site.agent.lines if re.search(r"smokeSensor 1.isWarning", line)]
    assert not records, "what stands still is no event"
    site.plant(smoke=False)
    site.sees(1, since=since, within_s=5, smokeSensor_isWarning="0")


def test_an_illegal_opening_in_defence_mode_drives_siren_and_beacon_until_the_door_is_closed(site: Gantry):
    restart(site, defend_1="1")
    assert site.latest(1)["doors"]["defendMode"] == "1"
    since = site.received()
    site.plant(door={"front": "forced"})
    site.sees(1, since=since, within_s=5, doors_frontDoorOpenIllegally="1")
    eventually(lambda: site.state()["siren"] and site.state()["beacon"], 3, "siren and beacon")
    restart(site)  # a power cut does not end it
    time.sleep(0.5)
    assert site.state()["siren"]
    assert site.latest(1)["doors"]["frontDoorOpenIllegally"] == "1"
    site.plant(door={"front": "closed"})
    site.sees(1, since=since, within_s=5, doors_frontDoorOpenIllegally="0")
    eventually(lambda: not (site.state()["siren"] or site.state()["beacon"]), 3, "silence")


def test_in_defence_mode_a_remote_unlocking_makes_no_alarm_and_a_key_does(site: Gantry):
    restart(site, defend_1="1")
    since = site.received()
    assert site.order({"cmd": "2", "unlockDoorId": "1"})["code"] == "1000"
    site.sees(1, since=since, within_s=5, doors_frontDoorUnlockType="2")
    site.plant(door={"front": "pull"})
    opened = site.sees(1, since=since, within_s=5, doors_frontDoorClosed="0")
    assert status(opened)["doors"]["frontDoorOpenIllegally"] == "0"
    assert not site.state()["siren"]
    site.plant(door={"front": "closed"})
    site.sees(1, since=since, within_s=10, doors_frontDoorLocked="1", doors_frontDoorClosed="1")
    site.plant(door={"front": "key"})
    eventually(lambda: site.latest(1)["doors"]["frontDoorUnlockType"] == "3", 5)
    site.plant(door={"front": "pull"})
    eventually(lambda: site.state()["siren"], 5, "the siren")
    assert site.agent.stop() == 0  # nobody could end it after this
    assert not site.state()["siren"]
    asyncio.run(_set(site.folder / "state" / "agent.db", {"defend_1": "0"}))
    site.start_agent()
    time.sleep(2.0)
    assert not site.state()["siren"], "the defence is over"
    assert site.latest(1)["doors"]["frontDoorOpenIllegally"] == "1"
    site.plant(door={"front": "closed"})


@pytest.fixture(scope="module")
def quick() -> Iterator[bench_events.Bench]:
    """The bench's idle site: everything that shows the mains answers within milliseconds."""
    with bench_events.bench(bench_events.IDLE, 0.2, 5.0) as made:
        yield made


def test_a_lone_door_event_is_not_held_and_the_mains_are_gathered_within_their_time(quick: bench_events.Bench):
    found = bench_events.measure(quick, 6)
    assert max(found["door"]) < 100, "a door waits for nobody"
    assert max(found["mains"]) < 250


def test_a_mains_failure_with_all_that_hangs_on_it_is_one_record(quick: bench_events.Bench):
    for mains in (False, True) * 3:
        since = max(one["number"] for one in quick.since(0))
        quick.plant(mains=mains)
        time.sleep(1.0)
        uploads = [one for one in quick.since(since) if re.search(r"status|warningMsg", str(one["changes"]))]
        assert len(uploads) == 1, [(one["received"], one["changes"]) for one in uploads]
        told = status(uploads[0])
        shown = [told["elec"][0]["status"], *(one["status"] for one in told["rectifier"])]
        assert shown == ["1" if mains else "0"] * 3
        assert all(bool(one["warningMsg"]) is not mains for one in told["rectifier"])


def test_on_a_slow_line_a_site_that_gives_the_power_its_time_gets_one_record_of_a_mains_failure():
    seen = bench_mains.Seen()
    with bench_mains.slow_line(3000, bench_mains.FEW, 2.0) as line:
        bench_mains.failures(line, 2, seen)
    assert seen.records == [1, 1]
    assert seen.units == [5, 5]
    assert min(seen.span) > 200, "longer than changes are gathered without it"
