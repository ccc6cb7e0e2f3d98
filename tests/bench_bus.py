"""Figures of the buses: how near a line comes to its wire, and what a question costs beside the usual libraries.

`python tests/bench_bus.py` prints them all, a part takes at most 15 s. The far ends run in processes of their own, and
so does each client whose processor time or memory is told; clients that are compared run at the same time.
"""

import asyncio
import contextlib
import json
import logging
import os
import pty
import select
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import tty
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

Figures = dict[str, float]

BAUDRATE, CHARACTER_S = 9600, 10 / 9600
UNITS, REGISTERS, LINE_CYCLES = 8, 20, 15
TCP_UNITS, TCP_REGISTERS, TCP_SECONDS, TCP_DENSE_ROUNDS = 20, 40, 8, 100
AGENTS, ROUNDS = 5, 40
OIDS = (
    *(f"1.3.6.1.2.1.1.{n}.0" for n in range(1, 7)),
    *(f"1.3.6.1.2.1.2.2.1.{column}.1" for column in (2, 3, 4, 5, 10, 16)),
)
PART_S = 40.0  # after this long a child is given up


# --- the line -------------------------------------------------------------------------------------------------------


def line() -> Figures:
    """Read 8 units of 20 registers on a 9600 baud line again and again, beside the time the bytes take on the wire."""
    with child("far-line") as (_, path):
        cycles, cpu_s = json.loads(run("near-line", path))
    characters = UNITS * (8 + 5 + 2 * REGISTERS)
    bytes_s = characters * CHARACTER_S
    wire_s = bytes_s + UNITS * 2 * 3.5 * CHARACTER_S  # with the silence the standard wants before each frame
    cycle_s = statistics.median(cycles)
    return {
        "cycle_s": cycle_s,
        "wire_s": wire_s,
        "cycle / wire": cycle_s / wire_s,
        "cycle / bytes alone": cycle_s / bytes_s,
        "cpu_percent": 100 * cpu_s / sum(cycles),
    }


def far_line() -> None:
    """Be 8 units on a pty that answer with the timing of a real line, the request's own time on the wire included."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    print(os.ttyname(slave), flush=True)
    while True:
        select.select([master], [], [])
        began = time.perf_counter()
        request = os.read(master, 256)
        unit, _, address, count = struct.unpack(">BBHH", request[:6])
        body = struct.pack(f">BBB{count}H", unit, 3, 2 * count, *range(address, address + count))
        reply = body + modbus_crc(body)
        at = began + (len(request) + 3.5) * CHARACTER_S
        for byte in reply:
            at += CHARACTER_S
            time.sleep(max(0.0, at - time.perf_counter()))
            os.write(master, bytes((byte,)))


def modbus_crc(body: bytes) -> bytes:
    from pymodbus.framer.rtu import FramerRTU

    crc: int = FramerRTU.compute_CRC(body)
    return crc.to_bytes(2, "big")


async def near_line(path: str) -> None:
    from gantry_agent.field.bus import open_link
    from gantry_agent.field.request import ReadRegisters, Timing
    from gantry_agent.model import Bus

    link = open_link(Bus("line", "serial", {"port": path, "baudrate": BAUDRATE}))
    timing = Timing(0.3, 0.0)
    await link.transact(ReadRegisters(1, 3, 0, 1), timing)
    cycles, cpu = [], time.process_time()
    for _ in range(LINE_CYCLES):
        began = time.perf_counter()
        for unit in range(1, UNITS + 1):
            assert await link.transact(ReadRegisters(unit, 3, 100, REGISTERS), timing) == tuple(range(100, 120))
        cycles.append(time.perf_counter() - began)
    print(json.dumps([cycles, time.process_time() - cpu]))
    await link.close()


# --- Modbus TCP -----------------------------------------------------------------------------------------------------


def modbus_tcp() -> Figures:
    """Read 20 units of 40 registers each second, then as fast as it goes, by our link and by pymodbus's client."""
    with child("far-tcp") as (_, port):
        paced = [json.loads(told) for told in together(("near-tcp", port, "ours"), ("near-tcp", port, "pymodbus"))]
    ours, theirs = paced
    return {
        "ours paced ms": ours["paced_ms"],
        "pymodbus paced ms": theirs["paced_ms"],
        "paced ratio": ours["paced_ms"] / theirs["paced_ms"],
        "ours dense ms": ours["dense_ms"],
        "pymodbus dense ms": theirs["dense_ms"],
        "dense ratio": ours["dense_ms"] / theirs["dense_ms"],
        "ours MB": ours["mb"],
        "pymodbus MB": theirs["mb"],
    }


async def far_tcp() -> None:
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    registers = SimData(0, values=list(range(125)), datatype=DataType.REGISTERS)
    server = ModbusTcpServer([SimDevice(1, [registers])], address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    print(vars(server)["transport"].sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


async def near_tcp(port: str, who: str) -> None:
    askers, close = await (ours_tcp if who == "ours" else pymodbus_tcp)(int(port))
    for ask in askers:
        await ask()
    paced_s = await measured(askers, TCP_SECONDS, 1.0)
    mb = psutil.Process().memory_info().rss / 2**20
    dense_s = await measured(askers, TCP_DENSE_ROUNDS, 0.0)
    figures = {
        "paced_ms": 1000 * paced_s / (TCP_SECONDS * len(askers)),
        "dense_ms": 1000 * dense_s / (TCP_DENSE_ROUNDS * len(askers)),
        "mb": mb,
    }
    print(json.dumps(figures))
    await close()


Asker = Callable[[], Awaitable[object]]


async def measured(askers: list[Asker], rounds: int, period_s: float) -> float:
    """Ask on every connection in its own task, each `rounds` times; give the processor time it took."""
    loop = asyncio.get_running_loop()
    start, cpu = loop.time(), time.process_time()

    async def keep_asking(ask: Asker) -> None:
        for n in range(rounds):
            await ask()
            await asyncio.sleep(max(0.0, start + (n + 1) * period_s - loop.time()) if period_s else 0)

    await asyncio.gather(*(keep_asking(ask) for ask in askers))
    return time.process_time() - cpu


async def ours_tcp(port: int) -> tuple[list[Asker], Asker]:
    from gantry_agent.field.bus import Link, open_link
    from gantry_agent.field.request import ReadRegisters, Timing
    from gantry_agent.model import Bus

    links = [open_link(Bus("io", "modbus-tcp", {"host": "127.0.0.1", "port": port})) for _ in range(TCP_UNITS)]
    request, timing = ReadRegisters(1, 3, 10, TCP_REGISTERS), Timing(1.0, 0.0)

    def asker(link: Link) -> Asker:
        return lambda: link.transact(request, timing)

    async def close() -> None:
        for link in links:
            await link.close()

    return [asker(link) for link in links], close


async def pymodbus_tcp(port: int) -> tuple[list[Asker], Asker]:
    from pymodbus.client import AsyncModbusTcpClient

    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
    clients = [AsyncModbusTcpClient("127.0.0.1", port=port) for _ in range(TCP_UNITS)]
    for client in clients:
        assert await client.connect()

    def asker(client: AsyncModbusTcpClient) -> Asker:
        return lambda: client.read_holding_registers(10, count=TCP_REGISTERS, device_id=1)

    async def close() -> None:
        for client in clients:
            client.close()

    return [asker(client) for client in clients], close


# --- SNMP -----------------------------------------------------------------------------------------------------------


def snmp() -> Figures:
    """Read 12 OIDs of each of 5 agents by v2c, by our link and by pysnmp's documented get_cmd."""
    return _snmp("2c")


def snmp_v3() -> Figures:
    """The same by v3 authPriv, where our link is pysnmp's engine too, asked the cheaper way."""
    return _snmp("3")


def _snmp(version: str) -> Figures:
    with contextlib.ExitStack() as stack:
        ports = ",".join(str(stack.enter_context(snmpd())) for _ in range(AGENTS))
        clients = (("near-snmp", ports, "ours", version), ("near-snmp", ports, "pysnmp", version))
        told = [json.loads(told) for told in together(*clients)]
    ours, theirs = told
    return {
        "ours ms": ours["ms"],
        "pysnmp ms": theirs["ms"],
        "ratio": ours["ms"] / theirs["ms"],
        "ours MB": ours["mb"],
        "pysnmp MB": theirs["mb"],
    }


@contextlib.contextmanager
def snmpd() -> Iterator[int]:
    """Start Debian's agent on a free port."""
    program = shutil.which("snmpd", path=os.environ["PATH"] + ":/usr/sbin")
    if not program:
        raise FileNotFoundError("snmpd is not installed: apt-get install snmpd")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "snmpd.conf")
        settings.write_text(
            f"agentaddress udp:127.0.0.1:{port}\nrocommunity public 127.0.0.1\n"
            "createUser watch SHA authkey1x AES privkey1x\nrouser watch authPriv\n"
        )
        environ = os.environ | {"MIBS": "", "SNMP_PERSISTENT_DIR": folder}
        command = [program, "-f", "-LE", "3", "-C", "-c", str(settings)]
        agent = subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL)
        try:
            yield port
        finally:
            agent.terminate()
            agent.wait(5)


async def near_snmp(ports: str, who: str, version: str) -> None:
    clients = {"ours": ours_snmp, "pysnmp": pysnmp_snmp}
    askers, close = await clients[who]([int(port) for port in ports.split(",")], version)
    for ask in askers:
        for _ in range(50):  # the agents are starting
            with contextlib.suppress(Exception):
                await ask()
                break
            await asyncio.sleep(0.1)
    cpu_s = await measured(askers, ROUNDS, 0.0)
    mb = psutil.Process().memory_info().rss / 2**20
    print(json.dumps({"ms": 1000 * cpu_s / (ROUNDS * len(askers)), "mb": mb}))
    await close()


async def ours_snmp(ports: list[int], version: str) -> tuple[list[Asker], Asker]:
    from gantry_agent.field.bus import Link, open_link
    from gantry_agent.field.request import GetOids, Timing
    from gantry_agent.model import Bus

    settings = {"host": "127.0.0.1", "version": version}
    if version == "3":
        settings |= {"user": "watch", "auth_key": "authkey1x", "priv_key": "privkey1x"}
    links = [open_link(Bus("cabinet", "snmp", settings | {"port": port})) for port in ports]
    request, timing = GetOids(OIDS), Timing(1.0, 0.0)

    def asker(link: Link) -> Asker:
        return lambda: link.transact(request, timing)

    async def close() -> None:
        for link in links:
            await link.close()

    return [asker(link) for link in links], close


async def pysnmp_snmp(ports: list[int], version: str) -> tuple[list[Asker], Asker]:
    import pysnmp.hlapi.v3arch.asyncio as hlapi

    engine = hlapi.SnmpEngine()
    sha, aes = hlapi.usmHMACSHAAuthProtocol, hlapi.usmAesCfb128Protocol
    watch = hlapi.UsmUserData("watch", "authkey1x", "privkey1x", authProtocol=sha, privProtocol=aes)
    identity = watch if version == "3" else hlapi.CommunityData("public", mpModel=1)

    async def asker(port: int) -> Asker:
        target = await hlapi.UdpTransportTarget.create(("127.0.0.1", port), timeout=1, retries=0)

        async def ask() -> None:
            trouble, *_ = await hlapi.get_cmd(
                engine,
                identity,
                target,
                hlapi.ContextData(),
                *(hlapi.ObjectType(hlapi.ObjectIdentity(oid)) for oid in OIDS),
            )
            if trouble:
                raise ConnectionError(str(trouble))

        return ask

    async def close() -> None:
        engine.close_dispatcher()

    return [await asker(port) for port in ports], close


# --- processes ------------------------------------------------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    return [sys.executable, __file__, *arguments]


@contextlib.contextmanager
def child(*arguments: str) -> Iterator[tuple[int, str]]:
    """Start a far end; give its pid and the first line it prints."""
    far = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, text=True)
    try:
        assert far.stdout is not None
        yield far.pid, far.stdout.readline().strip()
    finally:
        far.terminate()
        far.wait(5)
        if far.stdout is not None:
            far.stdout.close()


def run(*arguments: str) -> str:
    done = subprocess.run(command(*arguments), stdout=subprocess.PIPE, text=True, check=True, timeout=PART_S)
    return done.stdout.splitlines()[-1]


def together(*clients: tuple[str, ...]) -> list[str]:
    """Run clients at the same time; give the last line each prints."""
    running = [subprocess.Popen(command(*client), stdout=subprocess.PIPE, text=True) for client in clients]
    try:
        return [one.communicate(timeout=PART_S)[0].splitlines()[-1] for one in running]
    finally:
        for one in running:
            one.kill()
            one.wait(5)


PARTS: dict[str, Callable[[], Figures]] = {"line": line, "modbus-tcp": modbus_tcp, "snmp": snmp, "snmp-v3": snmp_v3}
ROLES: dict[str, Callable[..., Any]] = {
    "far-line": far_line,
    "near-line": near_line,
    "far-tcp": far_tcp,
    "near-tcp": near_tcp,
    "near-snmp": near_snmp,
}


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] in ROLES:
        role = ROLES[sys.argv[1]](*sys.argv[2:])
        if asyncio.iscoroutine(role):
            asyncio.run(role)
        return
    for name in sys.argv[1:] or PARTS:
        began = time.monotonic()
        for what, figure in PARTS[name]().items():
            print(f"{name:12} {what:22} {figure:10.3f}")
        print(f"{name:12} {'(took)':22} {time.monotonic() - began:10.1f} s")


if __name__ == "__main__":
    main()
