"""`gantry-agent profiles`: list, show, lint and schema, as a person meets them."""

import json
from pathlib import Path

import pytest

from gantry_agent.cli import main, profiles
from gantry_agent.field import profile

FAULTY = """\
profile: mine
title: {zh: 我的, en: mine}
protocol: modbus
maturity: transcript
sources: [{document: d, page: p}]
members: {elec: 1}
points:
  elec.voltage: {read: holding 0x2000, as: f23, unit: kV}
  elec.curent: {read: holding 2, unit: A}
"""


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


def test_profiles_alone_lists_every_product(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert set(profile.names()) <= set(listed)
    assert main(["profiles", "list"]) == 0


def test_a_file_that_cannot_be_read_does_not_hide_the_other_products(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "abb-b23.yaml").write_text("x: [", encoding="utf-8")
    monkeypatch.setattr(profiles, "FOLDERS", (tmp_path, profile.SHIPPED))
    assert main(["profiles"]) == 1
    said = capsys.readouterr()
    assert f"{tmp_path}/abb-b23.yaml:1:4: cannot parse the YAML" in said.err
    assert {line.split()[0] for line in said.out.splitlines()} == set(profile.names()) - {"abb-b23"}


def test_lint_tells_every_fault_with_its_place_and_what_would_be_valid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(FAULTY, encoding="utf-8")
    good = profile.SHIPPED / "xy-md02.yaml"
    assert main(["profiles", "lint", str(path), str(good)]) == 1
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert lines[0].startswith(
        f"{path}:8:40: points.elec.voltage.as: cannot be 'f23'; did you mean f32?; valid: f32, f64"
    )
    assert lines[1] == f"{path}:8:49: points.elec.voltage.unit: cannot be 'kV': the interface wants 'V'"
    assert lines[2].startswith(
        f"{path}:9:3: points.elec.curent: the interface has no such field; did you mean current?"
    )
    assert lines[3] == "3 faults"
    assert f"{good}: no faults" in said.out
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert main(["profiles", "lint", str(path)]) == 1
    assert "不能是 'f23'；是否想写 f32？；可用：" in capsys.readouterr().err


def test_lint_of_a_draft_says_what_it_still_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(FAULTY.replace("f23", "f32").replace("kV", "V").replace("curent", "current"), encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8").replace("transcript", "draft"), encoding="utf-8")
    assert main(["profiles", "lint", str(path)]) == 0
    said = capsys.readouterr().out
    assert "nothing has shown" in said
    assert "`identify` cannot tell this product" in said


def test_show_tells_what_a_product_does_and_what_is_inferred(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles", "show", "huawei-site-monitor"]) == 0
    said = capsys.readouterr().out
    for wanted in (
        "recorded: checked against a recording",
        "rectifier: currentLimiting, outputCurrent",
        "commands that it carries out: rectifier.onOff, ups.testStartStop",
        "points that are inferred: group_remaining",
        "parameter battery_test_kind = 1 (1, 2)",
        "source: librenms/librenms",
        "! Inferred: AC input voltage",
    ):
        assert wanted in said
    assert main(["profiles", "show", "waveshare-relay"]) == 0
    assert "points that can be outputs: do0, do1" in capsys.readouterr().out


def test_an_unknown_product_and_a_missing_file_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["profiles", "show", "chint-dtsu66"]) == 1
    assert "did you mean chint-dtsu666?" in capsys.readouterr().err
    assert main(["profiles", "lint", str(tmp_path / "none.yaml")]) == 1
    assert "cannot read the file: No such file" in capsys.readouterr().err
    assert main(["profiles", "lint"]) == 2
    assert main(["profiles", "list", "xy-md02"]) == 2


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles", "schema"]) == 0
    assert "identity" in json.loads(capsys.readouterr().out)["properties"]
