"""One cabinet door as a state machine: contact, lock, orders and cards in; what the interface says of it out (D21–D23).

Only what no device reports is decided here: how a lock came to be open, whether an opening was legal, and when the
contact last changed. A field that the controller itself reports is taken from there. No clock: instants (Unix seconds)
and monotonic seconds are given.

The machine is the two tables below: `LOCK` says what a change of the lock does, `CONTACT` how a change of the contact
is judged. What is not in them is no change. The lock is judged before the contact: when both changed since the last
reading, the lock opened first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from types import MappingProxyType


class UnlockType(IntEnum):
    """How a lock came to be open, in the interface's numbers (§3.1.2 frontDoorUnlockType)."""

    LOCKED = 0
    CARD = 1
    REMOTE = 2
    KEY = 3


@dataclass(frozen=True, slots=True)
class Grant:
    """A card accepted, or an order carried out, that may open the lock until `until` (monotonic seconds)."""

    by: UnlockType
    until: float
    card: str | None = None


@dataclass(frozen=True, slots=True)
class DoorState:
    """What is known of one door. None where nothing was seen yet, or the door has no such sensor."""

    closed: bool | None = None
    locked: bool | None = None
    unlocked_by: UnlockType | None = None
    card: str | None = None
    illegal: bool = False
    sounding: bool = False  # opened illegally in defence mode: siren and beacon are due until it is closed
    changed_at: float | None = None  # Unix seconds of the contact's last change, as the agent saw it (D23)
    grant: Grant | None = None
    presented: str | None = None  # the card that the controller showed last


# --- the lock (D21) -------------------------------------------------------------------------------------------------


def _secure(state: DoorState, _mono: float) -> DoorState:
    return replace(state, locked=True, unlocked_by=UnlockType.LOCKED, card=None, grant=None)


def _found_open(state: DoorState, _mono: float) -> DoorState:
    return replace(state, locked=False, unlocked_by=None)  # at start: nobody saw why


def _explain(state: DoorState, mono: float) -> DoorState:
    grant = _live(state, mono)
    by = grant.by if grant else UnlockType.KEY
    return replace(state, locked=False, unlocked_by=by, card=grant.card if grant else None, grant=None)


LOCK: Mapping[tuple[bool | None, bool], Callable[[DoorState, float], DoorState]] = MappingProxyType(
    {  # (locked before, locked now)
        (None, True): _secure,
        (None, False): _found_open,
        (True, False): _explain,
        (False, True): _secure,
    }
)


# --- the contact (D22) ----------------------------------------------------------------------------------------------


class Opening(Enum):
    """How a change of the contact is judged."""

    LEGAL = "legal"  # closed, or found so at the start, when nobody saw it happen
    ILLEGAL = "illegal"
    REMOTE_ONLY = "remote only"  # in defence mode nothing but a remote unlocking makes it legal


CONTACT: Mapping[tuple[bool | None, bool, bool | None], Opening] = MappingProxyType(
    {  # (closed before, closed now, locked; None without a lock sensor)
        (None, True, True): Opening.LEGAL,
        (None, True, False): Opening.LEGAL,
        (None, True, None): Opening.LEGAL,
        (None, False, True): Opening.LEGAL,
        (None, False, False): Opening.LEGAL,
        (None, False, None): Opening.LEGAL,
        (False, True, True): Opening.LEGAL,
        (False, True, False): Opening.LEGAL,
        (False, True, None): Opening.LEGAL,
        (True, False, True): Opening.ILLEGAL,
        (True, False, False): Opening.REMOTE_ONLY,
        (True, False, None): Opening.REMOTE_ONLY,
    }
)


def allow(state: DoorState, grant: Grant) -> DoorState:
    """Remember that the lock may open for this reason; the newest reason counts."""
    return replace(state, grant=grant)


def present(state: DoorState, card: str, until: float) -> DoorState:
    """Absorb a card number as the controller shows it; a new one is a card it has granted (D21)."""
    if card == state.presented:
        return state
    return allow(replace(state, presented=card), Grant(UnlockType.CARD, until, card))


def disarm(state: DoorState) -> DoorState:
    """End of the defence: nothing sounds any more; what was illegal stays so until the door is closed."""
    return replace(state, sounding=False)


def observe(
    state: DoorState,
    *,
    closed: bool | None,
    locked: bool | None,
    defended: bool,
    at: float,
    mono: float,
    reported: UnlockType | None = None,
) -> DoorState:
    """Absorb one reading of contact and lock taken together; None leaves that part as it was known.

    `reported` is how the lock was opened in the controller's own words, which count before ours.
    """
    if locked is not None and (turn := LOCK.get((state.locked, locked))):
        state = turn(state, mono)
    if reported is not None:
        state = replace(state, unlocked_by=reported)
    if closed is None or (opening := CONTACT.get((state.closed, closed, state.locked))) is None:
        return state
    illegal = _is_illegal(state, opening, defended=defended, lock_seen=locked is not None, mono=mono)
    return replace(state, closed=closed, illegal=illegal, sounding=illegal and defended, changed_at=at)


def _is_illegal(state: DoorState, opening: Opening, *, defended: bool, lock_seen: bool, mono: float) -> bool:
    """Judge an opening; where the lock was not read with the contact, a reason that holds still may have opened it."""
    grant = None if lock_seen else _live(state, mono)
    by = grant.by if grant else state.unlocked_by
    match opening:
        case Opening.LEGAL:
            return False
        case Opening.ILLEGAL if grant is None:
            return True
        case _:
            return defended and by is not UnlockType.REMOTE


def _live(state: DoorState, mono: float) -> Grant | None:
    return state.grant if state.grant and mono <= state.grant.until else None
