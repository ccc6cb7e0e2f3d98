"""Profiles of UHPPOTE controllers: how points are read, doors opened, and what is told of a faulty file."""

from pathlib import Path

import pytest

from gantry_agent.faults import ConfigFault
from gantry_agent.field import codec, plan, plan_writes, profile
from gantry_agent.field.request import AskController, ControllerState, ReadController
from gantry_agent.model import BadReply, Device, Quality

IT = Device("1.it", 1, "uhppote-controller", "doors", 3, {}, {"serial": 423187757})
WATCHING = Device(
    "1.it", 1, "uhppote-controller", "doors", 3, {}, {"serial": 423187757},
    watched=frozenset({"door1", "door1_open", "door4_open", "card1", "swipe1", "card2"}),
)  # fmt: skip
TEXT = """\
profile: it
title: {zh: 它, en: it}
protocol: uhppote
maturity: draft
sources: [{document: manual, page: "7"}]
parameters: {serial: {default: 0}}
points:
  door1: {read: status 49, bit: 0, write: open 1}
  card1: {read: card 1, as: u32, shows: {count: swipe1}}
  swipe1: {read: swipe 1, as: u32}
"""


def test_everything_stands_in_one_fast_question():
    product = profile.load("uhppote-controller")
    (block,) = plan.blocks(product, WATCHING)
    assert (block.request, block.lane) == (ReadController(3, 423187757), "fast")
    assert plan.split(block) == (), "there is nothing to be asked by itself"
    status = bytearray(64)
    status[28], status[31], status[49] = 1, 0, 0b0011
    state = ControllerState(bytes(status), {1: (78, 8165537)})
    assert codec.decode(block, state, product, WATCHING) == {
        "door1": 1,
        "door1_open": 1,
        "door4_open": 0,
        "card1": 8165537,
        "swipe1": 78,
        "card2": Quality.NO_DATA,
    }
    with pytest.raises(BadReply):
        codec.decode(block, b"x", product, WATCHING)


def test_a_device_that_nobody_needs_anything_of_is_not_asked():
    assert plan.blocks(profile.load("uhppote-controller"), IT) == ()


def test_a_door_is_opened_and_seen_to_open_and_closes_by_itself():
    product = profile.load("uhppote-controller")
    write = plan_writes.write(product, IT, "door3", 1)
    assert write.requests == (AskController(3, 423187757, 0x40, b"\3"),)
    assert write.confirm is not None
    assert write.confirm.block.request == ReadController(3, 423187757)
    assert (write.confirm.point, write.confirm.expected) == ("door3", 1)
    assert plan_writes.write(product, IT, "door3", 0).requests == ()


def test_a_card_is_in_no_text_of_a_question():
    assert "98" not in repr(AskController(1, 2, 0x50, b"\x98\x98\x98\x98"))
    assert "8165537" not in repr(ControllerState(b"", {1: (78, 8165537)}))


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ("status 49", "status 64", "it.yaml:8:11", "like status 28"),
        ("status 49", "byte 49", "it.yaml:8:11", "write 'status BYTE'"),
        ("card 1", "card 5", "it.yaml:9:11", "'card DOOR'"),
        ("open 1", "close 1", "it.yaml:8:36", "write 'open DOOR'"),
        ("count: swipe1", "count: swipe", "it.yaml:9:34", "there is no point swipe; did you mean swipe1?"),
        ("as: u32, shows", "as: f32, shows", "it.yaml:9:25", "cannot be 'f32'; did you mean u32?; valid: u8, u16, u32"),
    ],
)
def test_a_fault_of_the_file_is_told_with_its_place(tmp_path: Path, old: str, new: str, where: str, what: str):
    path = tmp_path / "it.yaml"
    path.write_text(TEXT.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigFault) as caught:
        profile.check(path)
    told = [f"{Path(one.file).name}:{one.line}:{one.column} {one.text.en}" for one in caught.value.faults]
    assert any(one.startswith(where) and what in one for one in told), told


def test_the_text_is_good_as_it_is(tmp_path: Path):
    path = tmp_path / "it.yaml"
    path.write_text(TEXT, encoding="utf-8")
    assert profile.check(path).writable == {"door1"}
