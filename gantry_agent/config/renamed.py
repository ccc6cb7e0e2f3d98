"""Old names of products and points in a site file go on working, and `check` says what they are called now.

A profile tells what it was called (`was`) and which of its points (`renamed`). The shape of the file is put right
before anything looks at it, so that no later check knows of old names. Each old name is kept for one release.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gantry_agent.config import schema
from gantry_agent.config.crosscheck import Problem
from gantry_agent.faults import Path_
from gantry_agent.field.profile import Profile
from gantry_agent.text import Text

Known = Callable[[str], Profile | None]  # the profile of a name, an old one too; None where it cannot be had


def current(shape: schema.SiteFile, known: Known) -> tuple[schema.SiteFile, list[Problem]]:
    """Return the shape with every name as it is now, and what to tell about it."""
    told: list[Problem] = []
    computers = [
        _computer(one, known, ("computers", at), told) if isinstance(one, schema.SnmpComputer) else one
        for at, one in enumerate(shape.computers)
    ]
    cabinets = [_cabinet(one, known, ("cabinets", at), told) for at, one in enumerate(shape.cabinets)]
    return (shape.model_copy(update={"computers": computers, "cabinets": cabinets}) if told else shape), told


def _computer(given: schema.SnmpComputer, known: Known, path: Path_, told: list[Problem]) -> schema.SnmpComputer:
    profile = known(given.profile)
    if profile is None or profile.name == given.profile:
        return given
    told.append(((*path, "profile"), _said(given.profile, profile.name), False))
    return given.model_copy(update={"profile": profile.name})


def _cabinet(cabinet: schema.Cabinet, known: Known, path: Path_, told: list[Problem]) -> schema.Cabinet:
    profiles = {name: known(device.profile) for name, device in cabinet.devices.items()}
    devices = {
        name: _device(device, profiles[name], (*path, "devices", name), told)
        for name, device in cabinet.devices.items()
    }
    names = {name: profile.renamed if profile else {} for name, profile in profiles.items()}
    outputs = {name: _point(output, names, (*path, "outputs", name), told) for name, output in cabinet.outputs.items()}
    doors = cabinet.doors
    sides = {}
    for side in ("front", "back"):
        door = getattr(doors, side)
        if door is not None and door.reader is not None:
            reader = _point(door.reader, names, (*path, "doors", side, "reader"), told)
            sides[side] = door.model_copy(update={"reader": reader})
    changed = {"devices": devices, "outputs": outputs, "doors": doors.model_copy(update=sides)}
    return cabinet.model_copy(update=changed)


def _device(given: schema.Device, profile: Profile | None, path: Path_, told: list[Problem]) -> schema.Device:
    if profile is None:
        return given
    if profile.name != given.profile:
        told.append(((*path, "profile"), _said(given.profile, profile.name), False))
    mapped = dict(given.map)
    for target, one in given.map.items():
        if (now := profile.renamed.get(one.point)) is not None:
            told.append(((*path, "map", target), _said(one.point, now), False))
            mapped[target] = one.model_copy(update={"point": now})
    return given.model_copy(update={"profile": profile.name, "map": mapped})


def _point(given: Any, names: Mapping[str, Mapping[str, str]], path: Path_, told: list[Problem]) -> Any:
    """An output or a reader, each a point of a device."""
    now = names.get(given.device, {}).get(given.point)
    if now is None:
        return given
    told.append(((*path, "point"), _said(given.point, now), False))
    return given.model_copy(update={"point": now})


def _said(old: str, now: str) -> Text:
    return Text(
        f"{old} 已改名为 {now}；旧名称在下一版本中不再可用",
        f"{old} is called {now} now; the next release drops the old name",
    )
