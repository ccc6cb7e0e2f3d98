"""One cabinet door as a state machine: contact, lock, orders and cards in; what the interface says of it out (D21–D23).

Only what no device reports is decided here: how a lock came to be open, whether an opening was legal, and when the
contact last changed. A field that the controller itself reports is taken from there by the caller. No clock: instants
(Unix seconds) and monotonic seconds are given.

                     contact opens                         contact closes
    lock locked      illegal                               legal again
    lock open        illegal only in defence mode without  legal again
                     a remote unlocking
"""

from dataclasses import dataclass, replace
from enum import IntEnum


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
    changed_at: float | None = None  # Unix seconds of the contact's last change, as the agent saw it (D23)
    grant: Grant | None = None


def allow(state: DoorState, grant: Grant) -> DoorState:
    """Remember that the lock may open for this reason; the newest reason counts."""
    return replace(state, grant=grant)


def observe(
    state: DoorState, *, closed: bool | None, locked: bool | None, defended: bool, at: float, mono: float
) -> DoorState:
    """Absorb one reading of contact and lock taken together; None leaves that part as it was known.

    The lock is judged before the contact: when both changed since the last reading, the lock opened first.
    """
    state = _lock(state, locked, mono) if locked is not None and locked != state.locked else state
    if closed is None or closed == state.closed:
        return state
    first = state.closed is None
    illegal = not closed and not first and _is_illegal(state, defended=defended)
    return replace(state, closed=closed, illegal=illegal, changed_at=at)


def _lock(state: DoorState, locked: bool, mono: float) -> DoorState:  # noqa: FBT001 - the new position
    if locked:
        return replace(state, locked=True, unlocked_by=UnlockType.LOCKED, card=None, grant=None)
    if state.locked is None:  # found open at start: nobody saw why
        return replace(state, locked=False, unlocked_by=None)
    grant = state.grant if state.grant and mono <= state.grant.until else None
    by = grant.by if grant else UnlockType.KEY
    return replace(state, locked=False, unlocked_by=by, card=grant.card if grant else None, grant=None)


def _is_illegal(state: DoorState, *, defended: bool) -> bool:
    if state.locked:
        return True
    return defended and state.unlocked_by is not UnlockType.REMOTE
