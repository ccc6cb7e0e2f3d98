"""What tells one product from all others: what it says where it is asked who it is.

One object is seldom enough (many SNMP cards carry the sysObjectID of net-snmp), so a profile has several signs. A sign
that holds a name or a code is telling; one that only lies in a range is a likelihood: 230 V is what every meter reads.
A code or range that fits with 0 shows nothing of registers: many units read 0 wherever nothing stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from gantry_agent.model import Quality, Value


@dataclass(frozen=True, slots=True)
class Says:
    """What a value must be; exactly one of these is given."""

    values: tuple[Value, ...] = ()  # one of these
    under: tuple[str, ...] = ()  # an OID that is one of these, or below one
    has: tuple[str, ...] = ()  # a text that holds one of these, in capitals or not
    low: float | None = None  # a number from `low` to `high`
    high: float | None = None
    there: bool = False  # anything at all
    weak: bool = False  # many products say the same

    @property
    def telling(self) -> bool:
        """Whether hardly another product says the same."""
        return bool(self.values or self.under or self.has) and not self.weak

    def fits(self, value: Value | Quality) -> bool:
        if isinstance(value, Quality):
            return False
        if self.under:
            return any(f"{value}.".startswith(f"{oid}.") for oid in self.under)
        if self.has:
            return any(word.lower() in str(value).lower() for word in self.has)
        if self.low is not None and self.high is not None:
            return isinstance(value, int | float) and self.low <= value <= self.high
        return self.there or value in self.values


class Surety(IntEnum):
    """How surely a device is of a product."""

    NO = 0
    PERHAPS = 1  # more than half of the signs fit, a telling one among them; or all, but only with 0
    LIKELY = 2  # all fit, none is telling
    SURE = 3  # all fit, one at least is telling


def judge(signs: Sequence[tuple[Says, Value | Quality]], *, zero_shows: bool = False) -> tuple[Surety, int]:
    """Say how surely, and by how much evidence: a telling sign weighs three others."""
    fitting = [(says, value) for says, value in signs if says.fits(value)]
    showing = [says for says, value in fitting if zero_shows or says.there or value != 0]
    weight = sum(3 if says.telling else 1 for says in showing)
    told = any(says.telling for says in showing)
    if fitting and len(fitting) == len(signs):
        return (Surety.SURE if told else Surety.LIKELY if showing else Surety.PERHAPS), weight
    return (Surety.PERHAPS if told and 2 * len(fitting) > len(signs) else Surety.NO), weight
