"""A damaged database: what can still be read is carried over and sent once, the rest is counted with its cause."""

import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ledger_rig import WRITER, CountingCloud, agent, ask_books, light_site
from support import eventually, free_ports

from gantry_agent.core import ledger
from gantry_agent.model import Due, Record
from gantry_agent.store import Bounds, Store
from gantry_agent.store.database import SIGNATURE
from gantry_agent.store.leaves import Leaves

pytestmark = [pytest.mark.system, pytest.mark.timeout(int(os.environ.get("SOAK_TIMEOUT_S", "120")))]

PAGE = 4096
COUNT, GONE = 150, 20  # records put, and of these delivered before the damage
HOW = ("header and root", "bytes", "version", "truncated")  # the agent's own database is damaged
SEEDS = range(int(os.environ.get("SOAK_DAMAGES", "24")))


def body(number: int) -> bytes:
    """Make a body of its own for each record; some lie in one page, some in three."""
    chance = random.Random(number)
    return json.dumps({"n": number, "fill": chance.randbytes(chance.choice([200, 1500, 4500])).hex()}).encode()


def status(number: int) -> Record:
    return Record("cabinet", number % 2 + 1, number % 5 == 0, 600.0 * number, body(number))


async def write(path: Path, count: int = COUNT) -> bytearray:
    async with Store(path, bounds=Bounds(records=10**5, size=10**9)) as store:
        await store.begin_stretch(0.0, "boot", {("cabinet", 1): (600, 0)})
        for number in range(1, count + 1):
            await store.put(status(number), told='{"fields":{}}', due=Due(600 * number, 600))
        for number in range(1, GONE + 1):
            await store.delivered(number)
        await store.seen(600.0 * count)
        await store.set_setting("interval_s.cabinet", "77")
        await store.remember("md5", "answer", 1e9)
    return bytearray(path.read_bytes())


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> bytes:
    return bytes(asyncio.run(write(tmp_path_factory.mktemp("written") / "state.db")))


def pages(content: bytes) -> dict[int, list[int]]:
    """Sort pages by their kind; 0 are overflow pages."""
    found: dict[int, list[int]] = {}
    for page in range(len(content) // PAGE):
        found.setdefault(content[page * PAGE + (100 if page == 0 else 0)], []).append(page)
    return found


def root(content: bytes, folder: Path, table: str) -> int:
    """Tell where the root page of a table begins."""
    path = folder / "look.db"
    path.write_bytes(content)
    connection = sqlite3.connect(path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    connection.close()
    return (page - 1) * PAGE


def damage(content: bytes, seed: int) -> bytes:
    """Truncate it, or flip one byte in a page of each kind in turn, or several anywhere."""
    chance, bad = random.Random(seed), bytearray(content)
    if seed % 4 == 0:
        return bytes(bad[: chance.randrange(len(bad))])
    if seed % 4 == 1:
        for _ in range(20):
            bad[chance.randrange(len(bad))] ^= chance.randrange(1, 256)
        return bytes(bad)
    by_kind = sorted(pages(content).items())
    _, of_kind = by_kind[seed // 4 % len(by_kind)]
    page = chance.choice(of_kind)
    place = chance.randrange(PAGE) if seed % 4 == 2 else (100 if page == 0 else 0) + chance.randrange(12)
    bad[page * PAGE + place] ^= chance.randrange(1, 256)
    return bytes(bad)


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_is_damaged_nothing_is_sent_twice_or_changed_and_the_books_balance(tmp_path, written, seed):
    path = tmp_path / "state.db"
    path.write_bytes(damage(written, seed))
    async with Store(path, stand_in=True) as store:
        for _ in range(2):  # damage may be met only now
            fresh = await store.put(status(0))
            await store.counts()
        assert fresh.number > COUNT
        sent = {}
        while record := await store.next_record("cabinet"):
            assert record.number not in sent
            sent[record.number] = record.body
            await store.delivered(record.number)
        counts, salvages = await store.counts(), await store.salvages()
        await store.books()
    old = {number: sent for number, sent in sent.items() if number <= COUNT}
    assert old == {number: body(number) for number in old}
    assert min(old, default=GONE + 1) > GONE
    if salvages and "tally" not in salvages[0].unread:
        assert counts.unaccounted == 0
        assert len(old) + counts.aside + counts.lost == COUNT - GONE
    if seed % 4:
        assert len(old) >= (COUNT - GONE) * 0.85  # 20 flipped bytes are at most as many records


@pytest.mark.parametrize("page_byte", [3, 5, 8, 9, 12, 15])
async def test_a_flipped_byte_in_the_root_of_the_records_costs_none_of_them(tmp_path, written, page_byte, caplog):
    path = tmp_path / "state.db"
    bad = bytearray(written)
    bad[root(written, tmp_path, "records") + page_byte] ^= 0x41
    path.write_bytes(bad)
    async with Store(path) as store:
        numbers = {each.record.number: each.record.body for each in await store.records(1000)}
        assert numbers == {number: body(number) for number in range(GONE + 1, COUNT + 1)}
        assert await store.settings() == {"interval_s.cabinet": "77"}
        assert await store.told() == {1: '{"fields":{}}', 2: '{"fields":{}}'}
        assert await store.recall("md5", 0.0) == "answer"
    assert f"{COUNT - GONE} records were carried over, 0 could not be read" in caplog.text


@pytest.mark.parametrize("version", [3, 7, 60, 99, 255])
async def test_a_flipped_version_is_damage_and_no_newer_agents_file(tmp_path, written, version):
    path = tmp_path / "state.db"
    bad = bytearray(written)
    assert bad[63] == bad[71] == int.from_bytes(bad[68:72]) - SIGNATURE != version
    bad[63] = version
    path.write_bytes(bad)
    async with Store(path) as store:
        (salvaged,) = await store.salvages()
        assert (salvaged.saved, salvaged.lost, salvaged.unread) == (COUNT - GONE, 0, ())
        assert (await store.put(status(0))).number == COUNT + 1  # as if nothing had been


async def test_what_of_the_ledger_cannot_be_read_is_explained_by_the_damage(tmp_path, written):
    path = tmp_path / "state.db"
    bad, place = bytearray(written), root(written, tmp_path, "accounts")
    bad[place : place + PAGE] = b"\xa5" * PAGE
    path.write_bytes(bad)
    async with Store(path) as store:
        assert (await store.salvages())[0].unread == ("accounts",)
        gaps = ledger.gaps(await store.books(), 0.0, 600.0 * COUNT, running=False)
        assert {gap.cause for gap in gaps} == {ledger.DAMAGED}
        assert (await store.counts()).lost == 0


async def test_what_is_in_the_log_of_a_damaged_file_is_carried_over_too(tmp_path):
    path, there = tmp_path / "state.db", tmp_path / "there"
    there.mkdir()
    async with Store(path) as store:
        for number in range(1, 41):
            await store.put(status(number))
        for part in ("", "-wal"):
            (there / f"state.db{part}").write_bytes(path.with_name(f"state.db{part}").read_bytes())
    copy = bytearray((there / "state.db").read_bytes())
    copy[0:100] = b"\xa5" * 100
    (there / "state.db").write_bytes(copy)
    async with Store(there / "state.db") as store:
        assert {each.record.number for each in await store.records()} == set(range(1, 41))


async def test_rows_are_found_by_their_pages_alone_as_sqlite_reads_them(tmp_path, written):
    path = tmp_path / "state.db"
    path.write_bytes(written)
    leaves, found = Leaves(path), {}
    for number, place in leaves.find(range(GONE + 1, COUNT + 1), time.monotonic() + 10):
        row = leaves.row(place)
        if row and len(row) == 11 and row[5] == body(number):
            found[number] = row[3:5]
    leaves.close()
    assert found == {n: [status(n).urgent, status(n).taken_at] for n in range(GONE + 1, COUNT + 1)}


async def test_killed_while_it_carries_over_it_goes_on_where_it_stopped(tmp_path):
    chance, count, kills = random.Random(2), 1200, int(os.environ.get("SOAK_SALVAGE_KILLS", "3"))
    path = tmp_path / "state.db"
    bad = await write(path, count)
    bad[100:110] = b"\xa5" * 10
    path.write_bytes(bad)
    (port,) = free_ports(1)
    cloud = CountingCloud(port)
    cloud.up()
    small_slices = "from gantry_agent.store import database\ndatabase.FIRST_S = database.SLICE_S = 0.01\n"
    command = [sys.executable, "-c", small_slices + WRITER, str(path), f"http://127.0.0.1:{port}/"]
    accepted = set()
    for _ in range(kills):
        writer = subprocess.Popen([*command, "-1"], stdout=subprocess.PIPE, text=True)
        assert writer.stdout
        accepted.add(writer.stdout.readline().strip())  # which does not wait for all to be carried over
        time.sleep(chance.uniform(0, 0.1))
        writer.kill()
        accepted.update(writer.communicate(timeout=30)[0].split("\n")[:-1])
    last = subprocess.Popen([*command, "1"], stdout=subprocess.PIPE, text=True)
    try:
        said, _ = last.communicate(timeout=90)
    finally:
        last.kill()
        last.wait()
        cloud.down()
    assert "drained 0 0" in said
    async with Store(path, readonly=True) as store:
        (salvaged,) = await store.salvages()
    assert (salvaged.saved, salvaged.lost, salvaged.done) == (count - GONE, 0, True)  # none a second time
    old = [document["n"] for _, _, document in cloud.came if "pid" not in document]
    assert sorted(set(old)) == list(range(GONE + 1, count + 1))
    assert not accepted - {""} - set(cloud.bodies)
    assert cloud.doubled <= kills
    print(f"{kills} kills while {count - GONE} records were carried over: 0 lost, {cloud.doubled} delivered twice")


@pytest.mark.parametrize("how", HOW if "SOAK_DAMAGES" in os.environ else HOW[:2])
async def test_the_agent_on_a_damaged_database_reports_at_once_and_sends_what_had_waited(tmp_path, how):
    port, control = free_ports(2)
    site, cloud = light_site(tmp_path, port, control), CountingCloud(port)
    path = tmp_path / "state" / "agent.db"
    bad, chance = await write(path), random.Random(9)
    match how:  # of HOW
        case "header and root":
            bad[2] ^= 0x10
            bad[root(bytes(path.read_bytes()), tmp_path, "records") + 3] ^= 0x01
        case "version":
            bad[63] = 77
        case "truncated":
            del bad[len(bad) * 3 // 4 :]
        case "bytes":
            for _ in range(40):
                bad[chance.randrange(len(bad))] ^= 0x5A
    path.write_bytes(bad)
    cloud.up()
    began = time.monotonic()
    process = agent(site)
    try:
        eventually(lambda: cloud.of("cabinetStatusUpdate"), 60, "a status")
        status_s = time.monotonic() - began
        eventually(lambda: "waiting: 0" in ask_books(site)[1], 30, "an empty outbox")
        told, gaps = ask_books(site)[1], ask_books(site, "gaps", "--since", "30d")
    finally:
        assert process.stop() == 0
        cloud.down()
    old = [document["n"] for _, _, document in cloud.came if "n" in document]
    print(f"{how}: status {status_s:.1f} s after the start; {len(old)} of {COUNT - GONE} old records sent")
    assert len(old) == len(set(old))
    assert len(old) >= (COUNT - GONE) * (0.3 if how == "truncated" else 0.6)
    assert "the state database was damaged" in told
    assert gaps[1].splitlines()[0] == "0 unexplained"
    if how in {"header and root", "version"}:
        assert len(old) == COUNT - GONE
        async with Store(path, readonly=True) as store:
            assert (await store.settings())["interval_s.cabinet"] == "77"
