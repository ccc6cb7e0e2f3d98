"""cmd 7 at the agent's own readers: what is stored, what is refused, and what a dry run leaves alone (D12)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from zoneinfo import ZoneInfo

import pytest

from gantry_agent.command import Card, Done, Failed, Refused, SetWhitelist, Unlock
from gantry_agent.core.audit import Entry
from gantry_agent.core.whitelist import MOST_CARDS
from gantry_agent.field.actuator import Actuator
from gantry_agent.field.trace import Trace
from gantry_agent.model import Answered, Cabinet, Door, Missed, Output, Quality, Reader, Reading, Site
from gantry_agent.orders.cards import Cards
from gantry_agent.store import Cards as Kept
from gantry_agent.store import Store
from gantry_agent.text import read_kept

TODAY = datetime.now(ZoneInfo("Asia/Shanghai")).date()
LATER = date(TODAY.year + 2, 12, 31)
BACK = Reader(1, "back", "1.lock", "card", "count", "given")
CABINET = Cabinet(
    1, ("1.lock",), {"back-lock": Output("back-lock", "1.lock", "unlocked", 0.1)}, (Door("back", "back-lock"),)
)
SITE = Site("G1", "Asia/Shanghai", {}, {}, (CABINET,), (), readers=(BACK,))
NONE = MappingProxyType({})


@dataclass
class Seen:
    """What the cards did."""

    cards: Cards
    store: Store
    spawned: list[str] = field(default_factory=list)
    granted: list[tuple[Unlock, float, str | None]] = field(default_factory=list)
    noted: list[Entry] = field(default_factory=list)

    def hear(self, card: object, count: int, given: int = 4, quality: Quality = Quality.OK) -> None:
        points = {"card": Reading(card, quality), "count": Reading(count), "given": Reading(given)}  # type: ignore[arg-type]
        self.cards.heard(Answered("1.lock", 0.0, {}, points))


@contextlib.asynccontextmanager
async def begun(
    path: Path,
    site: Site = SITE,
    day: date | None = None,
    clock: Callable[[ZoneInfo], datetime] = datetime.now,
) -> AsyncIterator[Seen]:
    async with Store(path / "state.db") as store:
        seen: Seen

        def spawn(name: str, work: object) -> object:
            work.close()  # type: ignore[attr-defined]  # what it writes is the system tests' matter
            seen.spawned.append(name)
            return None

        def granted(command: Unlock, within_s: float, card: str | None = None) -> None:
            seen.granted.append((command, within_s, card))

        actuator = Actuator(site, {}, {}, spawn, granted)  # type: ignore[arg-type]
        cards = Cards(site, {}, {}, store, actuator, spawn, granted, day, clock)
        seen = Seen(cards, store)
        cards.note = seen.noted.append
        yield seen


def order(*numbers: str, until: date = LATER) -> SetWhitelist:
    return SetWhitelist(tuple(Card(number, until) for number in numbers))


async def test_without_anything_that_reads_cards_nothing_is_stored(tmp_path: Path):
    async with begun(tmp_path, replace(SITE, readers=())) as seen:
        assert await seen.cards.set_whitelist(order("1"), Trace()) == Failed("未配置门禁")
        assert await seen.store.cards() is None


async def test_a_dry_run_stores_nothing_and_opens_nothing(tmp_path: Path):
    async with begun(tmp_path) as seen:
        trace = Trace(dry=True)
        assert await seen.cards.set_whitelist(order("11111111"), trace) == Done()
        assert [step.en for step in trace.steps] == ["whitelist of 1 cards, 1 of them sent"]
        assert await seen.store.cards() is None
        seen.hear(None, 0, given=0)
        seen.hear(11111111, 1)
        assert seen.spawned == []


async def test_a_list_replaces_or_merges_as_the_site_says_and_is_taken_up_again(tmp_path: Path):
    async with begun(tmp_path) as seen:
        assert await seen.cards.set_whitelist(order("1", "2"), Trace()) == Done()
        assert await seen.cards.set_whitelist(order("002", "3"), Trace()) == Done()
        assert await seen.store.cards() == Kept((Card("002", LATER), Card("3", LATER)))
    async with begun(tmp_path, replace(SITE, merge_cards=True)) as seen:
        assert await seen.cards.set_whitelist(order("4", "2", until=TODAY), Trace()) == Done()
        assert await seen.store.cards() == Kept((Card("2", TODAY), Card("3", LATER), Card("4", TODAY)))


async def test_a_reader_opens_for_who_is_on_the_list_and_the_audit_hears_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    async with begun(tmp_path) as seen:
        seen.hear(None, 0, given=0)
        seen.hear(11111111, 1)
        assert seen.spawned == [], "there is no list yet"
        await seen.cards.set_whitelist(order("11111111"), Trace())
        seen.hear(11111111, 1)
        assert seen.spawned == [], "it was shown before"
        seen.hear(11111111, 2)
        assert seen.spawned == ["card 1 back"]
        seen.hear(11111111, 3, given=0)
        assert len(seen.spawned) == 1, "a key turned: the card is an old one"
        for count in range(4, 10):
            seen.hear(22222222, count)
        assert len(seen.spawned) == 1
        outcomes = [read_kept(entry.outcome) for entry in seen.noted]
        assert [said.en for said in outcomes] == ["refused: it is not on the whitelist"], "not once per wave"
        assert outcomes[0].zh == "拒绝：不在白名单中"
        assert (read_kept(seen.noted[0].who).en, seen.noted[0].via) == ("card …1111", "site")
    assert "11111111" not in caplog.text
    assert "22222222" not in caplog.text


async def test_a_card_opens_to_the_last_second_of_its_day_in_the_gantrys_time_zone(tmp_path: Path):
    at = datetime(2026, 11, 24, 15, 59, 59, tzinfo=UTC)  # a second to midnight there

    def clock(zone: ZoneInfo) -> datetime:
        return at.astimezone(zone)

    async with begun(tmp_path, clock=clock) as seen:
        await seen.cards.set_whitelist(order("11111111", until=date(2026, 11, 24)), Trace())
        seen.hear(None, 0, given=0)
        seen.hear(11111111, 1)
        assert seen.spawned == ["card 1 back"]
        at += timedelta(seconds=1)
        seen.hear(11111111, 2)
        assert len(seen.spawned) == 1
        assert [read_kept(entry.outcome).en for entry in seen.noted] == ["refused: it has expired"]


async def test_a_reader_that_could_not_be_read_begins_anew(tmp_path: Path):
    async with begun(tmp_path) as seen:
        await seen.cards.set_whitelist(order("11111111"), Trace())
        seen.hear(None, 0, given=0)
        seen.hear(11111111, 1, quality=Quality.GET_FAILED)
        seen.hear(11111111, 1)
        assert seen.spawned == []
        seen.hear(11111111, 2)
        assert len(seen.spawned) == 1
        for _ in range(3):
            seen.cards.heard(Missed("1.lock", 0.0, "no answer"))
        seen.cards.heard(Answered("1.lock", 0.0, {}))  # without the reader's points
        assert len(seen.spawned) == 1


async def test_what_a_controller_lets_in_explains_the_lock_for_as_long_as_the_site_says(tmp_path: Path):
    controlled = replace(SITE, readers=(replace(BACK, decides=True, given=""),))
    async with begun(tmp_path, controlled) as seen:
        await seen.cards.set_whitelist(order("00123456", until=TODAY - timedelta(days=1)), Trace())
        seen.hear(None, 0)
        seen.hear(123456, 1)  # it is the controller that decides, by whatever it has
        seen.hear(777, 2)
        assert seen.granted == [(Unlock(1, "back"), 10.0, "00123456"), (Unlock(1, "back"), 10.0, "777")]
        assert seen.spawned == []


async def test_a_list_of_which_cards_are_lost_still_opens_for_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async with begun(tmp_path) as seen:
        await seen.store.replace_cards((Card("11111111", LATER), Card("22222222", LATER)))
        await seen.store._database.run(lambda db: db.execute("DELETE FROM cards WHERE card = '22222222'").rowcount)
        task = asyncio.create_task(seen.cards.run())
        async with asyncio.timeout(5):
            while "part of the whitelist is lost" not in caplog.text:
                await asyncio.sleep(0.01)
        seen.hear(None, 0, given=0)
        seen.hear(11111111, 1)
        assert len(seen.spawned) == 1
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_by_a_clock_that_has_lost_its_time_who_had_expired_stays_out_and_the_others_are_let_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    good = date(2026, 11, 24)
    lost = lambda zone: datetime(1970, 1, 1, 8, tzinfo=zone)  # noqa: E731
    async with begun(tmp_path, SITE, good, lost) as seen:
        listed = (Card("11111111", good), Card("22222222", good - timedelta(days=1)))
        assert await seen.cards.set_whitelist(SetWhitelist(listed), Trace()) == Done()
        task = asyncio.create_task(seen.cards.run())
        async with asyncio.timeout(5):
            while (await seen.store.settings()).get("day") != "2026-11-24":
                await asyncio.sleep(0.01)
        seen.hear(None, 0, given=0)
        seen.hear(22222222, 1)
        assert seen.spawned == [], "by the clock of 1970 it would be good for 56 years"
        assert "it has expired" in seen.noted[-1].outcome
        seen.hear(11111111, 2)
        assert len(seen.spawned) == 1
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert "the clock of this PC shows 1970-01-01, which cannot be; cards expire as of 2026-11-24" in caplog.text


async def test_the_day_of_a_good_clock_is_kept_and_counts_when_it_is_lost(tmp_path: Path):
    shows = [datetime(2026, 11, 24, 12, tzinfo=ZoneInfo("Asia/Shanghai"))]
    async with begun(tmp_path, SITE, None, lambda _: shows[0]) as seen:
        await seen.cards.set_whitelist(order("11111111", until=date(2026, 11, 23)), Trace())
        seen.hear(None, 0, given=0)
        seen.hear(11111111, 1)
        shows[0] = datetime(1970, 1, 1, tzinfo=ZoneInfo("Asia/Shanghai"))
        seen.hear(11111111, 2)
        assert seen.spawned == []


async def test_a_list_has_an_upper_bound_merged_or_not(tmp_path: Path):
    many = order(*map(str, range(1, MOST_CARDS + 2)))
    async with begun(tmp_path) as seen:
        assert await seen.cards.set_whitelist(many, Trace()) == Refused("cardInfos")
        assert await seen.store.cards() is None
    async with begun(tmp_path, replace(SITE, merge_cards=True)) as seen:
        assert await seen.cards.set_whitelist(replace(many, cards=many.cards[:-1]), Trace()) == Done()
        told = await seen.cards.set_whitelist(order("90000001"), Trace())
        assert told == Failed("合并后超过20000张卡")
        kept = await seen.store.cards()
        assert kept is not None
        assert len(kept.cards) == MOST_CARDS
