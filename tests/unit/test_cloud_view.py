"""How the simulated cloud shows uploads: differences by path, one line each, in both languages."""

from datetime import UTC, datetime

import pytest

from hwsim.cloud_rules import Complaint
from hwsim.cloud_view import Shown, cabinet_table, differences, line, telling
from hwsim.terminal import Paint, Text, reader_language

PLAIN, COLOURED = Paint(False), Paint(True)
AT = datetime(2026, 3, 4, 5, 6, 7, 89000, UTC)


def shown(**given: object) -> Shown:
    values: dict[str, object] = {
        "at": AT,
        "method": "cabinetStatusUpdate",
        "cabinet": "1",
        "code": "1000",
        "behaviour": "",
        "duplicate": False,
        "changes": (),
        "complaints": (),
    }
    return Shown(**{**values, **given})  # type: ignore[arg-type]


def test_elements_of_arrays_are_compared_by_their_id_not_their_place() -> None:
    before = {"ups": [{"id": "1", "status": "1"}, {"id": "2", "status": "1"}], "id": "1"}
    after = {"ups": [{"id": "2", "status": "0"}, {"id": "1", "status": "1"}], "id": "1"}
    assert differences(before, after) == (("ups[2].status", "1", "0"),)


def test_what_came_and_what_went_are_differences_too() -> None:
    assert differences({"a": "1"}, {"b": "2"}) == (("b", "", "2"), ("a", "1", ""))


def test_measurements_are_left_out_where_states_changed() -> None:
    changes = (("elec[1].voltage", "230", "0"), ("elec[1].status", "1", "0"))
    assert telling(changes) == (("elec[1].status", "1", "0"),)
    assert line(shown(changes=changes), "en", PLAIN) == "05:06:07.089  cabinet 1  1000 ✓  elec[1].status 1→0"
    assert line(shown(changes=changes[:1]), "zh", PLAIN) == "05:06:07.089  机柜 1  1000 ✓  1 个测量值有变化"


def test_many_changes_are_counted_not_listed() -> None:
    changes = tuple((f"doors.x{n}", "0", "1") for n in range(12))
    assert line(shown(changes=changes), "en", PLAIN).endswith("doors.x7 0→1, +4")


def test_complaints_follow_the_line_and_are_capped() -> None:
    complaints = tuple(Complaint("1002", f"f{n}", Text("缺少", "is missing")) for n in range(8))
    lines = line(shown(code="1002", complaints=complaints), "zh", PLAIN).splitlines()
    assert lines[0].endswith("1002 ✗")
    assert lines[1] == "    f0  缺少"
    assert lines[-1] == "    ……另有 2 处"


def test_misbehaviour_and_duplicates_are_marked() -> None:
    text = line(shown(code="", behaviour="reset", duplicate=True), "en", PLAIN)
    assert "— ✗  [misbehaving: reset]  [duplicate]" in text


def test_colours_only_where_they_are_on() -> None:
    assert "\x1b[" in line(shown(), "en", COLOURED)
    assert "\x1b[" not in line(shown(), "en", PLAIN)


def test_a_table_has_a_row_for_every_element_and_shows_empty_texts() -> None:
    rows = cabinet_table({"id": "1", "elec": [{"id": "1", "warningMsg": ""}], "doors": {"status": "1"}}, PLAIN)
    assert [row.split() for row in rows] == [["elec[1]", "warningMsg", "“”"], ["doors", "status", "1"]]


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN"}, "zh"),
        ({}, "en"),
    ],
)
def test_the_reader_language_follows_the_locale(environ: dict[str, str], language: str) -> None:
    assert reader_language(environ) == language
