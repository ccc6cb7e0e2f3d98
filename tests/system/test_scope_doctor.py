"""`doctor` of a running agent tells a technician the right cause of five faults at once, each on a bus of its own."""

import json
import os
import re
import subprocess
from typing import Any

import pytest
from gantry import Gantry, gantry
from support import ROOT, eventually, python

pytestmark = [pytest.mark.system, pytest.mark.alone]

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: {interval}}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.3, slow_s: 1, misses: 3}}
buses:
  slow: {{type: serial, port: {folder}/ttySlow, baudrate: 1200}}
  line: {{type: serial, port: {folder}/ttyLine, baudrate: 38400}}
  converter: {{type: serial-tcp, host: 127.0.0.1, port: {converter}, baudrate: 38400}}
  io: {{type: modbus-tcp, host: 127.0.0.1, port: {io}}}
  power: {{type: snmp, host: 127.0.0.1, port: {power}, version: 2c, community: s3cret}}
cabinets:
  - id: 1
    devices:
      power: {{profile: huawei-site-monitor, bus: power, ids: {{rectifier: [1, 2]}}, skip: [elec, thermohygrometer]}}
      meter: {{profile: chint-dtsu666, bus: line, unit: 3}}
      climate: {{profile: xy-md02, bus: converter, unit: 5}}
      smoke: {{profile: renda-smoke, bus: slow, unit: 7}}
      io: {{profile: moxa-iologik-e1212, bus: io, map: {{waterloggingSensor.isWarning: di0}}}}
"""
# Bus, device, what is wrong with it; the rule that is to win, and what it says.
FAULTS: tuple[tuple[str, str, dict[str, Any], str, str, str], ...] = (
    ("slow", "1.smoke", {"kind": "babble"}, "babble", "线上一直不安静", "the line does not fall silent"),
    ("line", "1.meter", {"kind": "silent", "percent": 30}, "flaky", "时有时无", "answers come and go"),
    ("converter", "1.climate", {"kind": "drop", "percent": 50}, "losses", "的连接近来断开", "was lost"),
    ("io", "1.io", {"kind": "wrong_function", "percent": 40}, "bad", "不合协议", "answers do not fit the protocol"),
    ("power", "1.power", {"kind": "silent"}, "agent-silent", "SNMP 代理", "the SNMP agent"),
)


def doctor(running: Gantry, *words: str, language: str = "C.UTF-8") -> tuple[int, str]:
    done = subprocess.run(
        [*python("gantry_agent", "doctor", *words), "-c", str(running.site)],
        cwd=ROOT,
        env=os.environ | {"LANG": language, "LC_ALL": language},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def first_hints(running: Gantry) -> dict[str, dict[str, str]]:
    """Give the strongest hint that the doctor tells of each bus where something is wrong."""
    told = [json.loads(line) for line in doctor(running, "--json")[1].splitlines()]
    found = {step["bus"]: [hint for hint in step["hints"] if not hint["note"]] for step in told if "bus" in step}
    return {bus: hints[0] for bus, hints in found.items() if hints}


def test_each_of_five_faults_at_once_is_told_by_its_own_hint_in_both_languages(tmp_path):
    with gantry(tmp_path, SITE, interval=600) as running:
        eventually(lambda: not first_hints(running), 20, "a healthy gantry without a hint")
        for _, device, fault, *_ in FAULTS:
            running.fault(device, **fault)
        waiting = {bus: (rule, zh, en) for bus, _, _, rule, zh, en in FAULTS}

        def look() -> bool:
            """Cross off what is told rightly: a unit that comes and goes is at times just gone."""
            for bus, hint in first_hints(running).items():
                rule, zh, en = waiting.get(bus, ("", "", ""))
                if hint["rule"] == rule and zh in hint["zh"] and en in hint["en"]:
                    del waiting[bus]
            print(waiting)
            return not waiting

        eventually(look, 60, "the right hint of every bus")
        running.agent.wait_for("device 1.smoke does not answer")  # on a line that babbles nobody can be asked
        for language, at in (("zh_CN.UTF-8", 4), ("C.UTF-8", 5)):
            code, said = doctor(running, language=language)
            assert code == 1
            for fault in FAULTS:
                if fault[3] != "flaky":
                    assert re.search(f"^! .*{fault[0]}.*{fault[at]}", said, re.MULTILINE), said
