"""The whole agent when its disk is full or damaged, and when the wall clock jumps."""

import asyncio
import itertools
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gantry import gantry
from ledger_rig import CountingCloud, agent, ask_books, light_site
from support import Process, eventually, free_ports, python

from gantry_agent.model import Record
from gantry_agent.store import Store

pytestmark = [pytest.mark.system, pytest.mark.timeout(int(os.environ.get("SOAK_TIMEOUT_S", "120")))]

STATUS = "cabinetStatusUpdate"
INTERVAL = 10
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


ONE_BOARD = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: {interval}}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.2, slow_s: 1, misses: 3}}
buses: {{io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}}}
cabinets:
  - id: 1
    devices:
      io:
        profile: moxa-iologik-e1212
        bus: io
        map: {{waterloggingSensor.isWarning: di0, doors.frontDoorLocked: di3}}
    outputs: {{front-lock: {{device: io, point: do0, pulse_s: 3}}}}
    doors: {{front: {{unlock: front-lock}}}}
"""


@pytest.fixture
def cloud() -> Iterator[CountingCloud]:
    cloud = CountingCloud(free_ports(1)[0])
    cloud.up()
    yield cloud
    cloud.down()


def doctor_of_disk(site: Path) -> tuple[int, bool]:
    """The exit code of `doctor`, and whether its verdict is about the disk."""
    done = subprocess.run(
        python("gantry_agent", "doctor", "-c", str(site)),
        env=os.environ | {"LC_ALL": "zh_CN.UTF-8"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, "\n! 磁盘不能写" in done.stdout


def test_on_a_full_disk_polling_pushes_and_control_go_on_and_it_mends_without_a_restart(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(state)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        with gantry(tmp_path) as site:
            eventually(lambda: len(site.uploads()) >= 3, 30, "the first uploads")
            with (state / "ballast").open("wb", buffering=0) as file:
                try:
                    while file.write(b"\0" * 4096):
                        pass
                except OSError:
                    pass
            since = site.received()
            site.plant(water=True)
            site.sees(1, since=since, waterloggingSensor_isWarning="1")
            site.agent.wait_for("kept in memory until the disk can be used again", 15)
            assert doctor_of_disk(site.site) == (1, True)
            assert site.order({"cmd": "2", "unlockDoorId": "1"})["code"] == "1000"
            assert site.order({"updateNow": "1"})["code"] == "1000"
            since = site.received()
            site.plant(water=False)
            site.sees(1, since=since, waterloggingSensor_isWarning="0")
            assert site.order({"updateNow": "1"}, method="computerControl")["code"] == "1000"
            eventually(lambda: site.uploads("computerStatusUpdate", since=since), 15, "a status")
            (state / "ballast").unlink()
            site.agent.wait_for("can be used again, after", 45)
            assert doctor_of_disk(site.site)[1] is False
            eventually(lambda: "waiting 0" in ask_books(site.site, "gaps")[1], 10, "an empty outbox")
            code, gaps = ask_books(site.site, "gaps")
            assert (code, gaps.splitlines()[0]) == (0, "0 unexplained")
            taken = sum(upload["code"] == "1000" for upload in site.uploads())
            assert f"delivered {taken}," in gaps  # what the books say is what the cloud has: none lost, none twice
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


def test_started_on_a_read_only_disk_it_polls_pushes_and_obeys_and_mends_without_a_restart(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(state)]
    if subprocess.run(small, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        with gantry(tmp_path, ONE_BOARD) as site:
            eventually(site.uploads, 30, "the first upload")
            site.agent.stop()
            subprocess.run(["mount", "-o", "remount,ro", str(state)], check=True)
            site.start_agent()
            alone = Process(*python("gantry_agent", "doctor", "-c", str(site.site)))
            since = site.received()
            site.plant(water=True)
            site.sees(1, since=since, waterloggingSensor_isWarning="1")
            assert site.order({"cmd": "2", "unlockDoorId": "1"})["code"] == "1000"
            assert not site.state()["front"]["locked"]
            assert alone.wait(20) == 1
            assert "is the disk full or read-only?" in alone.output, "it must not go to the hardware beside the agent"
            alone.stop()
            subprocess.run(["mount", "-o", "remount,rw", str(state)], check=True)
            while "can be used again, after" not in site.agent.output:  # the test's time is bounded
                assert site.order({"updateNow": "1", "why": str(time.monotonic_ns())})["code"] == "1000"
                time.sleep(0.5)
            eventually(lambda: "waiting 0" in ask_books(site.site, "gaps")[1], 10, "an empty outbox")
            code, gaps = ask_books(site.site, "gaps")
            assert (code, gaps.splitlines()[0]) == (0, "0 unexplained")
            taken = sum(upload["code"] == "1000" for upload in site.uploads())
            assert f"delivered {taken}," in gaps
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


def test_with_a_damaged_database_the_agent_starts_and_reports_within_a_minute(tmp_path, cloud):
    site = light_site(tmp_path, cloud.port, free_ports(1)[0])
    process = agent(site)
    eventually(lambda: cloud.of(STATUS), 20, "the first status")
    process.stop()  # which writes the log into the file
    database = tmp_path / "state" / "agent.db"
    content = bytearray(database.read_bytes())
    for place in random.Random(1).sample(range(len(content)), len(content) // 20):
        content[place] ^= 0x5A
    database.write_bytes(content)
    since, started = len(cloud.of(STATUS)), time.monotonic()
    process = agent(site)
    try:
        eventually(lambda: len(cloud.of(STATUS)) > since, 60, "a status")
        print(f"status {time.monotonic() - started:.1f} s after the start on a damaged database")
        assert any(database.parent.glob("agent.db.damaged-*Z"))
        assert "is kept as" in process.output
        assert ask_books(site, "gaps")[1].splitlines()[0] == "0 unexplained"
    finally:
        assert process.stop() == 0


HASTY = (
    "import sys; from gantry_agent import agent, cli; agent.FORGET_S, agent.STEADY_S = 0.5, 0.0; sys.exit(cli.main())"
)


async def test_what_is_older_than_the_site_file_says_goes_while_the_agent_runs_and_the_rest_stays(tmp_path, cloud):
    site = light_site(tmp_path, cloud.port, free_ports(1)[0], more="backlog_per_minute: 1")
    cloud.down()
    now = time.time()
    album = tmp_path / "state" / "media" / "1" / "front"
    album.mkdir(parents=True)
    names = [time.strftime("%Y%m%d%H%M%S000.jpg", time.gmtime(now - days * 86_400)) for days in (92, 88)]
    for name in names:
        (album / name).write_bytes(b"picture")
    async with Store(tmp_path / "state" / "agent.db") as store:
        for days in (92, 91, 88):
            await store.put(Record("cabinet", 1, True, now - days * 86_400, b"{}"))
    process = Process(sys.executable, "-c", HASTY, "run", "-c", str(site))
    try:
        process.wait_for("ready: gantry")
        books = await eventually_books(site, "lost 2: too old")
        assert re.search(r"lost: 2\b", books)
        assert [path.name for path in album.iterdir()] == [names[1]]
    finally:
        assert process.stop() == 0


async def eventually_books(site: Path, wanted: str) -> str:
    return await asyncio.to_thread(
        eventually, lambda: said if wanted in (said := ask_books(site)[1]) else "", 20, wanted
    )


def test_two_agents_on_one_storage_are_one_too_many(tmp_path, cloud):
    site = light_site(tmp_path, cloud.port, free_ports(1)[0])
    first = agent(site)
    try:
        second = Process(*python("gantry_agent", "run", "-c", str(site)))
        assert second.wait(20) == 1
        second.stop()
        assert "another agent runs on it" in second.output
    finally:
        assert first.stop() == 0


JUMPS = os.environ.get("SOAK_JUMPS", "+3650d").split()


def test_when_the_wall_clock_jumps_statuses_are_neither_skipped_nor_bunched(tmp_path, cloud):
    site = light_site(tmp_path, cloud.port, free_ports(1)[0], INTERVAL)
    clock = tmp_path / "clock"
    clock.write_text("+0")
    process = agent(
        site,
        LD_PRELOAD=FAKETIME,
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        DONT_FAKE_MONOTONIC="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    try:
        eventually(lambda: cloud.of(STATUS), 20, "the first status")
        waits = []
        for jump in [*JUMPS, "+0"]:
            time.sleep(1.2)  # the step before is noticed within a second
            since, began = len(cloud.of(STATUS)), time.monotonic()
            clock.write_text(jump)
            eventually(lambda since=since: len(cloud.of(STATUS)) > since, INTERVAL + 10, f"a status after {jump}")
            waits.append(cloud.of(STATUS)[since][0] - began)
        print("seconds to the next status:", " ".join(f"{wait:.1f}" for wait in waits))
        eventually(lambda: "waiting: 0" in ask_books(site)[1], 10, "an empty outbox")
        times = [at for at, *_ in cloud.of(STATUS)]
        for at in times[1:]:  # the first status and a first tick may be near each other
            assert sum(at <= other < at + INTERVAL - 1 for other in times) <= 2 + len(JUMPS)
        code, gaps = ask_books(site, "gaps")
        assert (code, gaps.splitlines()[0]) == (0, "0 unexplained"), gaps
        steps = [abs(_size(before, after)) for before, after in _steps()]
        told = process.output.count("the wall clock stepped by")
        assert sum(step > 1.5 for step in steps) <= told <= len(steps)
    finally:
        assert process.stop() == 0


def _steps() -> list[tuple[str, str]]:
    positions = ["+0", *JUMPS, "+0"]
    return list(itertools.pairwise(positions))


def _size(before: str, after: str) -> float:
    units = {"d": 86_400.0, "h": 3600.0, "m": 60.0}

    def seconds(text: str) -> float:
        return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)

    return seconds(after) - seconds(before)
