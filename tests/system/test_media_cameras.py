"""One camera and its client on a real wire: logins, everything a camera can do wrong, curl, and hostile questions."""

import asyncio
import contextlib
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiohttp import web
from camera_rig import PASSWORD, media_request, shown, told
from cloud_site import SITE, signed
from control_rig import LOCAL, opened
from support import free_ports

from gantry_agent.cloud.media import Envelopes, send
from gantry_agent.core.monitor import Layout, begin
from gantry_agent.media import Bounds, Capturer, Settings, snapshot
from gantry_agent.media import capturer as capturing
from gantry_agent.media.mjpeg import Mjpeg
from gantry_agent.media.stream import Stream
from gantry_agent.media.trouble import CameraFault
from gantry_agent.model import Camera, Capture, Event, Reading, Role
from gantry_agent.store import Store
from hwsim.site import CameraSpec
from hwsim.wires.camera import KINDS, Cameras

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]

NAME = "1 front"


@contextlib.asynccontextmanager
async def camera(user="admin"):
    (port,) = free_ports(1)
    urls = f"http://127.0.0.1:{port}/picture?channel=101", f"http://127.0.0.1:{port}/live"
    async with Cameras([CameraSpec(1, "front", *urls, user, PASSWORD if user else "")]) as simulated:
        yield simulated, Camera(1, "front", *urls, user, PASSWORD if user else "")


# --- logins ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("auth", ["digest", "basic", "none"])
async def test_a_picture_comes_whatever_login_the_camera_wants(auth):
    async with camera() as (simulated, asked):
        simulated.behave({"camera": NAME, "auth": auth})
        for _ in range(2):
            suffix, content = await snapshot.take(asked)
            [(cabinet, side, at)] = await asyncio.to_thread(shown, content)
            assert (suffix, cabinet, side) == (".jpg", 1, "front")
            assert abs(at - time.time()) < 1


@pytest.mark.parametrize("auth", ["digest", "basic"])
async def test_a_wrong_password_is_told_without_it_and_is_not_tried_for_ever(auth):
    async with camera() as (simulated, asked):
        simulated.behave({"camera": NAME, "auth": auth})
        wrong = Camera(1, "front", asked.snapshot, None, "admin", "guessed")
        with pytest.raises(CameraFault, match="does not accept the user and password"):
            await snapshot.take(wrong)
        nobody = Camera(1, "front", asked.snapshot, None)
        with pytest.raises(CameraFault, match="wants a user and password"):
            await snapshot.take(nobody)
        assert simulated.manners[NAME].asked <= 3


@pytest.mark.parametrize("scheme", ["--digest", "--basic"])
async def test_curl_is_let_in_by_the_simulated_camera_with_the_right_password_only(scheme):
    async with camera() as (simulated, asked):
        simulated.behave({"camera": NAME, "auth": scheme.removeprefix("--")})
        for password, status in ((PASSWORD, "200"), ("guessed", "401")):
            command = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", scheme, "-u", f"admin:{password}")
            ran = await asyncio.to_thread(subprocess.run, (*command, asked.snapshot), capture_output=True, timeout=10)
            assert ran.stdout.decode() == status


# --- what a camera can do wrong ---------------------------------------------------------------------------------------

SAID = {
    "hang": "no picture within 1 s",
    "slow": "no picture within 1 s",
    "401": "does not accept",
    "500": "it answers 500",
    "half": "no whole JPEG",
    "cut": "Client",
    "garbage": "no whole JPEG",
    "huge": "more than 8388608 bytes",
    "redirect": "sends elsewhere",
    "html": "no whole JPEG",
}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"frozen"}))
async def test_each_fault_of_a_camera_is_a_fault_that_says_what_came_and_no_url(kind):
    async with camera() as (simulated, asked):
        reached = []
        other = await asyncio.start_server(lambda _r, w: (reached.append(1), w.close()), "127.0.0.1", 0)
        elsewhere = f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}/"
        simulated.behave({"camera": NAME, "kind": kind, "elsewhere": elsewhere})
        began = time.monotonic()
        with pytest.raises(CameraFault) as caught:
            await snapshot.take(asked, 1.0)
        other.close()
        assert time.monotonic() - began < 2
        assert SAID[kind] in str(caught.value)
        assert "127.0.0.1" not in str(caught.value)
        assert not reached, "a redirect is not followed"
        simulated.behave({"camera": NAME})
        await snapshot.take(asked)


async def test_a_camera_that_is_not_there_is_told_in_few_words():
    (port,) = free_ports(1)
    with pytest.raises(CameraFault, match=r"^\w+: Connect call failed|^ClientConnectorError"):
        await snapshot.take(Camera(1, "front", f"http://127.0.0.1:{port}/secret?pwd=x", None))


async def test_a_stream_that_stops_is_taken_up_again_and_its_clip_has_what_came(caplog):
    caplog.set_level("INFO")
    async with camera() as (simulated, asked):
        stream = Stream(asked, Mjpeg(0.5), 1.0, 0.2)
        running = asyncio.create_task(stream.run())
        await asyncio.sleep(0.6)
        simulated.behave({"camera": NAME, "kind": "frozen"})
        await asyncio.sleep(0.8)
        simulated.behave({"camera": NAME})
        await asyncio.sleep(1.6)
        suffix, content = await stream.clip(time.monotonic())
        times = [at for _, _, at in await asyncio.to_thread(shown, content)]
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert suffix == ".avi"
    assert len(times) >= 8
    assert times == sorted(times)
    said = [record.getMessage() for record in caplog.records if "stream of" in record.getMessage()]
    assert said[0].endswith("nothing came for 0.5 s")
    assert "works again after" in said[1]


# --- the door, the capturer, the question -----------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def capturer(folder: Path, cameras, **settings):
    async with asyncio.TaskGroup() as group:
        given = Settings(Bounds(), **settings)
        mine = Capturer(
            cameras, given, folder / "media", SITE.timezone, lambda name, work: group.create_task(work, name=name)
        )
        yield mine
        for task in list(mine._running.values()):
            task.cancel()


def opening(at: float) -> tuple[list[Event], object]:
    """What the watcher says when the front door of cabinet 1 opens."""
    role = Role(1, "doors")
    watch = begin(SITE, Layout({"1.io": frozenset({(role, "frontDoorClosed")})}, 3))
    entries = watch.snapshots[1].entries
    entries[role]["frontDoorChangeTime"] = Reading(at, at=at)
    return [Event(role, "frontDoorClosed", Reading(1), Reading(0, at=at), at)], watch


async def test_a_camera_that_fails_for_a_moment_is_asked_again(tmp_path):
    async with camera() as (simulated, asked), capturer(tmp_path, [Camera(1, "front", asked.snapshot, None)]) as mine:
        simulated.behave({"camera": NAME, "kind": "500", "count": 1, "auth": "none"})
        at = time.time()
        mine.note(*opening(at))
        found = await mine.find(1, at)
        assert found is not None
        [(_, _, seen)] = await asyncio.to_thread(shown, found.path.read_bytes())
        assert 0.4 < seen - at < 3


async def test_noting_an_opening_takes_no_time_whatever_the_camera_does(tmp_path):
    async with camera() as (simulated, asked), capturer(tmp_path, [asked]) as mine:
        simulated.behave({"camera": NAME, "kind": "hang"})
        events, watch = opening(time.time())
        began = time.perf_counter()
        mine.note(events, watch)
        assert time.perf_counter() - began < 0.01


async def test_a_door_that_flaps_a_hundred_times_is_captured_ten_times_and_the_log_says_so(tmp_path, caplog):
    async with camera() as (simulated, asked), capturer(tmp_path, [Camera(1, "front", asked.snapshot, None)]) as mine:
        simulated.behave({"camera": NAME, "auth": "none"})
        now = time.time()
        for k in range(100):
            mine.note(*opening(now + k / 10))
        for running in list(mine._running.values()):
            await running
    assert len(list(tmp_path.rglob("*.jpg"))) == capturing.BURST
    assert sum("opens too often" in record.getMessage() for record in caplog.records) == 1


async def test_a_disk_that_takes_nothing_is_told_once_and_ends_with_the_disk(tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "media").write_text("where the folder should be")
    async with camera("") as (_, asked), capturer(tmp_path, [Camera(1, "front", asked.snapshot, None)]) as mine:
        for k in range(4):
            if k == 3:
                (tmp_path / "media").unlink()
            at = time.time()
            mine.note(*opening(at))
            assert (await mine.find(1, at) is not None) == (k == 3)
            await asyncio.sleep(0.01)
    said = [record.getMessage() for record in caplog.records if "keeping pictures" in record.getMessage()]
    assert len(said) == 2, said
    assert "cannot use" in said[0]
    assert "works again after" in said[1]


async def test_the_nearest_opening_within_the_tolerance_is_found_and_no_other(tmp_path):
    async with capturer(tmp_path, []) as mine:
        base = float(int(time.time()))
        for at in (base, base + 3):
            await mine.album.keep(capturing.Opening(1, "front", capturing.stamp(at, mine._zone)), ".jpg", b"x")
        await mine.album.keep(capturing.Opening(1, "back", capturing.stamp(base + 1, mine._zone)), ".jpg", b"x")
        for asked, expected in ((0, 0), (0.4, 0), (0.6, 1), (2.1, 3), (5.0, 3), (5.1, None), (-2.0, 0), (-2.1, None)):
            found = await mine.find(1, base + asked)
            assert (found.stamp if found else None) == (
                None if expected is None else capturing.stamp(base + expected, mine._zone)
            ), asked
        assert await mine.find(2, base) is None


async def test_a_caller_that_takes_nothing_is_cut_off_and_the_file_closed(tmp_path, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "20191128141101321.mp4"
    with path.open("wb") as file:
        file.truncate(60_000_000)
    enclosure = await Envelopes("G1").enclose(Capture(path, path.stem))
    assert enclosure is not None
    answered = asyncio.Event()

    async def respond(request: web.Request) -> web.StreamResponse:
        try:
            return await send(request, enclosure, "auth", 0.3)
        finally:
            answered.set()

    app = web.Application()
    app.router.add_get("/", respond)
    runner = web.AppRunner(app)
    await runner.setup()
    serving = web.TCPSite(runner, "127.0.0.1", 0)
    await serving.start()
    with socket.create_connection(("127.0.0.1", runner.addresses[0][1])) as lazy:
        lazy.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(5):
            await answered.wait()
    await runner.cleanup()
    assert enclosure.file.closed
    assert any("did not take G1_20191128141101321.mp4 to its end" in one.getMessage() for one in caplog.records)


# --- hostile questions ----------------------------------------------------------------------------------------------

WATCH: list[str] | None = None  # the files that were touched, while it is a list


def _touched(event: str, arguments: tuple[object, ...]) -> None:
    if WATCH is not None and event in {"open", "os.scandir", "os.listdir", "os.remove", "os.rename", "os.mkdir"}:
        WATCH.append(str(arguments[0]))


def hostile(chance: random.Random) -> object:
    good = told(chance.uniform(0, 4e9))
    pieces = [
        "../",
        "..\\",
        "/etc/passwd",
        "\0",
        "%2e%2e%2f",
        "2019-11-28 14:11:01.321",
        "*",
        "1/front/",
        "\u202e",
        "٢",
        ".",
    ]
    return chance.choice(
        (
            lambda: good,
            lambda: "".join(chance.choices(pieces, k=chance.randint(1, 5))),
            lambda: good.replace("-", chance.choice(("/", "../", "\\", "")), 1),
            lambda: good + chance.choice(("\n", "/..", "\0.jpg", " ")),
            lambda: good[: chance.randint(0, 23)] + chr(chance.randint(1, 0xD7FF)) + good[chance.randint(0, 23) :],
            lambda: chance.choice((None, True, 5, -1, 1e300, [], {}, ["2019"], {"a": "../"}, 10**40)),
            lambda: (
                f"{chance.randint(0, 99999)}-{chance.randint(0, 99)}-{chance.randint(0, 99)} 24:60:60.{chance.random()}"
            ),
            lambda: "../" * chance.randint(1, 3000),
        )
    )()


async def test_ten_thousand_hostile_times_are_all_answered_and_none_leaves_the_media_folder(tmp_path):
    global WATCH  # noqa: PLW0603 - an audit hook cannot be taken away again
    sys.addaudithook(_touched)
    chance = random.Random(5)
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    async with Store(tmp_path / "agent.db") as store, capturer(tmp_path, []) as mine:
        await mine.album.keep(capturing.Opening(1, "front", "20191128141109999"), ".jpg", b"picture")
        settings = LOCAL.__class__(listen="127.0.0.1:0", requests_per_minute=100_000)
        codes: dict[str, int] = {}
        async with opened(store, settings, media=mine) as door:
            await door.post(media_request("2001-01-01 00:00:00.000"))
            WATCH = []
            try:
                for _ in range(10_000):
                    cabinet = chance.choice(("1", "1", "2", "../1", "1/../..", "front", 1, None, ""))
                    content = media_request(hostile(chance), cabinet)
                    code = (await door.post(content, signed(content)))["code"]
                    codes[code] = codes.get(code, 0) + 1
            finally:
                touched, WATCH = WATCH, None
    assert set(codes) == {"1002", "1009"}, codes
    assert min(codes.values()) > 500, codes
    foreign = {path for path in touched if not path.startswith(str(tmp_path / "media"))}
    assert not foreign, foreign
    assert len(touched) > 500, "the watch is on"
