"""A whole gantry for a test: hwsim, the simulated cloud and the agent, each its own process on free loopback ports."""

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import AUTH, GANTRY, Process, ask, eventually, free_ports, order, python

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: {interval}}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.2, slow_s: 1, misses: 3}}
interlocks: {{compressor_off_s: 0}}
buses:
  rs485: {{type: serial, port: {folder}/ttyRS485, baudrate: 9600}}
  converter: {{type: serial-tcp, host: 127.0.0.1, port: {converter}, baudrate: 19200}}
  io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}
  power: {{type: snmp, host: 127.0.0.1, port: {power}, version: 2c, community: public, write_community: private}}
  toll-pc: {{type: snmp, host: 127.0.0.1, port: {pc}, version: 3, user: agent, auth_protocol: SHA, auth_key: authkey-123, priv_protocol: AES, priv_key: privkey-123}}
computers:
  - {{id: 1, monitor: true, source: local, data_disk: /, nic: lo, link_mbps: 1000}}
  - {{id: 2, main: true, source: snmp, bus: toll-pc, data_disk: /data, nic: eth0}}
cabinets:
  - id: 1
    devices:
      power: {{profile: huawei-site-monitor, bus: power, ids: {{rectifier: [1, 2]}}, skip: [elec, thermohygrometer]}}
      meter: {{profile: chint-dtsu666, bus: rs485, unit: 3}}
      aircon: {{profile: envicool-cabinet-ac, bus: rs485, unit: 60}}
      climate: {{profile: xy-md02, bus: rs485, unit: 52}}
      surge: {{profile: renda-spd, bus: rs485, unit: 35}}
      io:
        profile: moxa-iologik-e1212
        bus: io
        map:
          waterloggingSensor.isWarning: di0
          smokeSensor.isWarning: {{point: di1, invert: true}}
          doors.frontDoorClosed: di2
          doors.frontDoorLocked: di3
          doors.backDoorClosed: di4
          doors.backDoorLocked: di5
    outputs:
      front-lock: {{device: io, point: do0, pulse_s: 3}}
      back-lock: {{device: io, point: do1, pulse_s: 1}}
    doors: {{front: {{unlock: front-lock}}, back: {{unlock: back-lock}}}}
  - id: 2
    devices:
      climate: {{profile: renda-temperature-humidity, bus: converter, unit: 4}}
      water: {{profile: renda-water, bus: converter, unit: 2}}
      smoke: {{profile: renda-smoke, bus: converter, unit: 3}}
      ups: {{profile: huawei-ups2000, bus: converter, unit: 1}}
      air-left: {{profile: envicool-cabinet-ac, bus: converter, unit: 61}}
      air-right: {{profile: envicool-cabinet-ac, bus: converter, unit: 62}}
"""  # noqa: E501


@dataclass
class Gantry:
    """The running three, and how to speak to each."""

    folder: Path
    site: Path
    ports: dict[str, int]
    hardware: Process
    cloud: Process
    agent: Process
    api: str

    # --- the cloud

    def uploads(self, method: str = "", cabinet: int | None = None, since: int = 0) -> list[dict[str, Any]]:
        """List what the cloud has received, oldest first."""
        received = ask(f"http://127.0.0.1:{self.ports['cloud']}/uploads?since={since}")
        return [
            one
            for one in received
            if (not method or one["method"] == method)
            and (cabinet is None or one["payload"].get("cabinetStatus", {}).get("id") == str(cabinet))
        ]

    def received(self) -> int:
        return len(self.uploads())

    def latest(self, cabinet: int) -> dict[str, Any]:
        return self.uploads("cabinetStatusUpdate", cabinet)[-1]["payload"]["cabinetStatus"]

    def sees(self, cabinet: int, within_s: float = 12.0, since: int = 0, **wanted: str) -> dict[str, Any]:
        """Wait for an upload of the cabinet in which `member_field` is so (`elec_status="0"`, lists by item 1)."""

        def look() -> dict[str, Any] | None:
            for one in self.uploads("cabinetStatusUpdate", cabinet, since):
                status = one["payload"]["cabinetStatus"]
                if all(_at(status, name) == value for name, value in wanted.items()):
                    return one
            return None

        return eventually(look, within_s, f"an upload of cabinet {cabinet} with {wanted}")

    def behave(self, **how: Any) -> None:
        ask(f"http://127.0.0.1:{self.ports['cloud']}/behave", how)

    # --- the hardware

    def plant(self, cabinet: int = 1, **change: Any) -> None:
        ask(f"{self.api}/plant", {"cabinet": cabinet, **change})

    def state(self, cabinet: int = 1) -> dict[str, Any]:
        return ask(f"{self.api}/state")["plant"][str(cabinet)]

    def fault(self, device: str, kind: str, **more: Any) -> None:
        ask(f"{self.api}/fault", {"device": device, "kind": kind, **more})

    def mend(self, device: str) -> None:
        ask(f"{self.api}/fault?device={device}".replace(" ", "%20"), method="DELETE")

    # --- the agent

    def order(self, business: dict[str, Any], method: str = "cabinetControl", **more: Any) -> dict[str, str]:
        return order(self.ports["control"], method, business, **more)

    def start_agent(self) -> None:
        self.agent = Process(*python("gantry_agent", "run", "-c", str(self.site)))
        self.agent.wait_for("ready: gantry")


def _at(status: dict[str, Any], name: str) -> str:
    member, _, field = name.partition("_")
    found = status[member]
    return (found[0] if isinstance(found, list) else found)[field]


@contextlib.contextmanager
def gantry(folder: Path, site: str = SITE, interval: int = 10) -> Iterator[Gantry]:
    """Start the three, wait until each is ready, and end them on leaving; the agent first."""
    names = ("cloud", "control", "converter", "io")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    udp = ("power", "pc", "ups")
    ports |= dict(zip(udp, free_ports(len(udp), socket.SOCK_DGRAM), strict=True))
    path = folder / "site.yaml"
    path.write_text(site.format(folder=folder, gantry=GANTRY, auth=AUTH, interval=interval, **ports), encoding="utf-8")
    with started(folder, path, ports) as running:
        yield running


@contextlib.contextmanager
def started(
    folder: Path, path: Path, ports: dict[str, int], auth: str = AUTH, hardware_options: tuple[str, ...] = ()
) -> Iterator[Gantry]:
    """Start the three for a site file that is there already; `ports` has at least those of `cloud` and `control`."""
    with contextlib.ExitStack() as stack:
        hardware = Process(*python("hwsim", "run", "--site", str(path), "--api", "127.0.0.1:0", *hardware_options))
        stack.callback(hardware.stop)
        cloud = Process(*python("hwsim", "cloud", "--auth", auth, "--listen", f"127.0.0.1:{ports['cloud']}"))
        stack.callback(cloud.stop)
        api = hardware.wait_for(r"hwsim api http").split()[-1]
        hardware.wait_for(r"^hwsim ready")
        cloud.wait_for(r"^cloud ready")
        agent = Process(*python("gantry_agent", "run", "-c", str(path)))
        running = Gantry(folder, path, ports, hardware, cloud, agent, api)
        stack.callback(lambda: running.agent.stop())  # noqa: PLW0108 - a test may have started another
        agent.wait_for("ready: gantry")
        yield running
