"""The whitelist (cmd 7, D12): which card opens today, and what a door controller must be told to hold the same list.

The list is desired state. A controller that keeps cards of its own is compared with it (`diff`) and told the
difference; where a reader only reads, the agent asks `opens`. A card opens until the end of the day of its expireDate,
in the gantry's zone: `today` is a date there. No clock and no wire here; how a card number stands in a device's bytes
is the codec's matter.

Card numbers: cardId is a number in decimal, leading zeros meaning nothing; with a letter A to F or 0x in front it is
hexadecimal. A site whose platform writes every number in hexadecimal says so (`access: {card_numbers: hex}`), since
12345678 may be either. It is compared with the number as the reader or controller gives it: for a Wiegand-34 reader
the 32 bits, for a Wiegand-26 reader on a UHPPOTE controller facility × 100000 + number, as that controller counts.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from gantry_agent.command import Card

CardNumbers = Literal["decimal", "hex"]

EARLIEST_YEAR = 2024  # a clock that shows an older one has lost its time
MOST_CARDS = 20_000  # more than one order of the usual size brings (1 MiB: 19 000); a controller takes minutes for them
FIRST_DAY = date(2020, 1, 1)  # from when cards are valid in a controller that wants to know: before any that is sent
STALE_S = 5.0  # a reading so long after the last one tells nothing of when a card was shown, nor
STALE_PERIODS = 3  # so many periods after it, where cards are looked for less often
_DECIMAL = re.compile(r"\d+", re.ASCII)
_HEX = re.compile(r"(0x)?([0-9A-F]+)", re.ASCII | re.IGNORECASE)


def number(text: str, form: CardNumbers = "decimal") -> int | None:
    """Read a card number; None for what is none, like a name."""
    text = text.strip()
    if form == "decimal" and _DECIMAL.fullmatch(text):
        return int(text)
    found = _HEX.fullmatch(text)
    return int(found[2], 16) if found else None


def masked(card: str | int) -> str:
    """A card number for the log: it opens doors, so at most its last four digits, and never more than half of it."""
    text = str(card)
    return "…" + text[max(len(text) - 4, (len(text) + 1) // 2) :]


def read_day(text: str) -> date | None:
    """Read a day as it was kept; None for what is none."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def is_lost(shown: date) -> bool:
    """Whether a clock that shows this has obviously lost its time: a PC without its battery begins in the past."""
    return shown.year < EARLIEST_YEAR


def day_now(shown: date, known: date | None, run_s: float) -> date:
    """The day by which cards expire: the clock's, or what is known where that has obviously lost its time.

    By such a clock no card would ever expire; were every card refused, nobody could get in to mend it. So the day
    counts on from the last one that a good clock has shown (`known`, `run_s` seconds ago): who had expired stays out,
    and the others expire as time goes by.
    """
    if not is_lost(shown):
        return shown
    return (known or date(EARLIEST_YEAR, 1, 1)) + timedelta(seconds=run_s)


# --- the list -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Whitelist:
    """The cards that may open, by what a reader shows of them: a number, or a text where it is none."""

    cards: Mapping[int | str, Card]
    form: CardNumbers = "decimal"

    def opens(self, shown: int | str, today: date) -> Card | None:
        """The card that is shown, if it is on the list and has not expired."""
        card = self.known(shown)
        return card if card is not None and card.expires >= today else None

    def known(self, shown: int | str) -> Card | None:
        """The card of the list that is shown, expired or not. A reader that shows text writes it as the cloud does."""
        key = shown if isinstance(shown, int) else _key(shown, self.form)
        return self.cards.get(key)


def build(cards: Iterable[Card], form: CardNumbers = "decimal") -> Whitelist:
    """Make the list; of two ways to write one number the later counts."""
    return Whitelist({_key(card.number, form): card for card in cards}, form)


def merged(old: Whitelist, new: Iterable[Card], today: date) -> tuple[Card, ...]:
    """The cards of the old list with the new ones; one that is on both has the new date.

    Old cards that have expired go: a list that is only ever added to must not grow for ever.
    """
    valid = {key: card for key, card in old.cards.items() if card.expires >= today}
    return tuple({**valid, **build(new, old.form).cards}.values())


def _key(text: str, form: CardNumbers) -> int | str:
    found = number(text, form)
    return text.strip() if found is None else found


# --- a controller that keeps its own --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """A card in a controller: opens these doors from the beginning of the first day to the end of the last."""

    first: date | None
    last: date | None
    doors: frozenset[int]


@dataclass(frozen=True, slots=True)
class Diff:
    """What makes a controller's list the one that is wanted. To be done in this order: revoking is what cannot wait."""

    delete: tuple[int, ...] = ()
    change: tuple[tuple[int, Held], ...] = ()
    add: tuple[tuple[int, Held], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.delete or self.change or self.add)

    @property
    def put(self) -> tuple[tuple[int, Held], ...]:
        return self.change + self.add


def unfit(cards: Iterable[Card], form: CardNumbers, highest: int) -> int | None:
    """The place of the first card whose number a controller cannot hold; None when it can hold all of them."""
    for place, card in enumerate(cards):
        found = number(card.number, form)
        if found is None or not 0 < found <= highest:
            return place
    return None


def desired(whitelist: Whitelist, doors: frozenset[int], today: date) -> dict[int, Held]:
    """What a controller should hold today: expired cards are taken out, whatever its own clock says."""
    return {
        key: Held(FIRST_DAY, card.expires, doors)
        for key, card in whitelist.cards.items()
        if isinstance(key, int) and card.expires >= today
    }


def diff(held: Mapping[int, Held], wanted: Mapping[int, Held], today: date) -> Diff:
    """Compare what a controller holds with what it should."""
    return Diff(
        delete=tuple(key for key in held if key not in wanted),
        change=tuple((key, wish) for key, wish in wanted.items() if key in held and not _same(held[key], wish, today)),
        add=tuple((key, wish) for key, wish in wanted.items() if key not in held),
    )


def _same(held: Held, wish: Held, today: date) -> bool:
    """From when a card is valid is the same if it is valid today, also where the clock has lost its time."""
    begun = held.first is not None and held.first <= max(today, FIRST_DAY)
    return begun and (held.last, held.doors) == (wish.last, wish.doors)


def applied(held: Mapping[int, Held], change: Diff) -> dict[int, Held]:
    """What a controller holds after a change."""
    gone = frozenset(change.delete)
    return {key: one for key, one in held.items() if key not in gone} | dict(change.put)


# --- a reader that only reads ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """One reading of a card reader. None: it has no such point, or shows no card."""

    card: int | str | None
    count: int | None = None  # rises with every showing
    at: float = 0.0  # monotonic


def shown(before: Look | None, now: Look, period_s: float = 0.0) -> int | str | None:
    """The card that was shown between two looks, if one was.

    With a count every showing tells, also of the same card again; without, a card that was not there before. A look
    long after the last one, or the first, tells nothing: whoever showed that card may have gone, and a door must not
    open for nobody.
    """
    if now.card is None or before is None or now.at - before.at > max(STALE_S, STALE_PERIODS * period_s):
        return None
    if now.count is None or before.count is None:
        return now.card if now.card != before.card else None
    return now.card if now.count != before.count else None
