"""Faults of the technician's files: where, what, and what would be valid. All of them are told in one run.

Knows YAML positions and how to name the nearest valid word; knows nothing of any file's meaning.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from gantry_agent.model import AgentError
from gantry_agent.syntax import oddities, slips
from gantry_agent.text import Language, Text

LARGEST = 2**20  # bytes; a site of 200 devices has 30 kB

Path_ = tuple[str | int, ...]  # of a value inside a document: ("buses", "io", "port")


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault, at a place (line and column count from 1)."""

    file: str
    line: int
    column: int
    text: Text

    def render(self, language: Language) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.text.render(language)}"


class ConfigFault(AgentError):
    """The configuration cannot be used; carries every fault found."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda f: (f.file, f.line, f.column)))
        super().__init__("\n".join(fault.render("en") for fault in self.faults))


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML file that can tell where each of its values stands."""

    file: str
    root: Any

    def fault(self, path: Path_, text: Text, *, at_key: bool = False) -> Fault:
        """Make a fault at the value of a path, or at its last key when that itself is wrong."""
        line, column = _key_position(self.root, path) if at_key else _position(self.root, path)
        return Fault(self.file, line, column, text)


def read_document(path: Path) -> Document:
    """Parse a YAML file; raise ConfigFault when it cannot be read or is not one mapping."""
    file = str(path)
    yaml = YAML(typ="rt")
    yaml.allow_duplicate_keys = False
    text = read_small(path)
    if isinstance(text, Text):
        raise ConfigFault([Fault(file, 1, 1, text)])
    try:
        if odd := [Fault(file, line + 1, column + 1, said) for line, column, said in oddities(text)]:
            raise ConfigFault(odd)
        root = yaml.load(text)
    except (ValueError, KeyError, AttributeError) as e:  # a date or a number that is none, as the parser reads them
        said = Text(
            "有一个值不是有效的数字或日期；请加引号", "a value is no valid number or date; put quotes around it"
        )
        raise ConfigFault([Fault(file, 1, 1, said)]) from e
    except YAMLError as e:
        found = [Fault(file, line + 1, column + 1, said) for line, column, said in slips(e, text)]
        raise ConfigFault(found) from None  # the parser's own words repeat values of the file, secrets among them
    if not isinstance(root, CommentedMap):
        said = Text(
            "文件应由“键: 值”组成，例如 gantry: {…}", "the file must consist of keys with values, like gantry: {…}"
        )
        raise ConfigFault([Fault(file, 1, 1, said)])
    return Document(file, root)


def read_small(path: Path) -> str | Text:
    """Read a text file that a person wrote; or say why that cannot be: no file, too large, no UTF-8."""
    try:
        if not path.is_file():
            missing = not path.exists()
            return (
                Text("文件不存在", "cannot read the file: No such file or directory")
                if missing
                else Text("不是普通文件", "cannot read the file: it is no regular file")
            )
        if path.stat().st_size > LARGEST:
            return Text("文件太大", f"cannot read the file: it is larger than {LARGEST} bytes")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return Text("文件不是 UTF-8 编码；请另存为 UTF-8", "cannot read the file: it is not UTF-8; save it as UTF-8")
    except OSError as e:
        return Text(f"无法读取文件：{e.strerror}", f"cannot read the file: {e.strerror}")
    except ValueError:
        return Text("文件名无效", "cannot read the file: its name is not valid")


def _position(root: Any, path: Path_) -> tuple[int, int]:
    node, line, column = root, 0, 0
    for key in path:
        if isinstance(node, CommentedMap) and key in node:
            value = node[key]
            scalar = not isinstance(value, CommentedMap | CommentedSeq)
            line, column = node.lc.value(key) if scalar else node.lc.key(key)
            node = value
        elif isinstance(node, CommentedSeq) and isinstance(key, int) and key < len(node):
            line, column = node.lc.item(key)
            node = node[key]
        else:  # a key that is missing: the mapping that lacks it
            break
    return line + 1, column + 1


def _key_position(root: Any, path: Path_) -> tuple[int, int]:
    node = root
    for key in path[:-1]:
        node = node[key]
    if isinstance(node, CommentedMap) and path[-1] in node:
        line, column = node.lc.key(path[-1])
        return line + 1, column + 1
    return _position(root, path)


def suggest(word: str, valid: Iterable[str], most: int = 12, *, first: str = "", cutoff: float = 0.6) -> Text:
    """Say which valid word was probably meant, and which are valid (`first` before all); the tail of a message."""
    words: Sequence[str] = sorted(set(valid), key=lambda one: (one != first, _natural(one)))
    near = nearest(word, words, cutoff=cutoff)
    shown = ", ".join(words[:most]) + (" …" if len(words) > most else "")
    zh = (f"；是否想写 {near}？" if near else "") + (f"；可用：{shown}" if words else "")
    en = (f"; did you mean {near}?" if near else "") + (f"; valid: {shown}" if words else "")
    return Text(zh, en)


def nearest(word: str, valid: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The valid word that was probably meant, if there is one."""
    folded = {one.lower(): one for one in reversed(list(valid))}
    near = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=cutoff)
    return folded[near[0]] if near else None


def _natural(word: str) -> list[tuple[int, str]]:
    """Order as people count: di2 before di10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", word)]
