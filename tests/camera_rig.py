"""A small gantry with two cameras for tests, and how to read what a picture or clip shows: by ffmpeg, not by us."""

import hashlib
import json
import re
import subprocess
import time
import urllib.request
from datetime import datetime
from email.message import Message
from typing import Any
from zoneinfo import ZoneInfo

from support import AUTH, GANTRY

ZONE = ZoneInfo("Asia/Shanghai")
PASSWORD = "a:b/c@d'e%f"
SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: 3600}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 100000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.1, slow_s: 1, misses: 3}}
events: {{flap_changes: 20, hold_down_s: 1}}
media: {{before_s: 2, after_s: 1}}
buses:
  io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}
cabinets:
  - id: 1
    devices:
      io: {{profile: moxa-iologik-e1212, bus: io, map: {{doors.frontDoorClosed: di2, doors.backDoorClosed: di4}}}}
    cameras:
      front: {{snapshot: "http://127.0.0.1:CAMERA/ISAPI/picture?channel=1", user: admin, password: "PASSWORD"}}
      back: {{snapshot: "http://127.0.0.1:CAMERA/back", stream: "BACK", user: admin, password: "PASSWORD"}}
"""


def site(camera: int, back: str = "http://127.0.0.1:CAMERA/back/live") -> str:
    return SITE.replace("BACK", back).replace("CAMERA", str(camera)).replace("PASSWORD", PASSWORD)


# --- what is seen: rows of blocks of 8×8 pixels, as hwsim/frame.py says -----------------------------------------------

WIDTH, HEIGHT, COLUMN, ROW, BITS = 576, 96, 2, 8, 54


def shown(content: bytes) -> list[tuple[int, str, float]]:
    """Cabinet, side and time of every frame of a picture or a video."""
    ffmpeg = ("ffmpeg", "-nostdin", "-loglevel", "fatal", "-i", "pipe:0", "-f", "rawvideo", "-pix_fmt", "gray", "-")
    if content[4:8] == b"ftyp":  # a file with its index at the end could not be read from a pipe
        assert content.find(b"moov") < content.find(b"mdat")
    raw = subprocess.run(
        (*ffmpeg[:-1], "-vsync", "passthrough", "-"), input=content, capture_output=True, check=True
    ).stdout
    size = WIDTH * HEIGHT
    return [_read(raw[place : place + size]) for place in range(0, len(raw) - size + 1, size)]


def _read(frame: bytes) -> tuple[int, str, float]:
    row = (ROW * 8 + 8) * WIDTH
    bits = "".join("1" if frame[row + (COLUMN + k) * 8 + 4] > 128 else "0" for k in range(BITS))
    return int(bits[:8], 2), ("front", "back")[int(bits[8:10], 2)], int(bits[10:], 2) / 1000


# --- the cloud's question -------------------------------------------------------------------------------------------


class Answer:
    """What came: JSON with a code, or a file."""

    def __init__(self, headers: Message, body: bytes) -> None:
        self.headers, self.body = headers, body
        self.code = json.loads(body)["code"] if headers["Content-Type"].startswith("application/json") else "file"


def query(port: int, opened: str, cabinet: object = "1", within_s: float = 30.0) -> Answer:
    body = media_request(opened, cabinet)
    headers = {"binfile-md5": hashlib.md5(body).hexdigest(), "binfile-auth": AUTH, "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/remotecontrol.do", body, headers)
    with urllib.request.urlopen(request, timeout=within_s) as answer:
        return Answer(answer.headers, answer.read())


def media_request(opened: Any, cabinet: object = "1") -> bytes:
    document = {
        "gantryId": GANTRY,
        "method": "getCabinetImageVedio",
        "timeStamp": str(int(time.time())),
        "version": "1001",
        "getCabinetImageVedio": {"cabinetId": cabinet, "doorOpenTime": opened},
    }
    return json.dumps(document, ensure_ascii=False).encode()


def unix(told: str) -> float:
    return datetime.fromisoformat(told).replace(tzinfo=ZONE).timestamp()


def told(at: float) -> str:
    return datetime.fromtimestamp(at, ZONE).isoformat(" ", "milliseconds")[:23]


def file_name(told: str, suffix: str) -> str:
    return f"{GANTRY}_{re.sub(r'[^0-9]', '', told)}{suffix}"
