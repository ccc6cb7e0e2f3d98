"""Where cards are shown, and who decides: `reader:` of a door, and the door controllers of the site file (cmd 7).

A reader that only reads is named by the site, and the agent unlocks its door. A UHPPOTE controller decides by itself,
from a list that the agent keeps equal to the whitelist: its doors are those that the site unlocks by its outputs.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from gantry_agent.config import schema
from gantry_agent.config.complaints import Complaints
from gantry_agent.config.crosscheck import Problem
from gantry_agent.faults import Path_, suggest
from gantry_agent.field.plan_controller import UHPPOTE, serial
from gantry_agent.field.product import (
    Profile,
)
from gantry_agent.field.product_places import (
    InSwipe,
    OpensDoor,
)
from gantry_agent.field.profile_controller import SERIAL
from gantry_agent.model import Cabinet, Device, Door, DoorController, Reader, Site
from gantry_agent.text import Text

HIGHEST_SERIAL = 0xFFFFFFFF


class Gates:
    """Reads what the doors of all cabinets say of cards; `profiles` and `where` are by device."""

    def __init__(
        self,
        shape: schema.SiteFile,
        cabinets: Iterable[Cabinet],
        devices: Mapping[str, Device],
        profiles: Mapping[str, Profile],
        where: Mapping[str, Path_],
        complaints: Complaints,
    ) -> None:
        self._shape = shape
        self._cabinets = tuple(cabinets)
        self._devices, self._profiles, self._where = devices, profiles, where
        self._complaints = complaints
        self.readers = (*self._named(), *self._deciding())
        self.controllers = tuple(self._controllers())

    def watching(self) -> dict[str, Device]:
        """The devices, those that show cards with the points to be watched."""
        points: dict[str, frozenset[str]] = {}
        for reader in self.readers:
            wanted = {reader.point, reader.count, reader.given} - {""}
            points[reader.device] = points.get(reader.device, frozenset()) | wanted
        return {key: replace(one, watched=points.get(key, frozenset())) for key, one in self._devices.items()}

    # --- readers

    def _named(self) -> Iterator[Reader]:
        """The readers that the file names."""
        for i, cabinet in enumerate(self._shape.cabinets):
            for side in ("front", "back"):
                door: schema.DoorSide | None = getattr(cabinet.doors, side)
                if door is None or door.reader is None or not door.reader.device:
                    continue
                path: Path_ = ("cabinets", i, "doors", side)
                if door.unlock is None:
                    said = Text("有读卡器就须给出 unlock", "a reader needs unlock, the output that it opens")
                    self._complaints.add((*path, "reader"), said.zh, said.en, at_key=True)
                found = self._reader(cabinet, side, door.reader, (*path, "reader"))
                if found:
                    yield found

    def _reader(self, cabinet: schema.Cabinet, side: str, given: schema.DoorReader, path: Path_) -> Reader | None:
        key = f"{cabinet.id}.{given.device}"
        profile = self._profiles.get(key)
        if profile is None:
            if given.device not in cabinet.devices:
                tail = suggest(given.device, cabinet.devices)
                self._complaints.add(
                    (*path, "device"),
                    f"没有设备 {given.device}{tail.zh}",
                    f"there is no device {given.device}{tail.en}",
                )
            return None
        showing = {name: point.shows for name, point in profile.points.items() if point.shows}
        shows = showing.get(given.point)
        if shows is None:
            tail = suggest(given.point, showing)
            self._complaints.add(
                (*path, "point"),
                f"{profile.name} 没有显示卡号的点 {given.point}{tail.zh}",
                f"{profile.name} has no point {given.point} that shows cards{tail.en}",
            )
            return None
        return Reader(cabinet.id, "front" if side == "front" else "back", key, given.point, shows.count, shows.given)

    # --- controllers

    def _deciding(self) -> Iterator[Reader]:
        """The readers at the doors of controllers, which decide by themselves."""
        for cabinet, door, device, number in self._controlled():
            points = self._profiles[device].points
            places = ((name, point.place) for name, point in points.items())
            swipes = {place.what: name for name, place in places if isinstance(place, InSwipe) and place.door == number}
            if "card" in swipes:
                yield Reader(cabinet, door.side, device, swipes["card"], swipes.get("event", ""), decides=True)

    def _controlled(self) -> Iterator[tuple[int, Door, str, int]]:
        """Cabinet, door, controller, and the door's number there."""
        for cabinet in self._cabinets:
            for door in cabinet.doors:
                output = cabinet.outputs.get(door.unlock or "")
                profile = self._profiles.get(output.device) if output else None
                point = profile.points.get(output.point) if profile and output else None
                if output and point and isinstance(point.write, OpensDoor):
                    yield cabinet.number, door, output.device, point.write.door

    def _controllers(self) -> Iterator[DoorController]:
        """One for each board, be it entered as several devices: the cards of a board are one list."""
        boards: dict[tuple[str, int], list[str]] = {}
        for key, profile in self._profiles.items():
            if profile.protocol == UHPPOTE and self._has_serial(key, profile):
                device = self._devices[key]
                boards.setdefault((device.bus, serial(profile, device)), []).append(key)
        for (_, number), keys in boards.items():
            doors = frozenset(door for _, _, key, door in self._controlled() if key in keys)
            if doors:
                yield DoorController(keys[0], number, doors)
            elif not self._names_no_door(keys):
                said = Text(
                    f"{keys[0]} 没有控制任何门：请给出输出（point: door1）并写入 doors 的 unlock",
                    f"{keys[0]} has no door: name an output (point: door1) and a door's unlock",
                )
                self._complaints.add(self._where[keys[0]], said.zh, said.en, at_key=True)

    def _names_no_door(self, keys: Collection[str]) -> bool:
        """Whether an output of the board is faulty itself, and told."""
        outputs = [output for cabinet in self._cabinets for output in cabinet.outputs.values()]
        return any(one.device in keys and self._profiles[one.device].switched(one.point) is None for one in outputs)

    def _has_serial(self, key: str, profile: Profile) -> bool:
        value = profile.parameters_of(self._devices[key]).get(SERIAL)
        if isinstance(value, int) and 0 < value <= HIGHEST_SERIAL:
            return True
        path = self._where[key]
        if self._complaints.written(SERIAL, *path, "parameters"):
            path = (*path, "parameters", SERIAL)
        said = Text(
            "须给出控制器的序列号，例如 parameters: {serial: 423187757}",
            "the controller's serial number is needed, like parameters: {serial: 423187757}",
        )
        self._complaints.add(path, said.zh, said.en)
        return False


def doubts(shape: schema.SiteFile, site: Site) -> Iterator[Problem]:
    """What of doors and cards, found without a fault, should be looked at again."""
    if "access" in shape.model_fields_set and not site.readers and not site.controllers:
        said = Text(
            "没有门禁控制器，也没有门给出 reader：白名单（cmd 7）会被拒绝，access 不起作用",
            "no door has a controller or a reader: a whitelist (cmd 7) is refused, and access does nothing",
        )
        yield ("access",), said, True
    for i, cabinet in enumerate(shape.cabinets):
        front, back = cabinet.doors.front, cabinet.doors.back
        if front and back and front.unlock is not None and front.unlock == back.unlock:
            said = Text(
                f"前后门都由 {back.unlock} 解锁：一条开门命令会打开两扇门",
                f"{back.unlock} unlocks both doors: an order for one opens the other too",
            )
            yield ("cabinets", i, "doors", "back", "unlock"), said, False
