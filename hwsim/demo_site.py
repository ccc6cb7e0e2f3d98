"""The demo's site file made ready to run: its ports shifted, its paths moved to the demo's folder, its ports tried.

Reads the YAML as text with meaning for the demo only: which loopback ports there are and what for. What a site file may
hold is for the agent to check.
"""

import errno
import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ruamel.yaml import YAML

from hwsim.terminal import Text

HARDWARE_API_PORT = 18081  # beside the cloud's own
LOWEST_PORT, HIGHEST_PORT = 1024, 65535  # anybody may open these


@dataclass(frozen=True, slots=True)
class Port:
    """One port of this machine that the demo needs."""

    number: int
    udp: bool
    host: str
    owner: Text


@dataclass(frozen=True, slots=True)
class DemoSite:
    """The file the parts are started with, and where they will be found."""

    file: Path
    gantry_id: str
    auth: str
    timezone: str
    interval_s: float
    slow_s: float
    cloud: tuple[str, int]
    control: tuple[str, int]
    relay: tuple[str, int, str]  # the address that the cloud reboots by, and the output it cuts
    hardware_api: tuple[str, int]
    ports: tuple[Port, ...]

    @property
    def cloud_url(self) -> str:
        return _url(self.cloud)

    @property
    def hardware_url(self) -> str:
        return _url(self.hardware_api)

    @property
    def control_url(self) -> str:
        return f"{_url(self.control)}/remotecontrol.do"


class SiteError(Exception):
    """The demo cannot use this file; the text says why."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text


def read_shift(text: str) -> int:
    """Read what PORT_SHIFT says. Raises SiteError."""
    try:
        return int(text)
    except ValueError:
        said = Text("PORT_SHIFT 应为整数，例如 1000", "PORT_SHIFT must be a whole number, like 1000")
        raise SiteError(said) from None


def prepare(source: Path, folder: Path, shift: int) -> DemoSite:
    """Write the file that the demo runs with into `folder`. Raises SiteError."""
    yaml = YAML(typ="rt")
    yaml.width = 200
    try:
        document: Any = yaml.load(source.read_text(encoding="utf-8"))
    except OSError as error:
        where = f"{source}: {error.strerror}"
        raise SiteError(Text(f"无法读取演示门架 {where}", f"cannot read the demo's site file {where}")) from error
    _check_shift(document, shift)
    ports: list[Port] = []
    for name, bus in document["buses"].items():
        if bus["type"] == "serial":
            bus["port"] = str(folder / Path(bus["port"]).name)
        elif _loopback(bus["host"]):
            bus["port"] += shift
            ports.append(Port(bus["port"], bus["type"] == "snmp", bus["host"], _devices_on(document, name)))
    ports += _cameras(document, shift)
    control = _host_port(document["control"]["listen"], shift)
    document["control"]["listen"] = f"{control[0]}:{control[1]}"
    url = urlsplit(document["cloud"]["server"])
    cloud = url.hostname or "127.0.0.1", (url.port or 80) + shift
    document["cloud"]["server"] = urlunsplit(url._replace(netloc=f"{cloud[0]}:{cloud[1]}"))
    document["storage"]["path"] = str(folder / "state")
    hardware_api = "127.0.0.1", HARDWARE_API_PORT + shift
    ports += [
        Port(control[1], False, control[0], Text("门架程序的控制端口", "the agent's control port")),
        Port(cloud[1], False, cloud[0], Text("模拟云平台", "the simulated cloud")),
        Port(hardware_api[1], False, hardware_api[0], Text("hwsim 的操作接口", "hwsim's API")),
    ]
    file = folder / "site.yaml"
    with file.open("w", encoding="utf-8") as out:
        yaml.dump(document, out)
    return DemoSite(
        file=file,
        gantry_id=document["gantry"]["id"],
        auth=document["cloud"]["auth"],
        timezone=document["gantry"].get("timezone", "Asia/Shanghai"),
        interval_s=document["cloud"].get("interval_s", 600),
        slow_s=document["polling"].get("slow_s", 5),
        cloud=cloud,
        control=control,
        relay=_relay(document),
        hardware_api=hardware_api,
        ports=tuple(ports),
    )


def taken(ports: tuple[Port, ...]) -> Iterator[tuple[Port, str]]:
    """Try every port as its owner will, and give those that cannot be had, with the system's reason."""
    for port in ports:
        kind = socket.SOCK_DGRAM if port.udp else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, kind) as trial:
            if not port.udp:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((port.host, port.number))
                if not port.udp:
                    trial.listen()  # a port that is only bound shows itself here
            except OSError as error:
                yield port, errno.errorcode.get(error.errno or 0, str(error))


def taken_text(port: Port, reason: str) -> Text:
    kind = "UDP" if port.udp else "TCP"
    because_zh = "已被占用" if reason == "EADDRINUSE" else f"不可用（{reason}）"
    because_en = "is taken" if reason == "EADDRINUSE" else f"cannot be had ({reason})"
    return Text(
        f"{kind} 端口 {port.number}（{port.owner.zh}）{because_zh}",
        f"{kind} port {port.number} ({port.owner.en}) {because_en}",
    )


def other_shift(ports: tuple[Port, ...], shift: int) -> Text:
    """Advise how to get round taken ports."""
    further = shift + 100 if max(port.number for port in ports) + 100 <= HIGHEST_PORT else 0
    return Text(f"请换一组端口：make demo PORT_SHIFT={further}", f"Move all ports: make demo PORT_SHIFT={further}")


def _devices_on(document: Any, bus: str) -> Text:
    names = [
        f"{device['profile']}"
        for cabinet in document["cabinets"]
        for device in cabinet["devices"].values()
        if device["bus"] == bus
    ]
    names += [f"computer {c['id']}" for c in document["computers"] if c.get("bus") == bus]
    said = ", ".join(names) or "-"
    return Text(f"总线 {bus}：{said}", f"bus {bus}: {said}")


def _snapshots(document: Any) -> Iterator[tuple[int, str, Any]]:
    """The cameras that are asked for pictures on this machine: cabinet, door, and what the file says of each."""
    for cabinet in document["cabinets"]:
        for side, camera in cabinet.get("cameras", {}).items():
            if _loopback(urlsplit(camera.get("snapshot", "")).hostname or ""):
                yield cabinet["id"], side, camera


def _cameras(document: Any, shift: int) -> Iterator[Port]:
    for cabinet, side, camera in _snapshots(document):
        url = urlsplit(camera["snapshot"])
        host, port = url.hostname or "", (url.port or 80) + shift
        camera["snapshot"] = urlunsplit(url._replace(netloc=f"{host}:{port}"))
        door = {"front": Text("前门", "front door"), "back": Text("后门", "back door")}[side]
        yield Port(
            port, False, host, Text(f"机柜 {cabinet} {door.zh}摄像机", f"camera of cabinet {cabinet}, {door.en}")
        )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_shift(document: Any, shift: int) -> None:
    """See that every port of the demo stays one that anybody may open."""
    plain = [
        HARDWARE_API_PORT,
        int(str(document["control"]["listen"]).rpartition(":")[2]),
        urlsplit(document["cloud"]["server"]).port or 80,
        *(bus["port"] for bus in document["buses"].values() if bus["type"] != "serial" and _loopback(bus["host"])),
        *(urlsplit(camera["snapshot"]).port or 80 for _, _, camera in _snapshots(document)),
    ]
    least, most = LOWEST_PORT - min(plain), HIGHEST_PORT - max(plain)
    if not least <= shift <= most:
        raise SiteError(
            Text(
                f"PORT_SHIFT 不能为 {shift}：应在 {least} 到 {most} 之间",
                f"PORT_SHIFT cannot be {shift}: the smallest is {least}, the largest {most}",
            )
        )


def _relay(document: Any) -> tuple[str, int, str]:
    relays = document.get("relays") or [{"ip": "", "port": 0, "output": ""}]
    return relays[0]["ip"], relays[0]["port"], relays[0]["output"]


def _host_port(text: str, shift: int) -> tuple[str, int]:
    host, _, port = str(text).rpartition(":")
    return host, int(port) + shift


def _url(address: tuple[str, int]) -> str:
    return f"http://{address[0]}:{address[1]}"
