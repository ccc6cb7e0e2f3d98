"""Readers, controllers and `access:` in the site file, and every fault of them."""

from pathlib import Path

import pytest

from gantry_agent.config import read_config
from gantry_agent.faults import ConfigFault
from gantry_agent.model import DoorController, Reader

SITE = """\
gantry: {id: G000211001002110010}
cloud: {server: "http://127.0.0.1/monitor.do", auth: "1"}
buses:
  doors: {type: uhppote, host: 192.168.1.50}
  rs485: {type: serial, port: /dev/ttyS1}
cabinets:
  - id: 1
    devices:
      access: {profile: uhppote-controller, bus: doors, parameters: {serial: 423187757}}
      lock: {profile: huawei-cabinet-lock, bus: rs485}
    outputs:
      front-lock: {device: access, point: door2, pulse_s: 3}
      back-lock: {device: lock, point: unlocked, pulse_s: 3}
    doors:
      front: {unlock: front-lock}
      back: {unlock: back-lock, reader: {device: lock, point: card}}
"""


def config(tmp_path: Path, text: str = SITE):
    path = tmp_path / "site.yaml"
    path.write_text(text, encoding="utf-8")
    return read_config(path)


def test_who_decides_at_which_door(tmp_path: Path):
    site = config(tmp_path).site
    assert site.readers == (
        Reader(1, "back", "1.lock", "card", "upload_count", "id_length"),
        Reader(1, "front", "1.access", "card2", "swipe2", decides=True),
    )
    assert site.controllers == (DoorController("1.access", 423187757, frozenset({2})),)
    assert site.devices["1.access"].watched == {"card2", "swipe2"}
    assert site.devices["1.lock"].watched == {"card", "upload_count", "id_length"}
    assert site.buses["doors"].settings["port"] == 60000
    assert (site.merge_cards, site.card_numbers) == (False, "decimal")


def test_access_says_how_a_list_is_taken_and_how_numbers_are_written(tmp_path: Path):
    site = config(tmp_path, SITE + "access: {whitelist: merge, card_numbers: hex}\n").site
    assert (site.merge_cards, site.card_numbers) == (True, "hex")


def test_one_board_entered_for_two_cabinets_has_one_list(tmp_path: Path):
    more = """\
  - id: 2
    devices:
      access: {profile: uhppote-controller, bus: doors, unit: 2, parameters: {serial: 423187757}}
    outputs: {front-lock: {device: access, point: door1, pulse_s: 3}}
    doors: {front: {unlock: front-lock}}
"""
    site = config(tmp_path, SITE + more).site
    assert site.controllers == (DoorController("1.access", 423187757, frozenset({1, 2})),)


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ("serial: 423187757", "serial: 0", "9:78", "the controller's serial number is needed"),
        (", parameters: {serial: 423187757}", "", "9:7", "the controller's serial number is needed"),
        ("serial: 423187757", "serial: 1.5", "9:78", "the controller's serial number is needed"),
        ("front: {unlock: front-lock}", "front: {}", "9:7", "1.access has no door: name an output (point: door1)"),
        ("reader: {device: lock,", "reader: {device: lokc,", "16:50", "there is no device lokc; did you mean lock?"),
        ("point: card}", "point: reason}", "16:63", "no point reason that shows cards; valid: card"),
        ("reader: {device: lock, point: card}", "reader: {device: access, point: card1}", "16:65", "shows cards"),
        ("back: {unlock: back-lock, reader", "back: {reader", "16:14", "a reader needs unlock"),
        ("type: uhppote", "type: modbus-tcp", "9:50", "is a bus of type uhppote"),
        (
            "profile: huawei-cabinet-lock, bus: rs485",
            "profile: huawei-cabinet-lock, bus: doors",
            "10:49",
            "speaks modbus",
        ),
        ("point: door2", "point: door5", "12:43", "has no output door5; did you mean door"),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path: Path, old: str, new: str, where: str, what: str):
    assert old in SITE
    with pytest.raises(ConfigFault) as caught:
        config(tmp_path, SITE.replace(old, new))
    told = [f"{fault.line}:{fault.column} {fault.text.en}" for fault in caught.value.faults]
    assert all(fault.text.zh for fault in caught.value.faults)
    assert any(one.startswith(f"{where} ") and what in one for one in told), told


def test_a_wrong_word_under_access_is_told_with_what_would_be_valid(tmp_path: Path):
    with pytest.raises(ConfigFault) as caught:
        config(tmp_path, SITE + "access: {whitelist: add}\n")
    assert "merge" in caught.value.faults[0].text.en
