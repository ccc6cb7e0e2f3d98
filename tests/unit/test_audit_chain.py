"""The audit's chain: any edit and any deletion shows, on its own and after old entries were forgotten."""

import sqlite3
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.cli.audit import window
from gantry_agent.core.audit import Anchor, Break, Entry, Kept, mark, verify
from gantry_agent.store import audit
from gantry_agent.store.database import MIGRATIONS

NONE = Anchor()
SHANGHAI = ZoneInfo("Asia/Shanghai")
ENTRIES = [
    Entry(
        1764000000.0 + n, "10.0.0.5", "cloud", "cabinetControl cmd=2", f"{n:064x}", "Unlock", ("w", "r"), "done", "1000"
    )
    for n in range(12)
]


def chained(entries: list[Entry], anchor: Anchor = NONE) -> tuple[list[Kept], Anchor]:
    kept: list[Kept] = []
    newest = anchor
    for entry in entries:
        number = newest.number + 1
        newest = Anchor(number, mark(newest.mark, number, entry))
        kept.append(Kept(number, entry, newest.mark))
    return kept, newest


def broken(kept: list[Kept], newest: Anchor, anchor: Anchor = NONE) -> list[Break]:
    return list(verify(anchor, kept, newest))


def test_an_untouched_chain_holds_also_from_an_anchor_on():
    kept, newest = chained(ENTRIES)
    assert broken(kept, newest) == []
    assert broken(kept[5:], newest, Anchor(5, kept[4].mark)) == []
    assert broken([], Anchor()) == []


FIELDS = {
    "at": 1.0,
    "who": "x",
    "via": "shell",
    "what": "y",
    "digest": "z",
    "intent": "",
    "outcome": "no",
    "answer": "1",
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("place", [0, 5, 11])
def test_an_edit_of_any_field_of_any_entry_shows(field, place):
    kept, newest = chained(ENTRIES)
    kept[place] = replace(kept[place], entry=replace(kept[place].entry, **{field: FIELDS[field]}))
    assert broken(kept, newest) == [Break("edited", place + 1)]


@pytest.mark.parametrize(
    ("gone", "found"),
    [
        ({0}, [Break("missing", 2, 1)]),
        ({3, 4}, [Break("missing", 6, 2)]),
        ({10, 11}, [Break("cut", 12, 2)]),
        (set(range(12)), [Break("cut", 12, 12)]),
    ],
)
def test_a_deletion_shows_wherever_it_is(gone, found):
    kept, newest = chained(ENTRIES)
    assert broken([one for n, one in enumerate(kept) if n not in gone], newest) == found


def test_an_edit_with_its_own_mark_made_anew_shows_at_the_next_entry():
    kept, newest = chained(ENTRIES)
    entry = replace(kept[4].entry, who="somebody else")
    kept[4] = Kept(5, entry, mark(kept[3].mark, 5, entry))
    assert broken(kept, newest) == [Break("edited", 6)]


def test_the_newest_edited_with_its_mark_made_anew_shows_by_the_noted_end():
    kept, newest = chained(ENTRIES)
    entry = replace(kept[11].entry, who="somebody else")
    kept[11] = Kept(12, entry, mark(kept[10].mark, 12, entry))
    assert broken(kept, newest) == [Break("edited", 12)]


@given(st.lists(st.tuples(st.text(), st.text(), st.lists(st.text())), max_size=4), st.data())
def test_no_two_entries_share_a_mark_for_the_way_their_texts_are_joined(texts, data):
    entries = [Entry(0.0, who, "", what, "", "", tuple(steps)) for who, what, steps in texts]
    marks = {mark("", 1, entry): entry for entry in entries}
    assert len(marks) == len(set(entries))


@pytest.mark.parametrize(
    ("asked", "now", "first", "last"),
    [
        ("03:12", "2026-11-24 14:00", "2026-11-24 03:02", "2026-11-24 03:22"),
        ("03:12", "2026-11-24 03:00", "2026-11-23 03:02", "2026-11-23 03:22"),  # the last time it was that late
        ("3:12:30", "2026-11-24 14:00", "2026-11-24 03:02:30", "2026-11-24 03:22:30"),
        ("2026-11-20 03:12", "2026-11-24 14:00", "2026-11-20 03:02", "2026-11-20 03:22"),
        ("2026-11-20", "2026-11-24 14:00", "2026-11-20", "2026-11-21"),
    ],
)
def test_what_happened_is_looked_for_around_a_time_of_the_gantry(asked, now, first, last):
    def at(text: str) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).timestamp()

    assert window(asked, SHANGHAI, at(now)) == (at(first), at(last))


@pytest.fixture
def connection():
    made = sqlite3.connect(":memory:")
    for statements in MIGRATIONS:
        for statement in statements:
            made.execute(statement)
    yield made
    made.close()


def test_what_is_kept_reads_back_and_holds(connection):
    audit.append(connection, ENTRIES)
    assert [one.entry for one in audit.entries(connection, 0.0, 1e12, 100)] == ENTRIES
    assert [one.number for one in audit.entries(connection, 0.0, 1e12, 3)] == [10, 11, 12]
    assert audit.breaks(connection) == ()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = '10.0.0.6' WHERE number = 4",
        "UPDATE audit SET answer = '' WHERE number = 12",
        "UPDATE audit SET steps = 'nonsense' WHERE number = 1",
        "DELETE FROM audit WHERE number = 7",
        "DELETE FROM audit WHERE number > 10",
        "DELETE FROM audit",
        "UPDATE audit SET at = at + 0.001 WHERE number = 2",
        "UPDATE audit SET who = x'ff00' WHERE number = 3",
    ],
)
def test_whatever_is_done_to_the_table_shows(connection, statement):
    audit.append(connection, ENTRIES)
    connection.execute(statement)
    assert audit.breaks(connection) != ()


def test_the_oldest_are_forgotten_and_the_rest_still_holds(connection):
    for entry in ENTRIES:
        audit.append(connection, (entry,), most=5)
    assert [one.number for one in audit.entries(connection, 0.0, 1e12, 100)] == [8, 9, 10, 11, 12]
    assert audit.breaks(connection, most=5) == ()
    connection.execute("DELETE FROM audit WHERE number = 8")
    assert audit.breaks(connection, most=5) == (Break("missing", 9, 1),)


def test_the_oldest_taken_out_by_hand_show_though_the_chain_is_made_to_begin_after_them(connection):
    audit.append(connection, ENTRIES)
    connection.execute("INSERT INTO audit_ends SELECT 'anchor', number, mark FROM audit WHERE number = 5")
    connection.execute("DELETE FROM audit WHERE number <= 5")
    assert audit.breaks(connection) == (Break("missing", 6, 5),)


def test_a_lost_note_of_the_end_keeps_no_later_entry_out(connection):
    audit.append(connection, ENTRIES[:3])
    connection.execute("DELETE FROM audit_ends")
    audit.append(connection, ENTRIES[3:5])
    assert [one.number for one in audit.entries(connection, 0.0, 1e12, 9)] == [1, 2, 3, 4, 5]
    assert audit.breaks(connection) == ()


def test_what_was_begun_and_never_ended_enters_the_chain_as_interrupted(connection):
    first, second = (audit.begin(connection, entry) for entry in ENTRIES[:2])
    audit.end(connection, second, ENTRIES[1])
    assert audit.interrupted(connection) == 1
    assert audit.interrupted(connection) == 0
    outcomes = [one.entry.outcome for one in audit.entries(connection, 0.0, 1e12, 10)]
    assert outcomes == ["done", audit.INTERRUPTED]
    assert first != second
    assert audit.breaks(connection) == ()
