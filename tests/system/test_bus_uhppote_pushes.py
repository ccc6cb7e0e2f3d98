"""Door controllers that push their events: hwsim's, forged and in a flood; they cost polls and never a value."""

import asyncio
import contextlib
import json
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta
from ipaddress import IPv4Address

import pytest
from gantry import Gantry, gantry
from support import ROOT, eventually, free_ports, python
from uhppoted import decode, uhppote

from gantry_agent.field import profile as profiles
from gantry_agent.field.bus import open_link
from gantry_agent.field.bus.pushes import MOST, PER_S, Pushes, PushesFailed
from gantry_agent.field.bus.senders import STRANGERS_KEPT
from gantry_agent.field.poller import Lanes, Poller
from gantry_agent.model import Bus, Device
from gantry_agent.orders.listeners import GAP_S

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SERIAL = 423187757
SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: 3600}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 60, slow_s: 60, misses: 3}}
events: {{flap_changes: 20, hold_down_s: 1}}
buses:
  doors: {{type: uhppote, host: 127.0.0.1, port: {power}, listen: "127.0.0.1:{pc}", set_listener: true}}
cabinets:
  - id: 1
    devices:
      access:
        profile: uhppote-controller
        bus: doors
        parameters: {{serial: 423187757}}
        map:
          doors.frontDoorClosed: {{point: door1_open, invert: true}}
          doors.frontDoorLocked: {{point: door1, invert: true}}
    outputs: {{front-lock: {{device: access, point: door1, pulse_s: 3}}}}
    doors: {{front: {{unlock: front-lock}}}}
"""


def packet(serial: int = SERIAL, mark: int = 0x17, function: int = 0x20, body: bytes = b"") -> bytes:
    return (bytes([mark, function, 0, 0]) + serial.to_bytes(4, "little") + body).ljust(64, b"\0")


# a card let in at door 1, and the door open: what a burglar would like to be believed, or not
FORGED = packet(body=(999).to_bytes(4, "little") + bytes([1, 1, 1, 1]) + (777).to_bytes(4, "little") + bytes(8) + b"\1")


# --- a whole gantry that polls once a minute: within seconds nothing is seen but by a push --------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with gantry(tmp_path_factory.mktemp("pushes"), SITE) as made:
        eventually(lambda: made.uploads("cabinetStatusUpdate"), 20, "the first upload")
        made.agent.wait_for(r"door controller 1\.access pushes its events to 127")
        yield made
        assert "Traceback" not in made.agent.output


def client(site: Gantry) -> tuple[uhppote.Uhppote, tuple[int, str, str]]:
    place = f"127.0.0.1:{site.ports['power']}"
    return uhppote.Uhppote("127.0.0.1", place, "127.0.0.1:60001", False), (SERIAL, place, "udp")


def audited(site: Gantry) -> list[dict[str, object]]:
    command = python("gantry_agent", "audit", "show", "--json", "-c", str(site.site))
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True).stdout
    return [one for one in map(json.loads, said.splitlines()) if "listener of door controller" in str(one)]


def test_the_listener_is_set_as_somebody_elses_client_reads_it_and_audited_once(site: Gantry):
    u, controller = client(site)
    held = u.get_listener(controller)
    assert (str(held.address), held.port) == ("127.0.0.1", site.ports["pc"])
    [entry] = eventually(lambda: audited(site), 5)
    assert f"from 0.0.0.0:0 to 127.0.0.1:{site.ports['pc']}" in str(entry)
    assert "17 90 00 00 2D 55 39 19 7F 00 00 01" in str(entry)
    assert "written and read back" in str(entry)


def test_a_door_is_uploaded_within_a_second_by_its_push(site: Gantry):
    for position, closed in (("open", "0"), ("closed", "1"), ("open", "0"), ("closed", "1")):
        since, began = site.received(), time.monotonic()
        site.plant(door={"front": position})
        site.sees(1, within_s=2.0, since=since, doors_frontDoorClosed=closed)
        assert time.monotonic() - began < 1.0
    assert "door controller 1.access (serial 423187757) pushes its events" in site.agent.output


def test_a_card_is_known_at_once_and_explains_the_opening(site: Gantry):
    u, controller = client(site)
    day = date.today()
    assert u.put_card(controller, 10058400, day - timedelta(2), day + timedelta(9), 1, 0, 0, 0, 0).stored
    since, began = site.received(), time.monotonic()
    site.plant(card={"side": "front", "number": 10058400})
    site.plant(door={"front": "open"})
    opened = site.sees(1, within_s=2.0, since=since, doors_frontDoorClosed="0")
    assert time.monotonic() - began < 1.0
    doors = opened["payload"]["cabinetStatus"]["doors"]
    assert (doors["frontDoorUnlockType"], doors["frontDoorOpenIllegally"]) == ("1", "0")
    since = site.received()
    site.plant(door={"front": "closed"})
    site.sees(1, within_s=2.0, since=since, doors_frontDoorClosed="1")


def test_forged_pushes_make_no_door_and_no_card(site: Gantry):
    since = site.received()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            for _ in range(20):
                sender.sendto(FORGED, ("127.0.0.1", site.ports["pc"]))
            time.sleep(0.005)
    time.sleep(0.5)
    assert site.received() == since
    assert "777" not in site.agent.output
    site.plant(door={"front": "open"})
    site.sees(1, within_s=2.0, since=since, doors_frontDoorClosed="0")
    site.plant(door={"front": "closed"})


def test_a_listener_that_somebody_else_has_set_is_heard_by_him_and_taken_back_when_the_controller_returns(site: Gantry):
    u, controller = client(site)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.settimeout(5)
        port = other.getsockname()[1]
        assert u.set_listener(controller, IPv4Address("127.0.0.1"), port, 30).ok
        site.plant(door={"front": "open"})
        heard = [decode.event(other.recv(1024))]
        while not heard[-1].door_1_open:  # first, perhaps, that it was closed just before
            heard.append(decode.event(other.recv(1024)))
        assert {(event.controller, event.event_type, event.event_door) for event in heard} == {(SERIAL, 2, 1)}
        assert len(heard) <= 2
    site.plant(door={"front": "closed"})
    site.fault("1.access", "silent")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:  # polling alone would take minutes

        def said(text: str) -> bool:
            sender.sendto(packet(), ("127.0.0.1", site.ports["pc"]))
            return text in site.agent.output

        eventually(lambda: said("device 1.access does not answer"), 15)
        site.mend("1.access")
        eventually(lambda: said(f"now; before to 127.0.0.1:{port}"), 15)
    held = u.get_listener(controller)
    assert (held.port, held.interval) == (site.ports["pc"], 30), "how often it tells its status is left as it was"
    assert len(eventually(lambda: len(found := audited(site)) == 2 and found, 5)) == 2


# --- the receiver by itself -------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def receiver(boards=None) -> AsyncIterator[tuple[Pushes, int, list[tuple[str, bytes]]]]:
    [port] = free_ports(1, socket.SOCK_DGRAM)
    pushed: list[tuple[str, bytes]] = []
    boards = boards or {("doors", SERIAL): ["1.access"]}
    made = Pushes(
        f"127.0.0.1:{port}", {"doors": "127.0.0.1"}, boards, lambda *one: pushed.append(one), lambda bus: None
    )
    task = asyncio.create_task(made.run())
    await asyncio.sleep(0.1)
    try:
        yield made, port, pushed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    "wrong",
    [b"", packet()[:63], packet() + b"\0", packet(mark=0x18), packet(function=0x94), packet(serial=SERIAL + 1)],
    ids=["empty", "short", "long", "mark", "function", "another controller"],
)
async def test_what_is_no_push_of_a_configured_controller_is_none(wrong: bytes):
    async with receiver() as (_, port, pushed):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(wrong, ("127.0.0.1", port))
            sender.sendto(packet(mark=0x19), ("127.0.0.1", port))  # firmware 6.62
        await asyncio.sleep(0.1)
        assert pushed == [("1.access", packet(mark=0x19))]


async def test_a_stranger_in_the_name_of_a_controller_is_ignored_and_the_port_is_given_back():
    async with receiver() as (_, port, pushed):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.2", 0))
            for _ in range(3):
                stranger.sendto(packet(), ("127.0.0.1", port))
        await asyncio.sleep(0.1)
        assert pushed == []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", port))  # the port was given back


async def test_a_flood_of_forged_names_and_addresses_is_not_remembered():
    async with receiver() as (made, _, pushed):
        for number in range(20_000):
            made.absorb(packet(serial=number + 1), "127.0.0.1")
            made.absorb(packet(), f"10.0.{number // 256}.{number % 256}")
        assert pushed == []
        kept = [made._heard, made._senders._strangers, made._senders._told]
        assert [len(one) <= STRANGERS_KEPT for one in kept] == [True] * 3


async def test_every_device_of_the_board_gets_the_push():
    async with receiver({("doors", SERIAL): ["1.front", "2.front"], ("other", SERIAL): ["3.x"]}) as (_, port, pushed):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(packet(), ("127.0.0.1", port))
        await asyncio.sleep(0.1)
        assert [device for device, _ in pushed] == ["1.front", "2.front"]


async def test_a_flood_is_read_only_so_fast_and_others_have_their_turn():
    async with receiver() as (made, port, pushed):
        stop = False

        def flood() -> int:
            sent = 0
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                while not stop:
                    sender.sendto(FORGED, ("127.0.0.1", port))
                    sent += 1
            return sent

        flooding = asyncio.create_task(asyncio.to_thread(flood))
        began, latest = time.monotonic(), 0.0
        while (now := time.monotonic()) - began < 1.2:
            await asyncio.sleep(0.01)
            latest = max(latest, time.monotonic() - now - 0.01)
        took_s = time.monotonic() - began
        stop = True
        assert await flooding > 20 * len(pushed)
        assert made.received == len(pushed) <= MOST * (took_s / PER_S + 2)
        assert latest < 0.3


async def test_a_port_that_is_taken_is_said():
    async with receiver() as (_, port, _pushed):
        with pytest.raises(PushesFailed, match=r"cannot listen for door controllers on 127\.0\.0\.1 port \d+: Address"):
            await Pushes(f"127.0.0.1:{port}", {}, {}, lambda *_: None, lambda _: None).run()
    with pytest.raises(PushesFailed, match=r"cannot listen for door controllers on no-such-host\.invalid"):
        await Pushes("no-such-host.invalid:60001", {}, {}, lambda *_: None, lambda _: None).run()


# --- what a hint costs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answers", "for_s", "least", "most"), [(True, 1.0, 8, 14), (False, 3.2, 1, 5)])
async def test_hints_of_a_controller_cost_ten_questions_a_second_and_of_a_silent_one_one(answers, for_s, least, most):
    """So nobody who floods us with a dead controller's pushes takes the bus from the others on it."""
    asked: list[bytes] = []

    class Far(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            asked.append(data)
            if answers or len(asked) == 1:
                self.transport.sendto(data[:8].ljust(64, b"\0"), addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Far, local_addr=("127.0.0.1", 0))
    bus = Bus("doors", "uhppote", {"host": "127.0.0.1", "port": transport.get_extra_info("sockname")[1]})
    product = profiles.load("uhppote-controller")
    device = Device("1.access", 1, product.name, "doors", 1, {}, {"serial": SERIAL}, watched=frozenset({"door1_open"}))
    poller = Poller(open_link(bus), [(device, product)], Lanes(60.0, 60.0, 3), lambda message: None)
    task = asyncio.create_task(poller.run())
    await poller.looked.wait()
    began = time.monotonic()
    while time.monotonic() - began < for_s:
        poller.hint("1.access", GAP_S)
        await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    transport.close()
    assert least <= len(asked) <= most
