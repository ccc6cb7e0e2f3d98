"""`cameras:` of a cabinet and `media:`: who looks at which door, and how much of it is kept.

Whether a camera answers is not looked at here; that an RTSP stream needs the program ffmpeg is told as advice.
"""

from collections.abc import Collection, Iterator, Mapping

from gantry_agent.config import schema
from gantry_agent.config.complaints import Complaints
from gantry_agent.faults import Path_
from gantry_agent.media import Bounds, Settings
from gantry_agent.media.album import SIDES, Side
from gantry_agent.media.rtsp import is_there
from gantry_agent.model import Camera, Role
from gantry_agent.text import Text

Filled = Mapping[str, Collection[tuple[Role, str]]]  # by device key

_DOOR: Mapping[Side, Text] = {"front": Text("前门", "front"), "back": Text("后门", "back")}


def read_cameras(shape: schema.SiteFile, filled: Filled, complaints: Complaints) -> tuple[Camera, ...]:
    """Return the cameras of all cabinets, with their passwords in place."""
    contacts = {field for fields in filled.values() for field in fields}
    found: list[Camera] = []
    for path, cabinet, side, given in _given(shape):
        password = complaints.secret(path, "password", given.password, given.password_file)
        for said in _problems(path, complaints):
            complaints.add(path, said.zh, said.en)
        if (Role(cabinet, "doors"), f"{side}DoorClosed") not in contacts:
            door = _DOOR[side]
            complaints.add(
                path,
                f"{door.zh}没有门磁，摄像机不会被触发；请在 map 中给出 doors.{side}DoorClosed",
                f"the {door.en} door has no contact that would trigger the camera; map doors.{side}DoorClosed",
                at_key=True,
            )
        found.append(Camera(cabinet, side, given.snapshot, given.stream, given.user or "", password or ""))
    return tuple(found)


def media_settings(given: schema.Media) -> Settings:
    bounds = Bounds(given.max_mb * 1_000_000, given.max_days * 86_400.0)
    return Settings(bounds, given.before_s, given.after_s, given.tolerance_s)


def doubts(shape: schema.SiteFile) -> Iterator[tuple[Path_, Text, bool]]:
    """What a camera asks for and this PC does not have."""
    for path, _, _, given in _given(shape):
        if given.stream and given.stream.startswith("rtsp") and not is_there():
            said = Text(
                "RTSP 录像需要程序 ffmpeg（apt-get install ffmpeg）；本机没有，只能抓拍图片",
                "a clip of an RTSP stream needs the program ffmpeg (apt-get install ffmpeg), which this PC does not "
                "have; only pictures are taken",
            )
            yield (*path, "stream"), said, False


def _given(shape: schema.SiteFile) -> Iterator[tuple[Path_, int, Side, schema.Camera]]:
    for i, cabinet in enumerate(shape.cabinets):
        for side in SIDES:
            given: schema.Camera | None = getattr(cabinet.cameras, side)
            if given is not None:
                yield ("cabinets", i, "cameras", side), cabinet.id, side, given


def _problems(path: Path_, complaints: Complaints) -> Iterator[Text]:
    def written(*names: str) -> bool:  # be it with a fault of its own
        return any(complaints.written(name, *path) for name in names)

    if not written("snapshot", "stream"):
        yield Text("应给出 snapshot（抓拍网址）或 stream（视频流）", "give snapshot, stream or both: where to ask it")
    if written("user") != written("password", "password_file"):
        yield Text("user 与 password 应同时给出", "give user and password together")
