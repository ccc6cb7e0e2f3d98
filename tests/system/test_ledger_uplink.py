"""The uplink over a month offline, a flapping link, every hop that can fail, private TLS and a proxy."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import itertools
import logging
import os
import sqlite3
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support import free_ports
from test_uplink_http import QUICK, Cloud, Sending, code, http, sending

from gantry_agent.cloud.uplink import Pace, Uplink
from gantry_agent.config import read_config
from gantry_agent.core.ledger import gaps
from gantry_agent.faults import ConfigFault
from gantry_agent.model import Due, Record
from gantry_agent.store import Bounds, Outage, Store, ledger, outbox

pytestmark = [pytest.mark.system, pytest.mark.timeout(int(os.environ.get("SOAK_TIMEOUT_S", "120")))]

DAY = 86_400
TICK_S = 600


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    cloud = Cloud()
    server = await asyncio.start_server(cloud.serve, "127.0.0.1", 0)
    cloud.port = server.sockets[0].getsockname()[1]
    yield cloud
    server.close()
    await cloud.stop()


# --- which hop failed, from when to when, and did it arrive ---------------------------------------------------------


async def outage_of(at: Sending) -> Outage:
    await at.until_empty()
    (outage,) = await at.store.outages(0.0)
    assert outage.ended_at is not None
    assert outage.ended_at >= outage.began_at
    assert outage.arrived_at is not None
    return outage


@pytest.mark.parametrize(
    ("answer", "hop"),
    [
        (code(1004), "auth"),
        (code(1001), "auth"),
        (code(1003), "clock"),
        (code(1005), "HTTP"),
        (http("x", "503 x"), "HTTP"),
    ],
    ids=["1004", "1001", "1003", "1005", "503"],
)
async def test_an_answer_that_refuses_is_an_outage_of_its_hop(tmp_path, cloud, answer, hop):
    cloud.script = [answer]
    async with sending(tmp_path, cloud) as at:
        await at.put()
        outage = await outage_of(at)
    assert [each.name for each in outage.hops] == [hop]
    assert outage.waited == 0  # it was delivered in the attempt that ended the outage


@pytest.mark.parametrize(
    ("url", "hops"),
    [
        ("http://no-such-host.invalid/x", {"DNS", "link", "gateway"}),  # a test host may have no network at all
        ("http://127.0.0.1:1/", {"TCP"}),
        ("https://127.0.0.1:{port}/", {"TLS"}),
    ],
    ids=["DNS", "TCP", "TLS"],
)
async def test_no_answer_is_an_outage_of_the_hop_that_failed(tmp_path, cloud, url, hops, caplog):
    caplog.set_level(logging.INFO, "gantry_agent")
    where = [url.format(port=cloud.port)]
    async with sending(tmp_path, cloud, target=lambda: where[0]) as at:
        for _ in range(3):
            await at.put()
        await at.until(lambda: at.uplink.state("cabinet").hop != "")
        assert at.uplink.state("cabinet").hop in hops
        where[0] = f"http://127.0.0.1:{cloud.port}/"
        at.uplink.wake("cabinet")
        outage = await outage_of(at)
    assert {each.name for each in outage.hops} <= hops
    assert outage.waited == 2
    assert "records that waited: 2" in caplog.text
    assert "all 2 records of cabinet status that had waited have arrived" in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(("off_s", "whose"), [(7200.0, "ours"), (-7200.0, "ours"), (0.0, "neither")])
async def test_1003_says_whose_clock_is_wrong_by_the_date_of_the_answer(tmp_path, cloud, off_s, whose, caplog):
    date = formatdate(time.time() + off_s, usegmt=True)
    cloud.script = [http('{"code":"1003","msg":"x"}', headers=f"Date: {date}\r\n")] * 2
    async with sending(tmp_path, cloud) as at:
        await at.put()
        await at.until(lambda: at.uplink.state("cabinet").wrong_clock != "")
        state = at.uplink.state("cabinet")
        assert state.wrong_clock == whose
        assert state.clock_offset_s == pytest.approx(off_s, abs=3)
        await at.until_empty()
        assert at.uplink.state("cabinet").wrong_clock == ""
    assert ("s behind the cloud's Date header" in caplog.text) == (off_s > 0)
    assert ("s ahead of the cloud's Date header" in caplog.text) == (off_s < 0)


@pytest.mark.parametrize("number", range(1001, 1009))
async def test_a_code_for_one_record_only_holds_up_no_other(tmp_path, cloud, number):
    cloud.by_body = lambda content: code(number if content == b"1" else 1000)
    pace = replace(QUICK, slow_first_s=0.1, slow_longest_s=0.1, hold_s=60.0)
    async with sending(tmp_path, cloud, pace) as at:
        await at.put(urgent=True)
        await at.until(lambda: len(cloud.came) >= 1)
        for _ in range(5):
            await at.put(urgent=True)
        await at.until(lambda: len(set(cloud.came)) == 6)
        await asyncio.sleep(0.3)
        counts = await at.store.counts()
        assert counts.waiting + counts.aside == 1
        assert counts.unaccounted == 0
        assert cloud.came.count(b"1") < 12
        assert at.uplink.state("cabinet").failing_since is None


@pytest.mark.parametrize("number", range(1001, 1009))
async def test_a_code_for_all_for_a_while_loses_nothing(tmp_path, cloud, number):
    pace = replace(QUICK, slow_first_s=0.1, slow_longest_s=0.1)
    cloud.script = [code(number)] * 8
    async with sending(tmp_path, cloud, pace) as at:
        for n in range(10):
            await at.put(urgent=n % 2 == 0)
        await at.until_empty()
        counts = await at.store.counts()
        assert counts.unaccounted == 0
        assert counts.aside == (8 if number in {1002, 1006} else 0)
        assert counts.delivered == 10 - counts.aside


# --- a month offline, and a link that comes and goes -----------------------------------------------------------------


async def a_month(store: Store, now: int) -> int:
    """What the agent accepts in 30 days without a cloud, in simulated time: two cabinets' statuses, an event a day."""
    schedule = {("cabinet", 1): (TICK_S, 0), ("cabinet", 2): (TICK_S, 0)}
    await store.begin_stretch(now - 30 * DAY + 1, "boot", schedule)
    await store.trouble("cabinet", now - 30 * DAY, "TCP", "refused")

    def work(db: sqlite3.Connection) -> int:
        """As `Store.put` for each, but in one transaction: a month of flushes is not what is tried here."""
        records = 0
        for tick in range(now - 30 * DAY + TICK_S, now + 1, TICK_S):
            for cabinet in (1, 2):
                body = f'{{"taken": {tick}, "cabinet": {cabinet}, "fill": "{"x" * 3400}"}}'.encode()
                outbox.put(db, Record("cabinet", cabinet, False, tick, body), Bounds())
                ledger.account(db, "cabinet", cabinet, Due(tick, TICK_S))
                records += 1
            if tick % DAY == 0:
                outbox.put(db, Record("cabinet", 1, True, tick, b'{"event": %d}' % tick), Bounds())
                records += 1
        return records

    records = await store._database.run(work)
    await store.seen(now)
    return records


async def test_after_thirty_days_offline_a_fresh_status_comes_within_five_seconds_and_the_rest_paced(tmp_path, cloud):
    now = int(time.time()) // TICK_S * TICK_S
    path, pace = tmp_path / "state.db", Pace(first_s=300.0, spacing_s=0.05)  # the back-off as it is after hours
    open_port, cloud.port = cloud.port, free_ports(1)[0]
    async with Store(path, bounds=Bounds()) as store:
        records = await a_month(store, now)
        counts = await store.counts()
        assert (counts.waiting, counts.lost, counts.unaccounted) == (records, 0, 0)
        assert gaps(await store.books(), now - 30 * DAY, now, running=True) == ()
    size = path.stat().st_size
    assert size <= 50e6
    async with sending(tmp_path, cloud, pace, lambda: f"http://127.0.0.1:{cloud.port}/") as at:
        await at.until(lambda: at.uplink.state("cabinet").hop == "TCP")
        await asyncio.sleep(0.5)
        server = await asyncio.start_server(cloud.serve, "127.0.0.1", cloud.port)
        began = time.monotonic()
        await at.until(lambda: sum(b'"taken"' in body for body in cloud.came) >= 2)
        fresh_s = time.monotonic() - began
        events = sum(b'"event"' in body for body in cloud.came)
        await at.until(lambda: len(cloud.came) >= events + 60)
        server.close()
    fresh = [body for body in cloud.came if b'"taken": %d' % now in body]
    statuses = [at_ for at_, body in zip(cloud.times, cloud.came, strict=True) if b'"taken"' in body]
    waits = [later - earlier for earlier, later in itertools.pairwise(statuses)]
    print(
        f"{records} records, {size / records:.0f} bytes each on disk, {events} events first,"
        f" fresh statuses {fresh_s:.1f} s after the link's return, then one per {1000 * sum(waits) / len(waits):.0f} ms"
    )
    assert events == 30
    assert all(b'"event"' in body for body in cloud.came[:30])
    assert len(fresh) == 2
    assert set(cloud.came[30:32]) == set(fresh)
    assert fresh_s <= 5.0
    assert min(waits) >= 0.045  # as configured, at most
    assert max(waits) - min(waits) > 0.01  # and not in step
    cloud.port = open_port


async def flap(tmp_path: Path, rounds: int, up_s: float, down_s: float, every_s: float) -> tuple[int, Counter[bytes]]:
    """A link that is up and down in turn, while records come; how many, and how often each body arrived."""
    cloud = Cloud()
    (cloud.port,) = free_ports(1)
    pace = replace(QUICK, connect_s=1.0, knock_s=0.1)
    put = 0
    async with sending(tmp_path, cloud, pace) as at:
        until = time.monotonic()
        for _ in range(rounds):
            server = await asyncio.start_server(cloud.serve, "127.0.0.1", cloud.port)
            for is_up, stay_s in ((True, up_s), (False, down_s)):
                if not is_up:
                    server.close()
                    await cloud.stop()
                until += stay_s
                while time.monotonic() < until:
                    await at.put(urgent=put % 7 == 0, cabinet=put % 2 + 1)
                    put += 1
                    await asyncio.sleep(every_s)
        server = await asyncio.start_server(cloud.serve, "127.0.0.1", cloud.port)
        await at.until_empty(60)
        assert (await at.store.counts()).unaccounted == 0
        server.close()
        await cloud.stop()
    return put, Counter(cloud.came)


async def test_over_a_flapping_link_everything_arrives_and_only_what_was_in_flight_twice(tmp_path):
    rounds, scale = int(os.environ.get("SOAK_FLAPS", "6")), float(os.environ.get("SOAK_FLAP_S", "0.2"))
    put, came = await flap(tmp_path, rounds, scale, 2 * scale, scale / 10)
    print(f"{rounds} times {scale:g} s up, {2 * scale:g} s down: {put} records, {sum(came.values()) - put} twice")
    assert len(came) == put
    assert sum(came.values()) - put <= rounds


# --- TLS and proxy ---------------------------------------------------------------------------------------------------


class Authority:
    """A throwaway CA."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.cert = self._sign(self.key.public_key(), name, x509.BasicConstraints(ca=True, path_length=None), [])
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])]
        cert = self._sign(key.public_key(), name, x509.BasicConstraints(ca=False, path_length=None), names)
        cert_file, key_file = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        key_file.write_bytes(key.private_bytes(*form))
        return cert_file, key_file

    def _sign(
        self, key: ec.EllipticCurvePublicKey, name: str, basic: x509.BasicConstraints, more: list
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(basic, critical=True)
        )
        for extension in more:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "cloud-ca")


@contextlib.asynccontextmanager
async def secure(cloud: Cloud, authority: Authority, *, clients: Authority | None = None) -> AsyncIterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("server"))
    if clients:
        context.load_verify_locations(clients.file)
        context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(cloud.serve, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await cloud.stop()


@contextlib.asynccontextmanager
async def configured(folder: Path, cloud_keys: str) -> AsyncIterator[Sending]:
    """An uplink as the agent makes it of this part of a site file."""
    file = folder / "site.yaml"
    file.write_text(f"gantry: {{id: G1}}\ncloud: {{auth_file: {folder}/auth, {cloud_keys}}}\n", encoding="utf-8")
    (folder / "auth").write_text("s3cret\n")
    settings = read_config(file).cloud
    async with Store(folder / "state.db") as store:
        uplink = Uplink(
            store, lambda _: settings.server, settings.auth, tls=settings.tls, proxy=settings.proxy, pace=QUICK
        )
        task = asyncio.create_task(uplink.run("cabinet"))
        try:
            yield Sending(store, uplink)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def fails_at(at: Sending, hop: str) -> None:
    await at.put()
    await at.until(lambda: at.uplink.state("cabinet").hop != "")
    assert at.uplink.state("cabinet").hop == hop


async def test_a_private_authority_is_trusted_when_it_is_configured_and_only_it(tmp_path, cloud, authority):
    async with secure(cloud, authority) as port:
        async with configured(tmp_path, f'server: "https://127.0.0.1:{port}/", ca_file: {authority.file}') as at:
            await at.put()
            await at.until_empty()
        assert cloud.headers[0]["binfile-auth"] == "s3cret"
        other = Authority(tmp_path, "other-ca")
        async with configured(tmp_path, f'server: "https://127.0.0.1:{port}/", ca_file: {other.file}') as at:
            await fails_at(at, "TLS")
        async with configured(tmp_path, f'server: "https://127.0.0.1:{port}/"') as at:
            await fails_at(at, "TLS")
    assert len(cloud.came) == 1


async def test_a_cloud_that_wants_a_client_certificate_gets_it(tmp_path, cloud, authority):
    clients = Authority(tmp_path, "clients-ca")
    cert, key = clients.issue("gantry")
    async with secure(cloud, authority, clients=clients) as port:
        server = f'server: "https://127.0.0.1:{port}/", ca_file: {authority.file}'
        async with configured(tmp_path, server) as at:
            await at.put()
            await at.until(lambda: at.uplink.state("cabinet").hop != "")
            assert not cloud.came
        async with configured(tmp_path, f"{server}, client_cert: {cert}, client_key: {key}") as at:
            await at.until_empty()
    assert len(cloud.came) == 1


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("ca_file: {folder}/none.pem", "cannot read the file"),
        ("ca_file: {folder}/auth", "it has no certificate in PEM form"),
        ("client_key: {key}", "client_key needs a client_cert"),
        ("client_cert: {cert}", "not a PEM certificate and its unencrypted key"),
        (
            "client_cert: {cert}, client_key: {other}",
            "not a PEM certificate and its unencrypted key (KEY_VALUES_MISMATCH)",
        ),
        ('proxy: "socks5://127.0.0.1:1"', "valid: http://host:port, or environment"),
        ("backlog_per_minute: 0", "must be at least 1"),
    ],
)
async def test_what_is_wrong_with_it_is_a_fault_of_the_site_file(tmp_path, authority, keys, said):
    cert, key = authority.issue("gantry")
    _, other = authority.issue("other")
    given = keys.format(folder=tmp_path, cert=cert, key=key, other=other)
    with pytest.raises(ConfigFault) as caught:
        async with configured(tmp_path, f'server: "https://127.0.0.1/", {given}'):
            pass
    (fault,) = caught.value.faults
    assert said in fault.render("en")


class Proxy:
    """An HTTP proxy that passes plain requests on and opens tunnels; notes both."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.asked, self.port = cloud, [], 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split(b"\r\n")[0].decode())
        far_reader, far = await asyncio.open_connection("127.0.0.1", self.cloud.port)
        if head.startswith(b"CONNECT"):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            far.write(head)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pass(reader, far))
            group.create_task(self._pass(far_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while part := await reader.read(65_536):
                writer.write(part)
                await writer.drain()
        writer.close()


@pytest.fixture
async def proxy(cloud: Cloud) -> AsyncIterator[Proxy]:
    proxy = Proxy(cloud)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    yield proxy
    server.close()
    await asyncio.sleep(0.05)


async def test_a_proxy_of_the_environment_is_not_used_unless_the_site_file_says_so(tmp_path, cloud, proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", "")
    server = f'server: "http://127.0.0.1:{cloud.port}/monitor.do"'
    async with configured(tmp_path, server) as at:
        await at.put()
        await at.until_empty()
    assert proxy.asked == []
    async with configured(tmp_path, f"{server}, proxy: environment") as at:
        await at.put()
        await at.until_empty()
    assert len(proxy.asked) == 1


async def test_a_configured_proxy_is_the_way(tmp_path, cloud, proxy, authority):
    server = f'server: "http://127.0.0.1:{cloud.port}/monitor.do"'
    async with configured(tmp_path, f'{server}, proxy: "http://127.0.0.1:{proxy.port}"') as at:
        await at.put()
        await at.until_empty()
    assert proxy.asked == [f"POST http://127.0.0.1:{cloud.port}/monitor.do HTTP/1.1"]
    async with secure(cloud, authority) as port:
        cloud.port = port
        keys = f'server: "https://127.0.0.1:{port}/", ca_file: {authority.file}, proxy: "http://127.0.0.1:{proxy.port}"'
        async with configured(tmp_path, keys) as at:
            await at.put()
            await at.until_empty()
        await asyncio.sleep(0.1)
    assert proxy.asked[1] == f"CONNECT 127.0.0.1:{port} HTTP/1.1"
