"""The demo's child processes: started, heard, waited for, and ended by their own id.

Every line a part says is relayed with the part's name and kept in the demo's folder. The parts are in a session of
their own, so that Ctrl-C reaches the demo alone and the demo ends them in order; should the demo itself be killed, the
kernel ends them.
"""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hwsim.terminal import Text, die_with_parent

STOP_S = 5.0
LINES_KEPT = 15
LINE_LIMIT = 1 << 20


class PartFailed(Exception):
    """A part ended or did not get ready; the text says which and what it said last."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text


@dataclass(slots=True)
class Part:
    """One child process and what it said."""

    name: Text
    process: asyncio.subprocess.Process
    log: Path
    last: deque[str] = field(default_factory=lambda: deque(maxlen=LINES_KEPT))
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    listeners: list[asyncio.Task[None]] = field(default_factory=list)

    async def wait_ready(self, within_s: float) -> None:
        """Wait for its ready line. Raises PartFailed when the part ends first or is too slow."""
        waits = [asyncio.create_task(self.ready.wait()), asyncio.create_task(self.process.wait())]
        try:
            await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        if not self.ready.is_set():
            await asyncio.wait(self.listeners, timeout=0.5)  # its last words
            raise self.failure()

    async def wait_end(self) -> PartFailed:
        """Wait until it ends, which no part should do by itself."""
        await self.process.wait()
        await asyncio.wait(self.listeners, timeout=0.5)
        return self.failure()

    def failure(self) -> PartFailed:
        said = "".join(f"\n    {line}" for line in self.last)
        code = self.process.returncode
        how = Text("没有就绪", "did not get ready") if code is None else Text(f"已退出（{code}）", f"ended ({code})")
        return PartFailed(
            Text(f"{self.name.zh}{how.zh}，最后的输出：{said}", f"{self.name.en} {how.en}; it said last:{said}")
        )

    async def stop(self) -> None:
        """Ask it to end, wait, then end it."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), STOP_S)
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        for task in self.listeners:
            task.cancel()
        await asyncio.gather(*self.listeners, return_exceptions=True)


async def start(
    name: Text, words: Sequence[str], log: Path, ready: str, show: Callable[[Text, str], None], *, colour: bool
) -> Part:
    """Start `python -m <words>`; `ready` is how the line begins that says it is."""
    # TMPDIR: the SNMP library keeps a cache in it; what the demo writes stays in the demo's folder.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", "TMPDIR": str(log.parent)}
    if colour:
        environment["FORCE_COLOR"] = "1"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        start_new_session=True,
        preexec_fn=die_with_parent,
        limit=LINE_LIMIT,
    )
    part = Part(name, process, log)
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        part.listeners.append(asyncio.create_task(_listen(part, stream, ready, show), name=f"listening to {name.en}"))
    return part


async def _listen(part: Part, stream: asyncio.StreamReader, ready: str, show: Callable[[Text, str], None]) -> None:
    with part.log.open("a", encoding="utf-8") as log:
        while raw := await stream.readline():
            line = raw.decode(errors="replace").rstrip("\n")
            log.write(f"{line}\n")
            log.flush()
            part.last.append(line)
            show(part.name, line)
            if line.startswith(ready):
                part.ready.set()
