"""NUT's snmp-ups as a second opinion of hwsim's UPS-MIB face: it takes it for an RFC 1628 card and reads the same."""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from support import ask, free_ports, python, running

pytestmark = pytest.mark.system

DRIVER = "/lib/nut/snmp-ups"


@pytest.fixture
def card(tmp_path: Path):
    """A cabinet with one UPS behind an SNMP card: the simulator's API and the card's port."""
    [port] = free_ports(1, socket.SOCK_DGRAM)
    path = tmp_path / "site.yaml"
    path.write_text(
        f"buses: {{card: {{type: snmp, host: 127.0.0.1, port: {port}, version: 2c, community: public}}}}\n"
        "cabinets: [{id: 1, devices: {ups: {profile: ups-mib, bus: card}}}]\n"
    )
    with running(*python("hwsim", "run", "--site", str(path)), ready=r"^hwsim ready") as process:
        yield process.wait_for(r"hwsim api http").split()[-1], port


def read(folder: Path, port: int) -> dict[str, str]:
    """Have the driver poll once and tell what it read, by NUT's names."""
    settings = {"port": f"127.0.0.1:{port}", "community": "public", "snmp_version": "v2c", "mibs": "ietf"}
    words = [word for name, value in settings.items() for word in ("-x", f"{name}={value}")]
    told = subprocess.run(
        [DRIVER, "-s", "card", "-u", "root", *words, "-d", "1"],
        env=os.environ | {"NUT_STATEPATH": str(folder), "NUT_ALTPIDPATH": str(folder), "MIBS": ""},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    values = dict(re.findall(r"^([a-z][\w.]+): (.*)$", told.stdout, re.MULTILINE))
    assert told.returncode == 0, told.stderr + told.stdout
    return values


def test_nut_reads_from_the_card_what_the_plant_has(card, tmp_path):
    api, port = card
    assert shutil.which("snmpget")
    ask(f"{api}/plant", {"cabinet": 1, "ups_load_w": 900})
    values, plant = read(tmp_path, port), ask(f"{api}/state")["plant"]["1"]
    assert "OL" in values["ups.status"].split()
    assert float(values["input.voltage"]) == pytest.approx(plant["mains"]["voltage_v"][0], abs=1)
    assert float(values["output.voltage"]) == 230
    assert float(values["battery.charge"]) == 100
    assert float(values["battery.voltage"]) == pytest.approx(plant["ups"]["battery_v"], abs=0.1)
    assert float(values["ups.load"]) == pytest.approx(100 * 900 / 0.9 / 3000, abs=1)

    ask(f"{api}/plant", {"cabinet": 1, "mains": False, "ups_percent": 15})
    values = read(tmp_path, port)
    assert {"OB", "LB"} <= set(values["ups.status"].split())
    assert float(values["input.voltage"]) == 0
    assert float(values["battery.charge"]) == pytest.approx(15, abs=1)
    assert 0 < float(values["battery.runtime"]) < 3600
