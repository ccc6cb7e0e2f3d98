"""Which points of the shipped profiles are read every half second: whatever the cloud is told at once rests on them."""

import pytest

from gantry_agent.field import derive, plan, profile
from gantry_agent.field.product import read_name
from gantry_agent.field.profile_links import plain
from gantry_agent.vocabulary import COMPUTER
from tests import profile_rig as rig

# Of a power system the alarms are one question, asked fast; how its modules work is another, in its own time.
MODES = {"ydt1363-psu": frozenset({"rectifier.module_mode", "rectifier.module_on"})}
# A site unit is left alone for a second after each answer: its list of alarms is asked fast, its values are not.
PATIENT = "zte"


def fast_and_all(name: str) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The points read fast, all that are read, and those on which what is pushed at once rests."""
    product = rig.load(name)
    it = rig.device(product, roles={member: [1] for member in product.members})
    rows = dict.fromkeys(product.tables, ("1",))
    blocks = plan.blocks(product, it, rows)
    read = frozenset(plain(key) for block in blocks for key in block.keys)
    fast = frozenset(plain(key) for block in blocks if block.lane == "fast" for key in block.keys)
    return fast, read, frozenset(plain(key) for key in derive.Deriver(product, it, rows).telling)


@pytest.mark.parametrize("name", profile.names())
def test_what_is_told_at_once_is_read_fast(name: str) -> None:
    fast, read, telling = fast_and_all(name)
    assert telling <= read
    slow = telling - fast - MODES.get(name, frozenset())
    assert not slow or rig.load(name).protocol == PATIENT


@pytest.mark.parametrize("name", [name for name in profile.names() if rig.load(name).protocol == PATIENT])
def test_alarms_of_a_site_unit_are_read_fast(name: str) -> None:
    fast, _, telling = fast_and_all(name)
    assert not telling or "alarm" in fast


def is_board(name: str) -> bool:
    product = rig.load(name)
    return not any(product.members.values()) and COMPUTER.name not in product.members


@pytest.mark.parametrize("name", [name for name in profile.names() if is_board(name)])
def test_every_contact_of_a_board_is_read_fast(name: str) -> None:
    """A board is a device that fills nothing by itself: a site may map any of its points to a door or a detector."""
    product = rig.load(name)
    points = {**product.points, **{key: one for table in product.tables.values() for key, one in table.points.items()}}
    contacts = {
        key: one for key, one in points.items() if (named := read_name(key)) and not named.member and not one.unit
    }
    assert {key for key, one in contacts.items() if one.lane != "fast"} == set()
