"""Registers that are switched by words of their own, words that only a site can look up, and blocks with fillers."""

from pathlib import Path

import pytest

from gantry_agent.config import read_config
from gantry_agent.faults import ConfigFault
from gantry_agent.field import plan_writes, profile
from gantry_agent.field.product import Profile
from gantry_agent.field.request import WriteBit, WriteRegisters
from tests import profile_rig as rig

HEAD = """\
profile: it
title: {zh: 它, en: it}
protocol: modbus
maturity: draft
sources: [{document: manual, page: "7"}]
members: {airConditioners: 1}
parameters: {closed_word: {default: -1}, open_word: {default: -1}}
"""
OPEN = "{read: holding 0x10, map: {closed_word: 0, open_word: 1}, write: {to: holding 0x11, map: {1: 7, 0: 9}}}"
BREAKER = HEAD + f"points:\n  open: {OPEN}\n"
UNIT = (
    HEAD
    + """\
points:
  cooling_on: {read: holding 4, unit: °C}
  heating_on: {read: holding 6, unit: °C}
writes:
  airConditioners.autoRefrigerationTemp:
    {block: holding 4 x5, pad: 0xFFFF, write: holding 4, confirm: {point: cooling_on}}
  airConditioners.autoHeatingTemp:
    {block: holding 4 x5, pad: 0xFFFF, write: holding 6, confirm: {point: heating_on}}
"""
)
SITE = """\
gantry: {id: G000211001002110010}
cloud: {server: "http://127.0.0.1/monitor.do", auth: "1"}
buses:
  rs485: {type: serial, port: /dev/ttyS1}
cabinets:
  - id: 1
    devices:
      lock: {profile: huawei-cabinet-lock, bus: rs485, parameters: {command: 70000}}
    outputs:
      front: {device: lock, point: unlocked, pulse_s: 3}
"""


def read(tmp_path: Path, text: str) -> Profile:
    path = tmp_path / "it.yaml"
    path.write_text(text, encoding="utf-8")
    return profile.check(path)


def test_an_output_is_written_with_the_words_of_its_map_and_read_back_by_those_of_the_site(tmp_path: Path) -> None:
    it = read(tmp_path, BREAKER)
    known = rig.device(it, parameters={"closed_word": 5, "open_word": 6})
    for value, word in ((1, 7), (0, 9)):
        written = plan_writes.write(it, known, "open", value)
        assert written.requests == (WriteRegisters(1, 6, 0x11, (word,)),)
        assert written.confirm is not None
        assert written.confirm.expected == value
    watched = {"watched": frozenset({"open"})}
    for word, reading in ((5, 0), (6, 1), (7, "NoData")):
        image = rig.Image({"holding": {0x10: [word]}})
        found = rig.read_all(it, rig.device(it, parameters=known.parameters, **watched), image)
        assert str(found["open"].value) == str(reading)
    unknown = rig.read_all(it, rig.device(it, **watched), rig.Image({"holding": {0x10: [5]}}))
    assert str(unknown["open"].value) == "NoData"


def test_a_coil_may_be_written_the_other_way_round(tmp_path: Path) -> None:
    it = read(tmp_path, BREAKER.replace("to: holding 0x11, map: {1: 7, 0: 9}", "to: coil 1, map: {1: 0, 0: 1}"))
    for value in (0, 1):
        assert plan_writes.write(it, rig.device(it), "open", value).requests == (WriteBit(1, 1, not value),)


def test_a_place_to_write_that_lies_outside_is_told_at_the_parameter_that_it_is_made_of(tmp_path: Path) -> None:
    (tmp_path / "gantry.yaml").write_text(SITE, encoding="utf-8")
    with pytest.raises(ConfigFault) as faulty:
        read_config(tmp_path / "gantry.yaml")
    (fault,) = faulty.value.faults
    assert (fault.line, "unlocked of huawei-cabinet-lock would be at register 70000" in fault.text.en) == (8, True)


def test_the_fillers_of_a_block_are_written_between_its_values_and_both_set_points_in_one_write(tmp_path: Path) -> None:
    it = read(tmp_path, UNIT)
    device = rig.device(it)
    orders = [
        plan_writes.write(it, device, f"airConditioners.{name}", value)
        for name, value in (("autoRefrigerationTemp", 28), ("autoHeatingTemp", 8))
    ]
    (stage,) = plan_writes.together(orders).requests
    assert isinstance(stage, plan_writes.InBlock)
    done = plan_writes.finished(stage, (35, 1, 5, 2, 50))
    assert done == WriteRegisters(1, 16, 4, (28, 0xFFFF, 8, 0xFFFF, 50))


@pytest.mark.parametrize(
    ("text", "old", "new", "said"),
    [
        (BREAKER, "{1: 7, 0: 9}", "{1: 7}", "must say what 0 and 1 are written as"),
        (BREAKER, "{1: 7, 0: 9}", "{1: 7, 0: 9, 2: 1}", "must say what 0 and 1 are written as"),
        (BREAKER, "{1: 7, 0: 9}", "{1: 7, 0: 0x10000}", "must say what 0 and 1 are written as"),
        (BREAKER, "to: holding 0x11", "to: coil 1", "a coil takes 0 and 1 only"),
        (BREAKER, "to: holding 0x11", "to: input 1", "coil|holding"),
        (BREAKER, "to: holding 0x11", "too: holding 0x11", "did you mean to?"),
        (BREAKER, "map: {closed_word: 0", "map: {closed_wrod: 0", "did you mean closed_word?"),
        (UNIT, "pad: 0xFFFF, write: holding 4", "pad: 0x10000, write: holding 4", "0 to 65535"),
        (UNIT, "write: holding 6", "write: holding 5", "is one of those that it fills"),
    ],
)
def test_a_faulty_one_is_told(tmp_path: Path, text: str, old: str, new: str, said: str) -> None:
    assert old in text
    with pytest.raises(ConfigFault) as faulty:
        read(tmp_path, text.replace(old, new, 1))
    assert said in str(faulty.value), str(faulty.value)
