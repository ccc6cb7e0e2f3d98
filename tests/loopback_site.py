"""Moves any site file onto this machine's loopback: what says where a thing is changes, what says what it is does not.

Hosts become 127.0.0.1, each (host, port) a free port of its own, ttys and folders go below one folder, and the local
PC's network card and disk become ones that every PC has. The addresses of `relays` stay: they are names that the cloud
uses. It knows the places of a site file and nothing of what they mean.
"""

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ruamel.yaml import YAML
from support import free_ports

UDP = {"snmp": 161, "uhppote": 60000, "udp": 0}  # kinds of bus, and the port where the file gives none
TCP = {"modbus-tcp": 502, "serial-tcp": 4001, "zte-http": 80, "zte-serial": 80}
URL_PORTS = {"http": 80, "https": 443, "rtsp": 554}


@dataclass
class Loopback:
    """Free ports for what stood elsewhere; the same place gets the same port."""

    folder: Path
    moved: dict[tuple[str, int, bool], int] = field(default_factory=dict)

    def port(self, host: str, port: int, *, udp: bool = False) -> int:
        where = host, port, udp
        if where not in self.moved:
            kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
            self.moved[where] = next(one for one in free_ports(8, kind) if one not in self.moved.values())
        return self.moved[where]

    def address(self, text: str, *, udp: bool = False) -> str:
        host, _, port = text.rpartition(":")
        return f"127.0.0.1:{self.port(host, int(port), udp=udp)}"

    def url(self, text: str, scheme: str = "") -> str:
        parts = urlsplit(text)
        port = self.port(parts.hostname or "", parts.port or URL_PORTS[parts.scheme])
        return urlunsplit(parts._replace(scheme=scheme or parts.scheme, netloc=f"127.0.0.1:{port}"))

    def bus(self, bus: dict[str, Any]) -> None:
        if bus["type"] == "serial":
            bus["port"] = str(self.folder / Path(bus["port"]).name)
        else:
            udp = bus["type"] in UDP
            bus["port"] = self.port(bus["host"], bus.get("port", (UDP if udp else TCP)[bus["type"]]), udp=udp)
            bus["host"] = "127.0.0.1"
            if "listen" in bus:
                bus["listen"] = self.address(bus["listen"], udp=True)


@dataclass(frozen=True)
class Moved:
    """A site file on loopback, and what a test needs to know of it."""

    file: Path
    auth: str
    ports: dict[str, int]  # of the cloud and of the agent's control


def move(source: Path, folder: Path) -> Moved:
    """Write the moved file into `folder`. The cloud's https becomes http."""
    yaml = YAML(typ="safe")
    document = yaml.load(source.read_text(encoding="utf-8"))
    place = Loopback(folder)
    for bus in document["buses"].values():
        place.bus(bus)
    cloud, control = document["cloud"], document["control"]
    cloud["server"] = place.url(cloud["server"], "http")
    control["listen"] = place.address(control["listen"])
    document["storage"]["path"] = str(folder / "state")
    if "traps" in document:
        document["traps"]["listen"] = place.address(document["traps"]["listen"], udp=True)
    for computer in document["computers"]:
        if computer["source"] == "local":  # loopback has no rate of its own
            computer |= {"nic": "lo", "data_disk": "/", "link_mbps": 1000}
    for cabinet in document["cabinets"]:
        for camera in cabinet.get("cameras", {}).values():
            camera |= {name: place.url(camera[name]) for name in ("snapshot", "stream") if name in camera}
    file = folder / source.name
    with file.open("w", encoding="utf-8") as out:
        yaml.dump(document, out)
    ports = {"cloud": urlsplit(cloud["server"]).port or 0, "control": int(control["listen"].rpartition(":")[2])}
    return Moved(file, cloud["auth"], ports)
