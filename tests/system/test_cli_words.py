"""What the command line says to those who may not read, and what `show` keeps from standard error."""

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from support import ROOT, python

from gantry_agent import doctor
from gantry_agent.cli import technician
from gantry_agent.cloud.uplink import UplinkState

pytestmark = pytest.mark.system

NOBODY = 65534
WITHOUT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")  # root as one user among others
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


def run(site: Path, *words: str, language: str, before: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, *python("gantry_agent", *words), "-c", str(site)],
        cwd=ROOT,
        env=os.environ | {"LANG": language, "LC_ALL": language},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("words", [("state",), ("outbox",), ("audit", "show")])
def test_who_may_not_read_the_state_is_told_who_may(site, words):
    os.chown(site.parent / "state", NOBODY, NOBODY)
    for language, said in (
        ("C.UTF-8", "only root and members of its group may; try sudo"),
        ("zh_CN.UTF-8", "请加 sudo"),
    ):
        done = run(site, *words, language=language, before=WITHOUT)
        assert done.returncode == 1
        assert said in done.stderr
        assert f"{site.parent}/state/agent.db" in done.stderr
        assert "Errno" not in done.stderr


def test_an_answer_of_1001_is_a_connection_and_says_what_to_look_at():
    state = UplinkState(connected=True, failing_since=1.0, code="1001", msg="无权使用该接口")
    teller = technician._Doctor("zh", ZoneInfo("Asia/Shanghai"))
    (said,) = teller.uplink({"uplink": "cabinet", **asdict(state)})
    assert "上传 cabinet: 已连上 (08:00:01.000 …) 1001 无权使用该接口" in said
    wrong = doctor._wrong_uplink("cabinet", state)
    assert wrong.zh == f"上传 cabinet 失败：1001 无权使用该接口；{doctor.ADVICE['1001'].zh}"
    assert "look at cloud.auth, gantry.id" in wrong.en
    (said,) = teller.uplink({"uplink": "cabinet", **asdict(replace(state, failing_since=None, code="1000"))})
    assert "cabinet: 正常 1000" in said


def test_show_says_who_is_silent_and_no_line_of_the_log(site):
    done = run(site, "show", language="zh_CN.UTF-8")
    assert done.returncode == 0
    assert done.stderr == "设备 1.meter 无应答\n原因见 gantry-agent doctor\n"
