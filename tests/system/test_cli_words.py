"""What the command line says to those who may not read, and what `show` keeps from standard error."""

import contextlib
import io
import os
import pty
import re
import signal
import stat
import subprocess
import tempfile
import time
import tty
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from support import ROOT, english_sentences, python

from gantry_agent import doctor
from gantry_agent.cli import main, technician
from gantry_agent.cli.command import read
from gantry_agent.cli.progress import WIPE, Progress
from gantry_agent.cloud import commands
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
    away = UplinkState(
        connected=False, failing_since=1.0, code="no answer", msg="ClientConnectorError: refused", hop="TCP"
    )
    (said,) = teller.uplink({"uplink": "cabinet", **asdict(away)})
    assert "连不上 (08:00:01.000 …) 断在TCP" in said
    assert doctor._wrong_uplink("cabinet", away).zh == "上传 cabinet 失败：断在TCP"
    assert doctor._wrong_uplink("cabinet", replace(away, hop="gateway")).zh == "上传 cabinet 失败：断在网关"
    (said,) = teller.uplink({"uplink": "cabinet", **asdict(replace(state, failing_since=None, code="1000"))})
    assert "cabinet: 正常 1000" in said


COMMANDS = (
    *("run", "check", "show", "profiles", "schema", "state", "outbox", "command", "audit", "identify"),
    *("doctor", "frames", "probe", "scan"),
)


def said_by(program: str, *words: str, language: str) -> str:
    done = subprocess.run(
        python(program, *words),
        cwd=ROOT,
        env=os.environ | {"LANG": language, "LC_ALL": language},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("language", ["zh_CN.UTF-8", "C.UTF-8"])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_help_of_every_subcommand_is_in_the_readers_language(monkeypatch, capsys, command, language):
    monkeypatch.setenv("LC_ALL", language)
    with pytest.raises(SystemExit) as ended:
        main([*([command] if command else []), "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    if language.startswith("zh"):
        assert english_sentences(said) == []
        assert "用法：gantry-agent" in said
        assert "选项:" in said
    else:
        assert not re.search("[\u4e00-\u9fff：，。]", said), said
        assert "usage: gantry-agent" in said


@pytest.mark.parametrize("language", ["zh_CN.UTF-8", "C.UTF-8"])
def test_the_help_of_command_has_an_example_for_each_that_can_be_read(monkeypatch, capsys, language):
    monkeypatch.setenv("LC_ALL", language)
    with pytest.raises(SystemExit):
        main(["command", "--help"])
    examples = re.findall(r"^ +gantry-agent command (.*?)  # \S", capsys.readouterr().out, re.MULTILINE)
    words = [one.split() for one in examples if "@" not in one and not one.startswith("-")]
    asked = [read(each) for each in words]
    assert {one["cmd"] for one in asked if "cmd" in one} == set(map(str, range(1, 11))) - {"7"}
    assert any("cards cardInfos=@" in one for one in examples)
    assert all(set(one) <= commands.KNOWN["cabinetControl"] for one in asked)


WRONG = (
    (),
    ("skan",),
    ("scan",),
    ("scan", "line", "--units", "a-b"),
    ("scan", "line", "--units"),
    ("frames", "line", "--latest", "0"),
    ("audit", "look"),
    ("audit", "show", "--since", "3 weeks"),
    ("audit", "show", "--lat", "x"),
    ("outbox", "gabs"),
    ("check", "a", "b"),
    ("run", "--verbose=3"),
    ("identify", "10.0.0.1", "--snmp-version", "3"),
    ("profiles", "show"),
    ("profiles", "show", "no-such-product"),
    ("profiles", "lint", "/no/such/file"),
    ("state", "drop"),
    ("check", "-c", "/no/such/file"),
    ("identify", "nowhere:x"),
)


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_what_is_wrong_with_the_words_is_told_in_the_readers_language(monkeypatch, capsys, site, words):
    given = [*words, *(["-c", str(site)] if words[:1] in {("state",), ("identify",)} else [])]
    for language, chinese in (("zh_CN.UTF-8", True), ("C.UTF-8", False)):
        monkeypatch.setenv("LC_ALL", language)
        try:
            code = main(given)
        except SystemExit as ended:
            code = ended.code
        assert code in {1, 2}
        said = "".join(capsys.readouterr())
        assert bool(re.search("[\u4e00-\u9fff]", said)) is chinese, said
        if chinese:
            assert english_sentences(said) == [], said


@pytest.mark.parametrize("language", ["zh_CN.UTF-8", "C.UTF-8"])
def test_the_simulator_speaks_the_readers_language(site, language):
    chinese = language.startswith("zh")
    abroad = site.with_name("abroad.yaml")
    abroad.write_text("buses: {io: {type: modbus-tcp, host: 192.0.2.1, port: 15020}}\ncabinets: []\n", encoding="utf-8")
    low = site.with_name("broken.yaml")
    low.write_text("buses: {io: [}\n", encoding="utf-8")
    for words in (
        ("--help",),
        ("run", "--help"),
        ("cloud", "--help"),
        ("demo", "--help"),
        ("run",),
        ("rum",),
        ("cloud", "--listen", "here"),
        ("cloud", "--timezone", "Asia/Nowhere"),
        ("run", "--site", "/no/such/file"),
        ("run", "--site", str(abroad)),
        ("run", "--site", str(low)),
        ("run", "--site", str(site), "--scene", "none"),
        ("run", "--site", str(site), "--api", "here"),
    ):
        said = said_by("hwsim", *words, language=language)
        assert bool(re.search("[\u4e00-\u9fff]", said)) is chinese, said
        if chinese:
            assert english_sentences(said) == [], said
    assert "127.0.0.1" in said_by("hwsim", "run", "--site", str(abroad), language=language), "what would be valid"


def test_an_english_sentence_is_found_where_there_is_one():
    assert english_sentences("gantry-agent: cannot read the file") == ["cannot read the file"]
    assert english_sentences("未知的键 prot；是否想写 port？；可用：host, port, type") == []


def test_progress_is_one_line_on_a_terminal_and_nothing_in_a_pipe():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        progress = Progress("zh", stream)
        for done in range(1, 21):
            progress.show(done, 20)
        progress.wipe()
        assert ("已问 20/20" in stream.getvalue()) is shown
        assert "\n" not in stream.getvalue()
        assert stream.getvalue() == "" or stream.getvalue().endswith(WIPE)


def test_a_scan_shows_progress_on_a_terminal_and_ctrl_c_leaves_it_clean(site):
    """Nobody answers on the line, which is a pty; standard error is another."""
    near, far = pty.openpty()
    screen, terminal = pty.openpty()
    tty.setraw(far)
    text = site.read_text(encoding="utf-8").replace(f"{site.parent}/ttyNone", os.ttyname(far))
    site.write_text(text, encoding="utf-8")
    with subprocess.Popen(
        python("gantry_agent", "scan", "line", "-c", str(site)),
        cwd=ROOT,
        env=os.environ | {"LC_ALL": "zh_CN.UTF-8"},
        stdout=subprocess.PIPE,
        stderr=terminal,
    ) as scan:
        seen = b""
        until = time.monotonic() + 30
        while "已问 9/494，约剩".encode() not in seen:
            assert time.monotonic() < until, seen
            seen += os.read(screen, 4096)
        scan.send_signal(signal.SIGINT)
        assert scan.stdout is not None
        told = scan.stdout.read().decode()
        assert scan.wait(10) == 1
    os.close(terminal)
    os.set_blocking(screen, False)
    with contextlib.suppress(OSError):
        seen += os.read(screen, 65536)
    for descriptor in (near, far, screen):
        os.close(descriptor)
    assert seen.decode().endswith(f"{WIPE}已停止\r\n"), seen.decode()[-80:]
    assert "已问" not in told, "what is found can be piped"


def test_show_says_who_is_silent_and_no_line_of_the_log(site):
    done = run(site, "show", language="zh_CN.UTF-8")
    assert done.returncode == 0
    assert done.stderr == "设备 1.meter 无应答\n原因见 gantry-agent doctor\n"
