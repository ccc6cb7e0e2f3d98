"""What the tour of the demo says of a step that was not seen: words, in both languages."""

import pytest

from hwsim.demo_tour import STEPS, _came, _fields


@pytest.mark.parametrize(
    ("result", "en"),
    [
        ({"status": 200, "answer": {"code": "1002", "msg": "参数有误: unlockDoorId"}}, "1002 参数有误: unlockDoorId"),
        (
            {"error": "cannot reach http://127.0.0.1:1/: refused"},
            "no answer (cannot reach http://127.0.0.1:1/: refused)",
        ),
        ({"status": 502, "size": 40, "answer": None}, "HTTP 502, 40 bytes, no answer of the interface"),
        ({"status": 200, "size": 2, "answer": []}, "HTTP 200, 2 bytes, no answer of the interface"),
    ],
)
def test_what_came_instead_of_the_answer_is_said_in_words(result: dict[str, object], en: str) -> None:
    assert _came(result).en == en
    assert not set("{}'") & set(_came(result).en + _came(result).zh)


def test_what_was_asked_is_said_in_words() -> None:
    assert _fields({"cmd": "2", "unlockDoorId": "1"}) == "cmd=2, unlockDoorId=1"
    assert _fields({"door": {"front": "open"}, "mains": False}) == "door=front=open, mains=False"


def test_every_step_has_its_name_in_both_languages() -> None:
    for name, _ in STEPS:
        assert name.en.isascii()
        assert not name.zh.isascii()
