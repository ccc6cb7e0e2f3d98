"""What `argparse` says, in the reader's language: usage, headings, and what is wrong with the words typed.

Its own sentences are English unless a catalogue is installed for gettext; here is the table of those that this program
can meet. One that is not in it, as another Python may have, is passed on as it is.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from gantry_agent.faults import suggest
from gantry_agent.text import Language, Text, read_kept

SPAN = re.compile(r"(\d{1,5})([mhd])")
SECONDS = {"m": 60.0, "h": 3600.0, "d": 86_400.0}

_HELP = Text("显示本帮助并退出", "show this help and exit")
_HEADINGS = {"positional arguments": "参数", "options": "选项"}
_SENTENCES: tuple[tuple[str, str], ...] = (
    (r"the following arguments are required: (.*)", "缺少参数：{0}"),
    (r"unrecognized arguments: (.*)", "无法识别的参数：{0}"),
    (r"ambiguous option: (.*) could match (.*)", "选项 {0} 不明确，可能是 {1}"),
    (r"expected one argument", "后面应有一个值"),
    (r"expected at least one argument", "至少应有一个值"),
    (r"expected at most one argument", "最多一个值"),
    (r"expected (\d+) arguments?", "后面应有 {0} 个值"),
    (r"ignored explicit argument (.*)", "不带值，多了 {0}"),
    (r"invalid \w+ value: (.*)", "值 {0} 无效"),
)
_CHOICE = re.compile(r"invalid choice: (.*?) \(choose from (.*)\)")


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that speaks the reader's language; it is to be inherited from, for it has no other seam."""

    def __init__(self, *, language: Language, **more: Any) -> None:
        super().__init__(**more, add_help=False)
        self.language: Language = language
        self.add_argument("-h", "--help", action="help", default=argparse.SUPPRESS, help=_HELP.render(language))
        for group in self._action_groups:
            if language == "zh":
                group.title = _HEADINGS.get(group.title or "", group.title)

    def say(self, zh: str, en: str) -> str:
        return Text(zh, en).render(self.language)

    def format_usage(self) -> str:
        return self._in_language(super().format_usage())

    def format_help(self) -> str:
        return self._in_language(super().format_help())

    def _in_language(self, said: str) -> str:
        return said.replace("usage: ", "用法：", 1) if self.language == "zh" else said

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong, and end with 2."""
        self.print_usage(sys.stderr)
        what = Text("用法有误", "error")
        self.exit(2, f"{self.prog}: {what.render(self.language)}: {told(message).render(self.language)}\n")


def told(message: str) -> Text:
    """Say a sentence of argparse in both languages."""
    if match := re.fullmatch(r"argument ([^:]+): (.*)", message, re.DOTALL):
        inner = told(match[2])
        return Text(f"{match[1]}：{inner.zh}", f"{match[1]}: {inner.en}")
    if match := _CHOICE.fullmatch(message):
        given, valid = match[1].strip("'\""), [one.strip(" '\"") for one in match[2].split(",")]
        tail = suggest(given, valid, most=24)
        return Text(f"没有 {given}{tail.zh}", f"there is no {given}{tail.en}")
    for pattern, zh in _SENTENCES:
        if match := re.fullmatch(pattern, message, re.DOTALL):
            return Text(zh.format(*match.groups()), message)
    return read_kept(message)


def wrong(said: Text) -> argparse.ArgumentTypeError:
    """What a function that reads a value raises when it cannot."""
    return argparse.ArgumentTypeError(said.kept())


def span(text: str) -> float:
    """Read a span of time like 30d, 12h or 90m into seconds."""
    if not (match := SPAN.fullmatch(text)):
        raise wrong(
            Text(
                f"{text} 不是时间长度：应如 30d（天）、12h（小时）、90m（分钟）",
                f"cannot read {text} as a span of time: valid are 30d, 12h, 90m and the like",
            )
        )
    return int(match[1]) * SECONDS[match[2]]


def units(text: str) -> Sequence[int]:
    """Read `1-32` or `7` into its first and last."""
    first, _, last = text.partition("-")
    try:
        return [int(first), int(last or first)]
    except ValueError:
        raise wrong(
            Text(f"{text} 不是地址范围：应如 1-32 或 7", f"cannot read {text} as units: valid are 1-32, 7 and the like")
        ) from None


def count(text: str) -> int:
    """Read a number of things from 1 on."""
    if not text.isascii() or not text.isdecimal() or not int(text):
        raise wrong(
            Text(f"{text} 不是个数：应为 1 以上的整数", f"cannot read {text} as a number: valid are whole ones from 1")
        )
    return int(text)
