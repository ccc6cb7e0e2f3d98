"""The audit: one entry per request, accepted or refused, chained so that no later edit or deletion goes unseen.

An entry's mark is the SHA-256 of the mark before it and of everything the entry says. Whoever changes or removes an
entry would have to write every later mark anew; the newest mark is logged every hour, outside the file, so that even
that shows. Entries are forgotten from the oldest end only: the mark of the last one forgotten is kept as the `Anchor`.

The mark is taken over the JSON of the entry's fields in their order, which needs no rule of its own for separators.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass

START = "0" * 64  # the mark before the first entry


@dataclass(frozen=True, slots=True)
class Entry:
    """What was asked, by whom, what was done for it and how it ended.

    `at` is Unix seconds. `who` is an address or a local user, `via` the way: `cloud`, `shell`, or
    `site` for what happened at a door or a reader. `digest` is the
    SHA-256 of the bytes that came. `intent` is what the agent took them to mean, empty if nothing. `steps` is what was
    written and read back. `outcome` is in the agent's words, `answer` the code and text the asker got.
    """

    at: float
    who: str
    via: str
    what: str
    digest: str
    intent: str = ""
    steps: tuple[str, ...] = ()
    outcome: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """An entry as it is kept: its number and its mark."""

    number: int
    entry: Entry
    mark: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """The newest entry that was forgotten for its age; number 0 when none was."""

    number: int = 0
    mark: str = START


@dataclass(frozen=True, slots=True)
class Break:
    """Where the chain does not hold: `kind` is `edited`, `missing` (up to `number`) or `cut` (the newest are gone)."""

    kind: str
    number: int
    missing: int = 0


def mark(before: str, number: int, entry: Entry) -> str:
    """The mark of an entry that follows one with the mark `before`."""
    # What is no text or number was put there by somebody else: it has a mark too, which does not fit.
    said = json.dumps([before, number, *astuple(entry)], ensure_ascii=False, separators=(",", ":"), default=repr)
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


def verify(anchor: Anchor, kept: Iterable[Kept], newest: Anchor) -> Iterator[Break]:
    """Say where the chain from the anchor over the kept entries, oldest first, to the newest one is broken.

    `newest` is number and mark of the last entry as its keeper noted them. After an edited entry the chain goes on
    from the mark that the file has, so that each fault is told once.
    """
    number, before = anchor.number, anchor.mark
    for one in kept:
        if one.number != number + 1:
            yield Break("missing", one.number, one.number - number - 1)
        elif mark(before, one.number, one.entry) != one.mark:
            yield Break("edited", one.number)
        number, before = one.number, one.mark
    if number < newest.number:
        yield Break("cut", newest.number, newest.number - number)
    elif (number, before) != (newest.number, newest.mark):
        yield Break("edited", number)
