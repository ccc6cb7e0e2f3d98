"""Signs of a product: how they are written, what fits them, and how sure they make."""

from pathlib import Path

import pytest

from gantry_agent.faults import ConfigFault
from gantry_agent.field import profile
from gantry_agent.field.identify import signs
from gantry_agent.field.product_identity import Says, Surety, judge
from gantry_agent.field.request import GetOids, ReadRegisters
from gantry_agent.model import Quality

HEAD = """\
profile: mine
title: {{zh: 我的, en: mine}}
protocol: {protocol}
maturity: draft
sources: [{{document: d, page: p}}]
parameters: {{base: {{default: 100}}}}
identity: {signs}
"""
SYSTEM = "{oid: 1.3.6.1.2.1.1.2.0, under: 1.3.6.1.4.1.9}"


def read(folder: Path, protocol: str, written: str) -> profile.Profile:
    path = folder / "mine.yaml"
    path.write_text(HEAD.format(protocol=protocol, signs=written), encoding="utf-8")
    return profile.check(path)


@pytest.mark.parametrize(
    ("says", "fitting", "others"),
    [
        (Says(under=("1.3.6.1.4.1.9",)), ["1.3.6.1.4.1.9", "1.3.6.1.4.1.9.5"], ["1.3.6.1.4.1.99", "1.3.6", 9]),
        (Says(has=("SMU", "ETP")), ["Huawei smu11b", "ETP48"], ["SM U", "", Quality.NO_DATA]),
        (Says(values=(0, 1)), [0, 1], [2, "0", Quality.NOT_SUPPORT]),
        (Says(low=45, high=65), [45, 50.0, 65], [44.9, 66, "50", Quality.GET_FAILED]),
        (Says(there=True), [0, "", "x"], [Quality.NO_DATA, Quality.NOT_SUPPORT]),
    ],
)
def test_what_fits_a_sign(says: Says, fitting: list, others: list) -> None:
    assert all(says.fits(value) for value in fitting)
    assert not any(says.fits(value) for value in others)


def test_how_sure_several_signs_make() -> None:
    telling, range_, weak = Says(values=(1,)), Says(low=1, high=2), Says(values=(1,), weak=True)
    assert judge([(telling, 1), (range_, 2)]) == (Surety.SURE, 4)
    assert judge([(range_, 1), (range_, 2), (weak, 1)]) == (Surety.LIKELY, 3)
    assert judge([(telling, 1), (range_, 1), (range_, 9)]) == (Surety.PERHAPS, 4)
    assert judge([(telling, 1), (range_, 9)])[0] is Surety.NO  # half is not more than half
    assert judge([(range_, 1), (range_, 1), (range_, 9)])[0] is Surety.NO  # nothing telling among them
    assert judge([(telling, Quality.GET_FAILED)])[0] is Surety.NO
    assert judge([])[0] is Surety.NO


def test_what_fits_with_0_shows_nothing() -> None:
    """Many units read 0 wherever nothing stands: a meter was taken for a surge counter that is well."""
    code, range_, there = Says(values=(0, 0xFFFF)), Says(low=0, high=1), Says(there=True)
    assert judge([(code, 0), (range_, 0), (range_, 0)]) == (Surety.PERHAPS, 0)
    assert judge([(code, 0), (range_, 1)]) == (Surety.LIKELY, 1)
    assert judge([(code, 0xFFFF), (range_, 0)]) == (Surety.SURE, 3)
    assert judge([(code, 0), (range_, 0)], zero_shows=True) == (Surety.SURE, 4)  # of SNMP: what is not there is silent
    assert judge([(there, 0), (there, 0)]) == (Surety.LIKELY, 2)  # others refuse that address


def test_signs_are_asked_where_points_would_be(tmp_path: Path) -> None:
    product = read(tmp_path, "modbus", "[{read: holding 2 + base, as: f32, between: [45, 65]}]")
    (sign,) = signs(product, "bus", 7)
    assert sign.block.request == ReadRegisters(7, 3, 102, 2)
    assert sign.read((0x4248, 0)) == 50.0
    assert sign.read(None) is Quality.GET_FAILED
    snmp = read(tmp_path, "snmp", f"[{SYSTEM}, {{oid: 1.3.6.1.9.0, is: [1]}}]")
    assert [sign.block.request for sign in signs(snmp, "bus", 1)] == [
        GetOids(("1.3.6.1.2.1.1.2.0",)), GetOids(("1.3.6.1.9.0",)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "written", "said"),
    [
        ("snmp", f"[{SYSTEM}]", "identity: cannot tell an SNMP product by one object"),
        ("snmp", f"[{SYSTEM}, {SYSTEM}]", "identity: cannot tell an SNMP product by one object"),
        ("modbus", "[{read: holding 1}]", "give exactly one of is, under, has, between, there"),
        ("modbus", "[{read: holding 1, is: 1, there: true}]", "give exactly one of"),
        ("modbus", "[{read: holding 1, between: [5, 1]}]", "it must be [lowest, highest]"),
        ("modbus", "[{read: holding 1, between: 5}]", "it must be [lowest, highest]"),
        ("modbus", "[{read: holding 1, there: false}]", "can only be true"),
        ("modbus", "[{read: holding 1, there: true, tehre: true}]", "there is no such key; did you mean there?"),
        ("modbus", "[{read: somewhere, there: true}]", "cannot be read: write holding|input|coil|discrete"),
    ],
)
def test_a_faulty_sign_is_told(tmp_path: Path, protocol: str, written: str, said: str) -> None:
    with pytest.raises(ConfigFault) as faulty:
        read(tmp_path, protocol, written)
    assert said in str(faulty.value)


def test_products_that_can_be_told_have_signs() -> None:
    told = ((name, profile.load(name)) for name in profile.names())
    without = {name for name, one in told if not one.identity and not one.objects}  # a site unit names its objects
    # States of which any word may be one, a serial number, and this computer.
    breakers = {"renda-breaker", "renda-recloser"}
    assert without <= {"uhppote-controller", "local-host", *breakers}
