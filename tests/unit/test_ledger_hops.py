"""Which hop failed: exceptions, the kernel's own tables, and whose clock is wrong."""

import errno
import socket
import ssl
from email.utils import formatdate
from types import SimpleNamespace

import aiohttp
import pytest

from gantry_agent.cloud import hops
from gantry_agent.cloud.hops import Network
from gantry_agent.cloud.protocol import judge

KEY = SimpleNamespace(host="cloud", port=443, ssl=True, is_ssl=True)
NOW = 1_795_502_000.0

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
eth1\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0
"""
NEIGHBOURS = """\
IP address       HW type     Flags       HW address            Mask     Device
192.168.1.1      0x1         {flags}         00:00:00:00:00:00     *        eth0
"""
UP = {"lo": "unknown", "eth0": "up", "eth1": "up"}


def network(routes: str = ROUTES, flags: str = "0x2", **states: str) -> Network:
    return Network(routes, NEIGHBOURS.format(flags=flags), UP | states)


@pytest.mark.parametrize(
    ("fault", "hop"),
    [
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "Name or service not known")), "DNS"),
        (aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, "refused")), "TCP"),
        (aiohttp.ClientConnectorError(KEY, OSError(errno.ENETUNREACH, "unreachable")), "TCP"),
        (aiohttp.ConnectionTimeoutError("connect"), "TCP"),
        (aiohttp.ClientConnectorCertificateError(KEY, ssl.CertificateError("bad")), "TLS"),
        (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "handshake")), "TLS"),
        (aiohttp.SocketTimeoutError("read"), "HTTP"),
        (aiohttp.ServerDisconnectedError(), "HTTP"),
        (aiohttp.ClientPayloadError("half"), "HTTP"),
        (TimeoutError(), "HTTP"),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "HTTP"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_exception_tells_its_hop(fault, hop):
    assert hops.of_fault(fault) == hop


@pytest.mark.parametrize(
    ("code", "hop"),
    [("1001", "auth"), ("1004", "auth"), ("1003", "clock"), ("1005", "HTTP"), ("1008", "HTTP")],
)
def test_an_answer_tells_its_hop(code, hop):
    assert hops.of_answer(judge(200, b'{"code":"%s","msg":""}' % code.encode())) == hop


def test_a_far_host_that_is_silent_behind_a_gateway_that_answers_is_its_own_fault():
    assert network().failing("8.8.8.8") is None
    assert network().failing(None) is None


def test_a_gateway_that_does_not_answer_is_the_hop():
    hop, said = network(flags="0x0").failing("8.8.8.8") or ("", "")
    assert (hop, said) == ("gateway", "192.168.1.1 does not answer on eth0")
    assert network(flags="0x0").failing("192.168.1.77") is None  # a neighbour: the gateway is not on the way
    assert network(flags="0x0").failing("10.1.2.3") is None


def test_a_cable_that_is_out_is_the_link():
    assert network(eth0="down").failing("8.8.8.8") == ("link", "eth0 is down")
    assert network(eth0="down").failing(None) == ("link", "eth0 is down")
    assert network(eth0="down").failing("10.0.0.9") is None


def test_no_route_is_the_link():
    only_local = "\n".join(ROUTES.splitlines()[::2]) + "\n"
    assert network(only_local, eth1="down").failing("8.8.8.8") == ("link", "no route; eth1 down")
    assert network("").failing(None) == ("link", "no route")


def test_loopback_and_ipv6_are_not_judged():
    assert network("").failing("127.0.0.1") is None
    assert network("").failing("fe80::1") is None


def test_the_network_of_this_host_can_be_read():
    assert "lo" in Network.read().states


@pytest.mark.parametrize(
    ("date", "now", "whose"),
    [
        (formatdate(NOW, usegmt=True), NOW + 1, "neither"),
        (formatdate(NOW, usegmt=True), NOW + 3600, "ours"),
        (formatdate(NOW, usegmt=True), NOW - 86_400 * 3650, "ours"),
        (formatdate(NOW - 86_400 * 3650, usegmt=True), NOW, "theirs"),
        (None, NOW, ""),
        (None, 3600.0, "ours"),
        ("Tuesday", NOW, ""),
        ("Tue, 99 Nov 99999 05:30:00 GMT", NOW, ""),
    ],
)
def test_a_refusal_for_time_is_about_the_clock_that_is_wrong(date, now, whose):
    said, told = hops.whose_clock(hops.clock_offset(date, now), now)
    assert said == whose
    assert told


def test_how_far_the_clock_is_off_is_said():
    offset = hops.clock_offset(formatdate(NOW, usegmt=True), NOW - 7200)
    assert hops.whose_clock(offset, NOW - 7200)[1] == "this computer's clock is 7200 s behind the cloud's Date header"
