"""SNMP against net-snmp's agent (v1, v2c, v3) and against a scripted agent that misbehaves."""

import asyncio
import contextlib
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from gantry_agent.field.bus import open_link, snmp_engine
from gantry_agent.field.framing import ber
from gantry_agent.field.request import GetOids, ReadRegisters, SetOid, Timing, WalkColumn
from gantry_agent.model import BadReply, Bus, DeviceRefused, NoReply

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # pysnmp uses old names of pysmi
]
T = Timing(1.0, 0.0)
QUICK = Timing(0.1, 0.0)
UPTIME, OBJECT_ID, CONTACT, NAME = (f"1.3.6.1.2.1.1.{n}.0" for n in (3, 2, 4, 5))
MISSING = "1.3.6.1.2.1.1.99.0"
ROWS = "1.3.6.1.2.1.1.9.1.3"  # sysORDescr
KEYS = {
    "user": "watch",
    "auth_protocol": "SHA",
    "auth_key": "authkey1x",
    "priv_protocol": "AES",
    "priv_key": "privkey1x",
}


@pytest.fixture(scope="module")
def snmpd(tmp_path_factory) -> Iterator[int]:
    """Debian's snmpd on a free port, with two communities and users of three kinds."""
    if not shutil.which("snmpd"):
        pytest.fail("snmpd is not installed: apt-get install snmpd")
    folder = tmp_path_factory.mktemp("snmpd")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "snmpd.conf").write_text(
        f"agentaddress udp:127.0.0.1:{port}\n"
        "rocommunity public 127.0.0.1\nrwcommunity private 127.0.0.1\n"
        "createUser watch SHA authkey1x AES privkey1x\nrwuser watch authPriv\n"
        "createUser strict SHA-256 authkey256 AES privkey256\nrouser strict authPriv\n"
        "createUser old MD5 authkeymd5 DES privkeydes\nrouser old authPriv\n"
        "createUser signed SHA authkeysha\nrouser signed auth\n"
        "createUser open\nrouser open noauth\n"
    )
    with running_snmpd(folder, port):
        yield port


@contextlib.contextmanager
def running_snmpd(folder: Path, port: int) -> Iterator[None]:
    environ = os.environ | {
        "MIBS": "",
        "SNMP_PERSISTENT_FILE": str(folder / "kept"),
        "SNMP_PERSISTENT_DIR": str(folder),
    }
    with (folder / "log").open("w") as log:
        agent = subprocess.Popen(
            ["snmpd", "-f", "-Lo", "-C", "-c", str(folder / "snmpd.conf")], env=environ, stdout=log, stderr=log
        )
    try:
        wait_until_answered(port)
        yield
    finally:
        agent.terminate()
        agent.wait(10)


def wait_until_answered(port: int) -> None:
    message = ber.encode_request(ber.V2C, b"public", ber.GET, (UPTIME,)).with_id(ber.FIRST_ID)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("127.0.0.1", port))
        probe.settimeout(0.2)
        for _ in range(50):
            with contextlib.suppress(OSError):
                probe.send(message)
                probe.recv(1500)
                return
            time.sleep(0.1)
    raise AssertionError("snmpd does not answer")


@contextlib.asynccontextmanager
async def agent_of(port: int, **settings):
    link = open_link(Bus("cabinet", "snmp", {"host": "127.0.0.1", "port": port, **settings}))
    try:
        yield link
    finally:
        await link.close()


@pytest.fixture(autouse=True)
async def nothing_leaks(request):
    if "snmpd" in request.fixturenames:
        request.getfixturevalue("snmpd")

    def sockets() -> int:
        links = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        return sum(str(link).startswith("socket:") for link in links)

    before = sockets()
    yield
    for _ in range(20):
        if sockets() <= before and len(asyncio.all_tasks()) == 1:
            break
        await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) == 1
    assert sockets() <= before
    assert snmp_engine._shared == []


async def fails(kind: type[Exception], asking: Awaitable[object], match: str = "cannot") -> None:
    with pytest.raises(kind, match=match):
        await asking


# --- a real agent ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"version": "1"},
        {"version": "2c"},
        {"version": 2},
        {"version": 3, **KEYS},
        {
            "version": "3",
            "user": "strict",
            "auth_protocol": "SHA-256",
            "auth_key": "authkey256",
            "priv_key": "privkey256",
        },
        {
            "version": 3,
            "user": "old",
            "auth_protocol": "MD5",
            "auth_key": "authkeymd5",
            "priv_protocol": "DES",
            "priv_key": "privkeydes",
        },
        {"version": 3, "user": "signed", "auth_key": "authkeysha"},
        {"version": 3, "user": "open"},
    ],
    ids=["v1", "v2c", "v2", "v3", "v3 sha2", "v3 md5 des", "v3 auth", "v3 open"],
)
async def test_every_version_reads_walks_and_tells_what_is_missing(snmpd, settings):
    async with agent_of(snmpd, **settings) as agent:
        values = await agent.transact(GetOids((UPTIME, MISSING, OBJECT_ID, CONTACT)), T)
        assert isinstance(values[UPTIME], int)
        assert values[MISSING] is None
        assert values[OBJECT_ID].startswith("1.3.6.1.4.1.8072.3.2.")
        assert isinstance(values[CONTACT], bytes)
        assert await agent.transact(GetOids((MISSING,)), T) == {MISSING: None}
        assert await agent.transact(GetOids(("." + OBJECT_ID,)), T) == {"." + OBJECT_ID: values[OBJECT_ID]}
        rows = await agent.transact(WalkColumn(ROWS), T)
        assert [index for index, _ in rows] == [str(n) for n in range(1, len(rows) + 1)]
        assert len(rows) > 5
        assert b"MIB" in rows[0][1]
        assert await agent.transact(WalkColumn(MISSING), T) == ()
        assert (agent.journal.statistics[0].ok, agent.journal.statistics[0].timeouts) == (5, 0)


@pytest.mark.parametrize(
    "settings", [{"version": "1"}, {"version": "2c"}, {"version": 3, **KEYS}], ids=["v1", "v2c", "v3"]
)
async def test_every_version_writes_and_hears_refusals(snmpd, settings):
    async with agent_of(snmpd, write_community="private", **settings) as agent:
        text = f"cabinet {settings['version']}"
        assert await agent.transact(SetOid(CONTACT, "octets", text), T) == ()
        assert await agent.transact(GetOids((CONTACT,)), T) == {CONTACT: text.encode()}
        for request in (SetOid(UPTIME, "integer", 4), SetOid(CONTACT, "integer", 4)):
            with pytest.raises(DeviceRefused) as refused:
                await agent.transact(request, T)
            assert refused.value.code in ((2, 3) if settings["version"] == "1" else (17, 7))


async def test_wrong_keys_are_a_bad_reply_and_a_wrong_community_no_reply(snmpd):
    async with agent_of(snmpd, version=3, **(KEYS | {"auth_key": "wrongwrong"})) as agent:
        await fails(BadReply, agent.transact(GetOids((UPTIME,)), T), "digest")
    async with agent_of(snmpd, version=3, user="nobody") as agent:
        await fails(BadReply, agent.transact(GetOids((UPTIME,)), T), "user|User")
    async with agent_of(snmpd, community="secret") as agent:
        await fails(NoReply, agent.transact(GetOids((UPTIME,)), QUICK), "nothing in 0.1 s")
        assert not any(b"secret" in frame.data for frame in agent.journal.frames)


async def test_two_buses_with_the_same_user_name_and_other_keys_do_not_disturb_each_other(snmpd):
    wrong = KEYS | {"auth_key": "wrongwrong"}
    async with agent_of(snmpd, version=3, **KEYS) as right, agent_of(snmpd, version=3, **wrong) as other:
        for _ in range(2):
            assert await right.transact(GetOids((UPTIME,)), T)
            await fails(BadReply, other.transact(GetOids((UPTIME,)), T))
        assert len(snmp_engine._shared) == 2
    async with agent_of(snmpd, version=3, **KEYS) as one, agent_of(snmpd, version=3, **KEYS) as two:
        assert await asyncio.gather(*(bus.transact(GetOids((OBJECT_ID,)), T) for bus in (one, two) * 3))
        assert len(snmp_engine._shared) == 1


async def test_v3_silence_is_no_reply_in_time_and_closing_ends_a_question():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        async with agent_of(silent.getsockname()[1], version=3, **KEYS) as agent:
            await fails(NoReply, agent.transact(GetOids((UPTIME,)), QUICK), "nothing")
            began = time.monotonic()
            await fails(NoReply, agent.transact(GetOids((UPTIME,)), QUICK), "nothing")
            assert time.monotonic() - began < 1.0
            asking = asyncio.create_task(agent.transact(GetOids((UPTIME,)), Timing(5.0, 0.0)))
            await asyncio.sleep(0.1)
            began = time.monotonic()
            await agent.close()
            await fails(NoReply, asking, "closed")
            assert time.monotonic() - began < 0.5


def test_the_internals_of_pysnmp_that_are_replaced_still_exist():
    snmp_engine.patch_pysnmp()
    from pysnmp.proto.secmod.rfc3414 import service

    assert service.time.time is time.monotonic
    model = service.SnmpUSMSecurityModel()
    assert getattr(model, snmp_engine.CLOCKS) == {}
    queue = getattr(model, snmp_engine.FORGET_QUEUE)
    queue[1] = [b"agent"]
    model.receive_timer_tick(None, 0)
    assert not queue
    model = vars(snmp_engine._make_engine().message_processing_subsystems[3])
    assert (model[snmp_engine.PEERS], model[snmp_engine.PEERS_QUEUE]) == ({}, {})


# --- a scripted agent -----------------------------------------------------------------------------------------------


def tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    return bytes((tag, size) if size < 128 else (tag, 0x82, size >> 8, size & 255)) + content


def answer(
    request_id: bytes, varbinds: list[tuple[str, int, bytes]], status: int = 0, index: int = 0, version: int = 1
):
    lines = b"".join(tlv(0x30, tlv(6, ber.encode_oid(oid)) + tlv(tag, value)) for oid, tag, value in varbinds)
    head = tlv(2, request_id) + tlv(2, bytes((status,))) + tlv(2, bytes((index,)))
    return tlv(0x30, tlv(2, bytes((version,))) + tlv(4, b"public") + tlv(0xA2, head + tlv(0x30, lines)))


class Scripted(asyncio.DatagramProtocol):
    """Reads requests with pysnmp's decoder, and answers what `script` makes of id, kind and OIDs."""

    def __init__(self, script: Callable[[bytes, int, list[str]], list[tuple[float, bytes]]]) -> None:
        self.script = script
        self.asked: list[list[str]] = []

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        from pyasn1.codec.ber import decoder
        from pysnmp.proto.api import v2c

        message, _ = decoder.decode(data, asn1Spec=v2c.Message())
        pdu = v2c.apiMessage.get_pdu(message)
        oids = [str(oid) for oid, _ in v2c.apiPDU.get_varbinds(pdu)]
        self.asked.append(oids)
        request_id = int(v2c.apiPDU.get_request_id(pdu)).to_bytes(4, "big")
        for delay, reply in self.script(request_id, pdu.tagSet.superTags[-1].tagId, oids):
            asyncio.get_running_loop().call_later(delay, self.transport.sendto, reply, addr)


@contextlib.asynccontextmanager
async def scripted(script, **settings):
    transport, played = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Scripted(script), local_addr=("127.0.0.1", 0)
    )
    async with agent_of(transport.get_extra_info("sockname")[1], **settings) as agent:
        yield agent, played
    transport.abort()
    await asyncio.sleep(0.01)


def number(oid: str) -> tuple[str, int, bytes]:
    """An agent whose every value is the last arc of its OID."""
    return oid, 2, int(oid.rsplit(".", 1)[1]).to_bytes(4, "big")


def sound(request_id: bytes, _kind: int, oids: list[str]) -> list[tuple[float, bytes]]:
    return [(0.0, answer(request_id, [number(oid) for oid in oids]))]


async def test_an_answer_too_big_halves_the_question_for_good():
    def small(request_id: bytes, kind: int, oids: list[str]) -> list[tuple[float, bytes]]:
        return sound(request_id, kind, oids) if len(oids) <= 3 else [(0.0, answer(request_id, [], status=1))]

    oids = tuple(f"1.3.6.1.4.1.9.{n}" for n in range(12))
    async with scripted(small) as (agent, played):
        for _ in range(2):
            assert await agent.transact(GetOids(oids), T) == {oid: n for n, oid in enumerate(oids)}
        assert [len(asked) for asked in played.asked] == [12, 6, 3, 3, 3, 3, 3, 3, 3, 3]


async def test_an_agent_that_is_silent_when_much_is_asked_is_asked_for_less():
    """Its answer would not fit, and instead of tooBig nothing comes."""

    def mute(request_id: bytes, kind: int, oids: list[str]) -> list[tuple[float, bytes]]:
        return sound(request_id, kind, oids) if len(oids) <= 4 else []

    oids = tuple(f"1.3.6.1.4.1.9.{n}" for n in range(12))
    async with scripted(mute) as (agent, played):
        whole = []
        for _ in range(8):
            with contextlib.suppress(NoReply):
                whole.append(await agent.transact(GetOids(oids), Timing(0.05, 0.0)))
        assert len(whole) >= 4
        assert all(values == {oid: n for n, oid in enumerate(oids)} for values in whole)
        played.asked.clear()
        await agent.transact(GetOids(oids), Timing(0.05, 0.0))
        assert [len(asked) for asked in played.asked] == [3, 3, 3, 3]


async def test_rows_that_do_not_come_in_one_large_answer_come_in_smaller_ones():
    def mute(request_id: bytes, _kind: int, oids: list[str]) -> list[tuple[float, bytes]]:
        last = int(oids[0].rsplit(".", 1)[1]) if oids[0] != "1.3.6.1.9" else 0
        size = asked_rows.pop(0)
        rows = [(f"1.3.6.1.9.{n}", 2, bytes((n,))) for n in range(last + 1, min(last + size, 40) + 1)]
        ended = [("1.3.6.2.1", 2, b"\1")] if len(rows) < size else []
        return [(0.0, answer(request_id, rows + ended))] if size <= 7 else []

    asked_rows: list[int] = []
    async with scripted(mute) as (agent, _):
        ask = agent._asker.ask

        async def counted(kind: int, oids: tuple[str, ...], repetitions: int, response_s: float) -> ber.Response:
            asked_rows.append(repetitions)
            return await ask(kind, oids, repetitions, response_s)

        agent._asker.ask = counted
        walks = []
        for _ in range(7):
            with contextlib.suppress(NoReply):
                walks.append(await agent.transact(WalkColumn("1.3.6.1.9"), Timing(0.05, 0.0)))
        assert len(walks) >= 3
        assert all(walk == tuple((str(n), n) for n in range(1, 41)) for walk in walks)


async def test_one_value_too_big_is_a_refusal():
    async with scripted(lambda i, *_: [(0.0, answer(i, [], status=1))]) as (agent, _):
        with pytest.raises(DeviceRefused) as refused:
            await agent.transact(GetOids(("1.3.6.1",)), T)
        assert refused.value.code == 1


async def test_v1_leaves_out_what_the_agent_lacks():
    def picky(request_id: bytes, _kind: int, oids: list[str]) -> list[tuple[float, bytes]]:
        for index, oid in enumerate(oids, 1):
            if oid.endswith((".3", ".5")):
                return [(0.0, answer(request_id, [], status=2, index=index, version=0))]
        return [(0.0, answer(request_id, [number(oid) for oid in oids], version=0))]

    oids = tuple(f"1.3.6.1.4.1.9.{n}" for n in range(7))
    async with scripted(picky, version=1) as (agent, _):
        values = await agent.transact(GetOids(oids), T)
        assert [values[oid] for oid in oids] == [0, 1, 2, None, 4, None, 6]
        assert await agent.transact(GetOids(oids[3:4]), T) == {oids[3]: None}


@pytest.mark.parametrize("size", [7, 2], ids=["at once", "in small questions"])
async def test_an_object_that_an_agent_fails_at_does_not_take_the_others_with_it(size):
    def failing(request_id: bytes, kind: int, oids: list[str]) -> list[tuple[float, bytes]]:
        if len(oids) > size:
            return [(0.0, answer(request_id, [], status=1))]
        for index, oid in enumerate(oids, 1):
            if oid.endswith((".3", ".6")):
                return [(0.0, answer(request_id, [], status=5, index=index))]
        return sound(request_id, kind, oids)

    oids = tuple(f"1.3.6.1.4.1.9.{n}" for n in range(7))
    async with scripted(failing) as (agent, _):
        values = await agent.transact(GetOids(oids), T)
        assert [values[oid] for oid in oids] == [0, 1, 2, None, 4, 5, None]


@pytest.mark.parametrize("count", [1, 3, 12])
async def test_an_agent_that_fails_at_everything_refuses(count):
    oids = tuple(f"1.3.6.1.4.1.9.{n}" for n in range(count))
    async with scripted(lambda i, *_: [(0.0, answer(i, [], status=5, index=1))]) as (agent, played):
        with pytest.raises(DeviceRefused) as refused:
            await agent.transact(GetOids(oids), T)
        assert refused.value.code == 5
        assert len(played.asked) <= 4


async def test_late_and_foreign_answers_are_not_taken_and_rubbish_does_not_hide_the_right_one():
    fate = random.Random(7)

    def unreliable(request_id: bytes, kind: int, oids: list[str]) -> list[tuple[float, bytes]]:
        late = [(fate.uniform(0.03, 0.06), sound(request_id, kind, oids)[0][1])]
        wrong_id = [(0.0, sound(b"\x11\x22\x33\x44", kind, oids)[0][1])]
        good = sound(request_id, kind, oids)
        return fate.choice([good, late, wrong_id + good, [(0.0, b"rubbish"), *good], [(0.0, good[0][1][:-1])], []])

    answered = 0
    async with scripted(unreliable) as (agent, _):
        for n in range(120):
            oid = f"1.3.6.1.4.1.9.{n}"
            with contextlib.suppress(NoReply, BadReply):
                assert await agent.transact(GetOids((oid,)), Timing(0.02, 0.0)) == {oid: n}
                answered += 1
        assert agent.journal.statistics[0].late > 0
        assert agent.journal.statistics[0].bad > 0
    assert answered > 40


@pytest.mark.parametrize(
    "change",
    [lambda varbinds: varbinds[:-1], lambda varbinds: [varbinds[1], varbinds[0]], lambda varbinds: varbinds + varbinds],
    ids=["fewer", "swapped", "more"],
)
async def test_values_of_other_oids_than_asked_are_a_bad_reply(change):
    async with scripted(lambda i, _, oids: [(0.0, answer(i, change([number(oid) for oid in oids])))]) as (agent, _):
        await fails(BadReply, agent.transact(GetOids(("1.3.6.1.1", "1.3.6.1.2")), T))


@pytest.mark.parametrize("version", ["1", "2c"])
async def test_a_walk_that_goes_round_or_never_ends_is_a_bad_reply(version):
    wire_version = 0 if version == "1" else 1

    def round_and_round(request_id: bytes, _kind: int, oids: list[str]) -> list[tuple[float, bytes]]:
        return [(0.0, answer(request_id, [("1.3.6.1.9.5", 2, b"\1")], version=wire_version))]

    async with scripted(round_and_round, version=version) as (agent, _):
        await fails(BadReply, agent.transact(WalkColumn("1.3.6.1.9"), T), "goes back")

    def endless(request_id: bytes, _kind: int, oids: list[str]) -> list[tuple[float, bytes]]:
        last = int(oids[0].rsplit(".", 1)[1]) if oids[0] != "1.3.6.1.9" else 0
        rows = [(f"1.3.6.1.9.{last + n}", 2, b"\1") for n in range(1, 101)]
        return [(0.0, answer(request_id, rows, version=wire_version))]

    async with scripted(endless, version=version) as (agent, _):
        await fails(BadReply, agent.transact(WalkColumn("1.3.6.1.9"), T), "more than 5000 rows")


async def test_silence_is_no_reply_and_the_next_question_is_answered():
    silences = [1]

    def once(request_id: bytes, kind: int, oids: list[str]) -> list[tuple[float, bytes]]:
        return [] if silences and silences.pop() else sound(request_id, kind, oids)

    async with scripted(once) as (agent, _):
        began = time.monotonic()
        await fails(NoReply, agent.transact(GetOids(("1.3.6.1.1",)), QUICK), "nothing in 0.1 s")
        assert time.monotonic() - began < 0.5
        assert await agent.transact(GetOids(("1.3.6.1.2",)), QUICK) == {"1.3.6.1.2": 2}


async def test_a_port_where_nobody_listens_is_no_reply_at_once():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with agent_of(port) as agent:
        began = time.monotonic()
        await fails(NoReply, agent.transact(GetOids((UPTIME,)), Timing(3.0, 0.0)), "refused")
        assert time.monotonic() - began < 0.5


async def test_closing_the_bus_fails_the_question_in_flight():
    async with scripted(lambda *_: []) as (agent, _):
        asking = asyncio.create_task(agent.transact(GetOids((UPTIME,)), Timing(5.0, 0.0)))
        await asyncio.sleep(0.05)
        await agent.close()
        await fails(NoReply, asking, "closed")
        await fails(NoReply, agent.transact(GetOids((UPTIME,)), T), "closed")


async def test_what_cannot_be_is_our_own_fault():
    with pytest.raises(ValueError, match="version '4'"):
        open_link(Bus("x", "snmp", {"host": "127.0.0.1", "version": 4}))
    with pytest.raises(ValueError, match="protocol 'ROT13': none of MD5"):
        open_link(Bus("x", "snmp", {"host": "127.0.0.1", "version": 3, "user": "u", "auth_protocol": "ROT13"}))
    async with agent_of(1) as agent:
        await fails(TypeError, agent.transact(ReadRegisters(1, 3, 0, 1), T))
        await fails(ValueError, agent.transact(SetOid(CONTACT, "integer", "open"), T), "not integer")
