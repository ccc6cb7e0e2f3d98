"""Whoever records what the cloud sends to port 3699 and sends it again moves nothing.

The requests are curl's, taken off the wire byte for byte by a relay between curl and the agent. They are sent again a
hundred times each: in a row, at once over connections of their own, after the agent was started anew, and when the
clock has left their time behind.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gantry import SITE, Gantry, gantry
from support import AUTH, GANTRY, ROOT, eventually, python

from gantry_agent.cloud.protocol import digest

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(180)]

TIMES = 100
TOLERANCE_S = 18
CAPTURED: dict[str, dict[str, Any]] = {  # by the beginning of its intent in the audit
    "unlock ": {"cmd": "2", "unlockDoorId": "1"},
    "air conditioner 1 of cabinet 1: ": {"cmd": "3", "airId": "1", "airOperate": "2"},
    "door defence on": {"cmd": "6", "isDoorDefend": "1"},
    "upload cabinet every 77 s": {"setFrequency": "77"},
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    file = SITE.replace("requests_per_minute: 6000", f"requests_per_minute: 6000, clock_tolerance_s: {TOLERANCE_S}")
    with gantry(tmp_path_factory.mktemp("replay"), file) as running:
        yield running


@contextlib.contextmanager
def tapped(port: int) -> Iterator[tuple[int, bytearray]]:
    """A relay to a port: its own port, and what one client sends through it."""
    heard = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def relay() -> None:
            client, _ = listening.accept()
            with client, socket.create_connection(("127.0.0.1", port)) as server:
                back = threading.Thread(target=pump, args=(server, client))
                back.start()
                pump(client, server, heard)
                back.join()

        relaying = threading.Thread(target=relay)
        relaying.start()
        yield listening.getsockname()[1], heard
        relaying.join(20)


def pump(source: socket.socket, to: socket.socket, heard: bytearray | None = None) -> None:
    source.settimeout(20)
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            if heard is not None:
                heard.extend(data)
            to.sendall(data)
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_WR)


def curl(port: int, body: bytes) -> dict[str, str]:
    """Ask as the cloud would, with a client of somebody else's."""
    program = shutil.which("curl")
    assert program, "curl is needed: apt-get install curl"
    headers = (f"binfile-md5: {digest(body)}", f"binfile-auth: {AUTH}", "Content-Type: application/json")
    words = [word for header in headers for word in ("-H", header)]
    url = f"http://127.0.0.1:{port}/remotecontrol.do"
    asked = [program, "-sS", "-m", "20", *words, "--data-binary", "@-", url]
    return json.loads(subprocess.run(asked, input=body, capture_output=True, timeout=30, check=True).stdout)


def written(business: dict[str, Any]) -> bytes:
    head = {"gantryId": GANTRY, "method": "cabinetControl", "timeStamp": str(int(time.time())), "version": "1001"}
    return json.dumps(head | {"cabinetControl": business}).encode()


def again(port: int, captured: bytes, times: int = 1) -> list[str]:
    """Send recorded bytes over a new connection so many times; the codes that come back."""
    codes = []
    with socket.create_connection(("127.0.0.1", port), 20) as client, client.makefile("rb") as answers:
        for _ in range(times):
            client.sendall(captured)
            assert answers.readline().startswith(b"HTTP/1.1 200")
            size = 0
            while (line := answers.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    size = int(line.partition(b":")[2])
            codes.append(json.loads(answers.read(size))["code"])
    return codes


def executed(site: Gantry) -> dict[str, int]:
    """How often the audit has each order as carried out."""
    asked = python("gantry_agent", "audit", "-c", str(site.site), "show", "--json", "--latest", "5000")
    said = subprocess.run(asked, capture_output=True, text=True, cwd=ROOT, timeout=60, check=True).stdout
    intents = [one["intent"] for one in map(json.loads, said.splitlines()) if one["outcome"] == "done"]
    return {name: sum(intent.startswith(name) for intent in intents) for name in CAPTURED}


def untouched(site: Gantry) -> bool:
    """Tell whether the hardware is as the orders after the captured ones left it."""
    return site.state()["front"]["locked"] and site.state()["air"][0]["remote"] is True


def test_what_was_recorded_on_the_wire_moves_nothing_a_second_time(site: Gantry, tmp_path: Path):
    port, captured, began = site.ports["control"], {}, time.time()
    for name, business in CAPTURED.items():
        with tapped(port) as (through, heard):
            assert curl(through, written(business)) == {"code": "1000", "msg": "成功"}
        captured[name] = bytes(heard)
        assert heard.startswith(b"POST /remotecontrol.do HTTP/1.1\r\n")
    assert executed(site) == dict.fromkeys(CAPTURED, 1)
    eventually(lambda: site.state()["front"]["locked"], 20, "the lock falls back")
    assert site.order({"cmd": "3", "airId": "1", "airOperate": "1"})["code"] == "1000"
    once = dict.fromkeys(CAPTURED, 1) | {
        "air conditioner 1 of cabinet 1: ": 2
    }  # the second ended what the captured one began
    assert untouched(site)

    for bytes_ in captured.values():
        assert again(port, bytes_, TIMES) == ["1000"] * TIMES
    assert untouched(site)
    with ThreadPoolExecutor(16) as crowd:
        codes = [crowd.submit(again, port, bytes_) for _ in range(TIMES) for bytes_ in captured.values()]
        assert {code for one in codes for code in one.result()} == {"1000"}
    assert untouched(site)
    assert executed(site) == once

    site.agent.kill()
    site.start_agent()
    assert time.time() - began < TOLERANCE_S - 1, "too slow a machine: what follows would prove nothing"
    for bytes_ in captured.values():
        assert again(port, bytes_, TIMES) == ["1000"] * TIMES
    assert untouched(site)

    time.sleep(max(0.0, began + TOLERANCE_S + 5 - time.time()))  # the last was sent some seconds after the first
    for bytes_ in captured.values():
        assert again(port, bytes_, TIMES) == ["1003"] * TIMES
    assert untouched(site)
    assert executed(site) == once


def test_captures_under_way_at_once_are_one_order(site: Gantry):
    before = executed(site)["unlock "]
    with tapped(site.ports["control"]) as (through, heard):
        assert curl(through, written({"cmd": "2", "unlockDoorId": "7"}))["code"] == "1002"
    body = written({"cmd": "2", "unlockDoorId": "1", "why": "at once"})
    old = bytes(heard).partition(b"\r\n\r\n")[2]
    fresh = bytes(heard).replace(old, body).replace(digest(old).encode(), digest(body).encode())
    fresh = fresh.replace(b"Content-Length: %d" % len(old), b"Content-Length: %d" % len(body))
    with ThreadPoolExecutor(TIMES // 2) as crowd:
        codes = [crowd.submit(again, site.ports["control"], fresh) for _ in range(TIMES)]
        assert {code for one in codes for code in one.result()} == {"1000"}
    assert executed(site)["unlock "] == before + 1
