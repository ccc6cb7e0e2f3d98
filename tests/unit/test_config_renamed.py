"""A site file with old names of products and points goes on working, and `check` says what they are called now."""

from pathlib import Path

import pytest

from gantry_agent.config.site import read_config
from gantry_agent.faults import ConfigFault
from gantry_agent.field import profile
from gantry_agent.model import Role

SITE = """\
gantry: {{id: G000211001002110010}}
cloud: {{server: "http://127.0.0.1:1/monitor.do", auth: "654321"}}
control: {{listen: "127.0.0.1:3699"}}
storage: {{path: {folder}}}
buses:
  io: {{type: modbus-tcp, host: 127.0.0.1}}
computers: [{{id: 1, monitor: true, source: local, nic: lo}}]
cabinets:
  - id: 1
    devices:
      board: {{profile: {product}, bus: io, map: {{doors.frontDoorClosed: {input}}}}}
    outputs: {{lock: {{device: board, point: {output}, pulse_s: 3}}}}
    doors: {{front: {{unlock: lock, reader: {{device: board, point: {reader}}}}}}}
"""
BOARD = """\
profile: board
title: {zh: 板, en: board}
protocol: modbus
maturity: transcript
sources: [{document: d, page: p}]
was: [old-board, older-board]
renamed: {relay: do0, closed: di0, badge: card}
points:
  di0: {read: discrete 0}
  do0: {read: coil 0, write: coil 0}
  number: {read: holding 1}
  card: {read: holding 2, as: u32, shows: {count: number}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/board.yaml").write_text(BOARD, encoding="utf-8")
    return tmp_path


def read(folder: Path, **names: str):
    site = folder / "site.yaml"
    site.write_text(SITE.format(folder=folder, **names), encoding="utf-8")
    return read_config(site, (folder / "profiles", profile.SHIPPED))


NOW = {"product": "board", "input": "di0", "output": "do0", "reader": "card"}


def test_old_names_work_and_are_told_with_their_place(folder: Path) -> None:
    config = read(folder, product="older-board", input="closed", output="relay", reader="badge")
    told = [one.render("en") for one in config.warnings if " now" in one.text.en]
    assert [one.rpartition("/")[2] for one in told] == [
        "site.yaml:11:24: older-board is called board now; the next release drops the old name",
        "site.yaml:11:75: closed is called di0 now; the next release drops the old name",
        "site.yaml:12:44: relay is called do0 now; the next release drops the old name",
        "site.yaml:13:66: badge is called card now; the next release drops the old name",
    ]
    device = config.site.devices["1.board"]
    assert device.profile == "board"
    assert device.mapping[Role(1, "doors"), "frontDoorClosed"].point == "di0"
    assert config.site.cabinets[0].outputs["lock"].point == "do0"
    assert [reader.point for reader in config.site.readers] == ["card"]


def test_names_as_they_are_now_need_no_word(folder: Path) -> None:
    assert not [one for one in read(folder, **NOW).warnings if " now" in one.text.en]


def test_a_name_that_nobody_had_is_a_fault_as_ever(folder: Path) -> None:
    with pytest.raises(ConfigFault) as faulty:
        read(folder, **NOW | {"product": "old"})
    assert "there is no profile old" in str(faulty.value)


@pytest.mark.parametrize(
    ("renamed", "said"),
    [
        ("{di0: do0}", "renamed.di0: cannot be an old name: a point has it"),
        ("{relay: do9}", "renamed.relay: there is no point do9; did you mean do0?"),
    ],
)
def test_an_old_name_leads_to_a_point_that_there_is(folder: Path, renamed: str, said: str) -> None:
    path = folder / "profiles/board.yaml"
    path.write_text(BOARD.replace("{relay: do0, closed: di0, badge: card}", renamed), encoding="utf-8")
    with pytest.raises(ConfigFault) as faulty:
        profile.check(path)
    assert said in str(faulty.value)


def test_no_shipped_profile_has_a_name_that_another_had() -> None:
    names = set(profile.names())
    for name in names:
        assert not names & set(profile.load(name).was)
