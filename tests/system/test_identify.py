"""`identify` and `probe --record` against hwsim: through the running daemon, alone, and of a host in no site file."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from gantry import gantry
from ruamel.yaml import YAML
from support import ROOT, python
from test_scope_door import SITE

from gantry_agent.field import derive
from tests import profile_rig as rig

pytestmark = [pytest.mark.system, pytest.mark.alone]

HEAD = """\
gantry: {id: G000211001002110010}
cloud: {server: "http://127.0.0.1:1/monitor.do", auth: "654321"}
control: {listen: "127.0.0.1:3699"}
computers:
  - {id: 1, monitor: true, source: local, data_disk: /, nic: lo}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with gantry(tmp_path_factory.mktemp("identify"), SITE, interval=600) as it:
        yield it


def run(*words: str, folder: Path = ROOT, language: str = "C.UTF-8") -> tuple[int, str, str]:
    done = subprocess.run(
        python("gantry_agent", *words),
        cwd=folder,
        env=os.environ | {"LANG": language, "LC_ALL": language, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def steps(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines()]


def first_by_unit(said: str) -> dict[int, str]:
    return {step["unit"]: step["candidates"][0]["profile"] for step in steps(said) if step.get("candidates")}


def test_a_unit_of_a_line_is_told_through_the_daemon_while_it_polls_on(running):
    for unit, device, product in ((3, "1.meter", "chint-dtsu666"), (5, "1.climate", "xy-md02")):
        code, said, error = run("identify", "rs485", "--units", str(unit), "--json", "-c", str(running.site))
        assert (code, error) == (0, "")
        assert first_by_unit(said) == {unit: product}
        assert [step["device"] for step in steps(said) if "candidates" in step] == [device]
    assert "does not answer" not in running.agent.output


def test_what_is_in_the_site_file_already_needs_no_lines(running):
    code, said, _ = run("identify", "power", "-c", str(running.site))
    assert code == 0
    assert "sure     huawei-site-monitor" in said
    assert "cabinets:" not in said


def test_a_host_in_no_site_file_gives_lines_that_make_one(running, tmp_path):
    host = f"127.0.0.1:{running.ports['power']}"
    code, said, error = run("identify", host, "--community", "s3cret")
    assert (code, error) == (0, "")
    assert "sure     huawei-site-monitor" in said
    assert "s3cret" not in said
    lines = said[said.index("buses:") :].replace('"…"', "s3cret")
    site = tmp_path / "site.yaml"
    site.write_text(f"{HEAD}storage: {{path: {tmp_path}}}\n{lines}", encoding="utf-8")
    code, said, error = run("check", "-c", str(site))
    assert (code, error) == (0, ""), f"{error}{lines}"
    site.write_text("gantry: {}", encoding="utf-8")  # a file that is not finished is no hindrance
    code, said, _ = run("identify", host, "--community", "s3cret", "-c", str(site), language="zh_CN.UTF-8")
    assert "确定" in said
    assert "写入配置文件" in said


def test_a_modbus_host_is_told_too(running):
    code, said, _ = run("identify", f"127.0.0.1:{running.ports['io']}", "--type", "modbus-tcp")
    assert code == 0
    assert "likely   moxa-iologik-e1212" in said


def test_where_nobody_answers_it_says_so(running):
    code, said, _ = run("identify", f"127.0.0.1:{running.ports['power']}", "--community", "wrong")
    assert code == 1
    assert "no answer" in said
    code, _, error = run("identify", "127.0.0.1:snmp")
    assert code == 1
    assert "give a bus of the site file, or a host" in error


def test_a_recorded_snmp_device_reads_as_it_did_and_tells_no_secret(running, tmp_path):
    code, said, error = run("probe", "1.power", "--record", "--json", "-c", str(running.site), folder=tmp_path)
    assert code == 0
    assert "written to huawei-site-monitor.snmprec" in error
    path = tmp_path / "huawei-site-monitor.snmprec"
    text = path.read_text(encoding="utf-8")
    for secret in ("s3cret", b"s3cret".hex(), "127.0.0.1", "1.3.6.1.2.1.1.5.0"):
        assert secret not in text
    product = rig.load("huawei-site-monitor")
    it = rig.device(product, roles={"rectifier": [1, 2], "elec": (), "thermohygrometer": ()})
    source = rig.Recording(path)
    now = rig.read_all(product, it, source)
    read = rig.named(derive.Deriver(product, it, rig.rows_of(product, it, source)).fields(now, {}))
    assert read == fields(said)
    assert read["rectifier.outputVoltage"] > 40
    code, _, error = run("probe", "1.power", "--record", "-c", str(running.site), folder=tmp_path)
    assert code == 1
    assert "it is there already" in error  # nothing is written over
    assert path.read_text(encoding="utf-8") == text


def fields(said: str) -> dict[str, Any]:
    found = next(step["fields"] for step in steps(said) if "fields" in step)
    read = {}
    for one in found:
        place = f"[{one['number']}]" if one["number"] > 1 else ""
        read[f"{one['member']}{place}.{one['field']}"] = one["quality"] if one["value"] is None else one["value"]
    return read


def test_a_recorded_meter_is_a_transcript_that_reads_as_it_did(running, tmp_path):
    code, said, _ = run(
        "probe", "meter", "--record", "-o", "mine.yaml", "--json", "-c", str(running.site), folder=tmp_path
    )
    assert code == 0
    whole = YAML(typ="safe", pure=True).load(tmp_path / "mine.yaml")
    (case,) = whole["cases"]
    assert (whole["profile"], whole["unit"], case["expected"]) == ("chint-dtsu666", 3, {})
    product = rig.load("chint-dtsu666")
    source = rig.Image(case["image"])
    read = rig.readings(product, rig.device(product, unit=3), source)
    assert sorted(map(list, source.asked)) == case["asks"]
    assert read == case["read"] == fields(said)


def test_an_unknown_device_is_recorded_by_identify(running, tmp_path):
    host = f"127.0.0.1:{running.ports['power']}"
    code, _, error = run("identify", host, "--community", "s3cret", "--record", "-o", "new.snmprec", folder=tmp_path)
    assert code == 0
    assert "written to new.snmprec" in error
    rows = dict(line.split("|", 1) for line in (tmp_path / "new.snmprec").read_text(encoding="utf-8").splitlines())
    assert "1.3.6.1.2.1.1.2.0" in rows
    assert "1.3.6.1.2.1.1.5.0" not in rows


def test_contacts_are_recorded(running, tmp_path):
    code, _, _ = run("probe", "io", "--record", "-c", str(running.site), folder=tmp_path)
    assert code == 0
    assert "profile: moxa-iologik-e1212" in (tmp_path / "moxa-iologik-e1212.yaml").read_text(encoding="utf-8")
