"""For tests of the ledger: a light site, a cloud that only counts, and a writer that is meant to be killed."""

import contextlib
import hashlib
import json
import socket
import threading
import time
import weakref
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from support import AUTH, GANTRY, Process, python

LIGHT_SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: {interval}, {more}}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 60000, clock_tolerance_s: 86400}}
storage: {{path: {folder}/state}}
computers:
  - {{id: 1, monitor: true, source: local, data_disk: /, nic: lo, link_mbps: 1000}}
cabinets:
  - {{id: 1}}
"""


def light_site(
    folder: Path, cloud: int, control: int, interval: int = 10, more: str = "backlog_per_minute: 6000"
) -> Path:
    """A site whose only hardware is this host: its agent is ready within a second or two."""
    path = folder / "site.yaml"
    text = LIGHT_SITE.format(
        gantry=GANTRY, auth=AUTH, folder=folder, cloud=cloud, control=control, interval=interval, more=more
    )
    path.write_text(text, encoding="utf-8")
    return path


def hold(port: int) -> socket.socket:
    """Keep a port from others while nobody listens on it; whoever listens meanwhile must set SO_REUSEADDR too."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", port))
    return holder


class CountingCloud:
    """Takes every upload with 1000 while it is up, and counts bodies; its port stays its own while it is down."""

    def __init__(self, port: int) -> None:
        self.port = port
        weakref.finalize(self, hold(port).close)
        self.bodies: Counter[str] = Counter()
        self.came: list[tuple[float, str, dict]] = []
        self._server: ThreadingHTTPServer | None = None
        self._sockets: list[socket.socket] = []

    def up(self) -> None:
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet: two would wait for each other's acknowledgement

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                cloud.bodies[hashlib.md5(body).hexdigest()] += 1
                document = json.loads(body)
                cloud.came.append((time.monotonic(), document.get("method", ""), document))
                answer = b'{"code":"1000","msg":""}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                self.wfile.flush()

            def log_message(self, *_: object) -> None:
                pass

        sockets = self._sockets

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

            def process_request(self, request, client_address) -> None:
                sockets.append(request)
                super().process_request(request, client_address)

            def handle_error(self, *_: object) -> None:
                pass  # the other end was killed

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            for each in self._sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            self._sockets.clear()

    def of(self, method: str) -> list[tuple[float, str, dict]]:
        return [each for each in self.came if each[1] == method]

    @property
    def doubled(self) -> int:
        return sum(count - 1 for count in self.bodies.values())


class Link:
    """A way to the cloud that can be cut, as a context manager: it refuses then, or swallows all that is sent."""

    def __init__(self, port: int) -> None:
        self.port, self.target = port, 0
        weakref.finalize(self, hold(port).close)
        self._listener: socket.socket | None = None
        self._swallows = False
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._swallows = False
        self.down()

    def up(self) -> None:
        if self._swallows:
            self.down()  # what was swallowed never arrives
        self._swallows = False
        self._listen()

    def down(self, *, swallow: bool = False) -> None:
        self._swallows = swallow
        if swallow:
            return  # connections stay, and nothing goes through
        if self._listener:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # or the thread that waits on it would keep it listening
            self._listener.close()
            self._listener = None
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._sockets.clear()

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                self._sockets.append(near)
                if self._swallows:
                    continue
                far = socket.create_connection(("127.0.0.1", self.target), 5)
                far.settimeout(None)
                self._sockets.append(far)
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                if not self._swallows:
                    other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)


def agent(site: Path, **env: str) -> Process:
    process = Process(*python("gantry_agent", "run", "-c", str(site)), env=env)
    process.wait_for("ready: gantry")
    return process


def ask_books(site: Path, *what: str) -> tuple[int, str]:
    """`gantry-agent outbox …` and its exit code."""
    process = Process(*python("gantry_agent", "outbox", *what, "-c", str(site)))
    code = process.wait(30)
    process.stop()
    return code, process.output


# Accepts records as fast as it can and uploads them; says each number once it is accepted, with the MD5 of the body.
WRITER = """
import asyncio, hashlib, itertools, json, logging, os, sys
from pathlib import Path
from gantry_agent.cloud.uplink import Pace, Uplink
from gantry_agent.model import Record
from gantry_agent.store import Bounds, Store

async def main(path, url, count):
    logging.disable()
    async with Store(Path(path), bounds=Bounds(records=10**6, size=10**10)) as store:
        pace = Pace(spacing_s=0.0, first_s=0.05, longest_s=0.1, knock_s=0.05)
        uplink = Uplink(store, lambda _: url, "123456", pace=pace)
        sending = asyncio.create_task(uplink.run("cabinet"))
        for n in itertools.count() if count < 0 else range(count):
            body = json.dumps({"pid": os.getpid(), "n": n, "fill": "x" * 2000}).encode()
            await store.put(Record("cabinet", n % 2 + 1, n % 5 == 0, float(n), body))
            print(hashlib.md5(body).hexdigest(), flush=True)
            uplink.wake("cabinet")
            await asyncio.sleep(0.002)
        while (await store.counts()).waiting:
            await asyncio.sleep(0.02)
        counts = await store.counts()
        print("drained", counts.unaccounted, counts.lost, counts.accepted, flush=True)
        sending.cancel()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""
