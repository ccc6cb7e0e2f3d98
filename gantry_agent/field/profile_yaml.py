"""YAML with the line and column of every value: what profile files are read by.

`Entries` is one mapping of a file. Its verbs give out values of the wanted kind and write down a fault where there is
none; `finish` complains of keys that nobody asked for. Nothing is raised before the whole file was read, so a verb that
found a fault goes on with a stand-in. Nothing here knows what a profile is.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from gantry_agent.faults import Fault, read_document, suggest
from gantry_agent.model import Value
from gantry_agent.text import Text

Spot = tuple[int, int]  # line and column from 0


@dataclass(slots=True)
class Faults:
    """The faults found so far in one file."""

    path: str
    found: list[Fault] = field(default_factory=list)

    def add(self, spot: Spot, zh: str, en: str) -> None:
        self.found.append(Fault(self.path, spot[0] + 1, spot[1] + 1, Text(zh=zh, en=en)))


def open_yaml(path: Path, faults: Faults) -> "Entries":
    """Read a file whose top is a mapping. Raises ConfigFault if it is not."""
    return Entries(read_document(path).root, (0, 0), "", faults)


def _plain(value: Any) -> Any:
    """Strip ruamel's own number types, which remember how they were written."""
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


class Entries:
    """One mapping of the file."""

    def __init__(self, node: CommentedMap, spot: Spot, path: str, faults: Faults) -> None:
        self._node = node
        self._spot = spot
        self._path = path
        self._faults = faults
        self._asked: set[str] = set()
        self._known: set[str] = set()  # keys that could stand here

    def keys(self) -> tuple[str, ...]:
        return tuple(str(key) for key in self._node)

    def has(self, key: str) -> bool:
        self._known.add(key)
        return key in self._node

    def spot(self, key: str) -> Spot:
        try:
            line, column = self._node.lc.key(key)
        except (KeyError, AttributeError, TypeError):
            return self._spot
        return line, column

    def complain(self, key: str, zh: str, en: str) -> None:
        path = f"{self._path}.{key}".strip(".")
        self._faults.add(self.spot(key), zh=f"{path}：{zh}", en=f"{path}: {en}")

    def take(self, key: str) -> Any:
        """The plain value of a key; None if it is not there."""
        self._asked.add(key)
        self._known.add(key)
        return _plain(self._node.get(key))

    def finish(self) -> None:
        for key in self._node:
            if key not in self._asked:
                near = suggest(str(key), self._known - {str(key)}, most=40)
                if key in self._known:
                    self.complain(str(key), zh="不能与同级的其他键并用", en="cannot stand beside the other keys here")
                else:
                    self.complain(str(key), zh=f"没有这个键{near.zh}", en=f"there is no such key{near.en}")

    # --- by kind

    def text(self, key: str, default: str | None = None) -> str:
        value = self.take(key)
        if value is None and default is not None:
            return default
        if isinstance(value, str) and value:
            return value
        self._wanted(key, value, "文字", "a text")
        return ""

    def number(self, key: str, default: float, least: float | None = None, above: float | None = None) -> float:
        value = self.take(key)
        if value is None:
            return default
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        if good and (least is None or value >= least) and (above is None or value > above):
            return float(value) if isinstance(value, float) else int(value)
        zh, en = ("", "") if least is None else (f"不小于 {least:g} 的", f" of at least {least:g}")
        zh, en = (zh, en) if above is None else (f"大于 {above:g} 的", f" above {above:g}")
        self._wanted(key, value, f"{zh}数字", f"a number{en}")
        return default

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        value = self.take(key)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self._wanted(key, value, f"{least} 到 {most} 的整数", f"a whole number from {least} to {most}")
        return least

    def flag(self, key: str) -> bool:
        value = self.take(key)
        if not isinstance(value, bool) and value is not None:
            self._wanted(key, value, "true 或 false", "true or false")
        return value is True

    def choice(self, key: str, valid: tuple[Any, ...], default: Any) -> Any:
        value = self.take(key)
        if value in valid:
            return value
        near = suggest(str(value), map(str, valid))
        if value is None:
            self.complain(key, zh=f"缺少这一项{near.zh}", en=f"is missing{near.en}")
        else:
            self.complain(key, zh=f"不能是 {value!r}{near.zh}", en=f"cannot be {value!r}{near.en}")
        return default

    def scalar(self, key: str) -> Value:
        value = self.take(key)
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return value
        self._wanted(key, value, "数字或文字", "a number or a text")
        return 0

    def scalars(self, key: str) -> tuple[Value, ...]:
        """A list of numbers and texts; one alone is a list of one."""
        value = self.take(key)
        items = value if isinstance(value, CommentedSeq) else [] if value is None else [value]
        good = [_plain(item) for item in items if isinstance(item, (int, float, str)) and not isinstance(item, bool)]
        if len(good) != len(items):
            self._wanted(key, value, "数字或文字的列表", "a list of numbers or texts")
        return tuple(good)

    def strings(self, key: str) -> dict[str, str]:
        entries = self.entries(key)
        found = {name: entries.text(name) for name in entries.keys()}  # noqa: SIM118 - Entries is not a mapping
        entries.finish()
        return found

    def both_languages(self, key: str) -> Text:
        entries = self.entries(key)
        text = Text(zh=entries.text("zh"), en=entries.text("en"))
        entries.finish()
        return text

    def entries(self, key: str) -> "Entries":
        """The mapping under a key; an empty one if there is none."""
        value = self.take(key)
        if not isinstance(value, CommentedMap):
            if value is not None:
                self._wanted(key, value, "“键: 值”", "keys with values")
            value = CommentedMap()
        return Entries(value, self.spot(key), f"{self._path}.{key}".strip("."), self._faults)

    def list(self, key: str) -> list["Entries"]:
        """The mappings listed under a key."""
        value = self.take(key)
        if value is None:
            return []
        items = value if isinstance(value, CommentedSeq) else [value]
        path = f"{self._path}.{key}".strip(".")
        found = []
        for number, item in enumerate(items):
            if isinstance(item, CommentedMap):
                spot = (item.lc.line, item.lc.col)
                found.append(Entries(item, spot, f"{path}[{number}]", self._faults))
            else:
                self._wanted(key, item, "“键: 值”的列表", "a list of entries with keys")
        return found

    def _wanted(self, key: str, value: Any, zh: str, en: str) -> None:
        if value is None:
            self.complain(key, zh=f"缺少这一项，应为{zh}", en=f"is missing; it must be {en}")
        else:
            shown = "" if isinstance(value, CommentedMap | CommentedSeq) else f" {value!r}"
            zh_not, en_not = (f"不能是{shown}，", f"cannot be{shown}: ") if shown else ("", "")
            self.complain(key, zh=f"{zh_not}应为{zh}", en=f"{en_not}it must be {en}")
