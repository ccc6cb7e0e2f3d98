"""A field that rests on several alarm blocks of its device is heard in full when all of them were read (D18)."""

import pytest

from gantry_agent.config.site import SHIPPED_PROFILES
from gantry_agent.field import plan, profile
from gantry_agent.field.unit import Unit, begin, partial
from gantry_agent.model import Device, Role

UPS, TEXTS = Role(1, "ups"), (Role(1, "ups"), "warningMsg")


def unit_of(name: str, **roles: tuple[int, ...]) -> tuple[Unit, list[frozenset[str]]]:
    """A unit as the poller plans it, and the points of each of its alarm blocks."""
    known = profile.check(SHIPPED_PROFILES / f"{name}.yaml")
    device = Device("1.it", 1, name, "line", 1, roles)
    unit = begin(device, known)
    blocks = [frozenset(block.keys) for block in plan.blocks(known, device, {}, {}) if block.lane == "fast"]
    unit.telling = unit.deriver.telling.intersection(frozenset().union(*blocks))
    return unit, blocks


@pytest.fixture
def ups() -> tuple[Unit, list[frozenset[str]]]:
    unit, blocks = unit_of("huawei-ups2000", ups=(1,))
    assert len(blocks) > 1, "its alarms are in several blocks"
    return unit, blocks


def test_what_was_read_unasked_may_say_more_when_the_other_blocks_are_read(ups):
    unit, blocks = ups
    for block in blocks:
        assert partial(unit, [TEXTS], block) == {TEXTS}


def test_after_a_look_the_last_of_its_blocks_says_it_in_full(ups):
    unit, blocks = ups
    unit.awaited = unit.telling
    *first, last = blocks
    assert [partial(unit, [TEXTS], block) for block in first] == [{TEXTS}] * len(first)
    assert partial(unit, [TEXTS], last) == frozenset()
    assert partial(unit, [TEXTS], last) == {TEXTS}, "the look is over"


def test_a_measurement_read_between_is_no_answer_to_the_look(ups):
    unit, _ = ups
    unit.awaited = unit.telling
    partial(unit, [], ("ups.temperature",))
    assert unit.awaited == unit.telling


def test_a_point_that_the_device_does_not_have_is_not_waited_for(ups):
    unit, blocks = ups
    unit.awaited = unit.telling
    unit.lacking = blocks[-1]
    for block in blocks[:-1]:
        said = partial(unit, [TEXTS], block)
    assert said == frozenset()


def test_a_device_with_one_alarm_block_says_all_at_once():
    unit, [block] = unit_of("envicool-cabinet-ac", airConditioners=(1,))
    cold = Role(1, "airConditioners")
    assert partial(unit, [(cold, "warningMsg"), (cold, "systemWarning"), (cold, "status")], block) == frozenset()
