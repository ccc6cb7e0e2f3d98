"""The Zhongpu Tongan board in bytes: the source's own example, found among other bytes, and what is no answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.field.framing import speech, zpta
from gantry_agent.field.request import AskInputs
from gantry_agent.model import BadReply

ASK = AskInputs(1)
QUESTION = bytes.fromhex("483a01520000000000000000d54544")  # both stand so in the source
ANSWER = bytes.fromhex("483a01410101000000000000c64544")


def test_the_question_is_that_of_the_source():
    assert speech.frame(ASK) == QUESTION
    assert speech.frame(AskInputs(2))[2::10] == b"\x02\xd6"


@pytest.mark.parametrize("before", [b"", QUESTION, b"\x48\x3a\x01", b"\x48\x3a\x01\x41" + bytes(20), ANSWER[:14]])
@pytest.mark.parametrize("behind", [b"", b"\0\xff", QUESTION])
def test_an_answer_is_found_among_other_bytes(before: bytes, behind: bytes):
    found = speech.find(ASK, before + ANSWER + behind)
    assert found is not None
    assert (found.start, found.end, found.echoed) == (
        len(before),
        len(before) + 15,
        before == QUESTION or bool(behind[4:]),
    )
    assert speech.decode(ASK, found.pdu) == ANSWER


def test_byte_by_byte_there_is_no_answer_before_its_last():
    for count in range(15):
        assert speech.find(ASK, ANSWER[:count]) is None
        assert speech.to_come(ASK, ANSWER[:count]) == 15 - count
    assert speech.to_come(ASK, ANSWER) == 0
    assert (speech.answer_length(ASK), speech.promised(ASK, ANSWER[:5])) == (15, 0)
    assert speech.silence(ASK, b"") is None


@pytest.mark.parametrize("at", range(15))
def test_an_answer_with_one_wrong_byte_is_none(at: int):
    assert speech.find(ASK, ANSWER[:at] + bytes([ANSWER[at] ^ 1]) + ANSWER[at + 1 :]) is None


@pytest.mark.parametrize("other", [QUESTION, zpta.encode(2, 0x41), zpta.encode(1, 0x42)])
def test_a_sound_frame_that_is_no_answer_of_this_board_is_none(other: bytes):
    assert speech.find(ASK, other) is None


def test_answers_of_two_boards_are_told_apart_and_of_one_not():
    assert speech.shape(ASK) == speech.shape(AskInputs(1)) != speech.shape(AskInputs(2))
    assert not speech.repeats_request(ASK)


@pytest.mark.parametrize(
    ("received", "said"),
    [
        (b"\x01\x03", "2 bytes that are no answer of unit 1"),
        (ANSWER[:9], "9 bytes of a frame of 15"),
        (ANSWER[:12] + b"\0ED", "a frame whose sum or end is wrong"),
    ],
)
def test_what_is_wrong_is_said(received: bytes, said: str):
    assert speech.explain(ASK, received) == said


def test_a_piece_of_a_frame_is_not_read():
    with pytest.raises(BadReply, match="14 bytes instead of 15"):
        speech.decode(ASK, ANSWER[:14])


@given(st.binary(max_size=60))
def test_rubbish_is_an_answer_or_none_and_nothing_else(received: bytes):
    found = speech.find(ASK, received)
    assert found is None or (found.pdu[:4] == ANSWER[:4] and len(found.pdu) == 15)
    assert speech.explain(ASK, received)
