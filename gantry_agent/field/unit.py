"""What a poller keeps of one device between its turns: its plan, its readings, what is still to be asked or written.

Plain state without a clock or a wire; the poller alone changes it.
"""

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from gantry_agent.field import derive, plan
from gantry_agent.field.product import Profile
from gantry_agent.field.request import AskYdt, Reply, WalkColumn, WriteRequest
from gantry_agent.field.rota import UnitState
from gantry_agent.model import Device, Quality, Role, Value

RATE_SPAN_S = 10.0  # net-snmp renews its counters every 5 s: over less a rate is nothing, or double
RELOCATE_S = 600.0  # rows of an SNMP table come and go: look again this often
MISSING_S = (5.0, 60.0)  # while a row is missing that the site names or that was there: so often, doubling up to


@dataclass(frozen=True, slots=True)
class Lanes:
    """How often each lane is read, in seconds, and after how many misses a block's points are given up."""

    fast_s: float
    slow_s: float
    misses: int


@dataclass(eq=False, slots=True)
class Unit:
    """One device on the bus: its plan, and the two latest samples of each of its points."""

    device: Device
    profile: Profile
    state: UnitState
    deriver: derive.Deriver
    rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    known_by: Mapping[tuple[str, str], tuple[plan.Mark, ...]] = field(default_factory=dict)
    most_rows: dict[str, int] = field(default_factory=dict)  # of each table, ever
    locate_at: float = 0.0  # monotonic: when the rows are to be looked for, again
    relook_s: float = RELOCATE_S
    heeded_at: float | None = None  # the latest hint that was followed
    walks: deque[WalkColumn | AskYdt] = field(default_factory=deque)  # still to be done before the rows are found
    walked: dict[WalkColumn | AskYdt, Reply] = field(default_factory=dict)
    settings: deque[WriteRequest] = field(default_factory=deque)  # still to be written to a device that is back
    lacking: frozenset[str] = frozenset()  # points that it says it does not have
    gave: frozenset[str] = frozenset()  # points refused now that gave a value since it was last learnt
    relearn_at: float | None = None  # monotonic; None while it has refused nothing
    relearnt: int = 0
    telling: frozenset[str] = frozenset()  # the points that are read and on which what is pushed at once rests
    awaited: frozenset[str] | None = None  # of those, still to be read since somebody asked for a look at them
    held: bool = True  # nothing is handed over until every block was read: at start, and when a lost device is back
    now: dict[str, derive.Sample] = field(default_factory=dict)
    before: dict[str, derive.Sample] = field(default_factory=dict)  # of counters, RATE_SPAN_S ago or more
    between: dict[str, derive.Sample] = field(default_factory=dict)  # what `before` will be next
    counters: frozenset[str] = frozenset()  # points whose rate is asked for
    unsteady: frozenset[str] = frozenset()  # points that are read `again` before it is believed that they say nothing


def begin(device: Device, profile: Profile) -> Unit:
    counters = frozenset(str(d.operands[0]) for d in profile.derived if d.operation == "rate")
    unsteady = frozenset(key for key, point in profile.points.items() if point.again)
    state, deriver = UnitState(device.key), derive.Deriver(profile, device)
    return Unit(device, profile, state, deriver, counters=counters, unsteady=unsteady)


def keep_earlier(unit: Unit, key: str, sample: derive.Sample) -> None:
    """Keep a counter's earlier sample, one to two spans old once it runs."""
    between = unit.between.get(key)
    if between is None:
        unit.between[key] = sample
    elif key not in unit.before or sample.t - between.t >= RATE_SPAN_S:
        unit.before[key] = between
        unit.between[key] = sample


def partial(unit: Unit, fields: Collection[tuple[Role, str]], read: Collection[str]) -> frozenset[tuple[Role, str]]:
    """Tell which of these fields rest on more than was read and is to come: a look may be several questions."""
    rest = (unit.telling if unit.awaited is None else unit.awaited).difference(read, unit.lacking)
    unit.awaited = rest if unit.awaited is not None and rest else None
    return unit.deriver.resting(fields, rest)


def watched(unit: Unit, read: Collection[str]) -> dict[str, Value | Quality]:
    """Give the points that the site watches raw, all of them as soon as one was read."""
    wanted = unit.device.watched
    return {} if wanted.isdisjoint(read) else {key: unit.now[key].value for key in wanted if key in unit.now}


def doubtful(unit: Unit, values: Mapping[str, Value | Quality]) -> bool:
    """Tell whether a point that is known to give garbage now and then has done so: it is worth another look."""
    return any(values.get(key) is Quality.NO_DATA for key in unit.unsteady)


def gone(unit: Unit, key: str, values: Mapping[str, Value | Quality]) -> bool:
    """Tell whether a point of a row is not there any more."""
    before = unit.now.get(key)
    return values[key] is Quality.NOT_SUPPORT and before is not None and before.value is not Quality.NOT_SUPPORT


def relook_s(unit: Unit, rows: Mapping[str, tuple[str, ...]]) -> float:
    """Tell after how long its rows, of which these were found, are to be looked for again."""
    first, most = MISSING_S
    if not _incomplete(unit, rows):
        return RELOCATE_S
    return first if unit.relook_s == RELOCATE_S else min(most, 2 * unit.relook_s)


def _incomplete(unit: Unit, rows: Mapping[str, tuple[str, ...]]) -> bool:
    """Tell whether a row is missing: one that the site numbers, or one that was there before."""
    missing = False
    for name, indexes in rows.items():
        wanted = len(unit.device.roles.get(unit.profile.tables[name].member, ()))
        unit.most_rows[name] = most = max(unit.most_rows.get(name, 0), len(indexes))
        missing = missing or len(indexes) < max(wanted, most)
    return missing
