"""The whitelist as the cloud ordered it (cmd 7): one list, replaced whole in one transaction.

Every card carries the name of its list, and one row says which list counts and how many cards it has. So a list that
was replaced while the disk failed never comes back by halves, and one of which rows are missing (a database that was
salvaged) is known as such: `Cards.whole` is False, and nobody may take what is missing for revoked.
"""

import sqlite3
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from gantry_agent.command import Card


@dataclass(frozen=True, slots=True)
class Cards:
    """The list; `whole` unless some of it is lost."""

    cards: tuple[Card, ...]
    whole: bool = True


def replace(connection: sqlite3.Connection, cards: Iterable[Card], at: float) -> None:
    """Put a list in the place of the one before."""
    name = uuid.uuid4().hex
    rows = [(name, place, card.number, card.expires.isoformat()) for place, card in enumerate(cards)]
    connection.execute("DELETE FROM cards")
    connection.executemany("INSERT INTO cards VALUES (?, ?, ?, ?)", rows)
    connection.execute("INSERT OR REPLACE INTO card_list VALUES (1, ?, ?, ?)", (name, len(rows), at))


def read(connection: sqlite3.Connection) -> Cards | None:
    """The list that counts; None when none was ever ordered, so that no controller is emptied for it."""
    found = connection.execute("SELECT list, count FROM card_list WHERE one = 1").fetchone()
    if found is None:
        return None
    rows = connection.execute("SELECT card, expires FROM cards WHERE list = ? ORDER BY place", (found[0],))
    cards = [Card(number, until) for number, expires in rows if (until := _date(expires)) is not None]
    return Cards(tuple(cards), whole=len(cards) == found[1])


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
