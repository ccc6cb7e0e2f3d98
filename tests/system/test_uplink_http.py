"""The uplink against a cloud that follows a script: a real socket server, a real store, short times."""

import asyncio
import contextlib
import hashlib
import itertools
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cloud_site import short

from gantry_agent.cloud.protocol import Fate, Verdict
from gantry_agent.cloud.uplink import Pace, Uplink
from gantry_agent.model import Record
from gantry_agent.store import Store

pytestmark = pytest.mark.system

QUICK = Pace(
    total_s=1.0, connect_s=0.5, read_s=0.5, first_s=0.02, longest_s=0.1, slow_first_s=0.4, slow_longest_s=0.8,
    wake_gap_s=0.02, spacing_s=0.0, hold_s=1.0, idle_s=1.0,
)  # fmt: skip


def http(content: bytes | str, status: str = "200 OK", headers: str = "") -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{headers}\r\n".encode() + content


def code(number: int) -> bytes:
    return http(json.dumps({"code": str(number), "msg": "说明"}, ensure_ascii=False))


HANG, RESET = b"hang", b"reset"
GOOD = code(1000)


class Cloud:
    """Answers each request by the script's next line, then with 1000; notes what came."""

    def __init__(self) -> None:
        self.script: list[bytes] = []
        self.by_body: Callable[[bytes], bytes] | None = None
        self.came: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self.port = 0
        self.connections = 0
        self.close_after: set[int] = set()  # numbers of requests after whose answer the connection dies
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        content = await reader.readexactly(int(headers["content-length"]))
        self.came.append(content)
        self.headers.append(headers)
        self.paths.append(lines[0])
        self.times.append(time.monotonic())
        answer = self.by_body(content) if self.by_body else self.script.pop(0) if self.script else GOOD
        if answer is HANG:
            await asyncio.sleep(20)
        if answer is RESET:
            writer.transport.abort()
            return False
        writer.write(answer)
        await writer.drain()
        return not answer.endswith(b"<cut>") and len(self.came) not in self.close_after

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    cloud = Cloud()
    server = await asyncio.start_server(cloud.serve, "127.0.0.1", 0)
    cloud.port = server.sockets[0].getsockname()[1]
    yield cloud
    server.close()
    await cloud.stop()


class Sending:
    """An uplink at work on a store."""

    def __init__(self, store: Store, uplink: Uplink) -> None:
        self.store, self.uplink = store, uplink
        self.verdicts: list[tuple[int, Verdict]] = []
        self._bodies = itertools.count(1)

    async def put(self, *, urgent: bool = False, cabinet: int = 1) -> int:
        content = b"%d" % next(self._bodies)
        record = await self.store.put(Record("cabinet", cabinet, urgent, 0.0, content))
        self.uplink.wake("cabinet")
        return record.number

    async def until(self, holds: Callable[[], bool], longest_s: float = 15.0) -> None:
        async with asyncio.timeout(longest_s):
            while not holds():
                await asyncio.sleep(0.01)

    async def until_empty(self, longest_s: float = 15.0) -> None:
        async with asyncio.timeout(longest_s):
            while (await self.store.counts()).waiting:
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def sending(
    path: Path, cloud: Cloud, pace: Pace = QUICK, target: Callable[[], str] | None = None
) -> AsyncIterator[Sending]:
    url = target or (lambda: f"http://127.0.0.1:{cloud.port}/monitor.do")
    async with Store(path / "state.db") as store:
        uplink = Uplink(
            store,
            lambda _: url(),
            "s3cret",
            on_verdict=lambda record, verdict: at_work.verdicts.append((record.number, verdict)),
            pace=pace,
        )
        at_work = Sending(store, uplink)
        task = asyncio.create_task(uplink.run("cabinet"))
        try:
            yield at_work
            assert not task.done()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_a_record_is_posted_signed_and_leaves_on_1000(tmp_path, cloud):
    async with sending(tmp_path, cloud) as at:
        await at.put()
        await at.until_empty()
        state = at.uplink.state("cabinet")
    (content,), (headers,) = cloud.came, cloud.headers
    assert cloud.paths == ["POST /monitor.do HTTP/1.1"]
    assert headers["binfile-md5"] == hashlib.md5(content).hexdigest()
    assert headers["binfile-auth"] == "s3cret"
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert (state.connected, state.code, state.failing_since) == (True, "1000", None)
    assert abs((state.delivered_at or 0) - time.time()) < 10


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (code(1005), "1005"),
        (code(1008), "1008"),
        (code(1003), "1003"),
        (code(1007), "1007"),
        (http("busy", "503 Service Unavailable"), "HTTP 503"),
        (http("oops", "500 Internal Server Error"), "HTTP 500"),
        (http("slow down", "429 Too Many Requests"), "HTTP 429"),
        (http("<html>please log in</html>"), "not JSON"),
        (http("", "302 Found", "Location: /elsewhere\r\n"), "HTTP 302"),
        (http("[" * 100_000), "not JSON"),
        (http("x" * 1_000_000), "not JSON"),
        (RESET, "no answer"),
        (HANG, "no answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{<cut>", "no answer"),
        (b"HTTP/1.1 200 OK\r\n<cut>", "no answer"),
        (b"SSH-2.0-x\r\n<cut>", "no answer"),
        (b"<cut>", "no answer"),
    ],
    ids=short,
)
async def test_trouble_keeps_the_record_until_it_passes(tmp_path, cloud, trouble, told, caplog):
    caplog.set_level(logging.INFO, "gantry_agent")
    cloud.script = [trouble, trouble]
    async with sending(tmp_path, cloud) as at:
        await at.put(urgent=True)
        await at.until_empty()
        assert [verdict.code for _, verdict in at.verdicts] == [told, told, "1000"]
        assert set(cloud.paths) == {"POST /monitor.do HTTP/1.1"}
        assert (await at.store.counts()).aside == 0
    assert caplog.text.count("fail: ") == 1
    assert caplog.text.count("work again, after") == 1
    assert "s3cret" not in caplog.text


async def test_no_cloud_at_all_is_said_once_and_waited_out(tmp_path, cloud, caplog):
    caplog.set_level(logging.INFO, "gantry_agent")
    port, cloud.port = cloud.port, 1
    async with sending(tmp_path, cloud) as at:
        await at.put()
        await at.until(lambda: len(at.verdicts) >= 5)
        state = at.uplink.state("cabinet")
        assert (state.connected, state.code) == (False, "no answer")
        assert abs((state.failing_since or 0) - time.time()) < 20
        assert caplog.text.count("fail: ") == 1
        cloud.port = port
        await at.until_empty()
    assert len(cloud.came) == 1


@pytest.mark.parametrize("answer", [code(1002), code(1006), http("", "413 Payload Too Large")], ids=short)
async def test_what_will_never_pass_is_set_aside_and_blocks_nothing(tmp_path, cloud, answer):
    cloud.script = [answer]
    async with sending(tmp_path, cloud) as at:
        await at.put(urgent=True)
        await at.until(lambda: len(cloud.came) == 1)
        await at.put()
        await at.until_empty()
        counts = await at.store.counts()
        assert (counts.aside, counts.lost) == (1, 0)
        assert cloud.came == [b"1", b"2"]
        assert at.verdicts[0][1].fate is Fate.SET_ASIDE


@pytest.mark.parametrize("answer", [code(1001), code(1004)], ids=short)
async def test_a_wrong_configuration_is_tried_slowly_and_alarms_do_not_hurry_it(tmp_path, cloud, answer, caplog):
    cloud.script = [answer]
    async with sending(tmp_path, cloud) as at:
        await at.put()
        await at.until(lambda: len(at.verdicts) == 1)
        for _ in range(5):
            await at.put(urgent=True)
            await asyncio.sleep(0.02)
        assert len(cloud.came) == 1
        await at.until_empty()
    assert cloud.times[1] - cloud.times[0] >= 0.4
    assert caplog.text.count("fail: ") == 1


async def test_a_new_address_ends_even_a_slow_wait(tmp_path, cloud):
    cloud.script = [code(1001)]
    where = ["/old"]
    pace = replace(QUICK, slow_first_s=60.0, slow_longest_s=60.0)
    async with sending(tmp_path, cloud, pace, lambda: f"http://127.0.0.1:{cloud.port}{where[0]}") as at:
        await at.put()
        await at.until(lambda: len(at.verdicts) == 1)
        where[0] = "/new"
        at.uplink.wake("cabinet")
        await at.until_empty(5)
    assert [path.split()[1] for path in cloud.paths] == ["/old", "/new"]


async def test_an_alarm_ends_a_back_off_but_not_more_often_than_the_gap(tmp_path, cloud):
    cloud.by_body = lambda _: code(1005)
    pace = replace(QUICK, first_s=100.0, longest_s=100.0, wake_gap_s=0.3)
    async with sending(tmp_path, cloud, pace) as at:
        for _ in range(45):
            await at.put(urgent=True)
            await asyncio.sleep(0.02)
    assert 2 <= len(cloud.came) <= 6
    assert all(later - earlier >= 0.25 for earlier, later in itertools.pairwise(cloud.times))


async def test_after_an_outage_events_go_first_then_the_newest_status_then_the_rest_paced(tmp_path, cloud):
    pace = replace(QUICK, spacing_s=0.1)
    async with Store(tmp_path / "state.db") as store:
        for number, urgent in enumerate([False, True, False, False, True], start=1):
            await store.put(Record("cabinet", 1, urgent, 0.0, b"%d" % number))
    async with sending(tmp_path, cloud, pace) as at:
        await at.until_empty()
    assert cloud.came == [b"2", b"5", b"4", b"3", b"1"]
    gaps = [later - earlier for earlier, later in itertools.pairwise(cloud.times)]
    assert min(gaps[1:]) >= 0.08


async def test_an_alarm_overtakes_a_backlog_that_is_being_sent(tmp_path, cloud):
    pace = replace(QUICK, spacing_s=0.2)
    async with Store(tmp_path / "state.db") as store:
        for _ in range(20):
            await store.put(Record("cabinet", 1, False, 0.0, b"old"))
    async with sending(tmp_path, cloud, pace) as at:
        await at.until(lambda: len(cloud.came) == 2)
        began = time.monotonic()
        await at.put(urgent=True)
        await at.until(lambda: b"1" in cloud.came)
        assert time.monotonic() - began < 0.2
        assert len(cloud.came) < 5


@pytest.mark.parametrize("answer", [code(1008), http("", "500 x"), code(1007), http("", "400 x")], ids=short)
async def test_a_record_the_cloud_chokes_on_does_not_hold_up_the_others(tmp_path, cloud, answer, caplog):
    cloud.by_body = lambda content: answer if content == b"1" else GOOD
    pace = replace(QUICK, hold_s=60.0)
    async with sending(tmp_path, cloud, pace) as at:
        await at.put(urgent=True)
        await at.until(lambda: len(cloud.came) >= 1)
        for _ in range(5):
            await at.put(urgent=True)
        await at.until(lambda: len(set(cloud.came)) == 6)
        await asyncio.sleep(0.2)
        counts = await at.store.counts()
        assert (counts.waiting, counts.aside) == (1, 0)
        assert cloud.came.count(b"1") < 8
        assert at.uplink.state("cabinet").failing_since is None
    assert caplog.text.count("while others pass") == 1


async def test_an_alarm_caught_in_a_passing_trouble_is_not_held_back_when_it_is_over(tmp_path, cloud):
    cloud.script = [http("", "500 x")] * 3
    pace = replace(QUICK, hold_s=60.0)
    async with sending(tmp_path, cloud, pace) as at:
        await at.put(urgent=True)
        await at.put(urgent=True)
        await at.until_empty(10)


async def test_a_record_too_old_for_the_cloud_is_set_aside_once_a_later_one_has_passed(tmp_path, cloud):
    cloud.by_body = lambda content: code(1003) if int(content) <= 30 else GOOD
    async with Store(tmp_path / "state.db") as store:
        for number in range(1, 33):
            await store.put(Record("cabinet", 1, number % 2 == 1, 0.0, b"%d" % number))
    async with sending(tmp_path, cloud, replace(QUICK, hold_s=60.0)) as at:
        await at.until_empty()
        counts = await at.store.counts()
        assert (counts.aside, counts.lost) == (30, 0)
    assert len(cloud.came) < 40


async def test_a_clock_that_is_off_loses_nothing_and_is_said_loudly(tmp_path, cloud, caplog):
    right = [False]
    cloud.by_body = lambda _: GOOD if right[0] else code(1003)
    async with sending(tmp_path, cloud, replace(QUICK, hold_s=0.5)) as at:
        for _ in range(3):
            await at.put(urgent=True)
        await at.until(lambda: len(cloud.came) >= 8)
        assert (await at.store.counts()).waiting == 3
        right[0] = True
        await at.until_empty()
        assert (await at.store.counts()).aside == 0
    errors = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "1003" in errors[0].getMessage()


async def test_a_kept_connection_that_died_is_replaced_without_a_failure(tmp_path, cloud, caplog):
    caplog.set_level(logging.INFO, "gantry_agent")
    cloud.close_after = {1}
    cloud.script = [GOOD, RESET]
    async with sending(tmp_path, cloud) as at:
        await at.put()
        await at.until_empty()
        await at.put()
        await at.until_empty()
        assert [verdict.code for _, verdict in at.verdicts] == ["1000", "1000"]
    assert "fail" not in caplog.text


async def test_a_connection_is_used_again(tmp_path, cloud):
    async with sending(tmp_path, cloud) as at:
        for _ in range(5):
            await at.put(urgent=True)
        await at.until_empty()
    assert cloud.connections == 1


async def test_a_proxy_of_the_environment_is_not_used(tmp_path, cloud, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1/")
    async with sending(tmp_path, cloud) as at:
        await at.put()
        await at.until_empty()


@pytest.mark.parametrize("url", ["http://", "nonsense", "http://bad host/", "http://no-such-host.invalid/x"])
async def test_an_address_that_cannot_be_reached_is_trouble_and_no_crash(tmp_path, cloud, url):
    where = [url]
    async with sending(tmp_path, cloud, target=lambda: where[0]) as at:
        await at.put()
        await at.until(lambda: len(at.verdicts) >= 2)
        where[0] = f"http://127.0.0.1:{cloud.port}/"
        at.uplink.wake("cabinet")
        await at.until_empty()


async def test_what_was_not_delivered_is_sent_after_a_restart(tmp_path, cloud):
    port, cloud.port = cloud.port, 1
    async with sending(tmp_path, cloud) as at:
        await at.put(urgent=True)
        await at.until(lambda: len(at.verdicts) >= 1)
    cloud.port = port
    async with sending(tmp_path, cloud) as at:
        await at.until_empty()
    assert cloud.came == [b"1"]
