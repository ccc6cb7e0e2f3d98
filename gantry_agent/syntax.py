"""What is wrong with a file that is no YAML: at which place, and in words that help whoever typed it.

The parser says where it stumbled, which is often lines below the slip: a quote that is not closed is noticed at the
next quote. Here the place of the slip is found, and the usual slips have their words. No value of the file is ever
repeated in them, since it may be a secret. Knows nothing of any file's meaning.
"""

import re
from collections.abc import Iterator, Mapping

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.tokens import (
    AliasToken,
    AnchorToken,
    BlockEndToken,
    BlockMappingStartToken,
    BlockSequenceStartToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    TagToken,
)

from gantry_agent.text import Text

Slip = tuple[int, int, Text]  # line and column from 0

DEEPEST = 30  # a site file nests six deep; the parser fails at some hundreds
_OPENS = (BlockMappingStartToken, BlockSequenceStartToken, FlowMappingStartToken, FlowSequenceStartToken)
_CLOSES = (BlockEndToken, FlowMappingEndToken, FlowSequenceEndToken)

_FULL_WIDTH: Mapping[str, str] = {"：": ":", "，": ",", "“": '"', "”": '"', "‘": "'", "’": "'", "｛": "{", "｝": "}"}
_WIDE_BLANKS = ("\u3000", "\u00a0")  # the full-width one, and the one that word processors put for a blank
_WIDE = re.compile(f"[{''.join((*_FULL_WIDTH, *_WIDE_BLANKS))}]")
_WIDE_KEY = re.compile(r"\s*(?:- )?[A-Za-z_][\w.\[\]-]*：")
_GLUED_DASH = re.compile(r"\s*-[A-Za-z_]\w*\s*:")
_QUOTED_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|(?:^|\s)#.*')
_OPENING = re.compile(r"scanning an? (simple key|(?:single-|double-)?quoted scalar)|parsing a flow")

_UNCLOSED_QUOTE = Text("这一行有引号没有闭合", "a quote in this line is not closed")
_TAB = Text("不能用 Tab 缩进，请用空格", "a tab stands where only blanks may; indent with blanks")
_WORDS: tuple[tuple[str, Text], ...] = (
    (r"found unexpected end of stream", _UNCLOSED_QUOTE),
    (r"found unexpected document separator", _UNCLOSED_QUOTE),
    (
        r"could not find expected ':'",
        Text("这里缺少冒号，或冒号后缺少空格", "a colon is missing here, or the blank after it"),
    ),
    (r"found character '\\t'", _TAB),
    (
        r"found character '(.)' that cannot start",
        Text("值不能以 {0} 开头；请给值加引号", "a value cannot begin with {0}; put quotes around it"),
    ),
    (
        r"found undefined alias|expected alphabetic or numeric character",
        Text("值不能以 * 或 & 开头；请给值加引号", "a value cannot begin with * or &; put quotes around it"),
    ),
    (
        r"expected <block end>, but found '<scalar>'",
        Text("引号之后还有别的内容，或引号没有闭合", "something follows a closing quote, or a quote is not closed"),
    ),
    (
        r"expected <block end>, but found '(-)'|sequence entries are not allowed",
        Text("这里应为“键: 值”，不能是以 - 开头的列表项", "a key is wanted here, not a list item that begins with -"),
    ),
    (r"expected <block end>, but found '([}\]])'", Text("多了一个 {0}", "one {0} too many")),
    (
        r"expected <block end>",
        Text(
            "这一行的缩进与同级的行不一致", "this line is not indented like its neighbours; keys of one level line up"
        ),
    ),
    (
        r"mapping values are not allowed",
        Text(
            "这里不能再有冒号：含冒号的值请加引号，并检查缩进",
            "a second colon cannot stand here: put quotes around a value with a colon, and look at the indentation",
        ),
    ),
    (
        r"expected ',' or '([}\]])'",
        Text(
            "缺少 {0}，或两项之间缺少逗号", "the closing {0} is missing, or a comma between two entries"
        ),
    ),
    (r"but found '<stream end>'", Text("这里的括号没有闭合", "the bracket that opens here is not closed")),
    (
        r"expected the node content",
        Text("这里缺少一个值", "a value is missing here"),
    ),
    (
        r"found unknown escape character",
        Text(
            "双引号内的反斜杠请写成 \\\\，或改用单引号",
            "write a backslash in double quotes as \\\\, or use single quotes",
        ),
    ),
    (r"special characters are not allowed", Text("文件中有控制字符", "the file has control characters")),
)  # fmt: skip


def slips(error: YAMLError, text: str) -> list[Slip]:
    """Say what is wrong with a text that the parser gave up on."""
    if isinstance(error, DuplicateKeyError):
        return list(_given_twice(YAML(typ="rt").compose(text)))
    lines = text.split("\n")
    if not isinstance(error, MarkedYAMLError):
        return [(0, 0, _cannot_parse(_words(str(error).split("\n")[0])))]
    problem = error.problem or error.context or ""
    line, column = _place(error, text)
    if wide := _wide(lines, error, line):
        return [wide]
    if glued := _glued(lines, error):
        return [glued]
    if (
        re.search(r"'<scalar>'|expected ','", problem)
        and error.context_mark
        and (odd := _odd_quote(lines, error.context_mark.line, line))
    ):
        return [(*odd, _cannot_parse(_UNCLOSED_QUOTE))]
    return [(line, column, _cannot_parse(_words(problem)))]


def full_width(line: str, number: int) -> tuple[int, Text] | None:
    """Find a full-width character that was typed where YAML wants its narrow one; `number` is of the line, from 1."""
    bare = _QUOTED_OR_COMMENT.sub(lambda found: "." * len(found[0]), line)
    found = _WIDE.search(bare)
    if not found:
        return None
    if found[0] in _WIDE_BLANKS:
        kind = Text("全角空格", "full-width") if found[0] == _WIDE_BLANKS[0] else Text("不换行空格", "non-breaking")
        said = Text(f"第 {number} 行有{kind.zh}，请改为半角空格", f"{kind.en} blank in line {number}; type a plain one")
    else:
        narrow = _FULL_WIDTH[found[0]]
        said = Text(
            f"第 {number} 行有全角“{found[0]}”，请改为半角 {narrow}",
            f"full-width {found[0]} in line {number}; type {narrow}",
        )
    return found.start(), said


def _cannot_parse(said: Text) -> Text:
    return Text(f"YAML 语法错误：{said.zh}", f"cannot parse the YAML: {said.en}")


def _place(error: MarkedYAMLError, text: str) -> tuple[int, int]:
    """Where the slip is: the opening of what was not closed, else where the parser stumbled."""
    problem, context = error.problem_mark, error.context_mark
    mark = problem or context
    if "<stream end>" in (error.problem or ""):
        at = max(text.rfind("["), text.rfind("{"))
        return text.count("\n", 0, at), at - text.rfind("\n", 0, at) - 1
    if context and problem and context.line != problem.line and _OPENING.search(error.context or ""):
        mark = context
    return (mark.line, mark.column) if mark else (0, 0)


def _wide(lines: list[str], error: MarkedYAMLError, line: int) -> Slip | None:
    stumbled = error.problem_mark.line if error.problem_mark else line
    indented = (number for number, one in enumerate(lines[:stumbled]) if one.lstrip(" ").startswith(_WIDE_BLANKS))
    for number in dict.fromkeys((line, _before(lines, stumbled), stumbled, *_keyed(lines, error), *indented)):
        if 0 <= number < len(lines) and (found := full_width(lines[number], number + 1)):
            return number, found[0], _cannot_parse(found[1])
    return None


def _before(lines: list[str], number: int) -> int:
    """The line above that says something: no comment, and not empty."""
    return next((n for n in range(number - 1, -1, -1) if lines[n].strip() and lines[n].lstrip()[0] != "#"), number - 1)


def _keyed(lines: list[str], error: MarkedYAMLError) -> Iterator[int]:
    """Lines of the block in which the parser stumbled whose key has a full-width colon, the nearest first."""
    if error.context_mark and error.problem_mark:
        for number in range(error.problem_mark.line, error.context_mark.line - 1, -1):
            if number < len(lines) and _WIDE_KEY.match(lines[number]):
                yield number


def _glued(lines: list[str], error: MarkedYAMLError) -> Slip | None:
    """Find the list item whose dash has no blank behind it."""
    stumbled = error.problem_mark.line if error.problem_mark else 0
    number = _before(lines, stumbled)
    if number < 0 or not _GLUED_DASH.match(lines[number]):
        return None
    said = Text("列表项的 - 后面缺少空格，应如 - id: 1", "a blank is missing behind the - of a list item, like - id: 1")
    return number, lines[number].index("-"), _cannot_parse(said)


def _odd_quote(lines: list[str], first: int, last: int) -> tuple[int, int] | None:
    """Find the line whose quote runs on into the lines below."""
    for number in range(first, min(last + 1, len(lines))):
        bare = _QUOTED_OR_COMMENT.sub(lambda found: "." * len(found[0]), lines[number])
        if '"' in bare:
            return number, lines[number].index('"')
    return None


def _words(problem: str) -> Text:
    for pattern, said in _WORDS:
        if found := re.search(pattern, problem):
            return Text(said.zh.format(*found.groups()), said.en.format(*found.groups())) if found.groups() else said
    return Text(f"{problem}（检查缩进和冒号后的空格）", f"{problem} (look at indentation and the blank after a colon)")


def _given_twice(node: Node | None) -> Iterator[Slip]:
    """List every key that stands twice in one mapping, anywhere below."""
    if isinstance(node, SequenceNode):
        for item in node.value:
            yield from _given_twice(item)
    if not isinstance(node, MappingNode):
        return
    first: dict[str, ScalarNode] = {}
    for key, value in node.value:
        if isinstance(key, ScalarNode) and (earlier := first.setdefault(key.value, key)) is not key:
            yield key.start_mark.line, key.start_mark.column, _twice(key.value, earlier.start_mark.line)
        yield from _given_twice(value)


def _twice(key: str, line: int) -> Text:
    return Text(f"键 {key} 重复（第 {line + 1} 行已有）", f"the key {key} is given twice (first in line {line + 1})")


def oddities(text: str) -> Iterator[Slip]:
    """Find what YAML allows and no file of ours needs: anchors and aliases (which can be made to swell), tags, depth.

    Raises what the parser raises on a file that is no YAML. Only looks at tokens, so nothing is built.
    """
    depth = 0
    for token in YAML(typ="rt", pure=True).scan(text):
        depth += isinstance(token, _OPENS) - isinstance(token, _CLOSES)
        mark = token.start_mark
        if isinstance(token, AliasToken | AnchorToken | TagToken):
            sign = "!" if isinstance(token, TagToken) else "&" if isinstance(token, AnchorToken) else "*"
            said = Text(
                f"这里不能用 {sign}；要写成文字请加引号",
                f"{sign} cannot be used here; put quotes around it if it is text",
            )
            yield mark.line, mark.column, said
        elif depth > DEEPEST:
            yield mark.line, mark.column, Text("嵌套太深", f"nested more than {DEEPEST} deep")
            return
