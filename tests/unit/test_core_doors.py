"""Doors: D21 and D22 as a table of what happens and what is then true."""

import pytest

from gantry_agent.core.doors import DoorState, Grant, UnlockType, allow, observe

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
