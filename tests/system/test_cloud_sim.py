"""The simulated cloud as its own process: it takes, remembers, complains, misbehaves, and sends signed commands."""

import asyncio
import hashlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

pytestmark = pytest.mark.system

AUTH = "roadside-7"
GANTRY = "G000211001002110010"


class Running:
    """A simulated cloud and a client that speaks to it as a gantry does."""

    def __init__(self, process: asyncio.subprocess.Process, base: str, session: aiohttp.ClientSession) -> None:
        self.process = process
        self.base = base
        self.session = session

    async def upload(self, body: bytes, timeout_s: float = 5.0, auth: str = AUTH) -> tuple[int, bytes]:
        headers = {
            "binfile-md5": hashlib.md5(body).hexdigest(),
            "binfile-auth": auth,
            "Content-Type": "application/json",
        }
        request = self.session.post(
            f"{self.base}/monitor.do",
            data=body,
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        )
        async with request as reply:
            return reply.status, await reply.read()

    async def code(self, body: bytes) -> str:
        status, answer = await self.upload(body)
        assert status == 200
        return str(json.loads(answer)["code"])

    async def order(self, path: str, **order: Any) -> Any:
        async with self.session.post(f"{self.base}{path}", json=order) as reply:
            return await reply.json()

    async def get(self, path: str) -> Any:
        async with self.session.get(f"{self.base}{path}") as reply:
            assert reply.status == 200
            return await reply.json()

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), 10)).decode().rstrip("\n")


def environment(language: str = "C") -> dict[str, str]:
    return {**os.environ, "LANG": language, "LC_ALL": language, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}


async def start(*words: str, language: str = "C") -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hwsim", "cloud", "--die-with-parent", *words),
        env=environment(language),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def running(*words: str, language: str = "C") -> AsyncIterator[Running]:
    process = await start("--listen", "127.0.0.1:0", "--auth", AUTH, "--gantry", GANTRY, *words, language=language)
    try:
        assert process.stdout is not None
        ready = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        assert ready.startswith("cloud ready http://127.0.0.1:")
        base = ready.split()[2].removesuffix("/monitor.do")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            yield Running(process, base, session)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 10)
        assert errors == b""
        assert process.returncode == 0


@pytest_asyncio.fixture
async def cloud() -> AsyncIterator[Running]:
    async for one in running():
        yield one


def computers(cpu: str = "12.50", stamp: int | None = None) -> bytes:
    computer = {
        "id": "1",
        "isMonitorComputer": "1",
        "isMainComputer": "0",
        **{f"{part}Usage": "10.00" for part in ("sysDisk", "dataDisk", "memory", "net")},
        **{f"{part}Size": "10485760" for part in ("sysDisk", "dataDisk", "memory")},
        "cpuUsage": cpu,
        "cpuTemperature": "NotSupport",
        "ip": "192.168.1.5",
    }
    envelope = {
        "gantryId": GANTRY,
        "method": "computerStatusUpdate",
        "timeStamp": str(stamp or int(time.time())),
        "version": "1001",
        "computerStatus": [computer],
    }
    return json.dumps(envelope).encode()


async def test_a_good_upload_is_accepted_remembered_and_shown(cloud: Running) -> None:
    body = computers()
    assert await cloud.upload(body) == (200, '{"code": "1000", "msg": "成功"}'.encode())
    line = await cloud.line()
    assert "computers  1000 ✓  first upload" in line
    assert "\x1b" not in line
    (upload,) = await cloud.get("/uploads")
    assert (upload["code"], upload["complaints"], upload["method"]) == ("1000", [], "computerStatusUpdate")
    assert upload["payload"] == json.loads(body)
    assert abs(upload["received"] - time.time()) < 10
    assert await cloud.get("/uploads?since=1") == []
    summary = await cloud.get("/summary")
    assert (summary["uploads"], summary["accepted"], summary["complaints"]) == (1, 1, 0)


async def test_a_faulty_upload_is_refused_with_every_complaint(cloud: Running) -> None:
    status, answer = await cloud.upload(computers(cpu="12.5"))
    assert (status, json.loads(answer)) == (200, {"code": "1002", "msg": "参数有误: cpuUsage"})
    (upload,) = await cloud.get("/uploads")
    assert upload["complaints"] == ["computerStatus[0].cpuUsage: '12.5' needs exactly two decimals"]
    assert "1002 ✗" in await cloud.line()
    assert "computerStatus[0].cpuUsage" in await cloud.line()


async def test_a_foreign_auth_code_is_refused(cloud: Running) -> None:
    _, answer = await cloud.upload(computers(), auth="123456")
    assert json.loads(answer)["code"] == "1001"


async def test_the_difference_to_the_last_upload_is_told(cloud: Running) -> None:
    now = int(time.time())
    await cloud.code(computers(stamp=now))
    changed = computers(cpu="99.00", stamp=now - 1).replace(b"192.168.1.5", b"192.168.1.6")
    await cloud.code(changed)
    upload = (await cloud.get("/uploads"))[-1]
    assert upload["changes"] == [
        ["computerStatus[1].cpuUsage", "12.50", "99.00"],
        ["computerStatus[1].ip", "192.168.1.5", "192.168.1.6"],
    ]
    await cloud.line()
    assert (await cloud.line()).endswith("computerStatus[1].ip 192.168.1.5→192.168.1.6")


async def test_the_same_body_again_is_a_duplicate_and_still_accepted(cloud: Running) -> None:
    body = computers()
    assert [await cloud.code(body), await cloud.code(body)] == ["1000", "1000"]
    assert [upload["duplicate"] for upload in await cloud.get("/uploads")] == [False, True]
    assert (await cloud.get("/summary"))["duplicates"] == 1


async def test_a_body_sent_again_after_a_refusal_is_no_duplicate(cloud: Running) -> None:
    await cloud.order("/behave", mode="500", count=1)
    body = computers()
    status, _ = await cloud.upload(body)
    assert status == 500
    assert await cloud.code(body) == "1000"
    first, second = await cloud.get("/uploads")
    assert (first["code"], first["behaviour"]) == ("", "500")
    assert (second["duplicate"], second["seen_before"]) == (False, 1)


@pytest.mark.parametrize(("mode", "status", "begin"), [
    ("1005", 200, '{"code": "1005", "msg": "请求过于频繁"}'),
    ("1008", 200, '{"code": "1008"'),
    ("503", 503, "<html>"),
    ("429", 429, "<html>"),
    ("html", 200, "<html>"),
    ("empty", 200, ""),
    ("redirect", 302, ""),
])  # fmt: skip
async def test_misbehaving_lasts_as_many_uploads_as_ordered(cloud: Running, mode: str, status: int, begin: str) -> None:
    assert await cloud.order("/behave", mode=mode, count=2) == {"behaving": [mode]}
    for _ in range(2):
        got, answer = await cloud.upload(computers())
        assert (got, answer.decode()[: len(begin)]) == (status, begin)
    assert await cloud.code(computers()) == "1000"
    assert (await cloud.get("/summary"))["strays"] == 0


@pytest.mark.parametrize("mode", ["half", "reset"])
async def test_a_broken_answer_breaks_the_connection_though_the_upload_arrived(cloud: Running, mode: str) -> None:
    await cloud.order("/behave", mode=mode, count=1)
    body = computers()
    with pytest.raises(aiohttp.ClientError):
        await cloud.upload(body)
    assert await cloud.code(body) == "1000"
    assert [upload["duplicate"] for upload in await cloud.get("/uploads")] == [False, True]


async def test_a_hanging_cloud_answers_nothing_until_it_is_told_to(cloud: Running) -> None:
    await cloud.order("/behave", mode="hang")
    with pytest.raises(TimeoutError):
        await cloud.upload(computers(), timeout_s=0.3)
    assert await cloud.order("/behave", mode="ok") == {"behaving": []}
    assert await cloud.code(computers()) == "1000"


async def test_a_slow_cloud_answers_late(cloud: Running) -> None:
    await cloud.order("/behave", mode="slow", seconds=0.3, count=1)
    started = time.monotonic()
    assert await cloud.code(computers()) == "1000"
    assert time.monotonic() - started >= 0.3


async def test_misbehaving_for_one_method_leaves_the_other_alone(cloud: Running) -> None:
    await cloud.order("/behave", mode="1008", method="cabinetStatusUpdate")
    assert await cloud.code(computers()) == "1000"
    assert (await cloud.get("/summary"))["behaving"] == ["1008"]


@pytest.mark.parametrize(
    "order",
    [{"mode": "sulk"}, {"mode": "500", "count": 0}, {"mode": "500", "method": "x"}, {"mode": "slow", "seconds": "x"}],
)
async def test_an_order_that_cannot_be_is_refused_with_what_would_be_valid(
    cloud: Running, order: dict[str, Any]
) -> None:
    assert (await cloud.order("/behave", **order))["error"].startswith("cannot behave")


async def test_waiting_for_the_next_upload_returns_as_soon_as_it_is_there(cloud: Running) -> None:
    waiting = asyncio.create_task(cloud.get("/uploads?since=0&wait_s=10"))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    started = time.monotonic()
    await cloud.code(computers())
    assert len(await waiting) == 1
    assert time.monotonic() - started < 5
    assert await cloud.get("/uploads?since=1&wait_s=0.1") == []


async def test_a_command_is_signed_sent_and_its_answer_returned(cloud: Running) -> None:
    seen: list[tuple[str | None, str | None, bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.headers.get("binfile-md5"), request.headers.get("binfile-auth"), await request.read()))
        return web.json_response({"code": "1000", "msg": "成功"})

    app = web.Application()
    app.router.add_post("/remotecontrol.do", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    target = f"http://127.0.0.1:{runner.addresses[0][1]}/remotecontrol.do"
    try:
        business = {"cmd": "2", "unlockDoorId": "1"}
        result = await cloud.order("/command", target=target, method="cabinetControl", business=business)
        forged = await cloud.order("/command", target=target, method="computerControl", business={}, auth="x", md5="y")
    finally:
        await runner.cleanup()
    assert (result["status"], result["answer"]) == (200, {"code": "1000", "msg": "成功"})
    assert "application/json" in result["headers"]["Content-Type"]
    assert forged["status"] == 200
    md5, auth, body = seen[0]
    assert (md5, auth) == (hashlib.md5(body).hexdigest(), AUTH)
    envelope = json.loads(body)
    assert abs(int(envelope.pop("timeStamp")) - time.time()) < 10
    assert envelope == {
        "gantryId": GANTRY,
        "method": "cabinetControl",
        "version": "1001",
        "cabinetControl": business,
    }
    assert seen[1][:2] == ("y", "x")


async def test_a_command_to_nobody_says_so(cloud: Running) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = f"http://127.0.0.1:{free.getsockname()[1]}/remotecontrol.do"
    result = await cloud.order("/command", target=target, method="computerControl", business={"updateNow": "1"})
    assert result["error"].startswith(f"cannot reach {target}")


async def test_lines_are_in_the_language_of_the_reader() -> None:
    async for cloud in running(language="zh_CN.UTF-8"):
        await cloud.code(computers(cpu="100"))
        assert "工控机" in await cloud.line()
        assert "应带两位小数" in await cloud.line()


async def test_too_many_uploads_a_minute_are_1005() -> None:
    async for cloud in running("--per-minute", "2"):
        assert [await cloud.code(computers()) for _ in range(3)] == ["1000", "1000", "1005"]


async def test_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await start("--listen", f"127.0.0.1:{port}")
        _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert errors.decode().startswith(f"cannot listen on 127.0.0.1:{port} for the simulated cloud: the port is taken")
    assert "Traceback" not in errors.decode()
