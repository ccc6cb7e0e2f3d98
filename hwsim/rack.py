"""All wires of a site, put up together: which wire serves which devices, and pulling and plugging one of them."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, Self

from hwsim.site import DeviceSpec, SiteFault, Wire
from hwsim.wires.line import Line, pace
from hwsim.wires.listener import WireFault
from hwsim.wires.modbus_tcp import ModbusTcpWire
from hwsim.wires.serial import SerialWire
from hwsim.wires.serial_tcp import SerialTcpWire
from hwsim.wires.snmp import SnmpWire
from hwsim.wires.udp import UdpWire
from hwsim.wires.uhppote import UhppoteWire
from hwsim.wires.zte import PORT as ZTE_PORT
from hwsim.wires.zte import ZteUnit, ZteWire
from hwsim.world import World

PORTS = MappingProxyType(
    {"serial-tcp": 4001, "modbus-tcp": 502, "snmp": 161, "uhppote": 60000, "zte-http": ZTE_PORT, "zte-serial": ZTE_PORT}
)


class Pluggable(Protocol):
    """What every kind of wire can do."""

    @property
    def place(self) -> str: ...

    async def plug(self) -> None: ...

    async def unplug(self) -> None: ...


class Rack:
    """The wires by bus name. An async context: all are plugged on entry and gone on exit."""

    def __init__(self, world: World, *, fast_lines: bool, traps_to: tuple[str, int] | None = None) -> None:
        self._world = world
        self._traps_to = traps_to
        self._fast = fast_lines
        self._specs: dict[str, list[DeviceSpec]] = defaultdict(list)
        for spec in world.site.devices.values():
            self._specs[spec.wire].append(spec)
        self._lines: dict[str, Line] = {}
        self._units: dict[tuple[str, int], ZteUnit] = {}  # of ZTE, one for all buses at its address
        self._wires = {name: self._build(wire) for name, wire in world.site.wires.items()}
        self._plugged: set[str] = set()

    async def __aenter__(self) -> Self:
        try:
            for name in self._wires:
                await self.plug(name)
        except WireFault:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for name in tuple(self._plugged):
            await self.unplug(name)

    @property
    def wires(self) -> Mapping[str, Pluggable]:
        return self._wires

    def plugged(self, name: str) -> bool:
        return name in self._plugged

    def broken(self, name: str) -> int:
        """How many requests on a serial line were not understood: bad checksum, no silence before, a collision."""
        return self._lines[name].broken if name in self._lines else 0

    async def plug(self, name: str) -> None:
        if name in self._plugged:
            return
        try:
            await self._wires[name].plug()
        except WireFault as fault:
            raise WireFault(f"{fault.text.zh}（总线 {name}）", f"{fault} (bus {name})") from fault
        self._plugged.add(name)

    async def unplug(self, name: str) -> None:
        self._plugged.discard(name)
        await self._wires[name].unplug()

    def describe(self, name: str) -> str:
        """One line for people: where the wire is and who is on it."""
        kind = self._world.site.wires[name].kind
        units = ", ".join(
            f"{spec.key} {spec.profile}" + ("" if kind in ("snmp", "zte-http") else f" unit {spec.unit}")
            for spec in self._specs[name]
        )
        return f"{name}: {kind} {self._wires[name].place} – {units or 'nobody'}"

    def _build(self, wire: Wire) -> Pluggable:
        settings, specs = wire.settings, self._specs[wire.name]
        if wire.kind == "snmp":
            return SnmpWire(wire.name, settings, self._world, specs, self._traps_to)
        if wire.kind == "uhppote":
            return UhppoteWire(*_address(wire), self._world, specs)
        if wire.kind == "udp":
            return UdpWire(*_address(wire), self._world, specs)
        if wire.kind in ("zte-http", "zte-serial"):
            unit = self._units.setdefault(_address(wire), ZteUnit(*_address(wire), self._world))
            return ZteWire(wire.name, settings, unit, specs)
        units = _by_unit(wire.name, specs)
        if wire.kind == "modbus-tcp":
            return ModbusTcpWire(*_address(wire), self._world, units)
        line = self._lines[wire.name] = Line(self._world, units, _pace(settings), fast=self._fast)
        if wire.kind == "serial":
            return SerialWire(Path(settings["port"]), line)
        return SerialTcpWire(*_address(wire), line)


def _by_unit(name: str, specs: list[DeviceSpec]) -> dict[int, DeviceSpec]:
    units: dict[int, DeviceSpec] = {}
    for spec in specs:
        if spec.unit in units:
            taken = units[spec.unit].key
            raise SiteFault(
                f"{spec.key} 不能放在总线 {name} 上：地址 {spec.unit} 已是 {taken}",
                f"cannot put {spec.key} on bus {name}: unit {spec.unit} is {taken}",
            )
        units[spec.unit] = spec
    return units


def _address(wire: Wire) -> tuple[str, int]:
    return str(wire.settings["host"]), int(wire.settings.get("port") or PORTS[wire.kind])


def _pace(settings: Mapping[str, Any]) -> Any:
    return pace(
        int(settings.get("baudrate", 9600)),
        str(settings.get("parity", "N")),
        float(settings.get("stopbits", 1)),
        int(settings.get("bytesize", 8)),
    )
