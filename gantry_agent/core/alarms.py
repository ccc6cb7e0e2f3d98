"""Alarms that no device raises, and inputs that raise too many (D18).

Thresholds: a measured value beyond its limit for long enough raises an alarm; only at `clear` is it over, so that a
value that trembles about the limit is one alarm (`STEPS` is the table). Hold-down: an input that changes again and
again is pushed `most` times and then held, with one summary at the end of each hold; `Holds` decides that for whatever
key it is asked about. Knows no device, no bus, no clock: times are monotonic seconds.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from gantry_agent.model import Event, Quality, Reading, Role, Threshold
from gantry_agent.vocabulary import MEMBERS, WARNING_FIELD

TEXT_FIELDS = frozenset(WARNING_FIELD.values())


# --- thresholds -----------------------------------------------------------------------------------------------------


class Phase(Enum):
    """Where an alarm is."""

    QUIET = "quiet"
    PENDING = "pending"  # beyond the limit, not for long enough yet
    RAISED = "raised"


class Zone(Enum):
    """Where a value is, seen from a threshold."""

    BEYOND = "beyond"
    BETWEEN = "between"  # the limit and `clear`
    CLEAR = "clear"
    UNKNOWN = "unknown"  # there is no value


STEPS: Mapping[tuple[Phase, Zone], Phase] = MappingProxyType(
    {
        (Phase.QUIET, Zone.BEYOND): Phase.PENDING,
        (Phase.QUIET, Zone.BETWEEN): Phase.QUIET,
        (Phase.QUIET, Zone.CLEAR): Phase.QUIET,
        (Phase.QUIET, Zone.UNKNOWN): Phase.QUIET,
        (Phase.PENDING, Zone.BEYOND): Phase.PENDING,  # RAISED once it has lasted
        (Phase.PENDING, Zone.BETWEEN): Phase.QUIET,
        (Phase.PENDING, Zone.CLEAR): Phase.QUIET,
        (Phase.PENDING, Zone.UNKNOWN): Phase.QUIET,
        (Phase.RAISED, Zone.BEYOND): Phase.RAISED,
        (Phase.RAISED, Zone.BETWEEN): Phase.RAISED,
        (Phase.RAISED, Zone.CLEAR): Phase.QUIET,
        (Phase.RAISED, Zone.UNKNOWN): Phase.RAISED,  # a probe that broke does not make the room cool
    }
)


@dataclass(frozen=True, slots=True)
class Standing:
    """How one threshold's alarm stands; `since` is when it began to be beyond, while pending."""

    phase: Phase = Phase.QUIET
    since: float = 0.0

    @property
    def raised(self) -> bool:
        return self.phase is Phase.RAISED


QUIET, RAISED = Standing(), Standing(Phase.RAISED)


def zone(threshold: Threshold, reading: Reading) -> Zone:
    """Tell where a reading is."""
    if reading.quality is not Quality.OK or not isinstance(reading.value, int | float):
        return Zone.UNKNOWN
    sign = 1 if threshold.above else -1
    if sign * reading.value > sign * threshold.limit:
        return Zone.BEYOND
    return Zone.CLEAR if sign * reading.value <= sign * threshold.clear else Zone.BETWEEN


def judge(threshold: Threshold, standing: Standing, reading: Reading, mono: float) -> Standing:
    """Absorb one reading of the threshold's field."""
    phase = STEPS[standing.phase, zone(threshold, reading)]
    if phase is not Phase.PENDING:
        return RAISED if phase is Phase.RAISED else QUIET
    since = standing.since if standing.phase is Phase.PENDING else mono
    return RAISED if mono - since >= threshold.for_s else Standing(phase, since)


def changed(before: Mapping[Threshold, Standing], after: Mapping[Threshold, Standing]) -> list[Threshold]:
    """List the thresholds that were raised or cleared."""
    if before is after:
        return []
    return [threshold for threshold, stands in after.items() if stands.raised is not before[threshold].raised]


def told(threshold: Threshold, standing: Standing) -> str:
    """Say for the log that a threshold was raised or cleared."""
    return f"{'raised' if standing.raised else 'cleared'}: {name(threshold)}"


def name(threshold: Threshold) -> str:
    """Name a threshold for the log and the store; one whose figures change is another alarm."""
    role = threshold.role
    unit = MEMBERS[role.member].fields[threshold.field].unit
    side = ">" if threshold.above else "<"
    return f"{role.member}[{role.number}].{threshold.field} {side} {threshold.limit:g} {unit}: {threshold.text}"


def join(*texts: str) -> str:
    """Join alarm texts as the interface has them, each once (§3.1.2: half-width commas)."""
    return ",".join(dict.fromkeys(one for text in texts for one in text.split(",") if one))


# --- inputs that flap -----------------------------------------------------------------------------------------------

Key = tuple[Role, str, str]  # role, field, and which text of a field of texts


def keys(event: Event) -> frozenset[Key]:
    """Name the inputs behind an event: the field, or each alarm text that came or went."""
    if event.field not in TEXT_FIELDS:
        return frozenset({(event.role, event.field, "")})
    before, after = (set(str(r.value or "").split(",")) for r in (event.before, event.after))
    return frozenset((event.role, event.field, text) for text in before ^ after if text)


class Admission(Enum):
    """What becomes of a change."""

    PUSHED = "pushed"
    HOLD_BEGINS = "hold begins"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class HoldEnded:
    """A hold is over, with the changes that were held; `again`: it flaps still, and another hold has begun."""

    key: Key
    changes: int
    again: bool


@dataclass(slots=True)
class _Input:
    pushed: deque[float] = field(default_factory=deque)
    until: float | None = None
    changes: int = 0


@dataclass(slots=True)
class Holds:
    """Which inputs are held down; at most `most` pushes and one summary per `hold_s` of each."""

    most: int
    hold_s: float
    _inputs: dict[Key, _Input] = field(default_factory=dict)

    def admit(self, key: Key, now: float) -> Admission:
        """Count a change of an input."""
        one = self._inputs.setdefault(key, _Input())
        if one.until is not None:
            one.changes += 1
            return Admission.HELD
        while one.pushed and one.pushed[0] <= now - self.hold_s:
            one.pushed.popleft()
        if len(one.pushed) < self.most:
            one.pushed.append(now)
            return Admission.PUSHED
        one.until, one.changes = now + self.hold_s, 1
        return Admission.HOLD_BEGINS

    def ended(self, now: float) -> Iterator[HoldEnded]:
        """End the holds that are over; one whose input has gone on flapping begins again."""
        for key, one in self._inputs.items():
            if one.until is None or one.until > now:
                continue
            changes, again = one.changes, one.changes > self.most
            one.until, one.changes = (now + self.hold_s if again else None), 0
            one.pushed = deque([now])  # the summary is a push as well
            yield HoldEnded(key, changes, again)
        self._forget(now)

    def fields(self) -> set[tuple[Role, str]]:
        """List the fields that are held down."""
        return {key[:2] for key, one in self._inputs.items() if one.until is not None}

    def due(self) -> float | None:
        """Tell when the next hold is over."""
        return min((one.until for one in self._inputs.values() if one.until is not None), default=None)

    def _forget(self, now: float) -> None:
        idle = [
            key
            for key, one in self._inputs.items()
            if one.until is None and (not one.pushed or one.pushed[-1] <= now - self.hold_s)
        ]
        for key in idle:
            del self._inputs[key]
