"""Figures of events: how long from the device's answer that carries a change to the POST at the cloud (D18).

`python tests/bench_events.py [EVENTS]` runs hwsim, the simulated cloud and the agent as processes of their own. Between
the agent and its I/O module stands a relay that notes when an answer first shows a change; the cloud notes when the
POST came. Idle is a gantry that has nothing else to do; saturated one whose line never rests and whose cloud gets a
status every ten seconds. A door waits for nobody; the mains, whose failure shows on other buses as well, are gathered.
Into how many records it goes then is measured by `bench_mains`.
"""

import asyncio
import contextlib
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from support import AUTH, GANTRY, Process, ask, free_ports, python

EVENTS = 100  # of each of the two kinds on each of the two sites
LIMIT_MS = 150.0

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: {interval}}}
control: {{listen: "127.0.0.1:{control}"}}
storage: {{path: {folder}/state}}
polling: {{fast_s: {fast}, slow_s: {slow}, misses: 3}}
events: {{flap_changes: 20, hold_down_s: 1}}
buses:
  line: {{type: serial, port: {folder}/tty, baudrate: 9600}}
  io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}
  power: {{type: snmp, host: 127.0.0.1, port: {power}, version: 2c, community: public}}
cabinets:
  - id: 1
    devices:
      power: {{profile: huawei-site-monitor, bus: power, ids: {{rectifier: [1, 2]}}, skip: [elec, thermohygrometer]}}
      io:
        profile: moxa-iologik-e1212
        bus: io
        map:
          waterloggingSensor.isWarning: di0
          smokeSensor.isWarning: {{point: di1, invert: true}}
          doors.frontDoorClosed: di2
          doors.frontDoorLocked: di3
          elec[1].status: di6
{line}
"""
IDLE = "      climate: {profile: xy-md02, bus: line, unit: 52}"
SATURATED = "\n".join(
    [IDLE]
    + [f"      meter{k}: {{profile: chint-dtsu666, bus: line, unit: {k}}}" for k in range(2, 8)]
    + [f"      spd{k}: {{profile: renda-spd, bus: line, unit: {30 + k}}}" for k in range(1, 5)]
)


class Relay:
    """A TCP relay that notes when the answer to the questions that go by first differs from the one before."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._changed: list[float] = []
        self._ready = threading.Event()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def changes(self) -> list[float]:
        """When answers changed, Unix seconds."""
        return list(self._changed)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        asked: dict[bytes, bytes] = {}  # question by transaction
        seen: dict[bytes, bytes] = {}  # last answer by question

        async def questions() -> None:
            while data := await reader.read(4096):
                asked[data[:2]] = data[2:]
                back.write(data)
            back.close()

        async def answers() -> None:
            while data := await there.read(4096):
                question = asked.pop(data[:2], b"")
                if seen.setdefault(question, data[2:]) != data[2:]:
                    seen[question] = data[2:]
                    self._changed.append(time.time())
                writer.write(data)
            writer.close()

        with contextlib.suppress(OSError):
            await asyncio.gather(questions(), answers())


class Bench:
    """The running three and the relay."""

    def __init__(self, api: str, cloud: int, relay: Relay, site: Path) -> None:
        self.api, self.cloud, self.relay, self.site = api, cloud, relay, site
        self._number = 0  # of the newest upload looked at

    def plant(self, **change: Any) -> None:
        ask(f"{self.api}/plant", {"cabinet": 1, **change})

    def since(self, number: int, wait_s: float = 0.0) -> list[dict[str, Any]]:
        return ask(f"http://127.0.0.1:{self.cloud}/uploads?since={number}&wait_s={wait_s}")

    def latency_ms(self, change: dict[str, Any], shows: tuple[str, str, str]) -> float:
        """Make a change and wait for the upload that shows it; from the answer that carried it to its POST."""
        self._number = max((one["number"] for one in self.since(self._number)), default=self._number)
        asked_at = time.time()  # of the plant: answers that changed before carry an earlier change
        self.plant(**change)
        member, field, value = shows
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for one in self.since(self._number, 1.0):
                self._number = one["number"]
                found = one["payload"].get("cabinetStatus", {}).get(member, {})
                carried = [at for at in self.relay.changes() if at >= asked_at]
                if carried and (found[0] if isinstance(found, list) else found).get(field) == value:
                    return 1000 * (one["received"] - carried[0])
        raise AssertionError(f"no upload showed {shows} after {change}")


@contextlib.contextmanager
def bench(line: str, fast_s: float, slow_s: float, interval_s: int = 3600) -> Iterator[Bench]:
    """Start everything; the agent speaks to its I/O module through the relay."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        cloud, control, io = free_ports(3)
        (power,) = free_ports(1, socket.SOCK_DGRAM)
        given = {"gantry": GANTRY, "auth": AUTH, "cloud": cloud, "control": control, "power": power}
        given |= {"folder": folder, "line": line, "fast": fast_s, "slow": slow_s, "interval": interval_s}
        hardware_site, agent_site = Path(folder) / "hwsim.yaml", Path(folder) / "agent.yaml"
        hardware_site.write_text(SITE.format(io=io, **given), encoding="utf-8")
        hardware = Process(*python("hwsim", "run", "--site", str(hardware_site), "--api", "127.0.0.1:0"))
        stack.callback(hardware.stop)
        far = Process(*python("hwsim", "cloud", "--auth", AUTH, "--listen", f"127.0.0.1:{cloud}"))
        stack.callback(far.stop)
        api = hardware.wait_for(r"hwsim api http").split()[-1]
        hardware.wait_for(r"^hwsim ready")
        far.wait_for(r"^cloud ready")
        relay = Relay(io)
        stack.callback(relay.stop)
        agent_site.write_text(SITE.format(io=relay.port, **given), encoding="utf-8")
        agent = Process(*python("gantry_agent", "run", "-c", str(agent_site)))
        stack.callback(agent.stop)
        agent.wait_for("ready: gantry")
        made = Bench(api, cloud, relay, agent_site)
        deadline = time.monotonic() + 20
        while not made.since(0) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1.0)
        yield made


KINDS = {
    "door": (
        ({"door": {"front": "forced"}}, ("doors", "frontDoorClosed", "0")),
        ({"door": {"front": "closed"}}, ("doors", "frontDoorClosed", "1")),
    ),
    "mains": (
        ({"mains": False}, ("elec", "status", "0")),
        ({"mains": True}, ("elec", "status", "1")),
    ),
}


def measure(made: Bench, events: int) -> dict[str, list[float]]:
    """Latencies in ms, of doors (which wait for nobody) and of the mains (which are gathered)."""
    found: dict[str, list[float]] = {}
    for kind, (on, off) in KINDS.items():
        found[kind] = []
        for k in range(events):
            found[kind].append(made.latency_ms(*(off if k % 2 else on)))
            time.sleep(random.uniform(0.02, 0.12))
    return found


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def figures(events: int = EVENTS) -> Iterator[tuple[str, float, str, float | None]]:
    """What was measured: what it is, its value, its unit, and what it may be at most."""
    for site, *how in (("idle", IDLE, 0.1, 5.0), ("saturated", SATURATED, 0.1, 0.5, 10)):
        with bench(*how) as made:
            found = measure(made, events)
        for kind, values in found.items():
            what = f"{kind} to POST, {site}, {len(values)} events"
            yield f"{what}, p50", statistics.median(values), "ms", None
            yield f"{what}, p99", percentile(values, 99), "ms", LIMIT_MS


def told(found: Iterable[tuple[str, float, str, float | None]]) -> int:
    """Print figures as they come; 1 if one misses its target."""
    missed = 0
    for what, value, unit, target in found:
        late = target is not None and value > target
        missed += late
        print(
            f"{what:44} {value:7.1f} {unit}{f'  <= {target:g}' if target else ''}{'  MISSED' if late else ''}",
            flush=True,
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(told(figures(int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS)))
