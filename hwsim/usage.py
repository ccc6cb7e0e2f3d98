"""What `argparse` says, in the reader's language; the agent has a module like this one, written twice on purpose."""

import argparse
import re
import sys
from typing import Any, NoReturn

from hwsim.terminal import Language, Text

LEAVE = Text("启动它的进程结束时一并停止", "stop when the process that started this one is gone")
_HELP = Text("显示本帮助并退出", "show this help and exit")
_HEADINGS = {"positional arguments": "参数", "options": "选项"}
_SENTENCES: tuple[tuple[str, str], ...] = (
    (r"the following arguments are required: (.*)", "缺少参数：{0}"),
    (r"unrecognized arguments: (.*)", "无法识别的参数：{0}"),
    (r"ambiguous option: (.*) could match (.*)", "选项 {0} 不明确，可能是 {1}"),
    (r"expected one argument", "后面应有一个值"),
    (r"ignored explicit argument (.*)", "不带值，多了 {0}"),
    (r"invalid \w+ value: (.*)", "值 {0} 无效"),
    (r"invalid choice: (.*?) \(choose from (.*)\)", "没有 {0}；可用：{1}"),
)


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
        what = Text("用法有误", "error").render(self.language)
        self.exit(2, f"{self.prog}: {what}: {told(message).render(self.language)}\n")


def told(message: str) -> Text:
    """Say a sentence of argparse in both languages; of one that `wrong` made, the Chinese is in its second line."""
    if match := re.fullmatch(r"argument ([^:]+): (.*)", message, re.DOTALL):
        inner = told(match[2])
        return Text(f"{match[1]}：{inner.zh}", f"{match[1]}: {inner.en}")
    for pattern, zh in _SENTENCES:
        if match := re.fullmatch(pattern, message, re.DOTALL):
            return Text(zh.format(*(one.replace("'", "") for one in match.groups())), message)
    en, _, zh = message.partition("\n")
    return Text(zh or en, en)


def wrong(zh: str, en: str) -> argparse.ArgumentTypeError:
    """What a function that reads a value raises when it cannot."""
    return argparse.ArgumentTypeError(f"{en}\n{zh}")
