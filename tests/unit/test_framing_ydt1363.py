"""YD/T 1363 frames: the published check frames, written and read back, byte by byte, with noise, and as rubbish."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.field.framing import speech, ydt1363
from gantry_agent.field.framing.ydt1363 import Frame
from gantry_agent.field.request import AskYdt
from gantry_agent.model import BadReply, DeviceRefused

# Check frames (fuhoo/ydn23 and the PSM-A gatherer): command, and command with its answer.
PSM_A = b"~210141410000FDB2\r"
LITHIUM = b"~200246610000FDAB\r"
LITHIUM_ANSWER = (
    b"~200246008062C2BF0000550008000864640CFC00020CFB00020BAB0BAC00020BA900020BA80BA800020BA800020BB00BB000020BB00002"
    b"E8CC\r"
)
ASKED = AskYdt(2, 0x20, 0x46, 0x61, b"")

octets = st.integers(0, 255)
infos = st.binary(max_size=ydt1363.LONGEST_INFO // 2)
frames = st.builds(Frame, octets, octets, octets, octets, infos)
requests = st.builds(
    AskYdt, st.integers(1, 247), octets, st.integers(0x40, 0x46), st.integers(0x41, 0x4F), st.binary(max_size=8)
)


def answer_to(request: AskYdt, info: bytes, code: int = 0) -> bytes:
    return ydt1363.encode(Frame(0x21, request.unit, request.cid1, code, info))


def test_the_check_frames_are_written_so() -> None:
    assert speech.frame(AskYdt(1, 0x21, 0x41, 0x41, b"")) == PSM_A
    assert speech.frame(ASKED) == LITHIUM


def test_a_command_with_info_is_written_with_its_lchksum() -> None:
    assert speech.frame(AskYdt(1, 0x21, 0x41, 0x41, b"\xff")) == b"~21014141E002FFFD0F\r"  # reckoned by hand


@pytest.mark.parametrize("length", [(0, 0x0000), (2, 0xE002), (0x062, 0x8062), (0xFFF, 0x3FFF), (18, 0xD012)])
def test_length_carries_its_checksum(length: tuple[int, int]) -> None:
    assert ydt1363.length_field(length[0]) == length[1]


def test_the_published_answer_is_found_and_read() -> None:
    found = speech.find(ASKED, LITHIUM_ANSWER)
    assert found is not None
    info = speech.decode(ASKED, found.pdu)
    assert isinstance(info, bytes)
    assert info[:8].hex() == "c2bf000055000800"
    assert len(info) == 0x62 // 2


@given(frames)
def test_what_is_written_is_read_back(frame: Frame) -> None:
    assert ydt1363.decode(ydt1363.encode(frame)) == frame


@given(st.one_of(st.binary(max_size=200), st.text("~0123456789ABCDEF\r", max_size=80).map(str.encode)))
def test_any_bytes_are_a_frame_or_a_bad_reply(data: bytes) -> None:
    try:
        frame = ydt1363.decode(data)
    except BadReply:
        return
    assert ydt1363.decode(ydt1363.encode(frame)) == frame


@given(frames, st.data())
def test_a_flipped_bit_is_a_bad_reply_or_changes_nothing(frame: Frame, data: st.DataObject) -> None:
    good = ydt1363.encode(frame)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read = ydt1363.decode(bytes(bad))
    except BadReply:
        return
    assert read == frame  # the case of a digit of CHKSUM


@given(requests, st.binary(max_size=60), st.binary(max_size=30))
def test_an_answer_is_found_behind_noise_and_never_before_it_is_whole(
    request_: AskYdt, info: bytes, noise: bytes
) -> None:
    answer = answer_to(request_, info)
    whole = noise + answer
    for length in range(len(noise), len(whole)):
        assert speech.find(request_, whole[:length]) is None
    found = speech.find(request_, whole)
    assert found is not None
    assert (speech.decode(request_, found.pdu), found.start, found.end) == (info, len(noise), len(whole))


@given(requests, st.binary(max_size=20))
def test_our_own_echo_is_passed_over(request_: AskYdt, info: bytes) -> None:
    sent = speech.frame(request_)
    assert speech.find(request_, sent) is None
    found = speech.find(request_, sent + answer_to(request_, info))
    assert found is not None
    assert found.echoed
    assert speech.decode(request_, found.pdu) == info


@given(requests)
def test_an_older_question_of_ours_is_no_answer(request_: AskYdt) -> None:
    """Its CID2 stands where an answer has its RTN, and no RTN is from 41 to 4F."""
    older = ydt1363.encode(Frame(0x20, request_.unit, request_.cid1, 0x41 if request_.cid2 != 0x41 else 0x43, b"\x01"))
    assert speech.find(request_, older) is None


@pytest.mark.parametrize(("unit", "cid1"), [(3, 0x41), (2, 0x42)])
def test_the_answer_of_another_unit_or_section_is_none(unit: int, cid1: int) -> None:
    asked = AskYdt(2, 0x20, 0x41, 0x41, b"\xff")
    assert speech.find(asked, ydt1363.encode(Frame(0x20, unit, cid1, 0, b"\x00"))) is None


@pytest.mark.parametrize("code", [1, 4, 5, 6, 0x80, 0xEF])
def test_a_return_code_is_a_refusal(code: int) -> None:
    with pytest.raises(DeviceRefused) as refused:
        speech.decode(ASKED, bytes([code]))
    assert refused.value.code == code


@pytest.mark.parametrize("code", [2, 3])
def test_a_unit_that_heard_us_badly_gave_a_bad_reply(code: int) -> None:
    with pytest.raises(BadReply, match="arrived broken"):
        speech.decode(ASKED, bytes([code]))


def test_the_answer_tells_how_much_of_it_is_to_come() -> None:
    answer = answer_to(ASKED, bytes(40))
    assert speech.promised(ASKED, answer[:12]) == 0
    assert speech.promised(ASKED, answer[:13]) == len(answer) - 13
    assert speech.promised(ASKED, LITHIUM + answer[:20]) == len(answer) - 20
    assert speech.promised(ASKED, answer) == 0
    assert speech.to_come(ASKED, b"") == 18
    assert speech.to_come(ASKED, answer[:20]) == len(answer) - 20


@pytest.mark.parametrize(
    ("received", "says"),
    [
        (b"\x00\xff", "without a frame"),
        (b"~2002", "no sound LENGTH"),
        (b"~20024600E00200", "instead of 20"),
        (b"~20024600E002000000\r", "CHKSUM"),
        (ydt1363.encode(Frame(0x20, 3, 0x46, 0, b"")), "unit 3"),
    ],
)
def test_what_is_wrong_is_said(received: bytes, says: str) -> None:
    assert says in speech.explain(ASKED, received)


def test_too_much_info_is_our_own_fault() -> None:
    with pytest.raises(ValueError, match="fit"):
        speech.frame(AskYdt(1, 0x20, 0x41, 0x48, bytes(2048)))


def test_answers_of_one_section_look_alike() -> None:
    assert speech.shape(AskYdt(1, 0x20, 0x41, 0x41, b"")) == speech.shape(AskYdt(1, 0x20, 0x41, 0x43, b""))
    assert speech.shape(AskYdt(1, 0x20, 0x41, 0x41, b"")) != speech.shape(AskYdt(1, 0x20, 0x42, 0x41, b""))


@given(requests, st.binary(min_size=1, max_size=20), st.data())
def test_an_answer_that_lost_or_gained_a_character_is_none(request_: AskYdt, info: bytes, data: st.DataObject) -> None:
    good = answer_to(request_, info)
    at = data.draw(st.integers(1, len(good) - 2))
    assert speech.find(request_, good[:at] + good[at + 1 :]) is None
    gained = good[:at] + bytes([data.draw(st.sampled_from(b"0123456789ABCDEF"))]) + good[at:]
    assert speech.find(request_, gained) is None
