"""Which part of the way to the cloud failed: link, gateway, DNS, TCP, TLS, HTTP, auth, clock. For "why offline?".

An attempt's own exception tells DNS, TCP, TLS and HTTP apart. Whether a silent address is a cable, a gateway or a far
host is read off what the kernel knows of its own wires: routes, carrier, and the neighbours that do not answer. Nothing
is sent to find out. Pure but for `Network.read`.
"""

import errno
import ipaddress
import os
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import aiohttp

from gantry_agent.cloud.protocol import Code, Verdict

LINK, GATEWAY, DNS, TCP, TLS, HTTP, AUTH, CLOCK = "link", "gateway", "DNS", "TCP", "TLS", "HTTP", "auth", "clock"
BELOW_TLS: Final = frozenset({LINK, GATEWAY, DNS, TCP})  # there a plain connection shows that it is over

CLOCKS_DIFFER_S: Final = 60.0  # less is the time an answer takes on a bad link, and the second that Date is cut to
EARLIEST: Final = 1_735_689_600.0  # 2025-01-01: a clock before this program was written is wrong

_BY_CODE: Final[Mapping[str, str]] = {Code.NOT_ALLOWED: AUTH, Code.BAD_SIGNATURE: AUTH, Code.CLOCK: CLOCK}
_NO_WAY: Final = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})


def of_answer(verdict: Verdict) -> str:
    """The hop at which an answer says that it fails."""
    return _BY_CODE.get(verdict.code, HTTP)


def of_fault(fault: BaseException) -> str:
    """The hop at which an attempt ended without an answer, as far as its exception tells."""
    match fault:
        case aiohttp.ClientConnectorDNSError() | socket.gaierror():
            return DNS
        case aiohttp.ClientSSLError() | ssl.SSLError() | ssl.CertificateError():
            return TLS
        case aiohttp.ConnectionTimeoutError() | aiohttp.ClientConnectorError():
            return TCP
        case OSError(errno=number) if number in _NO_WAY or number == errno.ECONNREFUSED:
            return TCP
    return HTTP


def in_short(fault: BaseException) -> str:
    """The fault in the operating system's words where it has some; the library's go on about its settings."""
    inner = getattr(fault, "os_error", fault)
    if isinstance(inner, TimeoutError) and not inner.errno:
        return "timeout"
    if isinstance(inner, OSError) and not isinstance(inner, ssl.SSLError) and inner.errno:
        return os.strerror(inner.errno) if inner.errno > 0 else str(inner.strerror)
    return f"{type(inner).__name__}: {inner}"[:200]


@dataclass(frozen=True, slots=True)
class Network:
    """What the kernel says of its wires: /proc/net/route, /proc/net/arp, and each interface's operstate."""

    routes: str
    neighbours: str
    states: Mapping[str, str]

    @classmethod
    def read(cls) -> "Network":
        """Read it now; what cannot be read is empty."""
        states = {each.name: _text(each / "operstate").strip() for each in sorted(Path("/sys/class/net").glob("*"))}
        return cls(_text(Path("/proc/net/route")), _text(Path("/proc/net/arp")), states)

    def failing(self, address: str | None) -> tuple[str, str] | None:
        """Tell whether a cable or the gateway keeps an IPv4 address (None: any) from being reached, and how."""
        try:
            target = ipaddress.IPv4Address(address) if address else None
        except ValueError:
            return None  # IPv6: these files do not know it
        if target is not None and target.is_loopback:
            return None
        route = self._route(target)
        if route is None:
            down = [name for name, state in self.states.items() if state == "down"]
            return LINK, "no route" + (f"; {', '.join(down)} down" if down else "")
        interface, gateway = route
        if self.states.get(interface) in {"down", "lowerlayerdown", "dormant", "notpresent"}:
            return LINK, f"{interface} is {self.states[interface]}"
        if gateway and self._silent(gateway):
            return GATEWAY, f"{gateway} does not answer on {interface}"
        return None

    def _route(self, target: ipaddress.IPv4Address | None) -> tuple[str, str] | None:
        """The interface and gateway of the narrowest route; an empty gateway is a neighbour's."""
        best: tuple[int, str, str] | None = None
        for line in self.routes.splitlines()[1:]:
            columns = line.split()
            if len(columns) < 8 or not int(columns[3], 16) & 1:  # RTF_UP
                continue
            network, mask = _address(columns[1]), _address(columns[7])
            fits = int(mask) == 0 if target is None else int(target) & int(mask) == int(network)
            if fits and (best is None or int(mask) > best[0]):
                gateway = _address(columns[2])
                best = int(mask), columns[0], str(gateway) if int(gateway) else ""
        return best[1:] if best else None

    def _silent(self, gateway: str) -> bool:
        for line in self.neighbours.splitlines()[1:]:
            columns = line.split()
            if len(columns) >= 4 and columns[0] == gateway:
                return int(columns[2], 16) == 0  # ATF_COM is not set: asked for, not answered
        return False


def _address(little_endian: str) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(struct.pack("<I", int(little_endian, 16)))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def clock_offset(date: str | None, now: float) -> float | None:
    """How far the cloud's clock is ahead of ours by its Date header, in seconds; None without a header that reads."""
    if date is None:
        return None
    try:
        return parsedate_to_datetime(date).timestamp() - now
    except (ValueError, OverflowError):
        return None


def whose_clock(offset_s: float | None, now: float) -> tuple[str, str]:
    """Whose clock a refusal for time (1003) is about: `ours`, `theirs`, `neither` or empty, and that in words."""
    if now < EARLIEST:
        return "ours", "this computer's clock is wrong: it shows a time before this program was written"
    if offset_s is None:
        return "", "its answer has no Date to compare with"
    if now + offset_s < EARLIEST:
        return "theirs", "the cloud's clock is wrong: its Date header is years back"
    if abs(offset_s) > CLOCKS_DIFFER_S:
        way = "behind" if offset_s > 0 else "ahead of"
        return "ours", f"this computer's clock is {abs(offset_s):.0f} s {way} the cloud's Date header"
    return "neither", (
        f"the cloud's Date header agrees with this computer's clock to {abs(offset_s):.0f} s:"
        " the record is too old for the cloud, or its check is wrong"
    )
