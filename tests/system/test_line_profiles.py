"""Profiles of lines from end to end: hwsim on ptys, agent, strict cloud; and NUT as a second client of the Voltronic.

An APC UPS, two meters and a surge protector share one 9600-baud line, a Voltronic UPS has a 2400-baud line to itself.
hwsim plays them from the vendors' tables and knows nothing of the profiles.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from gantry import Gantry
from spoken_rig import lines, nutdrv_qx, ups, ups_alone
from support import ask, eventually

pytestmark = pytest.mark.system

DEVICES = {
    "apc": "profile: apc-modbus, bus: mixed, unit: 1, ids: {ups: [1]}, parameters: {rated_ah: 9}",
    "meter": "profile: eastron-sdm120, bus: mixed, unit: 2",
    "utility": 'profile: dlt645-meter, bus: mixed, unit: 4, parameters: {address: "129078563412"}',
    "spd": "profile: kuanyong-spd, bus: mixed, unit: 3",
    "ups": "profile: voltronic, bus: ups-com, ids: {ups: [2]}",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with lines(tmp_path_factory.mktemp("lines"), DEVICES) as it:
        it.sees(1, elec_voltage="231", thunderSpd_status="1", within_s=20)
        eventually(lambda: [ups(it, n)["powerRate"] for n in (1, 2)] == ["100", "100"], 20, "both UPSs")
        yield it


@pytest.fixture
def it(running: Gantry) -> Iterator[Gantry]:
    yield running
    running.plant(mains=True, ups_percent=100)


def test_every_value_is_the_plants_and_nothing_is_complained_of(it: Gantry) -> None:
    status = eventually(lambda: it.uploads("cabinetStatusUpdate", 1), 15)[-1]
    assert status["complaints"] == []
    for number in (1, 2):
        told = ups(it, number)
        assert (told["status"], told["runningState"], told["warningMsg"]) == ("1", "1", "")
        assert 82.0 <= float(told["inputVoltage"]) <= 82.2
        assert told["powerRate"] == "100"
    assert ups(it, 1)["remainCapacity"] == "9"
    assert ups(it, 2)["remainCapacity"] == "NotSupport"
    cabinet = it.latest(1)
    assert cabinet["elec"][0]["voltage"] == "231"
    assert cabinet["elec"][0]["frequency"] == "50"
    utility = cabinet["elec"][1]
    assert (utility["status"], utility["voltage"], utility["frequency"]) == ("1", "231", "50")
    assert utility["elecConsumption"] == cabinet["elec"][0]["elecConsumption"]
    assert (cabinet["thunderSpd"][0]["status"], cabinet["thunderSpd"][0]["lightningCount"]) == ("1", "0")


def test_a_strike_is_counted(it: Gantry) -> None:
    it.plant(strike={"number": 1, "count": 2})
    it.sees(1, thunderSpd_lightningCount="2")


def test_a_mains_failure_and_a_low_battery_are_told_by_both(it: Gantry) -> None:
    it.plant(mains=False, ups_percent=15)

    def told() -> bool:
        both = [ups(it, 1), ups(it, 2)]
        return (
            all(one["runningState"] == "3" and one["status"] == "0" for one in both)
            and all("电池电压低" in one["warningMsg"] for one in both)
            and it.latest(1)["elec"][0]["warningMsg"] == "交流L1相缺相"
            and it.latest(1)["elec"][1]["status"] == "0"
        )

    eventually(told, 25, "both batteries low, the meter without mains")


def test_nut_reads_the_simulated_voltronic_ups(tmp_path: Path) -> None:
    with ups_alone("voltronic", tmp_path) as api:
        ask(f"{api}/plant", {"mains": False, "ups_percent": 15})
        eventually(lambda: ask(f"{api}/state")["plant"]["1"]["ups"]["source"] == "battery")
        said = nutdrv_qx("voltronic", tmp_path)
        assert set(said["ups.status"].split()) == {"OB", "LB"}
        assert (said["input.voltage"], said["battery.packs"], said["ups.type"]) == ("0.0", "1", "online")
        assert said["battery.charge"] in ("15", "14")
        assert (said["battery.voltage.nominal"], said["output.voltage"]) == ("72.0", "220.1")
        assert 66.0 <= float(said["battery.voltage"]) <= 70.0
        assert int(said["battery.runtime"]) in (840, 780)
