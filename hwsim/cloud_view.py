"""How uploads are shown to people: what changed since the last one, one line per upload, a table of readings. Pure.

Knows payloads as JSON values and paths as `cloud_rules.leaves` makes them (`ups[1].runningState`), the reader's
language and colours; knows nothing of HTTP. The cloud prints these lines, and the demo its table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hwsim.cloud_rules import Complaint, leaves
from hwsim.terminal import Language, Paint, Text

Change = tuple[str, str, str]  # path, before, after

# What moves all the time and says nothing when it does: left out of the line unless nothing else changed.
MEASURED = frozenset(
    {
        *("voltage", "current", "power", "frequency", "elecConsumption", "outputVoltage", "outputCurrent"),
        *("outputPower", "inputVoltage", "inputCurrent", "powerRate", "surplusTime", "remainCapacity", "temperature"),
        *("humidity", "sysDiskUsage", "dataDiskUsage", "memoryUsage", "netUsage", "cpuUsage", "cpuTemperature"),
    }
)
CHANGES_SHOWN = 8
COMPLAINTS_SHOWN = 6


def differences(before: object, after: object) -> tuple[Change, ...]:
    """Every leaf that differs, in the order of the newer payload; `""` stands for a leaf that is not there."""
    old = {path: str(value) for path, value in leaves(before)}
    new = {path: str(value) for path, value in leaves(after)}
    changed = [(path, old.get(path, ""), value) for path, value in new.items() if old.get(path) != value]
    gone = [(path, value, "") for path, value in old.items() if path not in new]
    return tuple(changed + gone)


def telling(changes: Sequence[Change]) -> tuple[Change, ...]:
    """The changes of state among changes of measurements, which move in every upload."""
    return tuple(change for change in changes if change[0].rpartition(".")[2] not in MEASURED)


@dataclass(frozen=True, slots=True)
class Shown:
    """What one line tells."""

    at: datetime
    method: str
    cabinet: str
    code: str  # empty where nothing was answered
    behaviour: str  # how the cloud misbehaved, empty where it did not
    duplicate: bool
    changes: tuple[Change, ...] | None  # None: the first of its kind
    complaints: tuple[Complaint, ...]


def line(shown: Shown, language: Language, paint: Paint) -> str:
    """One upload in one line, and a line for every complaint."""
    parts = [paint.grey(f"{shown.at:%H:%M:%S}.{shown.at.microsecond // 1000:03d}"), _source(shown).render(language)]
    verdict = f"{shown.code} {'✓' if shown.code == '1000' else '✗'}" if shown.code else "— ✗"
    parts.append(paint.green(verdict) if shown.code == "1000" else paint.red(verdict))
    if shown.behaviour:
        parts.append(
            paint.magenta(Text(f"[平台故障 {shown.behaviour}]", f"[misbehaving: {shown.behaviour}]").render(language))
        )
    if shown.duplicate:
        parts.append(paint.yellow(Text("[重复]", "[duplicate]").render(language)))
    if not shown.complaints:
        parts.append(_changes(shown.changes, language, paint))
    lines = ["  ".join(parts)]
    lines += [f"    {paint.red(c.where)}  {c.text.render(language)}" for c in shown.complaints[:COMPLAINTS_SHOWN]]
    if (more := len(shown.complaints) - COMPLAINTS_SHOWN) > 0:
        lines.append("    " + Text(f"……另有 {more} 处", f"… and {more} more").render(language))
    return "\n".join(lines)


def _source(shown: Shown) -> Text:
    if shown.method == "computerStatusUpdate":
        return Text("工控机", "computers")
    if shown.method == "cabinetStatusUpdate":
        return Text(f"机柜 {shown.cabinet or '?'}", f"cabinet {shown.cabinet or '?'}")
    return Text("未知请求", "unknown request")


def _changes(changes: tuple[Change, ...] | None, language: Language, paint: Paint) -> str:
    if changes is None:
        return paint.grey(Text("首次上传", "first upload").render(language))
    if not changes:
        return paint.grey(Text("无变化", "nothing changed").render(language))
    states = telling(changes)
    if not states:
        return paint.grey(Text(f"{len(changes)} 个测量值有变化", f"{len(changes)} measurements moved").render(language))
    more = len(states) - CHANGES_SHOWN
    return paint.cyan(arrows(states[:CHANGES_SHOWN]) + (f", +{more}" if more > 0 else ""))


def arrows(changes: Sequence[Change]) -> str:
    return ", ".join(f"{path} {before or '∅'}→{after or '∅'}" for path, before, after in changes)


def cabinet_table(payload: Mapping[str, Any], paint: Paint) -> list[str]:
    """A cabinet's readings, one line per member or element, field names as the interface has them."""
    lines = []
    for name, member in payload.items():
        if isinstance(member, str):
            continue
        entries = [(name, member)] if isinstance(member, dict) else [(f"{name}[{e.get('id')}]", e) for e in member]
        lines += [_row(label, entry, paint) for label, entry in entries]
    return lines


def computer_table(payload: Sequence[Mapping[str, Any]], paint: Paint) -> list[str]:
    return [_row(f"computerStatus[{entry.get('id')}]", entry, paint) for entry in payload]


def _row(label: str, entry: Mapping[str, Any], paint: Paint) -> str:
    values = "  ".join(f"{paint.grey(key)} {value or '“”'}" for key, value in entry.items() if key != "id")
    return f"  {paint.bold(label.ljust(20))} {values}"
