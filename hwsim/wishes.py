"""What people ask of the simulation in words: the bodies of POST /plant and /fault, checked and turned into orders.

One table of keys per body; a wrong key or value is a `WishFault` that lists the valid ones. The same words are used by
the control API and by scenes. Pure, but for reading the world it is asked about.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hwsim.devices import PRODUCTS
from hwsim.devices.oids import SnmpProduct
from hwsim.faults import BY_WIRE, Fault
from hwsim.plant.orders import BatteryTesting, Change, Handle, Order, Strike
from hwsim.plant.state import SIDES, Side, State
from hwsim.world import World

CARD = "card"  # what people do that is no order to the plant
PHASES = ("L1", "L2", "L3")
DOOR_WORDS = {"open": "force", "forced": "force", "pull": "pull", "closed": "close", "key": "key"}


class WishFault(Exception):
    """The body asks for something that is not there; the text says what would be valid."""


def _number(key: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise WishFault(f"cannot set {key} to {value!r}: a number from {low:g} to {high:g} is needed")
    return float(value)


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise WishFault(f"cannot set {key} to {value!r}: true or false is needed")
    return value


def _parts(key: str, value: Any, valid: Iterable[str]) -> Mapping[str, Any]:
    valid = list(valid)
    if not isinstance(value, Mapping) or not value:
        raise WishFault(f"cannot use {key}: {value!r}; a mapping with keys of {', '.join(valid)} is needed")
    for name in value:
        if name not in valid:
            raise WishFault(f"cannot use {key}.{name}; valid: {', '.join(valid)}")
    return value


def _one_of(key: str, value: Any, valid: Iterable[str]) -> str:
    valid = list(valid)
    if not isinstance(value, str) or value not in valid:
        raise WishFault(f"cannot use {key} {value!r}; valid: {', '.join(valid)}")
    return value


def _index(key: str, value: Any, count: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= count:
        raise WishFault(f"cannot use {key} number {value!r}: the cabinet has {count}")
    return value - 1


# --- the plant ------------------------------------------------------------------------------------------------------

Wish = Callable[[State, Any], list[Order]]


def _set(part: str, field: str, low: float, high: float, scale: float = 1.0) -> Callable[[str], Wish]:
    def named(key: str) -> Wish:
        return lambda _plant, value: [Change(part, ((field, _number(key, value, low, high) * scale),))]

    return named


def _switch(part: str, field: str) -> Callable[[str], Wish]:
    def named(key: str) -> Wish:
        return lambda _plant, value: [Change(part, ((field, _flag(key, value)),))]

    return named


def _mains(_plant: State, value: Any) -> list[Order]:
    return [Change("mains", (("present", (_flag("mains", value),) * 3),))]


def _phase(plant: State, value: Any) -> list[Order]:
    """`{"L2": 0}` loses the phase, another number sets its voltage."""
    present, volts = list(plant.mains.present), list(plant.mains.voltage_v)
    for name, wanted in _parts("phase", value, PHASES).items():
        k, voltage = PHASES.index(name), _number(f"phase.{name}", wanted, 0, 500)
        present[k] = voltage > 0.0
        volts[k] = voltage or volts[k]
    return [Change("mains", (("present", tuple(present)), ("voltage_v", tuple(volts))))]


def _phases(_plant: State, value: Any) -> list[Order]:
    if value not in (1, 3):
        raise WishFault(f"cannot wire {value!r} phases; valid: 1, 3")
    return [Change("mains", (("phases", value),))]


def _door(_plant: State, value: Any) -> list[Order]:
    wished = _parts("door", value, SIDES)
    words = {side: _one_of(f"door.{side}", wished[side], DOOR_WORDS) for side in SIDES if side in wished}
    return [Handle(side, DOOR_WORDS[word]) for side, word in words.items()]


def _strike(plant: State, value: Any) -> list[Order]:
    """A number of strikes on the first protector, or `{"number": 2, "count": 3}`."""
    wish = _parts("strike", value, ("number", "count")) if isinstance(value, Mapping) else {"count": value}
    index = _index("strike.number", wish.get("number", 1), len(plant.spds))
    return [Strike(index, int(_number("strike.count", wish.get("count", 1), 1, 1000)))]


def _listed(part: str, key: str, fields: Mapping[str, tuple[str, tuple[float, float] | None]]) -> Wish:
    """A wish for the n-th of several: `{"number": 2, "fault": true}`; number 1 unless said. No range: true or false."""

    def wish(plant: State, value: Any) -> list[Order]:
        parts = _parts(key, value, ("number", *fields))
        count = {"air": len(plant.air), "module": len(plant.dc.modules), "spd": len(plant.spds)}[part]
        index = _index(f"{key}.number", parts.get("number", 1), count)
        changes = []
        for name, wanted in parts.items():
            if name == "number":
                continue
            field, bounds = fields[name]
            where = f"{key}.{name}"
            changes.append((field, _number(where, wanted, *bounds) if bounds else _flag(where, wanted)))
        return [Change(part, tuple(changes), index)]

    return wish


def _rectifier_rows(plant: State, value: Any) -> list[Order]:
    """The table rows of the modules, in their order: `[28676, 28677]`; 0 is a module that is not shown."""
    modules = len(plant.dc.modules)
    rows = value if isinstance(value, list) else []
    shown = [row for row in rows if row]
    if len(rows) != modules or len(set(shown)) != len(shown):
        raise WishFault(f"cannot use rectifier_rows {value!r}: a list of {modules} different numbers is needed")
    return [Change("dc", (("rows", tuple(int(_number("rectifier_rows", row, 0, 2**31 - 1)) for row in rows)),))]


def _battery_test(_plant: State, value: Any) -> list[Order]:
    return [BatteryTesting(_one_of("battery_test", value, ("standard", "short", "stop")))]


_NAMED: dict[str, Callable[[str], Wish]] = {
    "frequency_hz": _set("mains", "frequency_hz", 40, 70),
    "outside_c": _set("climate", "outside_c", -50, 70),
    "outside_rh": _set("climate", "outside_rh", 0, 100),
    "inside_c": _set("climate", "inside_c", -50, 100),
    "inside_rh": _set("climate", "inside_rh", 0, 100),
    "load_a": _set("dc", "load_a", 0, 200),
    "battery_percent": _set("battery", "charge", 0, 100, 0.01),
    "battery_c": _set("battery", "temperature_c", -40, 90),
    "battery_fuse": _switch("battery", "fuse"),
    "ups_load_w": _set("ups", "load_w", 0, 5000),
    "ups_percent": _set("ups", "charge", 0, 100, 0.01),
    "ups_replace": _switch("ups", "replace"),
    "water": _switch("plant", "water"),
    "smoke": _switch("plant", "smoke"),
    "energy_kwh": _set("plant", "energy_kwh", 0, 1e9),
}
PLANT: Mapping[str, Wish] = {
    **{key: named(key) for key, named in _NAMED.items()},
    "mains": _mains,
    "phase": _phase,
    "phases": _phases,
    "door": _door,
    "strike": _strike,
    "battery_test": _battery_test,
    "rectifier_rows": _rectifier_rows,
    "rectifier": _listed("module", "rectifier", {"on": ("on", None), "fault": ("fault", None)}),
    "aircon": _listed(
        "air",
        "aircon",
        {
            "fault": ("fault", None),
            "on": ("remote", None),
            "cool_on_c": ("cool_on_c", (0, 60)),
            "heat_on_c": ("heat_on_c", (-40, 60)),
        },
    ),
    "spd": _listed("spd", "spd", {"status": ("healthy", None), "leakage_ma": ("leakage_ma", (0, 50))}),
}
HOST: Mapping[str, tuple[str, float, float]] = {
    "cpu": ("cpu_percent", 0, 100),
    "memory": ("memory_used_percent", 0, 80),
    "sys_disk": ("sys_disk_percent", 0, 100),
    "data_disk": ("data_disk_percent", 0, 100),
    "net": ("net_percent", 0, 100),
    "cpu_c": ("cpu_c", -20, 120),
}


def plant(world: World, body: Any) -> None:
    """Carry out a body of POST /plant: `{"cabinet": 1, "mains": false}`, or `{"computer": 2, "cpu": 93}`."""
    if not isinstance(body, Mapping):
        raise WishFault("cannot use this body: a JSON object is needed")
    if "computer" in body:
        _computer(world, body)
        return
    number = body.get("cabinet", min(world.plants, default=0))
    if not isinstance(number, int) or number not in world.plants:
        raise WishFault(f"cannot change cabinet {number!r}; valid: {', '.join(map(str, world.plants))}")
    unknown = [key for key in body if key not in {"cabinet", CARD} and key not in PLANT]
    if unknown:
        raise WishFault(f"cannot change {unknown[0]}; valid: cabinet, computer, {', '.join(sorted([CARD, *PLANT]))}")
    orders = [order for key, value in body.items() if key in PLANT for order in PLANT[key](world.plants[number], value)]
    world.command(number, orders)
    if CARD in body:
        _card(world, number, body[CARD])


def _card(world: World, cabinet: int, value: Any) -> None:
    """Somebody shows a card at a door: `{"side": "front", "number": 12345678}`."""
    wish = _parts(CARD, value, ("side", "number"))
    side: Side = "back" if _one_of("card.side", wish.get("side"), SIDES) == "back" else "front"
    number = int(_number("card.number", wish.get("number"), 1, 0xFFFFFFFE))
    if not world.show(cabinet, side, number):
        raise WishFault(f"cannot show a card at the {side} door of cabinet {cabinet}: nothing there reads cards")


def _computer(world: World, body: Mapping[str, Any]) -> None:
    key = f"computer {body['computer']}"
    if key not in world.hosts:
        raise WishFault(f"cannot change {key}; valid: {', '.join(world.hosts) or 'none is simulated'}")
    fields = {}
    for name, value in body.items():
        if name == "computer":
            continue
        if name not in HOST:
            raise WishFault(f"cannot change {name} of {key}; valid: {', '.join(HOST)}")
        field, low, high = HOST[name]
        fields[field] = _number(name, value, low, high)
    world.change_host(key, fields)


# --- faults ---------------------------------------------------------------------------------------------------------

SNMP_PROFILES = frozenset(name for name, product in PRODUCTS.items() if isinstance(product, SnmpProduct))
FAULT_KEYS = ("device", "kind", "seconds", "count", "ms", "code", "bytes", "percent", "first", "last")


def fault(world: World, body: Any, now: float) -> None:
    """Carry out a body of POST /fault."""
    if not isinstance(body, Mapping):
        raise WishFault("cannot use this body: a JSON object is needed")
    for key in body:
        if key not in FAULT_KEYS:
            raise WishFault(f"cannot use {key}; valid: {', '.join(FAULT_KEYS)}")
    key = device(world, body.get("device"))
    kind, wire = body.get("kind"), world.site.wires[world.site.devices[key].wire].kind
    if not isinstance(kind, str) or kind not in BY_WIRE[wire]:
        raise WishFault(
            f"cannot inflict {kind!r} on {key}, which is on {wire}; valid: {', '.join(sorted(BY_WIRE[wire]))}"
        )
    seconds = _number("seconds", body["seconds"], 0, 1e6) if body.get("seconds") is not None else None
    count = int(_number("count", body["count"], 1, 1e6)) if body.get("count") is not None else None
    extras = {
        name: int(_number(name, body[name], low, high))
        for name, low, high in (
            ("ms", 0, 600_000),
            ("code", 1, 255),
            ("bytes", 1, 250),
            ("first", 0, 0xFFFF),
            ("last", 0, 0xFFFF),
            ("percent", 1, 100),
        )
        if name in body
    }
    until = now + seconds if seconds is not None else None
    world.faults.inflict(key, Fault(kind, until=until, left=count, **extras))


def device(world: World, key: Any) -> str:
    if not isinstance(key, str) or key not in world.site.devices:
        raise WishFault(f"cannot find device {key!r}; valid: {', '.join(world.site.devices)}")
    return key
