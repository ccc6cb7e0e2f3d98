"""Port 3699 as the cloud, strangers and broken clients meet it: a real server, real sockets, a real store."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from cloud_site import AUTH, GANTRY, body, short, signed
from control_rig import LOCAL, Door, Site, opened

from gantry_agent.cloud.control import BODY_S, KEEPALIVE_S, LINGER_S, CannotListen
from gantry_agent.cloud.execution import STRANGERS
from gantry_agent.cloud.rates import FAILURES_PER_MINUTE
from gantry_agent.command import (
    Command,
    Done,
    Failed,
    Outcome,
    Partial,
    Refused,
    RunAirConditioner,
    SetFrequency,
    SetServer,
    Unlock,
    UpdateNow,
)
from gantry_agent.core.audit import Entry
from gantry_agent.model import AgentError
from gantry_agent.store import Store, StoreFault
from gantry_agent.text import read_kept

pytestmark = pytest.mark.system


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Store(tmp_path / "state.db") as store:
        yield store


@pytest.fixture
async def door(store: Store) -> AsyncIterator[Door]:
    async with opened(store) as door:
        yield door


# --- what is answered -----------------------------------------------------------------------------------------------


async def test_an_order_is_carried_out_and_answered(door):
    assert await door.order(cmd="2", unlockDoorId="1") == {"code": "1000", "msg": "成功"}
    assert door.site.done == [Unlock(1, "front")]


async def test_orders_of_one_request_are_done_in_their_order_and_update_comes_after_the_answer(door):
    assert (await door.order(updateNow="1", cmd="3", airId=0, airOperate=2, setFrequency=60, setServer="h"))[
        "code"
    ] == "1000"
    await asyncio.sleep(0.05)
    assert door.site.done == [
        SetServer("cabinet", "h"),
        SetFrequency("cabinet", 60),
        RunAirConditioner(1, 0, run=False),
        UpdateNow("cabinet"),
    ]


async def test_an_update_that_hangs_does_not_hold_up_the_answer(door):
    async def hang(command: Command) -> Outcome:
        await asyncio.sleep(20 if isinstance(command, UpdateNow) else 0)
        return Done()

    door.site.outcome = hang
    began = time.monotonic()
    assert (await door.order(updateNow="1"))["code"] == "1000"
    assert time.monotonic() - began < 5


async def test_nothing_is_done_when_one_field_is_wrong(door):
    assert await door.order(setServer="h", cmd="2", unlockDoorId="2") == {
        "code": "1002",
        "msg": "参数有误: unlockDoorId",
    }
    assert door.site.done == []


@pytest.mark.parametrize(
    ("outcome", "answer"),
    [
        (Failed("门锁未打开"), {"code": "1007", "msg": "执行控制命令失败: 门锁未打开"}),
        (Partial((2,)), {"code": "1007", "msg": "执行控制命令失败: 空调2"}),
        (Refused("airId"), {"code": "1002", "msg": "参数有误: airId"}),
        (AgentError("cannot reach 1.air"), {"code": "1007", "msg": "执行控制命令失败: 内部错误，见日志"}),
        (ZeroDivisionError("secret"), {"code": "1008", "msg": "未知系统异常"}),
    ],
)
async def test_how_it_ended_is_answered_and_the_first_failure_ends_the_request(door, outcome, answer):
    door.site.ends(outcome)
    assert await door.order(setFrequency="60", cmd="3", airId="0", airOperate="1", updateNow="1") == answer
    await asyncio.sleep(0.05)
    assert door.site.done == [SetFrequency("cabinet", 60), UpdateNow("cabinet")]


async def test_an_order_that_never_ends_is_a_failed_order(store):
    async with opened(store, command_s=0.1) as door:

        async def hang(command: Command) -> Outcome:
            await asyncio.sleep(20)
            return Done()

        door.site.outcome = hang
        assert await door.order(cmd="2", unlockDoorId="1") == {"code": "1007", "msg": "执行控制命令失败: 超时"}


async def test_what_a_query_found_comes_with_the_answer(door):
    door.site.ends(Done({"testResult": "2", "efficiency": "97"}))
    content = body("cabinetControl", time.time(), cmd="10")
    url = f"http://127.0.0.1:{door.control.port}/remotecontrol.do"
    async with door.session.post(url, data=content, headers=signed(content)) as got:
        assert await got.json() == {
            "code": "1000",
            "msg": "成功",
            "batterysTestResult": {"testResult": "2", "efficiency": "97"},
        }


async def test_there_are_no_pictures_yet(door):
    asked = {"cabinetId": "1", "doorOpenTime": "2019-08-28 14:11:01.321"}
    assert await door.order("getCabinetImageVedio", **asked) == {"code": "1009", "msg": "无对应图像/视频"}
    assert (await door.order("getCabinetImageVedio"))["msg"] == "参数有误: doorOpenTime"


async def test_unheard_members_are_logged_and_ignored(door, caplog):
    caplog.set_level("INFO", "gantry_agent")
    assert (await door.order(cmd="2", unlockDoorId="1", operator="\ud800\n"))["code"] == "1000"
    assert "'operator'" in caplog.text


# --- who is let in, in the order of PROTOCOL §4 ---------------------------------------------------------------------


async def test_another_path_is_404_another_verb_405_and_a_large_body_413(store):
    async with opened(store, replace(LOCAL, body_limit_kb=1)) as door:
        base = f"http://127.0.0.1:{door.control.port}"
        for verb, path, size, status in (
            ("POST", "/", 0, 404),
            ("GET", "/monitor.do", 0, 404),
            ("GET", "/remotecontrol.do", 0, 405),
            ("PUT", "/remotecontrol.do", 5000, 405),
            ("POST", "/remotecontrol.do", 1025, 413),
            ("POST", "/remotecontrol.do", 1_000_000, 413),
            ("POST", "/remotecontrol.do", 1024, 200),
        ):
            async with door.session.request(verb, base + path, data=b"x" * size) as answer:
                assert answer.status == status, (verb, path, size)


async def test_a_body_sent_in_chunks_is_bounded_too(store):
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    async with opened(store, replace(LOCAL, body_limit_kb=2)) as door:
        url = f"http://127.0.0.1:{door.control.port}/remotecontrol.do"
        async with door.session.post(url, data=endless()) as answer:
            assert answer.status == 413


async def test_the_signature_is_looked_at_first_then_the_code_then_the_body(door):
    content = b"not json"
    right = signed(content)
    wrong_md5 = {**right, "binfile-md5": "0" * 32}
    wrong_both = {**wrong_md5, "binfile-auth": "x"}
    assert await door.code(content, {}) == "1004"
    assert await door.code(content, wrong_both) == "1004"
    assert await door.code(content, wrong_md5) == "1004"
    assert await door.code(content, {**right, "binfile-auth": "x"}) == "1001"
    assert await door.code(content, {"binfile-md5": right["binfile-md5"].upper()}) == "1001"
    assert await door.code(content, {"binfile-md5": right["binfile-md5"].upper(), "binfile-auth": AUTH}) == "1002"
    assert await door.code(content) == "1002"


@pytest.mark.parametrize(("allow", "code"), [("127.0.0.1", "1000"), ("127.0.0.0/8", "1000"), ("10.0.0.0/8", "1001")])
async def test_only_allowed_addresses_are_served(store, allow, code):
    async with opened(store, replace(LOCAL, allow=("192.0.2.7", allow))) as door:
        assert (await door.order(updateNow="1"))["code"] == code


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 5000 + b"]" * 5000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"gantryId": NaN}',
        b'{"a": 1, "a": 2}',
        b'{"a": ' + b"9" * 10_000 + b"}",
        b"\x00" * 100,
        "门架".encode("gbk"),
        b"\xef\xbb\xbf{}",
        b"\x1f\x8b\x08\x00",
    ],
    ids=short,
)
async def test_no_body_is_a_bug(door, content, caplog):
    assert await door.code(content) == "1002"
    assert "Traceback" not in caplog.text


async def test_a_compressed_body_is_not_unpacked(door):
    content = b"\x1f\x8b\x08\x00" + b"\x00" * 20
    assert await door.code(content, {**signed(content), "Content-Encoding": "gzip"}) == "1002"


async def test_clocks_apart_and_another_version_have_their_codes(door):
    assert await door.code(body(at=time.time() - 400, updateNow="1")) == "1003"
    assert await door.code(body(at=time.time(), updateNow="1").replace(b'"1001"', b'"1002"')) == "1006"


async def test_too_many_requests_are_1005_and_it_is_logged_once(store, caplog):
    async with opened(store, replace(LOCAL, requests_per_minute=5)) as door:
        codes = [(await door.order(setFrequency=str(60 + number)))["code"] for number in range(8)]
        assert codes == ["1000"] * 5 + ["1005"] * 3
        assert len(door.site.done) == 5
    assert caplog.text.count("asks too often") == 1


async def test_guessing_the_code_is_stopped_sooner(door):
    content = body(at=time.time(), updateNow="1")
    wrong = {**signed(content), "binfile-auth": "654321"}
    assert [await door.code(content, wrong) for _ in range(FAILURES_PER_MINUTE)] == ["1001"] * FAILURES_PER_MINUTE
    assert await door.code(content, wrong) == "1005"
    assert await door.code(content) == "1005"


async def test_a_stranger_cannot_push_the_orders_out_of_the_audit(store):
    async with opened(store) as door:
        assert (await door.order(updateNow="1"))["code"] == "1000"
        content = body(at=time.time(), updateNow="1")
        for _ in range(2 * STRANGERS):
            assert await door.code(content, {**signed(content), "binfile-auth": "654321"}) in {"1001", "1005"}
    noted = await store.audit_entries(0.0, time.time() + 60, 10_000)
    assert len(noted) == STRANGERS + 1
    outcomes = [read_kept(one.entry.outcome).en for one in noted]
    assert outcomes[0] == "done"
    assert sum(one.endswith("more requests were not noted") for one in outcomes) == 1


# --- repeats (D6) ---------------------------------------------------------------------------------------------------


async def test_the_same_body_is_answered_again_and_not_done_again(door):
    content = body(at=time.time(), cmd="2", unlockDoorId="1", updateNow="1")
    assert [await door.code(content) for _ in range(3)] == ["1000"] * 3
    await asyncio.sleep(0.05)
    assert door.site.done == [Unlock(1, "front"), UpdateNow("cabinet")]


async def test_a_failure_of_the_hardware_is_repeated_too_but_a_refusal_is_judged_anew(door):
    content = body(at=time.time(), cmd="2", unlockDoorId="1")
    door.site.ends(Failed("门锁未打开"))
    first = await door.post(content)
    door.site.ends(Done())
    assert await door.post(content) == first
    assert len(door.site.done) == 1
    refused = body(at=time.time(), cmd="2", unlockDoorId="2")
    assert [await door.code(refused) for _ in range(2)] == ["1002"] * 2


async def test_repeats_wait_for_the_first_and_all_hear_the_same(door):
    go = asyncio.Event()

    async def slow(command: Command) -> Outcome:
        await go.wait()
        return Failed("门锁未打开")

    door.site.outcome = slow
    content = body(at=time.time(), cmd="2", unlockDoorId="1")
    asked = [asyncio.create_task(door.post(content)) for _ in range(10)]
    await asyncio.sleep(0.2)
    assert not any(task.done() for task in asked)
    go.set()
    answers = await asyncio.gather(*asked)
    assert all(answer == {"code": "1007", "msg": "执行控制命令失败: 门锁未打开"} for answer in answers)
    assert len(door.site.done) == 1


async def test_a_caller_that_hangs_up_does_not_stop_the_order(door):
    content = body(at=time.time(), cmd="2", unlockDoorId="1")
    finished = asyncio.Event()

    async def slow(command: Command) -> Outcome:
        await asyncio.sleep(0.3)
        finished.set()
        return Done()

    door.site.outcome = slow
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await door.post(content)
    async with asyncio.timeout(5):
        await finished.wait()
    assert await door.code(content) == "1000"
    assert len(door.site.done) == 1


async def test_repeats_are_known_after_a_restart(tmp_path):
    content = body(at=time.time(), cmd="2", unlockDoorId="1")
    site = Site()
    for _ in range(2):
        async with Store(tmp_path / "state.db") as store, opened(store, site=site) as door:
            assert await door.code(content) == "1000"
    assert len(site.done) == 1


async def test_an_order_cut_off_by_the_end_of_the_agent_is_not_done_again(tmp_path):
    content = body(at=time.time(), cmd="2", unlockDoorId="1")
    site = Site()
    begun = asyncio.Event()

    async def hang(command: Command) -> Outcome:
        begun.set()
        await asyncio.sleep(60)
        return Done()

    site.outcome = hang
    async with Store(tmp_path / "state.db") as store, opened(store, site=site) as door:
        asked = asyncio.create_task(door.post(content))
        await begun.wait()
    with contextlib.suppress(aiohttp.ClientError, asyncio.CancelledError):
        await asked
    site.ends(Done())
    async with Store(tmp_path / "state.db") as store, opened(store, site=site) as door:
        assert await door.post(content) == {"code": "1007", "msg": "执行控制命令失败: 上次执行被中断"}
    assert len(site.done) == 1


async def test_a_disk_that_takes_nothing_keeps_no_door_shut(tmp_path):
    class Full:
        """A store on a full disk."""

        async def recall(self, md5: str, since: float) -> str | None:
            raise StoreFault("cannot use state.db: disk I/O error")

        async def begin_request(self, entry: Entry, repeat: tuple[str, str] | None, at: float) -> int:
            raise StoreFault("cannot use state.db: database or disk is full")

        async def end_request(self, token: int, entry: Entry, repeat: tuple[str, str] | None, at: float) -> None:
            raise StoreFault("cannot use state.db: database or disk is full")

        async def note_requests(self, entries: Iterable[Entry]) -> None:
            raise StoreFault("cannot use state.db: database or disk is full")

    content = body(at=time.time(), cmd="2", unlockDoorId="1")
    async with opened(Full()) as door:
        assert [await door.code(content) for _ in range(3)] == ["1000"] * 3
        assert door.site.done == [Unlock(1, "front")]


# --- connections ----------------------------------------------------------------------------------------------------


def head(length: int, **headers: str) -> bytes:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(
        ["POST /remotecontrol.do HTTP/1.1", "Host: x", f"Content-Length: {length}", *lines, "", ""]
    ).encode()


async def test_half_a_body_is_given_up(store):
    async with opened(store, body_s=0.3) as door:
        began = time.monotonic()
        assert (await door.raw(head(100) + b"{")).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("whole", "dripped"),
    [
        (b"", b"POST /remotecontrol.do HTTP/1.1\r\nX-Slow: " + b"a" * 2000),
        (b"", b"\r\n" * 1000),
        (head(2000), b"{" * 2000),
    ],
    ids=["head", "blank lines", "body"],
)
async def test_what_comes_byte_by_byte_is_cut_off_as_soon_as_what_does_not_come(store, whole, dripped):
    assert (KEEPALIVE_S, BODY_S) == (5.0, 10.0)
    async with opened(store, keepalive_s=0.5, body_s=0.5) as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.control.port)
        began = time.monotonic()

        async def drip() -> None:
            writer.write(whole)
            for byte in dripped:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        try:
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(8):
                    assert (await reader.read())[:12] in {b"", b"HTTP/1.1 408"}
            assert time.monotonic() - began < LINGER_S + 2
        finally:
            dripping.cancel()
            writer.close()


async def test_half_a_header_and_an_idle_connection_are_closed(store):
    async with opened(store, keepalive_s=0.5) as door:
        assert not await door.raw(b"")
        assert (await door.raw(b"POST /remotecontrol.do HT"))[:12] in {b"", b"HTTP/1.0 400"}


@pytest.mark.parametrize(
    "content",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"POST /remotecontrol.do HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /remotecontrol.do HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /remotecontrol.do HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % number for number in range(200)) + b"\r\n",
    ],
    ids=short,
)
async def test_what_is_not_http_is_a_400_and_the_next_request_is_served(store, content, caplog):
    async with opened(store, keepalive_s=0.5) as door:
        assert (await door.raw(content))[:12] in {b"HTTP/1.1 400", b"HTTP/1.0 400", b""}
        assert (await door.order(updateNow="1"))["code"] == "1000"
    assert "Traceback" not in caplog.text


async def test_a_client_that_dies_in_the_middle_of_its_body_is_no_bug(door, caplog):
    reader, writer = await asyncio.open_connection("127.0.0.1", door.control.port)
    del reader
    writer.write(head(100) + b"{")
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.transport.abort()
    await asyncio.sleep(0.1)
    assert "Traceback" not in caplog.text
    assert (await door.order(updateNow="1"))["code"] == "1000"


async def test_a_client_that_asks_before_it_sends_its_body_is_told_to_go_on(door):
    content = body(at=time.time(), updateNow="1")
    headers = {**signed(content), "Expect": "100-continue"}
    async with door.session.post(
        f"http://127.0.0.1:{door.control.port}/remotecontrol.do", data=content, headers=headers, expect100=True
    ) as answer:
        assert (await answer.json())["code"] == "1000"


async def test_a_port_in_use_is_named(store):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CannotListen, match=f"cannot listen on {listen}: the port is already in use"):
            async with opened(store, replace(LOCAL, listen=listen)):
                pass


@pytest.mark.parametrize("listen", ["3699", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000", "192.0.2.1:3699"])
async def test_an_address_that_cannot_be_is_named(store, listen):
    with pytest.raises(CannotListen, match="cannot listen on"):
        async with opened(store, replace(LOCAL, listen=listen)):
            pass


async def test_the_code_is_never_logged(store, caplog):
    caplog.set_level("DEBUG")
    async with opened(store) as door:
        await door.order(updateNow="1")
        content = json.dumps({"gantryId": GANTRY}).encode()
        await door.code(content, {**signed(content), "binfile-auth": "wrong"})
    assert AUTH not in caplog.text
