"""The parts of the media: what is a whole picture, frames of a stream, the ring, AVI, cuts, and ffmpeg's script."""

import re
import subprocess
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from camera_rig import PASSWORD, shown
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.media import avi, jpeg, rtsp, ts
from gantry_agent.media.album import instant, stamp
from gantry_agent.media.frames import HEAD_LIMIT, Frames, NoFrames
from gantry_agent.media.ring import Piece, Ring
from gantry_agent.model import Camera
from hwsim import frame

ZONE = ZoneInfo("Asia/Shanghai")
PICTURES = [frame.render(3, "back", 1_574_921_461.321 + k / 10) for k in range(12)]
PICTURE = PICTURES[0]
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(30) + b"\0\0\0\0IEND\xae\x42\x60\x82"


# --- pictures -------------------------------------------------------------------------------------------------------


def test_a_simulated_picture_shows_its_camera_and_time_to_a_decoder_that_nobody_here_wrote():
    assert shown(PICTURE) == [(3, "back", 1_574_921_461.321)]
    assert b"hwsim cabinet=3 side=back ms=1574921461321" in PICTURE
    assert jpeg.size(PICTURE) == (576, 96)


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (PICTURE, ".jpg"),
        (PICTURE + b"\0\0\r\n", ".jpg"),
        (PICTURE + b"trailer of the maker" * 50, ".jpg"),
        (PNG, ".png"),
        (PICTURE[:-1], None),
        (PICTURE[: len(PICTURE) // 2], None),
        (PICTURE[:200] + b"\xff\xd9" + PICTURE[200:-2], None),  # an end before the scan: of a thumbnail
        (PNG[:-6], None),
        (b"<html>login</html>", None),
        (b"GIF89a", None),
        (b"", None),
    ],
)
def test_only_what_is_whole_by_its_own_bytes_is_a_picture(content, suffix):
    found = jpeg.whole(content)
    assert (found[0] if found else None) == suffix
    if suffix == ".jpg":
        assert found[1] == PICTURE


@given(st.binary(max_size=200))
def test_rubbish_is_a_picture_or_none_and_never_an_escape(content):
    jpeg.whole(content)
    jpeg.size(b"\xff\xd8" + content)


# --- frames ---------------------------------------------------------------------------------------------------------


def part(picture: bytes, *, length: bool = True, boundary: bytes = b"--myboundary") -> bytes:
    said = b"Content-Length: %d\r\n" % len(picture) if length else b""
    return boundary + b"\r\nContent-Type: image/jpeg\r\n" + said + b"\r\n" + picture + b"\r\n"


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("step", [1, 7, 500, 100_000])
def test_frames_come_out_however_the_stream_is_cut(length, step):
    stream = b"".join(part(picture, length=length) for picture in PICTURES) + b"--myboundary\r\n"
    frames, found = Frames(), []
    for place in range(0, len(stream), step):
        found += frames.feed(stream[place : place + step])
    assert found == PICTURES


@pytest.mark.parametrize(
    "stream",
    [
        b"x" * (HEAD_LIMIT + 10),
        b"--b\r\nContent-Length: 99999999\r\n\r\n",
        part(PICTURE[:-2]) * 11,
        part(b"<html></html>") * 11,
        b"--b\r\n\r\n" + b"\0" * 4_000_100,
    ],
)
def test_what_is_no_stream_of_jpegs_is_said_to_be_none(stream):
    with pytest.raises(NoFrames):
        list(Frames().feed(stream))


def test_a_frame_that_was_cut_short_is_left_out_and_the_stream_goes_on():
    stream = part(PICTURE) + part(PICTURE[:-2]) * 10 + part(PICTURES[1])
    assert list(Frames().feed(stream)) == PICTURES[:2]


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_rubbish_gives_frames_or_no_frames(pieces):
    frames = Frames()
    try:
        for piece in pieces:
            assert not list(frames.feed(piece))
    except NoFrames:
        pass


# --- ring and clips -------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 400)), max_size=60))
def test_the_ring_never_holds_more_than_its_time_and_size(steps):
    ring, at = Ring(5.0, 1000), 0.0
    for step, size in steps:
        at += step
        ring.add(at, bytes(size))
        held = ring.between(0, 1e9)
        assert sum(len(piece.content) for piece in held) == ring.size <= 1000
        assert all(at - piece.at <= 5.0 for piece in held)


def test_frames_become_an_avi_that_ffmpeg_reads_at_the_right_rate():
    pieces = [Piece(100 + k / 10, picture) for k, picture in enumerate(PICTURES)]
    content = avi.write(pieces)
    assert shown(content) == [(3, "back", round(1_574_921_461.321 + k / 10, 3)) for k in range(12)]
    asked = (
        "ffprobe",
        "-v",
        "error",
        "-show_entries",
        "stream=codec_name,width,nb_frames,duration",
        "-of",
        "csv=p=0",
        "-",
    )
    told = subprocess.run(asked, input=content, capture_output=True, check=True).stdout.decode().strip().split(",")
    assert (told[0], told[1], told[3]) == ("mjpeg", "576", "12")
    assert abs(float(told[2]) - 1.2) < 0.01


@pytest.mark.parametrize("frames", [[], [Piece(1, PICTURE)], [Piece(1, b"x"), Piece(2, b"y")]])
def test_too_little_makes_no_avi(frames):
    assert avi.write(frames) is None


def packet(pid: int = 256, *, access: bool = False) -> bytes:
    head = bytes((0x47, pid >> 8, pid & 0xFF, 0x30 if access else 0x10))
    return (head + (b"\x01\x40" if access else b"")).ljust(188, b"\xaa")


def test_a_transport_stream_is_cut_at_the_last_whole_picture_before_the_start_with_its_tables():
    second = packet(0) + packet(4096) + packet(access=True) + packet() * 5
    pieces = [Piece(float(k), second) for k in range(6)]
    assert ts.cut(pieces, 3.2) == second * 3
    assert ts.cut(pieces, -1.0) == second * 6, "none before: from the first"
    assert ts.cut([Piece(0.0, second[100:]), *pieces[1:]], 0.0) == second[376:] + second * 5, "a torn first packet"
    assert ts.cut([Piece(0.0, packet() * 9)], 0.0) == b""


@given(st.lists(st.binary(max_size=600), max_size=8))
def test_a_cut_through_rubbish_is_bytes(contents):
    content = ts.cut([Piece(float(k), content) for k, content in enumerate(contents)], 2.0)
    assert isinstance(content, bytes)


# --- names and ffmpeg -----------------------------------------------------------------------------------------------


@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)))
def test_a_name_says_the_local_time_and_is_read_back_to_the_millisecond(moment):
    at = moment.replace(tzinfo=ZONE).timestamp()
    name = stamp(at, ZONE)
    assert re.fullmatch(r"\d{17}", name)
    assert abs(instant(name, ZONE) - at) < 0.0011


@pytest.mark.parametrize("at", [1e300, -1e300, float("nan"), 9e15])
def test_an_instant_that_no_calendar_has_has_no_name(at):
    assert stamp(at, ZONE) is None


def test_the_login_goes_to_ffmpeg_in_its_script_and_nowhere_else():
    camera = Camera(1, "front", None, "rtsp://10.0.0.5:554/S?a='b'", "ad min", PASSWORD)
    said = rtsp.script(camera).decode().splitlines()
    assert said[1] == "file 'rtsp://ad%20min:a%3Ab%2Fc%40d%27e%25f@10.0.0.5:554/S?a=%27b%27'"
    assert PASSWORD not in " ".join(rtsp.READ)
    assert PASSWORD not in repr(camera)
    assert "10.0.0.5" not in repr(camera)
