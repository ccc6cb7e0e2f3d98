"""From the file's shape to the Site: what must agree between two places of the file, and with profiles and secrets.

`read_config` either returns a Config that can run, or raises ConfigFault with every fault of the file. It opens the
site file, the profiles it names and the secret files it names, nothing else: no device, no network.
"""

import ipaddress
import ssl
import zoneinfo
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gantry_agent import media
from gantry_agent.cloud.control import ControlSettings, Tls, load_tls
from gantry_agent.config import advice, alarms, cards, crosscheck, objects, relays, renamed, roles, schema
from gantry_agent.config.buses import LOCAL_BUS, read_buses
from gantry_agent.config.cameras import media_settings, read_cameras
from gantry_agent.config.cards import Gates
from gantry_agent.config.certificates import upload_tls
from gantry_agent.config.complaints import Complaints
from gantry_agent.config.feeds import fed
from gantry_agent.config.relays import Supplies
from gantry_agent.config.shape import read_shape
from gantry_agent.faults import ConfigFault, Document, Fault, Path_, read_document, suggest
from gantry_agent.field import profile as profiles
from gantry_agent.field.profile import Profile
from gantry_agent.model import (
    AgentError,
    Bus,
    Cabinet,
    Computer,
    Device,
    Door,
    Interlocks,
    MappedPoint,
    Output,
    Role,
    Site,
    Threshold,
    Value,
)
from gantry_agent.vocabulary import COMPUTER

SHIPPED_PROFILES = Path(__file__).parent.parent / "profiles"
SITE_PROFILES = Path("/etc/gantry-agent/profiles")  # wins by name over the shipped ones

SPEAKS: Mapping[str, frozenset[str]] = {  # by protocol, the kinds of bus that carry it
    "modbus": frozenset({"serial", "serial-tcp", "modbus-tcp"}),
    "snmp": frozenset({"snmp"}),
    "host": frozenset({"host"}),
    "megatec": frozenset({"serial", "serial-tcp"}),
    "ydt1363": frozenset({"serial", "serial-tcp"}),
    # Through a site unit only what says in its answers whose they are, and to what: how the unit treats one that comes
    # late is not known, and a Modbus RTU answer does not tell which registers it has.
    "dlt645": frozenset({"serial", "serial-tcp", "zte-serial"}),
    "shengjiu": frozenset({"serial", "serial-tcp", "zte-serial"}),
    "uhppote": frozenset({"uhppote"}),
    "zpta": frozenset({"serial", "serial-tcp"}),
    "huazi": frozenset({"udp"}),
    "zte": frozenset({"zte-http"}),
}


@dataclass(frozen=True, slots=True)
class CloudSettings:
    server: str
    interval_s: int
    auth: str = field(repr=False)
    backlog_per_minute: int = 300
    tls: ssl.SSLContext | None = field(default=None, compare=False)  # None: the system's trusted authorities
    proxy: str | None = field(default=None, repr=False)  # may hold a password


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the agent is told, checked."""

    site: Site
    cloud: CloudSettings
    control: ControlSettings
    storage: Path
    max_age_days: int
    traps: str | None  # where SNMP traps are listened for, address:port
    profiles: Mapping[str, Profile] = field(hash=False)  # by device key
    filled: Mapping[str, frozenset[tuple[Role, str]]] = field(hash=False)  # by device key
    media: media.Settings
    warnings: tuple[Fault, ...] = ()  # what runs but is probably not meant


def read_config(path: Path, folders: Sequence[Path] = (SITE_PROFILES, SHIPPED_PROFILES)) -> Config:
    """Read and check a site file; raise ConfigFault with every fault in it."""
    document = read_document(path)
    shape, faults = read_shape(document)
    reader = _Reader(document, shape, folders)
    config = reader.build()
    if faults or reader.complaints.found:
        raise ConfigFault([*faults, *reader.complaints.found])
    doubts = [
        *reader.renamed,
        *advice.doubts(reader.whole(config.site.devices, config.profiles, config.filled), folders),
        *relays.doubts(reader.shape, config.site, config.profiles),
        *cards.doubts(reader.shape, config.site),
    ]
    warnings = [document.fault(path, text, at_key=key) for path, text, key in doubts]
    return replace(config, warnings=tuple(sorted(warnings, key=lambda one: (one.line, one.column))))


class _Reader:
    """One pass over one file, collecting faults instead of stopping at the first."""

    def __init__(self, document: Document, shape: schema.SiteFile, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.complaints = Complaints(document)
        self._profiles: dict[str, Profile | None] = {}
        self._where: dict[str, Path_] = {}  # of each device, by key
        self.shape, self.renamed = renamed.current(shape, self._known)

    def build(self) -> Config:
        shape = self.shape
        buses = read_buses(shape, self.complaints)
        self._timezone()
        devices: dict[str, Device] = {}
        computers = self._computers(buses, devices)
        cabinets = self._cabinets(buses, devices)
        devices = objects.counted(devices, buses)
        buses = objects.behind(devices, buses)
        if any(device.bus == LOCAL_BUS for device in devices.values()):
            buses[LOCAL_BUS] = Bus(LOCAL_BUS, "host", {})
        used = {key: known for key, device in devices.items() if (known := self._profiles[device.profile])}
        _find_rows(devices, cabinets, used)
        filled = {key: roles.filled(devices[key], used[key]) for key in used}
        whole = self.whole(devices, used, filled)
        for path, text, at_key in (*crosscheck.problems(whole), *objects.problems(whole, SPEAKS)):
            self.complaints.add(path, text.zh, text.en, at_key=at_key)
        cabinets = tuple(self._alarms(i, cabinet, filled) for i, cabinet in enumerate(cabinets))
        cabinets = fed(shape, cabinets, devices, used, self.complaints)
        supplies = Supplies(shape, cabinets, used, self.complaints)
        gates = Gates(shape, cabinets, devices, used, self._where, self.complaints)
        polling = shape.polling
        site = Site(
            gantry_id=shape.gantry.id,
            timezone=shape.gantry.timezone,
            buses=buses,
            devices=gates.watching(),
            cabinets=cabinets,
            computers=computers,
            misses=polling.misses,
            fast_s=polling.fast_s,
            slow_s=polling.slow_s,
            flap_changes=shape.events.flap_changes,
            hold_down_s=shape.events.hold_down_s,
            gather_ms=shape.events.gather_ms,
            relays=supplies.relays(),
            power_modes=supplies.modes(),
            cameras=read_cameras(shape, filled, self.complaints),
            interlocks=Interlocks(**shape.interlocks.model_dump()),
            readers=gates.readers,
            controllers=gates.controllers,
            merge_cards=shape.access.whitelist == "merge",
            card_numbers=shape.access.card_numbers,
        )
        return Config(
            site,
            self._cloud(),
            self._control(),
            Path(shape.storage.path),
            shape.storage.max_age_days,
            self._traps(),
            used,
            filled,
            media_settings(shape.media),
        )

    def whole(
        self,
        devices: Mapping[str, Device],
        known: Mapping[str, Profile],
        filled: Mapping[str, frozenset[tuple[Role, str]]],
    ) -> crosscheck.Whole:
        return crosscheck.Whole(self.shape, self.complaints, devices, known, filled, self._where)

    # --- single parts

    def _timezone(self) -> None:
        name = self.shape.gantry.timezone
        if name not in zoneinfo.available_timezones():
            zones = [zone for zone in zoneinfo.available_timezones() if zone.startswith("Asia/")]
            tail = suggest(name, zones, first="Asia/Shanghai", cutoff=0.8)  # Asia/Beijing is no typing error of Beirut
            self.complaints.add(
                ("gantry", "timezone"), f"没有时区 {name}{tail.zh}", f"there is no time zone {name}{tail.en}"
            )

    def _cloud(self) -> CloudSettings:
        cloud = self.shape.cloud
        auth = self.complaints.secret(("cloud",), "auth", cloud.auth, cloud.auth_file, required=True)
        if auth == schema.DEFAULT_AUTH and not self.shape.lab:
            self.complaints.add(
                ("cloud", "auth" if cloud.auth is not None else "auth_file"),
                "不能使用默认鉴权码：它人人皆知，谁都能开门、断电；请用平台分配的鉴权码，仅供试验时可写 lab: true",
                "cannot use the default code: everybody knows it and could open doors and cut supplies; valid: the"
                " platform's own code, or with lab: true, for trials only, this one",
            )
        return CloudSettings(
            server=cloud.server,
            interval_s=cloud.interval_s,
            auth=auth or "",
            backlog_per_minute=cloud.backlog_per_minute,
            tls=upload_tls(cloud, self.complaints),
            proxy=cloud.proxy,
        )

    def _control(self) -> ControlSettings:
        control = self.shape.control
        for i, text in enumerate(control.allow):
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError:
                self.complaints.add(
                    ("control", "allow", i),
                    f"{text} 不是地址或网段，例如 10.0.0.5 或 10.0.0.0/8",
                    f"{text} is neither an address nor a network, like 10.0.0.5 or 10.0.0.0/8",
                )
        tls = control.tls
        files = Tls(Path(tls.cert), Path(tls.key), Path(tls.client_ca) if tls.client_ca else None) if tls else None
        named = [(name, Path(file)) for name in ("cert", "key", "client_ca") if tls and (file := getattr(tls, name))]
        texts = [self.complaints.readable(("control", "tls", name), file) for name, file in named]
        if files and None not in texts:
            try:
                load_tls(files)
            except AgentError as fault:
                self.complaints.add(
                    ("control", "tls"),
                    f"TLS 文件不能使用（应为 PEM 证书及与之配对的未加密私钥）：{fault}",
                    str(fault),
                    at_key=True,
                )
        return ControlSettings(
            listen=control.listen,
            allow=tuple(control.allow),
            clock_tolerance_s=control.clock_tolerance_s,
            requests_per_minute=control.requests_per_minute,
            body_limit_kb=control.body_limit_kb,
            tls=files,
        )

    def _traps(self) -> str | None:
        if self.shape.traps is None:
            return None
        return self.shape.traps.listen

    # --- devices

    def _known(self, name: str) -> Profile | None:
        """The profile of a name or an old name, without a complaint."""
        try:
            now = profiles.current_name(name, self.folders)
            return self._profiles.get(now) or self._profiles.setdefault(now, profiles.load(now, self.folders))
        except ConfigFault:
            return None

    def _profile(self, name: str, path: Path_) -> Profile | None:
        if name not in self._profiles:
            self._profiles[name] = None
            known = profiles.names(self.folders)
            if name in known:
                try:
                    self._profiles[name] = profiles.load(name, self.folders)
                except ConfigFault as e:
                    self.complaints.found += e.faults
                    return None
        found = self._profiles[name]
        if found is None and name not in profiles.names(self.folders):
            tail = suggest(name, profiles.names(self.folders), most=40)
            self.complaints.add(path, f"没有设备型号 {name}{tail.zh}", f"there is no profile {name}{tail.en}")
        return found

    def _bus_of(self, name: str, profile: Profile | None, buses: Mapping[str, Bus], path: Path_) -> None:
        if name not in buses:
            if self.complaints.written(name, "buses"):
                return
            tail = suggest(name, buses)
            self.complaints.add(path, f"没有总线 {name}{tail.zh}", f"there is no bus {name}{tail.en}")
        elif profile and buses[name].kind not in SPEAKS[profile.protocol]:
            kinds = SPEAKS[profile.protocol]
            right = ", ".join(bus.name for bus in buses.values() if bus.kind in kinds)
            kind, valid = buses[name].kind, " / ".join(sorted(kinds))
            self.complaints.add(
                path,
                f"{profile.name} 使用 {profile.protocol}，不能接在 {kind} 总线 {name} 上；"
                f"应为 {valid} 总线：{right or '配置中没有这样的总线'}",
                f"{profile.name} speaks {profile.protocol} and cannot be on the {kind} bus {name}; "
                f"valid is a bus of type {valid}: {right or 'the file has none'}",
            )

    def _computers(self, buses: Mapping[str, Bus], devices: dict[str, Device]) -> tuple[Computer, ...]:
        computers: list[Computer] = []
        for i, given in enumerate(self.shape.computers):
            path: Path_ = ("computers", i)
            self.complaints.once(path, "id", given.id, [c.number for c in computers])
            name = "local-host" if isinstance(given, schema.LocalComputer) else given.profile
            bus = LOCAL_BUS if isinstance(given, schema.LocalComputer) else given.bus
            profile = self._profile(name, (*path, "profile"))
            ip = given.ip or ""
            if ip and not _is_address(ip):
                self.complaints.add((*path, "ip"), f"{ip} 不是 IP 地址", f"{ip} is not an IP address")
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
            self.complaints.add(
                path,
                f"缺少 ip：总线 {bus} 的 host 是主机名 {host}，请写出这台计算机的 IP 地址",
                f"ip is required: the host of bus {bus} is the name {host}; give this computer's IP address",
            )
        return host

    def _cabinets(self, buses: Mapping[str, Bus], devices: dict[str, Device]) -> tuple[Cabinet, ...]:
        cabinets: list[Cabinet] = []
        for i, given in enumerate(self.shape.cabinets):
            path: Path_ = ("cabinets", i)
            self.complaints.once(path, "id", given.id, [c.number for c in cabinets])
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
            self._output_named(given.doors.beacon, outputs, (*path, "doors", "beacon"))
            keys = tuple(f"{given.id}.{name}" for name in given.devices)
            doors = given.doors
            cabinets.append(
                Cabinet(given.id, keys, outputs, tuple(sides), doors.unlock_window_s, doors.siren, doors.beacon)
            )
        return tuple(cabinets)

    def _alarms(self, i: int, cabinet: Cabinet, filled: Mapping[str, frozenset[tuple[Role, str]]]) -> Cabinet:
        every = {field for fields in filled.values() for field in fields}
        thresholds: list[Threshold] = []
        for k, given in enumerate(self.shape.cabinets[i].alarms):
            path: Path_ = ("cabinets", i, "alarms", k)
            if not given.point or not cabinet.devices:  # its shape was wrong, or that of everything it could be about
                continue
            found, problems = alarms.read_alarm(given, cabinet.number, every)
            for key, text in problems:
                self.complaints.add((*path, key), text.zh, text.en)
            if any(alarms.twice([*thresholds, *found])):
                self.complaints.add((*path, "text"), f"文字 {given.text} 重复", f"the text {given.text} is used twice")
                continue
            thresholds += found
        return replace(cabinet, alarms=tuple(thresholds))

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
                self.complaints.add((*path, *below), text.zh, text.en, at_key=at_key)
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
            object=given.object or "",
        )

    def _parameters(self, given: schema.Device, profile: Profile, path: Path_) -> dict[str, Value]:
        """Return those that the profile has and that do; it has its defaults for the others."""
        good: dict[str, Value] = {}
        for name, value in given.parameters.items():
            where = (*path, "parameters", name)
            known = profile.parameters.get(name)
            if known is None:
                tail = suggest(name, profile.parameters)
                self.complaints.add(
                    where,
                    f"{profile.name} 没有参数 {name}{tail.zh}",
                    f"{profile.name} has no parameter {name}{tail.en}",
                    at_key=True,
                )
            elif known.choices and value not in known.choices:
                valid = ", ".join(map(str, known.choices))
                self.complaints.add(where, f"{name} = {value!r}：可用：{valid}", f"{name} = {value!r}: valid: {valid}")
            elif isinstance(value, str) and not isinstance(known.default, str):
                self.complaints.add(where, f"{name} = {value!r}：应为数字", f"{name} = {value!r}: must be a number")
            else:
                good[name] = value
        return good

    def _output(self, cabinet: schema.Cabinet, name: str, given: schema.Output, path: Path_) -> Output:
        device = cabinet.devices.get(given.device)
        if device is None and self.complaints.written(given.device, *path[:2], "devices"):
            pass
        elif device is None:
            tail = suggest(given.device, cabinet.devices)
            self.complaints.add(
                (*path, "device"), f"没有设备 {given.device}{tail.zh}", f"there is no device {given.device}{tail.en}"
            )
        elif (profile := self._profiles.get(device.profile)) and profile.switched(given.point) is None:
            tail = suggest(given.point, profile.writable)
            self.complaints.add(
                (*path, "point"),
                f"{profile.name} 没有输出 {given.point}{tail.zh}",
                f"{profile.name} has no output {given.point}{tail.en}",
            )
        return Output(
            name,
            f"{cabinet.id}.{given.device}",
            given.point,
            given.pulse_s or 0.0,
            given.invert,
            given.feeds.what if given.feeds else "",
        )

    def _output_named(self, name: str | None, outputs: Mapping[str, Output], path: Path_) -> None:
        if name is not None and name not in outputs and not self.complaints.written(name, *path[:2], "outputs"):
            tail = suggest(name, outputs)
            self.complaints.add(path, f"没有输出 {name}{tail.zh}", f"there is no output {name}{tail.en}")


def _find_rows(devices: dict[str, Device], cabinets: Iterable[Cabinet], profiles: Mapping[str, Profile]) -> None:
    """Have the rows of tables located in which outputs stand."""
    for output in (output for cabinet in cabinets for output in cabinet.outputs.values()):
        profile = profiles.get(output.device)
        found = profile.switched(output.point) if profile else None
        if found is not None and found.table is not None:
            device = devices[output.device]
            devices[device.key] = replace(device, rows=device.rows | {found.name})


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
