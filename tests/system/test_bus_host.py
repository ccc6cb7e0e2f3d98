"""This computer, beside what psutil says of it when asked directly."""

import asyncio
import os
import socket
import threading
import time
from pathlib import Path

import psutil
import pytest

from gantry_agent.field.bus import open_link
from gantry_agent.field.bus.host import _Octets, _share
from gantry_agent.field.request import GetOids, ReadHost, Timing
from gantry_agent.model import Bus, NoReply

pytestmark = pytest.mark.system
T = Timing(3.0, 0.0)


@pytest.fixture
async def host():
    link = open_link(Bus("host", "host", {}))
    yield link
    await link.close()
    assert len(asyncio.all_tasks()) == 1
    for _ in range(50):
        if not any(thread.name.startswith("host") for thread in threading.enumerate()):
            return
        time.sleep(0.01)
    raise AssertionError("the thread is still there")


async def test_memory_disk_and_addresses_are_those_of_this_computer(host, tmp_path):
    names = (
        "memory_total_kb",
        "memory_used_percent",
        f"disk_total_kb:{tmp_path}",
        f"disk_used_percent:{tmp_path}",
        "ip:lo",
    )
    reply = await host.transact(ReadHost(names), T)
    assert reply["memory_total_kb"] == psutil.virtual_memory().total // 1024
    assert abs(reply["memory_used_percent"] - psutil.virtual_memory().percent) < 5
    disk = psutil.disk_usage(str(tmp_path))
    assert reply[f"disk_total_kb:{tmp_path}"] == disk.total // 1024
    assert abs(reply[f"disk_used_percent:{tmp_path}"] - disk.percent) < 1
    assert reply["ip:lo"] == "127.0.0.1"
    assert host.journal.statistics[0].ok == 1


async def test_the_processor_at_work_is_seen(host):
    await host.transact(ReadHost(("cpu_percent",)), T)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass
    reply = await host.transact(ReadHost(("cpu_percent",)), T)
    assert reply["cpu_percent"] >= 100 / os.cpu_count() * 0.3


async def test_traffic_is_a_share_of_the_given_link_speed(host):
    name = "net_percent:lo:10"
    await host.transact(ReadHost((name,)), T)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s,
    ):
        sink.bind(("127.0.0.1", 0))
        for _ in range(5):
            s.sendto(bytes(20_000), sink.getsockname())
            await asyncio.sleep(0.05)
    percent = (await host.transact(ReadHost((name,)), T))[name]
    assert 15 < percent <= 100  # 0.8 Mbit in a quarter of a second, of 10 Mbit/s: 32 %
    assert await host.transact(ReadHost((name,)), T) == {name: percent}  # too soon for another difference


async def test_what_this_computer_does_not_have_is_none_and_costs_the_others_nothing(host):
    names = (
        "net_percent:lo:0",
        "net_percent:eth77:100",
        "ip:eth77",
        "disk_total_kb:/no/such/folder",
        "memory_total_kb",
    )
    reply = await host.transact(ReadHost(names), T)
    assert [reply[name] for name in names[:4]] == [None] * 4
    assert reply["memory_total_kb"] > 0


async def test_the_temperature_is_plausible_or_none(host):
    celsius = (await host.transact(ReadHost(("cpu_temperature",)), T))["cpu_temperature"]
    assert (celsius is None) == (not psutil.sensors_temperatures()) or celsius is None or 0 < celsius < 130


def test_use_of_the_link_is_reckoned_from_the_busier_direction_and_survives_new_counters():
    before = _Octets(100.0, 1000, 5000)
    assert _share(before, _Octets(102.0, 1000 + 2_500_000, 5000), 100.0) == pytest.approx(10.0)
    assert _share(before, _Octets(102.0, 1000, 5000 + 2_500_000), 100.0) == pytest.approx(10.0)
    assert _share(before, _Octets(102.0, 10**12, 5000), 100.0) == 100.0
    assert _share(before, _Octets(102.0, 0, 6000), 100.0) is None
    assert _share(before, _Octets(102.0, 2000, 6000), 0.0) is None


async def test_a_disk_that_hangs_is_no_reply_in_time_and_does_not_hang_the_next_question(host, tmp_path):
    await host.transact(ReadHost(("memory_total_kb",)), T)
    fifo = tmp_path / "hang"
    os.mkfifo(fifo)
    host._thread.submit(fifo.read_bytes)  # what a dead network disk does to the thread
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(NoReply, match="cannot read host"):
            await host.transact(ReadHost(("memory_total_kb",)), Timing(0.1, 0.0))
    assert time.monotonic() - began < 1.0
    with Path(fifo).open("wb"):
        pass
    await asyncio.sleep(0.05)
    assert (await host.transact(ReadHost(("memory_total_kb",)), T))["memory_total_kb"] > 0


async def test_a_name_that_no_computer_has_is_our_own_fault(host):
    with pytest.raises(ValueError, match="not a name it has"):
        await host.transact(ReadHost(("colour",)), T)
    with pytest.raises(TypeError, match="not ReadHost"):
        await host.transact(GetOids(("1.3",)), T)
