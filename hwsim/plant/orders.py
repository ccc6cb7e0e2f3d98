"""What can be done to a cabinet from outside: by weather and people (the API, a scene) or by a device's outputs.

One frozen value per order, and `obey`, which gives the State after it. Orders are facts of the plant, not of a
protocol: a device turns a register write into one of these.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hwsim.plant import doors, power
from hwsim.plant.state import Side, Spd, State


@dataclass(frozen=True, slots=True)
class Change:
    """Set fields of one part: `Change("climate", {"outside_c": 40.0})`, `Change("air", {...}, index=1)`."""

    part: str  # mains, dc, battery, ups, climate, air, module, spd, plant
    fields: tuple[tuple[str, Any], ...]
    index: int = 0  # of air, module, spd: counted from 0


@dataclass(frozen=True, slots=True)
class Energise:
    """The unlock output of a door goes on or off."""

    side: Side
    on: bool


@dataclass(frozen=True, slots=True)
class Cut:
    """A relay cuts a supply off, or lets it through again."""

    name: str
    off: bool


@dataclass(frozen=True, slots=True)
class Handle:
    """A person at a door: `pull`, `force`, `close`, `key`."""

    side: Side
    what: str


@dataclass(frozen=True, slots=True)
class Strike:
    """Lightning: `count` strikes through surge protector `index` (from 0)."""

    index: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class ClearStrikes:
    index: int
    total: bool = False


@dataclass(frozen=True, slots=True)
class BatteryTesting:
    """Start a standard or short test of the DC battery, or stop it."""

    what: str  # standard, short, stop


@dataclass(frozen=True, slots=True)
class UpsTesting:
    """Start the UPS's self-test for so many seconds; 0 aborts."""

    seconds: float


Order = Change | Energise | Cut | Handle | Strike | ClearStrikes | BatteryTesting | UpsTesting

_HANDS: dict[str, Callable[[Any], Any]] = {
    "pull": doors.pull,
    "force": doors.force,
    "close": doors.close,
    "key": doors.turn_key,
}


def obey(state: State, order: Order) -> State:
    """The cabinet after `order`. Raises IndexError for an air conditioner, module or protector that is not there."""
    return _OBEY[type(order)](state, order)


def _change(state: State, order: Change) -> State:
    fields = dict(order.fields)
    match order.part:
        case "plant":
            return replace(state, **fields)
        case "battery":
            return replace(state, dc=replace(state.dc, battery=replace(state.dc.battery, **fields)))
        case "module":
            return replace(state, dc=replace(state.dc, modules=_at(state.dc.modules, order.index, fields)))
        case "air":
            return replace(state, air=_at(state.air, order.index, fields))
        case "spd":
            return replace(state, spds=_at(state.spds, order.index, fields))
        case part:
            return replace(state, **{part: replace(getattr(state, part), **fields)})


def _at(items: tuple[Any, ...], index: int, fields: dict[str, Any]) -> tuple[Any, ...]:
    changed = replace(items[index], **fields)
    return (*items[:index], changed, *items[index + 1 :])


def _energise(state: State, order: Energise) -> State:
    return _with_door(state, order.side, doors.energise(state.door(order.side), on=order.on))


def _cut(state: State, order: Cut) -> State:
    supply = state.supplies[order.name]
    if supply.on != order.off:
        return state
    lasted_s = supply.last_cut_s if order.off else state.t - supply.since
    supply = replace(
        supply, on=not order.off, since=state.t, cuts=supply.cuts + order.off, last_cut_s=round(lasted_s, 3)
    )
    air = tuple(replace(unit, supplied=supply.on) if k in supply.air else unit for k, unit in enumerate(state.air))
    return replace(state, supplies={**state.supplies, order.name: supply}, air=air)


def _handle(state: State, order: Handle) -> State:
    return _with_door(state, order.side, _HANDS[order.what](state.door(order.side)))


def _with_door(state: State, side: Side, door: Any) -> State:
    return replace(state, front=door) if side == "front" else replace(state, back=door)


def _strike(state: State, order: Strike) -> State:
    spd: Spd = state.spds[order.index]
    fields = {"strikes": spd.strikes + order.count, "total": spd.total + order.count}
    return replace(state, spds=_at(state.spds, order.index, fields))


def _clear(state: State, order: ClearStrikes) -> State:
    return replace(state, spds=_at(state.spds, order.index, {"total" if order.total else "strikes": 0}))


def _test_battery(state: State, order: BatteryTesting) -> State:
    if order.what == "stop":
        return replace(state, dc=power.stop_test(state.dc, state.t))
    kind, limit_s = (4, power.SHORT_TEST_S) if order.what == "short" else (1, power.STANDARD_TEST_S)
    return replace(state, dc=power.start_test(state.dc, kind, limit_s, state.t))


def _test_ups(state: State, order: UpsTesting) -> State:
    if order.seconds > 0.0:
        begun = replace(state.ups, testing_s=order.seconds, test_result="running", tested_s=0.0, tested_ah=0.0)
        return replace(state, ups=begun)
    running = state.ups.test_result == "running"
    result = "aborted" if running else state.ups.test_result
    return replace(state, ups=replace(state.ups, testing_s=0.0, test_result=result))


_OBEY: dict[type, Callable[[State, Any], State]] = {
    Change: _change,
    Energise: _energise,
    Cut: _cut,
    Handle: _handle,
    Strike: _strike,
    ClearStrikes: _clear,
    BatteryTesting: _test_battery,
    UpsTesting: _test_ups,
}
