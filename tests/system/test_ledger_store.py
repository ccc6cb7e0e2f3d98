"""The store when the disk fails it: full, read-only, truncated, flipped bits; and its books, which always balance."""

import os
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gantry_agent.model import Due, Record
from gantry_agent.store import Bounds, Hop, Store, StoreFault, lock, standin
from gantry_agent.text import Text, read_kept

pytestmark = pytest.mark.system

DAY = 86_400.0


def status(cabinet: int = 1, at: float = 0.0, body: bytes = b"{}") -> Record:
    return Record("cabinet", cabinet, False, at, body)


def urgent(cabinet: int = 1, at: float = 0.0) -> Record:
    return Record("cabinet", cabinet, True, at, b"{}")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the disk at once, instead of every few seconds."""
    monkeypatch.setattr(standin, "FIRST_TRY_S", 0.0)
    monkeypatch.setattr(standin, "LONGEST_TRY_S", 0.0)


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def turn_read_only(store: Store) -> None:
    """What SQLite meets on a file system that the kernel has made read-only under it; opening it anew mends it."""
    database = store._database
    await database._on_thread(lambda: database._connection.execute("PRAGMA query_only = 1"))


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4096):
                pass
        except OSError:
            pass
    return ballast


async def balanced(store: Store) -> None:
    counts = await store.counts()
    assert counts.unaccounted == 0, counts


# --- the books ------------------------------------------------------------------------------------------------------


async def test_what_was_accepted_is_delivered_waits_is_set_aside_or_lost_with_a_cause(tmp_path):
    chance = random.Random(7)
    async with Store(tmp_path / "state.db", bounds=Bounds(records=30)) as store:
        for n in range(300):
            await store.put(urgent(at=n) if chance.random() < 0.2 else status(chance.choice([1, 2]), at=n))
            if chance.random() < 0.4 and (record := await store.next_record("cabinet")):
                await (
                    store.set_aside(record.number, "1002", "")
                    if chance.random() < 0.2
                    else store.delivered(record.number)
                )
        counts = await store.counts()
        assert counts.accepted == 300
        assert counts.lost > 50
        await balanced(store)
        losses = await store.intervals(0.0)
        assert sum(loss.count for loss in losses) == counts.lost
        assert {loss.cabinet for loss in losses} == {1, 2}
        assert len(losses) < 8  # neighbours are one interval


async def test_records_older_than_the_bound_go_and_are_counted_with_their_cause(tmp_path):
    now = 100 * DAY
    async with Store(tmp_path / "state.db", bounds=Bounds(age_s=30 * DAY)) as store:
        for day in (10, 20, 69, 71, 99):
            await store.put(status(at=day * DAY))
        await store.put(urgent(at=60 * DAY))
        assert await store.forget_too_old(now) == 4
        assert {loss.cause for loss in await store.losses()} == {"too old"}
        assert (await store.counts()).waiting == 2
        await balanced(store)


async def test_a_body_that_the_disk_changed_is_set_aside_and_not_sent(tmp_path, caplog):
    path = tmp_path / "state.db"
    async with Store(path) as store:
        await store.put(status(body=b"A" * 3000))
        await store.put(status(body=b"B" * 3000))
    content = path.read_bytes()
    place = content.index(b"B" * 100)
    path.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
    async with Store(path) as store:
        record = await store.next_record("cabinet")
        assert record
        assert record.body == b"A" * 3000
        assert [kept.code for kept in await store.records() if kept.aside] == ["damaged"]
        await balanced(store)
    assert "record 2 is damaged" in caplog.text


async def test_a_due_tick_is_accepted_in_the_same_transaction_as_its_record(tmp_path):
    async with Store(tmp_path / "state.db") as store:
        await store.begin_stretch(590.0, "boot", {("cabinet", 1): (600, 0)})
        for tick in (600, 1200, 1800):
            await store.put(status(at=tick), due=Due(tick, 600))
        (span,) = (await store.books()).spans
        assert (span.first, span.last) == (600, 1800)


async def test_an_outage_is_kept_with_its_hops_and_with_the_arrival_of_what_waited(tmp_path, caplog):
    async with Store(tmp_path / "state.db") as store:
        await store.trouble("cabinet", 100.0, "TCP", "refused")
        await store.trouble("cabinet", 150.0, "TCP", "refused")
    async with Store(tmp_path / "state.db") as store:  # a restart does not end it
        await store.trouble("cabinet", 200.0, "HTTP", "503")
        first, second = await store.put(urgent()), await store.put(status())
        await store.over("cabinet", 300.0)
        await store.put(status())  # came after it
        (outage,) = await store.outages(0.0)
        assert outage.hops == (Hop(100.0, "TCP", "refused"), Hop(200.0, "HTTP", "503"))
        assert (outage.began_at, outage.ended_at, outage.waited, outage.arrived_at) == (100.0, 300.0, 2, None)
        await store.delivered(first.number)
        assert (await store.outages(0.0))[0].arrived_at is None
        await store.delivered(second.number)
        assert (await store.outages(0.0))[0].arrived_at
        assert await store.outages(301.0) == ()
        over, arrived = (one.entry for one in await store.audit_entries(0.0, 1e12, 10))
        assert (over.at, over.who, over.what) == (300.0, "uplink\n上行", "cabinet status\ncabinet 状态")
        assert read_kept(over.outcome) == Text(
            "断网 200 秒：TCP (refused) → HTTP (503)；积压 2 条",
            "offline for 200 s: TCP (refused), then HTTP (503); records that waited: 2",
        )
        assert read_kept(arrived.outcome).en == "all 2 have arrived"
    assert "offline for 200 s: TCP (refused), then HTTP (503); records that waited: 2" in caplog.text


async def test_absences_of_the_agent_itself_are_outages_too(tmp_path):
    async with Store(tmp_path / "state.db") as store:
        for at, boot in ((0.0, "a"), (100.0, "a"), (200.0, "b")):
            await store.begin_stretch(at, boot, {})
            await store.seen(at + 50)
        await store.end_stretch(260.0, "stopped")
        await store.begin_stretch(300.0, "b", {})
        assert [(o.began_at, o.ended_at, o.hops[0].name) for o in await store.outages(0.0)] == [
            (50.0, 100.0, "agent killed"),
            (150.0, 200.0, "own power"),
            (260.0, 300.0, "agent stopped"),
        ]
        assert await store.audit_entries(0.0, 1e12, 10) == ()  # the audit has those of a minute and more
        await store.begin_stretch(400.0, "c", {})
        (entry,) = await store.audit_entries(0.0, 1e12, 10)
        assert read_kept(entry.entry.outcome) == Text(
            "停了 100 秒，期间无应传数据：本机断电或重启", "uploads were not due for 100 s: own power"
        )


def test_one_agent_per_storage(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE_S", 0.1)
    assert not lock.is_held(tmp_path)
    with lock.held(tmp_path):
        assert lock.is_held(tmp_path)
        with pytest.raises(StoreFault, match="another agent runs on it"), lock.held(tmp_path):
            pass
    assert not lock.is_held(tmp_path)


# --- disk full, read-only, gone -------------------------------------------------------------------------------------


async def test_a_full_disk_is_stood_in_for_by_memory_and_nothing_is_lost_or_doubled(small_disk, quick, caplog):
    async with Store(small_disk / "state.db", stand_in=True) as store:
        waiting = [(await store.put(urgent())).number for _ in range(3)]
        await store.set_setting("server.cabinet", "http://a/")
        ballast = fill(small_disk)
        numbers = [(await store.put(status(body=b"x" * 3000), due=Due(600 * n, 600))).number for n in range(1, 30)]
        assert store.in_memory
        assert numbers == list(range(4, 33))  # they go on
        record = await store.next_record("cabinet")
        assert record
        assert record.number == waiting[0]  # D17: the event that was on the disk already
        await store.delivered(waiting[0])
        await store.delivered(numbers[-1])
        await store.set_aside(waiting[1], "1002", "no")
        await store.set_setting("server.cabinet", "http://b/")
        await store.remember("md5", "answer", 1.0)
        assert await store.recall("md5", 0.0) == "answer"
        ballast.unlink()
        assert (await store.settings())["server.cabinet"] == "http://b/"  # any call brings it back
        assert not store.in_memory
    async with Store(small_disk / "state.db") as store:
        kept = {each.record.number: each.aside for each in await store.records(100)}
        assert kept == {waiting[1]: True, waiting[2]: False} | dict.fromkeys(numbers[:-1], False)
        assert (await store.settings())["server.cabinet"] == "http://b/"
        assert await store.recall("md5", 0.0) == "answer"
        (span,) = (await store.books()).spans
        assert (span.first, span.last) == (600, 600 * 29)
        await balanced(store)
        assert (await store.put(status())).number == 33
    assert caplog.text.count("kept in memory until the disk can be used again") == 1


async def test_a_disk_that_turns_read_only_is_stood_in_for_and_comes_back(tmp_path):
    async with Store(tmp_path / "state.db", stand_in=True) as store:
        first = await store.put(status())
        await turn_read_only(store)
        second = await store.put(urgent())
        assert store.in_memory
        assert (await store.next_record("cabinet")) == second
        await store.delivered(second.number)
        assert (await store.next_record("cabinet")) == first
        store._database.stand_in.try_at_once()
        third = await store.put(status())
        assert not store.in_memory
        assert third.number == second.number + 1
        assert {each.record.number for each in await store.records()} == {first.number, third.number}
        await balanced(store)


async def test_it_can_even_be_opened_on_a_full_or_a_read_only_disk(small_disk, quick):
    ballast = fill(small_disk)
    async with Store(small_disk / "state.db", stand_in=True) as store:
        record = await store.put(urgent())
        assert store.in_memory
        await store.delivered(record.number)
        record = await store.put(urgent())
        ballast.unlink()
        await store.put(status())
        assert not store.in_memory
    mount("-o", "remount,ro", str(small_disk))
    async with Store(small_disk / "state.db", stand_in=True) as store:
        other = await store.put(urgent())
        assert store.in_memory
        assert other.number > record.number + 1  # whatever the disk holds is older
        mount("-o", "remount,rw", str(small_disk))
        assert {each.record.number for each in await store.records()} >= {record.number, other.number}
        assert not store.in_memory
        assert len(await store.records()) == 3
        await balanced(store)


async def test_without_leave_to_stand_in_a_full_disk_is_a_fault(small_disk):
    async with Store(small_disk / "state.db") as store:
        fill(small_disk)
        with pytest.raises(StoreFault, match="full"):
            for _ in range(100):
                await store.put(status(body=b"x" * 3000))


async def test_memory_is_bounded_and_what_goes_is_counted_with_its_cause(small_disk, quick, monkeypatch):
    monkeypatch.setattr("gantry_agent.store.IN_MEMORY", Bounds(records=10, where=" in memory"))
    async with Store(small_disk / "state.db", stand_in=True) as store:
        ballast = fill(small_disk)
        for n in range(40):
            await store.put(urgent(at=n) if n == 0 else status(at=n, body=b"x" * 3000))
        assert store.in_memory
        kept = await store.records()
        assert len(kept) <= 10 + 10
        assert any(each.record.urgent for each in kept)
        ballast.unlink()
        await store.counts()
        assert not store.in_memory
        assert {loss.cause for loss in await store.losses()} == {"too many records in memory"}
        await balanced(store)


# --- damage ---------------------------------------------------------------------------------------------------------


async def begun(path: Path) -> bytes:
    async with Store(path) as store:
        for n in range(30):
            await store.put(status(at=n, body=b"%d" % n * 800))
        await store.set_setting("server.cabinet", "http://a/")
    return path.read_bytes()


async def survives(path: Path) -> bool:
    """Open it as the agent does, accept and give out a record; tell whether anything was put aside."""
    async with Store(path, stand_in=True) as store:
        for _ in range(2):
            record = await store.put(urgent(at=1.0))
            assert not store.in_memory
            await store.next_record("cabinet")
            kept = {each.record.number for each in await store.records(100)}
            if record.number in kept:
                break  # otherwise the damage was met only now, and a new one begun
        assert record.number in kept
        assert await store.next_record("cabinet") is not None
        await store.books()
        await store.outages(0.0)
    return any(path.parent.glob("state.db.damaged-*Z"))


@pytest.mark.parametrize("seed", range(int(os.environ.get("SOAK_DAMAGES", "25"))))
async def test_flipped_bytes_and_truncation_never_keep_it_from_starting(tmp_path, seed):
    chance = random.Random(seed)
    path = tmp_path / "state.db"
    content = bytearray(await begun(path))
    if seed % 3 == 0:
        del content[chance.randrange(len(content)) :]
    for _ in range(chance.choice([0, 1, 10, 500])):
        if content:
            content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    path.write_bytes(content)
    await survives(path)


@pytest.mark.parametrize("place", [44, 56, 60, 63, 92, 96])
async def test_a_flipped_byte_in_the_header_does_not_keep_it_from_starting(tmp_path, place):
    path = tmp_path / "state.db"
    content = bytearray(await begun(path))
    content[place] ^= 0x7F
    path.write_bytes(content)
    await survives(path)


async def test_a_database_that_is_rubbish_is_put_aside_by_name(tmp_path):
    path = tmp_path / "state.db"
    path.write_bytes(random.Random(1).randbytes(50_000))
    assert await survives(path)
    (aside,) = path.parent.glob("state.db.damaged-*Z")
    assert len(aside.read_bytes()) == 50_000


async def test_a_database_of_the_first_version_is_carried_over(tmp_path):
    from gantry_agent.store.database import MIGRATIONS

    path = tmp_path / "state.db"
    old = sqlite3.connect(path)
    for statement in MIGRATIONS[0]:
        old.execute(statement)
    old.execute(
        "INSERT INTO records (channel, cabinet, urgent, taken_at, body, size) VALUES ('cabinet', 1, 1, 5.0, 'x', 1)"
    )
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()
    async with Store(path) as store:
        record = await store.next_record("cabinet")
        assert record
        assert record.taken_at == 5.0
        await balanced(store)


async def test_a_write_log_cut_at_any_sector_opens_and_holds_all_that_was_accepted_before_the_cut(tmp_path):
    """What a power cut leaves: the file as it was at the last checkpoint, and the log up to some sector."""
    path = tmp_path / "state.db"
    log = path.with_name("state.db-wal")
    sizes: list[int] = []
    async with Store(path) as store:
        for n in range(18):
            await store.put(status(at=n, body=b"x" * 3000), due=Due(600 * n, 600))
            sizes.append(log.stat().st_size)
        file, whole = path.read_bytes(), log.read_bytes()
    assert sizes == sorted(sizes)  # no checkpoint came between: each accepted record lies before its size in the log
    cuts = range(0, len(whole), 512) if "SOAK_DAMAGES" in os.environ else range(0, len(whole), 512 * 7)
    for number, cut in enumerate(cuts):
        there = tmp_path / f"cut{number}"
        there.mkdir()
        (there / "state.db").write_bytes(file)
        (there / "state.db-wal").write_bytes(whole[:cut])
        async with Store(there / "state.db") as store:
            numbers = {each.record.number for each in await store.records(100)}
            await balanced(store)
            spans = (await store.books()).spans
        accepted = sum(size <= cut for size in sizes)
        assert numbers >= set(range(1, accepted + 1)), cut
        assert len(numbers) <= accepted + 1
        assert sum((span.last - span.first) // 600 + 1 for span in spans) == len(numbers)
        assert not any(there.glob("*.damaged-*"))
