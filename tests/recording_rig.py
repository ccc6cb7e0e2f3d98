"""snmpsim with recordings of real devices: somebody else's agent that answers over UDP as they did.

The community is the recording's name. Recordings are other projects' data and stay where $GANTRY_RECORDINGS says.
"""

import asyncio
import contextlib
import getpass
import grp
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from gantry_agent.field import codec, derive, plan
from gantry_agent.field.bus import open_link
from gantry_agent.field.product import Profile
from gantry_agent.model import BadReply, Bus, Device, NoReply
from tests import profile_rig as rig
from tests.support import free_ports

WITHIN_S = 60.0
NONE: Mapping[str, str] = MappingProxyType({})


@contextlib.contextmanager
def snmpsim(folder: Path, recordings: Iterable[str], own: Mapping[str, str] = NONE) -> Iterator[int]:
    """Serve these recordings, and `own` texts of the same form, for as long as the block lasts; gives the UDP port."""
    with snmpsim_on(folder, recordings, own, 1) as (port,):
        yield port


@contextlib.contextmanager
def snmpsim_on(
    folder: Path, recordings: Iterable[str], own: Mapping[str, str] = NONE, count: int = 1
) -> Iterator[Sequence[int]]:
    """The same at so many UDP ports: two buses of one site file cannot be at one address."""
    names = list(recordings)
    (folder / "data").mkdir()
    for name in names:
        shutil.copy(rig.recording(name), folder / "data")
    for name, text in own.items():
        (folder / "data" / f"{name}.snmprec").write_text(text, encoding="utf-8")
    ports = free_ports(count, socket.SOCK_DGRAM)
    responder = Path(sys.executable).parent / "snmpsim-command-responder"
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            [
                responder,
                f"--data-dir={folder / 'data'}",
                f"--cache-dir={folder / 'cache'}",
                *(f"--agent-udpv4-endpoint=127.0.0.1:{port}" for port in ports),
                f"--process-user={getpass.getuser()}",
                f"--process-group={grp.getgrgid(os.getgid()).gr_name}",
                "--log-level=error",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        asyncio.run(_answers(ports[-1], [*names, *own][0], child, folder / "log"))
        yield ports
    finally:
        child.terminate()
        child.wait(10)


async def _answers(port: int, community: str, child: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + WITHIN_S
    link = open_link(the_bus(port, community))
    try:
        while time.monotonic() < until and child.poll() is None:
            with contextlib.suppress(NoReply, BadReply):
                await link.transact(plan.GetOids(("1.3.6.1.2.1.1.2.0",)), plan.Timing(1.0, 0.0))
                return
            await asyncio.sleep(0.2)
    finally:
        await link.close()
    pytest.fail(f"snmpsim does not answer: {log.read_text(errors='replace')}")


def the_bus(port: int, community: str) -> Bus:
    return Bus("replay", "snmp", {"host": "127.0.0.1", "port": port, "version": "2c", "community": community})


async def read_twice(product: Profile, it: Device, bus: Bus) -> dict[str, Any]:
    """What the agent says after two rounds over the wire."""
    link = open_link(bus)
    timing = plan.Timing(5.0, 0.0)
    try:
        rows = {}
        for table in plan.tables(product, it):
            rows[table.name] = plan.locate(table, [await link.transact(walk, timing) for walk in table.requests])
        blocks = plan.blocks(product, it, rows)
        rounds = []
        for at in (0.0, 5.0):
            samples: dict[str, derive.Sample] = {}
            for block in blocks:
                values = codec.decode(block, await link.transact(block.request, timing), product, it)
                samples |= {key: derive.Sample(value, at) for key, value in values.items()}
            rounds.append(samples)
        before, now = rounds
        return rig.named(derive.Deriver(product, it, rows).fields(now, before))
    finally:
        await link.close()
