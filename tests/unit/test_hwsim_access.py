"""The simulated door controller against the codec of a client of its community."""

from datetime import date, datetime
from ipaddress import IPv4Address

import pytest
from uhppoted import decode, encode

from hwsim.devices.access import DELETED, Panel

SERIAL = 423187757
NOW = datetime(2026, 11, 24, 17, 20, 37)
DAY, LATER = date(2026, 1, 1), date(2026, 12, 31)
OPEN, CLOSED = (True, False, False, False), (False,) * 4


@pytest.fixture
def panel() -> Panel:
    return Panel(SERIAL)


def ask(panel: Panel, request: bytearray, contacts=CLOSED, relays=CLOSED) -> bytes:
    answered = panel.answer(bytes(request), contacts, relays, NOW)
    assert answered is not None
    return answered[0]


def put(panel: Panel, card: int, last: date = LATER) -> None:
    assert decode.put_card_response(ask(panel, encode.put_card_request(SERIAL, card, DAY, last, 1, 0, 0, 1, 0))).stored


def test_cards_are_put_counted_found_and_deleted_with_a_hole(panel: Panel):
    for card in (11, 12, 13):
        put(panel, card)
    assert decode.delete_card_response(ask(panel, encode.delete_card_request(SERIAL, 12))).deleted
    assert not decode.delete_card_response(ask(panel, encode.delete_card_request(SERIAL, 12))).deleted
    assert decode.get_cards_response(ask(panel, encode.get_cards_request(SERIAL))).cards == 2
    places = [
        decode.get_card_by_index_response(ask(panel, encode.get_card_by_index_request(SERIAL, place))).card_number
        for place in (1, 2, 3, 4)
    ]
    assert places == [11, DELETED, 13, 0]
    put(panel, 14)
    seen = decode.get_card_by_index_response(ask(panel, encode.get_card_by_index_request(SERIAL, 2)))
    assert (seen.card_number, seen.end_date, seen.door_1, seen.door_2, seen.door_4) == (14, LATER, 1, 0, 1)


def test_a_card_is_let_in_by_day_and_door_and_noted(panel: Panel):
    put(panel, 11)
    put(panel, 12, date(2026, 11, 23))
    assert panel.swipe(11, 1, NOW)
    assert not panel.swipe(11, 2, NOW)
    assert not panel.swipe(12, 1, NOW), "its last day is over"
    assert not panel.swipe(99, 1, NOW)
    events = [decode.get_event_response(ask(panel, encode.get_event_request(SERIAL, k))) for k in (1, 2, 3, 4)]
    assert [(one.card, one.door, one.access_granted) for one in events] == [
        (11, 1, True),
        (11, 2, False),
        (12, 1, False),
        (99, 1, False),
    ]
    assert decode.get_event_response(ask(panel, encode.get_event_request(SERIAL, 5))).event_type == 0


def test_a_status_shows_doors_relays_and_the_newest_event(panel: Panel):
    panel.watch(OPEN, NOW)
    seen = decode.get_status_response(ask(panel, encode.get_status_request(SERIAL), OPEN, (True, False, False, True)))
    assert (seen.door_1_open, seen.door_2_open, seen.relays) == (True, False, 0b1001)
    assert (seen.event_index, seen.event_type, seen.event_door) == (1, 2, 1)
    assert (seen.system_date, seen.system_time) == (NOW.date(), NOW.time())


def test_a_door_is_opened_unless_it_is_held_open_or_shut(panel: Panel):
    answered = panel.answer(bytes(encode.open_door_request(SERIAL, 1)), CLOSED, CLOSED, NOW)
    assert answered is not None
    assert decode.open_door_response(answered[0]).opened
    assert answered[1] == (1,)
    ask(panel, encode.set_door_control_request(SERIAL, 1, 2, 5))
    assert not decode.open_door_response(ask(panel, encode.open_door_request(SERIAL, 1))).opened


def test_it_says_who_it_is_to_anybody(panel: Panel):
    for whom in (0, SERIAL):
        seen = decode.get_controller_response(ask(panel, encode.get_controller_request(whom)))
        assert (seen.controller, seen.version, seen.date) == (SERIAL, "v8.92", date(2018, 8, 16))


def test_its_clock_goes_on_from_where_it_was_set(panel: Panel):
    ask(panel, encode.set_time_request(SERIAL, datetime(2020, 1, 1, 12, 0, 0)))
    assert decode.get_time_response(ask(panel, encode.get_time_request(SERIAL))).datetime.year == 2020
    put(panel, 11)
    assert not panel.swipe(11, 1, NOW), "by its clock the card is not valid yet"


@pytest.mark.parametrize(
    "data", [b"", bytes(64), bytes(encode.get_status_request(SERIAL + 1)), b"\x17\xfe" + bytes(62)]
)
def test_what_is_not_for_it_is_left_unanswered(panel: Panel, data: bytes):
    assert panel.answer(data, CLOSED, CLOSED, NOW) is None


def test_all_cards_go_only_by_the_magic_word(panel: Panel):
    put(panel, 11)
    ask(panel, encode.get_cards_request(SERIAL))
    forged = bytearray(encode.delete_cards_request(SERIAL))
    forged[8:12] = bytes(4)
    assert not decode.delete_all_cards_response(ask(panel, forged)).deleted
    assert decode.delete_all_cards_response(ask(panel, encode.delete_cards_request(SERIAL))).deleted
    assert panel.cards == []


def test_events_are_pushed_once_to_the_listener_that_is_set(panel: Panel):
    panel.watch(OPEN, NOW)
    assert panel.news(OPEN, CLOSED, NOW) == [], "nobody is set, and it is not told later"
    address = IPv4Address("127.0.0.1")
    assert decode.set_listener_response(ask(panel, encode.set_listener_request(SERIAL, address, 60001, 15))).ok
    held = decode.get_listener_response(ask(panel, encode.get_listener_request(SERIAL)))
    assert (held.address, held.port, held.interval) == (address, 60001, 15)
    assert panel.pushes_to == ("127.0.0.1", 60001)
    assert panel.news(OPEN, CLOSED, NOW) == []
    panel.watch(CLOSED, NOW)
    panel.swipe(8165537, 2, NOW)
    first, second = (decode.event(packet) for packet in panel.news(CLOSED, CLOSED, NOW))
    assert (first.event_index, first.event_type, first.event_door, first.door_1_open) == (2, 2, 1, False)
    assert (second.event_index, second.event_type, second.event_card, second.event_access_granted) == (3, 1, 8165537, 0)
    assert panel.news(CLOSED, CLOSED, NOW) == []


def test_a_stubborn_controller_acknowledges_a_listener_and_keeps_its_own(panel: Panel):
    panel.stubborn = True
    assert decode.set_listener_response(ask(panel, encode.set_listener_request(SERIAL, IPv4Address("10.0.0.1"), 1))).ok
    assert panel.pushes_to is None
