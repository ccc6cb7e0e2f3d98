"""What the simulator's commands share towards the person at the terminal: language, colours, and ending with a parent.

A `Text` is one sentence in Chinese and English, rendered where it is read. `Paint` colours it where a terminal shows
colours. The agent has a module like this one; the two are written twice on purpose, since simulator and agent share
nothing. Nothing here knows of clouds, devices or sites.
"""

import ctypes
import errno
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, Literal

Language = Literal["zh", "en"]

PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence for people, in Chinese and in English."""

    zh: str
    en: str

    def render(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en


class Complaint(Exception):
    """What keeps a command from being carried out, for the person who gave it; without `en` it is the same in both."""

    def __init__(self, zh: str, en: str = "") -> None:
        super().__init__(en or zh)
        self.text = Text(zh, en or zh)


_ERRNO: Mapping[int, str] = MappingProxyType(
    {
        errno.EADDRINUSE: "端口已被占用",
        errno.EADDRNOTAVAIL: "本机没有这个地址（请写 127.0.0.1）",
        errno.EACCES: "权限不足（1024 以下的端口需要 root；请用 1023 以上的端口）",
        errno.ENOENT: "没有这个文件",
        errno.ENOTDIR: "上级不是文件夹",
        errno.EISDIR: "是文件夹",
        errno.EROFS: "只读",
    }
)
_HINTS: Mapping[int, str] = MappingProxyType(
    {
        errno.EADDRNOTAVAIL: " (write 127.0.0.1)",
        errno.EACCES: " (ports below 1024 are for root: take one above 1023)",
    }
)


def of_system(error: OSError) -> Text:
    """Say what the operating system complains of, and what to do where that is known."""
    said = error.strerror or str(error) or type(error).__name__
    return Text(_ERRNO.get(error.errno or 0, said), said)


def not_listening(host: str, port: int, error: OSError) -> Text:
    """Say that an address cannot be listened on, and what to do."""
    why, hint = of_system(error), _HINTS.get(error.errno or 0, "")
    return Text(
        f"无法监听 {host}:{port}：{why.zh}",
        f"cannot listen on {host}:{port}: {why.en}{hint}",
    )


def reader_language(environ: Mapping[str, str]) -> Language:
    """Tell which language the person at this terminal reads, by the POSIX order of the locale variables."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environ.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours, or the plain text where nobody would see them."""

    on: bool

    def green(self, text: str) -> str:
        return self._paint("32", text)

    def red(self, text: str) -> str:
        return self._paint("1;31", text)

    def yellow(self, text: str) -> str:
        return self._paint("33", text)

    def cyan(self, text: str) -> str:
        return self._paint("36", text)

    def magenta(self, text: str) -> str:
        return self._paint("35", text)

    def grey(self, text: str) -> str:
        return self._paint("90", text)

    def bold(self, text: str) -> str:
        return self._paint("1", text)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on else text


def paint_for(stream: IO[str], environ: Mapping[str, str]) -> Paint:
    """Colour only what a person sees: a terminal, or a relay that says so (FORCE_COLOR), and no NO_COLOR."""
    return Paint(bool(stream.isatty() or environ.get("FORCE_COLOR")) and not environ.get("NO_COLOR"))


def die_with_parent() -> None:
    """Have the kernel send SIGTERM to this process when the one that started it is gone, however it went (Linux)."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it went between the two lines above
        os.kill(os.getpid(), signal.SIGTERM)
