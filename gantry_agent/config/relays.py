"""`relays:` and `power_modes:` of the site file: which outputs cut which supplies, on whose order (cmd 1 and 5).

An output that cuts a supply is on while it cuts, and wired normally closed: a dead board cuts nothing. What feeds the
way to the cloud, or this very PC, may be rebooted; no power mode may leave it off, since nobody could order it on.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from gantry_agent.config import schema
from gantry_agent.config.complaints import Complaints
from gantry_agent.config.crosscheck import Problem
from gantry_agent.config.feeds import AIR
from gantry_agent.faults import Path_, suggest
from gantry_agent.field.plan_writes import can_pulse
from gantry_agent.field.product import Profile
from gantry_agent.field.product_snmp import SetsObject
from gantry_agent.model import Cabinet, Output, Relay, Site
from gantry_agent.text import Text

Place = tuple[int, str]  # cabinet, name of the output
Modes = tuple[tuple[Place, ...], ...]  # by level, from 1
HOST = "host"
LEVELS = (1, 2, 3)
ANSWER_NEEDS: Mapping[str, Text] = MappingProxyType(
    {"uplink": Text("上行网络", "the way to the cloud"), "agent": Text("本机", "this PC")}
)
_COOLING = re.compile(r"air|cool|hvac|kongtiao|(^|[-_])(ac|kt)($|[-_\d])", re.IGNORECASE)  # in the name of an output


class Supplies:
    """Reads both sections over the outputs of the cabinets; `profiles` are by device."""

    def __init__(
        self,
        shape: schema.SiteFile,
        cabinets: Sequence[Cabinet],
        profiles: Mapping[str, Profile],
        complaints: Complaints,
    ) -> None:
        self._shape = shape
        self._profiles = profiles
        self._complaints = complaints
        self._outputs = {(c.number, name): output for c in cabinets for name, output in c.outputs.items()}
        self._taken = {(c.number, name): what for c in cabinets for name, what in _used_by_doors(c)}

    def relays(self) -> tuple[Relay, ...]:
        found: list[Relay] = []
        for i, given in enumerate(self._shape.relays):
            if given.ip == schema.NO_IP:  # stands for one whose shape was wrong
                continue
            relay = self._relay(("relays", i), given)
            if relay:
                self._alone(("relays", i), relay, found)
                found.append(relay)
        return tuple(found)

    def _relay(self, path: Path_, given: schema.Relay) -> Relay | None:
        if (given.output is None) is not given.host:
            said = Text("应给出 output 或 host: true，且只能一个", "give output or host: true, one of them")
            self._say((*path, "output") if given.host else path, said)
            return None
        place = None
        if given.output is not None:
            place = self._place(given.output, (*path, "output"))
            if place is None:
                return None
            self._say_each((*path, "output"), self._unfit(place, given))
        return Relay(
            given.output or HOST, given.ip, given.port, place, given.pulse_s, given.hold_off_s, default=given.default
        )

    def _unfit(self, place: Place, given: schema.Relay) -> Iterator[Text]:
        output = self._outputs[place]
        yield from self._no_supply(place)
        if output.feeds == "agent" and not self._times_itself(output, given.pulse_s):
            times = self._times(output)
            yield Text(
                f"{output.name} 为本机供电，须由能自行计时脉冲的继电器板控制（型号中有 pulse{times.zh}），"
                "否则断电后无人恢复",
                f"{output.name} feeds this PC and needs a board that times the pulse itself (`pulse` in its profile"
                f"{times.en}); otherwise nobody would switch it on again",
            )

    def _times_itself(self, output: Output, seconds: float) -> bool:
        profile = self._profiles.get(output.device)
        if profile is None or profile.switched(output.point) is None:
            return True  # told already
        return can_pulse(profile, output.point, int(not output.invert), seconds)

    def _times(self, output: Output) -> Text:
        """The pulses that the output's device can time, to be put in brackets."""
        profile = self._profiles.get(output.device)
        found = profile.switched(output.point) if profile else None
        if found is None or found.point.pulse is None or found.point.pulse.place(int(not output.invert)) is None:
            return Text("", "")
        return Text(f"，可用 {found.point.pulse.times()} 秒", f": {found.point.pulse.times()} s")

    def _alone(self, path: Path_, relay: Relay, others: Sequence[Relay]) -> None:
        for other in others:
            address = f"{other.ip}:{other.port}"
            if (relay.ip, relay.port) == (other.ip, other.port):
                said = Text(
                    f"{address} 重复：已是 {other.name}；请用不同的端口区分",
                    f"{address} is given twice, for {other.name} already; tell them apart by another port",
                )
                self._say((*path, "port"), said)
            if relay.output == other.output:
                what = Text("本机", "this PC") if relay.output is None else Text(relay.name, relay.name)
                said = Text(f"{what.zh} 已由 {address} 控制", f"{what.en} is that of {address} already")
                self._say((*path, "host" if relay.output is None else "output"), said)
            if relay.default and other.default:
                said = Text(
                    f"default 已是 {other.name}（{address}）", f"{other.name} ({address}) is the default already"
                )
                self._say((*path, "default"), said)

    def modes(self) -> Modes:
        """The outputs that each level cuts, by itself; a higher one cuts those of the lower ones too."""
        found: dict[Place, int] = {}
        for level in LEVELS:
            for i, name in enumerate(self._shape.power_modes.get(level, [])):  # type: ignore[call-overload]
                path: Path_ = ("power_modes", level, i)
                place = self._place(name, path) if name else None
                if place is None:
                    continue
                if place in found:
                    said = Text(
                        f"{name} 已在模式 {found[place]} 中；模式是累积的，写一次即可",
                        f"{name} is in mode {found[place]} already; modes are cumulative, once is enough",
                    )
                    self._say(path, said)
                found.setdefault(place, level)
                self._say_each(path, self._never(place))
        return tuple(tuple(place for place, at in found.items() if at == level) for level in LEVELS)

    def _never(self, place: Place) -> Iterator[Text]:
        output = self._outputs[place]
        if what := ANSWER_NEEDS.get(output.feeds):
            yield Text(
                f"{output.name} 为{what.zh}供电，不能列入供电模式：切断后平台无法再恢复",
                f"{output.name} feeds {what.en} and cannot be in a power mode: nobody could order it on again",
            )
        if output.pulse_s:
            yield Text(
                f"{output.name} 有 pulse_s，会自行恢复，不能列入供电模式",
                f"{output.name} has pulse_s and goes back by itself; it cannot be in a power mode",
            )
        yield from self._no_supply(place)

    def _no_supply(self, place: Place) -> Iterator[Text]:
        """Say why an output is not one that cuts a supply."""
        output = self._outputs[place]
        if place in self._taken:
            yield _in_use(output, self._taken[place])
        profile = self._profiles.get(output.device)
        found = profile.switched(output.point) if profile else None
        if found is not None and isinstance(found.point.write, SetsObject) and found.point.write.returns:
            yield Text(
                f"{output.device} 的 {output.point} 由设备自行复位，不能切断供电：断电时长与恢复都无法控制",
                f"{output.point} of {output.device} goes back by itself and cannot cut a supply: nobody could say for "
                "how long, nor end it",
            )

    # --- names

    def _place(self, name: str, path: Path_) -> Place | None:
        """Find the output that is meant by `router`, or by `2.router` where several cabinets have one."""
        number, dot, bare = name.partition(".") if name.partition(".")[0].isdecimal() else ("", "", name)
        here = [place for place in self._outputs if place[1] == bare and (not dot or place[0] == int(number))]
        if len(here) == 1:
            return here[0]
        if here:
            valid = ", ".join(f"{cabinet}.{bare}" for cabinet, _ in sorted(here))
            self._say(path, Text(f"几个机柜都有 {name}，请写 {valid}", f"several cabinets have {name}; write {valid}"))
        elif not self._written(number, bare):
            names = [one for _, one in self._outputs]
            valid_names = {n if names.count(n) == 1 else f"{cabinet}.{n}" for cabinet, n in self._outputs}
            tail = suggest(name, valid_names)
            self._say(path, Text(f"没有输出 {name}{tail.zh}", f"there is no output {name}{tail.en}"))
        return None

    def _written(self, number: str, name: str) -> bool:
        """Tell whether some cabinet has such an output that was faulty itself, which is told at its place."""
        return any(
            self._complaints.written(name, "cabinets", i, "outputs")
            for i, cabinet in enumerate(self._shape.cabinets)
            if not number or int(number) == cabinet.id
        )

    def _say(self, path: Path_, said: Text) -> None:
        self._complaints.add(path, said.zh, said.en)

    def _say_each(self, path: Path_, texts: Iterator[Text]) -> None:
        for said in texts:
            self._say(path, said)


def doubts(shape: schema.SiteFile, site: Site, profiles: Mapping[str, Profile]) -> Iterator[Problem]:
    """What of both sections, found without a fault, should be looked at again; `profiles` are by device."""
    named: dict[Place, list[int]] = {}  # with the levels of power modes
    for relay in site.relays:
        if relay.output is not None:
            named.setdefault(relay.output, [])
    for level, places in enumerate(site.power_modes, 1):
        for place in places:
            named.setdefault(place, []).append(level)
    for place, levels in named.items():
        output, path = site.output(place), _written_at(shape, place)
        if output.invert:
            yield (*path, "invert"), _inverted(output), False
        if not output.feeds and (1 in levels or _COOLING.search(output.name)):
            said = Text(
                f"{output.name} 若为空调供电，请写 feeds: airConditioners，否则恢复供电时不等待压缩机停机时间",
                f"if {output.name} feeds an air conditioner write feeds: airConditioners, or its supply comes back "
                "without the compressor's rest",
            )
            yield path, said, True
    rest_s = site.interlocks.compressor_off_s
    for i, relay in enumerate(site.relays):
        if relay.output is not None and site.output(relay.output).feeds == AIR and relay.pulse_s < rest_s:
            said = Text(
                f"{relay.name} 为空调供电：断电 {rest_s:g} 秒（compressor_off_s），而非 {relay.pulse_s:g} 秒",
                f"{relay.name} feeds an air conditioner: it is cut for {rest_s:g} s (compressor_off_s of interlocks), "
                f"not {relay.pulse_s:g}",
            )
            yield ("relays", i, "output"), said, False
    yield from _widths(site, profiles)


def _widths(site: Site, profiles: Mapping[str, Profile]) -> Iterator[Problem]:
    """Relays whose device times the pulse, but for as long as somebody has set it up for."""
    for i, relay in enumerate(site.relays):
        output = site.output(relay.output) if relay.output is not None else None
        if output is None or output.feeds == AIR:  # lasts for the compressor's rest
            continue
        profile = profiles[output.device]
        if not can_pulse(profile, output.point, int(not output.invert), relay.pulse_s):
            continue
        found = profile.switched(output.point)
        width = found.point.pulse.width if found and found.point.pulse else None
        if width is None or width.settable:
            continue
        less = (
            Text("否则不执行重启", "else it is not rebooted at all")
            if output.feeds == "agent"
            else Text("否则由本程序计时，须在运行才能恢复供电", "else this program times it, and has to live for that")
        )
        said = Text(
            f"{output.name} 的断电时间由设备自身的脉宽决定，请在设备上设为 {relay.pulse_s:g} 秒，{less.zh}",
            f"{output.name} is cut for as long as the device is set up for: set {relay.pulse_s:g} s there, {less.en}",
        )
        yield ("relays", i, "pulse_s"), said, False


def _written_at(shape: schema.SiteFile, place: Place) -> Path_:
    return next(("cabinets", i, "outputs", place[1]) for i, one in enumerate(shape.cabinets) if one.id == place[0])


def _inverted(output: Output) -> Text:
    return Text(
        f"{output.name} 为 invert：断开 = 断电，板卡失电或失效时供电就被切断；请接常闭触点并去掉 invert",
        f"{output.name} is inverted: its supply is cut while the contact is open, so a board that is dead or loses "
        "power cuts it; wire the normally closed contact and take invert out",
    )


def _used_by_doors(cabinet: Cabinet) -> Iterator[tuple[str, Text]]:
    for door in cabinet.doors:
        if door.unlock:
            zh = {"front": "前门", "back": "后门"}[door.side]
            yield door.unlock, Text(f"{zh}开锁", f"unlock of the {door.side} door")
    for name, what in ((cabinet.siren, Text("警笛", "siren")), (cabinet.beacon, Text("警灯", "beacon"))):
        if name:
            yield name, what


def _in_use(output: Output, what: Text) -> Text:
    return Text(
        f"{output.name} 已用于{what.zh}，不能再切断供电", f"{output.name} is the {what.en} and cannot cut a supply too"
    )
