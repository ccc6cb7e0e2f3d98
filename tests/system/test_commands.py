"""Every command of the interface in one table: what it does to the plant, what the cloud hears when the device does
not do it, and which order is refused by name. The real agent, the simulated hardware, one request at a time or all at
once; what each command does in full is in the tests of its own.
"""

import asyncio
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from gantry import Gantry, gantry
from support import ask, eventually

from gantry_agent.agent import DATABASE
from gantry_agent.console import door
from gantry_agent.store import Store
from gantry_agent.text import Text, read_kept

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: 3600}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.3, slow_s: 1, misses: 3}}
interlocks: {{compressor_off_s: 0}}
buses:
  line: {{type: serial-tcp, host: 127.0.0.1, port: {converter}, baudrate: 115200}}
  io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}
  power: {{type: snmp, host: 127.0.0.1, port: {power}, version: 2c, community: public, write_community: private}}
  batteries: {{type: snmp, host: 127.0.0.1, port: {ups}, version: 2c, community: public, write_community: private}}
  access: {{type: uhppote, host: 127.0.0.1, port: {pc}}}
cabinets:
  - id: 1
    devices:
      power: {{profile: huawei-site-monitor, bus: power, ids: {{rectifier: [1, 2]}}, skip: [thermohygrometer]}}
      warm: {{profile: envicool-cabinet-ac, bus: line, unit: 1}}
      cool: {{profile: envicool-cabinet-ac, bus: line, unit: 2}}
      board: {{profile: waveshare-relay, bus: line, unit: 3}}
      shed: {{profile: waveshare-relay, bus: line, unit: 4}}
      io: {{profile: moxa-iologik-e1212, bus: io, map: {{doors.backDoorClosed: di4, doors.backDoorLocked: di5}}}}
      access:
        profile: uhppote-controller
        bus: access
        parameters: {{serial: 423187757}}
        map:
          doors.frontDoorClosed: {{point: door1_open, invert: true}}
          doors.frontDoorLocked: {{point: door1, invert: true}}
    outputs:
      front-lock: {{device: access, point: door1, pulse_s: 3}}
      back-lock: {{device: io, point: do0, pulse_s: 1}}
      camera: {{device: board, point: do0}}
      lpr: {{device: shed, point: do0}}
    doors: {{front: {{unlock: front-lock}}, back: {{unlock: back-lock}}}}
  - id: 2
    devices:
      power: {{profile: huawei-site-monitor, bus: batteries, parameters: {{battery_test_kind: 2}}}}
relays: [{{ip: 10.0.0.9, port: 1, output: camera, pulse_s: 1, hold_off_s: 0}}]
power_modes: {{1: [lpr]}}
"""
DONE = {"code": "1000", "msg": "成功"}
TOMORROW = (datetime.now(ZoneInfo("Asia/Shanghai")) + timedelta(days=1)).date().isoformat()
CARD = 10058400
Fields = Mapping[str, Any]
Look = Callable[[Gantry], Any]


def card(number: int) -> dict[str, str]:
    return {"cardId": str(number), "expireDate": TOMORROW}


def cards(site: Gantry) -> set[int]:
    return {int(number) for number in ask(f"{site.api}/cards?device=1.access")}


@dataclass(frozen=True)
class Row:
    """One command: its fields, where it goes, how the plant shows it, how to put it back, and what is refused.

    `failures` has what the cloud must hear for each fault of the device; a command that moves no device has none.
    """

    fields: Fields
    shows: Look  # what the plant shows; changed by the command, and by nothing else
    device: str = ""
    back: Fields | None = None
    refused: tuple[tuple[Fields, str], ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)


USUAL = {"silent": "无应答", "exception": "拒绝", "ignore": "回读"}
TABLE: Mapping[int, Row] = {
    1: Row(
        {"rebootIp": "10.0.0.9", "rebootPort": "1"},
        lambda site: site.state()["supplies"]["camera"]["cuts"],
        "1.board",
        None,
        (
            ({"rebootIp": "10.0.0.9", "rebootPort": "7"}, "rebootPort"),
            ({"rebootIp": "10.0.0.1", "rebootPort": "1"}, "rebootIp"),
        ),
        USUAL,
    ),
    2: Row(
        {"unlockDoorId": "2"},
        lambda site: site.state()["back"]["locked"],
        "1.io",
        None,
        (
            ({"unlockDoorId": "2", "cabinetId": "2"}, "unlockDoorId"),
            ({"unlockDoorId": "2", "cabinetId": "9"}, "cabinetId"),
        ),
        USUAL,
    ),
    3: Row(
        {"airId": "1", "airOperate": "2"},
        lambda site: site.state()["air"][0]["remote"],
        "1.warm",
        {"airId": "1", "airOperate": "1"},
        (({"airId": "3", "airOperate": "1"}, "airId"), ({"airId": "1", "airOperate": "3"}, "airOperate")),
        USUAL,
    ),
    4: Row(
        {"airId": "2", "autoRefrigerationTemp": "30", "autoHeatingTemp": "8"},
        lambda site: [site.state()["air"][1][name] for name in ("cool_on_c", "heat_on_c")],
        "1.cool",
        {"airId": "2", "autoRefrigerationTemp": "35", "autoHeatingTemp": "5"},
        (
            ({"airId": "2"}, "autoRefrigerationTemp"),
            ({"airId": "2", "autoRefrigerationTemp": "5", "autoHeatingTemp": "9"}, "autoRefrigerationTemp"),
        ),
        {**USUAL, "clamp": "回读"},
    ),
    5: Row(
        {"mode": "1"},
        lambda site: site.state()["supplies"]["lpr"]["on"],
        "1.shed",
        {"mode": "0"},
        (({"mode": "4"}, "mode"), ({}, "mode")),
        {"silent": "lpr", "exception": "lpr", "ignore": "lpr"},
    ),
    6: Row(
        {"isDoorDefend": "1"},
        lambda site: site.latest(1)["doors"]["defendMode"],
        back={"isDoorDefend": "0"},
        refused=(({"isDoorDefend": "2"}, "isDoorDefend"),),
    ),
    7: Row(
        {"cardInfos": [card(CARD)]},
        cards,
        "1.access",
        {"cardInfos": []},
        (({"cardInfos": [{"cardId": "1", "expireDate": "2030-02-30"}]}, "expireDate"), ({}, "cardInfos")),
        {"silent": "未同步", "exception": "未同步", "ignore": "未同步"},
    ),
    8: Row(
        {"onOff": "0"},
        lambda site: site.state()["dc"]["enabled"],
        "1.power",
        {"onOff": "1"},
        (({"onOff": "2"}, "onOff"),),
        USUAL,
    ),
    9: Row(
        {"cabinetId": "2", "testStartStop": "1"},
        lambda site: ask(f"{site.api}/state")["plant"]["2"]["dc"]["battery"]["test"] is not None,
        "2.power",
        {"cabinetId": "2", "testStartStop": "0"},
        (({"cabinetId": "2", "testStartStop": "7"}, "testStartStop"),),
        USUAL,
    ),
    10: Row(
        {"cabinetId": "2"},
        lambda _site: None,
        "2.power",
        None,
        (({"cabinetId": "9"}, "cabinetId"),),
        {"silent": "无应答", "exception": "拒绝"},
    ),
}
FAULTS: Mapping[str, dict[str, Any]] = {
    "exception": {"code": 6},
    "ignore": {},
    "clamp": {"first": 32, "last": 40},  # of the register: whole degrees
    "silent": {},  # last: for seconds after it a refusal might be the answer to an older question
}
_asked = itertools.count()
_lock = threading.Lock()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with gantry(tmp_path_factory.mktemp("commands"), SITE) as made:
        eventually(lambda: len(made.uploads("cabinetStatusUpdate")) >= 2, 30, "the first uploads")
        yield made
        assert not [one["complaints"] for one in made.uploads() if one["complaints"]]
        assert "Traceback" not in made.agent.output


def cmd(site: Gantry, number: int, fields: Fields) -> dict[str, Any]:
    with _lock:
        why = str(next(_asked))  # unlike any other request: a repeat is not executed
    return site.order({"cmd": str(number), **fields, "why": why})


def at_rest(site: Gantry) -> bool:
    """Ask whether mains and batteries are well, as far as the agent knows: some orders wait for that."""
    before = site.received()
    cmd(site, 6, {"isDoorDefend": "0", "updateNow": "1"})
    for cabinet in (1, 2):
        eventually(lambda c=cabinet: site.uploads("cabinetStatusUpdate", c, before), 10, "both are told")
    latest = [site.latest(cabinet) for cabinet in (1, 2)]
    return all(one["elec"][0]["status"] == "1" and one["ups"][0]["runningState"] in {"1", "2", "4"} for one in latest)


def put_back(site: Gantry, number: int, before: object) -> None:
    """Bring the plant where it was, by the command itself or by waiting for a pulse to end."""
    row = TABLE[number]
    if number == 2:
        eventually(lambda: not site.state()["back"]["energised"], 6, "the end of the pulse")
        site.plant(door={"back": "closed"})
    if row.back is not None:
        eventually(lambda: cmd(site, number, row.back)["code"] == "1000", 40, f"cmd {number} undone")
    if number != 1:
        eventually(lambda: row.shows(site) == before, 20, f"the plant as before cmd {number}")


@pytest.mark.parametrize("number", [number for number in TABLE if number != 10])
def test_the_plant_shows_what_was_ordered(site: Gantry, number: int):
    row = TABLE[number]
    before = row.shows(site)
    answer = eventually(
        lambda: (
            one if (one := cmd(site, number, row.fields))["code"] == "1000" else None
        ),  # once the cabinet is at rest
        30,
        f"cmd {number} is done",
    )
    assert answer == DONE
    eventually(lambda: row.shows(site) != before, 10, f"the effect of cmd {number}")
    put_back(site, number, before)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_the_device_does_not_do_is_1007_with_what_was_seen_and_the_plant_stays_as_it_is(site: Gantry, fault: str):
    rows = {number: row for number, row in TABLE.items() if fault in row.failures}
    eventually(lambda: at_rest(site), 30, "mains and batteries are well")
    before = {number: row.shows(site) for number, row in rows.items()}
    for row in rows.values():
        site.fault(row.device, fault, **FAULTS[fault])
    try:
        with ThreadPoolExecutor(len(rows)) as pool:  # to different devices: none waits for another
            answers = dict(
                zip(rows, pool.map(lambda number: cmd(site, number, rows[number].fields), rows), strict=True)
            )
        after = {number: row.shows(site) for number, row in rows.items()}
    finally:
        for row in rows.values():
            site.mend(row.device)
    for number, row in rows.items():
        assert answers[number]["code"] == "1007", (number, answers[number])
        assert row.failures[fault] in answers[number]["msg"], (number, answers[number])
        assert len(answers[number]["msg"]) <= 40
        if fault != "clamp":  # which takes what it can
            assert after[number] == before[number], number
    for number, row in rows.items():
        if row.back is not None:
            put_back(site, number, before[number])


@pytest.mark.parametrize(
    ("number", "fields", "named"), [(number, *one) for number, row in TABLE.items() for one in row.refused]
)
def test_what_is_wrong_or_not_configured_is_refused_by_its_name(site: Gantry, number: int, fields: Fields, named: str):
    before = TABLE[number].shows(site)
    answer = cmd(site, number, fields)
    assert answer["code"] == "1002"
    assert named in answer["msg"]
    assert TABLE[number].shows(site) == before


def frames(steps: Iterable[Text], did: str) -> list[str]:
    return [step.en.replace(f" {did} ", " ", 1) for step in steps if f" {did} " in step.en]


async def rehearsed(site: Gantry, number: int, fields: Fields) -> tuple[dict[str, str], list[Text]]:
    """Ask as `gantry-agent command --dry-run` does: the answer, and the steps."""
    business = {"cmd": str(number), **fields}
    question = {"ask": "command", "method": "cabinetControl", "business": business, "dry": True}
    said = [step async for step in door.ask(site.folder / "state" / door.NAME, question)]
    return said[-1]["answer"], [Text(**step) for one in said[:-1] for step in one["steps"]]


async def audited(site: Gantry) -> list[Text]:
    """The steps of the newest entry."""
    async with Store(site.folder / "state" / DATABASE, readonly=True) as store:
        (newest,) = await store.audit_entries(0.0, 1e12, 1)
    return [read_kept(step) for step in newest.entry.steps]


@pytest.mark.parametrize("number", [number for number in TABLE if TABLE[number].device and number != 10])
def test_a_dry_run_moves_nothing_and_tells_the_very_frames_that_the_order_then_writes(site: Gantry, number: int):
    row = TABLE[number]
    if number in {8, 9}:
        eventually(lambda: at_rest(site), 30, "mains and batteries are well")
    before = row.shows(site)
    answer, steps = asyncio.run(rehearsed(site, number, row.fields))
    assert answer == DONE
    time.sleep(0.1)
    assert row.shows(site) == before
    assert cmd(site, number, row.fields) == DONE
    assert (told := frames(steps, "would write"))
    assert frames(asyncio.run(audited(site)), "write") == told
    put_back(site, number, before)


def test_the_result_of_a_battery_test_is_asked_as_often_as_one_likes(site: Gantry):
    for _ in range(2):
        answer = site.order({"cmd": "10", "cabinetId": "2"})
        assert answer["code"] == "1000"
        assert len(answer["batterysTestResult"]) == 9
    (step,) = asyncio.run(audited(site))
    assert re.fullmatch(r"2\.power keeps as its newest record: (none|testStartTime [^{}']*)", step.en)
