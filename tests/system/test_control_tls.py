"""The control port over TLS: who gets in, and what is said of files that do not do."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest
from cloud_site import body, signed
from control_rig import LOCAL, Door, opened
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gantry_agent.cloud.control import CannotListen, Tls, load_tls
from gantry_agent.cloud.reception import CONNECTIONS
from gantry_agent.config.site import read_config
from gantry_agent.faults import ConfigFault
from gantry_agent.model import AgentError
from gantry_agent.store import Store

pytestmark = pytest.mark.system


@dataclass
class Issued:
    """A certificate, its key, and the files they are in."""

    cert: Path
    key: Path
    certificate: x509.Certificate
    private: ec.EllipticCurvePrivateKey


def issue(folder: Path, name: str, by: Issued | None = None, password: bytes | None = None) -> Issued:
    """A certificate for 127.0.0.1; without an issuer, an authority."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    certificate = builder.sign(by.private if by else private, hashes.SHA256())
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    return Issued(cert, key, certificate, private)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "state.db") as store:
        yield store


async def ask(door: Door, tls: ssl.SSLContext) -> str:
    content = body(at=time.time(), updateNow="1")
    url = f"https://127.0.0.1:{door.control.port}/remotecontrol.do"
    async with door.session.post(url, data=content, headers=signed(content), ssl=tls) as answer:
        return str((await answer.json())["code"])


async def test_with_an_authority_only_its_clients_get_in(store: Store, tmp_path: Path) -> None:
    authority, other = issue(tmp_path, "authority"), issue(tmp_path, "other")
    server, cloud = issue(tmp_path, "server", authority), issue(tmp_path, "cloud", authority)
    forger = issue(tmp_path, "forger", other)
    settings = replace(LOCAL, tls=Tls(server.cert, server.key, authority.cert))
    async with opened(store, settings) as door:
        for stranger in (None, forger):
            tls = ssl.create_default_context(cafile=str(authority.cert))
            if stranger:
                tls.load_cert_chain(stranger.cert, stranger.key)
            with pytest.raises((aiohttp.ClientError, ConnectionError, ssl.SSLError)):
                await ask(door, tls)
        tls = ssl.create_default_context(cafile=str(authority.cert))
        tls.load_cert_chain(cloud.cert, cloud.key)
        assert await ask(door, tls) == "1000"
        with pytest.raises(aiohttp.ClientError):
            await door.order(updateNow="1")  # without TLS


async def test_handshakes_that_never_end_keep_nobody_out(store: Store, tmp_path: Path) -> None:
    server = issue(tmp_path, "server")
    async with opened(store, replace(LOCAL, tls=Tls(server.cert, server.key)), keepalive_s=2.0) as door:
        silent = [socket.create_connection(("127.0.0.1", door.control.port)) for _ in range(10 * CONNECTIONS)]
        try:
            began = time.monotonic()
            assert await ask(door, ssl.create_default_context(cafile=str(server.cert))) == "1000"
            assert time.monotonic() - began < 2
            await asyncio.sleep(3)
            for each in silent:
                each.settimeout(1)
                with contextlib.suppress(ConnectionError):
                    assert each.recv(1) == b""
        finally:
            for each in silent:
                each.close()


async def test_files_that_do_not_do_are_named(store: Store, tmp_path: Path) -> None:
    one, two = issue(tmp_path, "one"), issue(tmp_path, "two")
    locked = issue(tmp_path, "locked", password=b"secret")
    text = tmp_path / "text.pem"
    text.write_text("no certificate", encoding="utf-8")
    for tls in (
        Tls(one.cert, two.key),
        Tls(text, one.key),
        Tls(one.cert, text),
        Tls(one.cert, one.cert),
        Tls(locked.cert, locked.key),
        Tls(one.cert, one.key, text),
        Tls(one.cert, one.key, one.key),
        Tls(tmp_path / "missing.pem", one.key),
        Tls(tmp_path, one.key),
    ):
        with pytest.raises(AgentError, match="cannot use the TLS files "):
            load_tls(tls)
    with pytest.raises(CannotListen, match=r"cannot use the TLS files .*one.pem with .*two.key"):
        async with opened(store, replace(LOCAL, tls=Tls(one.cert, two.key))):
            pass
    assert load_tls(Tls(one.cert, one.key)).verify_mode is ssl.CERT_NONE
    assert load_tls(Tls(one.cert, one.key, one.cert)).verify_mode is ssl.CERT_REQUIRED


SITE = """\
gantry: {{id: G000211001002110010}}
cloud: {{server: "http://127.0.0.1:1/monitor.do", auth: "1"}}
control:
  listen: "127.0.0.1:3699"
  tls: {{cert: {cert}, key: {key}, client_ca: {ca}}}
storage: {{path: /tmp}}
buses: {{}}
"""


def test_check_refuses_tls_files_that_do_not_do(tmp_path: Path) -> None:
    one, two = issue(tmp_path, "one"), issue(tmp_path, "two")
    path = tmp_path / "gantry.yaml"
    path.write_text(SITE.format(cert=one.cert, key=one.key, ca=two.cert), encoding="utf-8")
    assert read_config(path).control.tls == Tls(one.cert, one.key, two.cert)
    for key, ca in ((two.key, two.cert), (one.key, two.key)):
        path.write_text(SITE.format(cert=one.cert, key=key, ca=ca), encoding="utf-8")
        with pytest.raises(ConfigFault) as raised:
            read_config(path)
        (fault,) = raised.value.faults
        assert ":5:3: cannot use the TLS files" in fault.render("en")
        assert "TLS 文件不能使用" in fault.render("zh")
    path.write_text(SITE.format(cert=one.cert, key=tmp_path / "missing", ca=two.cert), encoding="utf-8")
    with pytest.raises(ConfigFault) as raised:
        read_config(path)
    assert [str(tmp_path / "missing") in fault.render("en") for fault in raised.value.faults] == [True]
