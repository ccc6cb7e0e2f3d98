"""`cameras:` and `media:` of the site file: a good one, and a table of what can be wrong, where, and what is said."""

import pytest

from gantry_agent.config import read_config
from gantry_agent.faults import ConfigFault

SITE = """\
gantry: {{id: G000211001002110010}}
cloud: {{server: "http://127.0.0.1/monitor.do", auth: "roadside-7"}}
media: {media}
buses:
  io: {{type: modbus-tcp, host: 10.0.0.2}}
cabinets:
  - id: 2
    devices:
      io: {{profile: moxa-iologik-e1212, bus: io, map: {{doors.frontDoorClosed: di0}}}}
    cameras:
      {camera}
"""
GOOD = (
    'front: {snapshot: "http://10.0.0.5/picture?channel=1", stream: "rtsp://10.0.0.5:554/S/101", '
    'user: admin, password: "a:b/c"}'
)


def write(folder, camera=GOOD, media="{}"):
    path = folder / "site.yaml"
    path.write_text(SITE.format(camera=camera, media=media), encoding="utf-8")
    return path


def test_a_camera_belongs_to_a_door_and_shows_no_secret(tmp_path):
    config = read_config(write(tmp_path))
    [camera] = config.site.cameras
    assert (camera.cabinet, camera.side, camera.snapshot) == (2, "front", "http://10.0.0.5/picture?channel=1")
    assert (camera.stream, camera.user, camera.password) == ("rtsp://10.0.0.5:554/S/101", "admin", "a:b/c")
    assert "a:b/c" not in repr(config)
    media = config.media
    assert (media.bounds.max_bytes, media.bounds.max_s) == (500_000_000, 90 * 86400)
    assert (media.before_s, media.after_s, media.tolerance_s) == (5, 5, 2)


def test_a_password_may_stand_in_a_file(tmp_path):
    (tmp_path / "pw").write_text("from-file\n")
    [camera] = read_config(
        write(tmp_path, GOOD.replace('password: "a:b/c"', f"password_file: {tmp_path}/pw"))
    ).site.cameras
    assert camera.password == "from-file"


@pytest.mark.parametrize(
    ("camera", "at", "said"),
    [
        (GOOD.replace("http://", "http://admin:pass/word@"), '"', "the login not in it but in user and password"),
        (GOOD.replace("rtsp://", "rtsp://admin:pass@"), '"', "the login not in it but in user and password"),
        (GOOD.replace("rtsp://", "rtmp://"), '"', "valid: rtsp://… or http://… (MJPEG)"),
        (GOOD.replace("http://10.0.0.5", "ftp://10.0.0.5"), '"', "valid: http://… or https://…"),
        (GOOD.replace("http://10.0.0.5", "http://10.0.0.500"), '"', "10.0.0.500 is no IP address"),
        (GOOD.replace("554", "99999"), '"', "port 99999 must be from 1 to 65535"),
        (GOOD.replace("user: admin, ", ""), "front", "give user and password together"),
        (GOOD.replace(', password: "a:b/c"', ""), "front", "give user and password together"),
        (GOOD.replace("admin", '"ad:min"'), '"ad:min"', "without a colon"),
        (GOOD.replace("front", "back"), "back", "map doors.backDoorClosed"),
        (GOOD.replace("snapshot", "snapshoot"), "snapshoot", "did you mean snapshot?"),
        (GOOD.replace("front", "left"), "left", "unknown key left"),
        ("front: {user: admin, password: x}", "front", "give snapshot, stream or both"),
        (GOOD.replace('"a:b/c"', "67890"), "67890", "put quotes around digits"),
        (GOOD.replace('password: "a:b/c"', "password_file: /nowhere"), "/nowhere", "/nowhere"),
    ],
)
def test_what_is_wrong_is_told_once_with_its_place_and_without_a_secret(tmp_path, camera, at, said):
    with pytest.raises(ConfigFault) as caught:
        read_config(write(tmp_path, camera))
    [fault] = [fault.render("en").split("site.yaml:")[1] for fault in caught.value.faults]
    line, column = map(int, fault.split(":")[:2])
    assert write(tmp_path, camera).read_text().split("\n")[line - 1][column - 1 :].startswith(at), fault
    assert said in fault
    assert "pass" not in fault.replace("password", "")
    assert "67890" not in fault


@pytest.mark.parametrize(
    "media", ["{max_mb: 1}", "{max_days: 0}", "{before_s: 60}", "{after_s: 0}", "{tolerance_s: 0}"]
)
def test_bounds_that_cannot_be_are_faults(tmp_path, media):
    with pytest.raises(ConfigFault):
        read_config(write(tmp_path, media=media))


def test_an_rtsp_stream_without_ffmpeg_on_this_pc_is_advised_on(tmp_path, monkeypatch):
    advised = "needs the program ffmpeg"
    assert not any(advised in one.text.en for one in read_config(write(tmp_path)).warnings), "it is here"
    monkeypatch.setenv("PATH", str(tmp_path))
    [warning] = [one for one in read_config(write(tmp_path)).warnings if advised in one.text.en]
    assert "apt-get install ffmpeg" in warning.text.zh
