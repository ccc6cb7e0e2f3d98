"""The local door: a Unix socket on which a technician's commands ask the running daemon.

`probe`, `scan`, `doctor` and `command` go through it while the daemon runs, so that two never fight for a port. One
question a connection, one JSON object in a line; the answer is a line per step and a last one with `end` or `error`.
Who may ask is the file's mode, owner and group; `who` did is told with the question, by the kernel's word. What is
asked means nothing here; the answers come from a function that is given.
"""

import asyncio
import contextlib
import json
import logging
import os
import pwd
import socket
import stat
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gantry_agent.model import AgentError
from gantry_agent.text import Text

log = logging.getLogger(__name__)

NAME = "agent.sock"
MODE = 0o660
MOST_CLIENTS = 4  # people, not programs
LINE_BYTES = 1024 * 1024  # of the longest step: the latest frames of a bus
QUESTION_S = 5.0
DRAIN_S = 10.0
ANSWER_S = 1800.0  # a thorough scan of a slow line
CONNECT_S = 3.0
STEP_S = 120.0  # a client waits this long for the next step

Answers = Callable[[Mapping[str, Any]], AsyncIterator[Mapping[str, Any]]]


BUSY = Text("已有其他人在询问，请稍后再试", "cannot answer: others are asking already")
UNREADABLE = Text("无法读懂问题", "cannot read the question: an object is wanted")


class NobodyHome(AgentError):
    """No daemon answers at this socket."""


class DoorFault(AgentError):
    """The door cannot be used, or the daemon could not answer."""


class Door:
    """Serves questions at one path until cancelled."""

    def __init__(self, path: Path, answers: Answers) -> None:
        self._path = path
        self._answers = answers
        self._clients: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Listen until cancelled. Raises DoorFault when the socket cannot be had."""
        if await _somebody_listens(self._path):
            raise DoorFault(
                Text(
                    f"无法监听 {self._path}：另一个 gantry-agent 正在使用",
                    f"cannot listen at {self._path}: another gantry-agent does",
                )
            )
        try:
            with _short(self._path) as address:
                self._path.unlink(missing_ok=True)
                server = await asyncio.start_unix_server(self._accept, address, limit=LINE_BYTES)
                self._path.chmod(MODE)
        except OSError as error:
            raise DoorFault(f"cannot listen at {self._path}: {error}") from error
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            for task in tuple(self._clients):
                task.cancel()
            await asyncio.gather(*self._clients, return_exceptions=True)
            self._path.unlink(missing_ok=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MOST_CLIENTS:
            writer.write(_line({"error": BUSY.both()}))
            writer.close()
            return
        task = asyncio.create_task(self._serve(reader, writer), name="door client")
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(QUESTION_S):
                question = json.loads(await reader.readline())
            if not isinstance(question, Mapping):
                await _send(writer, {"error": UNREADABLE.both()})
                return
            question = {**question, "who": _peer(writer)}
            gone = asyncio.create_task(reader.read(1), name="door client leaves")
            answering = asyncio.create_task(self._answer(question, writer), name="door answer")
            try:
                await asyncio.wait((gone, answering), timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
                answering.cancel()
                _, outcome = await asyncio.gather(gone, answering, return_exceptions=True)
            if isinstance(outcome, Exception) and not isinstance(
                outcome, OSError
            ):  # a bug of ours; the client sees us go
                log.error("cannot answer %r at the door", question.get("ask"), exc_info=outcome)  # no card numbers
        except (OSError, ValueError, RecursionError) as error:  # TimeoutError is an OSError
            log.debug("cannot serve a question at the door: %s", error)
        finally:
            writer.close()

    async def _answer(self, question: Mapping[str, Any], writer: asyncio.StreamWriter) -> None:
        last: Mapping[str, Any] = {"end": True}
        try:
            async with contextlib.aclosing(self._answers(question)) as steps:  # type: ignore[type-var]
                async for step in steps:
                    await _send(writer, step)
        except AgentError as error:
            last = {"error": error.text.both()}
        await _send(writer, last)


def user(uid: int) -> str:
    """The name of a local user, for the audit."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _peer(writer: asyncio.StreamWriter) -> str:
    """Name the local user at the other end, as the kernel tells it."""
    connection = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return user(uid)


async def _send(writer: asyncio.StreamWriter, step: Mapping[str, Any]) -> None:
    writer.write(_line(step))
    async with asyncio.timeout(DRAIN_S):
        await writer.drain()


def _line(step: Mapping[str, Any]) -> bytes:
    return json.dumps(step, ensure_ascii=False).encode() + b"\n"


async def _somebody_listens(path: Path) -> bool:
    try:
        _, writer = await _connect(path)
    except NobodyHome:
        return False
    writer.close()
    return True


async def _connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116 - a local file
            raise DoorFault(Text(f"{path} 不是套接字", f"cannot ask at {path}: it is no socket"))
        with _short(path) as address:
            async with asyncio.timeout(CONNECT_S):
                return await asyncio.open_unix_connection(address, limit=LINE_BYTES)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NobodyHome(
            Text(f"{path} 处没有运行中的 gantry-agent", f"cannot ask at {path}: no gantry-agent runs there")
        ) from error
    except PermissionError as error:
        raise DoorFault(
            Text(
                f"无权询问 {path} 处的 gantry-agent：只有 root 和其属组成员可以；请加 sudo",
                f"cannot ask the gantry-agent at {path}: only root and members of its group may; try sudo",
            )
        ) from error
    except OSError as error:
        raise DoorFault(
            Text(
                f"无法询问 {path} 处运行中的 gantry-agent：{error.strerror or error}",
                f"cannot ask the running gantry-agent at {path}: {error}",
            )
        ) from error


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give an address of the socket that the kernel takes: it has 108 bytes for it, folders are often longer."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def ask(path: Path, question: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    """Ask the daemon at `path` and give its steps. Raises NobodyHome or DoorFault."""
    reader, writer = await _connect(path)
    try:
        if (size := len(asked := _line(question))) > LINE_BYTES:
            raise DoorFault(
                Text(
                    f"问题太长：{size} 字节，最多 {LINE_BYTES}",
                    f"cannot ask a question of {size} bytes; {LINE_BYTES} are valid",
                )
            )
        writer.write(asked)
        while True:
            async with asyncio.timeout(STEP_S):
                line = await reader.readline()
            if not line.endswith(b"\n"):
                raise DoorFault(
                    Text(
                        "回答没有说完：gantry-agent 已退出",
                        "cannot get the rest of the answer: the gantry-agent went away",
                    )
                )
            step = json.loads(line)
            if "error" in step and len(step) == 1:
                raise DoorFault(Text(step["error"]["zh"], step["error"]["en"]))
            if step == {"end": True}:
                return
            yield step
    except (OSError, ValueError) as error:
        raise DoorFault(
            Text(
                f"没有得到 {path} 处 gantry-agent 的回答：{error or type(error).__name__}",
                f"cannot get an answer from the gantry-agent at {path}: {error or type(error).__name__}",
            )
        ) from error
    finally:
        writer.close()
