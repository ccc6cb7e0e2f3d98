"""The stethoscope's ear-pieces: what a technician asks of a running agent – `probe`, `scan`, `doctor`, `frames`.

The same answers are given by the daemon through its door and, when none runs, by the command line over buses that it
opens itself. They are steps of plain values, as JSON has them; sentences carry both languages. What the figures of a
bus mean is `core.wiring`; how the hardware is asked, `field.examine`.
"""

import ctypes
import functools
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from gantry_agent.cloud.uplink import UplinkState
from gantry_agent.config import Config
from gantry_agent.config.site import SHIPPED_PROFILES, SITE_PROFILES
from gantry_agent.core import stethoscope
from gantry_agent.core.stethoscope import Hint, Listened, Look, UnitStatistics, percentile
from gantry_agent.core.wiring import hints
from gantry_agent.faults import suggest
from gantry_agent.field import examine
from gantry_agent.field.bus.recorder import Frame
from gantry_agent.field.load import LATE, Load
from gantry_agent.field.poller import Poller
from gantry_agent.inquiry import identify_bus, known_profiles, record
from gantry_agent.model import AgentError, Bus, Channel, Device, Site
from gantry_agent.store import Counts, Outage
from gantry_agent.store.outages import named
from gantry_agent.text import Text, read_kept

Step = Mapping[str, Any]

TIME_ERROR = 5  # adjtimex(2): the kernel's clock is not synchronized
TIMEX_BYTES = 512  # more than struct timex of any architecture; modes = 0 only reads
MOST_FRAMES = 20_000
PAGE_BYTES, PAGE_FRAMES = 64 * 1024, 500
EARLIEST_YEAR = 2024  # of this program: a clock before it has lost its battery
# What to look at, by the cloud's answer; another has no advice.
ADVICE: Mapping[str, Text] = MappingProxyType(
    {
        "1001": Text(
            "检查 cloud.auth、gantry.id，以及平台是否已登记本门架和本机地址",
            "look at cloud.auth, gantry.id, and whether the platform knows this gantry and lets this address in",
        ),
        "1003": Text("检查本机时钟是否与平台一致", "look at the clock of this computer and of the platform"),
        "1004": Text(
            "签名不符：检查中间是否有代理改动了报文，再问平台",
            "the signature does not fit: look for a proxy on the way that changes the body, then ask the platform",
        ),
    }
)


class Unknown(AgentError):
    """The question names something that is not there."""


# --- one bus --------------------------------------------------------------------------------------------------------


def look_at(bus: Bus, poller: Poller, devices: Iterable[Device], config: Config, now: float) -> Look:
    """Put together what was heard on a bus with who is configured there; `now` is monotonic."""
    heard = poller.journal.heard(now)
    units: dict[int, Listened] = {}
    for device in devices:
        unit = 0 if bus.kind in {"snmp", "host"} else device.unit
        if unit in units or unit not in heard.units:
            continue
        response_s = config.profiles[device.key].timing.response_s
        units[unit] = Listened(unit, device.key, response_s, heard.units[unit])
    return Look(bus.kind, place(bus), heard, tuple(units[number] for number in sorted(units)))


def place(bus: Bus) -> str:
    """Say where a bus is, as the technician knows it."""
    settings = bus.settings
    if "host" in settings:
        return f"{settings['host']}:{settings['port']}" if settings.get("port") else str(settings["host"])
    return str(settings.get("port") or bus.kind)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)


def _unit(unit: int, device: str | None, figures: UnitStatistics) -> dict[str, Any]:
    times = {f"p{percent}_ms": _milliseconds(percentile(figures.latencies_s, percent)) for percent in (50, 95, 99)}
    return {
        "unit": unit,
        "device": device,
        "ok": figures.ok,
        "refused": figures.refused,
        "timeouts": figures.timeouts,
        "bad": figures.bad,
        "late": figures.late,
        **times,
        "silence_ms": _milliseconds(percentile(figures.silences_s, 50)),
        "endings": {str(ending): count for ending, count in sorted(figures.endings.items())},
        "broken_at": {str(at): count for at, count in sorted(figures.broken_at.items())},
        "lately": {
            "asked": len(figures.recent),
            "failed": sum(ending not in stethoscope.WORKING for ending in figures.recent),
        },
    }


def _late(load: Load, site: Site) -> Iterator[Hint]:
    """Say which lane the bus is too slow for."""
    for zh, en, stretch, period_s in (
        ("告警和门状态", "alarm and door points", load.fast, site.fast_s),
        ("测量值", "measurements", load.slow, site.slow_s),
    ):
        if stretch > LATE:
            text = Text(
                f"总线太慢：{zh}每 {stretch * period_s:.1f} s 读一次，要求 {period_s:g} s",
                f"the bus is too slow: {en} come every {stretch * period_s:.1f} s instead of {period_s:g} s",
            )
            yield Hint("load", text, note=True)


def _bus(look: Look, name: str, poller: Poller, site: Site) -> dict[str, Any]:
    names = {unit.unit: unit.name for unit in look.units}
    found = (*(hints(look) if look.kind != "host" else ()), *_late(poller.load, site))
    return {
        "bus": name,
        "kind": look.kind,
        "place": look.place,
        "down": look.figures.down.why if look.figures.down else None,
        "strays": {str(kind): count for kind, count in look.figures.strays.items()},
        "losses": look.figures.losses,
        "load": asdict(poller.load),
        "frames_bytes": poller.journal.recorder.size,
        "pins": [read_kept(pin.cause).both() for pin in poller.journal.recorder.pins],
        "units": [_unit(unit, names.get(unit), f) for unit, f in sorted(look.figures.units.items())],
        "hints": [
            {"rule": hint.rule, "units": list(hint.units), "note": hint.note, **hint.text.both()} for hint in found
        ],
    }


# --- the clock ------------------------------------------------------------------------------------------------------


def clock(config: Config) -> Step:
    """Tell this computer's time and whether something keeps it right: with a wrong one, no command passes (1003)."""
    now = datetime.fromtimestamp(time.time(), ZoneInfo(config.site.timezone))
    libc = ctypes.CDLL(None, use_errno=True)
    adjtimex = getattr(libc, "adjtimex", None)
    synchronized = None
    if adjtimex is not None:
        state = adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
        synchronized = None if state < 0 else state != TIME_ERROR
    return {
        "now": now.isoformat(timespec="seconds"),
        "timezone": config.site.timezone,
        "synchronized": synchronized,
        "plausible": now.year >= EARLIEST_YEAR,
    }


# --- all of it ------------------------------------------------------------------------------------------------------


class Doctor:
    """Answers a technician's questions over the buses of one process."""

    def __init__(self, config: Config, pollers: Mapping[str, Poller], *, running: bool) -> None:
        self._config = config
        self._pollers = pollers
        self._running = running

    def answer(self, question: Step) -> AsyncIterator[Step]:
        """Answer what can be answered by the buses alone."""
        match question.get("ask"):
            case "probe":
                return self.probe(question)
            case "scan":
                return self.scan(question)
            case "frames":
                return self.frames(question)
            case "identify":
                return self.identify(question)
        asked = question.get("ask")
        valid = "doctor, frames, identify, probe, scan"
        raise Unknown(Text(f"不会回答 {asked}；可用：{valid}", f"cannot answer {asked}; valid: {valid}"))

    async def probe(self, question: Step) -> AsyncIterator[Step]:
        device = device_of(self._config, question.get("device"))
        yield {"device": device.key, "profile": device.profile, "bus": device.bus, "unit": device.unit}
        profile, poller = self._config.profiles[device.key], self._pollers[device.bus]
        asked = examine.probe(poller, profile, device)
        if question.get("record"):
            asked = record(poller, self._config.site.buses[device.bus], profile, device)
        async for step in asked:
            yield step

    async def identify(self, question: Step) -> AsyncIterator[Step]:
        bus = bus_of(self._config, question.get("bus"))
        mine = {d.unit: (d.key, d.profile) for d in self._config.site.devices.values() if d.bus == bus.name}
        known = functools.partial(known_profiles, (SITE_PROFILES, SHIPPED_PROFILES))
        async for step in identify_bus(self._pollers[bus.name], bus, mine, question, known):
            yield step

    async def scan(self, question: Step) -> AsyncIterator[Step]:
        bus = bus_of(self._config, question.get("bus"))
        profiles = self._config.profiles
        mine = [d for d in self._config.site.devices.values() if d.bus == bus.name]
        known = {d.unit: d.key for d in mine if profiles[d.key].protocol == "modbus"}
        others = [d.key for d in mine if d.unit not in known] if bus.kind in examine.MODBUS else []
        first, last = question.get("units") or (examine.UNITS[0], examine.UNITS[-1])
        if not (isinstance(first, int) and isinstance(last, int) and 1 <= first <= last <= examine.UNITS[-1]):
            least, most = examine.UNITS[0], examine.UNITS[-1]
            raise Unknown(
                Text(
                    f"不能扫描地址 {first} 到 {last}：应在 {least} 到 {most} 之间，小的在前",
                    f"cannot scan units {first} to {last}: valid are {least} to {most}, the smaller first",
                )
            )
        yield {"bus": bus.name, "kind": bus.kind, "place": place(bus), "others": others}
        thorough = bool(question.get("thorough"))
        poller = self._pollers[bus.name]
        async for step in examine.scan(poller, bus, known, range(first, last + 1), thorough=thorough):
            yield step

    async def frames(self, question: Step) -> AsyncIterator[Step]:
        """Give a bus's raw frames: of every pin, then the latest."""
        bus = bus_of(self._config, question.get("bus"))
        asked = question.get("latest")
        latest = min(asked, MOST_FRAMES) if isinstance(asked, int) and asked > 0 else 200
        recorder = self._pollers[bus.name].journal.recorder
        offset_s = time.time() - time.monotonic()
        for pin in recorder.pins:
            said = read_kept(pin.cause)
            yield {"pin": said.en, "zh": said.zh, "at": pin.at + offset_s}
            for page in _pages(pin.frames, offset_s):
                yield {"frames": page}
        yield {"latest": latest}
        for page in _pages(recorder.frames(latest), offset_s):
            yield {"frames": page}

    def examination(
        self,
        lost: Iterable[str],
        counts: Counts | None,
        uplinks: Mapping[Channel, UplinkState],
        servers: Mapping[Channel, str],
        outages: Iterable[Outage] = (),
        *,
        in_memory: bool = False,
        more: Iterable[Step] = (),
    ) -> Iterable[Step]:
        """Everything that can be said without asking the hardware, and what is wrong with it.

        `in_memory` says that the disk fails just now and the store stands in memory. `more` are steps of others: what
        the cloud has set, and what the cameras did.
        """
        site = self._config.site
        wrong: list[Text] = []
        yield {
            "gantry": site.gantry_id,
            "running": self._running,
            "cabinets": len(site.cabinets),
            "devices": len(site.devices),
            "buses": len(site.buses),
            "cloud": dict(servers),
            "control": self._config.control.listen,
        }
        now = time.monotonic()
        for name, poller in self._pollers.items():
            bus = site.buses[name]
            look = look_at(bus, poller, (d for d in site.devices.values() if d.bus == name), self._config, now)
            told = _bus(look, name, poller, site)
            yield told
            wrong += [Text(f"总线 {name}：{h['zh']}", f"bus {name}: {h['en']}") for h in told["hints"] if not h["note"]]
        wrong += [Text(f"设备 {key} 无应答", f"device {key} does not answer") for key in sorted(lost)]
        yield {"clock": (told_clock := clock(self._config))}
        wrong += _wrong_clock(told_clock)
        for channel, state in uplinks.items():
            yield {"uplink": channel, **asdict(state)}
            if state.failing_since is not None:
                wrong.append(_wrong_uplink(channel, state))
        if counts is not None:
            yield {"outbox": asdict(counts), "in_memory": in_memory}
            wrong += _wrong_store(counts, in_memory=in_memory)
        if offline := [asdict(outage) for outage in outages]:
            yield {"outages": offline}
        for step in more:
            yield step
            wrong += _wrong_camera(step)
        yield {"wrong": [text.both() for text in wrong]}


def _wrong_camera(told: Step) -> Iterator[Text]:
    if "camera" in told:
        door = {"front": Text("前门", "front door"), "back": Text("后门", "back door")}[told["side"]]
        where = Text(f"机柜 {told['cabinet']} {door.zh}摄像机", f"camera of cabinet {told['cabinet']}, {door.en}")
        for key, what in (
            ("failed", Text("没有图片", "no picture")),
            ("stream_failed", Text("没有视频流", "no stream")),
        ):
            if why := told[key]:
                yield Text(f"{where.zh}{what.zh}：{why['zh']}", f"{where.en}: {what.en}: {why['en']}")
    elif "media" in told and (why := told["media"]["failed"]):
        yield Text(f"图片无法保存：{why['zh']}", f"pictures cannot be kept: {why['en']}")


def _wrong_clock(told: Step) -> Iterator[Text]:
    if not told["plausible"]:
        yield Text("时钟不对", "the clock is wrong")
    elif told["synchronized"] is False:  # None: the kernel does not tell
        yield Text(
            "时钟未同步：平台的命令和上传会因时间差被拒（1003）；检查 chrony 或 timedatectl",
            "the clock is not synchronized: commands and uploads will be refused (1003); look at chrony or timedatectl",
        )


def answered(state: Step) -> Text:
    """What the cloud answered last; where it could not be reached, which hop failed, in Chinese without the details."""
    said = f"{state['code']} {state['msg']}".strip()
    if state["connected"] is not False:
        return Text(said, said)
    return Text(f"断在{named(state['hop']).zh}" if state["hop"] else "无应答", said)


def _wrong_uplink(channel: Channel, state: UplinkState) -> Text:
    said = answered(asdict(state))
    zh, en = f"上传 {channel} 失败：{said.zh}", f"uploads of {channel} fail: {said.en}"
    if (advice := ADVICE.get(state.code)) is None:
        return Text(zh, en)
    return Text(f"{zh}；{advice.zh}", f"{en}; {advice.en}")


def _wrong_store(counts: Counts, *, in_memory: bool) -> Iterator[Text]:
    if in_memory:
        yield Text(
            "磁盘不能写（已满、只读或损坏），新记录只在内存中，断电会丢失；检查 df -h 和 dmesg",
            "the disk cannot be written (full, read-only or gone): new records are in memory only and lost in a power"
            " cut; look at df -h and dmesg",
        )
    if counts.aside:
        yield Text(
            f"有 {counts.aside} 条记录被平台拒收（gantry-agent outbox 查看）",
            f"{counts.aside} records were refused by the cloud for good (see gantry-agent outbox)",
        )


def _pages(frames: Iterable[Frame], offset_s: float) -> Iterator[list[list[Any]]]:
    """Write frames down in pieces that a line of the door has room for."""
    page: list[list[Any]] = []
    size = 0
    for frame in frames:
        page.append([round(frame.at + offset_s, 6), frame.direction, frame.data.hex()])
        size += len(frame.data)
        if size > PAGE_BYTES or len(page) >= PAGE_FRAMES:
            yield page
            page, size = [], 0
    if page:
        yield page


def device_of(config: Config, key: object) -> Device:
    """Find a device by its key in the site, or by its name where only one cabinet has it."""
    devices = config.site.devices
    if isinstance(key, str):
        if key in devices:
            return devices[key]
        alike = [name for name in devices if name.partition(".")[2] == key]
        if len(alike) == 1:
            return devices[alike[0]]
    tail = suggest(str(key), devices, most=40)
    raise Unknown(Text(f"没有设备 {key}{tail.zh}", f"cannot find device {key}{tail.en}"))


def bus_of(config: Config, name: object) -> Bus:
    """Find a bus that has devices."""
    used = {device.bus for device in config.site.devices.values()}
    buses = {bus.name: bus for bus in config.site.buses.values() if bus.name in used}
    if isinstance(name, str) and name in buses:
        return buses[name]
    tail = suggest(str(name), buses, most=40)
    raise Unknown(Text(f"没有总线 {name}{tail.zh}", f"cannot find bus {name}{tail.en}"))
