"""RTSP by programs nobody here wrote: GStreamer serves what hwsim's camera sees, ffmpeg keeps a ring of it."""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from camera_rig import PASSWORD, query, shown, site, unix
from gantry import Gantry, gantry
from support import ROOT, Process, eventually, free_ports
from test_media_gantry import check_headers, open_door

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


def serve(rtsp: int, camera: int) -> Process:
    script = str(ROOT / "tests" / "rtsp_server.py")
    url = f"http://127.0.0.1:{camera}/live"
    server = Process("/usr/bin/python3", script, str(rtsp), url, "admin", PASSWORD)
    server.wait_for("rtsp ready")
    return server


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Gantry]:
    camera, rtsp = free_ports(2)
    text = site(camera, f"rtsp://127.0.0.1:{rtsp}/Streaming/Channels/101")
    # What the RTSP server shows at the back door is hwsim's MJPEG stream of the front door.
    text = text.replace('channel=1",', f'channel=1", stream: "http://127.0.0.1:{camera}/live",')
    server = serve(rtsp, camera)
    try:
        with gantry(tmp_path, text) as made:
            yield made
    finally:
        server.stop()


def programs(agent: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(agent).children() if child.name() == "ffmpeg"]


def test_a_clip_from_rtsp_shows_the_moment_and_ffmpeg_lives_and_ends_with_the_agent(it: Gantry):
    eventually(it.uploads, 20)
    time.sleep(4)
    opened, _ = open_door(it, "back")
    answer = query(it.ports["control"], opened)
    check_headers(answer, opened, ".mp4", "video/mp4")
    frames = shown(answer.body)
    times = [at - unix(opened) for _, _, at in frames]
    assert {(cabinet, side) for cabinet, side, _ in frames} == {(1, "front")}
    assert times[0] <= -1.5, "seconds before the opening"
    assert times[-1] >= 0.7
    assert times == sorted(times)
    [ffmpeg] = programs(it.agent.pid)
    assert not [word for word in ffmpeg.cmdline() if "admin" in word or "127.0.0.1" in word], "on no command line"
    used = ffmpeg.cpu_times()
    print(f"ffmpeg: {ffmpeg.memory_info().rss / 1e6:.0f} MB, {used.user + used.system:.2f} s CPU since its start")
    first = ffmpeg.pid
    ffmpeg.kill()
    it.agent.wait_for("stream of the camera of cabinet 1, back door: ffmpeg ended", 10)
    [ffmpeg] = eventually(lambda: [one for one in programs(it.agent.pid) if one.pid != first], 10, "a new ffmpeg")
    said = it.agent.output
    assert it.agent.stop() == 0
    eventually(lambda: not psutil.pid_exists(ffmpeg.pid), 10, "no ffmpeg is left behind")
    it.start_agent()
    [ffmpeg] = eventually(lambda: programs(it.agent.pid), 15)
    time.sleep(1.5)
    it.agent.kill()
    eventually(lambda: not psutil.pid_exists(ffmpeg.pid), 15, "no ffmpeg is left behind by a killed agent")
    assert PASSWORD not in said
    assert "admin:" not in said
