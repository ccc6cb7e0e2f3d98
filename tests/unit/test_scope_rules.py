"""The wiring rules as a table: what was heard → which hint, about whom; and what is no reason for one."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.core.stethoscope import (
    BusStatistics,
    Down,
    DownKind,
    Ending,
    Listened,
    Look,
    Stray,
    Trouble,
    UnitStatistics,
)
from gantry_agent.core.wiring import RULES, hints

E = Ending
GOOD = [E.GOOD] * 40
DEAD = [*GOOD, *[E.SILENT] * 5]


def unit(number: int, endings: list[Ending], troubles: tuple[Trouble, ...] = (), late_s: tuple[float, ...] = ()):
    told = troubles or tuple(Trouble(ending) for ending in endings if ending is not E.GOOD)
    counts = UnitStatistics(0, 0, 0, 0, 0, (), late_s=late_s, recent=tuple(endings), troubles=told)
    return Listened(number, f"1.unit{number}", 0.3, counts)


def look(*units: Listened, kind: str = "serial", **more) -> Look:
    return Look(kind, "/dev/ttyS1", BusStatistics({}, **more), units)


def mixed(ending: Ending, bad: int = 10) -> list[Ending]:
    return [E.GOOD, ending] * bad


def spread(*places: int, length: int = 45) -> tuple[Trouble, ...]:
    return tuple(Trouble(E.CRC, at, length) for at in places)


CASES = {
    "healthy": (look(unit(1, GOOD), unit(2, GOOD)), ()),
    "a few chance losses": (look(unit(1, [*GOOD, E.CRC, E.SILENT, *GOOD])), ()),
    "refusals are answers": (look(unit(1, [E.REFUSED] * 40)), ()),
    "not asked yet": (look(unit(1, [])), ()),
    "one silent among others": (look(unit(1, GOOD), unit(7, DEAD)), ("unit-silent",)),
    "the only unit silent": (look(unit(1, DEAD)), ("unit-silent",)),
    "all silent": (look(unit(1, DEAD), unit(2, DEAD)), ("all-silent",)),
    "all silent but echoes": (look(unit(1, [E.ECHO_ONLY] * 5), unit(2, [E.ECHO_ONLY] * 5)), ("all-silent", "echo")),
    "gateway without units": (look(unit(1, DEAD), kind="modbus-tcp"), ("all-silent",)),
    "gateway says silent": (look(unit(1, GOOD), unit(2, [E.GATEWAY] * 9), kind="modbus-tcp"), ("gateway",)),
    "agent silent": (look(unit(0, DEAD), kind="snmp"), ("agent-silent",)),
    "controller silent": (look(unit(1, DEAD), unit(2, GOOD), kind="uhppote"), ("agent-silent",)),
    "device asked by datagrams silent": (look(unit(1, DEAD), kind="udp"), ("agent-silent",)),
    "late": (look(unit(1, GOOD), unit(2, DEAD, late_s=(0.31, 0.33, 0.32))), ("late",)),
    "head lost": (look(unit(1, mixed(E.HEAD), (Trouble(E.HEAD, 0, 7),) * 10), unit(2, GOOD)), ("head",)),
    "head broken": (look(unit(1, mixed(E.CRC), spread(*[0, 1, 0, 0, 2, 0, 0, 1, 0, 40]))), ("head",)),
    "short answers break at the head by chance": (
        look(unit(1, mixed(E.CRC), spread(*[0, 3, 1, 5, 2, 6, 0, 4, 1, 2], length=7))),
        ("noise",),
    ),
    "tail": (look(unit(1, mixed(E.TAIL), (Trouble(E.TAIL, 20, 45),) * 10)), ("tail",)),
    "noise": (look(unit(1, mixed(E.CRC), spread(*range(0, 40, 4))), unit(2, GOOD)), ("noise",)),
    "collision": (look(unit(1, mixed(E.LONG)), unit(2, GOOD), unit(3, GOOD)), ("collision",)),
    "twofold everywhere is no collision": (look(unit(1, mixed(E.LONG)), unit(2, mixed(E.LONG))), ("noise",)),
    "baud of the line": (look(unit(1, [E.GARBLED] * 9), unit(2, [E.GARBLED] * 9)), ("baud",)),
    "baud of one": (look(unit(1, [E.GARBLED] * 9), unit(2, GOOD)), ("baud",)),
    "foreign": (look(unit(1, mixed(E.FOREIGN))), ("foreign",)),
    "bad over tcp": (look(unit(1, mixed(E.BAD)), kind="modbus-tcp"), ("bad",)),
    "bad on a line, of a framing without positions": (look(unit(1, mixed(E.BAD))), ("bad",)),
    "flaky": (look(unit(1, mixed(E.SILENT)), unit(2, GOOD)), ("flaky",)),
    "echo": (look(unit(1, [E.ECHOED] * 40)), ("echo",)),
    "glitches": (look(unit(1, [E.NOISY] * 40)), ("glitches",)),
    "second master": (look(unit(1, mixed(E.CRC)), strays={Stray.QUESTION: 5}), ("second-master",)),
    "second master between good answers": (
        look(unit(1, mixed(E.NOISY)), strays={Stray.QUESTION: 5}),
        ("second-master",),
    ),
    "babble": (look(unit(1, [E.GARBLED] * 9), strays={Stray.BABBLE: 5}), ("babble",)),
    "losses": (look(unit(1, GOOD), kind="serial-tcp", losses=4), ("losses",)),
    "every answer lost with its connection is no silent unit": (
        look(unit(1, [E.LOST] * 9), kind="modbus-tcp", losses=9),
        ("losses",),
    ),
    "one loss is chance": (look(unit(1, [*GOOD, E.LOST]), kind="modbus-tcp", losses=1), ()),
    "down explains the rest": (look(unit(1, DEAD), down=Down("missing", "cannot open")), ("down",)),
    "two faults of two units": (
        look(unit(1, GOOD), unit(2, DEAD), unit(3, mixed(E.TAIL))),
        ("unit-silent", "tail"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_was_heard_gives_this_hint(name):
    seen, expected = CASES[name]
    found = hints(seen)
    assert tuple(hint.rule for hint in found) == expected
    for hint in found:
        assert hint.text.zh != hint.text.en
        assert hint.text.zh.isascii() is False
        assert hint.text.en.isascii() is True


def test_every_rule_has_a_case():
    assert {rule for _, rules in CASES.values() for rule in rules} == set(RULES)


@pytest.mark.parametrize("kind", get_args(DownKind))
def test_every_way_of_being_down_is_told_with_its_place(kind):
    (hint,) = hints(look(unit(1, GOOD), down=Down(kind, "cannot open")))
    assert "/dev/ttyS1" in hint.text.zh
    assert "/dev/ttyS1" in hint.text.en


def test_where_there_is_no_wiring_a_hint_speaks_of_none():
    for kind in ("snmp", "uhppote", "udp"):
        (hint,) = hints(look(unit(7, DEAD), kind=kind))
        assert "A/B" not in hint.text.en
        assert "45 questions" in hint.text.en
        assert "45 次" in hint.text.zh
        assert kind == "snmp" or "1.unit7" in hint.text.en


def test_a_hint_names_the_device_and_its_figures():
    (hint,) = hints(look(unit(1, GOOD), unit(7, DEAD)))
    assert hint.units == (7,)
    assert "1.unit7 (unit 7)" in hint.text.en
    assert "5 in a row" in hint.text.en
    assert "1.unit7（地址 7）" in hint.text.zh
    (hint,) = hints(look(unit(2, mixed(E.SILENT), late_s=(0.31, 0.33, 0.32))))
    assert "300 ms" in hint.text.en
    assert "raise response_ms of its profile to 495" in hint.text.en


endings = st.lists(st.sampled_from(Ending), max_size=40)


@given(st.lists(endings, max_size=6), st.sampled_from(["serial", "serial-tcp", "modbus-tcp", "snmp"]))
def test_no_unit_is_told_of_twice_whatever_was_heard(heard, kind):
    found = hints(look(*(unit(n, e) for n, e in enumerate(heard)), kind=kind))
    told = [number for hint in found if hint.rule != "second-master" for number in hint.units]
    assert len(told) == len(set(told))
