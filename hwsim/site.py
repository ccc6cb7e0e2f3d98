"""The site file, read by the simulator for itself: which wires there are, which devices on them, what is wired where.

It reads what it simulates and passes over the rest; judging the file is the agent's business (`gantry-agent check`). A
fault that keeps the simulation from being built is a `SiteFault` that names the place and what would be valid.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from hwsim.devices import INSTANCES, PRODUCTS, THREE_PHASE, Product
from hwsim.devices.access import AccessProduct
from hwsim.devices.image import ModbusProduct
from hwsim.devices.oids import SnmpProduct
from hwsim.devices.spoken import DatagramProduct, LockProduct, MeterProduct
from hwsim.devices.zte import ZteProduct
from hwsim.plant.state import SIDES, Side
from hwsim.terminal import Complaint, of_system

WIRES = ("serial", "serial-tcp", "modbus-tcp", "snmp", "uhppote", "udp", "zte-http", "zte-serial")
LOCAL_PROFILE = "local-host"
Driven = Side | Literal["siren", "beacon"]
Drives = dict[str, Driven]


class SiteFault(Complaint):
    """The site file cannot be simulated."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One bus of the site."""

    name: str
    kind: str
    settings: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Wired:
    """An input of a module and the plant signal on it: `doors.frontDoorClosed`, `thunderSpd[1].status`."""

    signal: str
    number: int
    invert: bool


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """One device. `cabinet` 0 is a toll computer; `instance` counts its kind in the cabinet from 0."""

    key: str
    cabinet: int
    profile: str
    wire: str
    unit: int
    instance: int
    parameters: Mapping[str, Any] = field(hash=False)
    inputs: Mapping[int, Wired] = field(hash=False, default_factory=dict)
    object: str = ""  # what a ZTE site unit calls it


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """An output channel of a device, and what hangs on it: a lock, siren, beacon, a supply, or nothing simulated."""

    device: str
    channel: int
    invert: bool
    drives: Driven | None
    supply: str = ""  # the name of what it cuts off while it is on


@dataclass(frozen=True, slots=True)
class CabinetSpec:
    number: int
    phases: int
    air_conditioners: int
    spds: int
    outputs: tuple[OutputSpec, ...]
    readers: Mapping[Side, str] = field(hash=False, default_factory=dict)  # the device that reads cards at a door
    supplies: Mapping[str, tuple[int, ...]] = field(
        hash=False, default_factory=dict
    )  # name → air conditioners it feeds


@dataclass(frozen=True, slots=True)
class CameraSpec:
    """A camera at a door; its addresses are URLs, empty where it has no such."""

    cabinet: int
    side: Side
    snapshot: str = ""
    stream: str = ""
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        return f"{self.cabinet} {self.side}"


@dataclass(frozen=True, slots=True)
class SimSite:
    wires: Mapping[str, Wire] = field(hash=False)
    devices: Mapping[str, DeviceSpec] = field(hash=False)
    cabinets: Mapping[int, CabinetSpec] = field(hash=False)
    traps_to: tuple[str, int] | None = None  # where the agent listens for traps
    cameras: tuple[CameraSpec, ...] = ()
    timezone: str = "Asia/Shanghai"


def load(path: Path) -> SimSite:
    try:
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = of_system(error)
        raise SiteFault(f"无法读取配置文件 {path}：{why.zh}", f"cannot read the site file {path}: {why.en}") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise SiteFault(
            f"配置文件 {path} 第 {line} 行附近不是正确的 YAML；gantry-agent check 会指出位置",
            f"cannot read the site file {path} as YAML, near line {line}; gantry-agent check tells the place",
        ) from error
    if not isinstance(document, dict):
        raise SiteFault(
            f"配置文件 {path} 应由“键: 值”组成，含 buses 和 cabinets",
            f"cannot use the site file {path}: it must be a mapping with buses and cabinets",
        )
    return build(document)


def build(document: Mapping[str, Any]) -> SimSite:
    wires = {name: _wire(name, bus) for name, bus in _mapping(document, "buses").items() if bus.get("type") != "host"}
    cabinets, devices = {}, {}
    for cabinet in document.get("cabinets") or ():
        specs = list(_devices(cabinet, wires))
        devices.update({spec.key: spec for spec in specs})
        cabinets[int(cabinet["id"])] = _cabinet(cabinet, specs, document)
    devices.update({spec.key: spec for spec in _computers(document, wires)})
    cameras = tuple(spec for cabinet in document.get("cabinets") or () for spec in _cameras(cabinet))
    timezone = str(_mapping(document, "gantry").get("timezone", "Asia/Shanghai"))
    return SimSite(wires, devices, cabinets, _traps_to(document), cameras, timezone)


def _traps_to(document: Mapping[str, Any]) -> tuple[str, int] | None:
    if "traps" not in document:
        return None
    listen = str(_mapping(document, "traps").get("listen", "0.0.0.0:162"))
    if not listen.rpartition(":")[2].isdecimal():
        raise SiteFault(
            f"traps.listen {listen} 应为 地址:端口", f"cannot use traps.listen {listen}: address:port is needed"
        )
    return "127.0.0.1", int(listen.rpartition(":")[2])


def _mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key) or {}
    if not isinstance(value, Mapping):
        raise SiteFault(f"{key} 应由“键: 值”组成", f"cannot use {key}: it must be a mapping")
    return value


def _wire(name: str, bus: Mapping[str, Any]) -> Wire:
    kind = str(bus.get("type"))
    if kind not in WIRES:
        valid = ", ".join(WIRES)
        raise SiteFault(
            f"不能仿真总线 {name}，类型 {kind}；可用：{valid}",
            f"cannot simulate bus {name} of type {kind}; valid: {valid}",
        )
    needed = ("port",) if kind == "serial" else ("host",)
    for key in needed:
        if key not in bus:
            raise SiteFault(f"不能仿真总线 {name}：缺少 {key}", f"cannot simulate bus {name}: it has no {key}")
    return Wire(name, kind, bus)


def _devices(cabinet: Mapping[str, Any], wires: Mapping[str, Wire]) -> Iterator[DeviceSpec]:
    number, counted = int(cabinet["id"]), dict[str, int]()
    for name, device in _mapping(cabinet, "devices").items():
        key, profile = f"{number}.{name}", str(device.get("profile"))
        if profile == LOCAL_PROFILE:
            continue
        _check(key, profile, str(device.get("bus")), wires)
        member = INSTANCES.get(profile, profile)
        given = (device.get("ids") or {}).get(member)
        instance = int(given[0]) - 1 if given else counted.get(member, 0)
        counted[member] = instance + 1
        yield DeviceSpec(
            key,
            number,
            profile,
            str(device["bus"]),
            int(device.get("unit", 1)),
            instance,
            device.get("parameters") or {},
            _inputs(key, device.get("map") or {}),
            str(device.get("object", "")),
        )


def _cameras(cabinet: Mapping[str, Any]) -> Iterator[CameraSpec]:
    for side in SIDES:
        if given := _mapping(cabinet, "cameras").get(side):
            secret = given.get("password", "")
            if "password_file" in given:
                secret = Path(given["password_file"]).read_text(encoding="utf-8").strip()
            urls = str(given.get("snapshot", "")), str(given.get("stream", ""))
            yield CameraSpec(int(cabinet["id"]), side, *urls, str(given.get("user", "")), str(secret))


def _computers(document: Mapping[str, Any], wires: Mapping[str, Wire]) -> Iterator[DeviceSpec]:
    for k, computer in enumerate(document.get("computers") or ()):
        if computer.get("source") != "snmp":
            continue  # the computer the agent runs on reads itself
        key, profile = f"computer {computer['id']}", str(computer.get("profile", "host-resources"))
        _check(key, profile, str(computer.get("bus")), wires)
        names = {name: computer[name] for name in ("sys_disk", "data_disk", "nic") if name in computer}
        yield DeviceSpec(key, 0, profile, str(computer["bus"]), 1, k, names)


def _check(key: str, profile: str, bus: str, wires: Mapping[str, Wire]) -> None:
    if profile not in PRODUCTS:
        valid = ", ".join(sorted(PRODUCTS))
        raise SiteFault(
            f"不能仿真 {key}：没有型号 {profile} 的仿真；可用：{valid}",
            f"cannot simulate {key}: profile {profile} is unknown; valid: {valid}",
        )
    if bus not in wires:
        valid = ", ".join(sorted(wires))
        raise SiteFault(
            f"不能仿真 {key}：没有总线 {bus}；可用：{valid}",
            f"cannot simulate {key}: its bus {bus} is not among the buses {valid}",
        )
    if wires[bus].kind not in _carries(PRODUCTS[profile]):
        kind = wires[bus].kind
        raise SiteFault(
            f"不能仿真 {key}：型号 {profile} 不能接在总线 {bus}（{kind}）上",
            f"cannot simulate {key}: profile {profile} does not speak on bus {bus} ({kind})",
        )


def _carries(product: Product) -> tuple[str, ...]:
    """The kinds of wire that a product is reached by."""
    if isinstance(product, AccessProduct):
        return ("uhppote",)
    if isinstance(product, DatagramProduct):
        return ("udp",)
    if isinstance(product, ZteProduct):
        return ("zte-http",)
    if isinstance(product, LockProduct | MeterProduct):
        return ("serial", "serial-tcp", "zte-serial")
    if isinstance(product, ModbusProduct):
        return ("serial", "serial-tcp", "modbus-tcp")
    return ("snmp",) if isinstance(product, SnmpProduct) else ("serial", "serial-tcp")


def _inputs(key: str, wiring: Mapping[str, Any]) -> dict[int, Wired]:
    inputs = {}
    for name, target in wiring.items():
        detailed = target if isinstance(target, Mapping) else {"point": target}
        match = re.fullmatch(r"di(\d+)|door([1-4])_open|(?:open|closed)(?:\[(\d+)\])?", str(detailed.get("point")))
        field_name = re.fullmatch(r"(\w+)(?:\[(\d+)\])?\.(\w+)", name)
        if field_name is None:
            raise SiteFault(
                f"{key} 的 map 有误：{name} 应为 member.field 或 member[n].field 的形式",
                f"cannot wire {key}: {name} is not of the form member.field or member[n].field",
            )
        if match:  # a generic point that is no input (an output read back) has nothing wired to it
            signal = f"{field_name[1]}.{field_name[3]}"
            inputs[int(match[1] or match[2] or match[3] or 0)] = Wired(
                signal, int(field_name[2] or 1), bool(detailed.get("invert"))
            )
    return inputs


def _cabinet(cabinet: Mapping[str, Any], specs: list[DeviceSpec], document: Mapping[str, Any]) -> CabinetSpec:
    number = int(cabinet["id"])
    doors = _mapping(cabinet, "doors")
    drives: Drives = {str(doors[side]["unlock"]): side for side in SIDES if (doors.get(side) or {}).get("unlock")}
    for name in ("siren", "beacon"):
        if doors.get(name):
            drives[str(doors[name])] = name
    supplies = _supplies(cabinet, document, _count(specs, "airConditioners"))
    return CabinetSpec(
        number,
        phases=3 if any(spec.profile in THREE_PHASE for spec in specs) else 1,
        air_conditioners=_count(specs, "airConditioners"),
        spds=_count(specs, "thunderSpd"),
        outputs=tuple(
            _output(number, name, out, drives, name if name in supplies else "")
            for name, out in _mapping(cabinet, "outputs").items()
        ),
        readers={
            side: f"{number}.{reader.get('device')}"
            for side in SIDES
            if (reader := (doors.get(side) or {}).get("reader"))
        },
        supplies=supplies,
    )


def _supplies(cabinet: Mapping[str, Any], document: Mapping[str, Any], units: int) -> dict[str, tuple[int, ...]]:
    """The outputs that relays and power modes name, `router` or `2.router`, and the air conditioners each cuts off.

    `feeds` says which, of any output. Without it mode 1 is that of the air conditioners (§3.2.2): one output cuts all
    of a cabinet, of several each cuts its own.
    """
    modes: Mapping[Any, Any] = _mapping(document, "power_modes")
    named = [str(relay["output"]) for relay in document.get("relays") or () if relay.get("output")]
    named += [str(name) for names in modes.values() for name in names]
    mine = [name for name in _mapping(cabinet, "outputs") if {name, f"{cabinet['id']}.{name}"} & set(named)]
    first = {str(name).rpartition(".")[2] for name in modes.get(1) or ()}
    cooling = [name for name in mine if name in first]
    all_units = tuple(range(units))
    guessed = {
        name: () if name not in cooling else all_units if len(cooling) == 1 else all_units[cooling.index(name) :][:1]
        for name in mine
    }
    return guessed | {
        name: all_units if fed == "airConditioners" else _numbered(fed["airConditioners"], units)
        for name, output in _mapping(cabinet, "outputs").items()
        if (fed := output.get("feeds")) == "airConditioners" or isinstance(fed, Mapping)
    }


def _numbered(given: int | list[int], units: int) -> tuple[int, ...]:
    """Air conditioners by their numbers, which count from 1 here: `ids` of the site file are not looked at."""
    return tuple(k - 1 for k in (given if isinstance(given, list) else [given]) if k <= units)


def _count(specs: list[DeviceSpec], member: str) -> int:
    """How many of a kind the cabinet has: as devices, or as contacts wired to a module."""
    as_devices = [spec.instance + 1 for spec in specs if INSTANCES.get(spec.profile) == member]
    as_contacts = [w.number for spec in specs for w in spec.inputs.values() if w.signal.startswith(f"{member}.")]
    return max([*as_devices, *as_contacts, 0])


def _output(cabinet: int, name: str, output: Mapping[str, Any], drives: Drives, supply: str) -> OutputSpec:
    point = re.sub(r"pde(\d)_cut(\d)", r"lvd\1\2_cut", str(output.get("point")))  # latch 12: branch 2 of PDE 1
    match = re.fullmatch(r"(?:do|relay|door|outlet|lvd)(\d+)(?:_cut)?|(?:unlocked|opened|open)(?:\[(\d+)\])?", point)
    if match is None:
        raise SiteFault(
            f"机柜 {cabinet} 的输出 {name} 有误：point 应为 do0、do1 ……",
            f"cannot wire output {name} of cabinet {cabinet}: point must be do0, do1, …",
        )
    device, invert = f"{cabinet}.{output.get('device')}", bool(output.get("invert"))
    return OutputSpec(device, int(match[1] or match[2] or 0), invert, drives.get(name), supply)
