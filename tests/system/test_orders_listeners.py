"""The listener of a door controller: read first, written only when it is another, read back, and every write noted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gantry_agent.config import read_config
from gantry_agent.core.audit import Entry
from gantry_agent.field.bus import open_link
from gantry_agent.field.poller import Lanes, Poller
from gantry_agent.orders.listeners import Listeners

pytestmark = pytest.mark.system
SITE = """\
gantry: {{id: G000211001002110010}}
cloud: {{server: "http://127.0.0.1:9/monitor.do", auth: "replace-me"}}
buses:
  doors: {{type: uhppote, host: 127.0.0.1, port: {port}, listen: "192.168.1.10:60001"{asked}}}
computers:
  - {{id: 1, monitor: true, source: local, data_disk: /, nic: lo}}
cabinets:
  - id: 1
    devices: {{access: {{profile: uhppote-controller, bus: doors, parameters: {{serial: 423187757}}}}}}
    outputs: {{front-lock: {{device: access, point: door1, pulse_s: 3}}}}
    doors: {{front: {{unlock: front-lock}}}}
"""
OURS = bytes([192, 168, 1, 10]) + (60001).to_bytes(2, "little")
THEIRS = bytes([10, 1, 2, 3]) + (4000).to_bytes(2, "little") + b"\x1e"  # every 30 s


class Board(asyncio.DatagramProtocol):
    """A controller with a listener: one that takes what it is told, declines, or only says that it does."""

    def __init__(self, listener: bytes, manner: str) -> None:
        self.listener, self.manner = listener, manner
        self.asked: list[bytes] = []

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        body = b""
        if data[1] == 0x90:
            self.asked.append(data)
            body = b"\0" if self.manner == "declines" else b"\1"
            self.listener = data[8:15] if self.manner == "takes" else self.listener
        elif data[1] == 0x92:
            self.asked.append(data)
            body = self.listener
        self.transport.sendto((data[:8] + body).ljust(64, b"\0"), addr)


@contextlib.asynccontextmanager
async def keeping(
    folder: Path, listener: bytes, manner: str = "takes", asked: str = ", set_listener: true"
) -> AsyncIterator[tuple[Board, list[Entry]]]:
    loop = asyncio.get_running_loop()
    transport, board = await loop.create_datagram_endpoint(lambda: Board(listener, manner), local_addr=("127.0.0.1", 0))
    path = folder / "site.yaml"
    path.write_text(SITE.format(port=transport.get_extra_info("sockname")[1], asked=asked), encoding="utf-8")
    config, noted = read_config(path), list[Entry]()
    mine = [(device, config.profiles[key]) for key, device in config.site.devices.items() if device.bus == "doors"]
    poller = Poller(open_link(config.site.buses["doors"]), mine, Lanes(60.0, 60.0, 3), lambda message: None)
    listeners = Listeners(config.site, config.profiles, {"doors": poller}, noted.append, lambda bus: None)
    tasks = [asyncio.create_task(poller.run()), asyncio.create_task(listeners.run())]
    await asyncio.sleep(0.3)
    try:
        yield board, noted
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        transport.close()


async def test_it_is_read_written_and_read_back_and_its_interval_stays(tmp_path: Path):
    async with keeping(tmp_path, THEIRS) as (board, noted):
        assert [one[1] for one in board.asked] == [0x92, 0x90, 0x92]
        assert board.listener == OURS + b"\x1e"
        [entry] = noted
        assert "from 10.1.2.3:4000 to 192.168.1.10:60001" in entry.what
        assert "由 10.1.2.3:4000 改为 192.168.1.10:60001" in entry.what
        assert (entry.via, entry.who.splitlines()) == ("site", ["the site file", "站点配置"])
        assert "written and read back" in entry.outcome
        assert entry.steps == ("17 90 00 00 2D 55 39 19 C0 A8 01 0A 61 EA 1E 00…",)


async def test_one_that_is_set_already_is_not_written(tmp_path: Path):
    async with keeping(tmp_path, OURS + b"\0") as (board, noted):
        assert [one[1] for one in board.asked] == [0x92]
        assert noted == []


async def test_none_is_touched_where_the_site_file_does_not_ask_for_it(tmp_path: Path):
    async with keeping(tmp_path, THEIRS, asked="") as (board, noted):
        assert (board.asked, noted) == ([], [])


@pytest.mark.parametrize(
    ("manner", "said"), [("declines", "declined"), ("only says so", "it reads back 10.1.2.3:4000")]
)
async def test_what_is_not_done_is_noted_once_and_tried_until_it_is(tmp_path: Path, manner: str, said: str):
    async with keeping(tmp_path, THEIRS, manner) as (board, noted):
        [entry] = noted
        assert "not done: " in entry.outcome
        assert said in entry.outcome
        board.manner = manner if manner == "declines" else "takes"
        await asyncio.sleep(2.2)
        assert sum(one[1] == 0x90 for one in board.asked) == 2
        if manner == "declines":
            assert noted == [entry]
        else:
            assert board.listener == OURS + b"\x1e"
            assert "written and read back" in noted[-1].outcome
