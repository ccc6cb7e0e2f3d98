"""Figures of a mains failure: into how many records it goes, and what the wire allows (D18).

`python tests/bench_mains.py [TRIALS]`: on a gantry whose power devices answer within milliseconds it is one record. On
a 9600 baud line with a dozen units that show it, the alarms of the others take many times the 100 ms that changes are
gathered, if nothing but their bytes is counted: one record within 100 ms cannot be there. A tap on the line notes when
each answer ended; what a mains failure changes is told from the answers themselves. Beside the default the same site is
run with `gather_ms` (one record, as soon as the last has answered), where a door must wait no longer for it.
"""

import contextlib
import itertools
import os
import pty
import re
import select
import statistics
import sys
import tempfile
import threading
import time
import tty
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import bench_events
from engine_rig import CHARACTER_S, SILENCE_S
from support import AUTH, GANTRY, Process, ask, eventually, free_ports, order, python

TRIALS = 4  # failures and returns
GATHER_MS = 4000
FAST_S = 4.0  # what such a line carries
SETTLED_S = 3.5  # from when a change is seen first to the last record of it
DOORS = 6

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: 3600}}
control: {{listen: "127.0.0.1:{control}"}}
storage: {{path: {folder}/state}}
polling: {{fast_s: {fast}, slow_s: 30, misses: 3}}
events: {{flap_changes: 20, hold_down_s: 1, gather_ms: {gather}}}
buses:
  line: {{type: serial, port: {port}, baudrate: 9600}}
  io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}
cabinets:
  - id: 1
    devices:
{devices}
      climate: {{profile: renda-temperature-humidity, bus: line, unit: 52}}
      water: {{profile: renda-water, bus: line, unit: 51}}
      smoke: {{profile: renda-smoke, bus: line, unit: 50}}
      io: {{profile: moxa-iologik-e1212, bus: io, map: {{doors.frontDoorClosed: di2, doors.frontDoorLocked: di3}}}}
"""
POWER_DEVICES = {
    "meter-1": "profile: chint-dtsu666, bus: line, unit: 1",
    "meter-2": "profile: eastron-sdm630, bus: line, unit: 2",
    "meter-3": "profile: chint-dtsu666, bus: line, unit: 3",
    "meter-4": "profile: chint-ddsu666, bus: line, unit: 4",
    "meter-5": "profile: eastron-sdm120, bus: line, unit: 5",
    "rectifiers": "profile: ydt1363-psu, bus: line, unit: 16, ids: {rectifier: [1, 2]}, skip: [elec, ups]",
    "ups-1": "profile: huawei-ups2000, bus: line, unit: 21, skip: [elec]",
    "ups-2": "profile: huawei-ups2000, bus: line, unit: 22, skip: [elec]",
    "air-1": "profile: envicool-cabinet-ac, bus: line, unit: 60",
    "air-2": "profile: envicool-cabinet-ac, bus: line, unit: 61",
    "air-3": "profile: envicool-cabinet-ac, bus: line, unit: 62",
    "air-4": "profile: envicool-cabinet-ac, bus: line, unit: 63",
}
FEW = ("meter-1", "meter-4", "rectifiers", "ups-1", "air-1")  # enough for a test
POWER = re.compile(r"status|warningMsg")


class Exchange(NamedTuple):
    """A question on the line and its answer; when it ended, Unix seconds."""

    question: bytes
    answer: bytes
    ended: float


class Tap:
    """A pty for the agent, tied to the one of the simulator, that notes what goes by."""

    def __init__(self, far: Path) -> None:
        self._near, self._agents = pty.openpty()
        tty.setraw(self._agents)
        self._far = os.open(far, os.O_RDWR | os.O_NOCTTY)
        self._wake = os.pipe()
        self.path = os.ttyname(self._agents)
        self._pieces: list[tuple[bool, bytes, float]] = []  # whether from the agent, what, when its end came
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        os.write(self._wake[1], b"x")
        self._thread.join(5)
        for one in (self._near, self._agents, self._far, *self._wake):
            os.close(one)

    def exchanges(self) -> list[Exchange]:
        """What was asked and answered so far, oldest first."""
        frames: list[tuple[bool, bytes, float]] = []
        for asked, data, at in list(self._pieces):
            if frames and not asked and not frames[-1][0]:
                frames[-1] = (False, frames[-1][1] + data, at)
            else:
                frames.append((asked, data, at))
        pairs = itertools.pairwise(frames)
        return [Exchange(one[1], next_[1], next_[2]) for one, next_ in pairs if one[0] and not next_[0]]

    def changed(self, began: float, ended: float) -> list[Exchange]:
        """The first answer to each alarm question that differs from the last before `began`, by when it ended."""
        exchanges = self.exchanges()
        counted = Counter(one.question for one in exchanges)
        often = {question for question, count in counted.items() if 2 * count > max(counted.values())}  # the fast lane
        before = {one.question: one.answer for one in exchanges if one.ended < began}
        found: dict[bytes, Exchange] = {}
        for one in exchanges:
            if began <= one.ended < ended and one.question in often and one.answer != before.get(one.question):
                found.setdefault(one.question, one)
        return list(found.values())

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._near, self._far, self._wake[0]], [], [])
            if self._wake[0] in ready:
                return
            for end in ready:
                data = os.read(end, 4096)
                self._pieces.append((end == self._near, data, time.time()))
                os.write(self._far if end == self._near else self._near, data)


@dataclass
class SlowLine:
    """The running site: `plant` changes it, `since` gives what the cloud received, both ends of the wires are noted."""

    tap: Tap
    relay: bench_events.Relay
    plant: Callable[..., Any]
    since: Callable[..., list[dict[str, Any]]]
    settled_s: float  # from a change to the last record of it


@contextlib.contextmanager
def slow_line(gather_ms: int, names: Iterable[str] = POWER_DEVICES, fast_s: float = FAST_S) -> Iterator[SlowLine]:
    """Start simulator, cloud and agent, with the tap on the line and the relay before the I/O module."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        cloud, control, io = free_ports(3)
        given: dict[str, Any] = {"gantry": GANTRY, "auth": AUTH, "cloud": cloud, "control": control, "folder": folder}
        devices = "\n".join(f"      {name}: {{{POWER_DEVICES[name]}}}" for name in names)
        given |= {"fast": fast_s, "gather": gather_ms, "devices": devices}
        hardware_site, agent_site = folder / "hwsim.yaml", folder / "agent.yaml"
        hardware_site.write_text(SITE.format(port=folder / "tty", io=io, **given), encoding="utf-8")
        hardware = Process(*python("hwsim", "run", "--site", str(hardware_site), "--api", "127.0.0.1:0"))
        stack.callback(hardware.stop)
        far = Process(*python("hwsim", "cloud", "--auth", AUTH, "--listen", f"127.0.0.1:{cloud}"))
        stack.callback(far.stop)
        api = hardware.wait_for(r"hwsim api http").split()[-1]
        hardware.wait_for(r"^hwsim ready")
        far.wait_for(r"^cloud ready")
        relay, tap = bench_events.Relay(io), Tap(folder / "tty")
        stack.callback(relay.stop)
        stack.callback(tap.stop)
        agent_site.write_text(SITE.format(port=tap.path, io=relay.port, **given), encoding="utf-8")
        agent = Process(*python("gantry_agent", "run", "-c", str(agent_site)))
        stack.callback(agent.stop)
        agent.wait_for("ready: gantry")
        made = SlowLine(
            tap,
            relay,
            lambda **change: ask(f"{api}/plant", {"cabinet": 1, **change}),
            lambda number, wait_s=0.0: ask(f"http://127.0.0.1:{cloud}/uploads?since={number}&wait_s={wait_s}"),
            fast_s + SETTLED_S,
        )
        eventually(lambda: read_once(made, control), 60, "everything read once")
        yield made


def read_once(site: SlowLine, control: int) -> bool:
    """Have a status sent, and tell whether every power device has its place in it."""
    order(control, "cabinetControl", {"updateNow": "1"})
    time.sleep(1.0)
    status = site.since(0)[-1]["payload"]["cabinetStatus"]
    power = [one for member in ("elec", "ups", "rectifier", "airConditioners") for one in status[member]]
    return all(one["status"] != "NoData" for one in power)


# --- what was seen --------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What some mains failures and returns were like: one number of each, times in ms."""

    records: list[int] = field(default_factory=list)
    units: list[int] = field(default_factory=list)  # whose alarms changed
    questions: list[int] = field(default_factory=list)  # whose answers changed
    bytes_: list[int] = field(default_factory=list)  # of these and their answers, without the first that changed
    span: list[float] = field(default_factory=list)  # from the first answer that changed to the last
    post: list[float] = field(default_factory=list)  # from the last answer that changed to the last POST
    door: list[float] = field(default_factory=list)  # from the answer that shows a door to its POST


def unit(question: bytes) -> bytes:
    return question[1:5] if question.startswith(b"~") else question[:1]  # YD/T 1363.3: version and address in hex


def power(uploads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in uploads if POWER.search(str(one["changes"])) and "Door" not in str(one["changes"])]


def failures(site: SlowLine, trials: int, seen: Seen) -> None:
    """Let the mains fail and return; count records, and see on the line what could be known when."""
    told: list[tuple[float, list[dict[str, Any]]]] = []
    for k in range(trials):
        number = max(one["number"] for one in site.since(0))
        began = time.time()
        site.plant(mains=bool(k % 2))
        time.sleep(site.settled_s)
        told.append((began, power(site.since(number))))
    for began, uploads in told:
        found = site.tap.changed(began, began + site.settled_s)
        seen.records.append(len(uploads))
        seen.units.append(len({unit(one.question) for one in found}))
        seen.questions.append(len(found))
        seen.bytes_.append(sum(len(one.question) + len(one.answer) for one in found[1:]))
        seen.span.append(1000 * (found[-1].ended - found[0].ended))
        seen.post.append(1000 * (uploads[-1]["received"] - found[-1].ended))


def doors(site: SlowLine, seen: list[float]) -> None:
    """Open or close a door, and see how long its answer took to the cloud."""
    for k in range(DOORS):
        number, began = max(one["number"] for one in site.since(0)), time.time()
        site.plant(door={"front": "closed" if k % 2 else "forced"})
        seen.append(door_ms(site, number, began, str(k % 2)))


def door_ms(site: SlowLine, number: int, began: float, closed: str) -> float:
    """From the first answer of the I/O module that changed to the POST that shows the door."""
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        for one in site.since(number, 1.0):
            shown = [at for at in site.relay.changes() if at >= began]
            if shown and one["payload"]["cabinetStatus"]["doors"]["frontDoorClosed"] == closed:
                return 1000 * (one["received"] - shown[0])
    raise AssertionError("no upload showed the door")


def on_a_slow_line(gather_ms: int, trials: int) -> Seen:
    seen = Seen()
    with slow_line(gather_ms) as site:
        failures(site, trials, seen)
        if gather_ms > 100:
            doors(site, seen.door)
    return seen


def where_all_answer_at_once(trials: int) -> list[int]:
    """Records of each mains failure on the site of `bench_events`: SNMP and Modbus TCP."""
    records = []
    with bench_events.bench(bench_events.IDLE, 0.1, 5.0) as site:
        for k in range(trials):
            number = max(one["number"] for one in site.since(0))
            site.plant(mains=bool(k % 2))
            time.sleep(1.0)
            records.append(len(power(site.since(number))))
    return records


def figures(trials: int = TRIALS) -> Iterator[tuple[str, float, str, float | None]]:
    """What was measured: what it is, its value, its unit, and what it may be at most."""
    with ThreadPoolExecutor() as pool:  # they wait more than they work
        quick = pool.submit(where_all_answer_at_once, trials)
        default, patient = pool.map(lambda ms: on_a_slow_line(ms, trials), (100, GATHER_MS))
    yield "TCP and SNMP: records, most", max(quick.result()), "", 1
    others = min(default.questions) - 1
    wire_s = min(default.bytes_) * CHARACTER_S + others * 2 * SILENCE_S
    yield "slow line: units that show it", min(default.units), "", None
    yield "  bytes after the first answer", min(default.bytes_), "", None
    yield "  their least time (gathered 100)", 1000 * wire_s, "ms", None
    yield "  first answer to last, least", min(default.span), "ms", None
    yield "  records, least", min(default.records), "", None
    yield "  records, most", max(default.records), "", None
    yield f"gather_ms {GATHER_MS}: records, most", max(patient.records), "", 1
    yield "  last that changed to POST, p50", statistics.median(patient.post), "ms", None
    yield f"  door to POST, {DOORS}, most", max(patient.door), "ms", bench_events.LIMIT_MS


if __name__ == "__main__":
    sys.exit(bench_events.told(figures(int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS)))
