"""Faults of the technician's files: where, what, and what would be valid. All of them are told in one run.

Knows YAML positions and how to name the nearest valid word; knows nothing of any file's meaning.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gantry_agent.model import AgentError
from gantry_agent.text import Language, Text

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
    try:
        root = yaml.load(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigFault(
            [Fault(file, 1, 1, Text(f"无法读取文件：{e.strerror}", f"cannot read the file: {e.strerror}"))]
        ) from e
    except UnicodeDecodeError as e:
        text = Text("文件不是 UTF-8 编码；请另存为 UTF-8", "cannot read the file: it is not UTF-8; save it as UTF-8")
        raise ConfigFault([Fault(file, 1, 1, text)]) from e
    except MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = (e.problem or e.context or "").split("\n")[0]
        raise ConfigFault([Fault(file, line, column, _syntax(problem))]) from e
    except YAMLError as e:
        raise ConfigFault([Fault(file, 1, 1, _syntax(str(e).split("\n")[0]))]) from e
    if not isinstance(root, CommentedMap):
        text = Text(
            "文件应由“键: 值”组成，例如 gantry: {…}", "the file must consist of keys with values, like gantry: {…}"
        )
        raise ConfigFault([Fault(file, 1, 1, text)])
    return Document(file, root)


def _syntax(problem: str) -> Text:
    return Text(
        f"YAML 语法错误：{problem}（检查缩进、冒号后的空格、重复的键）",
        f"cannot parse the YAML: {problem} (look at indentation, the blank after a colon, a key given twice)",
    )


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


def suggest(word: str, valid: Iterable[str], most: int = 12) -> Text:
    """Say which valid word was probably meant, and which are valid; the tail of a message."""
    words: Sequence[str] = sorted(valid)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    shown = ", ".join(words[:most]) + (" …" if len(words) > most else "")
    zh = (f"；是否想写 {near[0]}？" if near else "") + (f"；可用：{shown}" if words else "")
    en = (f"; did you mean {near[0]}?" if near else "") + (f"; valid: {shown}" if words else "")
    return Text(zh, en)
