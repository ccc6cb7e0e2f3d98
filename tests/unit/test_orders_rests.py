"""The account of what is cut and of how long compressors have rested, stepped by a clock of the test's own."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gantry_agent.core import cuts, interlocks
from gantry_agent.core.cuts import Cut
from gantry_agent.model import Answered, Cabinet, Interlocks, Output, Reading, Role, Site
from gantry_agent.orders.rests import AIR, Rests
from gantry_agent.orders.strays import followed, strays
from gantry_agent.store import Store

POWER = Output("power", "1.io", "do0", feeds="airConditioners", units=(1, 2))
LPR = Output("lpr", "1.io", "do1")
SITE = Site(
    "G1",
    "UTC",
    {},
    {},
    (Cabinet(1, ("1.io",), {"power": POWER, "lpr": LPR}),),
    (),
    interlocks=Interlocks(compressor_off_s=180.0),
)
PLACE, OTHER = (1, "power"), (1, "lpr")
UNIT = Role(1, AIR, 1)


class Clock:
    now = 1000.0


@asynccontextmanager
async def account(folder: Path, clock: Clock, site: Site = SITE) -> AsyncIterator[tuple[Rests, Store]]:
    """The account as a process begins it, with what the store has."""
    async with Store(folder / "state.db") as store:
        yield Rests(site, store, cuts.read(await store.settings()), lambda: clock.now), store


def seen(rests: Rests, working: int) -> None:
    rests.heard(Answered("1.air", 0.0, {(UNIT, "isWorking"): Reading(working)}))


@pytest.mark.parametrize(
    ("cut_at", "stopped", "now", "expected"),
    [
        (100.0, [], 100.0, 180.0),
        (100.0, [], 279.0, 1.0),
        (100.0, [], 280.0, 0.0),
        (100.0, [], 9999.0, 0.0),
        (100.0, [40.0], 200.0, 80.0),  # it had stopped before: the cut counts
        (100.0, [160.0, 40.0], 200.0, 140.0),  # one ran after it: that counts
    ],
)
def test_a_supply_stays_cut_from_the_later_of_its_cut_and_the_last_run(cut_at, stopped, now, expected):
    assert interlocks.supply(cut_at, stopped, now, 180.0) == expected


def test_what_the_cloud_hears_of_a_rest_leaves_room_for_a_name():
    assert interlocks.stays_cut(179.2) == "压缩机保护，180秒后恢复"


async def test_a_supply_rests_from_when_its_cut_was_seen_and_a_unit_without_it_does_not_run(tmp_path: Path):
    clock = Clock()
    async with account(tmp_path, clock) as (rests, _):
        seen(rests, 1)
        assert rests.why_not(UNIT) is None
        await rests.cutting(PLACE, POWER)
        clock.now += 5  # the write took so long, and its compressor ran
        await rests.saw(PLACE, POWER, cut=True)
        assert rests.left_s(PLACE) == 180.0
        seen(rests, 1)  # a controller with a supply of its own goes on to say so
        assert rests.why_not(UNIT) == "压缩机保护，还需180秒"
        clock.now += 100
        await rests.saw(PLACE, POWER, cut=True)  # looked at again: nothing begins anew
        rests.stopped(UNIT)
        assert rests.left_s(PLACE) == 80.0
        clock.now += 80
        assert rests.left_s(PLACE) == 0.0
        assert rests.why_not(UNIT) == "供电已被切断"
        await rests.saw(PLACE, POWER, cut=False)
        assert rests.why_not(UNIT) is None


async def test_a_supply_that_came_back_by_itself_and_is_cut_again_rests_anew(tmp_path: Path):
    clock = Clock()
    async with account(tmp_path, clock) as (rests, _):
        await rests.saw(PLACE, POWER, cut=True)
        clock.now += 170
        await rests.saw(PLACE, POWER, cut=False)
        assert rests.left_s(PLACE) == 0.0
        assert rests.why_not(UNIT) == "压缩机保护，还需10秒"
        await rests.cutting(PLACE, POWER)
        assert rests.left_s(PLACE) == 180.0


async def test_what_feeds_no_air_conditioner_is_kept_and_never_waits(tmp_path: Path):
    clock = Clock()
    async with account(tmp_path, clock) as (rests, store):
        await rests.cutting(OTHER, LPR)
        assert (rests.is_cut(OTHER), rests.left_s(OTHER)) == (True, 0.0)
        assert list(cuts.read(await store.settings())) == [OTHER]
        await rests.saw(OTHER, LPR, cut=False)
        assert cuts.read(await store.settings()) == {}


async def test_a_restart_makes_a_rest_no_shorter_and_no_longer(tmp_path: Path):
    clock = Clock()
    async with account(tmp_path, clock) as (rests, store):
        await rests.saw(PLACE, POWER, cut=True)
        await store.set_setting("cut.1.power", cuts.written(cuts.of(POWER, time.time() - 100.0)))
    later = Clock()
    later.now = 7.0  # another process, on its own clock
    async with account(tmp_path, later) as (rests, _):
        assert rests.left_s(PLACE) == pytest.approx(80.0, abs=1.0)
        assert rests.why_not(UNIT) in {"压缩机保护，还需80秒", "压缩机保护，还需79秒"}


@pytest.mark.parametrize(("boot", "left_s"), [("this", 130.0), ("another", 0.0)])
async def test_within_a_boot_no_step_of_the_wall_clock_shortens_a_rest(tmp_path: Path, boot: str, left_s: float):
    async with Store(tmp_path / "state.db") as store:
        before_the_step = time.time() - 3e7
        await store.set_setting("cut.1.power", cuts.written(cuts.of(POWER, before_the_step, "this", 950.0)))
        rests = Rests(SITE, store, cuts.read(await store.settings()), lambda: Clock.now, boot=boot)
        assert rests.left_s(PLACE) == left_s
        await rests.saw(PLACE, POWER, cut=False)
        await rests.saw(PLACE, POWER, cut=True)
        assert cuts.read(await store.settings())[PLACE].boot == boot


async def test_a_unit_that_was_seen_to_run_after_its_stop_rests_from_when_it_stopped_again(tmp_path: Path):
    clock = Clock()
    async with account(tmp_path, clock) as (rests, _):
        seen(rests, 1)
        rests.stopped(UNIT)  # not confirmed, say
        clock.now += 170
        seen(rests, 1)
        clock.now += 5
        seen(rests, 0)
        clock.now += 10
        assert rests.why_not(UNIT) == "压缩机保护，还需170秒"


@pytest.mark.parametrize("at", [3600.0, 5e9])  # a clock that had lost its time, and one that was set back since
async def test_a_cut_of_an_impossible_time_rests_from_the_start(tmp_path: Path, at: float):
    async with Store(tmp_path / "state.db") as store:
        await store.set_setting("cut.1.power", cuts.written(cuts.of(POWER, at)))
    async with account(tmp_path, Clock()) as (rests, _):
        assert rests.left_s(PLACE) == 180.0


async def test_what_fed_an_air_conditioner_rests_also_when_the_file_says_so_no_longer(tmp_path: Path):
    clock = Clock()
    async with account(tmp_path, clock) as (rests, _):
        await rests.saw(PLACE, POWER, cut=True)
    forgot = replace(SITE, cabinets=(Cabinet(1, ("1.io",), {"lpr": LPR}),))
    async with account(tmp_path, clock, forgot) as (rests, _):
        assert rests.left_s(PLACE) == pytest.approx(180.0, abs=1.0)


def test_what_is_no_cut_is_left_out():
    good = cuts.written(cuts.of(POWER, 1.8e9))
    kept = {"cut.1.power": good, "cut.x.power": good, "cut.2": good, "cut.3.a": "{}", "cut.4.a": "[", "power_mode": "1"}
    assert cuts.read(kept) == {PLACE: Cut(1.8e9, "1.io", "do0", invert=False, air=True)}


@pytest.mark.parametrize(
    ("outputs", "place"),
    [
        ({"power": POWER}, (1, "power")),
        ({"cooling": replace(POWER, name="cooling")}, (1, "cooling")),  # renamed
        ({"lpr": LPR}, (1, "power")),  # gone
        ({"power": replace(POWER, point="do7")}, (1, "power@do0")),  # wired elsewhere: the old contact is still closed
    ],
)
async def test_what_is_cut_is_known_by_its_contact_whatever_the_file_calls_it(tmp_path: Path, outputs, place):
    site = replace(SITE, cabinets=(Cabinet(1, ("1.io",), outputs),))
    async with Store(tmp_path / "state.db") as store:
        await store.set_setting("cut.1.power", cuts.written(cuts.of(POWER, 1.8e9)))
        kept = await followed(site, store, cuts.read(await store.settings()))
        assert list(kept) == [place]
        assert cuts.read(await store.settings()) == kept
        found = strays(site, lambda _: True, (), kept)
        assert (found[place].device, found[place].point) == ("1.io", "do0")
        assert strays(site, lambda _: True, {place}, kept) == {}
        assert strays(site, lambda _: False, (), kept) == {}, "the device itself is gone: said in the log"


async def test_what_is_cut_at_a_device_with_another_name_now_is_known_by_its_own(tmp_path: Path):
    renamed = replace(SITE, cabinets=(Cabinet(1, ("1.board",), {"power": replace(POWER, device="1.board")}),))
    async with Store(tmp_path / "state.db") as store:
        await store.set_setting("cut.1.power", cuts.written(cuts.of(POWER, 1.8e9)))
        kept = await followed(renamed, store, cuts.read(await store.settings()))
        assert kept == {PLACE: Cut(1.8e9, "1.board", "do0", air=True)}
        assert cuts.read(await store.settings()) == kept
        assert strays(renamed, lambda _: True, (), kept)[PLACE].device == "1.board"
