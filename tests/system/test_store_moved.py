"""The state database removed or replaced while it is open: what it held is in a file of its name again."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from ledger_rig import CountingCloud, agent, light_site
from support import Process, free_ports, order, python

from gantry_agent.model import Record
from gantry_agent.store import Store

pytestmark = pytest.mark.system


def remove(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def remove_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def replace(path: Path) -> None:
    """Put another database in its place, with another log beside it."""
    remove(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE other (x)")
    connection.execute("INSERT INTO other VALUES (1)")
    connection.commit()
    connection.close()


def rename(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def status(n: int) -> Record:
    return Record("cabinet", 1, False, float(n), b"%d" % n * 500)


@pytest.mark.parametrize("how", [remove, remove_folder, remove_log, replace, rename])
async def test_what_was_accepted_before_and_after_is_in_the_file_again(tmp_path, how, caplog):
    path = tmp_path / "state" / "state.db"
    async with Store(path, stand_in=True) as store:
        numbers = [(await store.put(status(n))).number for n in range(30)]
        await store.delivered(numbers.pop())
        how(path)
        await store.set_setting("interval_s.cabinet", "77")
        assert not store.in_memory
        numbers.append((await store.put(status(30))).number)
        async with Store(path, readonly=True) as view:  # as a start after a power cut now would find it
            assert {each.record.number for each in await view.records(100)} == set(numbers)
            assert (await view.settings())["interval_s.cabinet"] == "77"
            assert (await view.counts()).unaccounted == 0
        assert (await store.put(status(31))).number == 32
    async with Store(path) as store:
        assert len(await store.records(100)) == 31
        assert await store.salvages() == ()
    assert caplog.text.count("was removed or replaced while it is open") == 1
    foreign = [each for each in path.parent.glob("state.db.foreign-*Z") if each.stat().st_size]
    assert len(foreign) == (how in {replace, remove_log})


async def test_one_that_is_removed_while_nothing_is_written_is_there_again_after_the_end(tmp_path):
    path = tmp_path / "state.db"
    async with Store(path) as store:
        await store.put(status(1))
        remove(path)
    async with Store(path) as store:
        assert len(await store.records()) == 1


async def test_when_it_cannot_be_written_anew_either_memory_stands_in_and_the_open_file_is_not_let_go(tmp_path):
    path = tmp_path / "state" / "state.db"
    async with Store(path, stand_in=True) as store:
        for n in range(1200):  # more than memory takes along
            await store.put(status(n))
        remove_folder(path)
        path.parent.write_text("")  # no folder can be made here
        await store.set_setting("interval_s.cabinet", "77")
        assert store.in_memory
        store._database.stand_in.try_at_once()
        await store.put(status(1200))
        assert store.in_memory
        path.parent.unlink()
        store._database.stand_in.try_at_once()
        await store.put(status(1201))
        assert not store.in_memory
        async with Store(path, readonly=True) as view:
            assert len(await view.records(2000)) == 1202
            assert (await view.settings())["interval_s.cabinet"] == "77"


async def test_a_process_that_ended_just_before_it_was_in_place_leaves_it_to_the_next(tmp_path):
    path = tmp_path / "state.db"
    async with Store(path) as store:
        await store.put(status(1))
    path.rename(path.with_name("state.db.rescued"))
    async with Store(path) as store:
        assert len(await store.records()) == 1


def test_a_setting_that_the_agent_answered_with_1000_outlives_its_database_and_a_kill(tmp_path):
    port, control = free_ports(2)
    site, cloud = light_site(tmp_path, port, control), CountingCloud(port)
    cloud.up()
    process = agent(site)
    try:
        remove(tmp_path / "state" / "agent.db")
        assert order(control, "cabinetControl", {"setFrequency": "77"})["code"] == "1000"
    finally:
        process.kill()
    state = Process(*python("gantry_agent", "state", "-c", str(site)))
    assert state.wait(20) == 0
    state.stop()
    cloud.down()
    assert "interval_s.cabinet = 77" in state.output
    assert "was removed or replaced while it is open" in process.output
