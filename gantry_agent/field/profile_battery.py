"""The section `battery_test` of a profile file: a product's own record of its battery tests, or its verdict.

Verbs as in `profile_parts`. The names that it uses are checked at the end (`check_battery_test`), when all of the file
is known.
"""

from collections.abc import Mapping
from types import MappingProxyType

from ruamel.yaml.comments import CommentedMap

from gantry_agent.faults import suggest
from gantry_agent.field.product import Point, Profile
from gantry_agent.field.product_battery import UNKNOWN, BatteryTesting
from gantry_agent.field.profile_parts import PartReader
from gantry_agent.field.profile_yaml import Entries
from gantry_agent.vocabulary import BATTERY_TEST

RESULTS = tuple(int(value) for value in BATTERY_TEST.fields["testResult"].values)
START = "testStartTime"


def battery_test(parts: PartReader, root: Entries) -> BatteryTesting:
    """Read the section, if there is one."""
    if not root.has("battery_test"):
        return UNKNOWN
    entries = root.entries("battery_test")
    records = entries.text("records") if entries.has("records") else ""
    fields = entries.strings("fields") if records else {}
    verdict, verdicts = "", UNKNOWN.verdicts
    if entries.has("verdict"):
        inner = entries.entries("verdict")
        verdict, verdicts = inner.text("point"), _verdicts(inner)
        inner.finish()
    minutes = parts.amount(entries, "minutes", entries.take("minutes")) if entries.has("minutes") else 0
    entries.finish()
    return BatteryTesting(records, MappingProxyType(dict(fields)), verdict, verdicts, minutes)


def _verdicts(entries: Entries) -> Mapping[int, int]:
    raw = entries.take("map")
    given = raw if isinstance(raw, CommentedMap) else {}
    found = {int(k): int(v) for k, v in given.items() if isinstance(k, int) and v in RESULTS}
    if len(found) < len(given) or not given:
        entries.complain(
            "map",
            zh="应为 {原始值: 测试结果}，结果为 1 无结果、2 正常、3 轻微异常、4 严重异常",
            en="it must be {value: result}: 1 none, 2 normal, 3 slightly, 4 severely abnormal",
        )
    return MappingProxyType(found)


def check_battery_test(profile: Profile, root: Entries) -> None:
    """Complain of every name in the section that means nothing."""
    testing = profile.battery_test
    if testing is UNKNOWN:
        return
    entries = root.entries("battery_test")
    table = profile.tables.get(testing.records)
    if testing.records and table is None:
        near = suggest(testing.records, profile.tables)
        entries.complain(
            "records", zh=f"没有表 {testing.records}{near.zh}", en=f"there is no table {testing.records}{near.en}"
        )
    elif table is not None:
        _check_fields(entries.entries("fields"), testing.fields, table.points)
    if testing.verdict and testing.verdict not in profile.points:
        near = suggest(testing.verdict, profile.points)
        entries.complain(
            "verdict",
            zh=f"没有名为 {testing.verdict} 的点{near.zh}",
            en=f"there is no point {testing.verdict}{near.en}",
        )


def _check_fields(entries: Entries, fields: Mapping[str, str], points: Mapping[str, Point]) -> None:
    if START not in fields:
        entries.complain(
            "",
            zh=f"缺少 {START}：最近一次测试由开始时间确定",
            en=f"{START} is missing: the last test is found by when it began",
        )
    for name, point in fields.items():
        known = BATTERY_TEST.fields.get(name)
        if known is None:
            near = suggest(name, BATTERY_TEST.fields)
            entries.complain(name, zh=f"测试结果没有该字段{near.zh}", en=f"a test result has no such field{near.en}")
        elif point not in points:
            near = suggest(point, points)
            entries.complain(name, zh=f"表中没有点 {point}{near.zh}", en=f"the table has no point {point}{near.en}")
        elif points[point].unit != known.unit:
            entries.complain(
                name,
                zh=f"单位应为 {known.unit!r}，而 {point} 为 {points[point].unit!r}",
                en=f"must be in {known.unit!r}; {point} is in {points[point].unit!r}",
            )
