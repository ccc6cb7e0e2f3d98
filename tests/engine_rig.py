"""A 9600 baud line as a process of its own, with real byte timing, and devices to poll on it.

`python tests/engine_rig.py` is the far end: it prints the port's path, then one line for each request it understood:
when its first byte came (monotonic), when the line was free again, unit, function, address. On its input it is told who
is `dead`, e.g. `dead 1 3`; `quit` ends it. Register n of a unit holds n.
"""

import contextlib
import os
import pty
import select
import struct
import subprocess
import sys
import time
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BAUDRATE, CHARACTER_S = 9600, 10 / 9600
SILENCE_S = 3.5 * CHARACTER_S

PROFILE = """\
profile: {name}
title: {{zh: 台架, en: bench}}
protocol: modbus
maturity: draft
sources: [{{document: "MODBUS Application Protocol", page: "6.3"}}]
timing: {{response_ms: {response_ms}, gap_ms: 0}}
limits: {{registers: 125, hole: 124}}
members: {{elec: 1}}
points:
  elec.voltage: {{read: holding 100, unit: V, lane: slow}}
  elec.current: {{read: holding {last}, unit: A, lane: slow}}
  alarm: {{read: discrete 7, lane: fast}}
  relay: {{read: coil 3, write: coil 3}}
warnings:
  - {{member: elec, text: 告警, when: {{alarm: 5}}}}
"""


class Asked(NamedTuple):
    """A request that the far end understood."""

    began: float
    free: float
    unit: int
    function: int
    address: int


def profile(folder: Path, name: str = "bench", *, registers: int = 20, response_ms: int = 300, fast: bool = True):
    """Write and read a profile whose measurements are one block of so many registers, its alarms one of one bit."""
    from gantry_agent.field import profile as profiles

    text = PROFILE.format(name=name, last=99 + registers, response_ms=response_ms)
    if not fast:
        text = "".join(line for line in text.splitlines(keepends=True) if "alarm" not in line and "warn" not in line)
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return profiles.check(path)


def device(unit: int, bus: str = "line", profile_name: str = "bench"):
    from gantry_agent.model import Device

    return Device(f"1.unit{unit}", 1, profile_name, bus, unit, {"elec": (unit,)})


# --- the far end ----------------------------------------------------------------------------------------------------


class Far:
    """The far end, seen from the process that started it."""

    def __init__(self) -> None:
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin and self._process.stdout
        self.path = self._process.stdout.readline().strip()

    def tell(self, *words: object) -> None:
        assert self._process.stdin
        print(*words, file=self._process.stdin, flush=True)

    def stop(self) -> list[Asked]:
        """End it and give what it was asked."""
        if self._process.poll() is None:
            self.tell("quit")
        told, _ = self._process.communicate(timeout=10)
        rows = [line.split() for line in told.splitlines()]
        return [Asked(float(r[0]), float(r[1]), *(int(one) for one in r[2:])) for r in rows if len(r) == 5]


@contextlib.contextmanager
def far() -> Iterator[Far]:
    one = Far()
    try:
        yield one
    finally:
        one._process.kill()
        one._process.wait(5)
        for stream in (one._process.stdin, one._process.stdout):
            if stream is not None:
                stream.close()


def serve() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    print(os.ttyname(slave), flush=True)
    answer(1, 3, 0, 1, b"")  # loads pymodbus: the first answer is not to be late for it
    dead: set[int] = set()
    log: list[str] = []
    while True:
        ready, _, _ = select.select([master, sys.stdin], [], [])
        if sys.stdin in ready:
            words = sys.stdin.readline().split()
            if words[:1] != ["dead"]:
                break
            dead = {int(word) for word in words[1:]}
            continue
        began = time.monotonic()
        request = os.read(master, 256)
        unit, function, address, count = struct.unpack(">BBHH", request[:6])
        at = began + len(request) * CHARACTER_S
        if unit not in dead:
            at += SILENCE_S
            for byte in answer(unit, function, address, count, request):
                at += CHARACTER_S
                time.sleep(max(0.0, at - time.monotonic()))
                os.write(master, bytes((byte,)))
        log.append(f"{began} {at} {unit} {function} {address}")
    print("\n".join(log), flush=True)


def answer(unit: int, function: int, address: int, count: int, request: bytes) -> bytes:
    from pymodbus.framer.rtu import FramerRTU

    if function in (1, 2):
        body = bytes((unit, function, (count + 7) // 8)) + bytes((count + 7) // 8)
    elif function in (3, 4):
        body = struct.pack(f">BBB{count}H", unit, function, 2 * count, *range(address, address + count))
    else:
        body = request[:6]
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


if __name__ == "__main__":
    serve()
