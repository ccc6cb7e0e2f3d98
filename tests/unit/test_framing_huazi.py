"""The Huazi monitor in bytes: its question, and which datagrams are its answer."""

import struct

import pytest

from gantry_agent.field.framing import huazi
from gantry_agent.field.request import AskSurge

ANSWER = struct.pack("<3I15HI", 100, 1, 46, *range(15), 0)


def test_the_question_is_six_numbers_with_the_low_byte_first():
    assert huazi.frame(AskSurge(1)).hex(" ") == (
        "64 00 00 00 01 00 00 00 18 00 00 00 01 00 00 00 0c 00 00 00 00 00 00 00"
    )
    assert huazi.frame(AskSurge(7))[12] == 7


def test_an_answer_has_the_mark_and_the_length_that_it_says():
    assert huazi.is_answer(AskSurge(1), ANSWER)
    assert huazi.is_answer(AskSurge(1), ANSWER[:4] + b"\x02" + ANSWER[5:]), "the version is not looked at in the source"


@pytest.mark.parametrize(
    "other",
    [
        b"",
        ANSWER[:-1],
        ANSWER + b"\0",
        b"\x65" + ANSWER[1:],
        ANSWER[:3] + b"\x01" + ANSWER[4:],
        ANSWER[:8] + b"\x2d" + ANSWER[9:],
        struct.pack("<3I", 100, 1, 26) + bytes(14),  # that of the earth tester
        huazi.frame(AskSurge(1)),
    ],
)
def test_another_datagram_is_none(other: bytes):
    assert not huazi.is_answer(AskSurge(1), other)
