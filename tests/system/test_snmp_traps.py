"""Traps and informs as hints: of hwsim's plant, of net-snmp, forged, flooded; they cost polls and never a value."""

import asyncio
import contextlib
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gantry import Gantry, gantry
from support import ask, eventually, free_ports, python, running

from gantry_agent.field import profile as profiles
from gantry_agent.field.bus import open_link
from gantry_agent.field.bus.senders import plain_address
from gantry_agent.field.bus.traps import Traps, TrapsFailed
from gantry_agent.field.framing import ber
from gantry_agent.field.poller import Lanes, Poller
from gantry_agent.model import Answered, Bus, Device, Missed

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

PROFILES = Path(__file__).parents[2] / "gantry_agent" / "profiles"
MAINS, DOOR, DOOR_SHUT = (f"1.3.6.1.4.1.2011.6.164.2.1.0.{n}" for n in (15, 31, 32))
ROUND = 2  # questions that read the whole device once: the fast block and the slow one
SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: {interval}}}
control: {{listen: "127.0.0.1:{control}"}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 60, slow_s: 60, misses: 3}}
traps: {{listen: "127.0.0.1:TRAPS"}}
buses:
  power: {{type: snmp, host: localhost, port: {power}, version: 2c, community: public}}
cabinets:
  - id: 1
    devices:
      power: {{profile: huawei-site-monitor, bus: power, ids: {{rectifier: [1, 2]}}, skip: [thermohygrometer]}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    """A gantry that polls once a minute, so that within seconds nothing is seen but by a trap."""
    [port] = free_ports(1, socket.SOCK_DGRAM)
    text = SITE.replace("TRAPS", str(port))
    with gantry(tmp_path_factory.mktemp("traps"), text, interval=600) as made:
        made.ports["traps"] = port
        eventually(lambda: made.uploads("cabinetStatusUpdate"), 20, "the first upload")
        yield made


def test_a_mains_failure_is_uploaded_within_two_seconds_by_its_trap(site: Gantry):
    for mains, status in ((False, "0"), (True, "1")):
        since, began = site.received(), time.monotonic()
        site.plant(mains=mains)
        site.sees(1, within_s=2.0, since=since, elec_status=status)
        assert time.monotonic() - began < 2.0
        time.sleep(max(0.0, began + 1.1 - time.monotonic()))  # hints of one device are heeded once a second


@pytest.mark.parametrize("version", ["1", "2c", "3"])
def test_hwsim_sends_a_trap_when_an_alarm_comes_and_when_it_goes(tmp_path: Path, version: str):
    [port] = free_ports(1, socket.SOCK_DGRAM)
    secrets = ", user: agent, auth_key: authkey-123" if version == "3" else ""
    bus = f'type: snmp, host: 127.0.0.1, port: {port}, version: "{version}", community: public{secrets}'
    path = tmp_path / "site.yaml"
    devices = "{power: {profile: huawei-site-monitor, bus: power}}"
    path.write_text(f"buses: {{power: {{{bus}}}}}\ncabinets: [{{id: 1, devices: {devices}}}]\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        to = f"127.0.0.1:{receiver.getsockname()[1]}"
        with running(*python("hwsim", "run", "--site", str(path), "--traps", to), ready=r"^hwsim ready") as hwsim:
            api = hwsim.wait_for(r"hwsim api http").split()[-1]
            for door, name in (("open", DOOR), ("closed", DOOR_SHUT)):
                ask(f"{api}/plant", {"cabinet": 1, "door": {"front": door}})
                data, (host, _) = receiver.recvfrom(2000)
                trap = ber.decode_notification(data)
                assert (host, trap.what, trap.community) == ("127.0.0.1", name, b"public")
                assert trap.kind == (ber.TRAP_V1 if version == "1" else ber.TRAP)
            ask(f"{api}/fault", {"device": "1.power", "kind": "silent"})
            ask(f"{api}/plant", {"cabinet": 1, "water": True})
            receiver.settimeout(0.5)
            with pytest.raises(TimeoutError):
                receiver.recv(2000)


# --- the receiver and a poller, with senders of every kind ------------------------------------------------------------


class Rig:
    """A poller on hwsim's site monitor, a trap listener beside it, and what both were seen to do."""

    def __init__(self, port: int, snmp_port: int) -> None:
        self.port, self.heard = port, []
        bus = Bus("power", "snmp", {"host": "127.0.0.1", "port": snmp_port, "version": "2c", "community": "public"})
        self.link = open_link(bus)
        profile = profiles.load("huawei-site-monitor", [PROFILES])
        device = Device("1.power", 1, profile.name, "power", 1, {"elec": (1,), "rectifier": (1, 2)})
        self.poller = Poller(self.link, [(device, profile)], Lanes(60.0, 60.0, 3), self.hand_over)
        self.traps = Traps(f"127.0.0.1:{port}", [bus], self.hint)
        self.hints = 0
        self.values: dict[str, set[object]] = {}
        self.missed = 0

    def hint(self, bus: str) -> None:
        assert bus == "power"
        self.hints += 1
        self.poller.hint("1.power")

    def hand_over(self, message: Answered | Missed) -> None:
        if isinstance(message, Missed):
            self.missed += 1
            return
        for (role, name), reading in message.fields.items():
            self.values.setdefault(f"{role.member}[{role.number}].{name}", set()).add(reading.value)

    @property
    def transactions(self) -> int:
        return self.link.journal.statistics[0].ok


@pytest.fixture(scope="module")
def hardware(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    [port] = free_ports(1, socket.SOCK_DGRAM)
    path = tmp_path_factory.mktemp("hardware") / "site.yaml"
    path.write_text(
        f"buses: {{power: {{type: snmp, host: 127.0.0.1, port: {port}, version: 2c, community: public}}}}\n"
        "cabinets: [{id: 1, devices: {power: {profile: huawei-site-monitor, bus: power}}}]\n"
    )
    with running(*python("hwsim", "run", "--site", str(path)), ready=r"^hwsim ready") as process:
        yield process.wait_for(r"hwsim api http").split()[-1], port


@contextlib.asynccontextmanager
async def rig(hardware: tuple[str, int]):
    made = Rig(*free_ports(1, socket.SOCK_DGRAM), hardware[1])
    tasks = [asyncio.create_task(made.poller.run()), asyncio.create_task(made.traps.run())]
    try:
        async with asyncio.timeout(10):
            await made.poller.looked.wait()
        await asyncio.sleep(0.3)
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def send(program: str, port: int, *words: str) -> int:
    if not shutil.which(program):
        pytest.fail(f"{program} is not installed: apt-get install snmp")
    process = await asyncio.create_subprocess_exec(program, *words, env=os.environ | {"MIBS": ""})
    async with asyncio.timeout(15):
        return await process.wait()


SECRETS = ("-u", "x", "-l", "authPriv", "-a", "SHA", "-A", "authkey1x", "-x", "AES", "-X", "privkey1x")


@pytest.mark.parametrize(
    ("program", "words", "code"),
    [
        ("snmptrap", ("-v2c", "-c", "public", "AT", "", DOOR, "1.3.6.1.2.1.1.5.0", "s", "door"), 0),
        ("snmptrap", ("-v2c", "-c", "another", "AT", "", DOOR), 0),
        ("snmptrap", ("-v1", "-c", "public", "AT", "1.3.6.1.4.1.2011.6.164.2.1", "10.9.9.9", "6", "31", "42"), 0),
        ("snmptrap", ("-v1", "-c", "public", "AT", "1.3.6.1.4.1.2011", "10.9.9.9", "0", "0", "42"), 0),
        ("snmpinform", ("-v2c", "-c", "public", "-r", "0", "-t", "3", "AT", "", DOOR), 0),
        ("snmptrap", ("-v3", "-e", "0x8000000001020304", *SECRETS, "AT", "", DOOR), 0),
        ("snmpinform", ("-v3", "-r", "0", "-t", "0.3", *SECRETS, "AT", "", DOOR), 1),  # not acknowledged, and says so
    ],
    ids=["v2c", "other community", "v1", "v1 coldStart", "v2c inform", "v3", "v3 inform"],
)
async def test_what_net_snmp_sends_is_a_hint_and_an_inform_gets_its_answer(hardware, program, words, code):
    async with rig(hardware) as made:
        before = made.transactions
        at = f"127.0.0.1:{made.port}"
        assert await send(program, made.port, *(at if word == "AT" else word for word in words)) == code
        async with asyncio.timeout(2):
            while made.transactions - before < ROUND:
                await asyncio.sleep(0.02)
        assert made.hints == 1
        assert made.traps.unreadable == 0


async def test_a_flood_of_forged_traps_changes_no_value_and_costs_one_round_a_second(hardware):
    ask(f"{hardware[0]}/plant", {"cabinet": 1, "mains": True})
    async with rig(hardware) as made:
        forged = forged_mains_failure()
        before, values = made.transactions, {name: set(seen) for name, seen in made.values.items()}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            began = time.monotonic()
            while time.monotonic() - began < 3.0:
                for _ in range(20):
                    sender.sendto(forged, ("127.0.0.1", made.port))
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        took_s = time.monotonic() - began
        assert made.hints > 1000
        assert made.transactions - before <= ROUND * (took_s + 2)
        for name in ("elec[1].status", "elec[1].warningMsg", "rectifier[1].status", "rectifier[2].status"):
            assert made.values[name] == values[name], name
        assert made.missed == 0


def forged_mains_failure() -> bytes:
    """A trap whose varbinds claim what the agent is asked for: that the mains has failed."""
    from pyasn1.codec.ber import encoder
    from pysnmp.proto.api import v2c

    pdu = v2c.TrapPDU()
    v2c.apiTrapPDU.set_defaults(pdu)
    claims = [("1.3.6.1.4.1.2011.6.164.1.5.2.1.1.4.1", v2c.Integer(0)), ("1.3.6.1.4.1.2011.6.164.1.5.2.1.1.99.1", 2)]
    head = [(v2c.apiTrapPDU.sysUpTime, v2c.TimeTicks(1)), (v2c.apiTrapPDU.snmpTrapOID, v2c.ObjectIdentifier(MAINS))]
    v2c.apiTrapPDU.set_varbinds(pdu, head + [(oid, v2c.Integer(value)) for oid, value in claims])
    message = v2c.Message()
    v2c.apiMessage.set_defaults(message)
    v2c.apiMessage.set_community(message, "public")
    v2c.apiMessage.set_pdu(message, pdu)
    return bytes(encoder.encode(message))


async def test_rubbish_strangers_and_a_taken_port(caplog):
    [port] = free_ports(1, socket.SOCK_DGRAM)
    hints: list[str] = []
    buses = [Bus("a", "snmp", {"host": "127.0.0.1"}), Bus("line", "serial", {"port": "/dev/null"})]
    traps = Traps(f"127.0.0.1:{port}", buses, hints.append)
    task = asyncio.create_task(traps.run())
    await asyncio.sleep(0.1)
    good = forged_mains_failure()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for cut in range(len(good)):
            sender.sendto(good[:cut], ("127.0.0.1", port))
        sender.sendto(good + b"x", ("127.0.0.1", port))
        sender.sendto(good, ("127.0.0.1", port))
    await asyncio.sleep(0.2)
    assert (hints, traps.unreadable) == (["a"], len(good) + 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.2", 0))
        stranger.sendto(good, ("127.0.0.1", port))
    await asyncio.sleep(0.1)
    assert hints == ["a"]
    with pytest.raises(TrapsFailed, match="cannot listen for traps on"):
        await Traps(f"127.0.0.1:{port}", buses, hints.append).run()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    again = asyncio.create_task(Traps(f"127.0.0.1:{port}", buses, hints.append).run())
    await asyncio.sleep(0.1)
    assert not again.done()  # the port was given back
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)


def test_an_address_has_one_form():
    assert plain_address("::ffff:192.168.1.20") == "192.168.1.20"
    assert plain_address("fe80::1%eth0") == "fe80::1"
