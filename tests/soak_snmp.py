"""Parts of `make soak` for SNMP: a day of polling without the pauses, and what the process holds before and after it.

`python tests/soak_snmp.py [--scale S] [PART …]` runs them alone; scale 1 is a day. Every part runs in a process of its
own, prints its figures and fails when something has grown: resident memory, Python's objects, descriptors, tasks.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

Figures = dict[str, Any]

SYSTEM = "1.3.6.1.2.1.1"
OIDS = (*(f"{SYSTEM}.{n}.0" for n in range(1, 8)), *(f"1.3.6.1.2.1.4.{n}.0" for n in range(1, 14)))
USER = {"version": "3", "user": "watch", "auth_key": "authkey1x", "priv_key": "privkey1x"}  # SHA and AES
POLLS_PER_DAY = 172_800 + 17_280  # one block each 0.5 s, one each 5 s
LATE = 0.05  # of the questions are given up before their answer can come
RING_BYTES = 128 * 1024  # of raw frames: full before the first look
SETTLE_S = 2.5  # pysnmp keeps a question that was given up for up to 2 s
WARM = 0.2  # of the work is done before the first look: caches fill


@dataclass(frozen=True)
class Held:
    """What the process holds."""

    rss_kb: int
    objects: int
    descriptors: int
    tasks: int


# What may be more at the end than after warming up: memory is handed out in arenas, counts of objects wander.
TOLERANCE = Held(rss_kb=2048, objects=1500, descriptors=0, tasks=0)


async def held() -> Held:
    await asyncio.sleep(SETTLE_S)
    for _ in range(3):
        gc.collect()
    me = psutil.Process()
    return Held(me.memory_info().rss // 1024, len(gc.get_objects()), me.num_fds(), len(asyncio.all_tasks()))


async def grown(work: Callable[[int], Awaitable[None]], count: int) -> Figures:
    """Do the work so many times; tell what is held before and after, and what has grown beyond the tolerance."""
    warm = max(1, int(count * WARM))
    for n in range(warm):
        await work(n)
    before, began = await held(), time.monotonic()
    for n in range(warm, count):
        await work(n)
    took_s = time.monotonic() - began
    after = await held()
    growth = {name: value - asdict(before)[name] for name, value in asdict(after).items()}
    too_much = [name for name, more in growth.items() if more > asdict(TOLERANCE)[name]]
    figures: Figures = {"count": count, "per_s": round((count - warm) / took_s), "before": asdict(before)}
    return figures | {"growth": growth, "grown": too_much}


@contextlib.contextmanager
def snmpd() -> Iterator[int]:
    """Debian's agent on a free port."""
    program = shutil.which("snmpd", path=os.environ["PATH"] + ":/usr/sbin")
    if not program:
        sys.exit("snmpd is not installed: apt-get install snmpd")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder) / "snmpd.conf"
        conf.write_text(
            f"agentaddress udp:127.0.0.1:{port}\nrocommunity public 127.0.0.1\n"
            "createUser watch SHA authkey1x AES privkey1x\nrouser watch authPriv\n"
        )
        environ = os.environ | {"MIBS": "", "SNMP_PERSISTENT_FILE": f"{folder}/kept", "SNMP_PERSISTENT_DIR": folder}
        null = subprocess.DEVNULL
        agent = subprocess.Popen([program, "-f", "-Lo", "-C", "-c", str(conf)], env=environ, stdout=null, stderr=null)
        try:
            yield port
        finally:
            agent.terminate()
            agent.wait(10)


async def asked(count: int, settings: dict[str, str]) -> Figures:
    """GETs of 20 OIDs, a walk now and then; some are given up early, some go where nobody answers."""
    from gantry_agent.field.bus.snmp import open_agent
    from gantry_agent.field.request import GetOids, Timing, WalkColumn
    from gantry_agent.model import BadReply, Bus, NoReply

    with snmpd() as port, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        base = {"host": "127.0.0.1", "community": "public"} | settings
        link = open_agent(Bus("agent", "snmp", base | {"port": port}))
        silent = open_agent(Bus("silent", "snmp", base | {"port": deaf.getsockname()[1]}))
        for each in (link, silent):
            each.journal.recorder.limit = RING_BYTES
        early_s = 0.0002 if settings["version"] == "3" else 0.0
        counts = {"answered": 0, "missed": 0}

        async def work(n: int) -> None:
            early, which = n % round(1 / LATE) == 7, silent if n % 500 == 250 else link
            response_s = early_s if early else 0.05 if which is silent else 2.0
            request = WalkColumn(f"{SYSTEM}.9.1.3") if n % 50 == 0 else GetOids(OIDS)
            try:
                await which.transact(request, Timing(response_s, 0.0))
                counts["answered"] += 1
            except (NoReply, BadReply):
                counts["missed"] += 1

        for _ in range(100):  # until the agent listens
            with contextlib.suppress(NoReply):
                await link.transact(GetOids(OIDS[:1]), Timing(0.5, 0.0))
                break
            await asyncio.sleep(0.05)
        told = await grown(work, count)
        await link.close()
        await silent.close()
        return told | counts | {"grown": told["grown"] or (["misses"] if counts["answered"] < 0.9 * count else [])}


async def v2c(scale: float) -> Figures:
    return await asked(int(POLLS_PER_DAY * scale), {"version": "2c"})


async def v3(scale: float) -> Figures:
    return await asked(int(POLLS_PER_DAY * scale), USER)  # all of it through pysnmp's engine


async def traps(scale: float) -> Figures:
    """Traps from a host of the site, as many from strangers, and as many in pieces."""
    from gantry_agent.field.bus.traps import Traps
    from gantry_agent.model import Bus

    hints = [0]

    def hint(_: str) -> None:
        hints[0] += 1

    trap = bytes.fromhex(
        "303d02010104067075626c6963a7300204112233440201000201003022300d06082b06010201010300430107"
        "3011060a2b06010603010104010006032b0601"
    )
    receiver = Traps("127.0.0.1:0", [Bus("a", "snmp", {"host": "127.0.0.1"})], hint)
    await receiver._senders.look_up()

    async def work(n: int) -> None:
        assert receiver.absorb(trap, "127.0.0.1") is None
        receiver.absorb(trap, f"10.{n // 65536 % 256}.{n // 256 % 256}.{n % 256}")
        receiver.absorb(trap[: n % len(trap)], "127.0.0.1")

    told = await grown(work, int(1_000_000 * scale))
    return told | {"hints": hints[0], "unreadable": receiver.unreadable}


PARTS: dict[str, Callable[[float], Awaitable[Figures]]] = {"snmp-v2c": v2c, "snmp-v3": v3, "traps": traps}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="1 is a day of polling")
    parser.add_argument("--here", action="store_true", help="in this process: for the one part named")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"cannot run {', '.join(unknown)}; valid: {', '.join(PARTS)}")
    if options.here:
        logging.disable(logging.WARNING)
        print(json.dumps(asyncio.run(PARTS[options.parts[0]](options.scale))))
        return 0
    failed = False
    for part in options.parts or PARTS:
        command = (sys.executable, __file__, "--here", "--scale", str(options.scale), part)
        told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        failed |= bool(told["grown"])
        print(f"{part}: {'GROWN' if told['grown'] else 'flat'} {json.dumps(told)}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
