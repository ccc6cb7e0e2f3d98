"""The default auth code, which everybody knows, is refused unless the file says that it is a trial."""

import subprocess
from pathlib import Path

import pytest
from support import ROOT, python

from gantry_agent.config import read_config
from gantry_agent.faults import ConfigFault

DEFAULT = "123456"
SITE = """\
gantry: {{id: G000211001002110010}}
{lab}cloud: {{server: "https://10.0.0.1/monitor.do", {auth}}}
control: {{listen: "127.0.0.1:3699"}}
storage: {{path: /tmp}}
"""


def written(folder: Path, auth: str, lab: str = "") -> Path:
    path = folder / "gantry.yaml"
    path.write_text(SITE.format(auth=auth, lab=lab), encoding="utf-8")
    return path


@pytest.mark.parametrize("lab", ["", "lab: false\n"])
@pytest.mark.parametrize("where", ["auth", "auth_file"])
def test_the_default_code_is_a_fault_where_it_stands_and_says_what_would_be_valid(tmp_path: Path, where: str, lab: str):
    (tmp_path / "code").write_text(f"{DEFAULT}\n", encoding="ascii")
    value = f'"{DEFAULT}"' if where == "auth" else str(tmp_path / "code")
    path = written(tmp_path, f"{where}: {value}", lab)
    with pytest.raises(ConfigFault) as raised:
        read_config(path)
    [fault] = raised.value.faults
    assert path.read_text(encoding="utf-8").split("\n")[fault.line - 1][fault.column - 1 :].startswith(value)
    assert "cannot use the default code" in fault.render("en")
    for language in ("en", "zh"):
        assert "lab: true" in fault.render(language)
    assert "平台分配的鉴权码" in fault.render("zh")


@pytest.mark.parametrize("auth", [f'auth: "{DEFAULT}"', 'auth: "roadside-7"'])
def test_a_trial_may_have_any_code_and_check_notes_that_it_is_one(tmp_path: Path, auth: str):
    config = read_config(written(tmp_path, auth, "lab: true\n"))
    assert ["for trials only" in warning.render("en") for warning in config.warnings if warning.line == 2] == [True]


def test_another_code_needs_no_lab(tmp_path: Path):
    assert not [one for one in read_config(written(tmp_path, 'auth: "1234567"')).warnings if "trial" in one.text.en]


def test_run_does_not_start_with_the_default_code(tmp_path: Path):
    path = written(tmp_path, f'auth: "{DEFAULT}"')
    command = python("gantry_agent", "run", "-c", str(path))
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=30, check=False)
    assert ended.returncode == 78  # the systemd unit does not try again
    assert "lab: true" in ended.stdout + ended.stderr
