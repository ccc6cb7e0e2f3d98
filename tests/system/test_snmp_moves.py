"""SNMP agents that change under a poll: another engine id, reboots that count and that do not, clocks; nothing leaks.

The peer is Debian's snmpd, started again each time with other identity or memory.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gantry_agent.field.bus import Link, open_link
from gantry_agent.field.bus.snmp_engine import CLOCKS, PEERS, _shared
from gantry_agent.field.request import GetOids, Timing
from gantry_agent.model import BadReply, Bus, NoReply

pytestmark = [pytest.mark.system, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

ENGINE_ID, BOOTS, NAME = "1.3.6.1.6.3.10.2.1.1.0", "1.3.6.1.6.3.10.2.1.2.0", "1.3.6.1.2.1.1.5.0"
QUICK = Timing(0.5, 0.0)
USER = {"version": 3, "user": "watch", "auth_key": "authkey1x", "priv_key": "privkey1x"}  # SHA and AES
BACK_WITHIN = 6  # questions: three silent ones until the agent is asked anew who it is, and that


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Snmpd:
    """An snmpd that can be another one the next time."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port

    @contextlib.contextmanager
    def running(self, *identity: str) -> Iterator[None]:
        (self.folder / "snmpd.conf").write_text(
            f"agentaddress udp:127.0.0.1:{self.port}\nrocommunity public 127.0.0.1\n"
            "createUser watch SHA authkey1x AES privkey1x\nrwuser watch authPriv\n"
            + "".join(f"{x}\n" for x in identity)
        )
        (self.folder / "kept").unlink(missing_ok=True)
        environ = os.environ | {"MIBS": "", "SNMP_PERSISTENT_FILE": str(self.folder / "kept")}
        environ["SNMP_PERSISTENT_DIR"] = str(self.folder)
        with (self.folder / "log").open("a") as log:
            agent = subprocess.Popen(
                ["snmpd", "-f", "-Lo", "-C", "-c", str(self.folder / "snmpd.conf")],
                env=environ,
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            agent.terminate()
            agent.wait(10)


@pytest.fixture
def snmpd(tmp_path: Path) -> Snmpd:
    if not shutil.which("snmpd", path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.fail("snmpd is not installed: apt-get install snmpd")
    return Snmpd(tmp_path, free_port())


async def asked(link: Link, oid: str, within: int = BACK_WITHIN, want: object = None) -> object:
    """Ask until there is an answer (that is as wanted); tell it."""
    seen: list[object] = []
    for _ in range(within):
        try:
            [value] = (await link.transact(GetOids((oid,)), QUICK)).values()  # type: ignore[union-attr]
        except (NoReply, BadReply) as e:
            seen.append(e)
            await asyncio.sleep(0.05)  # a port where nobody listens yet refuses at once
            continue
        if want is None or value == want:
            return value
        seen.append(value)
    raise AssertionError(f"no answer: {seen[-3:]}")


async def started(snmpd: Snmpd) -> None:
    """Wait until the new process listens, without touching its v3 state."""
    probe = open_link(Bus("probe", "snmp", {"host": "127.0.0.1", "port": snmpd.port, "community": "public"}))
    try:
        await asked(probe, NAME, 100)
    finally:
        await probe.close()


def sockets() -> int:
    links = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return sum(str(link).startswith("socket:") for link in links)


@contextlib.asynccontextmanager
async def polled(snmpd: Snmpd, **settings: object):
    link = open_link(Bus("cabinet", "snmp", {"host": "127.0.0.1", "port": snmpd.port, **(settings or USER)}))
    try:
        yield link
    finally:
        await link.close()


async def test_a_new_engine_id_is_found_again_and_the_old_one_is_forgotten(snmpd):
    async with polled(snmpd) as link:
        counts: list[tuple[int, int, int, int]] = []
        for name in (b"old1", b"new2", b"old1", b"new3"):
            with snmpd.running(f"exactEngineID 0x80001f8880{name.hex()}00000001"):
                await started(snmpd)
                assert name in await asked(link, ENGINE_ID)
                model = _shared[0].making.result()
                peers = getattr(model.message_processing_subsystems[3], PEERS)
                clocks = getattr(model.security_models[3], CLOCKS)
                counts.append((sockets(), len(asyncio.all_tasks()), len(peers), len(clocks)))
        assert counts[1:] == counts[:1] * 3


def same_agent(boots: int) -> tuple[str, str, str]:
    """What an agent remembers of itself: with `oldEngineID` the same as now, its boot count goes on from here."""
    engine_id = "0x80001f88807365616d00000001"
    return f"exactEngineID {engine_id}", f"oldEngineID {engine_id}", f"engineBoots {boots}"


async def test_a_reboot_that_is_counted_is_noticed_at_once(snmpd):
    async with polled(snmpd) as link:
        for boots in (5, 6, 7):
            with snmpd.running(*same_agent(boots)):
                await started(snmpd)
                assert await asked(link, BOOTS, 2) == boots + 1


async def test_a_reboot_that_forgets_its_count_is_survived(snmpd):
    """Its boots and time are behind what we know of it."""
    async with polled(snmpd) as link:
        for boots in (7, 0, 0, 7, 3):
            with snmpd.running(*same_agent(boots)):
                await started(snmpd)
                assert await asked(link, BOOTS) == boots + 1


async def test_engine_ids_of_every_form_serve(snmpd):
    """Made by chance, of the IP address, of a name."""
    async with polled(snmpd) as link:
        for identity in ("", "engineIDType 1", "engineID cabinet 1"):
            with snmpd.running(identity):
                await started(snmpd)
                assert await asked(link, NAME)


async def test_v2c_goes_on_when_the_agent_comes_back_on_another_socket(snmpd):
    async with polled(snmpd, version="2c", community="public") as link:
        before = None
        for _ in range(3):
            with snmpd.running():
                assert await asked(link, NAME, 100)
                before = before or sockets()
            with pytest.raises(NoReply):
                await link.transact(GetOids((NAME,)), QUICK)
        assert sockets() <= before
