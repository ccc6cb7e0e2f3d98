"""The album: what is kept, found, bounded, and what a crash, a stranger's file or a full disk does to it."""

import asyncio
import os
import subprocess
from zoneinfo import ZoneInfo

import pytest

from gantry_agent.media.album import Album, Bounds, Opening, instant
from gantry_agent.media.trouble import KeepFault

ZONE = ZoneInfo("Asia/Shanghai")
OPENED = Opening(1, "front", "20191128141101321")


def album(folder, max_bytes=1000, max_s=90 * 86_400.0, spare_bytes=0) -> Album:
    return Album(folder / "media", ZONE, Bounds(max_bytes, max_s), spare_bytes)


def at(k: int, side="front", cabinet=1) -> Opening:
    return Opening(cabinet, side, f"201911281411{k:02d}000")


def kept(folder) -> list[str]:
    return sorted(str(path.relative_to(folder / "media")) for path in (folder / "media").rglob("*") if path.is_file())


async def test_a_capture_is_a_file_by_cabinet_door_and_time_and_is_found_by_a_later_run(tmp_path):
    path = await album(tmp_path).keep(OPENED, ".jpg", b"picture")
    assert path == tmp_path / "media/1/front/20191128141101321.jpg"
    assert path.read_bytes() == b"picture"
    assert path.stat().st_mode & 0o777 == 0o640
    later = album(tmp_path)
    assert await later.openings(1) == (OPENED,)
    assert await later.openings(2) == ()
    assert await later.best(OPENED) == path


async def test_the_clip_is_given_before_the_picture(tmp_path):
    mine = album(tmp_path)
    await mine.keep(OPENED, ".jpg", b"picture")
    await mine.keep(OPENED, ".avi", b"clip")
    assert (await mine.best(OPENED)).suffix == ".avi"
    assert await mine.openings(1) == (OPENED,)


async def test_the_size_is_bounded_and_the_oldest_go_first(tmp_path):
    mine = album(tmp_path, 1000)
    for k in range(30):
        await mine.keep(at(k), ".jpg", bytes(100))
        assert sum(path.stat().st_size for path in (tmp_path / "media").rglob("*.jpg")) <= 1000
    assert kept(tmp_path) == [f"1/front/201911281411{k:02d}000.jpg" for k in range(20, 30)]


async def test_a_door_that_flaps_costs_another_door_nothing(tmp_path):
    mine = album(tmp_path, 1000)
    for k in range(3):
        await mine.keep(at(k, "back"), ".jpg", bytes(100))
    for k in range(3, 50):
        await mine.keep(at(k), ".jpg", bytes(100))
    assert [name for name in kept(tmp_path) if "back" in name] == [
        f"1/back/201911281411{k:02d}000.jpg" for k in range(3)
    ]
    assert len(kept(tmp_path)) == 10


async def test_what_is_too_old_goes(tmp_path):
    mine = album(tmp_path, max_s=60.0)
    for k in (10, 50):
        await mine.keep(at(k), ".jpg", b"x")
    now = instant(at(50).stamp, ZONE)
    assert await mine.forget_too_old(now + 30) == 1
    assert kept(tmp_path) == ["1/front/20191128141150000.jpg"]


async def test_what_a_kill_left_is_deleted_and_what_strangers_left_is_not_taken_for_a_capture(tmp_path):
    mine = album(tmp_path)
    path = await mine.keep(OPENED, ".jpg", b"x")
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    (path.parent / "20191128141101322.jpg").symlink_to(secret)
    for name in (".20191128141101999.jpg.part", "README", "2019.jpg", "20191128141101321.exe"):
        (path.parent / name).write_bytes(b"y")
    (tmp_path / "media" / "etc").mkdir()
    (tmp_path / "media" / "2").write_text("no folder")
    await mine.tidy()
    assert await mine.openings(1) == (OPENED,)
    assert await mine.openings(2) == ()
    assert not list(path.parent.glob(".*"))


async def test_a_disk_without_room_takes_no_capture_and_keeps_what_it_has(tmp_path):
    folder = tmp_path / "media"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        mine = album(tmp_path, 10**9)
        await mine.keep(OPENED, ".jpg", bytes(200_000))
        with pytest.raises(KeepFault, match="No space left"):
            await mine.keep(at(5, "back"), ".avi", bytes(2_000_000))
        assert not list(folder.rglob("*.part")), "nothing half written stays"
        small = album(tmp_path, 10**9, spare_bytes=700_000)  # of which the outbox is to have so much
        for k in range(20):
            await small.keep(at(k, "back"), ".jpg", bytes(100_000))
        disk = os.statvfs(folder)
        assert disk.f_bavail * disk.f_frsize >= 600_000, "the newest take the place of the oldest"
        assert kept(tmp_path)[-1] == "1/back/20191128141119000.jpg"
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", "-l", str(folder)], check=True)
