"""What people read, in the two languages they read it in.

A `Text` is written once, at the place that knows what to say, with both languages side by side, and rendered where a
person reads it (command line, page). Words of the interface itself are not texts: they go on the wire as the source has
them. Logs are English.
"""

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Language = Literal["zh", "en"]


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence for people, in Chinese and in English."""

    zh: str
    en: str

    def render(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en

    def kept(self) -> str:
        """Both languages in one string, for a record that is one string: English, and Chinese in the line below."""
        en, zh = (" ".join(said.split("\n")) for said in (self.en, self.zh))
        return en if en == zh else f"{en}\n{zh}"

    def both(self) -> dict[str, str]:
        """Both languages for JSON, to be rendered by whoever reads it."""
        return {"zh": self.zh, "en": self.en}


def read_kept(said: str) -> Text:
    """The inverse of `Text.kept`; what was kept in one language is that in both."""
    en, _, zh = said.partition("\n")
    return Text(zh or en, en)


def joined(texts: Iterable[Text], zh: str = "；", en: str = "; ") -> Text:
    """Several in a row."""
    said = tuple(texts)
    return Text(zh.join(one.zh for one in said), en.join(one.en for one in said))


_ERRNO: Mapping[int, str] = MappingProxyType(
    {
        errno.ENOENT: "没有这个文件",
        errno.EACCES: "权限不足",
        errno.EPERM: "权限不足",
        errno.EEXIST: "已经存在",
        errno.EISDIR: "是文件夹",
        errno.ENOTDIR: "上级不是文件夹",
        errno.ENOTTY: "不是串口",
        errno.ENODEV: "没有这个设备",
        errno.ENXIO: "没有这个设备",
        errno.EIO: "读写错误",
        errno.EBUSY: "正被占用",
        errno.EAGAIN: "正被占用",
        errno.ENOSPC: "磁盘已满",
        errno.EROFS: "只读",
        errno.ECONNREFUSED: "拒绝连接",
        errno.ECONNRESET: "连接被断开",
        errno.EHOSTUNREACH: "主机不可达",
        errno.ENETUNREACH: "网络不可达",
        errno.ETIMEDOUT: "超时",
        errno.EADDRINUSE: "端口已被占用",
        errno.EADDRNOTAVAIL: "本机没有这个地址",
    }
)


def of_system(error: OSError) -> Text:
    """Say what the operating system complains of, without the file; what has no Chinese is said in English."""
    said = error.strerror or str(error) or type(error).__name__
    return Text(_ERRNO.get(error.errno or 0, said), said)


def reader_language(environ: Mapping[str, str]) -> Language:
    """Tell which language the person at this terminal reads, by the POSIX order of the locale variables."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environ.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"
