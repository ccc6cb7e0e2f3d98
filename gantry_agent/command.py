"""What the cloud, or a technician, can order, and how an order ended; frozen values like the nouns of `model`.

A command is a checked order: its fields are within their values and name what the site has. Whether it can be done
now is found out while it is carried out; how that ended is an Outcome, a value and never an exception.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from gantry_agent.model import Channel
from gantry_agent.text import Text

# --- commands (PROTOCOL §3) -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SetServer:
    channel: Channel
    server: str  # as asked for: with or without scheme and path (D9)


@dataclass(frozen=True, slots=True)
class SetFrequency:
    channel: Channel
    interval_s: int


@dataclass(frozen=True, slots=True)
class UpdateNow:
    channel: Channel


@dataclass(frozen=True, slots=True)
class Reboot:
    """cmd 1: cut the supply that a relay of the site feeds for its time; `relay` is its name (D10)."""

    relay: str


@dataclass(frozen=True, slots=True)
class Unlock:
    """cmd 2."""

    cabinet: int
    side: Literal["front", "back"]


@dataclass(frozen=True, slots=True)
class RunAirConditioner:
    """cmd 3; number 0 is every unit of the cabinet (D13)."""

    cabinet: int
    number: int
    run: bool


@dataclass(frozen=True, slots=True)
class SetTemperatures:
    """cmd 4, in °C: from where up a unit cools, from where down it heats; number 0 is every unit (D13)."""

    cabinet: int
    number: int
    cooling: Decimal | None
    heating: Decimal | None


@dataclass(frozen=True, slots=True)
class SetPowerMode:
    """cmd 5: 0 everything on, 1 to 3 what the site lists for the levels up to it off (D11)."""

    mode: int


@dataclass(frozen=True, slots=True)
class Defend:
    """cmd 6: every cabinet's doors in defence mode, or not (D22)."""

    on: bool


@dataclass(frozen=True, slots=True)
class Card:
    """One card of the whitelist; it opens until the end of that day, local time (D12)."""

    number: str
    expires: date


@dataclass(frozen=True, slots=True)
class SetWhitelist:
    """cmd 7: the cards that may open the doors, by number; an empty list revokes every one (D12)."""

    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class SwitchRectifiers:
    """cmd 8."""

    cabinet: int
    on: bool


@dataclass(frozen=True, slots=True)
class TestBattery:
    """cmd 9: begin or end a discharge test (D14)."""

    __test__ = False  # to pytest

    cabinet: int
    start: bool


@dataclass(frozen=True, slots=True)
class AskBatteryTest:
    """cmd 10: the result of the last test; a query (D6, D14)."""

    cabinet: int


Command = (
    SetServer
    | SetFrequency
    | UpdateNow
    | Reboot
    | Unlock
    | RunAirConditioner
    | SetTemperatures
    | SetPowerMode
    | Defend
    | SetWhitelist
    | SwitchRectifiers
    | TestBattery
    | AskBatteryTest
)


# --- outcomes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Done:
    """Carried out, and confirmed by read-back where there is hardware; `told` is what a query found."""

    told: Mapping[str, str] | None = field(default=None, hash=False)


@dataclass(frozen=True, slots=True)
class Partial:
    """Some units did it, `failed` did not, the first of them because of `why`."""

    failed: tuple[int, ...]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The order itself cannot be: `field` is missing, out of its values, or names what is not configured (D7).

    `valid` says what would be, to a technician; the cloud hears the field alone (D3).
    """

    field: str
    valid: Text | None = dataclasses.field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """The hardware did not do it, or did not confirm in time. `why` is Chinese, short: it travels in `msg`."""

    why: str


Outcome = Done | Partial | Refused | Failed


@dataclass(frozen=True, slots=True)
class Carried:
    """How a command ended, and what was written and read back for it, in order, for the audit and a dry run."""

    outcome: Outcome
    steps: tuple[Text, ...] = ()
