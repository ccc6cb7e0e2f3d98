"""Orders for devices of which a recording is kept: what would be written to the rows that it really has."""

import pytest

from gantry_agent.field import plan, plan_writes
from tests import profile_rig as rig

B = "1.3.6.1.4.1.2011.6.164.1"


def test_cmd_8_goes_to_the_group_object_of_a_huawei_smu_and_every_module_must_show_it() -> None:
    it = rig.load("huawei-site-monitor")
    device = rig.device(it, roles={"rectifier": [1, 2]})
    source = rig.Recording(rig.recording("huawei-smu_11b"))
    rows = rig.rows_of(it, device, source)
    assert rows["modules"] == ("28677", "28676")  # the second row is "Rectifier1"
    write = plan_writes.write(it, device, "rectifier.onOff", 0, plan.Located(rows, {}))
    assert write.requests == (plan.SetOid(f"{B}.3.1.8.0", "integer", 2),)
    assert write.confirm is not None
    assert write.confirm.block.request == plan.GetOids((f"{B}.3.2.2.1.99.28677", f"{B}.3.2.2.1.99.28676"))
    assert (write.confirm.expected, write.confirm.shown_by(1)) == (5, False)
    on = plan_writes.write(it, device, "rectifier.onOff", 1, plan.Located(rows, {}))
    assert on.requests == (plan.SetOid(f"{B}.3.1.8.0", "integer", 1),)


def test_an_old_card_without_modules_could_not_show_that_they_are_off() -> None:
    it = rig.load("huawei-site-monitor")
    device = rig.device(it, roles={"rectifier": [1]})
    rows = rig.rows_of(it, device, rig.Recording(rig.recording("huawei-smu")))
    assert rows["modules"] == ()
    with pytest.raises(plan_writes.UnknownWrite) as refused:
        plan_writes.write(it, device, "rectifier.onOff", 0, plan.Located(rows, {}))
    assert refused.value.why == "设备上没有该单元"


def test_a_vertiv_unit_is_switched_by_two_objects_of_its_row_and_set_by_a_third() -> None:
    it, column = rig.load("vertiv-dcs"), "1.3.6.1.4.1.13400.3.3.3031.1.1"
    device = rig.device(it, roles={"airConditioners": [3]})
    rows = rig.rows_of(it, device, rig.Recording(rig.recording("vertiv-dcs")))
    for value, written in ((1, 112), (2, 113)):
        write = plan_writes.write(it, device, "airConditioners[3].airOperate", value, plan.Located(rows, {}))
        assert write.requests == (plan.SetOid(f"{column}.{written}.1", "integer", 0),)
        assert write.confirm is not None
        assert write.confirm.block.request == plan.GetOids((f"{column}.75.1",))
        assert write.confirm.expected == {1: 1, 2: 0}[value]
    write = plan_writes.write(it, device, "airConditioners[3].autoRefrigerationTemp", 26, plan.Located(rows, {}))
    assert write.requests == (plan.SetOid(f"{column}.126.1", "integer", 26),)
    assert write.confirm is not None
    assert write.confirm.shown_by(26)
    assert not write.confirm.shown_by(28)
