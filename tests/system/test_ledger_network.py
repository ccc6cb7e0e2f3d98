"""Which hop failed, on a network of the kernel's own making: no route, a cable that is out, a silent gateway."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.system

ATTEMPT = """
import asyncio, sys
from pathlib import Path
from gantry_agent.cloud.uplink import Pace, Uplink
from gantry_agent.model import Record
from gantry_agent.store import Store

async def main(path, url):
    async with Store(Path(path)) as store:
        await store.put(Record("cabinet", 1, False, 0.0, b"{}"))
        uplink = Uplink(store, lambda _: url, "123456", pace=Pace(connect_s=1.5))
        task = asyncio.create_task(uplink.run("cabinet"))
        while not uplink.state("cabinet").hop:
            await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        (outage,) = await store.outages(0.0)
        print("hop:", outage.hops[0].name, outage.hops[0].said)

asyncio.run(main(*sys.argv[1:]))
"""
PLUGGED = """
ip link add up0 type veth peer name up1
ip link set up0 up
ip link set up1 {other_end}
ip addr add 192.168.9.2/24 dev up0
ip route add default via 192.168.9.1
"""


@pytest.mark.parametrize(
    ("wires", "hop"),
    [
        ("", "link no route"),
        (PLUGGED.format(other_end="up"), "gateway 192.168.9.1 does not answer on up0"),
        (PLUGGED.format(other_end="down"), "link up0 is lowerlayerdown"),
    ],
    ids=["no route", "gateway", "cable"],
)
def test_the_hop_that_failed_is_read_off_the_wires(tmp_path, wires, hop):
    script = f'set -e\nmount -t sysfs sys /sys\nip link set lo up\n{wires}\nexec "$@"'
    attempt = [sys.executable, "-c", ATTEMPT, str(tmp_path / "state.db"), "http://10.1.2.3/monitor.do"]
    command = ["unshare", "--net", "--mount", "sh", "-c", script, "sh", *attempt]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if "hop:" not in done.stdout:
        pytest.skip(f"needs the right to make a network: {done.stderr.strip()[-200:]}")
    assert f"hop: {hop}" in done.stdout
