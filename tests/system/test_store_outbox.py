"""The outbox on a real file: order, what leaves it, what is dropped when it is full, what survives."""

import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gantry_agent.model import Record
from gantry_agent.store import Bounds, Store, StoreFault
from gantry_agent.store.database import SIGNATURE

pytestmark = pytest.mark.system


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "state.db"


def status(cabinet: int = 1, at: float = 0.0, body: bytes = b"{}") -> Record:
    return Record("cabinet", cabinet, False, at, body)


def urgent(cabinet: int = 1, at: float = 0.0) -> Record:
    return Record("cabinet", cabinet, True, at, b"{}")


async def drain(store: Store) -> list[int]:
    numbers = []
    while record := await store.next_record("cabinet"):
        numbers.append(record.number)
        await store.delivered(record.number)
    return numbers


async def test_events_go_first_then_the_newest_status_of_each_cabinet_then_older_ones(path):
    async with Store(path) as store:
        for record in (status(1), status(1), urgent(2), status(2), status(1), urgent(1), status(1)):
            await store.put(record)
        assert await drain(store) == [3, 6, 7, 4, 5, 2, 1]


async def test_a_status_older_than_a_delivered_event_of_its_cabinet_is_an_older_one(path):
    async with Store(path) as store:
        await store.put(status(1))
        await store.put(urgent(1))
        await store.put(status(2))
        assert await drain(store) == [2, 3, 1]


async def test_the_newest_status_of_a_quiet_cabinet_precedes_the_backlog_of_a_busy_one(path):
    async with Store(path) as store:
        for cabinet in (2, 1, 1, 1):
            await store.put(status(cabinet))
        assert await drain(store) == [4, 1, 3, 2]


async def test_channels_do_not_mix(path):
    async with Store(path) as store:
        await store.put(Record("computer", 0, False, 1.0, b"[]"))
        assert await store.next_record("cabinet") is None
        record = await store.next_record("computer")
        assert record == Record("computer", 0, False, 1.0, b"[]", 1)


async def test_records_can_be_left_out_of_the_choice(path):
    async with Store(path) as store:
        for record in (urgent(), urgent(), status()):
            await store.put(record)
        assert (await store.next_record("cabinet", {1})).number == 2
        assert (await store.next_record("cabinet", [1, 2])).number == 3
        assert await store.next_record("cabinet", [1, 2, 3]) is None
        assert (await store.newest_record("cabinet")).number == 3
        assert (await store.newest_record("cabinet", [3])).number == 2


async def test_a_record_set_aside_is_kept_with_the_answer_and_never_in_the_way(path):
    async with Store(path) as store:
        await store.put(urgent())
        await store.put(status(at=5.0))
        await store.set_aside(1, "1002", "参数有误: ups" + "x" * 5000)
        assert (await store.next_record("cabinet")).number == 2
        counts = await store.counts()
        assert (counts.waiting, counts.urgent, counts.aside, counts.lost, counts.oldest_taken_at) == (1, 0, 1, 0, 5.0)
        newest, oldest = await store.records(10)
        assert (newest.record.number, newest.aside) == (2, False)
        assert (oldest.record.number, oldest.aside, oldest.code) == (1, True, "1002")
        assert oldest.answer.startswith("参数有误: ups")
        assert await store.requeue(1)
        assert not await store.requeue(1)
        assert (await store.next_record("cabinet")).number == 1


async def test_what_a_person_discards_is_counted(path):
    async with Store(path) as store:
        await store.put(urgent(at=7.0))
        assert await store.discard(1)
        assert not await store.discard(1)
        (loss,) = await store.losses()
        assert (loss.cause, loss.urgent, loss.count, loss.first_taken_at) == ("discarded", True, 1, 7.0)


async def test_when_it_is_full_what_will_never_pass_goes_first_then_old_statuses_and_events_last(path):
    async with Store(path, bounds=Bounds(records=4)) as store:
        for record in (urgent(), status(), status(), status()):
            await store.put(record)
        await store.set_aside(4, "1002", "")
        expected = [{1, 2, 3, 5}, {1, 3, 5, 6}, {1, 5, 6, 7}, {1, 6, 7, 8}]
        for kept in expected:
            await store.put(urgent() if kept == {1, 6, 7, 8} else status())
            assert {each.record.number for each in await store.records()} == kept
        for _ in range(3):
            await store.put(urgent())
        assert {each.record.number for each in await store.records()} == {8, 9, 10, 11}
        losses = {(loss.cause, loss.urgent): loss.count for loss in await store.losses()}
        assert losses == {("too many records", False): 6, ("too many records", True): 1}
        assert (await store.counts()).lost == 7


async def test_the_bodies_are_bounded_too_but_the_record_just_put_stays(path):
    async with Store(path, bounds=Bounds(size=100)) as store:
        await store.put(status(body=b"x" * 60))
        await store.put(status(body=b"x" * 60))
        await store.put(status(body=b"x" * 1000))
        assert [each.record.number for each in await store.records()] == [3]
        assert [loss.cause for loss in await store.losses()] == ["too many bytes"]


async def test_all_is_there_again_after_a_restart_and_numbers_are_never_used_twice(path):
    async with Store(path) as store:
        await store.put(urgent(at=1.25))
        await store.put(status())
        await store.delivered(2)
        await store.set_setting("server.cabinet", "http://x/")
        await store.set_setting("gone", "1")
        await store.set_setting("gone", None)
        await store.remember("md5", '{"code":"1000"}', 100.0)
    async with Store(path) as store:
        assert await store.next_record("cabinet") == Record("cabinet", 1, True, 1.25, b"{}", 1)
        assert (await store.put(status())).number == 3
        assert await store.settings() == {"server.cabinet": "http://x/"}
        assert await store.recall("md5", 100.0) == '{"code":"1000"}'
        assert await store.recall("md5", 100.1) is None
        assert await store.recall("other", 0.0) is None


async def test_old_answers_are_forgotten(path):
    async with Store(path) as store:
        await store.remember("old", "1", 0.0)
        await store.remember("new", "2", 1_000_000.0)
        assert await store.recall("old", 0.0) is None
        assert await store.recall("new", 0.0) == "2"


async def test_the_file_is_not_for_everybody(path):
    async with Store(path) as store:
        await store.put(status())
        for each in path.parent.iterdir():
            assert not stat.S_IMODE(each.stat().st_mode) & 0o027, each


async def test_it_can_be_looked_at_beside_a_running_agent_and_after_it(path):
    async with Store(path) as store:
        await store.put(status())
        async with Store(path, readonly=True) as view:
            assert (await view.counts()).waiting == 1
            with pytest.raises(StoreFault, match="cannot use"):
                await view.put(status())
    async with Store(path, readonly=True) as view:
        assert (await view.counts()).waiting == 1


async def test_looking_at_what_is_not_there_makes_nothing(path):
    with pytest.raises(StoreFault, match="cannot open"):
        async with Store(path, readonly=True):
            pass
    assert not path.parent.exists()


@pytest.mark.parametrize("place", [0, 16, 100, 4096])
async def test_a_damaged_file_is_kept_by_another_name_and_a_new_one_begun(path, place, caplog):
    async with Store(path) as store:
        for _ in range(20):
            await store.put(status(body=b"x" * 1000))
    content = bytearray(path.read_bytes())
    content[place : place + 300] = b"\xa5" * 300
    path.write_bytes(content)
    async with Store(path) as store:
        (saved,) = await store.salvages()
        assert (saved.saved, saved.lost) == (20, 0) if place < 4096 else saved.saved + saved.lost == 20
        assert (await store.put(status())).number > 20
        counts = await store.counts()
        assert (counts.waiting, counts.lost, counts.unaccounted) == (saved.saved + 1, saved.lost, 0)
    (aside,) = path.parent.glob("state.db.damaged-*Z")
    assert aside.read_bytes() == content
    assert aside.name in caplog.text


async def test_damage_met_while_running_does_not_stop_the_agent(path):
    async with Store(path) as store:
        for _ in range(1000):  # more than SQLite keeps in memory
            await store.put(status(body=b"x" * 3500))
    size = path.stat().st_size
    async with Store(path) as store:
        with path.open("r+b") as file:  # the disk forgets, behind SQLite's back
            file.seek(4096)
            file.write(b"\xa5" * (size - 4096))
        assert await store.records(1000) == ()
        assert (await store.put(status())).number > 1000
        assert [loss.cause for loss in await store.losses()] == ["database damaged"]


async def test_only_a_few_damaged_files_are_kept(path):
    for number in range(5):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not a database %d" % number * 100)
        async with Store(path):
            pass
    kept = sorted(path.parent.glob("state.db.damaged-*Z"))
    assert [each.read_bytes()[15:16] for each in kept] == [b"2", b"3", b"4"]


async def test_a_file_of_a_newer_version_is_refused_and_left_alone(path):
    async with Store(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.execute(f"PRAGMA application_id = {SIGNATURE + 99}")
    connection.close()
    with pytest.raises(StoreFault, match="newer version"):
        async with Store(path):
            pass
    assert [each.name for each in path.parent.iterdir()] == ["state.db"]


async def test_a_path_that_cannot_be_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFault, match="cannot open"):
        async with Store(tmp_path / "file" / "state.db"):
            pass


WRITER = """
import asyncio, sys
from pathlib import Path
from gantry_agent.model import Record
from gantry_agent.store import Store

async def main():
    async with Store(Path(sys.argv[1])) as store:
        while True:
            record = await store.put(Record("cabinet", 1, False, 0.0, b"x" * 3000))
            print(record.number, flush=True)
            if record.number % 3 == 0:
                await store.delivered(record.number)
                print(-record.number, flush=True)

asyncio.run(main())
"""


async def test_what_was_accepted_is_there_after_a_kill_in_the_middle_of_writing(path):
    accepted: set[int] = set()
    gone: set[int] = set()
    for _ in range(20):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout
        assert writer.stdout.readline()  # it writes
        time.sleep(random.uniform(0, 0.03))
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate(timeout=30)
        told = [int(line) for line in rest.split("\n")[:-1]]
        accepted |= {number for number in told if number > 0}
        gone |= {-number for number in told if number < 0}
        async with Store(path) as store:
            kept = {each.record.number for each in await store.records(100_000)}
            assert not await store.losses()
        assert accepted - gone - kept <= {number for number in accepted if number % 3 == 0}
        assert not gone & kept
    assert len(accepted) > 20
