"""What a recording tells: numbers and words; what it does not: names, serial numbers, addresses and secrets."""

import pytest
from ruamel.yaml import YAML

from gantry_agent.field import redact
from gantry_agent.field.request import ReadRegisters
from gantry_agent.field.tape import Tape, snmprec, transcript
from tests import profile_rig as rig

MINE = ("gantry-17", "s3cret")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("UPS of gantry-17", "UPS of xxxxxxxxx"),
        ("at 10.17.34.51:161", "at xxxxxxxxxxx:161"),
        ("MAC 00:1B:21:AB:CD:EF up", "MAC xxxxxxxxxxxxxxxxx up"),
        ("S/N 2102310JFA10K1000123 ok", "S/N xxxxxxxxxxxxxxxxxxxx ok"),
        ("SN: ZA1815031234", "SN: xxxxxxxxxxxx"),
        ("write to op@toll.example", "write to xxxxxxxxxxxxxxx"),
        ("Linux host-name 5.10.0 #1 SMP", "Linux xxxxxxxxx 5.10.0 #1 SMP"),
        ("fe80:0:0:0:1:2:3:4 is up", "xxxxxxxxxxxxxxxxxx is up"),
        ("HUAWEI SMU11B V100R002C00", "HUAWEI SMU11B V100R002C00"),
        ("SC200 Controller - software version 4.04", "SC200 Controller - software version 4.04"),
        ("Physical id 0", "Physical id 0"),
        ("(231.3 000.0 220.0 000 50.0 2.28 40.0 00000000", "(231.3 000.0 220.0 000 50.0 2.28 40.0 00000000"),
        ("22.9", "22.9"),
    ],
)
def test_texts_keep_their_length_and_lose_what_tells_on_somebody(text: str, left: str) -> None:
    assert redact.scrub(text, MINE) == left


@pytest.mark.parametrize(
    ("oid", "value", "told"),
    [
        ("1.3.6.1.2.1.1.5.0", b"gantry-17", None),
        ("1.3.6.1.2.1.1.4.0", b"Zhang", None),
        ("1.3.6.1.2.1.2.2.1.6.3", b"\x00\x1b\x21\xab\xcd\xef", None),
        ("1.3.6.1.2.1.4.20.1.1.10.1.2.3", "10.1.2.3", None),
        ("1.3.6.1.2.1.31.1.1.1.18.2", b"to the toll hall", None),
        ("1.3.6.1.4.1.9.1", "10.1.2.3", "192.0.2.1"),
        ("1.3.6.1.4.1.9.1", b"\x00\x1b\x21\xab\xcd\xef", bytes(6)),
        ("1.3.6.1.4.1.9.1", "1.3.6.1.4.1.2011.6.164", "1.3.6.1.4.1.2011.6.164"),
        ("1.3.6.1.4.1.9.1", 2147483647, 2147483647),
        ("1.3.6.1.4.1.9.1", b"Physical id 0", b"Physical id 0"),
    ],
)
def test_objects_are_told_unless_they_tell_on_somebody(oid: str, value, told) -> None:
    assert redact.varbind(oid, value, MINE) == told


def test_a_recording_of_snmp_has_the_form_of_the_others() -> None:
    tape = Tape(MINE)
    tape.values = {
        "1.3.6.1.2.1.1.5.0": b"Tower",
        "1.3.10.1": -5,
        "1.3.6.1.4.1.9.2": b"a|b of Tower",
        "1.3.6.1.4.1.9.10": 4294967295,
        "1.3.6.1.4.1.9.9": 1 << 40,
        "1.3.6.1.4.1.9.3": "1.3.6.1.4",
        "1.3.6.1.4.1.9.4": b"s3cret",
    }
    assert snmprec(tape).splitlines() == [
        "1.3.6.1.4.1.9.2|4x|" + b"a|b of xxxxx".hex(),
        "1.3.6.1.4.1.9.3|6|1.3.6.1.4",
        "1.3.6.1.4.1.9.4|4|xxxxxx",
        "1.3.6.1.4.1.9.9|70|1099511627776",
        "1.3.6.1.4.1.9.10|66|4294967295",
        "1.3.10.1|2|-5",
    ]


def test_a_transcript_of_a_card_reader_holds_no_card_and_its_meaning_is_left_to_a_person() -> None:
    product = rig.load("huawei-cabinet-lock")
    it = rig.device(product)
    tape = Tape()
    tape.note(ReadRegisters(1, 3, 0x1000, 8), (1, 1, 7, 5, 0x2700, 0xBC61, 0x4E00, 0))
    (case,) = YAML(typ="safe", pure=True).load(transcript(tape, product, it, {}))["cases"]
    assert case["image"] == {"holding": {0x1000: [1, 1, 7, 5, 0, 0, 0, 0]}}
    assert case["asks"] == [[3, 0x1000, 8]]
    assert case["expected"] == {}
