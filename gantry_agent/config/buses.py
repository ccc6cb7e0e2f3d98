"""The buses of the site file: what each is reached by, and which two cannot be the same.

Whether what is on a bus can speak its language is `site`'s matter.
"""

import ipaddress

from gantry_agent.config import schema
from gantry_agent.config.complaints import Complaints
from gantry_agent.faults import Path_
from gantry_agent.model import Bus, Value

LOCAL_BUS = "local"
_SECRETS = ("community", "write_community", "auth_key", "priv_key", "password")


def read_buses(shape: schema.SiteFile, complaints: Complaints) -> dict[str, Bus]:
    """Return the buses by name, with their secrets in place."""
    buses: dict[str, Bus] = {}
    ports: dict[tuple[str, ...], str] = {}
    for name, given in shape.buses.items():
        path: Path_ = ("buses", name)
        if name == LOCAL_BUS:
            complaints.add(path, "local 是本机的保留名", "the name local is reserved for this host")
        settings: dict[str, Value | None] = given.model_dump(exclude={"type"})
        for secret in _SECRETS:
            if secret in settings:
                value, file = settings[secret], settings.pop(f"{secret}_file")
                settings[secret] = complaints.secret(
                    path, secret, str(value) if value else None, str(file) if file else None
                )
        if isinstance(given, schema.SnmpBus):
            settings["version"] = str(given.version)
            _check_snmp(complaints, path, given)
        if isinstance(given, schema.UhppoteBus):
            _check_listener(complaints, path, given, shape)
        if isinstance(given, schema.ZteHttpBus | schema.ZteSerialBus):
            _check_login(complaints, path)
        port = ("tty", str(given.port)) if isinstance(given, schema.SerialBus) else (given.host, str(given.port))
        shared = isinstance(given, schema.ZteSerialBus)  # a site unit has several lines, and speaks of itself as well
        if not shared and (other := ports.setdefault(port, name)) != name:
            shown = ":".join(port).removeprefix("tty:")
            complaints.add((*path, "port"), f"{shown} 已被总线 {other} 使用", f"{shown} is used by bus {other} already")
        buses[name] = Bus(name, given.type, settings)
    return buses


def _check_listener(complaints: Complaints, path: Path_, bus: schema.UhppoteBus, shape: schema.SiteFile) -> None:
    """What a controller is told to send to must be an address of this computer that the controller can reach."""
    if bus.listen is not None and shape.traps is not None and bus.listen == shape.traps.listen:
        complaints.add(
            (*path, "listen"),
            f"{bus.listen} 已用于 traps，请用另一个端口，如 60001",
            f"{bus.listen} is that of traps; give another port, like 60001",
        )
    if not bus.set_listener or complaints.written("listen", *path) != (bus.listen is not None):
        return
    host = (bus.listen or "").rpartition(":")[0]
    try:
        fits = not ipaddress.IPv4Address(host).is_unspecified
    except ValueError:
        fits = False
    if not fits:
        complaints.add(
            (*path, "set_listener"),
            f"须用 listen 写出控制器能到达的本机 IPv4 地址和端口，如 192.168.1.10:60001{_given(bus.listen)}",
            "needs listen with this computer's IPv4 address as the controller reaches it, and a port, like"
            f" 192.168.1.10:60001{_given(bus.listen)}",
        )


def _given(listen: str | None) -> str:
    return "" if listen is None else f" ({listen})"


def _check_login(complaints: Complaints, path: Path_) -> None:
    if complaints.written("user", *path) != any(
        complaints.written(one, *path) for one in ("password", "password_file")
    ):
        complaints.add(path, "user 与 password 应同时给出", "give user and password together")


def _check_snmp(complaints: Complaints, path: Path_, bus: schema.SnmpBus) -> None:
    def given(*names: str) -> bool:  # be it with a fault of its own
        return any(complaints.written(name, *path) for name in names)

    if str(bus.version) == "3":
        if not given("user"):
            complaints.add(path, "SNMP v3 需要 user", "SNMP version 3 needs a user")
        for protocol, key in (("auth_protocol", "auth_key"), ("priv_protocol", "priv_key")):
            if given(protocol) != given(key, f"{key}_file"):
                complaints.add(path, f"{protocol} 与 {key} 应同时给出", f"give {protocol} and {key} together")
        if given("priv_protocol") and not given("auth_protocol"):
            complaints.add(path, "加密需要先有认证 auth_protocol", "privacy needs authentication: give auth_protocol")
    elif not given("community", "community_file"):
        complaints.add(path, f"SNMP v{bus.version} 需要 community", f"SNMP version {bus.version} needs a community")
