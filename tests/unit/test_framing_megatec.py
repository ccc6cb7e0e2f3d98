"""Megatec answers: found by mark and width, byte by byte, behind noise and echoes, and never made out of rubbish."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.field.framing import speech
from gantry_agent.field.request import AskText
from gantry_agent.model import BadReply, DeviceRefused

Q1 = AskText(1, "Q1")
F = AskText(1, "F")
IDENTITY = AskText(1, "I")
TEST = AskText(1, "T", answered=False)
STATUS = b"(208.4 140.0 208.4 034 59.9 2.05 35.0 00110000\r"  # NUT's own example, nutdrv_qx_megatec.c
RATINGS = b"#220.0 000 024.0 50.0\r"


def test_a_command_ends_with_cr() -> None:
    assert speech.frame(Q1) == b"Q1\r"


@pytest.mark.parametrize("command", ["", "Q1\r", "Q\x00", "Ä", "Q" * 40])
def test_what_is_no_command_is_our_own_fault(command: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        speech.frame(AskText(1, command))


@pytest.mark.parametrize(("request_", "answer"), [(Q1, STATUS), (F, RATINGS), (IDENTITY, b"#SANTAK C1K V1.0\r")])
def test_an_answer_is_found_when_it_is_whole(request_: AskText, answer: bytes) -> None:
    for length in range(len(answer)):
        assert speech.find(request_, answer[:length]) is None
    found = speech.find(request_, answer)
    assert found is not None
    assert speech.decode(request_, found.pdu) == answer[:-1].decode()


@given(st.binary(max_size=20).filter(lambda noise: b"(" not in noise))
def test_noise_before_the_mark_is_passed_over(noise: bytes) -> None:
    found = speech.find(Q1, noise + STATUS)
    assert found is not None
    assert found.pdu == STATUS[:-1]


@given(st.integers(1, len(STATUS) - 2))
def test_an_answer_that_lost_a_character_is_none(at: int) -> None:
    assert speech.find(Q1, STATUS[:at] + STATUS[at + 1 :]) is None


@given(st.binary(max_size=120))
def test_any_bytes_are_an_answer_of_the_right_form_or_nothing(data: bytes) -> None:
    found = speech.find(Q1, data)
    if found is not None and found.pdu[:1] == b"(" and found.pdu != b"(NAK":
        assert 46 <= len(found.pdu) <= 48
        assert found.pdu.isascii()


def test_the_command_that_an_adapter_hears_itself_say_is_passed_over() -> None:
    found = speech.find(Q1, b"Q1\r" + STATUS)
    assert found is not None
    assert found.echoed
    assert found.pdu == STATUS[:-1]


def test_ratings_are_not_taken_for_the_status_nor_the_status_for_ratings() -> None:
    assert speech.find(Q1, RATINGS) is None
    assert speech.find(F, STATUS) is None
    assert speech.find(F, b"#SANTAK          C1K        V1.00     \r") is None


PROTOCOL = AskText(1, "M")


@pytest.mark.parametrize("noise", [b"", b"M\r", b"(226.0 195.0\r"])
def test_the_letter_of_a_protocol_has_no_mark(noise: bytes) -> None:
    assert speech.find(PROTOCOL, noise + b"V") is None
    found = speech.find(PROTOCOL, noise + b"V\r")
    assert found is not None
    assert speech.decode(PROTOCOL, found.pdu) == "V"


@pytest.mark.parametrize("other", [b"VV\r", b"v\r", b"5\r", STATUS, RATINGS])
def test_anything_but_one_capital_is_no_letter(other: bytes) -> None:
    assert speech.find(PROTOCOL, other) is None


def test_a_unit_that_sends_the_question_for_its_letter_back_does_not_know_it() -> None:
    assert speech.find(PROTOCOL, b"M\r") is None
    with pytest.raises(DeviceRefused):
        speech.silence(PROTOCOL, b"M\r")


@pytest.mark.parametrize("answer", [b"(NAK\r", b"NAK\r"])
def test_no_is_a_refusal(answer: bytes) -> None:
    found = speech.find(Q1, answer)
    assert found is not None
    with pytest.raises(DeviceRefused):
        speech.decode(Q1, found.pdu)


def test_a_command_that_only_comes_back_is_not_known() -> None:
    with pytest.raises(DeviceRefused):
        speech.silence(Q1, b"Q1\r")


def test_silence_is_consent_to_a_test_and_nothing_to_a_question() -> None:
    assert speech.silence(TEST, b"") == ()
    assert speech.silence(TEST, b"\xff") is None
    assert speech.silence(Q1, b"") is None
    with pytest.raises(DeviceRefused):
        speech.silence(TEST, b"T\r")


def test_a_dialect_that_answers_a_test_is_heard() -> None:
    found = speech.find(TEST, b"(ACK\r")
    assert found is not None
    assert speech.decode(TEST, found.pdu) == ()
    refused = speech.find(TEST, b"(NAK\r")
    assert refused is not None
    with pytest.raises(DeviceRefused):
        speech.decode(TEST, refused.pdu)


def test_an_answer_with_the_wrong_mark_is_a_bad_reply() -> None:
    with pytest.raises(BadReply):
        speech.decode(Q1, b"#220.0")


@pytest.mark.parametrize(
    ("received", "says"),
    [(STATUS[:20], "without an end"), (STATUS[:20] + b"\r", "20 characters instead of 46"), (b"hello\r", "no answer")],
)
def test_what_is_wrong_is_said(received: bytes, says: str) -> None:
    assert says in speech.explain(Q1, received)
