"""`alarms:` and `events:` of the site file: good ones, and a table of what can be wrong, where, and what is said."""

import pytest

from gantry_agent.config import read_config
from gantry_agent.faults import ConfigFault
from gantry_agent.model import Role

SITE = """\
gantry: {{id: G000211001002110010}}
cloud: {{server: "http://10.0.0.1/monitor.do", auth: "roadside-7"}}
events: {events}
buses:
  line: {{type: serial, port: /dev/ttyS1}}
cabinets:
  - id: 1
    devices:
      meter: {{profile: chint-dtsu666, bus: line, unit: 3}}
      meter2: {{profile: chint-ddsu666, bus: line, unit: 4}}
      climate: {{profile: xy-md02, bus: line, unit: 52}}
    alarms:
      - {alarm}
"""
QUOTED = '"elec[3].voltage"'
GOOD = "{point: thermohygrometer.temperature, above: 45, clear: 42, for_s: 30, text: 柜内温度过高}"


def write(folder, alarm=GOOD, events="{}"):
    path = folder / "site.yaml"
    path.write_text(SITE.format(alarm=alarm, events=events), encoding="utf-8")
    return path


def test_an_alarm_becomes_a_threshold_in_the_fields_own_unit(tmp_path):
    site = read_config(write(tmp_path)).site
    [threshold] = site.cabinets[0].alarms
    assert threshold.role == Role(1, "thermohygrometer")
    assert (threshold.above, threshold.limit, threshold.clear, threshold.for_s) == (True, 45, 42, 30)
    assert (site.flap_changes, site.hold_down_s, site.gather_ms) == (3, 30.0, 100)


def test_without_a_number_an_alarm_is_for_each_of_several(tmp_path):
    each = "{point: elec.voltage, below: 180, clear: 200, text: 电压偏低}"
    site = read_config(write(tmp_path, each, "{flap_changes: 5, hold_down_s: 60}")).site
    assert [t.role.number for t in site.cabinets[0].alarms] == [1, 2]
    assert [t.for_s for t in site.cabinets[0].alarms] == [10, 10]
    assert (site.flap_changes, site.hold_down_s) == (5, 60)
    one = read_config(write(tmp_path, each.replace("elec.voltage", QUOTED.replace("3", "2")))).site
    assert [t.role.number for t in one.cabinets[0].alarms] == [2]


@pytest.mark.parametrize(
    ("alarm", "where", "said"),
    [
        (GOOD.replace("temperature", "temprature"), "13:17", "did you mean thermohygrometer.temperature?"),
        (GOOD.replace("thermohygrometer.temperature", "ups.temperature"), "13:17", "this cabinet measures no ups"),
        (GOOD.replace("thermohygrometer.temperature", QUOTED), "13:17", "did you mean elec[2].voltage?"),
        (GOOD.replace("thermohygrometer.temperature", "elec.status"), "13:17", "this cabinet measures no elec.status"),
        (GOOD.replace("clear: 42", "clear: 45"), "13:65", "clear must be below above (45 °C)"),
        (GOOD.replace("above", "below"), "13:65", "clear must be above below (45 °C)"),
        (GOOD.replace("clear", "below: 1, clear"), "13:17", "give above or below, one of them"),
        (GOOD.replace("above: 45, ", ""), "13:17", "give above or below, one of them"),
        (GOOD.replace("clear: 42, ", ""), "13:9", "is required and missing"),
        (GOOD.replace("柜内温度过高", '"a,b"'), "13:86", "1 to 40 characters without a comma"),
        (GOOD.replace("for_s: 30", "for_s: -1"), "13:76", "must be at least 0"),
        (GOOD.replace("for_s", "fors"), "13:69", "did you mean for_s?"),
        (f"{GOOD}\n      - {GOOD.replace('45', '50')}", "14:86", "is used twice"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, alarm, where, said):
    with pytest.raises(ConfigFault) as caught:
        read_config(write(tmp_path, alarm))
    [fault] = [fault.render("en").split("site.yaml:")[1] for fault in caught.value.faults]
    assert fault.startswith(where + ":"), fault
    assert said in fault


def test_more_time_for_the_power_than_d18_allows_is_the_sites_to_choose_and_check_notes_it(tmp_path):
    config = read_config(write(tmp_path, events="{gather_ms: 3000}"))
    assert config.site.gather_ms == 3000
    [said] = [warning for warning in config.warnings if "3000 ms" in warning.render("en")]
    assert "the 100 ms of D18" in said.render("en")
    assert "3000 毫秒" in said.render("zh")
    assert not [one for one in read_config(write(tmp_path)).warnings if "D18" in one.render("en")]


@pytest.mark.parametrize(
    "events", ["{flap_changes: 0}", "{hold_down_s: 0}", "{hold: 3}", "{gather_ms: 99}", "{gather_ms: 5001}"]
)
def test_a_hold_down_that_cannot_be_is_a_fault(tmp_path, events):
    with pytest.raises(ConfigFault):
        read_config(write(tmp_path, events=events))


def test_siren_and_beacon_name_outputs(tmp_path):
    path = write(tmp_path)
    path.write_text(path.read_text() + "    doors: {siren: horn, beacon: lamp}\n")
    with pytest.raises(ConfigFault) as caught:
        read_config(path)
    assert [fault.text.en for fault in caught.value.faults] == ["there is no output horn", "there is no output lamp"]
