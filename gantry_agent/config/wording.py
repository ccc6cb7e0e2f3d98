"""The words for every mismatch of shape that pydantic can find, by its kind; and for what a Chinese keyboard puts in.

What the table does not know is passed on in pydantic's own words, so nothing is ever hidden. Where a mismatch stands,
and which are told, is `shape`'s.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, get_args

from pydantic_core import ErrorDetails

from gantry_agent.config.schema import AnyBus, AnyComputer
from gantry_agent.faults import suggest
from gantry_agent.text import Text

SECRETS = frozenset({"auth", "password", "auth_key", "priv_key", "community", "write_community", "user", "proxy"})
_PATTERNS: Mapping[str, Text] = {
    "id": Text(
        "门架编号应为 1–20 位大写字母和数字，以字母开头，例如 G000211001002110010",
        "a gantry id is 1 to 20 capital letters and digits, a letter first, like G000211001002110010",
    ),
    "auth": Text("应为一行 1–128 个字符", "valid: 1 to 128 characters in one line"),
    "server": Text("应为网址，例如 https://192.168.1.1/monitor.do", "valid: a URL like https://192.168.1.1/monitor.do"),
    "proxy": Text(
        "应为 http://主机:端口，或 environment（使用环境变量中的代理）",
        "valid: http://host:port, or environment to use the environment's proxy",
    ),
    "listen": Text("应为 地址:端口，例如 0.0.0.0:3699", "valid: address:port, like 0.0.0.0:3699"),
    "text": Text("应为 1–40 个字符，不含半角逗号", "must be 1 to 40 characters without a comma"),
    "host": Text("应为 IP 地址或主机名", "valid: an IP address or a host name"),
    "port": Text("串口应以 / 开头，例如 /dev/ttyS1", "a serial port begins with /, like /dev/ttyS1"),
    "snapshot": Text(
        "应为 http://… 或 https://… 网址，不含账号口令（写在 user 与 password 中）；路径中的 @ 写作 %40",
        "valid: http://… or https://…, the login not in it but in user and password; an @ in a path as %40",
    ),
    "stream": Text(
        "应为 rtsp://… 或 http://…（MJPEG）网址，不含账号口令（写在 user 与 password 中）；路径中的 @ 写作 %40",
        "valid: rtsp://… or http://… (MJPEG), the login not in it but in user and password; an @ in a path as %40",
    ),
    "user": Text("应为 1–128 个字符，不含冒号", "valid: 1 to 128 characters without a colon"),
    "password": Text("应为一行 1–128 个字符", "valid: 1 to 128 characters in one line"),
    "object": Text(
        '应为动环监控单元中的对象编号，写在引号内，例如 "1101"；gantry-agent identify 总线名 可列出',
        'valid: the object\'s number in the site unit, in quotes, like "1101"; gantry-agent identify BUS lists them',
    ),
    "path": Text("应为以 / 开头的路径", "a path must begin with /, like /var/lib/gantry-agent"),
}
_SAID_OF_NUMBERS = ("id", "server", "proxy", "listen", "host", "port", "path", "object")  # quotes alone would not do


def typed_wide(error: ErrorDetails) -> Text | None:
    """What a Chinese keyboard puts in the way: a colon that is none, full-width letters and digits."""
    value = error["input"]
    if not isinstance(value, str) or error["loc"][-1] in SECRETS:
        return None
    if error["type"] in {"model_type", "dict_type"} and (name := re.match(r"([A-Za-z_]\w*)\s*[:：]", value)):
        return after_colon(name[1])
    narrow = unicodedata.normalize("NFKC", value)
    if narrow != value and narrow.isascii():
        return Text(f"有全角字符，请改为半角：{narrow}", f"it has full-width characters; type {narrow}")
    return None


def after_colon(name: str) -> Text:
    return Text(
        f"{name} 后应为半角冒号和一个空格：“{name}: …”", f"after {name} a colon and a blank are wanted: '{name}: …'"
    )


def discriminator(error: ErrorDetails) -> str:
    return str(error.get("ctx", {}).get("discriminator", "")).strip("'")


def as_pydantic_says(error: ErrorDetails) -> Text:
    return Text(error["msg"], error["msg"])


def _pattern(error: ErrorDetails) -> Text:
    known = _PATTERNS.get(str(error["loc"][-1]))
    pattern = error.get("ctx", {}).get("pattern", "")
    return known or Text(f"格式不符（{pattern}）", f"it does not have the form {pattern}")


def _text_wanted(error: ErrorDetails) -> Text:
    name = str(error["loc"][-1])
    return _PATTERNS[name] if name in _SAID_OF_NUMBERS else _QUOTED


def _choice(error: ErrorDetails) -> Text:
    """Name the valid words, and the one that was probably meant."""
    context = error.get("ctx", {})
    given = str(context.get("tag", error["input"]))
    expected = str(context.get("expected_tags", context.get("expected", "")))
    valid = [text or number for text, number in re.findall(r"'([^']+)'|(\d+)", expected)]
    if given in valid:
        unquoted = isinstance(error["input"], str)
        return Text(
            f"应写 {given}，{'不加' if unquoted else '加'}引号",
            f"write {given} {'without' if unquoted else 'in'} quotes",
        )
    tail = suggest(given, valid)
    return Text(_or(tail.zh.removeprefix("；"), " 或 "), _or(tail.en.removeprefix("; "), " or "))


def _feeds(error: ErrorDetails) -> Text:
    """Say what an output may feed; who writes something else may mean a device, or a number without its place."""
    given = error["input"]
    words = ("agent", "airConditioners", "uplink")
    near = suggest(given, words).en if isinstance(given, str) else ""
    meant = found[1] if (found := re.search(r"did you mean (\w+)\?", near)) else ""
    return Text(
        (f"是否想写 {meant}？" if meant else "")
        + "可用：uplink（上行网络）、agent（本机）、airConditioners（本机柜的每台空调）或"
        " {airConditioners: [1]}（按编号，同 airId）",
        (f"did you mean {meant}? " if meant else "")
        + "valid: uplink (the way to the cloud), agent (this PC), airConditioners (every one of this cabinet) or "
        "{airConditioners: [1]} (by their numbers, those of airId)",
    )


def _or(words: str, word: str) -> str:
    head, _, last = words.rpartition(", ")
    return f"{head}{word}{last}" if head else last


_LISTS: Mapping[str, str] = {
    "cabinets": "- id: 1",
    "computers": "- {id: 1, monitor: true, source: local}",
    "relays": "- {ip: 192.168.1.31, port: 502, output: router}",
    "alarms": "- {point: thermohygrometer.temperature, above: 45, clear: 42, text: 柜内温度过高}",
}


def _tags(union: Any, name: str) -> str:
    """The words by which a tagged union tells its parts apart."""
    return ", ".join(sorted(get_args(model.model_fields[name].annotation)[0] for model in get_args(get_args(union)[0])))


_TAGS: Mapping[str, str] = {"type": _tags(AnyBus, "type"), "source": _tags(AnyComputer, "source")}


def _list(error: ErrorDetails) -> Text:
    name, numbers = str(error["loc"][-1]), isinstance(error["input"], int)
    if name in _LISTS:
        return Text(
            f"应为列表，每项以 - 开头，例如 {_LISTS[name]}", f"must be a list, each item after a -, like {_LISTS[name]}"
        )
    example = "[1, 2]" if numbers else "[a, b]"
    return Text(f"应为列表，例如 {example}", f"must be a list, like {example}")


def _missing(error: ErrorDetails) -> Text:
    name = str(error["loc"][-1])
    known = None if name == "port" and "serial" not in error["loc"] else _PATTERNS.get(name)  # elsewhere a number
    tail = Text(f"；{known.zh}", f"; {known.en}") if known else Text("", "")
    return Text(f"缺少必填项{tail.zh}", f"is required and missing{tail.en}")


def _no_tag(error: ErrorDetails) -> Text:
    name = discriminator(error)
    valid = _TAGS.get(name, "")
    return Text(f"缺少 {name}；可用：{valid}", f"has no {name}; valid: {valid}")


def _context(zh: str, en: str, key: str) -> Callable[[ErrorDetails], Text]:
    def say(error: ErrorDetails) -> Text:
        value = error.get("ctx", {}).get(key)
        shown = f"{value:g}" if isinstance(value, float) else value
        return Text(zh.format(shown), en.format(shown))

    return say


def _always(zh: str, en: str) -> Callable[[ErrorDetails], Text]:
    return lambda _: Text(zh, en)


_QUOTED = Text('应为文字；数字请加引号，例如 "654321"', 'must be text; put quotes around digits, like "654321"')
_PART = _always("应由“键: 值”组成", "must consist of keys with values")

MESSAGES: Mapping[str, Callable[[ErrorDetails], Text]] = {
    "missing": _missing,
    "string_type": _text_wanted,
    "int_type": _always("应为整数，不加引号", "must be a whole number without quotes"),
    "int_from_float": _always("应为整数", "must be a whole number"),
    "float_type": _always("应为数字，不加引号", "must be a number without quotes"),
    "bool_type": _always("应为 true 或 false", "must be true or false"),
    "scalar_type": _always("应为数字或文字", "must be a number or text"),
    "list_type": _list,
    "dict_type": _PART,
    "model_type": _PART,
    "model_attributes_type": _PART,
    "finite_number": _always("应为有限的数字", "must be a finite number"),
    "greater_than_equal": _context("不得小于 {}", "must be at least {}", "ge"),
    "less_than_equal": _context("不得大于 {}", "must be at most {}", "le"),
    "greater_than": _context("必须大于 {}", "must be greater than {}", "gt"),
    "feeds_form": _feeds,
    "literal_error": _choice,
    "union_tag_invalid": _choice,
    "host_address": _context("{} 不是 IP 地址", "{} is no IP address", "host"),
    "host_with_port": _context("端口请单独写成 port: {}", "give the port by itself, port: {}", "port"),
    "port_range": _context("端口 {} 应在 1–65535", "port {} must be from 1 to 65535", "port"),
    "value_error": _pattern,
    "union_tag_not_found": _no_tag,
    "string_pattern_mismatch": _pattern,
    "string_too_short": _context("至少 {} 个字符", "must have at least {} characters", "min_length"),
    "string_too_long": _context("最多 {} 个字符", "must have at most {} characters", "max_length"),
}
