"""A serial port on the event loop: opened and set up by pyserial, read by `add_reader`, never blocking.

Opening and closing may wait in the kernel (a port whose output cannot drain holds `close` up to 30 s), so both run in
a thread, opening with a timeout. The port is locked against a second opener. It knows nothing of frames or turns.
"""

import asyncio
import errno
import os
import termios
from collections.abc import Callable, Mapping
from contextlib import suppress

import serial

from gantry_agent.field.bus.journal import number_setting, text_setting
from gantry_agent.model import BusDown, Value
from gantry_agent.text import Text, of_system

OPEN_S = 5.0
READ_SIZE = 4096


class Tty:
    """One open port; made by `open_tty`."""

    def __init__(self, port: serial.Serial, on_bytes: Callable[[bytes], None], on_lost: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._port = port
        self._descriptor = port.fileno()
        self._on_bytes = on_bytes
        self._on_lost = on_lost
        self._closing: asyncio.Future[None] | None = None
        self._resting: asyncio.TimerHandle | None = None
        self.lost = False
        self._loop.add_reader(self._descriptor, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(f"port lost: {error}")
            return
        if data:
            self._on_bytes(data)
        else:  # readable and empty: hung up
            self._lose("port lost: it hung up")

    def write(self, data: bytes) -> None:
        """Send a frame; a port that does not take it whole is given up."""
        try:
            written = os.write(self._descriptor, data)
        except OSError as error:
            self._lose(f"port takes nothing: {error}")
            return
        if written < len(data):
            self._lose(f"port took {written} of {len(data)} bytes")

    def rest(self, seconds: float) -> None:
        """Look again after this long: bytes still on the wire need not wake the loop one by one."""
        if self._resting is None and not self.lost:
            self._loop.remove_reader(self._descriptor)
            self._resting = self._loop.call_later(seconds, self._wake)

    def _wake(self) -> None:
        self._resting = None
        self._loop.add_reader(self._descriptor, self._read)

    def _lose(self, why: str) -> None:
        if not self.lost:
            self.abort()
            self._on_lost(why)

    def abort(self) -> None:
        """Give the port up at once, closing it behind the scenes; `on_lost` is not called."""
        self.lost = True
        if self._closing is None:
            self._loop.remove_reader(self._descriptor)
            if self._resting is not None:
                self._resting.cancel()
            self._closing = self._loop.run_in_executor(None, _shut, self._port)

    async def close(self) -> None:
        """Give the port up and wait until it is closed."""
        self.abort()
        assert self._closing is not None
        await asyncio.shield(self._closing)


async def open_tty(
    settings: Mapping[str, Value | None], on_bytes: Callable[[bytes], None], on_lost: Callable[[str], None]
) -> Tty:
    """Open the port of a `serial` bus; raises BusDown."""
    path = text_setting(settings, "port")
    opening = asyncio.get_running_loop().run_in_executor(None, _open, path, settings)
    try:
        async with asyncio.timeout(OPEN_S):
            port = await asyncio.shield(opening)
    except TimeoutError as error:
        opening.add_done_callback(_abandon)
        raise BusDown(
            Text(f"无法打开 {path}：{OPEN_S:g} 秒内没有完成", f"cannot open {path}: not done within {OPEN_S:g} s")
        ) from error
    except asyncio.CancelledError:
        opening.add_done_callback(_abandon)
        raise
    except (OSError, termios.error, ValueError) as error:  # ValueError: settings the driver does not have
        why = _reason(error)
        raise BusDown(Text(f"无法打开 {path}：{why.zh}", f"cannot open {path}: {why.en}")) from error
    return Tty(port, on_bytes, on_lost)


def _open(path: str, settings: Mapping[str, Value | None]) -> serial.Serial:
    port = serial.Serial(
        path,
        baudrate=int(number_setting(settings, "baudrate", 9600)),
        bytesize=int(number_setting(settings, "bytesize", 8)),
        parity=text_setting(settings, "parity", "N"),
        stopbits=number_setting(settings, "stopbits", 1),
        timeout=0,
        exclusive=True,
    )
    # FTDI adapters keep an answer back for 16 ms unless asked not to; other drivers do not know the request.
    with suppress(OSError, ValueError, NotImplementedError):
        port.set_low_latency_mode(True)
    return port


def _reason(error: OSError | termios.error | ValueError) -> Text:
    """Say it once: pyserial puts the kernel's whole sentence behind its own."""
    match getattr(error, "errno", None):
        case errno.EACCES | errno.EPERM as number:
            return Text("权限不足（用户在 dialout 组中吗？）", f"{os.strerror(number)} (is the user in group dialout?)")
        case errno.EAGAIN | errno.EBUSY:
            return Text("另一个程序已打开并锁定它", "another program has it open and locked")
        case int() as number if number > 0:
            return of_system(OSError(number, os.strerror(number)))
    return Text(str(error), str(error))


def _shut(port: serial.Serial) -> None:
    with suppress(OSError, termios.error):  # unplugged
        port.reset_output_buffer()  # otherwise close waits for it to drain
    with suppress(OSError, termios.error):
        port.close()


def _abandon(opening: asyncio.Future[serial.Serial]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        _shut(opening.result())
