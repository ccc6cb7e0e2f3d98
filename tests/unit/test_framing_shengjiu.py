"""Frames of the Shengjiu lock: the three of the tables, answers among noise, and what is none."""

import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.field import codec, plan, plan_writes, profile
from gantry_agent.field.framing import shengjiu, speech
from gantry_agent.field.request import AskLock
from gantry_agent.model import BadReply, Device, Quality

QUERY = AskLock(1, 1, 0x0016)
UNLOCK = AskLock(1, 1, 0x0005)
# The tables' card 0xD6E9C160 = 3605643616 arrives as 60 C1 E9 D6; state 1 is open; of nine bytes nothing is known.
BODY = bytes.fromhex("01010000 0010 0016 01 60c1e9d6 000000000000000000")
ANSWER = b"\x7e" + BODY + binascii.crc_hqx(BODY, 0).to_bytes(2, "big") + b"\x7e\x7e"


@pytest.mark.parametrize(
    ("signal", "sent"),
    [
        (0x0016, "7E0101000000020016E3257E7E"),
        (0x0005, "7E0101000000020005C1777E7E"),
        (0x0006, "7E0101000000020006F1147E7E"),
    ],
)
def test_the_frames_of_the_tables(signal: int, sent: str):
    assert speech.frame(AskLock(1, 1, signal)).hex().upper() == sent


def test_the_checksum_is_xmodem():
    assert shengjiu.crc(b"123456789") == 0x31C3


def test_an_answer_has_a_flag_at_offset_25_and_is_found_behind_an_echo_and_an_unasked_frame():
    assert ANSWER[25] == 0x7E
    assert len(ANSWER) == speech.answer_length(QUERY) == 27
    event = shengjiu.encode(1, 1, 0x00A9, b"\1" * 5)
    for before in (b"", b"\x00\x7e", event, speech.frame(QUERY), speech.frame(QUERY) + event):
        found = speech.find(QUERY, before + ANSWER + b"\x00")
        assert found is not None
        assert (found.pdu, found.start, found.echoed) == (ANSWER, len(before), before.startswith(speech.frame(QUERY)))


@pytest.mark.parametrize("at", range(len(ANSWER)))
def test_a_flipped_bit_anywhere_spoils_it(at: int):
    broken = ANSWER[:at] + bytes([ANSWER[at] ^ 0x10]) + ANSWER[at + 1 :]
    assert speech.find(QUERY, broken) is None


def test_an_answer_of_another_lock_or_to_another_signal_is_none():
    assert speech.find(AskLock(2, 1, 0x0016), shengjiu.encode(3, 3, 0x0016, bytes(14))) is None
    assert speech.find(QUERY, shengjiu.encode(1, 1, 0x0005, bytes(14))) is None
    assert speech.find(QUERY, speech.frame(QUERY)) is None, "our own echo"
    assert speech.find(AskLock(9, 1, 0x0016), shengjiu.encode(1, 9, 0x0016, bytes(14))), "addressed back to us"


def test_it_is_not_there_before_its_last_byte_and_says_how_much_is_missing():
    for count in range(len(ANSWER)):
        assert speech.find(QUERY, ANSWER[:count]) is None
        assert speech.to_come(QUERY, ANSWER[:count]) == len(ANSWER) - count
    assert speech.promised(QUERY, ANSWER[:20]) == 7


def test_a_command_is_obeyed_in_silence_and_a_query_is_not():
    assert speech.silence(UNLOCK, b"") == ()
    assert speech.silence(UNLOCK, speech.frame(UNLOCK)) == (), "whatever it may say"
    assert speech.silence(QUERY, b"") is None


@pytest.mark.parametrize(
    ("heard", "why"),
    [
        (b"\x00\x01", "2 bytes without a frame"),
        (ANSWER[:-3] + b"\0\x7e\x7e", "a frame whose CRC is wrong"),
        (shengjiu.encode(1, 1, 0xA5), "no answer to signal 0016"),
    ],
)
def test_what_came_instead_is_told(heard: bytes, why: str):
    assert why in speech.explain(QUERY, heard)


@given(st.binary(max_size=80))
def test_rubbish_is_no_answer_and_no_escape(data: bytes):
    assert speech.find(QUERY, data) is None
    speech.explain(QUERY, data)
    speech.promised(QUERY, data)
    with pytest.raises(BadReply):
        speech.decode(QUERY, data[:10])


@given(st.binary(max_size=40), st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(min_size=9, max_size=9))
def test_an_answer_is_found_among_noise_before_it(noise: bytes, state: int, card: int, rest: bytes):
    sound = shengjiu.encode(1, 7, 0x0016, bytes([state]) + card.to_bytes(4, "little") + rest)
    found = speech.find(AskLock(7, 1, 0x0016), noise.replace(b"\x7e", b"") + sound)
    assert found is not None
    assert found.pdu == sound


@pytest.mark.parametrize(("source", "sent"), [(1, 1), (0, 9)])
def test_state_and_card_are_read_and_the_lock_is_told(source: int, sent: int):
    product = profile.load("shengjiu-lock")
    it = Device(
        "1.lock", 1, "shengjiu-lock", "line", 9, {}, {"source": source}, watched=frozenset({"unlocked", "card"})
    )
    (block,) = plan.blocks(product, it)
    assert (block.request, block.lane) == (AskLock(9, sent, 0x0016), "fast")
    assert codec.decode(block, ANSWER, product, it) == {"unlocked": 1, "card": 3605643616}
    nobody = ANSWER[:9] + bytes(5) + ANSWER[14:]
    assert codec.decode(block, nobody, product, it) == {"unlocked": 0, "card": Quality.NO_DATA}
    assert plan.split(block) == ()
    for value, signal in ((1, 5), (0, 6)):
        write = plan_writes.write(product, it, "unlocked", value)
        assert write.requests == (AskLock(9, sent, signal),)
        assert write.confirm is not None
        assert (write.confirm.block.request, write.confirm.expected) == (block.request, value)
