"""Nothing that the agent says of itself has a secret in it, whatever goes wrong meanwhile.

The secrets of the site are strings that occur nowhere else: the shared code, SNMP communities, SNMPv3 keys, the
password of a camera, and the card numbers of the whitelist. They are looked for as text, as hex, and as base64.
"""

import base64
import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path

import pytest
from gantry import Gantry, gantry
from support import AUTH, ROOT, Process, ask, eventually, free_ports, python

from gantry_agent.config import read_config
from gantry_agent.faults import ConfigFault

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]

SECRETS = {
    "auth": AUTH,
    "community": "seekR3ad",
    "write community": "seekWr1te",
    "v3 authentication": "authSeek-1969",
    "v3 privacy": "privSeek-1969",
    "camera's password": "camSeek:p@ss",
}
CARDS = {"a card": "3605643617", "another card": "2871912033"}
SITE = f"""\
gantry: {{{{id: {{gantry}}}}}}
cloud: {{{{server: "http://127.0.0.1:{{cloud}}/monitor.do", auth: "{{auth}}", interval_s: {{interval}}}}}}
control: {{{{listen: "127.0.0.1:{{control}}", requests_per_minute: 6000}}}}
storage: {{{{path: {{folder}}/state}}}}
polling: {{{{fast_s: 0.2, slow_s: 1, misses: 3}}}}
media: {{{{before_s: 2, after_s: 1}}}}
buses:
  io: {{{{type: modbus-tcp, host: 127.0.0.1, port: {{io}}}}}}
  power: {{{{type: snmp, host: 127.0.0.1, port: {{power}}, version: 2c, community: {SECRETS["community"]}, write_community: {SECRETS["write community"]}}}}}
  toll-pc: {{{{type: snmp, host: 127.0.0.1, port: {{pc}}, version: 3, user: agent, auth_protocol: SHA, auth_key: {SECRETS["v3 authentication"]}, priv_protocol: AES, priv_key: {SECRETS["v3 privacy"]}}}}}
  doors: {{{{type: uhppote, host: 127.0.0.1, port: {{ups}}}}}}
computers:
  - {{{{id: 1, monitor: true, source: local, data_disk: /, nic: lo}}}}
  - {{{{id: 2, main: true, source: snmp, bus: toll-pc, data_disk: /data, nic: eth0}}}}
cabinets:
  - id: 1
    devices:
      power: {{{{profile: huawei-site-monitor, bus: power, ids: {{{{rectifier: [1, 2]}}}}}}}}
      access:
        profile: uhppote-controller
        bus: doors
        parameters: {{{{serial: 423187757}}}}
        map: {{{{doors.frontDoorLocked: {{{{point: door1, invert: true}}}}}}}}
      io: {{{{profile: moxa-iologik-e1212, bus: io, map: {{{{doors.frontDoorClosed: di2, doors.backDoorClosed: di4}}}}}}}}
    outputs: {{{{front-lock: {{{{device: access, point: door1, pulse_s: 1}}}}}}}}
    doors: {{{{front: {{{{unlock: front-lock}}}}}}}}
    cameras:
      front: {{{{snapshot: "http://127.0.0.1:CAMERA/picture", user: admin, password: "{SECRETS["camera's password"]}"}}}}
"""  # noqa: E501


def shapes(secret: str) -> list[str]:
    raw = secret.encode()
    return [secret, raw.hex(), raw.hex(" "), base64.b64encode(raw).decode().rstrip("=")]


def leaks(said: str, secrets: Mapping[str, str]) -> list[str]:
    """The secrets in a text, by name, with where they stand."""
    found = []
    for name, secret in secrets.items():
        for shape in shapes(secret):
            found += [
                f"{name}: …{said[max(0, one.start() - 60) : one.end()]}"
                for one in re.finditer(re.escape(shape), said, re.IGNORECASE)
            ]
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    text = SITE.replace("CAMERA", str(free_ports(1)[0]))
    with gantry(tmp_path_factory.mktemp("secrets"), text) as running:
        running.agent.stop()
        running.agent = Process(*python("gantry_agent", "run", "-v", "-c", str(running.site)))
        running.agent.wait_for("ready: gantry")
        live(running)
        yield running


def live(site: Gantry) -> None:
    """A day of it, with what goes wrong on one."""
    infos = [{"cardId": number, "expireDate": date(2030, 1, 1).isoformat()} for number in CARDS.values()]
    assert site.order({"cmd": "7", "cardInfos": infos})["code"] == "1000"
    site.order({"cmd": "7", "cardInfos": [{"cardId": CARDS["a card"], "expireDate": "never"}]})
    site.order({"cmd": "7", "cardInfos": [infos[0], infos[0] | {"expireDate": "2031-01-01"}]})
    site.order({"cmd": "8", "onOff": "0"})
    site.order({"updateNow": "1"}, auth=f"{AUTH}x")
    site.order({"updateNow": "1", "note": AUTH})
    ask(f"{site.api}/camera", {"camera": "1 front", "kind": "401"})
    site.plant(door={"front": "forced"})
    for device in ("1.power", "1.access"):
        site.fault(device, "silent")
    site.behave(mode="reset")
    site.order({"cmd": "8", "onOff": "1"})
    site.order({"cmd": "7", "cardInfos": infos[:1]})
    site.plant(door={"front": "closed"})
    eventually(lambda: "device 1.power does not answer" in site.agent.output, 60, "the power system is missed")
    time.sleep(2)


def shell(site: Gantry, *words: str, **env: str) -> str:
    done = subprocess.run(
        [*python("gantry_agent", words[0], "-c", str(site.site)), *words[1:]],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        env=os.environ | env,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_the_log_has_none_at_its_most_talkative(site: Gantry):
    assert "refused a request" in site.agent.output
    assert leaks(site.agent.output, SECRETS | CARDS) == []
    assert "Traceback" not in site.agent.output


@pytest.mark.parametrize(
    "words",
    [
        ("doctor",),
        ("doctor", "--json"),
        ("outbox",),
        ("outbox", "gaps"),
        ("outbox", "outages"),
        ("audit", "show"),
        ("audit", "show", "--json"),
        ("audit", "verify"),
        ("state",),
        ("check",),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("language", ["C", "zh_CN.UTF-8"])
def test_no_command_of_the_shell_shows_one(site: Gantry, words: tuple[str, ...], language: str):
    said = shell(site, *words, LC_ALL=language)
    assert said
    assert leaks(said, SECRETS | CARDS) == []


SLIPS = ("{} x: y", "'{}", "*{}", "[{}]", "{a: {}}", "{}\\0", "& {}", "|{}")


@pytest.mark.parametrize("name", SECRETS)
def test_no_fault_of_the_site_file_repeats_one(site: Gantry, tmp_path: Path, name: str):
    text, secret, path = site.site.read_text(encoding="utf-8"), SECRETS[name], tmp_path / "site.yaml"
    written = f'"{secret}"' if f'"{secret}"' in text else secret
    for slip in SLIPS:
        path.write_text(text.replace(written, slip.replace("{}", secret), 1), encoding="utf-8")
        with contextlib.suppress(ConfigFault):  # some of them are secrets too
            config = read_config(path)
            assert leaks(repr(config) + repr(config.warnings), SECRETS) == []
            continue
        with pytest.raises(ConfigFault) as raised:
            read_config(path)
        said = [fault.render(language) for fault in raised.value.faults for language in ("zh", "en")]
        assert leaks("\n".join(said) + str(raised.value), SECRETS) == [], slip


def test_what_is_on_the_disk_is_for_nobody_else(site: Gantry):
    kept = Path(site.folder, "state")
    assert [path for path in (kept, *kept.rglob("*.*")) if path.stat().st_mode & 0o007] == []
