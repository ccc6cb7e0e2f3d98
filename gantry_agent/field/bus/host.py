"""This computer itself, read by psutil in one thread of its own.

Names: cpu_percent, memory_total_kb, memory_used_percent, disk_total_kb:PATH, disk_used_percent:PATH,
net_percent:NIC:MBPS (0: ask the card), cpu_temperature, ip:NIC. A name that the hardware cannot give is None; a name
whose reading fails once is None that once, and costs the others nothing. Two of them are differences: CPU and network
use are over the time since they were last read.
"""

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil

from gantry_agent.field.bus.journal import Journal
from gantry_agent.field.request import HostValues, ReadHost, Reply, Request, Timing
from gantry_agent.model import Bus, NoReply, Value

# Chips that measure the processor, the best first; with the label that means the whole of it.
PROCESSOR_CHIPS = (
    ("coretemp", "Package id 0"),
    ("k10temp", "Tctl"),
    ("zenpower", "Tctl"),
    ("cpu_thermal", ""),
    ("soc_thermal", ""),
    ("acpitz", ""),
)
PLAUSIBLE_C = (0.0, 130.0)  # a chip without a sensor says 0, -273 or 255
CLOSE_S = 1.0
LEAST_INTERVAL_S = 0.2  # below this, counters that tick by the packet say little


@dataclass(frozen=True, slots=True)
class _Octets:
    at: float
    received: int
    sent: int


class Readings:
    """What psutil tells; lives in one thread."""

    def __init__(self) -> None:
        psutil.cpu_percent(interval=None)  # its first figure is always 0
        self._cpu_at = time.monotonic()
        self._cpu_percent: float | None = None
        self._octets: dict[str, _Octets] = {}
        self._net_percent: dict[str, float | None] = {}

    def read(self, names: tuple[str, ...]) -> HostValues:
        self._prime(names)
        return {name: self._read_one(name) for name in names}

    def _prime(self, names: tuple[str, ...]) -> None:
        """Take first counts of what is a difference, and wait, once after the start, until one is worth telling."""
        since = self._cpu_at if "cpu_percent" in names and self._cpu_percent is None else None
        for name in names:
            nic = name.removeprefix("net_percent:").rpartition(":")[0] if name.startswith("net_percent:") else ""
            if nic and nic not in self._octets and (counted := _octets(nic)) is not None:
                self._octets[nic] = counted
                since = counted.at
        if since is not None:
            time.sleep(max(0.0, since + LEAST_INTERVAL_S - time.monotonic()))  # this is the thread, not the loop

    def _read_one(self, name: str) -> Value | None:
        what, _, argument = name.partition(":")
        try:
            match what:
                case "cpu_percent":
                    return self._cpu()
                case "memory_total_kb":
                    return psutil.virtual_memory().total // 1024
                case "memory_used_percent":
                    return psutil.virtual_memory().percent
                case "disk_total_kb":
                    return psutil.disk_usage(argument).total // 1024
                case "disk_used_percent":
                    return psutil.disk_usage(argument).percent
                case "net_percent":
                    return self._net(argument)
                case "cpu_temperature":
                    return _temperature()
                case "ip":
                    return _address(argument)
        except OSError:  # a disk that is not mounted, a sensor that went away
            return None
        raise ValueError(f"cannot read {name!r} of this computer: not a name it has")

    def _cpu(self) -> float:
        now = time.monotonic()
        if self._cpu_percent is None or now - self._cpu_at >= LEAST_INTERVAL_S:
            self._cpu_at, self._cpu_percent = now, psutil.cpu_percent(interval=None)
        return self._cpu_percent

    def _net(self, argument: str) -> float | None:
        """Tell the share of the link that the busier direction used since the last reading."""
        nic, _, configured = argument.rpartition(":")
        card = psutil.net_if_stats().get(nic)
        now = _octets(nic)
        if card is None or now is None:
            self._octets.pop(nic, None)
            self._net_percent.pop(nic, None)
            return None
        mbps = float(configured or 0) or float(card.speed)
        before = self._octets.get(nic, now)
        if now.at - before.at < LEAST_INTERVAL_S and nic in self._net_percent:
            return self._net_percent.get(nic)
        self._octets[nic] = now
        self._net_percent[nic] = _share(before, now, mbps)
        return self._net_percent[nic]


def _octets(nic: str) -> _Octets | None:
    counters = psutil.net_io_counters(pernic=True).get(nic)
    return None if counters is None else _Octets(time.monotonic(), counters.bytes_recv, counters.bytes_sent)


def _share(before: _Octets, now: _Octets, mbps: float) -> float | None:
    if mbps <= 0 or now.at <= before.at:  # virtual cards and wireless say 0 for unknown
        return None
    busier = max(now.received - before.received, now.sent - before.sent)
    if now.received < before.received or now.sent < before.sent:  # the card's counters began anew
        return None
    return min(100.0, 100 * 8 * busier / ((now.at - before.at) * mbps * 1e6))


def _temperature() -> float | None:
    chips = psutil.sensors_temperatures()
    low, high = PLAUSIBLE_C
    for chip, label in PROCESSOR_CHIPS:
        plausible = [
            (entry.label == label, entry.current) for entry in chips.get(chip, []) if low < entry.current < high
        ]
        if plausible:
            return max(plausible)[1]
    return max((entry.current for chip in chips.values() for entry in chip if low < entry.current < high), default=None)


def _address(nic: str) -> str | None:
    addresses = psutil.net_if_addrs().get(nic, [])
    return next((address.address for address in addresses if address.family == socket.AF_INET), None)


class Host:
    """The link of the `host` bus."""

    def __init__(self, bus: Bus) -> None:
        self._name = bus.name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="host")
        self._readings = Readings()
        self._running: asyncio.Future[HostValues] | None = None
        self.journal = Journal()
        self._closed = False

    def held_s(self, request: Request | None = None) -> float:  # noqa: ARG002 - this computer needs no pause
        return 0.0

    async def transact(self, request: Request, timing: Timing) -> Reply:
        if not isinstance(request, ReadHost):
            raise TypeError(f"cannot ask this computer for {request}: not ReadHost")
        loop = asyncio.get_running_loop()
        began = loop.time()
        with self.journal.transaction(0):
            if self._closed:
                raise NoReply(f"cannot read {self._name}: bus closed")
            if self._running is not None and not self._running.done():
                raise NoReply(
                    f"cannot read {self._name}: the last reading still hangs"
                )  # a disk or sensor in the kernel
            self._running = loop.run_in_executor(self._thread, self._readings.read, request.names)
            try:
                async with asyncio.timeout(timing.response_s):
                    reply = await asyncio.shield(self._running)
            except TimeoutError as error:
                raise NoReply(f"cannot read {self._name}: not done in {timing.response_s:g} s") from error
        self.journal.answered(0, loop.time() - began)
        return reply

    async def close(self) -> None:
        self._closed = True
        if self._running is not None and not self._running.done():
            await asyncio.wait([self._running], timeout=CLOSE_S)
        self._thread.shutdown(wait=False, cancel_futures=True)
