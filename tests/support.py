"""What the system tests share: real processes on free loopback ports, waited for and ended by pid."""

import contextlib
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
AUTH = "roadside-7"
GANTRY = "G000211001002110010"


def free_ports(count: int, kind: int = socket.SOCK_STREAM) -> list[int]:
    """Ask the kernel for ports that nobody uses, all different."""
    sockets = [socket.socket(socket.AF_INET, kind) for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


class Process:
    """A child with its output at hand; ended at the latest by `stop`."""

    def __init__(self, *command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
        environ = os.environ | {"PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8", "MIBS": ""} | (env or {})
        self._child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd or ROOT, env=environ
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._child.stdout
        for line in self._child.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, within_s: float = 30.0) -> str:
        """Return the first line that matches, or fail with all that was said."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if re.search(pattern, line):
                    return line
            if self._child.poll() is not None:
                self._reader.join(1)
                if not any(re.search(pattern, line) for line in self.lines):
                    raise AssertionError(f"ended with {self._child.returncode} before {pattern!r}:\n{self.output}")
            time.sleep(0.02)
        raise AssertionError(f"did not say {pattern!r} within {within_s} s:\n{self.output}")

    def wait(self, within_s: float = 30.0) -> int:
        code = self._child.wait(within_s)
        self._reader.join(2)
        return code

    def kill(self) -> None:
        self._child.kill()
        self._child.wait(10)
        self._reader.join(2)
        if self._child.stdout:
            self._child.stdout.close()

    def stop(self, within_s: float = 15.0) -> int:
        """SIGTERM, wait, and only then SIGKILL; return the exit code."""
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(within_s)
            except subprocess.TimeoutExpired:
                self.kill()
        self._reader.join(2)
        if self._child.stdout:
            self._child.stdout.close()
        return self._child.returncode


@contextlib.contextmanager
def running(*command: str, ready: str, within_s: float = 40.0, **options: Any) -> Iterator[Process]:
    """Start a program and wait for the line that says it is ready; end it on leaving."""
    process = Process(*command, **options)
    try:
        process.wait_for(ready, within_s)
        yield process
    finally:
        process.stop()


def python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *arguments)


def english_sentences(said: str) -> list[str]:
    """Find what a reader of Chinese was told in English: three words in a row. Names, keys and examples are none."""
    lines = [line for line in said.splitlines() if not re.match(r"\s*gantry-agent command |\S+ +#", line)]
    return re.findall(r"(?<![\w./{-])[A-Za-z]?[a-z]+(?: [a-z]{2,}){2,}(?![\w./=_-])", "\n".join(lines))


def eventually(check: Callable[[], Any], within_s: float = 15.0, what: str = "") -> Any:
    """Return the first true answer of `check`."""
    deadline = time.monotonic() + within_s
    while True:
        if answer := check():
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what or check}")
        time.sleep(0.05)


def ask(url: str, body: object = None, method: str | None = None, within_s: float = 20.0) -> Any:
    """Speak JSON with one of the simulators."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=within_s) as answer:
        return json.load(answer)


def order(
    port: int, method: str, business: dict[str, Any], *, auth: str = AUTH, md5: str | None = None, **envelope: Any
) -> dict[str, str]:
    """Send one signed command to an agent's control port and return its answer."""
    document = {
        "gantryId": GANTRY,
        "method": method,
        "timeStamp": str(int(time.time())),
        "version": "1001",
        method: business,
    } | envelope
    body = json.dumps(document, ensure_ascii=False).encode()
    return send(port, body, auth=auth, md5=md5)


def send(port: int, body: bytes, *, auth: str = AUTH, md5: str | None = None) -> dict[str, str]:
    headers = {"binfile-md5": md5 or hashlib.md5(body).hexdigest(), "binfile-auth": auth}
    headers["Content-Type"] = "application/json"
    request = urllib.request.Request(f"http://127.0.0.1:{port}/remotecontrol.do", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=40) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as e:
        return {"http": str(e.code)}
