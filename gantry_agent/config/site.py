"""From the file's shape to the Site: what must agree between two places of the file, and with profiles and secrets.

`read_config` either returns a Config that can run, or raises ConfigFault with every fault of the file. It opens the
site file, the profiles it names and the secret files it names, nothing else: no device, no network.
"""

import ipaddress
import zoneinfo
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gantry_agent.cloud.control import ControlSettings, Tls
from gantry_agent.config import roles, schema
from gantry_agent.config.shape import read_shape
from gantry_agent.faults import ConfigFault, Document, Fault, Path_, read_document, suggest
from gantry_agent.field import profile as profiles
from gantry_agent.field.profile import Profile
from gantry_agent.model import Bus, Cabinet, Computer, Device, Door, MappedPoint, Output, Role, Site, Value
from gantry_agent.text import Text
from gantry_agent.vocabulary import COMPUTER

SHIPPED_PROFILES = Path(__file__).parent.parent / "profiles"
SITE_PROFILES = Path("/etc/gantry-agent/profiles")  # wins by name over the shipped ones

LOCAL_BUS = "local"
_SPEAKS: Mapping[str, frozenset[str]] = {
    "modbus": frozenset({"serial", "serial-tcp", "modbus-tcp"}),
    "snmp": frozenset({"snmp"}),
    "host": frozenset({"host"}),
}
_SECRETS = ("community", "write_community", "auth_key", "priv_key")


@dataclass(frozen=True, slots=True)
class CloudSettings:
    server: str
    interval_s: int
    auth: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the agent is told, checked."""

    site: Site
    cloud: CloudSettings
    control: ControlSettings
    storage: Path
    profiles: Mapping[str, Profile] = field(hash=False)  # by device key
    filled: Mapping[str, frozenset[tuple[Role, str]]] = field(hash=False)  # by device key


def read_config(path: Path, folders: Sequence[Path] = (SITE_PROFILES, SHIPPED_PROFILES)) -> Config:
    """Read and check a site file; raise ConfigFault with every fault in it."""
    document = read_document(path)
    shape, faults = read_shape(document)
    reader = _Reader(document, shape, folders)
    config = reader.build()
    if faults or reader.faults:
        raise ConfigFault([*faults, *reader.faults])
    return config


class _Reader:
    """One pass over one file, collecting faults instead of stopping at the first."""

    def __init__(self, document: Document, shape: schema.SiteFile, folders: Sequence[Path]) -> None:
        self.document, self.shape, self.folders = document, shape, folders
        self.faults: list[Fault] = []
        self._profiles: dict[str, Profile | None] = {}
        self._where: dict[str, Path_] = {}  # of each device, by key

    def build(self) -> Config:
        shape = self.shape
        buses = self._buses()
        self._timezone()
        devices: dict[str, Device] = {}
        computers = self._computers(buses, devices)
        cabinets = self._cabinets(buses, devices)
        if any(device.bus == LOCAL_BUS for device in devices.values()):
            buses[LOCAL_BUS] = Bus(LOCAL_BUS, "host", {})
        used = {key: known for key, device in devices.items() if (known := self._profiles[device.profile])}
        filled = {key: roles.filled(devices[key], used[key]) for key in used}
        self._addresses(devices)
        self._filled_twice(devices, filled)
        polling = shape.polling
        site = Site(
            gantry_id=shape.gantry.id,
            timezone=shape.gantry.timezone,
            buses=buses,
            devices=devices,
            cabinets=cabinets,
            computers=computers,
            misses=polling.misses,
            fast_s=polling.fast_s,
            slow_s=polling.slow_s,
        )
        return Config(site, self._cloud(), self._control(), Path(shape.storage.path), used, filled)

    def _fault(self, path: Path_, zh: str, en: str) -> None:
        self.faults.append(self.document.fault(path, Text(zh, en)))

    def _written(self, name: str, *path: str | int) -> bool:
        """Tell whether the file has this entry, be it faulty itself: then a reference to it is no fault of its own."""
        node = self.document.root
        for key in path:
            try:
                node = node[key]
            except (KeyError, IndexError, TypeError):
                return False
        return isinstance(node, Mapping) and name in node

    # --- single parts

    def _timezone(self) -> None:
        name = self.shape.gantry.timezone
        if name not in zoneinfo.available_timezones():
            tail = suggest(name, [z for z in zoneinfo.available_timezones() if z.startswith("Asia/")])
            self._fault(("gantry", "timezone"), f"没有时区 {name}{tail.zh}", f"there is no time zone {name}{tail.en}")

    def _cloud(self) -> CloudSettings:
        cloud = self.shape.cloud
        auth = self._secret(("cloud",), "auth", cloud.auth, cloud.auth_file, required=True)
        return CloudSettings(cloud.server, cloud.interval_s, auth or "")

    def _control(self) -> ControlSettings:
        control = self.shape.control
        port = control.listen.rpartition(":")[2]
        if not 0 < int(port) < 65536:
            self._fault(("control", "listen"), f"端口 {port} 应在 1–65535", f"port {port} must be from 1 to 65535")
        for i, text in enumerate(control.allow):
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError:
                self._fault(
                    ("control", "allow", i),
                    f"{text} 不是地址或网段，例如 10.0.0.5 或 10.0.0.0/8",
                    f"{text} is neither an address nor a network, like 10.0.0.5 or 10.0.0.0/8",
                )
        tls = control.tls
        for name in ("cert", "key", "client_ca"):
            if tls and (file := getattr(tls, name)):
                self._readable(("control", "tls", name), Path(file))
        return ControlSettings(
            listen=control.listen,
            allow=tuple(control.allow),
            clock_tolerance_s=control.clock_tolerance_s,
            requests_per_minute=control.requests_per_minute,
            body_limit_kb=control.body_limit_kb,
            tls=Tls(Path(tls.cert), Path(tls.key), Path(tls.client_ca) if tls.client_ca else None) if tls else None,
        )

    def _secret(
        self, path: Path_, name: str, value: str | None, file: str | None, *, required: bool = False
    ) -> str | None:
        """Take a secret from the file itself or from the file it names; never both."""
        if value is not None and file is not None:
            self._fault(
                (*path, f"{name}_file"), f"{name} 与 {name}_file 只能二选一", f"give {name} or {name}_file, not both"
            )
        if file is not None:
            text = self._readable((*path, f"{name}_file"), Path(file))
            if text is not None and not text.strip():
                self._fault((*path, f"{name}_file"), f"文件 {file} 为空", f"the file {file} is empty")
            return text.strip() if text else None
        if value is None and required:
            self._fault(path, f"缺少 {name} 或 {name}_file", f"{name} or {name}_file is required and missing")
        return value

    def _readable(self, path: Path_, file: Path) -> str | None:
        try:
            return file.read_text(encoding="utf-8")
        except OSError as e:
            self._fault(path, f"无法读取文件 {file}：{e.strerror}", f"cannot read the file {file}: {e.strerror}")
        except UnicodeDecodeError:
            self._fault(path, f"文件 {file} 不是 UTF-8 文本", f"cannot read the file {file}: it is not UTF-8 text")
        return None

    # --- buses

    def _buses(self) -> dict[str, Bus]:
        buses: dict[str, Bus] = {}
        ports: dict[tuple[str, ...], str] = {}
        for name, given in self.shape.buses.items():
            path: Path_ = ("buses", name)
            if name == LOCAL_BUS:
                self._fault(path, "local 是本机的保留名", "the name local is reserved for this host")
            settings: dict[str, Value | None] = given.model_dump(exclude={"type"})
            for secret in _SECRETS:
                if secret in settings:
                    value, file = settings[secret], settings.pop(f"{secret}_file")
                    settings[secret] = self._secret(
                        path, secret, str(value) if value else None, str(file) if file else None
                    )
            if isinstance(given, schema.SnmpBus):
                settings["version"] = str(given.version)
                self._check_snmp(path, given)
            port = ("tty", str(given.port)) if isinstance(given, schema.SerialBus) else (given.host, str(given.port))
            if (other := ports.setdefault(port, name)) != name:
                shown = ":".join(port).removeprefix("tty:")
                self._fault(
                    (*path, "port"), f"{shown} 已被总线 {other} 使用", f"{shown} is used by bus {other} already"
                )
            buses[name] = Bus(name, given.type, settings)
        return buses

    def _check_snmp(self, path: Path_, bus: schema.SnmpBus) -> None:
        if str(bus.version) == "3":
            if not bus.user:
                self._fault(path, "SNMP v3 需要 user", "SNMP version 3 needs a user")
            for protocol, key in (("auth_protocol", "auth_key"), ("priv_protocol", "priv_key")):
                has_key = bool(getattr(bus, key) or getattr(bus, f"{key}_file"))
                if bool(getattr(bus, protocol)) != has_key:
                    self._fault(path, f"{protocol} 与 {key} 应同时给出", f"give {protocol} and {key} together")
            if bus.priv_protocol and not bus.auth_protocol:
                self._fault(path, "加密需要先有认证 auth_protocol", "privacy needs authentication: give auth_protocol")
        elif not (bus.community or bus.community_file):
            self._fault(path, f"SNMP v{bus.version} 需要 community", f"SNMP version {bus.version} needs a community")

    # --- devices

    def _profile(self, name: str, path: Path_) -> Profile | None:
        if name not in self._profiles:
            self._profiles[name] = None
            known = profiles.names(self.folders)
            if name in known:
                try:
                    self._profiles[name] = profiles.load(name, self.folders)
                except ConfigFault as e:
                    self.faults += e.faults
                    return None
        found = self._profiles[name]
        if found is None and name not in profiles.names(self.folders):
            tail = suggest(name, profiles.names(self.folders), most=40)
            self._fault(path, f"没有设备型号 {name}{tail.zh}", f"there is no profile {name}{tail.en}")
        return found

    def _bus_of(self, name: str, profile: Profile | None, buses: Mapping[str, Bus], path: Path_) -> None:
        if name not in buses:
            if self._written(name, "buses"):
                return
            tail = suggest(name, buses)
            self._fault(path, f"没有总线 {name}{tail.zh}", f"there is no bus {name}{tail.en}")
        elif profile and buses[name].kind not in _SPEAKS[profile.protocol]:
            valid = ", ".join(sorted(_SPEAKS[profile.protocol]))
            kind = buses[name].kind
            self._fault(
                path,
                f"{profile.name} 使用 {profile.protocol}，不能接在 {kind} 总线上；可用：{valid}",
                f"{profile.name} speaks {profile.protocol} and cannot be on a {kind} bus; valid: {valid}",
            )

    def _computers(self, buses: Mapping[str, Bus], devices: dict[str, Device]) -> tuple[Computer, ...]:
        computers: list[Computer] = []
        for i, given in enumerate(self.shape.computers):
            path: Path_ = ("computers", i)
            self._once(path, "id", given.id, (c.number for c in computers))
            name = "local-host" if isinstance(given, schema.LocalComputer) else given.profile
            bus = LOCAL_BUS if isinstance(given, schema.LocalComputer) else given.bus
            profile = self._profile(name, (*path, "profile"))
            ip = given.ip or ""
            if ip and not _is_address(ip):
                self._fault((*path, "ip"), f"{ip} 不是 IP 地址", f"{ip} is not an IP address")
            if isinstance(given, schema.SnmpComputer):
                self._bus_of(given.bus, profile, buses, (*path, "bus"))
                ip = ip or self._address_of(given.bus, buses, path)
            computers.append(Computer(given.id, given.monitor, given.main, ip))
            key = f"computer {given.id}"
            self._where[key] = path
            asked = {
                "sys_disk": given.sys_disk,
                "data_disk": given.data_disk,
                "nic": given.nic,
                "link_mbps": given.link_mbps,
            }
            devices[key] = Device(
                key=key,
                cabinet=0,
                profile=name,
                bus=bus,
                unit=1,
                roles={COMPUTER.name: (given.id,)},
                parameters={k: v for k, v in asked.items() if v is not None},
                skip=_unasked(given, has_ip=bool(ip)),
            )
        return tuple(computers)

    def _address_of(self, bus: str, buses: Mapping[str, Bus], path: Path_) -> str:
        """Take a computer's ip from its bus; the payload wants an address, so a host name is not enough."""
        host = str(buses[bus].settings.get("host", "")) if bus in buses else ""
        if host and not _is_address(host):
            self._fault(
                path,
                f"缺少 ip：总线 {bus} 的 host 是主机名 {host}，请写出这台计算机的 IP 地址",
                f"ip is required: the host of bus {bus} is the name {host}; give this computer's IP address",
            )
        return host

    def _cabinets(self, buses: Mapping[str, Bus], devices: dict[str, Device]) -> tuple[Cabinet, ...]:
        cabinets: list[Cabinet] = []
        for i, given in enumerate(self.shape.cabinets):
            path: Path_ = ("cabinets", i)
            self._once(path, "id", given.id, (c.number for c in cabinets))
            numbers = roles.Numbers()
            for name, device in given.devices.items():
                built = self._device(given.id, name, device, (*path, "devices", name), buses, numbers)
                devices.setdefault(built.key, built)
            outputs = {
                name: self._output(given, name, output, (*path, "outputs", name))
                for name, output in given.outputs.items()
            }
            sides = [Door(s, d.unlock) for s in ("front", "back") if (d := getattr(given.doors, s)) is not None]
            for door in sides:
                self._output_named(door.unlock, outputs, (*path, "doors", door.side, "unlock"))
            self._output_named(given.doors.siren, outputs, (*path, "doors", "siren"))
            keys = tuple(f"{given.id}.{name}" for name in given.devices)
            window = given.doors.unlock_window_s
            cabinets.append(Cabinet(given.id, keys, outputs, tuple(sides), window, given.doors.siren))
        return tuple(cabinets)

    def _once(self, path: Path_, key: str, value: int, others: Iterable[int]) -> None:
        if value in set(others):
            self._fault((*path, key), f"编号 {value} 重复", f"id {value} is counted twice")

    def _device(
        self,
        cabinet: int,
        name: str,
        given: schema.Device,
        path: Path_,
        buses: Mapping[str, Bus],
        numbers: roles.Numbers,
    ) -> Device:
        key = f"{cabinet}.{name}"
        self._where[key] = path
        profile = self._profile(given.profile, (*path, "profile"))
        self._bus_of(given.bus, profile, buses, (*path, "bus"))
        given_roles: Mapping[str, tuple[int, ...]] = {}
        mapping: Mapping[tuple[Role, str], MappedPoint] = {}
        parameters: dict[str, Value] = {}
        if profile:
            given_roles, mapping, problems = roles.assign(given, profile, cabinet, numbers)
            for below, text, at_key in problems:
                self.faults.append(self.document.fault((*path, *below), text, at_key=at_key))
            parameters = self._parameters(given, profile, path)
        return Device(
            key=key,
            cabinet=cabinet,
            profile=given.profile,
            bus=given.bus,
            unit=given.unit,
            roles=given_roles,
            parameters=parameters,
            mapping=mapping,
            skip=frozenset(given.skip),
        )

    def _parameters(self, given: schema.Device, profile: Profile, path: Path_) -> dict[str, Value]:
        for name, value in given.parameters.items():
            where = (*path, "parameters", name)
            known = profile.parameters.get(name)
            if known is None:
                tail = suggest(name, profile.parameters)
                self._fault(
                    where,
                    f"{profile.name} 没有参数 {name}{tail.zh}",
                    f"{profile.name} has no parameter {name}{tail.en}",
                )
            elif known.choices and value not in known.choices:
                valid = ", ".join(map(str, known.choices))
                self._fault(where, f"{name} = {value!r}：可用：{valid}", f"{name} = {value!r}: valid: {valid}")
        return dict(given.parameters)

    def _output(self, cabinet: schema.Cabinet, name: str, given: schema.Output, path: Path_) -> Output:
        device = cabinet.devices.get(given.device)
        if device is None and self._written(given.device, *path[:2], "devices"):
            pass
        elif device is None:
            tail = suggest(given.device, cabinet.devices)
            self._fault(
                (*path, "device"), f"没有设备 {given.device}{tail.zh}", f"there is no device {given.device}{tail.en}"
            )
        elif (profile := self._profiles.get(device.profile)) and given.point not in profile.writable:
            tail = suggest(given.point, profile.writable)
            self._fault(
                (*path, "point"),
                f"{profile.name} 没有输出 {given.point}{tail.zh}",
                f"{profile.name} has no output {given.point}{tail.en}",
            )
        return Output(name, f"{cabinet.id}.{given.device}", given.point, given.pulse_s or 0.0, given.invert)

    def _output_named(self, name: str | None, outputs: Mapping[str, Output], path: Path_) -> None:
        if name is not None and name not in outputs and not self._written(name, *path[:2], "outputs"):
            tail = suggest(name, outputs)
            self._fault(path, f"没有输出 {name}{tail.zh}", f"there is no output {name}{tail.en}")

    # --- between devices

    def _addresses(self, devices: Mapping[str, Device]) -> None:
        taken: dict[tuple[str, int], str] = {}
        for key, device in devices.items():
            profile = self._profiles.get(device.profile)
            if profile is None or profile.protocol == "host":
                continue
            unit = device.unit if profile.protocol == "modbus" else 0  # an SNMP agent has no units
            if (other := taken.setdefault((device.bus, unit), key)) != key:
                path = self._where[key]
                where = f"{device.bus} unit {unit}" if unit else device.bus
                self._fault(
                    (*path, "unit") if unit and unit != 1 else (*path, "bus"),
                    f"地址重复：{where} 已是 {other}",
                    f"duplicate address: {where} is {other} already",
                )

    def _filled_twice(self, devices: Mapping[str, Device], filled: Mapping[str, frozenset[tuple[Role, str]]]) -> None:
        known = {key: device for key, device in devices.items() if key in filled}
        clashes: dict[tuple[str, str, Role], list[str]] = {}
        for key, other, role, name in roles.twice_filled(known, filled):
            clashes.setdefault((key, other, role), []).append(name)
        for (key, other, role), names in clashes.items():
            what, shown = f"{role.member} {role.number}", ", ".join(names)
            self._fault(
                self._where[key],
                f"{what} 的 {shown} 已由 {other} 提供；用 ids 另编号，或用 skip 去掉一方",
                f"{shown} of {what} filled twice: {other} gives it already; number it otherwise with ids, or skip one",
            )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _unasked(given: schema.LocalComputer | schema.SnmpComputer, *, has_ip: bool) -> frozenset[str]:
    """List the fields a computer's file entry does not ask for: no data disk, no network card named."""
    names: list[str] = []
    if given.data_disk is None:
        names += ["dataDiskUsage", "dataDiskSize"]
    if given.nic is None:
        names += ["netUsage"]
    if has_ip or given.nic is None:
        names += ["ip"]
    return frozenset(f"{COMPUTER.name}.{name}" for name in names)
