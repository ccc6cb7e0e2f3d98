"""The whitelist: which card opens today, what a controller must be told, and when a reader shows a card (D12)."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.command import Card
from gantry_agent.core.whitelist import (
    STALE_S,
    Held,
    Look,
    applied,
    build,
    day_now,
    desired,
    diff,
    masked,
    merged,
    number,
    read_day,
    shown,
    unfit,
)

TODAY = date(2026, 11, 24)
LATER, YESTERDAY = date(2030, 12, 31), TODAY - timedelta(days=1)
DOORS = frozenset({1, 2})


@pytest.mark.parametrize(
    ("text", "form", "found"),
    [
        ("12345678", "decimal", 12345678),
        ("0012345678", "decimal", 12345678),
        (" 12 ", "decimal", 12),
        ("12345678", "hex", 0x12345678),
        ("D6E9C160", "decimal", 3605643616),
        ("d6e9c160", "hex", 3605643616),
        ("0xd6e9c160", "decimal", 3605643616),
        ("0X10", "hex", 16),
        ("Zhang San", "decimal", None),
        ("12 34", "decimal", None),
        ("-5", "decimal", None),
        ("٣", "decimal", None),
        ("", "decimal", None),
        ("0x", "decimal", None),
    ],
)
def test_a_card_number_is_read_whichever_way_it_is_written(text: str, form: str, found: int | None):
    assert number(text, form) == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("card", "log"), [("8165537", "…537"), (3605643616, "…3616"), ("123", "…3"), ("1", "…"), ("D6E9C160", "…C160")]
)
def test_the_log_gets_four_digits_at_most_and_never_more_than_half(card: str | int, log: str):
    assert masked(card) == log


def test_a_card_opens_to_the_end_of_its_day():
    listed = build([Card("0012", TODAY), Card("13", YESTERDAY), Card("Zhang San", LATER)])
    assert listed.opens(12, TODAY) == Card("0012", TODAY)
    assert listed.opens("12", TODAY) == Card("0012", TODAY), "a reader that shows digits as text"
    assert listed.opens(12, TODAY + timedelta(days=1)) is None
    assert listed.opens(13, TODAY) is None
    assert listed.known(13), "expired is not unknown"
    assert listed.known(14) is None
    assert listed.opens("Zhang San", TODAY)


def test_one_number_written_twice_is_one_card_and_the_later_counts():
    listed = build([Card("0xC", YESTERDAY), Card("12", LATER)])
    assert len(listed.cards) == 1
    assert listed.opens(12, TODAY) == Card("12", LATER)


def test_merging_keeps_the_old_cards_and_takes_the_new_dates():
    old = build([Card("1", LATER), Card("2", LATER), Card("4", YESTERDAY)])
    assert merged(old, [Card("002", TODAY), Card("3", LATER)], TODAY) == (
        Card("1", LATER),
        Card("002", TODAY),
        Card("3", LATER),
    )


def test_what_a_controller_cannot_hold_is_named_by_its_place():
    assert unfit([Card("1", LATER), Card("4294967294", LATER)], "decimal", 0xFFFFFFFE) is None
    for wrong in ("4294967295", "0", "Zhang San"):
        assert unfit([Card("1", LATER), Card(wrong, LATER)], "decimal", 0xFFFFFFFE) == 1


def test_expired_cards_and_such_as_are_no_numbers_are_in_no_controller():
    listed = build([Card("1", TODAY), Card("2", YESTERDAY), Card("Zhang San", LATER)])
    assert desired(listed, DOORS, TODAY).keys() == {1}
    assert desired(listed, DOORS, TODAY + timedelta(days=1)) == {}


@pytest.mark.parametrize(
    ("held", "change"),
    [
        (Held(date(2020, 1, 1), LATER, DOORS), 0),
        (Held(date(2026, 11, 24), LATER, DOORS), 0),  # valid today, whoever put it
        (Held(date(2026, 11, 25), LATER, DOORS), 1),  # not yet
        (Held(None, LATER, DOORS), 1),
        (Held(date(2020, 1, 1), TODAY, DOORS), 1),
        (Held(date(2020, 1, 1), None, DOORS), 1),
        (Held(date(2020, 1, 1), LATER, frozenset({1})), 1),
        (Held(date(2020, 1, 1), LATER, frozenset({1, 2, 3})), 1),  # a door that is nobody's
    ],
)
def test_a_card_that_is_held_otherwise_is_changed(held: Held, change: int):
    wanted = desired(build([Card("7", LATER)]), DOORS, TODAY)
    found = diff({7: held}, wanted, TODAY)
    assert (len(found.change), found.add, found.delete) == (change, (), ())
    assert bool(found) is bool(change)


days = st.dates(date(2019, 1, 1), date(2035, 1, 1))
some_held = st.builds(Held, st.none() | days, st.none() | days, st.frozensets(st.integers(1, 4)))
numbers = st.integers(1, 30)


@given(st.dictionaries(numbers, some_held), st.dictionaries(numbers, days), st.frozensets(st.integers(1, 4)), days)
def test_a_difference_that_is_done_leaves_nothing_to_be_done(
    held: dict[int, Held], listed: dict[int, date], doors: frozenset[int], today: date
):
    whitelist = build([Card(str(card), until) for card, until in listed.items()])
    wanted = desired(whitelist, doors, today)
    after = applied(held, diff(held, wanted, today))
    assert after.keys() == wanted.keys()
    assert not diff(after, wanted, today)
    opening = {card for card, one in after.items() if one.last is not None and one.last >= today}
    assert opening == {card for card, until in listed.items() if until >= today}
    for card in listed:
        assert (whitelist.opens(card, today) is not None) == (card in opening), "agent and controller judge alike"


@pytest.mark.parametrize(
    ("before", "now", "card"),
    [
        (None, Look(7, 3, 0.0), None),  # the first look: who knows when
        (Look(None, 3, 0.0), Look(7, 4, 0.5), 7),
        (Look(7, 3, 0.0), Look(7, 3, 0.5), None),
        (Look(7, 3, 0.0), Look(7, 4, 0.5), 7),  # the same card again
        (Look(7, 65535, 0.0), Look(7, 0, 0.5), 7),  # the count begins anew
        (Look(7, 3, 0.0), Look(None, 4, 0.5), None),  # a key turned: the count rose for no card
        (Look(7, 3, 0.0), Look(8, 4, STALE_S + 1), None),  # a long time ago, perhaps
        (Look(None, None, 0.0), Look(7, None, 0.5), 7),  # without a count a card that was not there before
        (Look(7, None, 0.0), Look(8, None, 0.5), 8),
        (Look(7, None, 0.0), Look(7, None, 0.5), None),
        (Look(None, None, 0.0), Look("A1", 1, 0.5), "A1"),
    ],
)
def test_a_card_is_shown_once(before: Look | None, now: Look, card: int | str | None):
    assert shown(before, now) == card


def test_where_cards_are_looked_for_seldom_a_showing_may_be_older():
    assert shown(Look(None, 1, 0.0), Look(7, 2, 30.0), period_s=20.0) == 7
    assert shown(Look(None, 1, 0.0), Look(7, 2, 61.0), period_s=20.0) is None


@pytest.mark.parametrize(
    ("shown", "known", "run_s", "expected"),
    [
        (date(2026, 11, 24), None, 0.0, date(2026, 11, 24)),
        (date(2026, 11, 24), date(2031, 1, 1), 9e9, date(2026, 11, 24)),  # a good clock counts, whatever was kept
        (date(1970, 1, 1), date(2026, 11, 24), 86_399.0, date(2026, 11, 24)),
        (date(2019, 5, 1), date(2026, 11, 24), 10 * 86_400.0, date(2026, 12, 4)),
        (date(1970, 1, 1), None, 0.0, date(2024, 1, 1)),
    ],
)
def test_a_clock_that_has_lost_its_time_is_stood_in_for_by_the_last_good_day_and_what_has_passed(
    shown, known, run_s, expected
):
    assert day_now(shown, known, run_s) == expected


def test_a_day_is_read_back_and_rubbish_is_none():
    assert read_day("2026-11-24") == date(2026, 11, 24)
    assert read_day("") is None
    assert read_day("soon") is None
