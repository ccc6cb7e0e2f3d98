"""`profiles`: the products that are known, what one can do, what is wrong with a profile file, the JSON Schema."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from gantry_agent.cli.usage import Parser
from gantry_agent.config.site import SHIPPED_PROFILES, SITE_PROFILES
from gantry_agent.faults import ConfigFault
from gantry_agent.field import profile as profiles
from gantry_agent.field.product import Profile
from gantry_agent.field.profile_schema import json_schema
from gantry_agent.field.profile_sense import unfilled
from gantry_agent.text import Language, Text

FOLDERS = (SITE_PROFILES, SHIPPED_PROFILES)
WORDS = ("list", "show", "lint", "schema")
MATURITIES = {
    "draft": Text("草稿：未经任何验证", "draft: nothing has shown that it reads rightly"),
    "transcript": Text("按厂家表格手写的应答验证", "transcript: checked against answers written by the vendor's table"),
    "simulated": Text("对照他人的程序验证", "simulated: checked against a program of somebody else"),
    "recorded": Text("对照真实设备的录制验证", "recorded: checked against a recording of the real device"),
}  # fmt: skip
SHORT = {
    "draft": Text("草稿", "draft"),
    "transcript": Text("按表格", "transcript"),
    "simulated": Text("对照程序", "simulated"),
    "recorded": Text("对照录制", "recorded"),
}
_USAGE = Text(
    "用法：gantry-agent profiles [list | show 型号… | lint 文件… | schema]",
    "usage: gantry-agent profiles [list | show NAME… | lint FILE… | schema]",
)


def add_arguments(sub: Parser) -> None:
    """Add the arguments of the subcommand."""
    said = sub.say(
        "list：列出（默认）；show：一个型号能做什么；lint：检查型号文件；schema：型号文件的 JSON Schema",
        "list them (default); show what one can do; lint: every fault of a file; schema: JSON Schema of the files",
    )
    sub.add_argument("what", nargs="?", choices=WORDS, default="list", help=said)
    names = sub.say("型号名（show）或文件（lint）", "names of products (show) or files (lint)")
    sub.add_argument("names", nargs="*", metavar=sub.say("型号|文件", "NAME|FILE"), help=names)


def run(arguments: argparse.Namespace, language: Language) -> int:
    """Carry the subcommand out and give the exit code."""
    what, names = arguments.what, arguments.names
    if (what in ("show", "lint")) != bool(names):
        print(_USAGE.render(language), file=sys.stderr)
        return 2
    if what == "lint":
        return _lint([Path(name) for name in names], language)
    if what == "schema":
        print(json.dumps(json_schema(), ensure_ascii=False, indent=2))
    elif what == "show":
        for name in names:
            print("\n".join(_shown(profiles.load(name, FOLDERS), language)))
    else:
        return _list(language)
    return 0


def _list(language: Language) -> int:
    """A line for each product; a file that cannot be read is told and the rest listed all the same."""
    faulty = False
    for name in profiles.names(FOLDERS):
        try:
            found = profiles.load(name, FOLDERS)
        except ConfigFault as error:
            faulty = True
            for fault in error.faults:
                print(fault.render(language), file=sys.stderr)
        else:
            word = SHORT[found.maturity].render(language)
            gap = " " * (11 - len(word.encode("gbk", "replace")))  # a Chinese character is two columns wide
            print(f"{name:28} {word}{gap} {found.protocol:8} {found.title.render(language)}")
    return int(faulty)


def _lint(files: Iterable[Path], language: Language) -> int:
    """Say every fault of these files; then how many there are, or that there is none."""
    count = 0
    for path in files:
        try:
            found = profiles.check(path)
        except ConfigFault as faulty:
            count += len(faulty.faults)
            for fault in faulty.faults:
                print(fault.render(language), file=sys.stderr)
            continue
        said = Text(f"{path}：没有错误，{_size(found).zh}", f"{path}: no faults, {_size(found).en}")
        print(said.render(language))
        for doubt in _doubts(found):
            print(f"  {doubt.render(language)}")
    if count:
        said = Text(f"共 {count} 处错误", f"{count} fault{'s' * (count > 1)}")
        print(said.render(language), file=sys.stderr)
    return int(bool(count))


def _size(found: Profile) -> Text:
    count = len(found.points) + sum(len(table.points) for table in found.tables.values())
    return Text(f"{count} 个点，{len(found.tables)} 个表", f"points: {count}, tables: {len(found.tables)}")


def _doubts(found: Profile) -> Iterator[Text]:
    """What is no fault and is still missing."""
    if found.maturity == "draft":
        yield MATURITIES["draft"]
    for member in unfilled(found):
        yield Text(f"members.{member}：没有点填它的任何字段", f"members.{member}: nothing fills any of its fields")
    if not found.identity:
        yield Text("没有 identity，identify 命令认不出它", "there is no identity: `identify` cannot tell this product")


def _shown(found: Profile, language: Language) -> Iterator[str]:
    def say(zh: str, en: str) -> str:
        return Text(zh, en).render(language)

    yield f"{found.name}  {found.title.render(language)}"
    yield f"  {found.protocol}; {MATURITIES[found.maturity].render(language)}"
    if found.members:
        yield say("  可填的字段：", "  fields that it fills:")
    for member, most in found.members.items():
        asked = "" if most else say("（仅在 ids 要求时）", " (only where the site asks by ids)")
        yield f"    {member}{asked}: {', '.join(sorted(found.provides(member)))}"
    if found.writes:
        orders = ", ".join(f"{one.name.member}.{one.name.field}" for one in found.writes)
        yield say("  可执行的命令：", "  commands that it carries out:") + f" {orders}"
    if found.writable:
        yield say("  可作输出的点：", "  points that can be outputs:") + f" {', '.join(sorted(found.writable))}"
    inferred = [
        key
        for points in (found.points, *(table.points for table in found.tables.values()))
        for key, point in points.items()
        if point.inferred
    ]
    if inferred:
        yield say("  推断得来的点：", "  points that are inferred:") + f" {', '.join(inferred)}"
    for name, parameter in found.parameters.items():
        title = f"  {parameter.title.render(language)}" if parameter.title else ""
        choices = f" ({', '.join(map(str, parameter.choices))})" if parameter.choices else ""
        yield say("  参数 ", "  parameter ") + f"{name} = {parameter.default!r}{choices}{title}"
    for source in found.sources:
        yield say("  来源：", "  source: ") + f"{source.document}; {source.page}"
    for caveat in found.caveats:
        yield f"  ! {caveat.render(language)}"
