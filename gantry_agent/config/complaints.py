"""What is wrong with one site file, as it is found: collected, not raised, so that one run tells all of it.

Also reads the files that the site file names (secrets, certificates), since one that cannot be read is a fault at the
place where it is named. Knows nothing of what the file means.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gantry_agent.faults import Document, Fault, Path_, read_small
from gantry_agent.text import Text

_SECRET = re.compile(r"[^\x00-\x1f\x7f]{1,128}")  # as the schema has it for one in the site file


class Complaints:
    """The faults found so far in one document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.found: list[Fault] = []

    def add(self, path: Path_, zh: str, en: str, *, at_key: bool = False) -> None:
        self.found.append(self.document.fault(path, Text(zh, en), at_key=at_key))

    def once(self, path: Path_, key: str, value: int, others: Sequence[int]) -> None:
        """Complain of a number that an earlier one of the same list has."""
        if value in others:
            first = self.document.fault((path[0], others.index(value), key), Text("", "")).line
            kind = Text("机柜", "cabinet") if path[0] == "cabinets" else Text("计算机", "computer")
            self.add(
                (*path, key),
                f"{kind.zh}编号 {value} 重复（第 {first} 行已有）；请换一个",
                f"{kind.en} id {value} is given twice (first in line {first}); give it another",
            )

    def written(self, name: str, *path: str | int) -> bool:
        """Tell whether the file has this entry, be it faulty itself: then a reference to it is no fault of its own.

        A section that was left empty is told as such, so whatever is missing in it is passed over too.
        """
        try:
            node = self.node(*path)
        except LookupError:
            return False
        return node is None or (isinstance(node, Mapping) and name in node)

    def node(self, *path: str | int) -> Any:
        """Return what the file has at a path, as it is; raise LookupError when it has nothing there."""
        node = self.document.root
        for key in path:
            try:
                node = node[key]
            except TypeError:
                raise LookupError(key) from None
        return node

    def secret(
        self, path: Path_, name: str, value: str | None, file: str | None, *, required: bool = False
    ) -> str | None:
        """Take a secret from the file itself or from the file it names; never both."""
        if value is not None and file is not None:
            self.add(
                (*path, f"{name}_file"), f"{name} 与 {name}_file 只能二选一", f"give {name} or {name}_file, not both"
            )
        if file is not None:
            text = self.readable((*path, f"{name}_file"), Path(file))
            if text is not None and not text.strip():
                self.add((*path, f"{name}_file"), f"文件 {file} 为空", f"the file {file} is empty")
            if text and text.strip() and not _SECRET.fullmatch(text.strip()):
                said = f"{file}: 1 to 128 characters in one line are valid"
                self.add((*path, f"{name}_file"), f"{file}：应为一行 1–128 个字符", said)
            return text.strip() if text else None
        if value is None and required and not any(self.written(one, *path) for one in (name, f"{name}_file")):
            self.add(path, f"缺少 {name} 或 {name}_file", f"{name} or {name}_file is required and missing")
        return value

    def readable(self, path: Path_, file: Path) -> str | None:
        """Return what a file says that is named at a path, or complain there."""
        said = read_small(file)
        if isinstance(said, str):
            return said
        self.add(path, f"{file}：{said.zh}", said.en.replace("the file", f"the file {file}", 1))
        return None
