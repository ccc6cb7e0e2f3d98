"""Profile files: one YAML per product becomes a Profile, or a list of every fault in it with its line and column.

The form is described in profiles/README.md, what only Megatec and YD/T 1363 products have in `profile_serial`. A file
is read whole before anything is complained of, so that one run shows all that is wrong. What the parts mean is in
`product`; how they are read, bottom up, in `profile_parts`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from gantry_agent.faults import ConfigFault, Fault, read_small, suggest
from gantry_agent.field import profile_battery, profile_identity, profile_serial, profile_writes
from gantry_agent.field.product import (
    AlarmText,
    Derived,
    Limits,
    Maturity,
    Parameter,
    Point,
    Profile,
    Protocol,
    Source,
    Table,
    WriteOrder,
)
from gantry_agent.field.profile_links import check_links, choose_lanes
from gantry_agent.field.profile_parts import PartReader
from gantry_agent.field.profile_sense import check_sense
from gantry_agent.field.profile_yaml import Entries, Faults, open_yaml
from gantry_agent.field.request import Timing
from gantry_agent.text import Text
from gantry_agent.vocabulary import MEMBERS, WARNING_FIELD

__all__ = ["Profile", "check", "load", "names"]

SHIPPED = Path(__file__).parent.parent / "profiles"


def names(folders: Sequence[Path] = (SHIPPED,)) -> tuple[str, ...]:
    """Names of all profiles in these folders, sorted."""
    return tuple(sorted({path.stem for folder in folders for path in folder.glob("*.yaml")}))


def load(name: str, folders: Sequence[Path] = (SHIPPED,)) -> Profile:
    """Read the profile of that name from the first folder that has it. Raises ConfigFault."""
    for folder in folders:
        path = folder / f"{name}.yaml"
        if path.is_file():
            return check(path)
    near = suggest(name, names(folders))
    text = Text(f"没有设备型号 {name}{near.zh}", f"there is no profile {name}{near.en}")
    raise ConfigFault([Fault(f"{name}.yaml", 1, 1, text)])


def current_name(name: str, folders: Sequence[Path] = (SHIPPED,)) -> str:
    """What a product is called now: the name itself, or that of the profile that says that it `was` called so."""
    if name in names(folders):
        return name
    says = re.compile(rf"^was:.*(?<![\w-]){re.escape(name)}(?![\w-])", re.MULTILINE)
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")):
            text = read_small(path)
            if isinstance(text, str) and says.search(text) and name in check(path).was:
                return path.stem
    return name


def check(path: Path) -> Profile:
    """Read one profile file. Raises ConfigFault with every fault in it."""
    faults = Faults(str(path))
    root = open_yaml(path, faults)
    profile = _read(root, path.stem, faults)
    if faults.found:
        raise ConfigFault(faults.found)
    return profile


def _read(root: Entries, stem: str, faults: Faults) -> Profile:
    if root.text("profile") not in ("", stem):
        root.complain("profile", zh=f"名称应与文件名相同：{stem}", en=f"must be the file's name, {stem}")
    title = root.both_languages("title")
    protocol: Protocol = root.choice("protocol", get_args(Protocol), "modbus")
    maturity: Maturity = root.choice("maturity", get_args(Maturity), "draft")
    sources = _sources(root)
    caveats = tuple(_caveat(item) for item in root.list("caveats"))
    timing = _timing(root.entries("timing"))
    limits = _limits(root.entries("limits"))
    parameters = _parameters(root.entries("parameters"))
    members = _members(root.entries("members"))
    parts = PartReader(protocol, parameters, members, root.strings("prefixes"))
    parts.answers = profile_serial.answers(root.entries("answers"), parameters)
    points = _points(parts, root.entries("points"))
    tables = _tables(parts, root.entries("tables"))
    derived = _derived(parts, root.entries("derived"))
    warnings = tuple(_warning(parts, item, members) for item in root.list("warnings"))
    writes = _writes(parts, root.entries("writes"), tables)
    on_return = tuple(profile_writes.setting(parts, item) for item in root.list("on_return"))
    testing = profile_battery.battery_test(parts, root)
    signs = profile_identity.identity(parts, root)
    was, renamed = tuple(map(str, root.scalars("was"))), root.strings("renamed")
    objects = tuple(map(str, root.scalars("objects")))
    root.finish()
    profile = Profile(
        stem, title, protocol, maturity, sources, caveats, timing, limits, parameters, members, points, tables, derived,
        warnings, writes, on_return, parts.answers, testing, signs, was, renamed,
        objects,
    )  # fmt: skip
    if not faults.found:
        check_links(profile, root)
        profile_writes.check_orders(profile, root)
        profile_battery.check_battery_test(profile, root)
        _check_renamed(profile, root)
        check_sense(profile, root)
    return choose_lanes(profile, frozenset(parts.lanes_said)) if not faults.found else profile


def _check_renamed(profile: Profile, root: Entries) -> None:
    """An old name of a point leads to one that there is, and is not used for another."""
    entries = root.entries("renamed")
    for old, now in profile.renamed.items():
        if old in profile.points:
            entries.complain(old, zh="仍是一个点的名称", en="cannot be an old name: a point has it")
        elif now not in profile.points:
            near = suggest(now, profile.points)
            entries.complain(old, zh=f"没有名为 {now} 的点{near.zh}", en=f"there is no point {now}{near.en}")


def _sources(root: Entries) -> tuple[Source, ...]:
    """A register without provenance does not pass."""
    sources = []
    for item in root.list("sources"):
        sources.append(Source(item.text("document"), item.text("page")))
        item.finish()
    if not sources:
        root.complain(
            "sources", zh="至少要有一个来源（document 和 page）", en="cannot be empty: name a document and a page"
        )
    return tuple(sources)


def _caveat(item: Entries) -> Text:
    caveat = Text(item.text("zh"), item.text("en"))
    item.finish()
    return caveat


def _timing(entries: Entries) -> Timing:
    timing = Timing(entries.number("response_ms", 500, above=0) / 1000, entries.number("gap_ms", 20, least=0) / 1000)
    entries.finish()
    return timing


def _limits(entries: Entries) -> Limits:
    usual = Limits()
    limits = Limits(
        registers=entries.whole("registers", usual.registers, 1, 125),  # what one Modbus frame can carry
        bits=entries.whole("bits", usual.bits, 1, 2000),
        hole=entries.whole("hole", usual.hole, 0, 124),
        oids=entries.whole("oids", usual.oids, 1, 100),
    )
    entries.finish()
    return limits


def _parameters(entries: Entries) -> dict[str, Parameter]:
    parameters = {}
    for name in entries.keys():  # noqa: SIM118 - Entries is not a mapping
        one = entries.entries(name)
        default = one.scalar("default")
        title = one.both_languages("title") if one.has("title") else None
        parameters[name] = Parameter(default, one.scalars("choices"), title)
        one.finish()
    return parameters


def _members(entries: Entries) -> dict[str, int]:
    members = {}
    for name in entries.keys():  # noqa: SIM118
        if name in MEMBERS:
            members[name] = entries.whole(name, 1, 0, 64)  # 0: only where the site asks for it by ids
        else:
            near = suggest(name, MEMBERS)
            entries.complain(name, zh=f"接口中没有这个成员{near.zh}", en=f"the interface has no such member{near.en}")
    return members


def _points(parts: PartReader, entries: Entries) -> dict[str, Point]:
    points = {}
    for key in entries.keys():  # noqa: SIM118
        point = parts.point(key, entries, entries.entries(key))
        if point and point.key in points:
            entries.complain(key, zh=f"{point.key} 重复", en=f"{point.key} is given twice")
        elif point:
            points[point.key] = point
    return points


def _tables(parts: PartReader, entries: Entries) -> dict[str, Table]:
    return {name: parts.table(name, entries.entries(name)) for name in entries.keys()}  # noqa: SIM118


def _derived(parts: PartReader, entries: Entries) -> tuple[Derived, ...]:
    found = [parts.derived(key, entries, entries.entries(key)) for key in entries.keys()]  # noqa: SIM118
    return tuple(one for one in found if one)


def _warning(parts: PartReader, item: Entries, members: Mapping[str, int]) -> AlarmText:
    member = item.choice("member", tuple(name for name in members if name in WARNING_FIELD), "elec")
    number = item.whole("number", 0, 1, 64) if item.has("number") else None
    warning = AlarmText(member, item.text("text"), parts.when(item, "when"), number)
    item.finish()
    return warning


def _writes(parts: PartReader, entries: Entries, tables: Mapping[str, Table]) -> tuple[WriteOrder, ...]:
    keys = entries.keys()
    found = [profile_writes.order(parts, key, entries, entries.entries(key), tables) for key in keys]
    return tuple(one for one in found if one)
