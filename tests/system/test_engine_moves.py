"""The world moves: adapters are unplugged and renumbered, gateways reboot, connections die unsaid, names change.

Everything comes back by itself under the real poller, and afterwards no file descriptor and no task is left over.
"""

import asyncio
import contextlib
import os
import pty
import socket
import time
import tty
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from engine_rig import answer, device, profile

from gantry_agent.field.bus import open_link
from gantry_agent.field.poller import Lanes, Poller
from gantry_agent.model import Answered, Bus, Missed

pytestmark = [pytest.mark.system, pytest.mark.alone]
ROUNDS = 2


def held() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


@pytest.fixture(autouse=True)
async def nothing_leaks():
    before = held()
    yield
    for _ in range(50):
        if held() <= before and len(asyncio.all_tasks()) == 1:
            break
        await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) == 1
    assert held() <= before


class Heard(list[Answered | Missed]):
    """What a poller hands over."""

    async def answers(self, *units: int, within_s: float = 8.0) -> float:
        """Wait until every unit has answered from now on; tell how long that took."""
        began = time.monotonic()
        self.clear()
        wanted = {f"1.unit{unit}" for unit in units}
        while wanted - {one.device for one in self if isinstance(one, Answered)}:
            assert time.monotonic() - began < within_s, self[-5:]
            await asyncio.sleep(0.01)
        return time.monotonic() - began

    async def misses(self, *units: int) -> None:
        self.clear()
        for unit in units:
            while not any(isinstance(one, Missed) and one.device == f"1.unit{unit}" for one in self):
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def polling(bus: Bus, folder: Path, units: int = 2, response_ms: int = 100) -> AsyncIterator[Heard]:
    its = profile(folder, registers=4, response_ms=response_ms, fast=False)
    heard = Heard()
    devices = [(device(unit), its) for unit in range(1, units + 1)]
    poller = Poller(open_link(bus), devices, Lanes(0.1, 0.1, 3), heard.append)
    task = asyncio.create_task(poller.run())
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def rtu(request: bytes) -> bytes:
    unit, function, address, count = request[0], request[1], request[2:4], request[4:6]
    return answer(unit, function, int.from_bytes(address, "big"), int.from_bytes(count, "big"), request)


def mbap(request: bytes) -> bytes:
    body = rtu(request[6:])[:-2]
    return request[:4] + len(body).to_bytes(2, "big") + body


class Gateway:
    """A TCP device that can be switched off, and can go deaf without a word."""

    def __init__(self, answers: Callable[[bytes], bytes], host: str = "127.0.0.1", port: int = 0) -> None:
        self.answers, self.host, self.port = answers, host, port
        self.deaf = False
        self.writers: set[asyncio.StreamWriter] = set()
        self.opened = 0
        self._server: asyncio.Server | None = None

    async def on(self) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def off(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self.writers):  # as when power fails and comes back: what was open is reset
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        self.opened += 1
        deaf = False
        with contextlib.suppress(ConnectionError):
            while request := await reader.read(4096):
                deaf = deaf or self.deaf  # this connection stays so: no FIN, no RST, no answer
                if not deaf:
                    writer.write(self.answers(request))
        self.writers.discard(writer)
        writer.close()


KINDS = {"modbus-tcp": mbap, "serial-tcp": rtu}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def tcp_bus(kind: str, port: int, host: str = "127.0.0.1") -> Bus:
    return Bus("line", kind, {"host": host, "port": port, "baudrate": 115200})


async def test_an_adapter_that_is_renumbered_is_found_by_its_name(tmp_path):
    by_id = tmp_path / "usb-FTDI_FT232R_A10KZP45-if00-port0"
    loop = asyncio.get_running_loop()

    def plug() -> Callable[[], None]:
        master, slave = pty.openpty()
        tty.setraw(slave)
        by_id.symlink_to(os.ttyname(slave))
        loop.add_reader(master, lambda: os.write(master, rtu(os.read(master, 4096))))

        def unplug() -> None:
            by_id.unlink()
            loop.remove_reader(master)
            os.close(master)
            os.close(slave)

        return unplug

    unplug = plug()
    bus = Bus("line", "serial", {"port": str(by_id), "baudrate": 115200})
    async with polling(bus, tmp_path) as heard:
        await heard.answers(1, 2)
        before = held()
        for _ in range(ROUNDS):
            unplug()
            await heard.misses(1, 2)
            keeper = pty.openpty()  # takes the old number, as the next adapter does
            unplug = plug()
            assert await heard.answers(1, 2) < 5
            for one in keeper:
                os.close(one)
            assert held() == before
    unplug()


async def test_a_gateway_that_reboots_is_reached_again(kind, tmp_path):
    gateway = Gateway(KINDS[kind])
    await gateway.on()
    async with polling(tcp_bus(kind, gateway.port), tmp_path) as heard:
        await heard.answers(1, 2)
        before = held()
        for _ in range(ROUNDS - 1):
            await gateway.off()
            await heard.misses(1, 2)
            await asyncio.sleep(0.5)
            await gateway.on()
            assert await heard.answers(1, 2) < 8
            assert held() == before
            assert len(gateway.writers) == 1
    await gateway.off()


async def test_a_connection_that_has_died_without_a_word_is_made_anew(kind, tmp_path):
    gateway = Gateway(KINDS[kind])
    await gateway.on()
    async with polling(tcp_bus(kind, gateway.port), tmp_path, response_ms=50) as heard:
        await heard.answers(1, 2)
        before = held()
        gateway.deaf = True
        await heard.misses(1, 2)
        gateway.deaf = False
        assert await heard.answers(1, 2) < 8
        await asyncio.sleep(0.05)
        assert len(gateway.writers) == 1
        assert held() == before
        assert gateway.opened > 1
    await gateway.off()


async def test_three_dead_units_behind_a_gateway_do_not_hurt_the_fourth(kind, tmp_path):
    def only_four(request: bytes) -> bytes:
        unit = request[6] if kind == "modbus-tcp" else request[0]
        return KINDS[kind](request) if unit == 4 else b""

    gateway = Gateway(only_four)
    await gateway.on()
    async with polling(tcp_bus(kind, gateway.port), tmp_path, units=4, response_ms=50) as heard:
        await heard.answers(4)
        await asyncio.sleep(1.0)
        assert not [one for one in heard if isinstance(one, Missed) and one.device == "1.unit4"]
    await gateway.off()


def test_a_name_that_means_another_address_now_is_looked_up_again(kind, tmp_path):
    meant = ["127.0.0.2"]

    class Loop(asyncio.SelectorEventLoop):
        """A loop whose resolver knows one more name."""

        async def getaddrinfo(self, host, port, **options):
            return await super().getaddrinfo(meant[0] if host == "gateway.site" else host, port, **options)

    async def run() -> None:
        old = Gateway(KINDS[kind], meant[0])
        await old.on()
        async with polling(tcp_bus(kind, old.port, "gateway.site"), tmp_path) as heard:
            await heard.answers(1, 2)
            await old.off()
            meant[0] = "127.0.0.3"
            new = Gateway(KINDS[kind], meant[0], old.port)
            await new.on()
            assert await heard.answers(1, 2) < 8
            assert len(new.writers) == 1
        await new.off()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run())
