"""When a cabinet that changed goes up: gathering (D18) and the hold-down of inputs that flap.

The first event opens a window of at most 100 ms. It closes as soon as nothing more can belong to the event: a mains
failure shows in meters, rectifiers, UPS and air conditioners, which are on several buses, so the window waits until
each of them has spoken once more or is silent; a door event waits for the rest of the doors, which mostly came in the
same answer; water and smoke wait for nobody. A site whose line is too slow for that may give the power more time; what
else changes then is not kept for longer than ever. `absorb` names the devices worth asking at once. A pure account:
monotonic times are given, and nothing here builds or sends a record.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gantry_agent.core import told
from gantry_agent.core.alarms import Admission, HoldEnded, Holds, Key, keys
from gantry_agent.core.monitor import Watch
from gantry_agent.model import Event, Quality, Role, Value
from gantry_agent.vocabulary import CABINET

LONGEST_S = 0.1  # D18

_POWER = frozenset({"elec", "rectifier", "ups", "airConditioners"})
# Whose changes may have the same cause, by the member that changed. A strike may take the mains down with it.
TOGETHER: Mapping[str, frozenset[str]] = MappingProxyType(
    {name: _POWER if name in _POWER else frozenset({name}) for name in CABINET}
    | {"thunderSpd": _POWER | {"thunderSpd"}}
)


@dataclass(frozen=True, slots=True)
class Absorbed:
    """What became of a message: the events that are pushed, the devices that may have more of the same to say, and
    the inputs whose hold-down begins.
    """

    pushed: tuple[Event, ...] = ()
    asked: frozenset[str] = frozenset()
    held: tuple[Key, ...] = ()


_NOTHING = Absorbed()


@dataclass(slots=True)
class _Window:
    until: float
    missing: set[tuple[Role, str]] = field(default_factory=set)
    heard: set[tuple[Role, str]] = field(default_factory=set)  # since it was opened


@dataclass(frozen=True, slots=True)
class Taken:
    """A cabinet whose record is being built: whether it carries an event, and what it tells (`core.told`)."""

    cabinet: int
    urgent: bool
    told: str
    announced: Mapping[tuple[Role, str], Value]


@dataclass(slots=True)
class Gathering:
    """The windows that are open, the inputs that are held down, and what has been announced."""

    holds: Holds
    power_s: float = LONGEST_S  # how long changes of the power are gathered, at most
    _windows: dict[int, _Window] = field(default_factory=dict)
    _kept: dict[int, Taken] = field(default_factory=dict)  # the latest of each cabinet

    def absorb(
        self,
        watch: Watch,
        events: Iterable[Event],
        heard: Collection[tuple[Role, str]],
        now: float,
        partial: Collection[tuple[Role, str]] = (),
    ) -> Absorbed:
        """Take in one message: the fields it said (`heard`; `partial` may say more soon), and what changed by it."""
        if not events and not self._windows:
            return _NOTHING
        heard = {key for key in heard if key not in partial or key[0].member not in _POWER}  # a door does not wait
        pushed: list[Event] = []
        held: list[Key] = []
        asked: set[str] = set()
        for event in events:
            if not event.role.cabinet:  # of a computer: the interface has no push for it
                continue
            verdicts = {key: self.holds.admit(key, now) for key in keys(event)}
            held += [key for key, verdict in verdicts.items() if verdict is Admission.HOLD_BEGINS]
            if Admission.PUSHED in verdicts.values():
                pushed.append(event)
                longest_s = LONGEST_S if _POWER.isdisjoint(TOGETHER[event.role.member]) else self.power_s
                window = self.open(event.role.cabinet, now, longest_s)
                fresh = _missing(watch, event).difference(heard, window.heard, window.missing)
                window.missing |= fresh
                asked |= _givers(watch, fresh)
        for window in self._windows.values():
            window.missing.difference_update(heard)
            window.heard.update(heard)
            for device in _givers(watch, window.missing):
                if watch.misses.get(device):  # it went silent meanwhile, with the mains perhaps
                    window.missing.difference_update(watch.layout.filled[device])
        return Absorbed(tuple(pushed), frozenset(asked), tuple(held))

    def open(self, cabinet: int, now: float, longest_s: float = LONGEST_S) -> _Window:
        """Open a cabinet's window, or give the one that is open, which closes no later for it."""
        window = self._windows.setdefault(cabinet, _Window(now + longest_s))
        window.until = min(window.until, now + longest_s)
        return window

    def take(self, watch: Watch, cabinet: int) -> Taken:
        """Close a cabinet's window, since its record is being built: what comes now belongs to the next.

        A record without an event tells how a held input is, but does not announce it: that is for the summary.
        """
        urgent = self._windows.pop(cabinet, None) is not None
        before = self._kept.get(cabinet)
        held = self.holds.fields() if before and not urgent else set()
        silent = {key: before.announced[key] for key in held if before and key in before.announced}
        return Taken(cabinet, urgent, told.write(watch, cabinet, silent), {**watch.known, **silent})

    def kept(self, taken: Taken) -> None:
        """The record is safe."""
        self._kept[taken.cabinet] = taken

    def put_back(self, taken: Taken, now: float) -> None:
        """The record is not safe: its events go with the next."""
        if taken.urgent:
            self.open(taken.cabinet, now)

    def ready(self, now: float) -> list[int]:
        """List the cabinets whose window is over."""
        return sorted(c for c, window in self._windows.items() if not window.missing or window.until <= now)

    def end_holds(self, watch: Watch, now: float) -> list[HoldEnded]:
        """End the holds that are over, each with a summary unless what was announced still holds."""
        ended = list(self.holds.ended(now))
        for cabinet in {hold.key[0].cabinet for hold in ended if hold.changes}:
            before = self._kept.get(cabinet)
            if before is None or told.write(watch, cabinet) != before.told:
                self.open(cabinet, now)
        return ended

    def due(self) -> float | None:
        """Tell when something is to be done if nothing comes before."""
        times = [window.until if window.missing else 0.0 for window in self._windows.values()]
        if (hold := self.holds.due()) is not None:
            times.append(hold)
        return min(times, default=None)


def _missing(watch: Watch, event: Event) -> set[tuple[Role, str]]:
    """List the fields that may change with this event and are about to be read; a silent device's are not."""
    members, found = TOGETHER[event.role.member], set()
    for device, fields in watch.layout.filled.items():
        if watch.misses.get(device):
            continue
        for role, name in fields:
            if (
                role.cabinet == event.role.cabinet
                and role.member in members
                and CABINET[role.member].fields[name].urgent
            ):
                reading = watch.snapshots[role.cabinet].entries[role][name]
                if reading.quality is Quality.OK:
                    found.add((role, name))
    return found


def _givers(watch: Watch, fields: Collection[tuple[Role, str]]) -> set[str]:
    return {device for device, given in watch.layout.filled.items() if not given.isdisjoint(fields)}
