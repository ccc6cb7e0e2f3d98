"""What is never ordered now, as tables: of readings, and of instants."""

import pytest

from gantry_agent.core import interlocks
from gantry_agent.core.interlocks import Instant
from gantry_agent.model import GET_FAILED, NO_DATA, NOT_SUPPORT, Interlocks, Reading, Role, Snapshot

LIMITS = Interlocks(battery_low_v=48.0, battery_low_percent=50.0)
GOOD_UPS = {"runningState": 1, "outputVoltage": 53.5, "inputVoltage": 53.5, "powerRate": 98}
GOOD_ELEC = {"status": 1, "voltage": 221.0, "warningMsg": ""}


def snapshot(**members) -> Snapshot:
    """`ups=[{…}, {…}]`: readings by member and number; a Reading stands for itself."""
    entries = {
        Role(1, member, number): {n: v if isinstance(v, Reading) else Reading(v) for n, v in one.items()}
        for member, ones in members.items()
        for number, one in enumerate(ones, 1)
    }
    return Snapshot(1, entries)


@pytest.mark.parametrize(
    ("last", "now", "expected"),
    [
        (None, 0.0, None),
        (100.0, 219.5, "距上次重启过近，还需1秒"),
        (100.0, 100.0, "距上次重启过近，还需120秒"),
        (100.0, 220.0, None),
    ],
)
def test_a_relay_is_not_cut_again_within_its_hold_off(last, now, expected):
    assert interlocks.hold_off(last, now, 120.0) == expected


@pytest.mark.parametrize(
    ("since", "now", "expected"),
    [(None, 5.0, None), (0.0, 179.0, "压缩机保护，还需1秒"), (0.0, 180.0, None), (-500.0, 0.0, None)],
)
def test_a_compressor_rests_before_it_runs_again(since, now, expected):
    assert interlocks.compressor(since, now, 180.0) == expected


@pytest.mark.parametrize(
    ("stored", "wall", "expected"),
    [
        (Instant(1.8e9), 1.8e9 + 30, 470.0),
        (Instant(1.8e9, "a", 90.0), 1.8e9 + 30, 470.0),  # of another boot: its monotonic clock says nothing
        (Instant(1.8e9), 1.8e9 - 100, 500.0),
        (Instant(3600.0), 1.8e9, 500.0),  # of a clock that had lost its time
        (Instant(5e9), 1.8e9, 500.0),
        (Instant(1.8e9, "b", 490.0), 1.8e9 + 1e6, 490.0),  # of this boot: whatever the wall clock did
        (Instant(3600.0, "b", 490.0), 1.8e9, 490.0),
    ],
)
def test_an_instant_of_an_earlier_run_is_as_old_as_the_best_clock_says_and_never_in_the_future(stored, wall, expected):
    assert stored.taken_up(wall, 500.0, "b") == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"runningState": 4}, None),
        ({"runningState": 3}, "电池1正在放电"),
        ({"runningState": 5}, "电池1正在测试"),
        ({"runningState": NOT_SUPPORT, "outputCurrent": 0.0}, None),
        ({"runningState": NOT_SUPPORT, "outputCurrent": 3.5}, "电池1正在放电"),
        ({"runningState": 1, "outputCurrent": 3.5}, "电池1正在放电"),
        ({"runningState": 1, "outputCurrent": 0.2}, None),
        ({"runningState": NOT_SUPPORT}, "电池1状态未知"),
        ({"runningState": GET_FAILED}, "电池1状态未知"),
        ({"runningState": NO_DATA}, "电池1状态未知"),
        ({"warningMsg": "电池熔丝断"}, "电池1熔丝断"),
        ({"outputVoltage": 47.9}, "电池1电压低: 47.9V"),
        ({"outputVoltage": 48.0}, None),
        ({"outputVoltage": NOT_SUPPORT, "inputVoltage": 47.0}, "电池1电压低: 47.0V"),
        ({"powerRate": 49.6}, "电池1电量低: 49.6%"),
        ({"powerRate": 50}, None),
        ({"powerRate": NOT_SUPPORT}, None),
        ({"outputVoltage": GET_FAILED, "inputVoltage": GET_FAILED}, None),
        ({"outputVoltage": GET_FAILED, "inputVoltage": GET_FAILED, "powerRate": GET_FAILED}, "电池1电量未知"),
    ],
)
def test_no_rectifier_goes_off_on_a_battery_that_cannot_carry_the_load(change, expected):
    assert interlocks.rectifier_off(snapshot(ups=[GOOD_UPS | change]), LIMITS) == expected


def test_the_voltage_that_the_rectifiers_show_counts_where_the_battery_shows_none():
    dumb = {"runningState": 1}
    for volts, expected in ([53.4, 0.0], None), ([47.0, 0.0], "电池1电压低: 47.0V"):
        modules = [{"outputVoltage": v} for v in volts]
        assert interlocks.rectifier_off(snapshot(ups=[dumb], rectifier=modules), LIMITS) == expected


def test_one_bad_battery_of_several_is_enough_and_none_known_is_too():
    assert interlocks.rectifier_off(snapshot(ups=[GOOD_UPS, GOOD_UPS | {"runningState": 3}]), LIMITS) == "电池2正在放电"
    assert interlocks.rectifier_off(snapshot(rectifier=[{"outputVoltage": 53.5}]), LIMITS) == "没有电池数据"


@pytest.mark.parametrize(
    ("elec", "ups", "expected"),
    [
        ({}, {}, None),
        ({}, {"runningState": 5}, None),
        ({}, {"runningState": NOT_SUPPORT}, None),
        ({}, {"runningState": 3}, "电池1正在放电"),
        ({}, {"runningState": GET_FAILED}, "电池1状态未知"),
        ({"status": 0}, {}, "市电1异常"),
        ({"status": GET_FAILED}, {}, "市电1状态未知"),
        ({"status": NO_DATA}, {}, "市电1状态未知"),
        ({"warningMsg": "电流过大,交流L2相缺相"}, {}, "市电1异常: 交流L2相缺相"),
        ({"warningMsg": "输入欠压"}, {}, "市电1异常: 输入欠压"),
        ({"warningMsg": "电流过大"}, {}, None),
        ({"warningMsg": NOT_SUPPORT}, {}, None),
        ({"voltage": 0.0}, {}, "市电1异常"),
        ({"voltage": NOT_SUPPORT}, {}, None),
    ],
)
def test_no_battery_test_without_sound_mains_or_while_it_discharges(elec, ups, expected):
    assert interlocks.battery_test(snapshot(elec=[GOOD_ELEC | elec], ups=[GOOD_UPS | ups])) == expected


def test_mains_that_nobody_measures_are_not_taken_to_be_sound():
    assert interlocks.battery_test(snapshot(ups=[GOOD_UPS])) == "没有市电数据"
    assert interlocks.mains(snapshot(elec=[GOOD_ELEC, {"status": 0}])) == "市电2异常"


def test_every_reason_fits_the_message_beside_the_words_of_the_interface():
    asked = [
        interlocks.hold_off(0.0, 0.0, 86400.0),
        interlocks.compressor(0.0, 0.0, 86400.0),
        interlocks.rectifier_off(snapshot(ups=[GOOD_UPS | {"outputVoltage": 12.3}]), LIMITS),
        interlocks.battery_test(snapshot(elec=[GOOD_ELEC | {"warningMsg": "交流L3相缺相"}])),
    ]
    assert all(why and len(why) <= 30 for why in asked)
