"""Scenes: starting conditions and a timetable of mishaps, read from `scenes/<name>.yaml`.

A scene's words are those of the control API (`plant` and `fault` bodies), so that what can be posted can be staged.
`at_s` counts plant seconds from the start of the simulation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from hwsim.terminal import Complaint

FOLDER = Path(__file__).parent / "scenes"


class SceneFault(Complaint):
    """There is no such scene, or it cannot be used."""


@dataclass(frozen=True, slots=True)
class Cue:
    """What happens when: the body of a POST to /plant or /fault."""

    at_s: float
    target: str  # plant or fault
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scene:
    name: str
    title: str
    cues: tuple[Cue, ...]  # in order of time; the starting conditions are at 0
    repeat_s: float | None = None


def names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load(name: str) -> Scene:
    if name not in names():
        valid = ", ".join(names())
        raise SceneFault(f"没有场景 {name}；可用：{valid}", f"cannot play scene {name}; valid: {valid}")
    document = YAML(typ="safe").load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    start = [Cue(0.0, target, body) for entry in document.get("start") or () for target, body in entry.items()]
    timetable = []
    for entry in document.get("timetable") or ():
        at_s = float(entry["at_s"])
        timetable += [Cue(at_s, target, body) for target, body in entry.items() if target != "at_s"]
    cues = (*start, *sorted(timetable, key=lambda cue: cue.at_s))
    return Scene(name, document["title"], cues, document.get("repeat_s"))
