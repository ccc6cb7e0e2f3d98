"""`make bench`: every figure this project promises, as ratios of one run, with its target beside it. Some 6 minutes.

The line parts run on ptys with the byte timing of 9600 baud, 8 units of 20 registers, polled by the real poller as fast
as the line goes; the far ends are processes of their own and write down when each request came. What a library costs
beside ours is in `bench_bus`, events are `bench_events` and `bench_mains`, the outbox `bench_outbox`. A part that
breaks or takes longer than two minutes is told so, and the others go on. A machine that is busy with other things shows
here: run it alone.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

import bench_bus
import bench_events
import bench_mains
import bench_outbox
import psutil
from engine_rig import CHARACTER_S, SILENCE_S, Asked, device, far, profile
from support import GANTRY, free_ports

UNITS, REGISTERS = 8, 20
TRANSACTION_S = (8 + 5 + 2 * REGISTERS) * CHARACTER_S + 2 * SILENCE_S  # as the standard wants it, with both silences
RESPONSE_S = 0.3
DEAD_UNIT_S = (8 + 5 + 2 * REGISTERS) * CHARACTER_S + RESPONSE_S  # what a question to a dead unit takes
HEALTHY_S, DEAD_S = 8.0, 50.0
ORDERS = 160
WARM_S, MEASURED_S = 8.0, 25.0


class Figure(NamedTuple):
    """One line of the table."""

    what: str
    value: float
    unit: str = ""
    target: float | None = None  # at most


# --- the line -------------------------------------------------------------------------------------------------------


def lines() -> Iterator[Figure]:
    """Poll four lines at once: one sound, one with 1 dead unit, one with 4, one with orders and alarms."""
    told = bench_bus_together(("dead", "0"), ("dead", "1"), ("dead", "4"), ("orders", "0"), ("orders", "1"))
    sound, one, four, orders, orders_dead = (json.loads(line) for line in told)
    wire_s = UNITS * TRANSACTION_S
    yield Figure("cycle of 8 units", 1000 * sound["cycle_s"], "ms")
    yield Figure("its time on the wire", 1000 * wire_s, "ms")
    yield Figure("cycle / wire", sound["cycle_s"] / wire_s, "", 1.10)
    for dead, run, target in ((1, one, 10.0), (4, four, 25.0)):
        alone_s = (UNITS - dead) / UNITS * sound["cycle_s"]
        yield Figure(f"{dead} of 8 dead: cycle grows", 100 * (run["cycle_s"] / alone_s - 1), "%", target)
        yield Figure(f"{dead} of 8 dead: its worst cycle", 1000 * run["worst_s"], "ms")
    yield Figure("longest pause between its probes", longest_pause_s(), "s (stepped)", 60)
    longest = orders["longest_s"]
    yield Figure("order waits, p50", orders["p50_s"] / longest, "transactions")
    yield Figure("order waits, p99", orders["p99_s"] / longest, "transactions", 1.0)
    yield Figure("of that on a line that is ready, p50", 1000 * orders["idle_s"], "ms")
    yield Figure("other questions put before it", orders["overtaken"], "", 0)
    yield Figure("order waits, 1 dead, p99", 1000 * orders_dead["p99_s"], "ms")
    yield Figure("the same, in its transactions", orders_dead["p99_s"] / DEAD_UNIT_S, "transactions", 1.0)
    yield Figure("alarms every 0.5 s, late p50", 1000 * orders["late_p50_s"], "ms")
    yield Figure("alarms every 0.5 s, late p99", 1000 * orders["late_p99_s"], "ms")
    yield Figure("the same, in transactions", orders["late_p99_s"] / TRANSACTION_S, "transactions", 3)


def longest_pause_s() -> float:
    """Step the rota of a unit with one block that never answers, and tell the longest time between two questions."""
    from gantry_agent.field.request import Block, ReadRegisters
    from gantry_agent.field.rota import Rota, Turn, UnitState

    rota, now, asked = Rota(), 0.0, [0.0]
    rota.add([Turn(UnitState("dead"), Block(ReadRegisters(1, 3, 0, 1), (), "slow"), "slow", 5.0)])
    while now < 3600:
        turn, due = rota.next(now)
        if turn is None:
            now = due
            continue
        asked.append(now)
        now += DEAD_UNIT_S
        rota.failed(turn, now)
    return max(after - before for before, after in itertools.pairwise(asked))


async def near_dead(dead: str) -> None:
    """Poll measurements only; after a while some units die. The cycle is that of the units that live."""
    silent = range(1, 1 + int(dead))
    asked, died = await poll(fast=False, dead=silent, during=lambda _: asyncio.sleep(DEAD_S))
    cycles = [
        after.began - before.began
        for unit in range(1, UNITS + 1)
        if unit not in silent
        for before, after in itertools.pairwise(one for one in asked if one.unit == unit)
        if before.began > died
    ]
    print(json.dumps({"cycle_s": statistics.mean(cycles), "worst_s": max(cycles)}))


async def near_orders(dead: str) -> None:
    """Poll alarms every 0.5 s and measurements without end, and give orders at random moments.

    A transaction lasts from its first byte to that of the next; waits are told by the longest (p99) of this very line.
    """
    from gantry_agent.field.poller import Poller
    from gantry_agent.field.request import Timing, WriteBit
    from gantry_agent.model import AgentError

    given: list[float] = []

    async def give(poller: Poller) -> None:
        fate = random.Random(7)
        for _ in range(ORDERS):
            await asyncio.sleep(fate.uniform(0.1, 0.3))
            given.append(time.monotonic())
            with contextlib.suppress(AgentError):  # a machine so busy that the far end answers too late
                await poller.transact(WriteBit(UNITS, 3, True), Timing(RESPONSE_S, 0.0))

    asked, died = await poll(fast=True, dead=range(1, 1 + int(dead)), during=give)
    writes = [one for one in asked if one.function == 5]
    others = [one for one in asked if one.function != 5]
    waits = [write.began - at for at, write in zip(given, writes, strict=True)]
    before = (
        sum(at + 0.01 < one.began < write.began for one in others) for at, write in zip(given, writes, strict=True)
    )
    late = [
        after.began - before.began - 0.5
        for unit in range(1 + int(dead), UNITS + 1)
        for before, after in itertools.pairwise(o for o in asked if o.function == 2 and o.unit == unit)
        if before.began > died
    ]
    figures = {
        "p50_s": percentile(waits, 50),
        "p99_s": percentile(waits, 99),
        "longest_s": percentile([b.began - a.began for a, b in itertools.pairwise(asked)], 99),
        "idle_s": percentile([since(others, at, write) for at, write in zip(given, writes, strict=True)], 50),
        "overtaken": max(before),
        "late_p50_s": percentile([abs(one) for one in late], 50),
        "late_p99_s": percentile([abs(one) for one in late], 99),
    }
    print(json.dumps(figures))


def since(others: list[Asked], given_at: float, write: Asked) -> float:
    """How long the line had been ready when an order's first byte came: ours, and the scheduler's, to answer for."""
    ready = max((one.free + SILENCE_S for one in others if one.began < write.began), default=given_at)
    return write.began - max(ready, given_at)


async def poll(
    *, fast: bool, dead: range, during: Callable[[Any], Any], slow_s: float = 0.05
) -> tuple[list[Asked], float]:
    """Poll 8 units, let some die after a while; give what the far end was asked, and when they died."""
    from gantry_agent.field.bus import open_link
    from gantry_agent.field.poller import Lanes, Poller
    from gantry_agent.model import Bus

    with far() as line, tempfile.TemporaryDirectory() as folder:
        its = profile(Path(folder), registers=REGISTERS, response_ms=int(1000 * RESPONSE_S), fast=fast)
        devices = [(device(unit), its) for unit in range(1, UNITS + 1)]
        link = open_link(Bus("line", "serial", {"port": line.path, "baudrate": 9600}))
        poller = Poller(link, devices, Lanes(0.5, slow_s, 3), lambda _: None)
        task = asyncio.create_task(poller.run())
        await asyncio.sleep(HEALTHY_S)
        line.tell("dead", *dead)
        died = time.monotonic()
        await during(poller)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return line.stop(), died


def percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


# --- the whole agent ------------------------------------------------------------------------------------------------

TCP_UNITS, TCP_REGISTERS, AGENTS = 20, 40, 5
MODBUS_PROFILE = """\
profile: bench-modbus
title: {zh: 台架, en: bench}
protocol: modbus
maturity: draft
sources: [{document: bench, page: "1"}]
timing: {response_ms: 800, gap_ms: 0}
members: {elec: 1}
points:
POINTS
derived:
  elec.power: {sum: [NAMES], scale: 0.001}
"""
SNMP_PROFILE = """\
profile: bench-snmp
title: {zh: 台架, en: bench}
protocol: snmp
maturity: draft
sources: [{document: bench, page: "1"}]
timing: {response_ms: 800, gap_ms: 0}
members: {elec: 1}
points:
POINTS
warnings:
  - {member: elec, text: 台架, when: {ALL}}
"""


def agent() -> Iterator[Figure]:
    """Run the whole agent on 20 Modbus TCP devices x 40 registers each second and 5 SNMP agents x 12 OIDs each 10 s.

    Beside it, at the same time, a bare loop that makes the same reads with pymodbus and pysnmp and does nothing else.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = [int(one) for one in stack.enter_context(far_devices()).split(",")]
        agents = [stack.enter_context(bench_bus.snmpd()) for _ in range(AGENTS)]
        cloud, control = free_ports(2)
        answering = stack.enter_context(
            process("-m", "hwsim", "cloud", "--auth", "roadside-7", "--listen", f"127.0.0.1:{cloud}")
        )
        site = write_site(folder, ports, agents, cloud, control)
        ours = stack.enter_context(process(__file__, "agent-process", str(site), str(folder)))
        both = (",".join(map(str, ports)), ",".join(map(str, agents)))
        bare = stack.enter_context(process(__file__, "bare-loop", *both))
        time.sleep(WARM_S)
        before = [sum(one.cpu_times()[:2]) for one in (ours, bare)]
        time.sleep(MEASURED_S)
        cpu = [sum(one.cpu_times()[:2]) - then for one, then in zip((ours, bare), before, strict=True)]
        memory = [one.memory_info().rss / 2**20 for one in (ours, bare)]
        assert all(one.status() != psutil.STATUS_ZOMBIE for one in (answering, ours, bare))
    yield Figure("agent, CPU of one core", 100 * cpu[0] / MEASURED_S, "%")
    yield Figure("bare pymodbus + pysnmp loop, CPU", 100 * cpu[1] / MEASURED_S, "%")
    yield Figure("agent / bare loop, CPU", cpu[0] / cpu[1], "")
    yield Figure("agent, memory", memory[0], "MB", 120)
    yield Figure("bare loop, memory", memory[1], "MB")


def write_site(folder: Path, ports: list[int], agents: list[int], cloud: int, control: int) -> Path:
    names = [f"register_{n}" for n in range(TCP_REGISTERS)]
    points = "\n".join(f"  {name}: {{read: holding {n}, lane: fast}}" for n, name in enumerate(names))
    text = MODBUS_PROFILE.replace("POINTS", points).replace("NAMES", ", ".join(names))
    (folder / "bench-modbus.yaml").write_text(text, encoding="utf-8")
    oids = [f"oid_{n}" for n in range(len(bench_bus.OIDS))]
    points = "\n".join(
        f"  {name}: {{oid: {oid}, as: text, lane: slow}}" for name, oid in zip(oids, bench_bus.OIDS, strict=True)
    )
    text = SNMP_PROFILE.replace("POINTS", points).replace("ALL", ", ".join(f"{name}: never" for name in oids))
    (folder / "bench-snmp.yaml").write_text(text, encoding="utf-8")
    buses = [f"  tcp-{n}: {{type: modbus-tcp, host: 127.0.0.1, port: {one}}}" for n, one in enumerate(ports)]
    buses += [
        f"  snmp-{n}: {{type: snmp, host: 127.0.0.1, port: {one}, community: public}}" for n, one in enumerate(agents)
    ]
    devices = [f"      tcp-{n}: {{profile: bench-modbus, bus: tcp-{n}, unit: 1}}" for n in range(TCP_UNITS)]
    devices += [f"      snmp-{n}: {{profile: bench-snmp, bus: snmp-{n}}}" for n in range(AGENTS)]
    site = folder / "site.yaml"
    site.write_text(
        f"gantry: {{id: {GANTRY}}}\n"
        f'cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "roadside-7"}}\n'
        f'control: {{listen: "127.0.0.1:{control}"}}\n'
        f"storage: {{path: {folder}/state}}\n"
        "polling: {fast_s: 1, slow_s: 10}\n"
        "buses:\n" + "\n".join(buses) + "\ncabinets:\n  - id: 1\n    devices:\n" + "\n".join(devices) + "\n",
        encoding="utf-8",
    )
    return site


def agent_process(site: str, folder: str) -> None:
    from gantry_agent import agent as composition
    from gantry_agent.config.site import SHIPPED_PROFILES, read_config

    asyncio.run(composition.run(read_config(Path(site), (Path(folder), SHIPPED_PROFILES))))


@contextlib.contextmanager
def far_devices() -> Iterator[str]:
    """Start 20 Modbus TCP devices in one process; give their ports."""
    child = subprocess.Popen([sys.executable, __file__, "far-devices"], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        yield child.stdout.readline().strip()
    finally:
        child.terminate()
        child.wait(5)
        if child.stdout is not None:
            child.stdout.close()


async def serve_devices() -> None:
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    servers = []
    for _ in range(TCP_UNITS):
        registers = SimData(0, values=list(range(125)), datatype=DataType.REGISTERS)
        servers.append(ModbusTcpServer([SimDevice(1, [registers])], address=("127.0.0.1", 0)))
        await servers[-1].serve_forever(background=True)
    print(",".join(str(vars(one)["transport"].sockets[0].getsockname()[1]) for one in servers), flush=True)
    await asyncio.Event().wait()


async def bare_loop(ports: str, agents: str) -> None:
    from pymodbus.client import AsyncModbusTcpClient

    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
    clients = [AsyncModbusTcpClient("127.0.0.1", port=int(port)) for port in ports.split(",")]
    for client in clients:
        assert await client.connect()
    snmp, _ = await bench_bus.pysnmp_snmp([int(one) for one in agents.split(",")], "2c")

    async def keep(ask: Callable[[], Awaitable[object]], period_s: float) -> None:
        while True:
            with contextlib.suppress(ConnectionError):  # an agent that is still starting
                await ask()
            await asyncio.sleep(period_s)

    def asker(client: AsyncModbusTcpClient) -> Callable[[], Awaitable[object]]:
        return lambda: client.read_holding_registers(0, count=TCP_REGISTERS, device_id=1)

    await asyncio.gather(*(keep(asker(one), 1.0) for one in clients), *(keep(ask, 10.0) for ask in snmp))


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[psutil.Process]:
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environ)
    try:
        yield psutil.Process(child.pid)
    finally:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(10)
        child.kill()
        child.wait(5)


# --- all of it ------------------------------------------------------------------------------------------------------


def bench_bus_together(*clients: tuple[str, ...]) -> list[str]:
    """Run our own roles at the same time; give the last line each prints."""
    running = [subprocess.Popen([sys.executable, __file__, *one], stdout=subprocess.PIPE, text=True) for one in clients]
    try:
        return [one.communicate(timeout=100)[0].splitlines()[-1] for one in running]
    finally:
        for one in running:
            one.kill()
            one.wait(5)


def named(measure: Callable[[], dict[str, float]], targets: dict[str, float]) -> Callable[[], Iterator[Figure]]:
    """Put figures that have their unit in their name into this table."""

    def figures() -> Iterator[Figure]:
        for what, value in measure().items():
            name, _, unit = what.rpartition(" ")
            if unit in ("ms", "MB"):
                yield Figure(name, value, unit, targets.get(what))
            else:
                yield Figure(what, value, "", targets.get(what))

    return figures


PARTS: dict[str, Callable[[], Iterator[Figure]]] = {
    "poller": lines,
    "line": named(bench_bus.line, {"cycle / wire": 1.10}),
    "modbus-tcp": named(bench_bus.modbus_tcp, {"paced ratio": 1.0, "dense ratio": 1.0}),
    "snmp": named(bench_bus.snmp, {"ratio": 1.0}),
    "snmp-v3": named(bench_bus.snmp_v3, {"ratio": 1.0}),
    "agent": agent,
    "events": lambda: map(Figure._make, bench_events.figures()),
    "mains": lambda: map(Figure._make, bench_mains.figures()),
    "outbox": named(bench_outbox.main, {}),
}
PART_S = 120
BREAKS = (AssertionError, IndexError, OSError, ValueError, subprocess.SubprocessError)  # a far end that died or hangs
TOGETHER = frozenset({"poller", "agent"})  # they wait more than they work: at the same time, they take a minute
ROLES: dict[str, Callable[..., Any]] = {
    "dead": near_dead,
    "orders": near_orders,
    "agent-process": agent_process,
    "bare-loop": bare_loop,
    "far-devices": serve_devices,
}


def main() -> int:
    logging.getLogger("gantry_agent").setLevel(logging.ERROR)  # that these lines are too slow is what is measured
    if len(sys.argv) > 1 and sys.argv[1] in ROLES:
        role = ROLES[sys.argv[1]](*sys.argv[2:])
        if asyncio.iscoroutine(role):
            asyncio.run(role)
        return 0
    parts = sys.argv[1:] or list(PARTS)
    if unknown := set(parts) - PARTS.keys():
        print(f"cannot measure {', '.join(sorted(unknown))}; valid: {', '.join(PARTS)}")
        return 2
    began, missed, broken = time.monotonic(), 0, []
    print(f"{'part':11} {'figure':36} {'value':>9} {'unit':13} {'target':>8}")
    with ThreadPoolExecutor() as pool:
        begun = {part: pool.submit(list, PARTS[part]()) for part in parts if part in TOGETHER}
        wait(begun.values())
    signal.signal(signal.SIGALRM, overdue)
    for part in parts:
        signal.alarm(PART_S)
        try:
            missed += shown(part, begun[part].result() if part in begun else PARTS[part]())
        except BREAKS as error:
            print(f"{part:11} cannot be measured: {type(error).__name__} {error}", flush=True)
            broken.append(part)
        finally:
            signal.alarm(0)
    print(f"{missed} targets missed, {time.monotonic() - began:.0f} s")
    if broken:
        print(f"not measured: {', '.join(broken)}")
    return int(bool(broken))


def shown(part: str, figures: Iterable[Figure]) -> int:
    """Print a part's figures as they come; count those that miss their target."""
    missed = 0
    for what, value, unit, target in figures:
        late = target is not None and value > target
        missed += late
        aim = "" if target is None else f"<= {target:g}"
        print(f"{part:11} {what:36} {value:9.2f} {unit:13} {aim:>8} {'MISSED' if late else ''}", flush=True)
    return missed


def overdue(_signal: int, _frame: object) -> None:
    raise TimeoutError(f"not done within {PART_S} s")


if __name__ == "__main__":
    sys.exit(main())
