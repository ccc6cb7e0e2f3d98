"""UHPPOTE datagrams: the bytes against those of a client of its community, and what is no answer."""

import contextlib
from datetime import date, datetime
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uhppoted import decode as their_decode
from uhppoted import encode as theirs

from gantry_agent.field.framing import uhppote
from gantry_agent.field.request import AskController
from gantry_agent.model import BadReply, DeviceRefused

SERIAL = 423187757
CARD = uhppote.CardRecord(8165537, date(2026, 1, 1), date(2026, 12, 31), frozenset({1, 2}))


def asked(function: int, data: bytes = b"") -> AskController:
    return AskController(1, SERIAL, function, data)


@pytest.mark.parametrize(
    ("function", "data", "their_bytes"),
    [
        (uhppote.STATUS, b"", theirs.get_status_request(SERIAL)),
        (uhppote.OPEN_DOOR, b"\3", theirs.open_door_request(SERIAL, 3)),
        (
            uhppote.PUT_CARD,
            uhppote.put_card(CARD),
            theirs.put_card_request(SERIAL, 8165537, date(2026, 1, 1), date(2026, 12, 31), 1, 1, 0, 0, 0),
        ),
        (uhppote.DELETE_CARD, uhppote.number(8165537), theirs.delete_card_request(SERIAL, 8165537)),
        (uhppote.COUNT_CARDS, b"", theirs.get_cards_request(SERIAL)),
        (uhppote.GET_CARD, uhppote.number(8165537), theirs.get_card_request(SERIAL, 8165537)),
        (uhppote.GET_CARD_AT, uhppote.number(4711), theirs.get_card_by_index_request(SERIAL, 4711)),
        (uhppote.GET_EVENT, uhppote.number(70000), theirs.get_event_request(SERIAL, 70000)),
        (uhppote.GET_TIME, b"", theirs.get_time_request(SERIAL)),
        (
            uhppote.SET_TIME,
            uhppote.set_time(datetime(2026, 11, 24, 17, 20, 37)),
            theirs.set_time_request(SERIAL, datetime(2026, 11, 24, 17, 20, 37)),
        ),
    ],
)
def test_a_question_has_the_bytes_of_the_communitys_client(function: int, data: bytes, their_bytes: bytes):
    assert uhppote.frame(asked(function, data)) == bytes(their_bytes)


def test_the_put_card_that_was_seen_on_a_wire():
    sent = uhppote.frame(asked(uhppote.PUT_CARD, uhppote.put_card(CARD)))
    assert sent[8:12].hex() == "a1987c00"
    assert sent[12:24].hex() == "202601012026123101010000"
    assert len(sent) == 64


def answer(function: int, data: bytes = b"", serial: int = SERIAL) -> bytes:
    return bytes([0x17, function, 0, 0]) + serial.to_bytes(4, "little") + data.ljust(56, b"\0")


def test_an_answer_is_told_by_function_serial_number_and_what_was_asked_for():
    status = asked(uhppote.STATUS)
    assert uhppote.answers(status, answer(uhppote.STATUS))
    for other in (
        answer(uhppote.GET_TIME),
        answer(uhppote.STATUS, serial=SERIAL + 1),
        answer(uhppote.STATUS)[:-1],
        answer(uhppote.STATUS) + b"\0",
        b"\x19" + answer(uhppote.STATUS)[1:],
        b"",
    ):
        assert not uhppote.answers(status, other)
    card = asked(uhppote.GET_CARD, uhppote.number(7))
    assert uhppote.answers(card, answer(uhppote.GET_CARD, uhppote.number(7)))
    assert uhppote.answers(card, answer(uhppote.GET_CARD)), "there is none"
    assert not uhppote.answers(card, answer(uhppote.GET_CARD, uhppote.number(8))), "of an earlier question"


def test_a_function_that_was_declined_is_a_refusal():
    for function in (uhppote.OPEN_DOOR, uhppote.PUT_CARD, uhppote.DELETE_CARD):
        assert uhppote.check(asked(function), answer(function, b"\1"))
        with pytest.raises(DeviceRefused, match=r"declined"):
            uhppote.check(asked(function), answer(function, b"\0"))


def test_what_does_not_fit_is_our_fault():
    with pytest.raises(ValueError, match=r"do not fit"):
        uhppote.frame(asked(uhppote.PUT_CARD, bytes(57)))


@pytest.mark.parametrize("number", [0, 0xFFFFFFFF])
def test_no_card_and_a_deleted_one_are_none(number: int):
    assert uhppote.read_card(answer(uhppote.GET_CARD_AT, uhppote.number(number))) is None


def test_a_card_is_read_as_the_communitys_client_reads_it():
    said = answer(uhppote.GET_CARD, uhppote.put_card(CARD))
    assert uhppote.read_card(said) == CARD
    seen = their_decode.get_card_response(said)
    assert (seen.card_number, seen.start_date, seen.end_date) == (CARD.number, CARD.first, CARD.last)
    assert uhppote.read_card(answer(uhppote.GET_CARD, uhppote.number(5))) == uhppote.CardRecord(
        5, None, None, frozenset()
    )
    with pytest.raises(BadReply, match=r"is no date"):
        uhppote.read_card(answer(uhppote.GET_CARD, uhppote.number(5) + bytes.fromhex("20261399")))


def test_a_status_by_hand():
    """Index 78, a swipe, granted, door 1, in, card 8165537, 2026-11-24 10:20:30, reason 1; door 1 open, relay 1 on."""
    said = answer(
        uhppote.STATUS,
        bytes.fromhex(
            "4e000000 01 01 01 01 a1987c00 20261124102030 01 01000000 00000000 00 102031 00000000".replace(" ", "")
        )
        + bytes(5)
        + bytes.fromhex("00 01 00 261124".replace(" ", "")),
    )
    assert uhppote.read_event(said) == uhppote.Event(78, uhppote.SWIPE, True, 1, 8165537)
    seen = their_decode.get_status_response(said)
    assert (seen.event_index, seen.event_card, seen.event_door, seen.door_1_open) == (78, 8165537, 1, True)


@pytest.mark.parametrize(
    ("raw", "shown"), [("20261124172037", datetime(2026, 11, 24, 17, 20, 37)), ("0" * 14, None), ("ff" * 7, None)]
)
def test_a_clock_that_shows_no_time(raw: str, shown: datetime | None):
    assert uhppote.read_time(answer(uhppote.GET_TIME, bytes.fromhex(raw))) == shown


@given(st.binary(max_size=80))
def test_rubbish_is_no_answer_or_is_read_without_an_escape(data: bytes):
    for function in (uhppote.STATUS, uhppote.GET_CARD_AT, uhppote.GET_EVENT, uhppote.GET_TIME):
        forged = (bytes([0x17, function, 0, 0]) + SERIAL.to_bytes(4, "little") + data).ljust(64, b"\0")[:64]
        uhppote.answers(asked(function), data)
        uhppote.read_event(forged)
        uhppote.read_time(forged)
        with contextlib.suppress(BadReply):
            uhppote.read_card(forged)


# --- listeners, and what is pushed to them ----------------------------------------------------------------------------


def test_a_listener_is_written_and_read_as_a_client_of_the_community_does():
    wanted = uhppote.Listener(IPv4Address("192.168.1.10"), 60001, 30)
    asked = uhppote.frame(AskController(1, SERIAL, uhppote.SET_LISTENER, uhppote.set_listener(wanted)))
    assert asked == theirs.set_listener_request(SERIAL, wanted.address, wanted.port, wanted.every_s)
    answer = bytes.fromhex("17920000") + SERIAL.to_bytes(4, "little") + asked[8:]
    told = their_decode.get_listener_response(answer)
    assert uhppote.read_listener(answer) == uhppote.Listener(told.address, told.port, told.interval) == wanted
    assert str(wanted) == "192.168.1.10:60001"


def test_a_controller_that_declines_a_listener_has_refused():
    request = AskController(1, SERIAL, uhppote.SET_LISTENER, bytes(7))
    for said, done in ((b"\1", True), (b"\0", False)):
        answer = uhppote.frame(AskController(1, SERIAL, uhppote.SET_LISTENER, said))
        assert uhppote.answers(request, answer)
        if done:
            assert uhppote.check(request, answer) == answer
        else:
            with pytest.raises(DeviceRefused):
                uhppote.check(request, answer)


@pytest.mark.parametrize("mark", [0x17, 0x19])
def test_what_is_a_push_is_one_for_a_client_of_the_community_as_well(mark: int):
    packet = bytes([mark, 0x20, 0, 0]) + SERIAL.to_bytes(4, "little") + bytes(56)
    assert uhppote.pushed_by(packet) == their_decode.event(packet).controller == SERIAL
    for other in (packet[:63], packet + b"\0", b"\x18" + packet[1:], packet[:1] + b"\x94" + packet[2:], b""):
        assert uhppote.pushed_by(other) is None
        with pytest.raises(ValueError):
            their_decode.event(other)
