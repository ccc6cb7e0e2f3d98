"""Doors: D21 and D22 as a table of what happens and what is then true."""

import pytest

from gantry_agent.core import doors
from gantry_agent.core.doors import DoorState, Grant, UnlockType, allow, disarm, observe, present

START = observe(DoorState(), closed=True, locked=True, defended=False, at=100.0, mono=0.0)


def after(*steps: dict, state: DoorState = START, defended: bool = False) -> DoorState:
    for i, step in enumerate(steps, start=1):
        if "grant" in step:
            state = allow(state, step["grant"])
        else:
            seen = {"closed": None, "locked": None} | step
            state = observe(state, **seen, defended=defended, at=100.0 + i, mono=float(i))
    return state


REMOTE = {"grant": Grant(UnlockType.REMOTE, until=5.0)}
CARD = {"grant": Grant(UnlockType.CARD, until=5.0, card="8165537")}
LATE = {"grant": Grant(UnlockType.REMOTE, until=0.5)}
UNLOCK, LOCK, OPEN, CLOSE = {"locked": False}, {"locked": True}, {"closed": False}, {"closed": True}


@pytest.mark.parametrize(
    ("steps", "defended", "unlocked_by", "card", "illegal"),
    [
        ([UNLOCK], False, UnlockType.KEY, None, False),
        ([REMOTE, UNLOCK], False, UnlockType.REMOTE, None, False),
        ([CARD, UNLOCK], False, UnlockType.CARD, "8165537", False),
        ([LATE, UNLOCK], False, UnlockType.KEY, None, False),
        ([REMOTE, UNLOCK, OPEN], True, UnlockType.REMOTE, None, False),
        ([CARD, UNLOCK, OPEN], True, UnlockType.CARD, "8165537", True),
        ([CARD, UNLOCK, OPEN], False, UnlockType.CARD, "8165537", False),
        ([UNLOCK, OPEN], False, UnlockType.KEY, None, False),
        ([OPEN], False, UnlockType.LOCKED, None, True),
        ([OPEN, CLOSE], False, UnlockType.LOCKED, None, False),
        ([REMOTE, UNLOCK, LOCK], False, UnlockType.LOCKED, None, False),
        ([REMOTE, UNLOCK, LOCK, UNLOCK], False, UnlockType.KEY, None, False),
        ([UNLOCK, REMOTE, LOCK, UNLOCK], False, UnlockType.KEY, None, False),
        ([{"closed": False, "locked": False}], False, UnlockType.KEY, None, False),
    ],
)
def test_a_door_tells_who_unlocked_it_and_whether_it_was_opened_rightly(steps, defended, unlocked_by, card, illegal):
    state = after(*steps, defended=defended)
    assert (state.unlocked_by, state.card, state.illegal) == (unlocked_by, card, illegal)


def test_the_time_of_change_is_that_of_the_contact_not_of_the_lock():
    assert after(UNLOCK).changed_at == 100.0
    assert after(UNLOCK, OPEN).changed_at == 102.0
    assert after(UNLOCK, OPEN, LOCK).changed_at == 102.0
    assert after(UNLOCK, OPEN, CLOSE).changed_at == 103.0


def test_a_lock_found_open_at_start_has_no_known_reason_and_a_door_found_open_is_not_called_illegal():
    state = observe(DoorState(), closed=False, locked=False, defended=True, at=1.0, mono=0.0)
    assert state.unlocked_by is None
    assert not state.illegal


def test_a_reading_without_news_changes_nothing():
    assert after({"closed": True, "locked": True}) == START
    assert after({}) == START


def test_every_change_of_lock_and_contact_is_in_the_tables_and_nothing_else():
    positions = (None, False, True)
    assert set(doors.LOCK) == {(b, a) for b in positions for a in (False, True) if a is not b}
    assert set(doors.CONTACT) == {
        (b, a, lock) for b in positions for a in (False, True) if a is not b for lock in positions
    }


@pytest.mark.parametrize("defended", [False, True])
@pytest.mark.parametrize(("before", "now", "locked"), doors.CONTACT)
def test_only_an_opening_that_was_seen_is_illegal_when_locked_or_else_in_defence_mode(before, now, locked, defended):
    rang = before is False
    state = DoorState(closed=before, locked=locked, illegal=rang, sounding=rang)
    state = observe(state, closed=now, locked=None, defended=defended, at=7.0, mono=1.0)
    opened = before is True and not now
    assert state.illegal == (opened and (defended or locked is True))
    assert state.sounding == (opened and defended)
    assert (state.closed, state.changed_at) == (now, 7.0)


@pytest.mark.parametrize(
    ("steps", "defended", "illegal", "sounding"),
    [
        ([OPEN], False, True, False),
        ([OPEN], True, True, True),
        ([OPEN, CLOSE], True, False, False),
        ([UNLOCK, OPEN], True, True, True),
        ([UNLOCK, OPEN], False, False, False),
        ([REMOTE, UNLOCK, OPEN], True, False, False),
        ([REMOTE, OPEN], True, False, False),  # the lock is read apart from the contact and has not been read again
        ([REMOTE, {"closed": False, "locked": True}], True, True, True),
        ([LATE, OPEN], False, True, False),
        ([CARD, OPEN], False, False, False),
        ([CARD, OPEN], True, True, True),
    ],
)
def test_an_illegal_opening_in_defence_mode_sounds_until_the_door_is_closed(steps, defended, illegal, sounding):
    state = after(*steps, defended=defended)
    assert (state.illegal, state.sounding) == (illegal, sounding)


def test_the_end_of_the_defence_silences_but_what_was_illegal_stays_so():
    state = disarm(after(OPEN, defended=True))
    assert (state.illegal, state.sounding) == (True, False)


def test_a_door_without_a_lock_sensor_is_judged_by_the_orders_alone():
    shut = observe(DoorState(), closed=True, locked=None, defended=True, at=1.0, mono=0.0)
    assert after(OPEN, state=shut, defended=True).illegal
    assert not after(REMOTE, OPEN, state=shut, defended=True).illegal
    assert not after(OPEN, state=shut, defended=False).illegal


def test_a_card_that_the_controller_shows_explains_the_lock_once():
    state = present(START, "8165537", until=5.0)
    state = after(UNLOCK, state=state)
    assert (state.unlocked_by, state.card) == (UnlockType.CARD, "8165537")
    state = present(after(LOCK, state=state), "8165537", until=50.0)  # it shows its last card for ever
    assert after(UNLOCK, state=state).unlocked_by is UnlockType.KEY
    assert after(UNLOCK, state=present(state, "17", until=50.0)).card == "17"


def test_what_the_controller_says_of_the_unlocking_counts_before_ours():
    state = observe(START, closed=None, locked=False, defended=True, at=1.0, mono=1.0, reported=UnlockType.REMOTE)
    assert state.unlocked_by is UnlockType.REMOTE
    assert not after(OPEN, state=state, defended=True).illegal
