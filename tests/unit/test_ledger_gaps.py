"""The ledger's arithmetic: a due upload is accepted, explained or unexplained, whatever processes and clocks did."""

import random
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gantry_agent.core.ledger import (
    CLOCK,
    KILLED,
    NOT_RUNNING,
    POWER,
    STOPPED,
    Books,
    Gap,
    Mark,
    Span,
    Stretch,
    gaps,
    last_tick,
)
from gantry_agent.model import Due
from gantry_agent.store import ledger
from gantry_agent.store.database import MIGRATIONS

CABINET = ("cabinet", 1)
SCHEDULE = {CABINET: (600, 0)}


def stretch(began: float, seen: float, ended: str = "") -> Stretch:
    return Stretch(began, seen, ended, SCHEDULE)


def span(first: int, last: int) -> Span:
    return Span(CABINET, 600, first, last)


def test_a_month_without_trouble_is_one_span_and_no_gap():
    books = Books([stretch(100, 30 * 86_400)], [span(600, 30 * 86_400)], [])
    assert gaps(books, 0, 30 * 86_400 + 50, running=True) == ()


def test_a_missing_tick_inside_a_stretch_is_unexplained_unless_a_mark_covers_it():
    books = Books([stretch(0, 6000)], [span(0, 1200), span(3000, 6000)], [Mark(2400, 2400, "failed: X")])
    assert gaps(books, 0, 6000, running=True) == (
        Gap(CABINET, 1800, 1800, 1, ""),
        Gap(CABINET, 2400, 2400, 1, "failed: X"),
    )


@pytest.mark.parametrize("cause", [STOPPED, KILLED, POWER, CLOCK])
def test_what_was_due_between_two_stretches_is_missing_for_the_reason_that_ended_the_first(cause):
    books = Books([stretch(0, 1300, cause), stretch(4000, 6000)], [span(0, 1200), span(4200, 6000)], [])
    assert gaps(books, 0, 6000, running=True) == (Gap(CABINET, 1800, 3600, 4, cause),)


@pytest.mark.parametrize("seen", [1799.0, 1799.4, 1799.99])
def test_a_process_that_died_while_building_a_record_left_its_tick_outside_its_stretch(seen):
    books = Books([stretch(0, seen, KILLED), stretch(1803, 2500)], [span(0, 1200), span(2400, 2400)], [])
    assert gaps(books, 0, 2500, running=True) == (Gap(CABINET, 1800, 1800, 1, KILLED),)


def test_after_the_last_stretch_nothing_is_due_while_the_agent_runs_and_all_is_while_it_does_not():
    books = Books([stretch(0, 1300)], [span(0, 1200)], [])
    assert gaps(books, 0, 1310, running=True) == ()
    assert gaps(books, 0, 1900, running=False) == (Gap(CABINET, 1800, 1800, 1, NOT_RUNNING),)
    assert gaps(books, 0, 1900, running=True) == (Gap(CABINET, 1800, 1800, 1, ""),)  # it runs but shows no progress


def test_a_clock_that_was_years_ahead_for_an_hour_excuses_nothing_that_came_later():
    ten_years = 3650 * 86_400
    books = Books(
        [stretch(0, 1300, CLOCK), stretch(ten_years, ten_years + 3600, CLOCK), stretch(4900, 9000)],
        [span(0, 1200), span(ten_years + 600, ten_years + 3600), span(5400, 6600), span(7800, 9000)],
        [],
    )
    assert gaps(books, 0, 9000, running=True) == (
        Gap(CABINET, 1800, 4800, 6, CLOCK),
        Gap(CABINET, 7200, 7200, 1, ""),
    )


def test_a_cabinet_that_is_not_in_the_site_file_any_more_is_not_due():
    other = {("cabinet", 2): (600, 0)}
    books = Books([Stretch(0, 1300, STOPPED, SCHEDULE), Stretch(1400, 9000, "", other)], [span(0, 1200)], [])
    found = gaps(books, 0, 9000, running=True)
    assert {gap.series for gap in found} == {("cabinet", 2)}


class Life:
    """An agent as the real one, on a clock that is told: what it wrote down is in a real database."""

    def __init__(self, chance: random.Random) -> None:
        self.db = sqlite3.connect(":memory:")
        for statements in MIGRATIONS:
            for statement in statements:
                self.db.execute(statement)
        self.chance = chance
        self.interval_s = 600
        self.now = 1_700_000_000.0
        self.boot = "a"
        self.taken = 0

    def begin(self) -> None:
        ledger.begin(self.db, self.now, self.boot, {CABINET: (self.interval_s, 7)})
        self.taken = last_tick(self.now, self.interval_s, 7)

    def until(self, now: float) -> float:
        return now if self.taken >= last_tick(now, self.interval_s, 7) else self.taken + self.interval_s - 1

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (tick := last_tick(self.now, self.interval_s, 7) + self.interval_s) <= end:
            if self.chance.random() < 0.5:
                ledger.seen(self.db, self.until(self.chance.uniform(self.now, tick - 0.1)))
            self.now = float(tick)
            if self.chance.random() < 0.1:
                ledger.mark(self.db, tick, tick, "failed: Bug")
            else:
                ledger.account(self.db, "cabinet", 1, Due(tick, self.interval_s))
            self.taken = tick
        self.now = end

    def die(self) -> None:
        if self.chance.random() < 0.5:  # a tick fell, a heartbeat was written meanwhile, and it dies while building
            self.now = float(last_tick(self.now, self.interval_s, 7) + self.interval_s + 2)
            ledger.seen(self.db, self.until(self.now))
        if self.chance.random() < 0.5:
            self.boot += "a"

    def step(self, seconds: float) -> None:
        ledger.end(self.db, self.until(self.now), CLOCK)
        self.now += seconds

    def change(self) -> None:
        ledger.end(self.db, self.until(self.now), "schedule changed")
        self.interval_s = self.chance.choice([60, 300, 600])


@given(st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_whatever_happens_nothing_is_unexplained_and_a_record_that_vanished_would_be(seed):
    chance = random.Random(seed)
    life = Life(chance)
    life.begin()
    for _ in range(chance.randrange(1, 12)):
        life.run(chance.uniform(0, 40_000))
        match chance.randrange(5):
            case 0:
                life.die()
                life.now += chance.uniform(0, 20_000)
            case 1:
                ledger.end(life.db, life.until(life.now), STOPPED)
                life.now += chance.uniform(0, 20_000)
            case 2:
                life.step(chance.choice([-315e6, -86_400, -3600, -1.5, 1.5, 3600, 86_400, 315e6]))
            case 3:
                life.change()
            case 4:
                continue
        life.begin()
    life.run(1000)
    ledger.seen(life.db, life.until(life.now))
    books = ledger.books(life.db)
    since, now = life.now - 20 * 86_400, life.now
    found = gaps(books, since, now, running=False)
    assert [gap for gap in found if not gap.cause] == []
    recent = [each for each in books.spans if since <= each.first and each.last <= now]
    if not recent:
        return
    torn = chance.choice(recent)
    tick = chance.randrange(torn.first, torn.last + 1, torn.interval_s)
    left = [each for each in books.spans if each is not torn]
    left += [Span(CABINET, torn.interval_s, torn.first, tick - torn.interval_s)] if tick > torn.first else []
    left += [Span(CABINET, torn.interval_s, tick + torn.interval_s, torn.last)] if tick < torn.last else []
    if any(each.first <= tick <= each.last and (tick - each.first) % each.interval_s == 0 for each in left):
        return  # a clock that was set back took it twice
    missing = gaps(Books(books.stretches, left, books.marks), since, now, running=False)
    assert sum(gap.count for gap in missing) == sum(gap.count for gap in found) + 1


def test_a_month_without_trouble_costs_one_row():
    life = Life(random.Random(1))
    life.chance.random = lambda: 0.3  # type: ignore[method-assign]  # heartbeats, no failures
    life.begin()
    life.run(30 * 86_400)
    assert life.db.execute("SELECT count(*) FROM accounts").fetchone() == (1,)
    assert life.db.execute("SELECT count(*) FROM stretches").fetchone() == (1,)
    assert ledger.books(life.db).spans[0].last - ledger.books(life.db).spans[0].first == 30 * 86_400 - 600
