"""DL/T 645 frames: those that an independent client and server exchanged (PyPI dlt645), byte by byte, and rubbish."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.field.framing import dlt645, speech
from gantry_agent.field.request import AskMeter
from gantry_agent.model import BadReply, DeviceRefused

METER = "129078563412"
WAKE = "FEFEFEFE"
VECTORS = [  # item, question, answer, its bytes lowest first
    (0x02010100, "6812345678901268110433343435 6B16", "68123456789012689106333434354856 8B16", "1523"),
    (0x02020100, "6812345678901268110433343535 6C16", "681234567890126891073334353567 45B34E16", "341280"),
    (0x02030000, "6812345678901268110433333635 6C16", "68123456789012689107333336357856 34F116", "452301"),
    (0x02800002, "68123456789012681104 3533B335EB16", "681234567890126891063533B3353583 2516", "0250"),
    (0x00000000, "68123456789012681104 333333336716", "68123456789012689108333333339A78 56348716", "67452301"),
]
VOLTS = AskMeter(1, METER, 0x02010100)
ANSWER = bytes.fromhex(VECTORS[0][2])


def answer(item: int, value: bytes, address: bytes = bytes.fromhex("123456789012"), control: int = 0x91) -> bytes:
    data = bytes((byte + 0x33) & 0xFF for byte in item.to_bytes(4, "little") + value)
    body = b"\x68" + address + b"\x68" + bytes([control, len(data)]) + data
    return body + bytes([sum(body) & 0xFF, 0x16])


@pytest.mark.parametrize(("item", "question", "said", "value"), VECTORS)
def test_questions_and_answers_are_those_of_the_other_program(item: int, question: str, said: str, value: str) -> None:
    request = AskMeter(1, METER, item)
    assert speech.frame(request) == bytes.fromhex(WAKE + question)
    whole = bytes.fromhex(WAKE + said)
    for length in range(len(whole)):
        assert speech.find(request, whole[:length]) is None
        assert speech.to_come(request, whole[:length]) <= len(whole) - length
        assert speech.promised(request, whole[:length]) in (0, len(whole) - length)
    found = speech.find(request, whole)
    assert found is not None
    assert (found.start, found.end, found.echoed) == (4, len(whole), False)
    assert speech.decode(request, found.pdu) == bytes.fromhex(value)


@pytest.mark.parametrize("digits", ["", "12345678901", "1234567890123", "12345678901A", "AAAAAAAAAAAB"])
def test_a_number_that_is_none_is_our_own_fault(digits: str) -> None:
    with pytest.raises(ValueError, match="12 digits"):
        speech.frame(AskMeter(1, digits, 0x02010100))


def test_any_meter_may_answer_who_was_asked_by_no_number() -> None:
    request = AskMeter(1, dlt645.ANY, 0x02010100)
    assert speech.frame(request)[4:12] == bytes.fromhex("68AAAAAAAAAAAA68")
    found = speech.find(request, ANSWER)
    assert found is not None
    assert speech.decode(request, found.pdu) == b"\x15\x23"


def test_the_answer_of_another_meter_or_to_another_item_is_not_taken() -> None:
    assert speech.find(VOLTS, answer(0x02010100, b"\x15\x23", bytes.fromhex("123456789013"))) is None
    assert speech.find(VOLTS, answer(0x02010200, b"\x15\x23")) is None
    assert speech.find(VOLTS, answer(0x02010100, b"\x15\x23", control=0x94)) is None
    assert "meter 139078563412" in speech.explain(VOLTS, answer(0, b"\x01", bytes.fromhex("123456789013")))


def test_behind_an_echo_and_noise_that_looks_like_a_beginning_the_answer_is_found() -> None:
    found = speech.find(VOLTS, speech.frame(VOLTS) + b"\x68\x00\x68" + ANSWER)
    assert found is not None
    assert found.echoed
    assert speech.decode(VOLTS, found.pdu) == b"\x15\x23"


def test_a_refusal_tells_its_code_and_needs_no_item() -> None:
    refusal = bytes.fromhex("6812345678901268D10135")
    refusal += bytes([sum(refusal) & 0xFF, 0x16])
    found = speech.find(VOLTS, refusal)
    assert found is not None
    with pytest.raises(DeviceRefused) as refused:
        speech.decode(VOLTS, found.pdu)
    assert refused.value.code == dlt645.NO_SUCH_ITEM


def test_an_answer_without_a_value_is_a_bad_one() -> None:
    found = speech.find(VOLTS, answer(0x02010100, b""))
    assert found is not None
    with pytest.raises(BadReply):
        speech.decode(VOLTS, found.pdu)


@given(st.integers(0, len(ANSWER) - 1), st.integers(1, 255))
def test_one_wrong_byte_spoils_an_answer(at: int, change: int) -> None:
    spoilt = bytearray(ANSWER)
    spoilt[at] ^= change
    assert speech.find(VOLTS, bytes(spoilt)) is None


@given(st.binary(max_size=120))
def test_rubbish_is_nothing_and_can_be_explained(data: bytes) -> None:
    found = speech.find(VOLTS, data)
    assert found is None or found.pdu[0] in (0x91, 0xD1)
    assert speech.explain(VOLTS, data)
    assert speech.promised(VOLTS, data) >= 0


def test_a_wrong_sum_and_a_short_frame_are_told() -> None:
    assert speech.explain(VOLTS, ANSWER[:-2] + b"\x00\x16") == "a frame whose sum is wrong"
    assert speech.explain(VOLTS, ANSWER[:-3]) == f"{len(ANSWER) - 3} bytes of a frame of {len(ANSWER)}"
    assert speech.explain(VOLTS, b"") == "0 bytes that are no answer to item 02010100"
