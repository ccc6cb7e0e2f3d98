"""What commands change for good, and the answers already given: small tables by name (D6, D9).

Functions of a connection. A setting is a text under a name that its owner chose; one that is absent means that the
site file holds.
"""

import sqlite3
from typing import Final

TOLD: Final = "told."  # by cabinet; no setting anybody chose
REPEATS_KEPT_S: Final = 2 * 86_400.0  # longer than twice any clock tolerance that makes sense
REPEATS_KEPT: Final = 10_000  # at the highest rate, more than the default tolerance can call repeats


def settings(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(
        connection.execute("SELECT name, value FROM settings WHERE name NOT GLOB ?1 || '*' ORDER BY name", (TOLD,))
    )


def set_setting(connection: sqlite3.Connection, name: str, value: str | None) -> None:
    if value is None:
        connection.execute("DELETE FROM settings WHERE name = ?", (name,))
    else:
        connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))


def tell(connection: sqlite3.Connection, cabinet: int, text: str) -> None:
    set_setting(connection, f"{TOLD}{cabinet}", text)


def told(connection: sqlite3.Connection) -> dict[int, str]:
    """What the newest record of each cabinet told the cloud, in the words of whoever put it."""
    rows = connection.execute("SELECT name, value FROM settings WHERE name GLOB ?1 || '*'", (TOLD,))
    return {int(name.removeprefix(TOLD)): text for name, text in rows if name.removeprefix(TOLD).isdigit()}


def recall(connection: sqlite3.Connection, md5: str, since: float) -> str | None:
    row = connection.execute("SELECT answer FROM repeats WHERE md5 = ? AND at >= ?", (md5, since)).fetchone()
    return None if row is None else str(row[0])


def remember(connection: sqlite3.Connection, md5: str, answer: str, at: float) -> None:
    connection.execute("INSERT OR REPLACE INTO repeats VALUES (?, ?, ?)", (md5, answer, at))
    connection.execute("DELETE FROM repeats WHERE at < ?", (at - REPEATS_KEPT_S,))
    connection.execute(
        "DELETE FROM repeats WHERE md5 IN (SELECT md5 FROM repeats ORDER BY at DESC LIMIT -1 OFFSET ?)",
        (REPEATS_KEPT,),
    )
