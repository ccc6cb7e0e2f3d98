"""The control port under a million bodies: a real server, real sockets, a real store, and what must always hold.

`assail` sends the cases of `fuzz_bodies` in batches, each over a connection of its own from another loopback address,
pipelined; the last of a batch is spoilt as HTTP and may be answered as anybody's rubbish is. Whatever it finds wrong is
in `Tally.wrong`. `python tests/fuzz_door.py [COUNT [SEED]]` is the long run of `make soak`.
"""

import asyncio
import contextlib
import gc
import itertools
import json
import logging
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import control_rig
from cloud_site import signed
from fuzz_bodies import Bodies, Case, admissible, lawful

from gantry_agent.command import Carried, Command, Done, Failed, Partial
from gantry_agent.store import Store

CODES = frozenset({"1000", "1001", "1002", "1003", "1004", "1005", "1006", "1007", "1009"})  # never 1008
STATUSES = frozenset({400, 404, 405, 408, 411, 413, 414, 415, 417, 426, 431, 501, 505})  # of what never was a request
BATCH = 40
CONNECTIONS = 6
WAIT_S = 30.0
SPOILT_S = 0.02  # for the answer to what is spoilt; there may be none
MANY = 10**9
SETTINGS = replace(control_rig.LOCAL, requests_per_minute=MANY)
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Tally:
    """What happened."""

    sent: int = 0
    spoilt: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    carried: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    took_s: float = 0.0
    last_s: float = 0.0  # the valid command at the end
    grown: list[int] = field(default_factory=list)  # resident bytes, at each tenth

    def __str__(self) -> str:
        return (
            f"{self.sent} bodies and {self.spoilt} spoilt requests in {self.took_s:.0f} s; codes {dict(self.codes)}; "
            f"spoilt {dict(self.statuses)}; carried out {sum(self.carried.values())} of {len(self.carried)} kinds; "
            f"resident {[grown >> 20 for grown in self.grown]} MB; the last one took {self.last_s:.2f} s; "
            f"wrong {len(self.wrong)}: {self.wrong[:5]}"
        )


class Site(control_rig.Site):
    """Hardware that does most of what it is told, and judges the telling."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally
        self.number = 0

    async def carry_out(self, command: Command) -> Carried:
        self.number += 1
        self.tally.carried[type(command).__name__] += 1
        if not lawful(command):
            self.tally.wrong.append(f"carried out {command!r}")
        if self.number % 29 == 0:
            return Carried(Failed("锁" * (self.number % 60)))
        return Carried(Partial((1, 2), "超时") if self.number % 31 == 0 else Done())


class Ears(logging.Handler):
    """Hears what the log has to say of bugs."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self.tally.wrong.append(f"log: {record.getMessage()} {record.exc_info and record.exc_info[1]!r}")


@contextlib.contextmanager
def listening(tally: Tally) -> Iterator[None]:
    ears, loop = Ears(tally), asyncio.get_running_loop()
    root = logging.getLogger()
    root.addHandler(ears)
    loop.set_exception_handler(lambda _, context: tally.wrong.append(f"loop: {context}"))
    try:
        yield
    finally:
        root.removeHandler(ears)
        loop.set_exception_handler(None)


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


def request(case: Case) -> bytes:
    head = f"POST /remotecontrol.do HTTP/1.1\r\nHost: g\r\nContent-Length: {len(case.content)}\r\n".encode()
    return head + f"binfile-md5: {case.md5}\r\nbinfile-auth: {case.auth}\r\n\r\n".encode() + case.content


def spoil(fate: random.Random, case: Case) -> bytes:
    """A request that is not quite HTTP, or not to this place."""
    whole = request(case)
    head, blank, content = whole.partition(b"\r\n\r\n")
    kind = fate.randrange(10)
    if kind == 0:
        return whole[: fate.randrange(len(whole))]
    if kind == 1:
        return (
            head.replace(b"Content-Length: ", b"Content-Length: " + fate.choice((b"-", b"9", b"0x", b"+")))
            + blank
            + content
        )
    if kind == 2:
        return (
            head
            + fate.choice((b"\r\nContent-Length: 1", b"\r\nTransfer-Encoding: chunked", b"\r\nX\x00: y"))
            + blank
            + content
        )
    if kind == 3:
        chunked = b"%x\r\n%s\r\n" % (len(content), content) + fate.choice(
            (b"0\r\n\r\n", b"ZZ\r\n", b"", b"ffffffffffffffffff\r\n")
        )
        return head.replace(b"Content-Length", b"Transfer-Encoding: chunked\r\nX-Was") + blank + chunked
    if kind == 4:
        return head + b"\r\nContent-Encoding: " + fate.choice((b"gzip", b"deflate", b"br", b"x" * 99)) + blank + content
    if kind == 5:
        return whole.replace(b"POST", fate.choice((b"GET", b"PUT", b"HEAD", b"CONNECT", b"P\xff", b"OPTIONS")), 1)
    if kind == 6:
        return whole.replace(
            b"/remotecontrol.do", fate.choice((b"/", b"//remotecontrol.do", b"/\xff", b"http://x/", b"*")), 1
        )
    if kind == 7:
        return (
            head
            + fate.choice((b"\r\nExpect: 100-continue", b"\r\nUpgrade: h2c", b"\r\nA: " + b"b" * 9000))
            + blank
            + content
        )
    spoilt = bytearray(whole)
    for _ in range(fate.choice((1, 3, 10))):
        spoilt[fate.randrange(len(head))] = fate.randrange(256)
    return bytes(spoilt)


async def response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One answer: its status and its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    sizes = [int(line.partition(b":")[2]) for line in lines if line.lower().startswith(b"content-length:")]
    return int(lines[0].split()[1]), await reader.readexactly(sizes[0] if sizes else 0)


def judge(tally: Tally, case: Case, status: int, told: bytes) -> None:
    """A well-framed request has an answer of the interface, and 1000 only if it may."""
    try:
        answer: dict[str, Any] = json.loads(told)
        code, msg = answer["code"], answer["msg"]
    except (ValueError, KeyError, TypeError):
        tally.wrong.append(f"{status} {told[:100]!r} to {case.content[:300]!r}")
        return
    tally.codes[code] += 1
    good = status == 200 and code in CODES and isinstance(msg, str) and 0 < len(msg) <= 40
    if not good or (code == "1000" and not admissible(case, time.time(), SETTINGS.clock_tolerance_s)):
        tally.wrong.append(f"{status} {told[:200]!r} to {case.content[:300]!r}")


class Assault:
    """The clients' side: connections until so many bodies were sent."""

    def __init__(self, port: int, count: int, seed: int, tally: Tally) -> None:
        self.port, self.count, self.tally = port, count, tally
        self.bodies = Bodies(seed)
        self.addresses = itertools.count(2)

    async def client(self) -> None:
        while self.tally.sent < self.count:
            await self.batch()

    async def batch(self) -> None:
        number = next(self.addresses) % 8_000_000
        address = f"127.{1 + number // 62500 % 120}.{number // 250 % 250}.{2 + number % 250}"
        cases = [self.bodies.next(time.time()) for _ in range(BATCH)]
        self.tally.sent += BATCH
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0), limit=1 << 20)
        try:
            async with asyncio.timeout(WAIT_S):
                writer.write(b"".join(map(request, cases)))
                for case in cases:
                    judge(self.tally, case, *await response(reader))
                writer.write(spoil(self.bodies.fate, self.bodies.next(time.time())))
            await self.spoilt(reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as fault:
            self.tally.wrong.append(f"{fault!r} in a batch from {address}")
        finally:
            writer.transport.abort()

    async def spoilt(self, reader: asyncio.StreamReader) -> None:
        """Whatever comes back is HTTP of the client's fault, or an answer of the interface; or nothing comes."""
        tally = self.tally
        tally.spoilt += 1
        try:
            async with asyncio.timeout(SPOILT_S):
                status, told = await response(reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            tally.statuses["none"] += 1
            return
        tally.statuses[str(status)] += 1
        if status == 200:
            good = json.loads(told)["code"] in CODES if told else False
        else:
            good = status in STATUSES or status == 100
        if not good:
            tally.wrong.append(f"{status} {told[:100]!r} to a spoilt request")


async def assail(folder: Path, count: int, seed: int) -> Tally:
    tally = Tally()
    async with Store(folder / "state.db") as store, control_rig.opened(store, SETTINGS, Site(tally)) as door:
        with listening(tally):
            assault = Assault(door.control.port, count, seed, tally)
            began = time.monotonic()
            clients = [asyncio.create_task(assault.client()) for _ in range(CONNECTIONS)]
            for tenth in range(1, 11):
                while tally.sent < count * tenth / 10 and not all(client.done() for client in clients):
                    await asyncio.sleep(0.05)
                tally.grown.append(resident())
            await asyncio.gather(*clients)
            tally.took_s = time.monotonic() - began
            began, content = time.monotonic(), assault.bodies.valid(time.time())
            while json.loads(content)["method"] == "getCabinetImageVedio":
                content = assault.bodies.valid(time.time())
            last = await door.session.post(
                f"http://127.0.0.1:{door.control.port}/remotecontrol.do", data=content, headers=signed(content)
            )
            tally.last_s = time.monotonic() - began
            if (await last.json())["code"] not in {"1000", "1007"}:
                tally.wrong.append("a valid command at the end was not carried out")
    return tally


def main(words: list[str]) -> int:
    count, seed = int(words[0]) if words else 1_000_000, int(words[1]) if len(words) > 1 else int(time.time())
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        tally = asyncio.run(assail(Path(folder), count, seed))
    print(tally)
    return int(bool(tally.wrong) or tally.last_s > 2 or tally.grown[-1] - tally.grown[1] > GROWTH)


GROWTH = 24 << 20  # resident bytes between a fifth of a run and its end: buffers and SQLite's cache, not one per body

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
