"""The control port over TLS as curl and openssl meet it, which nobody here wrote; the certificates are openssl's."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cloud_site import body, signed
from control_rig import LOCAL, Door, opened

from gantry_agent.cloud.control import Tls
from gantry_agent.command import Unlock
from gantry_agent.store import Store

pytestmark = pytest.mark.system


async def run(*words: str, said: bytes = b"", cwd: Path | None = None) -> tuple[int, bytes]:
    """Run a program; its exit code and what it printed."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=pipe, cwd=cwd)
    async with asyncio.timeout(30):
        out, _ = await process.communicate(said)
    assert process.returncode is not None
    return process.returncode, out


async def openssl(folder: Path, words: str) -> None:
    code, _ = await run("openssl", *words.split(), cwd=folder)
    assert code == 0, words


@pytest.fixture
async def issued(tmp_path: Path) -> Path:
    """A folder with an authority, a server and a client of it, and a stranger who has signed for himself."""
    for name in ("authority", "stranger"):
        await openssl(
            tmp_path, f"req -x509 -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.pem -subj /CN={name} -days 2"
        )
    (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1", encoding="ascii")
    for name in ("server", "cloud"):
        await openssl(tmp_path, f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}")
        await openssl(
            tmp_path,
            f"x509 -req -in {name}.csr -CA authority.pem -CAkey authority.key -CAcreateserial"
            f" -extfile names -out {name}.pem -days 2",
        )
    return tmp_path


@pytest.fixture
async def door(issued: Path) -> AsyncIterator[Door]:
    tls = Tls(issued / "server.pem", issued / "server.key", issued / "authority.pem")
    async with Store(issued / "state.db") as store, opened(store, replace(LOCAL, tls=tls)) as door:
        yield door


async def test_curl_orders_with_its_certificate_and_not_without_or_with_another(door: Door, issued: Path) -> None:
    async def curl(*words: str) -> tuple[int, dict[str, Any] | None]:
        content = body(at=time.time(), cmd="2", unlockDoorId="1", why=" ".join(words))
        headers = [word for name, value in signed(content).items() for word in ("-H", f"{name}: {value}")]
        url = f"https://127.0.0.1:{door.control.port}/remotecontrol.do"
        authority = str(issued / "authority.pem")
        fixed = ("curl", "-sS", "-m", "10", "--cacert", authority, *headers, "--data-binary", "@-")
        code, out = await run(*fixed, *words, url, said=content)
        return code, json.loads(out) if out else None

    def of(name: str) -> tuple[str, ...]:
        return ("--cert", str(issued / f"{name}.pem"), "--key", str(issued / f"{name}.key"))

    for words in ((), of("stranger")):
        code, answer = await curl(*words)
        assert code != 0
        assert answer is None
    assert door.site.done == []
    assert await curl(*of("cloud")) == (0, {"code": "1000", "msg": "成功"})
    assert await curl(*of("cloud"), "--tls-max", "1.2") == (0, {"code": "1000", "msg": "成功"})
    assert (await curl(*of("cloud"), "--tls-max", "1.1"))[0] != 0
    assert door.site.done == [Unlock(1, "front")] * 2


async def test_openssl_orders_with_its_certificate_and_not_without(door: Door, issued: Path) -> None:
    content = body(at=time.time(), cmd="2", unlockDoorId="1")
    heads = "".join(f"{name}: {value}\r\n" for name, value in signed(content).items())
    head = f"POST /remotecontrol.do HTTP/1.1\r\nHost: g\r\nContent-Length: {len(content)}\r\n{heads}Connection: close"
    asked = head.encode() + b"\r\n\r\n" + content
    fixed = ("openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile", str(issued / "authority.pem"))
    place = ("-connect", f"127.0.0.1:{door.control.port}")
    _, out = await run(*fixed, *place, said=asked)
    assert b"HTTP" not in out
    assert door.site.done == []
    mine = ("-cert", str(issued / "cloud.pem"), "-key", str(issued / "cloud.key"))
    _, out = await run(*fixed, *place, *mine, said=asked)
    assert out.startswith(b"HTTP/1.1 200")
    assert json.loads(out.partition(b"\r\n\r\n")[2]) == {"code": "1000", "msg": "成功"}
    assert door.site.done == [Unlock(1, "front")]
