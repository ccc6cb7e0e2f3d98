"""The links to a ZTE site unit over HTTP on loopback: what is asked and how, and everything a server can do wrong.

The far end is scripted: a question that comes → the raw bytes that are sent. Answers are written out.
"""

import asyncio
import base64
import contextlib
import gzip
import itertools
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from gantry_agent.field.bus import Link, open_link
from gantry_agent.field.framing import shengjiu
from gantry_agent.field.request import AskLock, ListObjects, ReadAlarms, ReadObject, ReadRegisters, Timing
from gantry_agent.model import BadReply, Bus, BusDown, NoReply

pytestmark = pytest.mark.system
T = Timing(3.0, 0.0)
CLIMATE = ReadObject(1, "1101")
QUERY, UNLOCK = AskLock(1, 1, 0x0016), AskLock(1, 1, 0x0005)
STATE = b"\1" + bytes.fromhex("60c1e9d6") + bytes(9)
ANSWER = shengjiu.encode(1, 1, 0x0016, STATE)
GOOD = {"118201001": "27.7"}
VALUES = b'{"jsonrpc":"2.0","id":"1","result":[{"Id":"118201001","Value":"27.7"}]}'

Script = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


class Far:
    """A server that answers each question with what the script says, and keeps what it was asked."""

    def __init__(self, script: Script) -> None:
        self.script, self.asked = script, list[bytes]()
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            self.asked.append(head + (await reader.readexactly(int(length[1])) if length else b""))
            await self.script(self.asked[-1], writer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()


def says(*answers: bytes) -> Script:
    """Each answer once, the last for ever."""
    left = list(answers)

    async def script(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return script


@contextlib.asynccontextmanager
async def far_end(script: Script, kind: str = "zte-http", **settings: Any) -> AsyncIterator[tuple[Link, Far]]:
    far, tasks = Far(script), set[asyncio.Task[None]]()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(far.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = open_link(Bus("zte", kind, {"host": "127.0.0.1", "port": port, "gap_ms": 0, **settings}))  # type: ignore[arg-type]
    try:
        yield link, far
    finally:
        await link.close()
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# --- objects


async def test_an_object_is_asked_by_get_on_a_connection_of_its_own():
    async with far_end(says(http(VALUES))) as (link, far):
        assert await link.transact(CLIMATE, T) == GOOD
        assert await link.transact(CLIMATE, T) == GOOD
        assert far.asked[0].startswith(b"GET /jscmd/objdataquery?objId=1101&mId=0 HTTP/1.1\r\n")
        assert far.connections == 2
        assert link.journal.statistics[1].ok == 2
        assert [frame.direction for frame in link.journal.frames] == ["sent", "received"] * 2
        assert link.journal.frames[1].data == VALUES


async def test_202_is_an_answer_as_well():
    async with far_end(says(http(VALUES, "202 Accepted"))) as (link, _):
        assert await link.transact(CLIMATE, T) == GOOD


async def test_the_unit_is_left_alone_for_the_gap_whatever_came_of_it():
    loop, times = asyncio.get_running_loop(), list[float]()

    async def script(_: bytes, writer: asyncio.StreamWriter) -> None:
        times.append(loop.time())
        writer.write(http(b"", "500 Oops") if len(times) == 1 else http(VALUES))

    async with far_end(script, gap_ms=150) as (link, _):
        with pytest.raises(BadReply):
            await link.transact(CLIMATE, T)
        assert 0.0 < link.held_s(CLIMATE) <= 0.15
        await asyncio.gather(link.transact(CLIMATE, T), link.transact(ListObjects(1), T), return_exceptions=True)
        assert all(after - before >= 0.145 for before, after in itertools.pairwise(times)), times
        assert len(times) == 3


async def test_one_list_of_alarms_is_for_all_objects_once():
    async with far_end(says(http(b'{"result":[{"DeviceId":"7"}]}'), http(b'{"result":[]}'))) as (link, far):
        assert [await link.transact(ReadAlarms(unit), T) for unit in (1, 2, 3)] == [{"7": 1}] * 3
        assert len(far.asked) == 1
        assert link.held_s(ReadAlarms(4)) == 0.0
        assert await link.transact(ReadAlarms(2), T) == {}, "who has had it asks anew"
        assert await link.transact(ReadAlarms(1), T) == {}
        assert len(far.asked) == 2
        await asyncio.sleep(1.05)
        assert await link.transact(ReadAlarms(3), T) == {}
        assert len(far.asked) == 3, "it was too old"


async def test_a_list_of_alarms_that_could_not_be_had_is_nobodys():
    async with far_end(says(http(b'{"result":[{"DeviceId":"7"}]}'), http(b"", "500 Oops"))) as (link, _):
        assert await link.transact(ReadAlarms(1), T) == {"7": 1}
        for _ in range(2):
            with pytest.raises(BadReply):
                await link.transact(ReadAlarms(1), T)


# --- the login


async def test_the_password_goes_over_the_wire_as_a_digest_and_stands_nowhere():
    async def script(asked: bytes, writer: asyncio.StreamWriter) -> None:
        known = b"authorization: digest" in asked.lower()
        challenge = 'WWW-Authenticate: Digest realm="FSU", qop="auth", nonce="abc", algorithm=MD5'
        writer.write(http(VALUES) if known else http(b"", "401 Unauthorized", challenge))

    async with far_end(script, user="admin", password="geheim-7") as (link, far):
        assert await link.transact(CLIMATE, T) == GOOD
        assert await link.transact(CLIMATE, T) == GOOD
        assert len(far.asked) == 3, "the second question needs no challenge"
        assert b'username="admin"' in far.asked[1]
        assert not any(b"geheim-7" in one for one in far.asked)
        assert not any(b"geheim-7" in one.data or b"Digest" in one.data for one in link.journal.frames)


@pytest.mark.parametrize(("login", "said"), [({}, "wants a"), ({"user": "admin", "password": "geheim-7"}, "does not")])
async def test_a_login_that_is_missing_or_wrong_is_told_and_not_tried_on_and_on(login: dict[str, str], said: str):
    challenge = 'WWW-Authenticate: Digest realm="FSU", qop="auth", nonce="abc", algorithm=MD5'
    async with far_end(says(http(b"", "401 Unauthorized", challenge)), **login) as (link, far):
        with pytest.raises(BusDown, match=rf"it {said} .*\(401\)") as caught:
            await link.transact(CLIMATE, T)
        assert "geheim-7" not in str(caught.value)
        asked = len(far.asked)
        with pytest.raises(BusDown, match=r"401.*next attempt in 0\.\d s"):
            await link.transact(CLIMATE, T)
        assert len(far.asked) == asked <= 2
        assert 1 not in link.journal.statistics or link.journal.statistics[1].timeouts == 0, (
            "it says nothing of the object"
        )


# --- servers that do what they should not


async def hang(_: bytes, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def drip(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for byte in VALUES * 10:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


async def flood(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
    for _ in range(160):
        writer.write(b"[" * 65536)
        await writer.drain()


async def headers(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for k in range(20_000):
        writer.write(b"X-%d: %s\r\n" % (k, b"y" * 100))
        await writer.drain()


async def informed(_: bytes, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.001)


WRONG: dict[str, Script] = {
    "hang": hang,
    "drip": drip,
    "flood": flood,
    "headers": headers,
    "informed": informed,
    "closed": says(b""),
    "html": says(http(b"<html><form>login</form></html>", "200 OK", "Content-Type: text/html")),
    "half": says(http(VALUES)[:-20]),
    "half that is said to be all": says(http(VALUES[:-20])),
    "half a header": says(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "no http": says(b"\x7e\x01\x00\x02" * 50),
    "error": says(http(VALUES, "500 Internal Server Error")),
    "missing": says(http(VALUES, "404 Not Found")),
    "nothing": says(http(b"", "204 No Content")),
    "deep": says(http(b"[" * 200_000)),
    "zipped": says(http(gzip.compress(VALUES), "200 OK", "Content-Encoding: gzip")),
    "chunks": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + VALUES),
    "lengths": says(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + VALUES),
    "challenge": says(http(b"", "401 Unauthorized", "WWW-Authenticate: Digest qop=,,,nonce")),
    "object lost": says(http(b'{"result":[]}')),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_server_that_goes_wrong_gives_no_value_and_keeps_nobody(name: str):
    wrong, mended = WRONG[name], False

    async def script(asked: bytes, writer: asyncio.StreamWriter) -> None:
        await (says(http(VALUES)) if mended else wrong)(asked, writer)

    loop = asyncio.get_running_loop()
    async with far_end(script, user="admin", password="geheim-7") as (link, _):
        began = loop.time()
        with pytest.raises((NoReply, BadReply)) as caught:
            await link.transact(CLIMATE, Timing(0.5, 0.0))
        assert loop.time() - began < 3.0
        assert "geheim-7" not in str(caught.value)
        mended = True
        if isinstance(caught.value, BusDown):
            await asyncio.sleep(0.6)
        assert await link.transact(CLIMATE, T) == GOOD


async def test_an_answer_may_be_so_long_and_no_longer():
    """Blanks around JSON mean nothing, so only its length is wrong with it."""
    async with far_end(says(http(b" " * 200_000 + VALUES), http(b" " * 10_000_000 + VALUES))) as (link, _):
        assert await link.transact(CLIMATE, T) == GOOD
        with pytest.raises(BadReply, match=r"longer than 262144 bytes"):
            await link.transact(CLIMATE, Timing(10.0, 0.0))


async def test_a_redirect_is_not_followed():
    async with far_end(says(http(VALUES))) as (_, elsewhere), far_end(says(b"")) as (link, far):
        port = elsewhere_port(_)
        far.script = says(http(b"", "302 Found", f"Location: http://127.0.0.1:{port}/jscmd/objs"))
        with pytest.raises(BadReply, match=r"302, which sends elsewhere and is not followed"):
            await link.transact(CLIMATE, T)
        assert elsewhere.asked == []


def elsewhere_port(link: Link) -> int:
    return link._turns._server._place.port  # type: ignore[attr-defined]


async def test_the_environments_proxy_does_not_count(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with far_end(says(http(VALUES))) as (link, _):
        assert await link.transact(CLIMATE, T) == GOOD


# --- nobody there


async def test_nobody_listens_and_a_name_that_nobody_knows():
    link = open_link(Bus("zte", "zte-http", {"host": "127.0.0.1", "port": 9}))
    with pytest.raises(BusDown, match=r"cannot reach 127\.0\.0\.1:9: ") as caught:
        await link.transact(CLIMATE, T)
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(BusDown, match=r"next attempt in"):
        await link.transact(CLIMATE, T)
    await link.close()
    link = open_link(Bus("zte", "zte-http", {"host": "no-such-host.invalid"}))
    with pytest.raises(BusDown, match=r"cannot reach no-such-host\.invalid:80"):
        await link.transact(CLIMATE, Timing(5.0, 0.0))
    await link.close()


async def test_a_closed_link_lets_nobody_wait():
    async with far_end(hang) as (link, far):
        waiting = asyncio.create_task(link.transact(CLIMATE, Timing(20.0, 0.0)))
        while not far.asked:
            await asyncio.sleep(0.005)
        await link.close()
        with pytest.raises(NoReply, match=r"bus closed"):
            await waiting
        with pytest.raises(NoReply, match=r"bus closed"):
            await link.transact(CLIMATE, T)


async def test_who_gives_up_waiting_is_let_go():
    async with far_end(hang) as (link, far):
        waiting = asyncio.create_task(link.transact(CLIMATE, Timing(20.0, 0.0)))
        while not far.asked:
            await asyncio.sleep(0.005)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        far.script = says(http(VALUES))
        assert await link.transact(CLIMATE, T) == GOOD


async def test_what_is_not_for_a_site_unit_is_a_fault_of_the_caller():
    async with far_end(says(http(VALUES))) as (link, _):
        with pytest.raises(TypeError, match=r"not for a ZTE site unit"):
            await link.transact(ReadRegisters(1, 3, 0, 1), T)


# --- the tunnel


def through(*said: bytes) -> Script:
    return says(*(http(json.dumps({"result": {"data": base64.b64encode(one).decode()}}).encode()) for one in said))


async def test_a_lock_is_asked_through_the_tunnel():
    async with far_end(through(ANSWER), "zte-serial", **{"object 1": "1801"}) as (link, far):
        assert await link.transact(QUERY, T) == ANSWER
        head, _, body = far.asked[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /jscmd/serialsend HTTP/1.1\r\n")
        assert json.loads(body)["params"] == {"objid": "1801", "data": "fgEBAAAAAgAW4yV+fg==", "endchar": ""}
        assert link.journal.statistics[1].ok == 1


async def test_what_stands_around_an_answer_is_passed_over():
    event, echo = shengjiu.encode(1, 1, 0x00A5, STATE), bytes.fromhex("7E0101000000020016E3257E7E")
    async with far_end(through(event + ANSWER, echo + ANSWER + b"\0"), "zte-serial", **{"object 1": "1801"}) as (
        link,
        _,
    ):
        assert await link.transact(QUERY, T) == ANSWER
        assert await link.transact(QUERY, T) == ANSWER


async def test_silence_obeys_a_command_and_answers_no_question():
    async with far_end(through(b""), "zte-serial", **{"object 1": "1801"}) as (link, _):
        assert await link.transact(UNLOCK, T) == ()
        with pytest.raises(NoReply, match=r"unit 1 on zte: it said nothing"):
            await link.transact(QUERY, T)


async def test_a_broken_or_foreign_answer_is_not_believed():
    foreign = shengjiu.encode(2, 2, 0x0016, STATE)
    async with far_end(
        through(ANSWER[:10] + b"\0" + ANSWER[11:], ANSWER[:-5], foreign), "zte-serial", **{"object 1": "1801"}
    ) as (link, _):
        for _ in range(3):
            with pytest.raises(BadReply, match=r"cannot use the answer of unit 1 on zte"):
                await link.transact(QUERY, T)


@pytest.mark.parametrize("body", [b"<html>", b'{"error":{"code":1}}', b'{"result":{"data":"@@"}}', b'{"result":[]}'])
async def test_a_unit_that_did_not_send_it_on_is_no_silence(body: bytes):
    """Were it taken for the silence of the lock, a command would count as obeyed."""
    async with far_end(says(http(body)), "zte-serial", **{"object 1": "1801"}) as (link, _):
        with pytest.raises(BadReply):
            await link.transact(UNLOCK, T)


async def test_a_unit_of_the_line_that_no_object_stands_for_is_a_fault_of_the_caller():
    async with far_end(through(ANSWER), "zte-serial", **{"object 1": "1801"}) as (link, far):
        with pytest.raises(ValueError, match=r"unit 2 has no object"):
            await link.transact(AskLock(2, 2, 0x0016), T)
        with pytest.raises(TypeError, match=r"nothing that is spoken on a line"):
            await link.transact(CLIMATE, T)
        assert far.asked == []
