"""Devices of lines, from end to end: a 9600 baud line for several, a 2400 baud line for a UPS; and NUT as its reader.

hwsim plays the devices from the vendors' tables on ptys; agent and strict cloud are those of `gantry`.
"""

import contextlib
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gantry import Gantry, gantry
from support import Process, python

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: {interval}}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.5, slow_s: 1, misses: 3}}
buses:
  mixed: {{type: serial, port: {folder}/ttyRS485, baudrate: 9600}}
  ups-com: {{type: serial, port: {folder}/ttyUPS, baudrate: 2400}}
computers:
  - {{id: 1, monitor: true, main: true, source: local, data_disk: /, nic: lo}}
cabinets:
  - id: 1
    devices:
"""
UPS_ALONE = """
buses:
  ups-com: {{type: serial, port: {folder}/ttyUPS, baudrate: 2400}}
cabinets:
  - id: 1
    devices:
      ups: {{profile: {profile}, bus: ups-com}}
"""


@contextlib.contextmanager
def lines(folder: Path, devices: dict[str, str]) -> Iterator[Gantry]:
    """Run a gantry with these devices, each by what stands behind its name in the site file."""
    text = "".join(f"      {name}: {{{what}}}\n" for name, what in devices.items())
    with gantry(folder, SITE + text.replace("{", "{{").replace("}", "}}")) as it:
        yield it


def ups(it: Gantry, number: int) -> dict[str, Any]:
    """What the cloud was told last of one of the UPSs."""
    return next(one for one in it.latest(1)["ups"] if one["id"] == str(number))


@contextlib.contextmanager
def ups_alone(profile: str, folder: Path) -> Iterator[str]:
    """Let hwsim play one UPS at `ttyUPS` of the folder, without an agent; give the address of its API."""
    site = folder / "site.yaml"
    site.write_text(UPS_ALONE.format(folder=folder, profile=profile), encoding="utf-8")
    hardware = Process(*python("hwsim", "run", "--site", str(site)))
    try:
        hardware.wait_for("^hwsim ready")
        yield hardware.wait_for("^hwsim api ").split()[-1]
    finally:
        hardware.stop()


def nut(driver: str, folder: Path, polls: int = 1, **settings: str) -> dict[str, str]:
    """Let one of NUT's drivers poll and tell what it read, by NUT's names."""
    words = [word for name, value in settings.items() for word in ("-x", f"{name}={value}")]
    user = pwd.getpwuid(os.getuid()).pw_name
    done = subprocess.run(
        [f"/lib/nut/{driver}", "-s", "peer", "-u", user, *words, "-d", str(polls)],
        env=os.environ | {"NUT_STATEPATH": str(folder), "NUT_ALTPIDPATH": str(folder), "MIBS": ""},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)


def nutdrv_qx(protocol: str, folder: Path) -> dict[str, str]:
    """Read the UPS at `ttyUPS` twice; a pty has no lines to draw power from."""
    return nut("nutdrv_qx", folder, 2, port=str(folder / "ttyUPS"), protocol=protocol, cablepower="none")
