"""The whitelist on a real file: replaced whole, kept over a kill, and known as damaged where a part is lost."""

import sqlite3
from datetime import date
from pathlib import Path

import pytest

from gantry_agent.command import Card
from gantry_agent.store import Cards, Store

pytestmark = pytest.mark.system
LATER = date(2030, 12, 31)
ONE, TWO, THREE = Card("0012", LATER), Card("D6E9C160", date(2026, 1, 2)), Card("13", LATER)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


async def test_a_list_that_was_never_sent_is_not_an_empty_one(path: Path):
    async with Store(path) as store:
        assert await store.cards() is None
        await store.replace_cards(())
        assert await store.cards() == Cards(())
    async with Store(path) as store:
        assert await store.cards() == Cards(())


async def test_a_list_takes_the_place_of_the_one_before_as_it_was_written(path: Path):
    async with Store(path) as store:
        await store.replace_cards((ONE, TWO))
        await store.replace_cards((TWO, THREE))
        assert await store.cards() == Cards((TWO, THREE))
    async with Store(path) as store:
        assert await store.cards() == Cards((TWO, THREE))


async def test_a_list_of_which_cards_are_lost_is_not_whole_and_a_foreign_row_does_not_count(path: Path):
    async with Store(path) as store:
        await store.replace_cards((ONE, TWO))
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO cards VALUES ('another list', 0, '999', '2030-01-01')")
    db.close()
    async with Store(path) as store:
        assert await store.cards() == Cards((ONE, TWO))
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM cards WHERE card = '0012'")
    db.close()
    async with Store(path) as store:
        assert await store.cards() == Cards((TWO,), whole=False)
        await store.replace_cards((THREE,))
        assert await store.cards() == Cards((THREE,))


async def test_a_list_that_is_replaced_while_the_disk_fails_does_not_mix_with_the_old_one(path: Path):
    async with Store(path, stand_in=True) as store:
        await store.replace_cards((ONE, TWO))
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()  # nobody can open that
    async with Store(path, stand_in=True) as store:
        assert store.in_memory
        await store.replace_cards((THREE,))
        assert await store.cards() == Cards((THREE,))
        path.rmdir()
        aside.rename(path)  # the disk is back, with what nobody could read
    async with Store(path) as store:
        assert await store.cards() == Cards((THREE,))


async def test_ten_thousand_cards_are_a_fraction_of_a_second(path: Path):
    cards = tuple(Card(str(4_000_000_000 + k), LATER) for k in range(10_000))
    async with Store(path) as store:
        await store.replace_cards(cards)
        assert await store.cards() == Cards(cards)
