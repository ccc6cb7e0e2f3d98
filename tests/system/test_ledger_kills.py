"""kill -9 at random points, of a busy outbox and of the whole agent: nothing accepted is lost, the books balance."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ledger_rig import WRITER, CountingCloud, agent, ask_books, light_site
from support import eventually, free_ports, order

pytestmark = [pytest.mark.system, pytest.mark.timeout(int(os.environ.get("SOAK_TIMEOUT_S", "120")))]

KILLS = int(os.environ.get("SOAK_KILLS", "6"))
AGENT_KILLS = int(os.environ.get("SOAK_AGENT_KILLS", "2"))


def write(path: Path, url: str, count: int = -1) -> subprocess.Popen:
    command = [sys.executable, "-c", WRITER, str(path), url, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_an_outbox_killed_at_random_points_loses_nothing_and_doubles_only_what_was_in_flight(tmp_path):
    chance = random.Random(os.environ.get("SOAK_SEED", "3"))
    (port,) = free_ports(1)
    cloud, path, url = CountingCloud(port), tmp_path / "state.db", f"http://127.0.0.1:{port}/"
    accepted: set[str] = set()
    for round_ in range(KILLS):
        if round_ % 4 < 2:
            cloud.up()
        writer = write(path, url)
        assert writer.stdout
        accepted.add(writer.stdout.readline().strip())
        time.sleep(chance.uniform(0, 0.25))
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate(timeout=30)
        accepted.update(rest.split("\n")[:-1])  # a line cut short is not said
        cloud.down()
    cloud.up()
    last = write(path, url, 1)
    try:
        said, _ = last.communicate(timeout=1000)
    finally:
        last.kill()
        last.wait()
        cloud.down()
    assert "drained 0 0" in said
    lost = accepted - {""} - set(cloud.bodies)
    print(f"{KILLS} kills, {len(accepted)} accepted, {len(lost)} lost, {cloud.doubled} delivered twice")
    assert not lost
    assert cloud.doubled <= KILLS
    assert max(cloud.bodies.values()) <= 2
    assert len(accepted) > KILLS * 5


def test_an_agent_killed_again_and_again_explains_every_upload_that_was_due(tmp_path):
    chance = random.Random(5)
    port, control = free_ports(2)
    site, cloud = light_site(tmp_path, port, control), CountingCloud(port)
    for round_ in range(AGENT_KILLS):
        if round_ % 2 == 0:
            cloud.up()
        process = agent(site)
        try:
            for _ in range(10):
                order(control, "cabinetControl", {"updateNow": "1"})
                order(control, "computerControl", {"updateNow": "1"})
            time.sleep(chance.uniform(0, 2))
        finally:
            process.kill()
        cloud.down()
        time.sleep(chance.uniform(0, 2))
    cloud.up()
    process = agent(site)
    try:
        seen = len(cloud.came)
        eventually(lambda: len(cloud.came) > seen + 1, 20, "the first status after the last kill")
        eventually(lambda: "waiting: 0" in ask_books(site)[1], 30, "an empty outbox")
        eventually(lambda: "all arrived" in ask_books(site, "outages")[1], 5, "the end of the outage")
        outages = ask_books(site, "outages", "--since", "1h")[1]
        code, gaps = ask_books(site, "gaps", "--since", "30d")
    finally:
        assert process.stop() == 0
        cloud.down()
    delivered = int(re.search(r"delivered (\d+)", gaps)[1])
    twice = sum(cloud.bodies.values()) - delivered  # two statuses of one second may be the same to the byte
    print(f"{AGENT_KILLS} kills: {gaps.splitlines()[-1]}; {twice} delivered twice")
    assert outages.count("agent killed") >= 1
    assert "TCP" in outages
    assert gaps.splitlines()[0] == "0 unexplained"
    assert code == 0
    assert 0 <= twice <= 2 * AGENT_KILLS  # one in flight per channel
