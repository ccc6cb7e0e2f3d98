"""The control port in a crowd: connections that say nothing, or half of something, and a valid order among them."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from control_rig import LOCAL, Door, opened

from gantry_agent.cloud.reception import CONNECTIONS, OF_ONE_ADDRESS, STRANGERS
from gantry_agent.command import Unlock
from gantry_agent.store import Store

pytestmark = [pytest.mark.system, pytest.mark.alone]

HALF_HEAD = b"POST /remotecontrol.do HTTP/1.1\r\nHost: x\r\nX-Slow: "
NO_BODY = b"POST /remotecontrol.do HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "state.db") as store:
        yield store


@contextlib.contextmanager
def sockets() -> Iterator[list[socket.socket]]:
    made: list[socket.socket] = []
    try:
        yield made
    finally:
        for each in made:
            each.close()


async def crowd(made: list[socket.socket], door: Door, addresses: list[str], said: bytes) -> None:
    """One connection from each address, which says this and no more."""
    for address in addresses:
        each = socket.socket()
        made.append(each)
        each.setblocking(False)
        each.bind((address, 0))
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_connect(each, ("127.0.0.1", door.control.port))
            each.send(said)


def left(made: list[socket.socket]) -> int:
    """How many are still connected."""
    count = 0
    for each in made:
        try:
            count += each.recv(10_000) != b""
        except BlockingIOError:
            count += 1
        except OSError:
            pass
    return count


ONE = ["127.0.0.1"]
MANY = [f"127.0.{number // 250}.{2 + number % 250}" for number in range(500)]


@pytest.mark.parametrize("said", [b"", HALF_HEAD, NO_BODY], ids=["nothing", "half a head", "no body"])
@pytest.mark.parametrize("addresses", [ONE * 2000, MANY * 4], ids=["one address", "many addresses"])
async def test_an_order_is_answered_in_a_crowd(store: Store, addresses: list[str], said: bytes) -> None:
    async with opened(store) as door:
        with sockets() as made:
            for part in range(2):
                await crowd(made, door, addresses[part::2], said)
                began = time.monotonic()
                assert (await door.order(cmd="2", unlockDoorId="1", part=part))["code"] == "1000"
                assert time.monotonic() - began < 2
            assert left(made) <= CONNECTIONS
            assert len(made) == 2000
            assert all(each.getsockname()[1] for each in made), "each was bound and has called"
            assert door.site.done == [Unlock(1, "front")] * 2


async def test_strangers_to_the_allow_list_take_no_place_of_the_cloud_and_a_few_are_told_so(store: Store) -> None:
    async with opened(store, replace(LOCAL, allow=("127.0.0.1",))) as door:
        with sockets() as made:
            await crowd(made, door, MANY * 4, HALF_HEAD)
            began = time.monotonic()
            assert (await door.order(updateNow="1"))["code"] == "1000"
            assert time.monotonic() - began < 2
            assert left(made) == STRANGERS


async def test_an_order_is_answered_while_the_crowd_keeps_coming(store: Store) -> None:
    async with opened(store) as door:
        with sockets() as made:
            coming = asyncio.create_task(crowd(made, door, ONE * 3000, HALF_HEAD))
            for number in range(5):
                began = time.monotonic()
                assert (await door.order(updateNow="1", number=number))["code"] == "1000"
                assert time.monotonic() - began < 2
                await asyncio.sleep(0.02)
            coming.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await coming


async def test_half_a_head_is_cut_off_and_an_address_keeps_few_idle_connections(store: Store) -> None:
    async with opened(store, keepalive_s=2.0) as door:
        with sockets() as made:
            await crowd(made, door, ONE * 30, HALF_HEAD)
            await asyncio.sleep(1.1)
            await crowd(made, door, ONE, HALF_HEAD)
            await asyncio.sleep(0.2)
            assert left(made) == OF_ONE_ADDRESS
            await asyncio.sleep(2.5)
            assert left(made) == 0
