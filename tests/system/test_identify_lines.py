"""`identify` where seconds count: languages of a serial line that are silent, and hosts that say nothing or only no."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from line_rig import Far, Script, on_pty
from test_identify import run, steps

from gantry_agent.field import profile
from gantry_agent.field.poller import Poller
from gantry_agent.field.product import Profile
from gantry_agent.field.unit import Lanes
from gantry_agent.inquiry import Mine, identify_bus, known_profiles
from gantry_agent.model import Bus

pytestmark = [pytest.mark.system, pytest.mark.alone]

LINE = Bus("line", "serial", {})
HOST_S = 20.0  # issue 6


@pytest.fixture(scope="module")
def profiles() -> tuple[Profile, ...]:
    return known_profiles((profile.SHIPPED,))


def rectifier(unit: int) -> Script:
    """A YD/T 1363.3 unit that knows none of the questions: RTN 04 to whatever is asked of it, silence to all else."""

    def script(asked: bytes) -> list[tuple[float, bytes]]:
        if not asked.startswith(b"~") or int(asked[3:5], 16) != unit:
            return []
        said = f"{asked[1:3].decode()}{unit:02X}{asked[5:7].decode()}040000"
        return [(0.01, f"~{said}{-sum(map(ord, said)) & 0xFFFF:04X}\r".encode())]

    return script


@contextlib.asynccontextmanager
async def asking(far: Far) -> AsyncIterator[Poller]:
    async with on_pty(far) as link:
        poller = Poller(link, (), Lanes(1, 5, 3), lambda _: None)
        task = asyncio.create_task(poller.run(), name="poller")
        try:
            yield poller
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def told(far: Far, profiles: tuple[Profile, ...], mine: Mapping[int, Mine], unit: int) -> list[Any]:
    async with asking(far) as poller:
        asked = {"units": [unit, unit]}
        return [step async for step in identify_bus(poller, LINE, mine, asked, lambda: profiles)]


async def test_a_unit_that_answers_in_its_own_language_is_asked_in_no_other(profiles: tuple[Profile, ...]) -> None:
    far = Far(rectifier(9))
    began = time.monotonic()
    await told(far, profiles, {}, 9)
    assert time.monotonic() - began < HOST_S / 2
    asked = [data for _, data in far.asked]
    assert {data[5:7] for data in asked if data.startswith(b"~")} == {b"2A", b"41"}  # of every such product
    assert not any(data.startswith((b"Q", b"\xfe", b"\x68", b"\x7e\x09\x01")) for data in asked)


async def test_what_the_site_says_that_it_is_is_asked_for_first(profiles: tuple[Profile, ...]) -> None:
    far = Far(rectifier(9))
    await told(far, profiles, {9: ("1.psu", "ydt1363-psu")}, 9)
    spoken = [data for _, data in far.asked if data.startswith(b"~")]
    assert spoken[0][5:7] == b"41"


# --- hosts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def refusing() -> Iterator[int]:
    """A Modbus unit that refuses whatever address it is asked for."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    wire, _ = server.accept()
                    with wire:
                        while asked := wire.recv(260):
                            wire.sendall(asked[:4] + b"\0\3" + asked[6:7] + bytes((asked[7] | 0x80, 2)))

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_a_unit_that_refuses_everything_is_there_and_no_product(refusing: int) -> None:
    code, said, _ = run("identify", f"127.0.0.1:{refusing}", "--type", "modbus-tcp")
    assert code == 1
    assert "no product fits" in said
    assert "no answer" not in said


def test_a_host_that_is_silent_is_asked_in_every_language_and_given_up_in_seconds() -> None:
    began = time.monotonic()
    code, said, _ = run("identify", "127.9.9.9", "--json")
    assert time.monotonic() - began < HOST_S
    assert code == 1
    assert [step["kind"] for step in steps(said) if "kind" in step] == ["snmp", "modbus-tcp", "zte-http"]
