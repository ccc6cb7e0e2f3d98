"""A serial bus: a pseudo-terminal, linked at the port path of the site file.

The link is made beside its place and renamed over it, so that a reader finds the old end or the new one, never none. A
path that is anything but a link is left alone: it may be a real port. A pty carries no line settings: whether the other
side opened it with the right parity cannot be seen here.
"""

import asyncio
import contextlib
import os
import pty
import tty
from pathlib import Path

from hwsim.terminal import of_system
from hwsim.wires.line import Line
from hwsim.wires.listener import WireFault
from hwsim.wires.tasks import Tasks


class SerialWire:
    """One bus of type serial."""

    def __init__(self, port: Path, line: Line) -> None:
        self._port, self._line = port, line
        self._tasks = Tasks()
        self._ends: tuple[int, int] | None = None

    @property
    def place(self) -> str:
        return str(self._port)

    async def plug(self) -> None:
        """Make the pty and link it. The far end is kept open too, so that a reader's leaving does not hang up."""
        if self._port.exists() and not self._port.is_symlink():
            raise WireFault(
                f"无法在 {self._port} 放置伪终端：那里已有文件；请写一个尚不存在的路径",
                f"cannot put a pty at {self._port}: something that is not a link is there",
            )
        near, far = pty.openpty()
        self._ends = near, far
        tty.setraw(far)
        os.set_blocking(near, False)
        self._link(os.ttyname(far))
        asyncio.get_running_loop().add_reader(near, self._receive, near)
        self._tasks.start(self._line.run(self._send))

    async def unplug(self) -> None:
        await self._tasks.cancel()
        if self._ends is None:
            return
        near, far = self._ends
        self._ends = None
        asyncio.get_running_loop().remove_reader(near)
        self._unlink(os.ttyname(far))
        os.close(far)
        os.close(near)

    def _link(self, target: str) -> None:
        beside = self._port.with_name(f".{self._port.name}.{os.getpid()}")
        try:
            self._port.parent.mkdir(parents=True, exist_ok=True)
            beside.unlink(missing_ok=True)
            beside.symlink_to(target)
            beside.replace(self._port)
        except OSError as error:
            why = of_system(error)
            raise WireFault(
                f"无法在 {self._port} 放置伪终端：{why.zh}", f"cannot link a pty at {self._port}: {why.en}"
            ) from error

    def _unlink(self, target: str) -> None:
        with contextlib.suppress(OSError):
            if self._port.readlink() == Path(target):  # somebody else's link since then is left
                self._port.unlink()

    def _receive(self, near: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._line.feed(os.read(near, 4096))

    async def _send(self, data: bytes) -> None:
        """A reader that sleeps fills the pty; what does not fit is lost, as on a line."""
        if self._ends is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._ends[0], data)
