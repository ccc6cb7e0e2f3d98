"""Who asked what, and what was done: the audit and the shell's commands, with the real three running."""

import getpass
import json
import re
import sqlite3
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from gantry import Gantry, gantry
from support import ROOT, english_sentences, eventually, python

pytestmark = pytest.mark.system

LOCK_ON = "00 00 00 00 00 06 01 05 00 00 FF 00"  # Modbus TCP, unit 1: coil 0 on; the frame of the specification


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory):
    with gantry(tmp_path_factory.mktemp("audit")) as running:
        yield running


def shell(site: Gantry, *words: str, code: int | None = 0, language: str = "C.UTF-8") -> str:
    """Run a subcommand as a technician would; return what it says."""
    done = subprocess.run(
        [*python("gantry_agent", words[0], "-c", str(site.site)), *words[1:]],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "LANG": language},
        check=False,
    )
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def entries(site: Gantry, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in shell(site, "audit", "show", "--json", *words).splitlines()]


def unlocked(site: Gantry, side: str = "front") -> bool:
    return site.state()[side]["energised"]


def test_an_order_of_the_cloud_is_one_entry_with_what_was_written_and_read_back(site: Gantry):
    assert site.order({"cmd": "2", "unlockDoorId": "1"})["code"] == "1000"
    entry = eventually(lambda: entries(site), what="an entry")[-1]
    assert (entry["who"], entry["via"], entry["what"]) == (
        "127.0.0.1",
        "cloud",
        "cabinetControl cmd=2 unlockDoorId=1",
    )
    assert entry["intent"] == "unlock the front door of cabinet 1"
    assert entry["outcome"] == "done"
    assert json.loads(entry["answer"]) == {"code": "1000", "msg": "成功"}
    written, read = (next(n for n, step in enumerate(entry["steps"]) if what in step) for what in (LOCK_ON, "reads 1"))
    assert written < read, entry["steps"]
    assert len(entry["digest"]) == 64


@pytest.mark.parametrize(
    ("business", "how", "code", "outcome"),
    [
        ({"cmd": "2", "unlockDoorId": "9"}, {}, "1002", "refused"),
        ({"cmd": "2", "unlockDoorId": "1"}, {"auth": "guess"}, "1001", "refused"),
        ({"cmd": "2", "unlockDoorId": "1"}, {"md5": "0" * 32}, "1004", "refused"),
        ({"cmd": "8", "onOff": "1", "cabinetId": "2"}, {}, "1007", "not done"),
    ],
)
def test_what_is_refused_or_not_done_is_an_entry_too(site: Gantry, business, how, code, outcome):
    before = len(entries(site))
    assert site.order(business, **how)["code"] == code
    entry = eventually(lambda: entries(site)[before:], what="an entry")[-1]
    assert entry["outcome"] == outcome
    assert json.loads(entry["answer"])["code"] == code
    assert "guess" not in json.dumps(entry)


def test_the_same_command_from_the_shell_moves_the_same_lock_and_names_its_user(site: Gantry):
    eventually(lambda: not unlocked(site))
    assert "1000 成功" in shell(site, "command", "unlock", "unlockDoorId=1")
    assert unlocked(site)
    entry = entries(site)[-1]
    assert (entry["who"], entry["via"], entry["outcome"]) == (getpass.getuser(), "shell", "done")
    eventually(lambda: not unlocked(site), 6)


def test_a_dry_run_prints_the_frame_and_moves_nothing(site: Gantry):
    eventually(lambda: not unlocked(site), 6)
    said = shell(site, "command", "2", "unlockDoorId=1", "--dry-run")
    assert LOCK_ON in said
    assert not unlocked(site)
    assert eventually(lambda: entries(site)[-1]["outcome"] == "dry run")
    assert "1002 参数有误: unlockDoorId" in shell(site, "command", "unlock", "unlockDoorId=7", "--dry-run", code=1)


def test_a_slip_at_the_shell_is_told_with_what_is_valid(site: Gantry):
    assert "airOperate" in shell(site, "command", "air", "airID=1", "airOperate=1", code=1)
    assert "battery-test" in shell(site, "command", "unlok", code=1)
    for dry in ((), ("--dry-run",)):
        told = shell(site, "command", "unlock", *dry, code=1)
        assert "1002 参数有误: unlockDoorId\n    unlockDoorId: valid: 1 (front), 2 (back)\n" in told


def test_a_list_of_cards_that_cannot_be_read_or_is_too_long_is_told_with_what_is_valid(site: Gantry, tmp_path: Path):
    cards = tmp_path / "cards.csv"
    for content, said in (
        (b"\xff\xfe1\x000\x00", "valid are UTF-8"),  # a table as some programs save it
        (b"".join(b"%d,2030-01-01\n" % number for number in range(10_000_000, 10_030_000)), "1048576 are valid"),
    ):
        cards.write_bytes(content)
        told = shell(site, "command", "cards", f"cardInfos=@{cards}", code=1)
        assert said in told
        assert "Traceback" not in told


def test_a_reset_at_the_shell_counts_at_once_and_is_in_the_audit_with_its_user(site: Gantry):
    assert site.order({"setFrequency": "3600"})["code"] == "1000"
    assert "state reset interval_s.cabinet" in shell(site, "doctor", code=None), (
        "the cloud has set it, and what undoes it"
    )
    said = shell(site, "state", "reset", "interval_s.cabinet", "server.cabinet", code=1)
    assert "interval_s.cabinet: the site file counts again, from now on" in said
    assert "server.cabinet was not set" in said
    assert "uploads of cabinet: http" in (told := shell(site, "doctor", code=None))
    assert re.search(r"uploads of cabinet: \S+ every 10 s", told)
    assert "the cloud has set" not in told
    since = site.received()
    eventually(lambda: site.uploads("cabinetStatusUpdate", 1, since), 15, "an upload by the interval of the site file")
    (entry,) = [one for one in entries(site) if one["what"] == "state reset"]
    assert (entry["who"], entry["intent"]) == (getpass.getuser(), "interval_s.cabinet = 3600")
    assert "newest mark" in shell(site, "audit", "verify")


def test_a_reset_of_the_defence_ends_it_at_once(site: Gantry):
    assert site.order({"cmd": "6", "isDoorDefend": "1"})["code"] == "1000"
    shell(site, "state", "reset", "defend.1", "defend.2")
    assert "the cloud has set nothing" in shell(site, "state")
    site.agent.wait_for("the site file counts again for defend.2")


def test_set_points_are_told_in_words_and_not_as_python_writes_them(site: Gantry):
    business = {"cmd": "4", "airId": "1", "autoRefrigerationTemp": "26.5", "autoHeatingTemp": "5"}
    site.order(business)
    intent = eventually(lambda: [one["intent"] for one in entries(site) if "heat from" in one["intent"]])[-1]
    assert intent == "air conditioner 1 of cabinet 1: cool from 26.5 °C, heat from 5 °C"
    assert "机柜 1 空调 1 ：制冷 26.5 °C，制热 5 °C" in shell(site, "audit", "show", language="zh_CN.UTF-8")
    assert "Decimal" not in site.agent.output


def test_in_a_chinese_session_the_running_agent_says_no_english_sentence(site: Gantry):
    chinese = {"code": None, "language": "zh_CN.UTF-8"}
    site.fault("1.io", "silent", seconds=4)
    site.order({"cmd": "2", "unlockDoorId": "1"})
    for words in (
        ("audit", "show"),
        ("doctor",),
        ("state", "reset", "nothing"),
        ("probe", "1.meter"),
        ("command", "unlock", "unlockDoorId=1", "--dry-run"),
        ("command", "temperatures", "airId=1", "autoRefrigerationTemp=27", "--dry-run"),
        ("command", "unlock", "unlockDorId=1"),
    ):
        said = shell(site, *words, **chinese)
        assert english_sentences(said) == [], said
        assert re.search("[\u4e00-\u9fff]", said), said


def test_show_finds_what_happened_around_a_time(site: Gantry):
    latest = entries(site)[-1]
    assert "unlock the front door" in shell(site, "audit", "show")
    day = subprocess.run(
        ["/bin/date", "-d", f"@{latest['at']}", "+%F %H:%M"],
        env={"TZ": "Asia/Shanghai"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert [one["number"] for one in entries(site, "--at", day)][-1] >= latest["number"]
    assert "nothing in that time" in shell(site, "audit", "show", "--at", "2020-01-01 03:12")
    assert "earlier ones are not listed" in shell(site, "audit", "show", "--latest", "2")
    assert "valid" in shell(site, "audit", "show", "--at", "25:61", code=1)


def test_a_request_under_way_when_the_agent_dies_is_in_the_audit_as_interrupted(site: Gantry):
    site.fault("1.io", "silent", seconds=8)
    begun = subprocess.Popen(
        [*python("gantry_agent", "command", "-c", str(site.site)), "unlock", "unlockDoorId=1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    path = next(Path(site.folder, "state").glob("*.db"))
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        eventually(lambda: db.execute("SELECT count(*) FROM audit_begun").fetchone()[0], what="it is begun")
    db.close()
    site.agent.kill()
    begun.wait(20)
    site.mend("1.io")
    site.start_agent()
    assert eventually(lambda: "interrupted" in entries(site)[-1]["outcome"])
    assert "unlock the front door" in entries(site)[-1]["intent"]


def test_verify_finds_an_edit_and_a_deletion_and_the_log_has_the_newest_mark(site: Gantry):
    said = shell(site, "audit", "verify")
    newest = said.split("mark ")[1].split()[0]
    site.agent.stop()
    site.start_agent()
    site.agent.wait_for(f"newest mark {newest}")
    path = next(Path(site.folder, "state").glob("*.db"))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE audit SET who = '10.9.9.9' WHERE number = 2")
    db.close()
    assert "#2 was edited" in shell(site, "audit", "verify", code=1)
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM audit WHERE number = 2")
    db.close()
    assert "#3 is missing before it (1)" in shell(site, "audit", "verify", code=1)


def test_why_the_door_stood_open_is_answered_by_who_unlocked_it_and_how_it_opened(site: Gantry):
    site.order({"cmd": "2", "unlockDoorId": "1"})
    site.plant(door={"front": "open"})
    opened = eventually(lambda: [one for one in entries(site) if one["what"] == "front door opened"])[-1]
    assert (opened["who"], opened["via"], opened["outcome"]) == ("cabinet 1", "site", "unlocked remotely")
    clock = datetime.fromtimestamp(opened["at"], ZoneInfo("Asia/Shanghai")).strftime("%H:%M")
    who = r"cloud 127\.0\.0\.1  .*\n +unlock the front door of cabinet 1\n"
    answer = who + r"(.*\n)*#\d+ .*front door opened\n +unlocked remotely"
    assert re.search(answer, shell(site, "audit", "show", "--at", clock)), "why did the door open at that time"
    site.plant(door={"front": "closed"})
    site.plant(door={"back": "forced"})
    forced = eventually(lambda: [one for one in entries(site) if one["what"] == "back door opened"])[-1]
    assert forced["outcome"] == "while it was locked; illegal"
    site.plant(door={"back": "closed"})
