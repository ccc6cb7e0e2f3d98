"""The strict simulated cloud as a server: takes uploads, remembers them, misbehaves when asked, sends commands.

One listener serves the gantry (`/monitor.do`) and whoever steers the simulation (`/uploads`, `/summary`, `/behave`,
`/command`). What an upload must look like is `cloud_rules`, what is remembered of it `cloud_books`, how it is shown
`cloud_view`. Nothing is kept on disk.
"""

import argparse
import asyncio
import base64
import contextlib
import errno
import hashlib
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import aiohttp
from aiohttp import web

from hwsim.cloud_books import FOR_EVER_S, MODES, Behaviour, Books, Upload
from hwsim.cloud_rules import BUSINESS, MESSAGES, Judgement, Rules, judge, message
from hwsim.cloud_view import Shown, line
from hwsim.terminal import Language, Paint, Text, die_with_parent, paint_for, reader_language
from hwsim.usage import LEAVE, Parser, wrong

BODY_LIMIT = 4 * 1024 * 1024  # far above any payload: the cloud shall complain, not the HTTP library
COMMAND_TIMEOUT_S = 30.0


class Cloud:
    """The server's state and its handlers."""

    def __init__(self, rules: Rules, per_minute: int, say: Callable[[Upload], None]) -> None:
        self._rules = rules
        self._per_minute = per_minute
        self._say = say
        self._books = Books()
        self._behaviours: list[Behaviour] = []
        self._news = asyncio.Condition()
        self._session: aiohttp.ClientSession | None = None

    def application(self) -> web.Application:
        app = web.Application(client_max_size=BODY_LIMIT)
        app.add_routes(
            [
                web.post("/monitor.do", self._monitor),
                web.get("/uploads", self._uploads),
                web.get("/summary", self._summary),
                web.post("/behave", self._behave),
                web.post("/command", self._command),
                web.route("*", "/moved.do", self._moved),
            ]
        )
        app.cleanup_ctx.append(self._client)
        return app

    async def _client(self, _app: web.Application) -> AsyncIterator[None]:
        timeout = aiohttp.ClientTimeout(total=COMMAND_TIMEOUT_S)
        # A new connection per command, as a platform that talks to thousands of gantries has.
        connector = aiohttp.TCPConnector(force_close=True, ssl=False)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            self._session = session
            yield

    # --- towards the gantry -----------------------------------------------------------------------------------------

    async def _monitor(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        now = time.time()
        headers = {name.lower(): value for name, value in request.headers.items()}
        judgement = judge(self._rules, headers, body, now)
        if judgement.code == "1000" and self._per_minute and self._books.rate(time.monotonic()) > self._per_minute:
            judgement = replace(judgement, code="1005", message=message("1005"))
        behaviour = self._next_behaviour(judgement.method)
        upload = self._books.enter(judgement, behaviour, body, headers, now)
        self._say(upload)
        async with self._news:
            self._news.notify_all()
        if behaviour is None:
            return _answer(judgement.code, judgement.message)
        return await _misbehave(request, behaviour, judgement)

    def _next_behaviour(self, method: str) -> Behaviour | None:
        for behaviour in self._behaviours:
            if behaviour.method in ("", method):
                if behaviour.left is not None:
                    behaviour.left -= 1
                    if not behaviour.left:
                        self._behaviours.remove(behaviour)
                return behaviour
        return None

    async def _moved(self, _request: web.Request) -> web.StreamResponse:
        self._books.strays += 1
        return _answer("1000", MESSAGES["1000"])

    # --- towards whoever steers the simulation ----------------------------------------------------------------------

    async def _uploads(self, request: web.Request) -> web.StreamResponse:
        """`?since=n`: those after number n. `?wait_s=t`: wait up to t seconds until there is one."""
        try:
            since, wait_s = int(request.query.get("since", "0")), float(request.query.get("wait_s", "0"))
        except ValueError:
            return _json({"error": "cannot read since= or wait_s=: must be numbers"}, status=400)
        if wait_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(wait_s, 60.0)), self._news:
                    await self._news.wait_for(lambda: self._books.count > since)
        return _json([upload.as_json() for upload in self._books.uploads if upload.number > since])

    async def _summary(self, _request: web.Request) -> web.StreamResponse:
        return _json({**self._books.summary(), "behaving": [behaviour.mode for behaviour in self._behaviours]})

    async def _behave(self, request: web.Request) -> web.StreamResponse:
        """`{"mode": …, "count": n | "all", "method": …, "seconds": …, "location": …}`; mode ok: no more of it."""
        order = await _order(request)
        mode, method, count = str(order.get("mode")), order.get("method", ""), order.get("count", "all")
        valid = ("ok", *MODES, *MESSAGES)
        if mode not in valid:
            return _json({"error": f"cannot behave {mode!r}: valid are {', '.join(valid)}"}, status=400)
        if method not in ("", *BUSINESS):
            return _json({"error": f"cannot behave for method {method!r}: valid are {', '.join(BUSINESS)}"}, status=400)
        if count != "all" and not (isinstance(count, int) and count > 0):
            return _json({"error": f'cannot behave for count {count!r}: must be a number from 1, or "all"'}, status=400)
        seconds = order.get("seconds", FOR_EVER_S if mode == "hang" else 3.0)
        if not isinstance(seconds, int | float):
            return _json({"error": f"cannot behave for seconds {seconds!r}: must be a number"}, status=400)
        self._behaviours = [b for b in self._behaviours if method and b.method != method]
        if mode != "ok":
            left = None if count == "all" else count
            self._behaviours.append(Behaviour(mode, left, method, seconds, str(order.get("location", "/moved.do"))))
        return _json({"behaving": [b.mode for b in self._behaviours]})

    async def _command(self, request: web.Request) -> web.StreamResponse:
        """Sign and send one command: `{"target": URL, "method": …, "business": {…}}`; with `bytes` a file comes along.

        For refusals `auth`, `md5`, `gantry`, `version`, `time_stamp`, or the whole `body` may be given otherwise.
        """
        order = await _order(request)
        target, method = order.get("target"), order.get("method")
        if not isinstance(target, str) or not (isinstance(method, str) or "body" in order):
            return _json({"error": "cannot send: target, method and business are needed"}, status=400)
        body, headers = signed(self._rules, order)
        assert self._session is not None
        started = time.monotonic()
        try:
            async with self._session.post(target, data=body, headers=headers, allow_redirects=False) as reply:
                answer = await reply.read()
                result: dict[str, object] = {"status": reply.status, "headers": dict(reply.headers)}
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return _json({"error": f"cannot reach {target}: {error or type(error).__name__}"}, status=502)
        result["elapsed_ms"] = round((time.monotonic() - started) * 1000, 1)
        result["size"] = len(answer)
        result["answer"] = _decoded(answer)
        if order.get("bytes"):
            result["bytes"] = base64.b64encode(answer).decode()
        result["sent"] = body.decode(errors="replace")
        return _json(result)


def signed(rules: Rules, order: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """The body and headers of a command, as the interface has them unless the order says otherwise."""
    method = order.get("method")
    envelope = {
        "gantryId": order.get("gantry", rules.gantry_id or "G000211001002110010"),
        "method": method,
        "timeStamp": order.get("time_stamp", str(int(time.time()))),
        "version": order.get("version", "1001"),
        str(method): order.get("business", {}),
    }
    text = order.get("body")
    body = text.encode() if isinstance(text, str) else json.dumps(envelope, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    for name, value in (
        ("binfile-md5", order.get("md5", hashlib.md5(body).hexdigest())),
        ("binfile-auth", order.get("auth", rules.auth)),
    ):
        if value is not None:
            headers[name] = str(value)
    return body, headers


def _json(value: object, status: int = 200) -> web.Response:
    # A lone surrogate in what a gantry sent stays an escape; everything else is readable in a terminal.
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", errors="backslashreplace")
    return web.Response(body=body, status=status, content_type="application/json", charset="utf-8")


def _answer(code: str, text: str) -> web.Response:
    return _json({"code": code, "msg": text})


def _decoded(answer: bytes) -> object:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


async def _order(request: web.Request) -> dict[str, Any]:
    try:
        order = json.loads(await request.read())
    except (ValueError, RecursionError):
        order = None
    if not isinstance(order, dict):
        raise web.HTTPBadRequest(text="cannot read the order: the body must be a JSON object\n")
    return order


async def _misbehave(request: web.Request, behaviour: Behaviour, judgement: Judgement) -> web.StreamResponse:
    if behaviour.mode in MESSAGES:
        return _answer(behaviour.mode, message(behaviour.mode))
    if behaviour.mode.isdigit():
        return web.Response(
            status=int(behaviour.mode), text="<html><body>error</body></html>", content_type="text/html"
        )
    whole: dict[str, Callable[[], web.Response]] = {
        "html": lambda: web.Response(text="<html><body>请登录 / Please log in</body></html>", content_type="text/html"),
        "redirect": lambda: web.Response(status=302, headers={"Location": behaviour.location}),
        "empty": web.Response,
    }
    if behaviour.mode in whole:
        return whole[behaviour.mode]()
    if behaviour.mode in ("hang", "slow"):
        await asyncio.sleep(behaviour.seconds)
    transport = request.transport
    if behaviour.mode == "slow" or transport is None:
        return _answer(judgement.code, judgement.message)
    if behaviour.mode == "half":
        transport.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n{"code":"10')
        transport.close()
    else:
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST instead of FIN
        transport.abort()
    return web.Response()  # goes nowhere: the connection is gone


# --- the command line -----------------------------------------------------------------------------------------------


def host_and_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise wrong(
            f"{text} 应为 主机:端口，如 127.0.0.1:18080",
            f"cannot listen on {text!r}: must be HOST:PORT, such as 127.0.0.1:18080",
        )
    return host.strip("[]"), int(port)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise wrong(
            f"没有时区 {name}：如 Asia/Shanghai", f"cannot find the time zone {name!r}: try Asia/Shanghai"
        ) from error


def add_arguments(parser: Parser) -> None:
    say = parser.say
    seconds, name = say("秒", "S"), say("名称", "NAME")
    said = say("监听地址（默认 127.0.0.1:18080）", "where it listens (default: 127.0.0.1:18080)")
    listen = say("主机:端口", "HOST:PORT")
    parser.add_argument("--listen", type=host_and_port, default=("127.0.0.1", 18080), metavar=listen, help=said)
    said = say("鉴权码（默认 123456）", "the agreed code (default: 123456)")
    parser.add_argument("--auth", default="123456", metavar=say("鉴权码", "CODE"), help=said)
    said = say("只接收这个门架的上传", "take uploads of this gantry only")
    parser.add_argument("--gantry", metavar=say("门架编号", "ID"), help=said)
    said = say("时区（默认 Asia/Shanghai）", "time zone (default: Asia/Shanghai)")
    parser.add_argument("--timezone", type=_zone, default=ZoneInfo("Asia/Shanghai"), metavar=name, help=said)
    said = say("允许的时间差（默认 300）", "how far its clock may be off (default: 300)")
    parser.add_argument("--clock-tolerance-s", type=float, default=300.0, metavar=seconds, help=said)
    said = say("接受多旧的数据（补传，默认 300）", "take data this old (retransmission; default: 300)")
    parser.add_argument("--oldest-s", type=float, default=300.0, metavar=seconds, help=said)
    said = say("每分钟超过此数回答 1005（默认不限）", "above it, code 1005 (default: no limit)")
    parser.add_argument("--per-minute", type=int, default=0, metavar="N", help=said)
    parser.add_argument("--die-with-parent", action="store_true", help=LEAVE.render(parser.language))


def main(args: argparse.Namespace) -> int:
    if args.die_with_parent:
        die_with_parent()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    rules = Rules(args.auth, args.gantry, args.timezone, args.clock_tolerance_s, args.oldest_s)
    return asyncio.run(_serve(rules, args.per_minute, args.listen))


def _speaker(language: Language, paint: Paint) -> Callable[[Upload], None]:
    def say(upload: Upload) -> None:
        shown = Shown(
            at=datetime.fromtimestamp(upload.received, UTC).astimezone(),  # this machine's time, as in everybody's log
            method=upload.judgement.method,
            cabinet=upload.judgement.cabinet,
            code=upload.code,
            behaviour=upload.behaviour,
            duplicate=upload.duplicate,
            changes=upload.changes,
            complaints=upload.judgement.complaints,
        )
        print(line(shown, language, paint), flush=True)

    return say


async def _serve(rules: Rules, per_minute: int, listen: tuple[str, int]) -> int:
    language, paint = reader_language(os.environ), paint_for(sys.stdout, os.environ)
    cloud = Cloud(rules, per_minute, _speaker(language, paint))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(cloud.application(), access_log=None, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    try:
        return await _listen(runner, listen, stop, language)
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, listen: tuple[str, int], stop: asyncio.Event, language: Language) -> int:
    host, port = listen
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        zh = "端口已被占用" if taken else os.strerror(error.errno or 0)
        en = "the port is taken" if taken else os.strerror(error.errno or 0)
        text = Text(
            f"云平台模拟器无法监听 {host}:{port}：{zh}。请用 --listen 换一个端口。",
            f"cannot listen on {host}:{port} for the simulated cloud: {en}. Give another port by --listen.",
        )
        print(text.render(language), file=sys.stderr)
        return 1
    address = runner.addresses[0]
    print(f"cloud ready http://{address[0]}:{address[1]}/monitor.do", flush=True)
    await stop.wait()
    return 0
