"""An SNMP agent per bus: GET, GETNEXT, GETBULK and SET over v1, v2c or v3, showing the OID tables of its devices.

The protocol is pysnmp's engine; `Tables` is what it asks for values (by pysnmp's names of methods). A read-only
community may not SET: pysnmp leaves that check to the tables. Several devices of one address share one agent, as behind
one network card. Where traps go to, `traps` sends them.
"""

import asyncio
import hashlib
import random
import socket
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pysnmp.carrier.asyncio.dgram import udp, udp6
from pysnmp.entity import config, engine
from pysnmp.entity.rfc3413 import cmdrsp, context
from pysnmp.proto import rfc1902
from pysnmp.proto.api import v2c
from pysnmp.smi import error, exval

from hwsim.devices.oids import Cell, Declined, Kind
from hwsim.faults import DEAF, Fault
from hwsim.site import DeviceSpec
from hwsim.wires import listener
from hwsim.wires.tasks import Tasks
from hwsim.wires.traps import TrapSender
from hwsim.world import World

Oid = tuple[int, ...]
EVERYTHING: Oid = (1, 3, 6)
READER, WRITER = "reader", "writer"

_TYPES: Mapping[Kind, Callable[[Any], Any]] = {
    "integer": rfc1902.Integer32,
    "gauge": rfc1902.Gauge32,
    "counter": rfc1902.Counter32,
    "counter64": rfc1902.Counter64,
    "octets": rfc1902.OctetString,
    "oid": rfc1902.ObjectIdentifier,
    "ticks": rfc1902.TimeTicks,
    "address": rfc1902.IpAddress,
}
_REFUSALS: Mapping[str, Any] = {
    "notWritable": error.NotWritableError,
    "wrongType": error.WrongTypeError,
    "wrongValue": error.WrongValueError,
    "inconsistentValue": error.InconsistentValueError,
    "genErr": error.GenError,
}
AUTH: Mapping[str, Any] = {
    "MD5": config.USM_AUTH_HMAC96_MD5,
    "SHA": config.USM_AUTH_HMAC96_SHA,
    "SHA224": config.USM_AUTH_HMAC128_SHA224,
    "SHA256": config.USM_AUTH_HMAC192_SHA256,
    "SHA384": config.USM_AUTH_HMAC256_SHA384,
    "SHA512": config.USM_AUTH_HMAC384_SHA512,
}
PRIV: Mapping[str, Any] = {
    "DES": config.USM_PRIV_CBC56_DES,
    "AES": config.USM_PRIV_CFB128_AES,
    "AES128": config.USM_PRIV_CFB128_AES,
    "AES192": config.USM_PRIV_CFB192_AES,
    "AES256": config.USM_PRIV_CFB256_AES,
}


class Tables:
    """The devices' OID tables as one, in order; the controller that pysnmp's responders ask."""

    def __init__(self, world: World, specs: Sequence[DeviceSpec], writers: frozenset[str]) -> None:
        self._world = world
        self._specs = specs
        self._writers = writers
        self._version = -1
        self._cells: dict[Oid, Cell] = {}
        self._order: list[Oid] = []

    def read_variables(self, *varbinds: Any, **_context: Any) -> list[tuple[Any, Any]]:
        self._fresh()
        self._refuse_if_faulty(varbinds)
        return [(name, self._value(tuple(name))) for name, _ in varbinds]

    def read_next_variables(self, *varbinds: Any, **_context: Any) -> list[tuple[Any, Any]]:
        self._fresh()
        self._refuse_if_faulty(varbinds)
        return [self._next(name) for name, _ in varbinds]

    def write_variables(self, *varbinds: Any, **context: Any) -> list[tuple[Any, Any]]:
        """All or nothing: every object is judged before the first is set."""
        self._fresh()
        self._refuse_if_faulty(varbinds)
        effects = []
        for k, (name, value) in enumerate(varbinds):
            if not self._may_write(context["snmpEngine"]):
                raise error.NoAccessError(name=name, idx=k)
            spec = self._owner(tuple(name))
            if spec is None:
                raise error.NoCreationError(name=name, idx=k)
            try:
                effects.append((spec, self._world.snmp(spec).set(self._world.seen(spec), str(name), _cell(value))))
            except Declined as declined:
                raise _REFUSALS[declined.reason](name=name, idx=k) from declined
        for spec, effect in effects:
            self._world.absorb(spec, effect)
        return list(varbinds)

    def _may_write(self, snmp: Any) -> bool:
        """By security name: pysnmp's own view check lets a read-only community through when it has no write view."""
        request = snmp.observer.get_execution_context("rfc3412.receiveMessage:request")
        return str(request["securityName"]) in self._writers

    def fault(self, *, use: bool) -> Fault | None:
        """The fault in force on this agent, whichever of its devices has it."""
        take = self._world.faults.take if use else self._world.faults.of
        return next((fault for spec in self._specs if (fault := take(spec.key))), None)

    def _refuse_if_faulty(self, varbinds: Sequence[Any]) -> None:
        fault = self.fault(use=False)
        if fault and fault.kind in DEAF:
            raise error.GenError(name=varbinds[0][0], idx=0)

    def _fresh(self) -> None:
        if self._version == self._world.version:
            return
        self._version = self._world.version
        self._cells = {}
        for spec in reversed(self._specs):  # the first device's system group stands
            table = self._world.snmp(spec).table(self._world.seen(spec))
            self._cells.update({_oid(name): cell for name, cell in table.items()})
        self._order = sorted(self._cells)

    def _value(self, name: Oid) -> Any:
        cell = self._cells.get(name)
        if cell is not None:
            return _typed(cell)
        column, at = name[:-1], bisect_right(self._order, name[:-1])
        known = at < len(self._order) and self._order[at][: len(column)] == column
        return exval.noSuchInstance if known else exval.noSuchObject

    def _next(self, name: Any) -> tuple[Any, Any]:
        at = bisect_right(self._order, tuple(name))
        if at == len(self._order):
            return name, exval.endOfMibView
        found = self._order[at]
        return rfc1902.ObjectName(found), _typed(self._cells[found])

    def _owner(self, name: Oid) -> DeviceSpec | None:
        if name not in self._cells:
            return None
        dotted = ".".join(map(str, name))
        tables = ((spec, self._world.snmp(spec).table(self._world.seen(spec))) for spec in self._specs)
        return next((spec for spec, table in tables if dotted in table), None)


def _oid(dotted: str) -> Oid:
    return tuple(map(int, dotted.split(".")))


def _typed(cell: Cell) -> Any:
    return _TYPES[cell.kind](cell.value)


def _cell(value: Any) -> Cell:
    kind = next((kind for kind, make in _TYPES.items() if value.tagSet == make.tagSet), None)  # type: ignore[attr-defined]
    if kind is None:
        raise Declined("wrongType")
    if kind == "oid":
        return Cell(kind, str(value))
    return Cell(kind, bytes(value) if kind in ("octets", "address") else int(value))


class SnmpWire:
    """One bus of type snmp."""

    def __init__(
        self,
        name: str,
        settings: Mapping[str, Any],
        world: World,
        specs: Sequence[DeviceSpec],
        traps_to: tuple[str, int] | None = None,
    ) -> None:
        self._name, self._settings = name, settings
        self._traps_to = traps_to
        v1, community = str(settings.get("version", "2c")) == "1", _secret(settings, "community") or "public"
        self._traps = TrapSender(world, specs, str(settings["host"]), community, v1=v1)
        self._host, self._port = str(settings["host"]), int(settings.get("port", 161))
        self._tables = Tables(world, specs, _writers(settings))
        self._tasks = Tasks()
        self._engine: Any = None

    @property
    def place(self) -> str:
        return f"{self._host}:{self._port}/udp"

    async def plug(self) -> None:
        sock = listener.bound(socket.SOCK_DGRAM, self._host, self._port)
        identity = b"\x80\x00\x1f\x88\x04" + hashlib.sha256(self._name.encode()).digest()[:8]
        self._engine = engine.SnmpEngine(rfc1902.OctetString(identity))
        six = ":" in self._host
        transport = (udp6.Udp6AsyncioTransport if six else udp.UdpAsyncioTransport)().open_server_mode(sock=sock)
        self._spoil(transport)
        config.add_transport(self._engine, udp6.DOMAIN_NAME if six else udp.DOMAIN_NAME, transport)
        _admit(self._engine, self._name, self._settings)
        served = context.SnmpContext(self._engine)
        served.unregister_context_name(v2c.OctetString(""))
        served.register_context_name(v2c.OctetString(""), self._tables)
        for responder in (
            cmdrsp.GetCommandResponder,
            cmdrsp.NextCommandResponder,
            cmdrsp.BulkCommandResponder,
            cmdrsp.SetCommandResponder,
        ):
            responder(self._engine, served)
        await transport._lport  # noqa: SLF001 - the task in which pysnmp opens it; there is no public way to wait
        if self._traps_to is not None:
            self._tasks.start(self._traps.run(self._traps_to))

    async def unplug(self) -> None:
        await self._tasks.cancel()
        if self._engine is not None:
            self._engine.close_dispatcher()
            self._engine = None

    def _spoil(self, transport: Any) -> None:
        """Put the faults where pysnmp hands answers out: the only place where a whole datagram is seen."""
        hand_out = transport.send_message

        def send(message: Any, address: Any) -> None:
            fault = self._tables.fault(use=True)
            wait_s, data = _spoilt(fault, bytes(message))
            if data is None:
                return
            if wait_s:
                self._tasks.start(_later(wait_s, hand_out, data, address))
            else:
                hand_out(data, address)

        transport.send_message = send


async def _later(wait_s: float, hand_out: Callable[[bytes, Any], None], data: bytes, address: Any) -> None:
    await asyncio.sleep(wait_s)
    hand_out(data, address)


def _spoilt(fault: Fault | None, answer: bytes) -> tuple[float, bytes | None]:
    match fault.kind if fault else None:
        case "silent" | "loose":
            return 0.0, None
        case "delay" | "late":
            assert fault is not None
            return fault.ms / 1000.0, answer
        case "half":
            return 0.0, answer[: len(answer) // 2]
        case "garbage":
            assert fault is not None
            return 0.0, random.randbytes(fault.bytes) + answer
    return 0.0, answer


def _communities(settings: Mapping[str, Any]) -> dict[str, str]:
    """Community → security name; only `READER` and `WRITER` are used."""
    write = _secret(settings, "write_community")
    return {_secret(settings, "community") or "public": READER} | ({write: WRITER} if write else {})


def _writers(settings: Mapping[str, Any]) -> frozenset[str]:
    return frozenset({WRITER, str(settings.get("user", WRITER))})


def _admit(snmp: Any, name: str, settings: Mapping[str, Any]) -> None:
    """Who may speak: communities for v1 and v2c, or the user for v3."""
    if str(settings.get("version", "2c")) == "3":
        _admit_user(snmp, name, settings)
        return
    for community, security_name in _communities(settings).items():
        config.add_v1_system(snmp, security_name, community)
        for model in (1, 2):
            config.add_vacm_user(snmp, model, security_name, "noAuthNoPriv", EVERYTHING)


def _admit_user(snmp: Any, name: str, settings: Mapping[str, Any]) -> None:
    user = str(settings.get("user", ""))
    auth_key, priv_key = _secret(settings, "auth_key"), _secret(settings, "priv_key")
    auth = _protocol(name, "auth_protocol", settings, AUTH) if auth_key else config.USM_AUTH_NONE
    priv = _protocol(name, "priv_protocol", settings, PRIV) if priv_key else config.USM_PRIV_NONE
    config.add_v3_user(snmp, user, auth, auth_key, priv, priv_key)
    level = "authPriv" if priv_key else "authNoPriv" if auth_key else "noAuthNoPriv"
    config.add_vacm_user(snmp, 3, user, level, EVERYTHING)


def _protocol(name: str, key: str, settings: Mapping[str, Any], table: Mapping[str, Any]) -> Any:
    default = next(iter(set(table) & {"SHA", "AES"}))
    chosen = str(settings.get(key, default)).upper().replace("-", "")
    if chosen not in table:
        valid = ", ".join(table)
        raise listener.WireFault(
            f"总线 {name} 的 SNMPv3 用户无法使用：{key} {chosen}；可用：{valid}",
            f"cannot admit the user of bus {name}: {key} {chosen}; valid: {valid}",
        )
    return table[chosen]


def _secret(settings: Mapping[str, Any], key: str) -> str | None:
    """A secret from the site file, or from the file it names."""
    if f"{key}_file" in settings:
        return Path(settings[f"{key}_file"]).read_text(encoding="utf-8").strip()
    return str(settings[key]) if key in settings else None
