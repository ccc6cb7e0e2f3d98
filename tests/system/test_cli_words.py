"""What the command line says to those who may not read, and what `show` keeps from standard error."""

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT, python

pytestmark = pytest.mark.system

NOBODY = 65534
SITE = """\
gantry: {{id: G00000000000000000}}
cloud: {{server: "http://127.0.0.1:9/monitor.do", auth: "s3cret-code"}}
storage: {{path: {folder}/state}}
polling: {{slow_s: 1}}
buses: {{line: {{type: serial, port: {folder}/ttyNone}}}}
cabinets:
  - {{id: 1, devices: {{meter: {{profile: chint-dtsu666, bus: line, unit: 3}}}}}}
"""


@pytest.fixture
def site() -> Iterator[Path]:
    """A site file that everybody may read, beside a state folder for its owner alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "state").mkdir(mode=stat.S_IRWXU)
        (folder / "site.yaml").write_text(SITE.format(folder=folder), encoding="utf-8")
        yield folder / "site.yaml"


def run(site: Path, *words: str, language: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*python("gantry_agent", *words), "-c", str(site)],
        cwd=ROOT,
        env=os.environ | {"LANG": language, "LC_ALL": language, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        user=user,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")
@pytest.mark.parametrize("words", [("state",), ("outbox",), ("audit", "show")])
def test_who_may_not_read_the_state_is_told_who_may(site, words):
    for language, said in (("C.UTF-8", "only root and members of its group may; try sudo"), ("zh_CN.UTF-8", "请加 sudo")):
        done = run(site, *words, language=language, user=NOBODY)
        assert done.returncode == 1
        assert said in done.stderr
        assert f"{site.parent}/state/agent.db" in done.stderr
        assert "Errno" not in done.stderr


def test_show_says_who_is_silent_and_no_line_of_the_log(site):
    done = run(site, "show", language="zh_CN.UTF-8")
    assert done.returncode == 0
    assert done.stderr == "设备 1.meter 无应答\n"
