"""A door controller kept equal to the list: the agent's side against the simulated board, over a wire that loses."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gantry_agent.command import Card
from gantry_agent.core.whitelist import build
from gantry_agent.field.framing import uhppote
from gantry_agent.field.request import AskController, Reply
from gantry_agent.model import DoorController, NoReply
from gantry_agent.orders import controllers
from gantry_agent.orders.controllers import Board
from hwsim.devices.access import Entry, Panel

SERIAL = 423187757
NOW = datetime(2026, 11, 24, 12, 0)
LATER = date(2030, 12, 31)
CLOSED = (False,) * 4


class Wire:
    """Carries datagrams to a simulated board; loses those that `loses` says."""

    def __init__(self, panel: Panel, loses: Callable[[AskController], bool] = lambda _: False) -> None:
        self.panel, self.loses = panel, loses
        self.asked: list[int] = []
        self.now = NOW

    async def ask(self, request: AskController) -> Reply:
        await asyncio.sleep(0)
        self.asked.append(request.function)
        lost = self.loses(request)
        answered = self.panel.answer(uhppote.frame(request), CLOSED, CLOSED, NOW)
        if lost or answered is None:  # be it on the way there or back
            raise NoReply("cannot get an answer: nothing in 0.5 s")
        assert uhppote.answers(request, answered[0])
        return uhppote.check(request, answered[0])


def board(wire: Wire, doors: frozenset[int] = frozenset({1})) -> Board:
    return Board(DoorController("1.access", SERIAL, doors), 1, wire.ask, lambda: wire.now)


@contextlib.asynccontextmanager
async def kept(one: Board):
    task = asyncio.create_task(one.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def listed(*numbers: int, until: date = LATER):
    return build([Card(str(number), until) for number in numbers])


def holding(panel: Panel) -> set[int]:
    return {one.number for one in panel.cards}


def put(panel: Panel, number: int, last: date = LATER, doors: bytes = b"\1\0\0\0") -> None:
    asked = Entry(number, bytes.fromhex("20200101"), bytes.fromhex(last.strftime("%Y%m%d")), doors).record
    panel.put_card(asked, NOW)


async def test_a_board_that_nobody_has_a_list_for_is_not_even_asked():
    wire = Wire(Panel(SERIAL))
    async with kept(board(wire)):
        await asyncio.sleep(0.01)
    assert wire.asked == []


async def test_a_small_change_does_not_read_the_whole_list_again():
    wire = Wire(Panel(SERIAL))
    one = board(wire)
    async with kept(one):
        assert await one.settled(one.want(listed(*range(1, 101))))
        wire.asked.clear()
        assert await one.settled(one.want(listed(*range(1, 100), 200)))
        assert uhppote.GET_CARD_AT not in wire.asked
        assert len(wire.asked) < 10
        assert one.told is not None
        assert one.told.en == "1.access: 1 cards to add, 0 to change, 1 to take out; read back, 100 cards"
    assert holding(wire.panel) == {*range(1, 100), 200}


async def test_what_a_list_would_write_is_told_frame_by_frame_without_a_number_and_nothing_is_written():
    panel = Panel(SERIAL)
    put(panel, 17)
    wire = Wire(panel)
    one = board(wire)
    steps = [step.en for step in await one.planned(listed(10058400))]
    assert steps == [
        "1.access: 1 cards to add, 0 to change, 1 to take out",
        "1.access would write 17 52 00 00 2D 55 39 19 ** ** ** ** 00… (card …7)",
        "1.access would write 17 50 00 00 2D 55 39 19 ** ** ** ** 20 20 01 01 20 30 12 31 01 00… (card …8400)",
    ]
    assert holding(panel) == {17}
    assert not set(wire.asked) & {uhppote.PUT_CARD, uhppote.DELETE_CARD, uhppote.SET_TIME}
    many = [step.en for step in await one.planned(listed(*range(1000, 2000)))]
    assert len(many) == 2 + controllers.FRAMES_TOLD
    assert many[-1] == "1.access: the frames after these are not listed"
    async with kept(one):
        assert await one.settled(one.want(listed(10058400)))
    assert [step.en.replace(" write ", " would write ") for step in one.wrote] == steps[1:]


async def test_cards_behind_holes_are_found():
    wire = Wire(Panel(SERIAL))
    for number in range(1, 51):
        put(wire.panel, number)
    for number in range(1, 50):
        wire.panel.delete_card(uhppote.number(number), NOW)
    one = board(wire)
    async with kept(one):
        assert await one.settled(one.want(listed(7)))
    assert holding(wire.panel) == {7}, "card 50 stood behind 49 holes"


async def test_a_newer_list_does_not_wait_for_the_older_to_be_done():
    wire = Wire(Panel(SERIAL))
    one = board(wire)
    async with kept(one):
        one.want(listed(*range(1, 5000)))
        while len(wire.asked) < 100:
            await asyncio.sleep(0)
        assert await one.settled(one.want(listed(1, 2)))
        assert len(wire.asked) < 500
    assert holding(wire.panel) == {1, 2}


async def test_the_day_after_a_card_is_taken_out_and_everything_is_looked_through(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(controllers, "LOOK_S", 0.01)
    wire = Wire(Panel(SERIAL))
    one = board(wire)
    async with kept(one):
        assert await one.settled(one.want(build([Card("1", LATER), Card("2", NOW.date())])))
        assert holding(wire.panel) == {1, 2}
        put(wire.panel, 99)  # by somebody at the board
        wire.now = NOW + timedelta(days=1)
        async with asyncio.timeout(5):
            while holding(wire.panel) != {1}:
                await asyncio.sleep(0.01)


async def test_a_board_that_is_full_is_not_taken_for_equal_and_the_others_are_in_it(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    wire = Wire(Panel(SERIAL, capacity=3))
    one = board(wire)
    async with kept(one):
        assert not await one.settled(one.want(listed(11111, 22222, 33333, 44444)))
        assert holding(wire.panel) == {11111, 22222, 33333}
        wire.panel.capacity = 4
        assert await one.settled(one.want(listed(11111, 22222, 33333, 44444)))
    assert "card …44 is not there after it was written" in caplog.text
    assert "44444" not in caplog.text


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.integers(1, 40), st.tuples(st.dates(date(2025, 1, 1), LATER), st.booleans())),
    st.dictionaries(st.integers(1, 40), st.dates(date(2025, 1, 1), LATER)),
    st.integers(0, 2**32),
    st.integers(0, 25),
)
def test_whatever_a_board_holds_it_is_equal_in_the_end_be_the_wire_never_so_bad(
    before: dict[int, tuple[date, bool]], wanted: dict[int, date], seed: int, percent: int
):
    chance = random.Random(seed)
    wire = Wire(Panel(SERIAL), lambda _: chance.randrange(100) < percent)
    wire.panel.clock_off = timedelta(hours=chance.randrange(-30, 30))
    for number, (last, both) in before.items():
        put(wire.panel, number, last, b"\1\1\0\0" if both else b"\1\0\0\0")

    async def work() -> None:
        one = board(wire)
        cards = build([Card(f"{number:05d}", until) for number, until in wanted.items()])
        async with kept(one), asyncio.timeout(20):
            while not await one.settled(one.want(cards)):
                pass

    asyncio.run(work())
    good = {number: until for number, until in wanted.items() if until >= NOW.date()}
    assert {one.number: one.last.hex() for one in wire.panel.cards} == {
        number: until.strftime("%Y%m%d") for number, until in good.items()
    }
    assert all(one.doors == b"\1\0\0\0" for one in wire.panel.cards)
    assert abs(wire.panel.clock_off) <= timedelta(seconds=controllers.CLOCK_OFF_S)


async def test_a_board_that_shows_one_card_at_every_place_is_told_to_be_unequal_and_not_read_for_ever():
    panel = Panel(SERIAL)
    put(panel, 1)
    put(panel, 2)
    wire = Wire(panel)

    async def stuck(request: AskController) -> Reply:
        at = request.function == uhppote.GET_CARD_AT
        return await wire.ask(replace(request, data=uhppote.number(1)) if at else request)

    one = Board(DoorController("1.access", SERIAL, frozenset({1})), 1, stuck, lambda: NOW)
    async with kept(one), asyncio.timeout(10):
        assert not await one.settled(one.want(listed(1)))
    assert one.told is not None
    assert "instead of" in one.told.en
