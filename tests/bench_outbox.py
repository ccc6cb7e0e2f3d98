"""Figures of the outbox: how fast it drains beside a bare aiohttp loop that posts the same bytes, and its size on disk.

`python tests/bench_outbox.py` prints them. The cloud is a process of its own that answers 1000 to everything; both
sides post one record after the other over one kept connection, as the interface wants, in turns.
"""

import asyncio
import contextlib
import json
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp

from gantry_agent.cloud.protocol import CONTENT_TYPE, sign
from gantry_agent.cloud.uplink import Pace, Uplink
from gantry_agent.model import Due, Record
from gantry_agent.store import Store

Figures = dict[str, float]

RECORDS, ROUNDS, PUTS = 300, 5, 500
DRAIN_S = 30.0  # a third of a second is usual
BODY = json.dumps(
    {"gantryId": "G000211001002110010", "cabinetStatus": {"fill": "正常" * 560}}, ensure_ascii=False
).encode()
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{"code":"1000","msg":"\xe6\x88\x90\xe5\x8a\x9f"}'


def far_cloud(pipe: Connection) -> None:
    """Answer 1000 to whatever comes; say the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                writer.write(ANSWER)
                await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(main())


async def fill(store: Store, count: int) -> list[float]:
    """Put so many records, a fifth of them events; return how long each took."""
    took = []
    for n in range(count):
        began = time.perf_counter()
        await store.put(Record("cabinet", n % 2 + 1, n % 5 == 0, float(n), BODY), due=Due(600 * (n // 2), 600))
        took.append(time.perf_counter() - began)
    return took


async def drain(url: str, folder: Path) -> float:
    """Records per second from a filled store until it is empty: taken from disk, posted, judged, removed durably."""
    async with Store(folder / "state.db") as store:
        await fill(store, RECORDS)
        empty = asyncio.Event()
        left = RECORDS

        def count(*_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                empty.set()

        uplink = Uplink(store, lambda _: url, "123456", on_verdict=count, pace=Pace(spacing_s=0.0))
        began = time.perf_counter()
        task = asyncio.create_task(uplink.run("cabinet"))
        async with asyncio.timeout(DRAIN_S):
            await empty.wait()
        took = time.perf_counter() - began
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return RECORDS / took


async def bare(url: str) -> float:
    """The same bytes, one after the other, by nothing but aiohttp."""
    async with aiohttp.ClientSession(headers={"Content-Type": CONTENT_TYPE}) as session:
        began = time.perf_counter()
        for _ in range(RECORDS):
            async with session.post(url, data=BODY, headers=sign(BODY, "123456")) as response:
                await response.read()
        return RECORDS / (time.perf_counter() - began)


async def figures(url: str) -> Figures:
    drained, bared = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            drained.append(await drain(url, Path(folder)))
        bared.append(await bare(url))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        async with Store(path) as store:
            took = sorted(await fill(store, PUTS))
        size = path.stat().st_size / PUTS
    ratio = statistics.median(one / other for one, other in zip(drained, bared, strict=True))
    return {
        "drain records/s": statistics.median(drained),
        "bare aiohttp records/s": statistics.median(bared),
        "drain / bare": ratio,
        "body bytes": float(len(BODY)),
        "bytes on disk per record": size,
        "accept p50 ms": 1000 * took[len(took) // 2],
        "accept p99 ms": 1000 * took[int(len(took) * 0.99)],
    }


def main() -> Figures:
    here, there = multiprocessing.Pipe()
    cloud = multiprocessing.get_context("spawn").Process(target=far_cloud, args=(there,), daemon=True)
    cloud.start()
    try:
        return asyncio.run(figures(f"http://127.0.0.1:{here.recv()}/monitor.do"))
    finally:
        cloud.terminate()
        cloud.join()


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:28} {value:10.2f}")
