"""What a device is told when it is back: read, checked, and made into writes."""

from pathlib import Path

import pytest

from gantry_agent.faults import ConfigFault
from gantry_agent.field import plan_writes, profile
from gantry_agent.field.request import SetOid, WriteBit, WriteRegisters
from gantry_agent.model import Device

GOOD = """\
profile: it
title: {zh: 它, en: it}
protocol: modbus
maturity: draft
sources: [{document: manual, page: "7"}]
members: {elec: 1}
points:
  elec.voltage: {read: holding 0x10, unit: V}
"""
SNMP = """\
profile: it
title: {zh: 它, en: it}
protocol: snmp
maturity: draft
sources: [{document: manual, page: "7"}]
members: {elec: 1}
points:
  elec.voltage: {oid: 1.3.6.1.2, unit: V}
on_return:
  - {oid: 1.3.6.1.4.1.9.0, kind: integer, value: -3}
"""


def check(folder: Path, text: str) -> profile.Profile:
    path = folder / "it.yaml"
    path.write_text(text, encoding="utf-8")
    return profile.check(path)


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigFault) as caught:
        check(folder, text)
    return [fault.text.en for fault in caught.value.faults]


def device(**parameters: int) -> Device:
    return Device("1.it", 1, "it", "line", 7, {"elec": (1,)}, parameters)


def test_settings_become_writes_in_their_order(tmp_path: Path) -> None:
    text = GOOD + (
        "parameters: {mode: {default: 1, choices: [1, 2]}}\n"
        "on_return:\n"
        "  - {write: coil 4, value: 1}\n"
        "  - {write: holding 0x20, value: mode}\n"
        "  - {write: holding 0x30, function: 16, as: s32, value: -2}\n"
    )
    it = check(tmp_path, text)
    assert plan_writes.settings(it, device(mode=2)) == (
        WriteBit(7, 4, True),
        WriteRegisters(7, 6, 0x20, (2,)),
        WriteRegisters(7, 16, 0x30, (0xFFFF, 0xFFFE)),
    )
    assert plan_writes.settings(check(tmp_path, GOOD), device()) == ()


def test_settings_of_snmp_devices_are_sets(tmp_path: Path) -> None:
    assert plan_writes.settings(check(tmp_path, SNMP), device()) == (SetOid("1.3.6.1.4.1.9.0", "integer", -3),)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (
            "{write: holding 3, value: 70000}",
            "on_return[0].value: cannot be 70000: it must be a whole number that fits u16",
        ),
        ("{write: holding 3, value: 1.5}", "on_return[0].value: cannot be 1.5: it must be a whole number"),
        ("{write: coil 3, value: 2}", "on_return[0].value: cannot be 2: it must be a whole number that fits bit"),
        ("{write: input 3, value: 2}", "on_return[0].write: cannot be read"),
        ("{write: holding 3, value: free}", "on_return[0].value: cannot be 'free': it must be a whole number"),
        ("{write: holding 3, value: 1, when: 2}", "on_return[0].when: "),
    ],
)
def test_a_setting_that_cannot_be_written_is_a_fault(tmp_path: Path, entry: str, complaint: str) -> None:
    text = GOOD + f"parameters: {{free: {{default: 1}}}}\non_return: [{entry}]\n"
    assert any(complaint in told for told in faults(tmp_path, text))
