"""Devices that a ZTE site supervision unit looks after: each is an object of the unit, by the number in the site file.

On a `zte-http` bus an object needs no unit: they are counted in the order of the file. On a `zte-serial` bus a device
has its unit on the line, and its object tells the site unit which line and device is meant.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from gantry_agent.config import schema
from gantry_agent.config.crosscheck import Problem, Whole
from gantry_agent.field.framing.zte import OBJECT
from gantry_agent.model import Bus, Device
from gantry_agent.text import Text


def counted(devices: Mapping[str, Device], buses: Mapping[str, Bus]) -> dict[str, Device]:
    """Return the devices, those of a `zte-http` bus with a unit each."""
    numbers: dict[str, int] = {}
    found = dict(devices)
    for key, device in devices.items():
        if device.bus in buses and buses[device.bus].kind == "zte-http":
            numbers[device.bus] = numbers.get(device.bus, 0) + 1
            found[key] = replace(device, unit=numbers[device.bus])
    return found


def behind(devices: Mapping[str, Device], buses: Mapping[str, Bus]) -> dict[str, Bus]:
    """Return the buses, those of kind `zte-serial` with the object of each unit on them."""
    found = dict(buses)
    for device in devices.values():
        bus = found.get(device.bus)
        if bus is not None and bus.kind == "zte-serial" and device.object:
            settings = {**bus.settings, f"{OBJECT}{device.unit}": device.object}
            found[bus.name] = replace(bus, settings=settings)
    return found


def problems(whole: Whole, speaks: Mapping[str, frozenset[str]]) -> Iterator[Problem]:
    """List objects that are missing, given twice, or have no meaning; `speaks` has the kinds of bus by protocol."""
    taken: dict[tuple[str, int, str], str] = {}
    for key, device in whole.devices.items():
        bus, path = whole.shape.buses.get(device.bus), whole.where[key]
        if bus is None or device.cabinet == 0:
            continue
        written = whole.complaints.written("object", *path)
        if not isinstance(bus, schema.ZteHttpBus | schema.ZteSerialBus):
            if written:
                said = Text(
                    f"{device.bus} 是 {bus.type} 总线：object 只用于 zte-http 和 zte-serial 总线",
                    f"{device.bus} is a {bus.type} bus: an object is for those of type zte-http and zte-serial only",
                )
                yield (*path, "object"), said, True
            continue
        profile = whole.profiles.get(key)
        fits = profile is not None and bus.type in speaks[profile.protocol]
        if not written and fits:  # on the wrong bus it is told of that
            said = Text(
                f"{key} 缺少 object（动环监控单元中的对象编号）；gantry-agent identify 总线名 可列出",
                f"{key} has no object, its number in the site unit; gantry-agent identify BUS lists them",
            )
            yield path, said, False
        if bus.type == "zte-http" and whole.complaints.written("unit", *path):
            said = Text(
                f"{device.bus} 上的设备没有 unit，以 object 区分",
                f"a device on {device.bus} has no unit, only an object",
            )
            yield (*path, "unit"), said, True
        place = (bus.host, bus.port, device.object)
        if device.object and (other := taken.setdefault(place, key)) != key:
            said = Text(f"object 重复：{device.object} 已是 {other}", f"object {device.object} is {other} already")
            yield (*path, "object"), said, False
