"""`python -m hwsim run` as a process with a site on every kind of wire, and clients of it that are not ours."""

import contextlib
import os
import select
import socket
import subprocess
import time
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import Process, ask, free_ports, python

B = "1.3.6.1.4.1.2011.6.164.1"
READ_METER = bytes.fromhex("0303200600022e28")  # two registers of unit 3 from 0x2006
CHARACTER_S = 10 / 9600
SITE = """
buses:
  rs485-1: {{type: serial, port: {folder}/ttyS1, baudrate: 9600, parity: N}}
  conv: {{type: serial-tcp, host: 127.0.0.1, port: {conv}, baudrate: 9600}}
  io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}
  cabinet: {{type: snmp, host: 127.0.0.1, port: {snmp}, version: 2c, community: public, write_community: private}}
  secure: {{type: snmp, host: 127.0.0.1, port: {secure}, version: 3, user: u, auth_protocol: SHA, auth_key: authkey1x,
            priv_protocol: AES, priv_key: privkey1x}}
computers:
  - {{id: 1, monitor: true, source: local}}
  - {{id: 2, main: true, source: snmp, bus: secure, sys_disk: /, data_disk: /data, nic: eth0}}
cabinets:
  - id: 1
    devices:
      power: {{profile: huawei-site-monitor, bus: cabinet}}
      meter: {{profile: chint-dtsu666, bus: rs485-1, unit: 3}}
      cool: {{profile: envicool-cabinet-ac, bus: rs485-1, unit: 2}}
      spd: {{profile: leixun-spd, bus: conv, unit: 5}}
      meter-2: {{profile: eastron-sdm630, bus: io, unit: 9}}
      io:
        profile: moxa-iologik-e1212
        bus: io
        unit: 1
        map:
          waterloggingSensor.isWarning: di0
          smokeSensor.isWarning: {{point: di1, invert: true}}
          doors.frontDoorClosed: di2
          doors.frontDoorLocked: di3
    outputs: {{front-lock: {{device: io, point: do0}}, siren: {{device: io, point: do1}}}}
    doors: {{front: {{unlock: front-lock}}, siren: siren}}
"""


@dataclass
class Rig:
    process: Process
    folder: Path
    ports: dict[str, int]
    site: Path

    @property
    def api(self) -> str:
        return self.process.wait_for("^hwsim api ").split()[-1]

    @property
    def pty(self) -> Path:
        return self.folder / "ttyS1"

    def get(self, path: str) -> Any:
        return ask(self.api + path)

    def post(self, path: str, body: object) -> Any:
        return ask(self.api + path, body)

    def calm(self) -> None:
        """End every fault, and put the plant back to where it began."""
        ask(self.api + "/fault", method="DELETE")
        phases = {"L1": 231, "L2": 229.5, "L3": 230.4}
        self.post("/plant", {"mains": True, "water": False, "door": {"front": "closed"}, "phase": phases})


def write_site(folder: Path) -> tuple[Path, dict[str, int]]:
    tcp, udp = free_ports(2), free_ports(2, socket.SOCK_DGRAM)
    ports = {"conv": tcp[0], "io": tcp[1], "snmp": udp[0], "secure": udp[1]}
    site = folder / "site.yaml"
    site.write_text(SITE.format(folder=folder, **ports))
    return site, ports


@contextlib.contextmanager
def hwsim(folder: Path, *options: str) -> Iterator[Rig]:
    site, ports = write_site(folder)
    process = Process(*python("hwsim", "run", "--site", str(site), *options))
    try:
        process.wait_for("^hwsim ready")
        yield Rig(process, folder, ports, site)
    finally:
        process.stop()


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, env=os.environ | {"MIBS": ""}, check=False
    )


def values(done: subprocess.CompletedProcess[str]) -> list[float]:
    """What mbpoll read; it prints `[address]: value`."""
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    return [float(line.split(":")[1].split()[0]) for line in lines]


def mbpoll(unit: int, wire: tuple[str, ...], place: str, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """One poll; a last word `=1` is a value to write."""
    options = [word for word in words if not word.startswith("=")]
    written = [word[1:] for word in words if word.startswith("=")]
    return run("mbpoll", *wire, "-a", str(unit), "-0", "-1", *options, place, *written)


def poll_line(rig: Rig, unit: int, *words: str) -> subprocess.CompletedProcess[str]:
    return mbpoll(unit, ("-m", "rtu", "-b", "9600", "-P", "none"), str(rig.pty), words)


def poll_tcp(rig: Rig, unit: int, *words: str) -> subprocess.CompletedProcess[str]:
    return mbpoll(unit, ("-m", "tcp", "-p", str(rig.ports["io"])), "127.0.0.1", words)


def snmp(rig: Rig, program: str, *words: str, community: str = "public", version: str = "2c") -> str:
    host = f"127.0.0.1:{rig.ports['snmp']}"
    done = run(program, f"-v{version}", "-c", community, "-On", "-r", "0", "-t", "2", host, *words)
    return done.stdout + done.stderr


def converse(sock: socket.socket, data: bytes, count: int) -> bytes:
    """Send, and read until `count` bytes came, the other side closed, or two seconds passed."""
    sock.settimeout(2.0)
    sock.sendall(data)
    answer = b""
    with contextlib.suppress(TimeoutError):
        while len(answer) < count and (more := sock.recv(count - len(answer))):
            answer += more
    return answer


@contextlib.contextmanager
def opened(rig: Rig) -> Iterator[int]:
    line = os.open(rig.pty, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line)
    try:
        yield line
    finally:
        os.close(line)


def listen(line: int, quiet_s: float = 0.5) -> list[tuple[float, bytes]]:
    """What comes over the line, with its times, until it has been quiet."""
    heard = []
    while select.select([line], [], [], quiet_s)[0]:
        heard.append((time.monotonic(), os.read(line, 256)))
    return heard


def answer(heard: list[tuple[float, bytes]]) -> bytes:
    return b"".join(data for _, data in heard)
