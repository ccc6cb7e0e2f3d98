"""Objects of a ZTE site unit in the site file: how they are counted, and every fault of them."""

from pathlib import Path

import pytest

from gantry_agent.config import read_config
from gantry_agent.faults import ConfigFault

SITE = """\
gantry: {id: G000211001002110010}
cloud: {server: "http://127.0.0.1/monitor.do", auth: "1"}
buses:
  zte: {type: zte-http, host: 10.0.0.5, user: admin, password: geheim-7}
  com5: {type: zte-serial, host: 10.0.0.5, user: admin, password: geheim-7}
  com3: {type: zte-serial, host: 10.0.0.5, gap_ms: 0}
  rs485: {type: serial, port: /dev/ttyS1}
cabinets:
  - id: 1
    devices:
      climate: {profile: zte-temperature-humidity, bus: zte, object: "1101"}
      meter: {profile: chint-dtsu666, bus: rs485, unit: 3}
      air: {profile: zte-air-conditioner, bus: zte, object: "1102"}
      front: {profile: shengjiu-lock, bus: com5, unit: 1, object: "1801"}
      back: {profile: shengjiu-lock, bus: com5, unit: 2, object: "1802"}
      other: {profile: shengjiu-lock, bus: com3, unit: 1, object: "1803"}
    outputs:
      front-lock: {device: front, point: unlocked, pulse_s: 3}
      back-lock: {device: back, point: unlocked, pulse_s: 3}
      other-lock: {device: other, point: unlocked, pulse_s: 3}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_objects_are_counted_and_lines_behind_the_unit_know_theirs(tmp_path: Path):
    site = read_config(write(tmp_path, SITE)).site
    devices = {key: (one.unit, one.object) for key, one in site.devices.items()}
    assert devices == {
        "1.climate": (1, "1101"),
        "1.meter": (3, ""),
        "1.air": (2, "1102"),
        "1.front": (1, "1801"),
        "1.back": (2, "1802"),
        "1.other": (1, "1803"),
    }
    assert {key: value for key, value in site.buses["com5"].settings.items() if key.startswith("object")} == {
        "object 1": "1801",
        "object 2": "1802",
    }
    assert (site.buses["zte"].settings["port"], site.buses["zte"].settings["gap_ms"]) == (80, 1000)
    assert "object 1" not in site.buses["zte"].settings
    assert "geheim-7" not in repr(site)


def test_a_password_may_stand_in_a_file_of_its_own(tmp_path: Path):
    secret = tmp_path / "password"
    secret.write_text("geheim-8\n", encoding="utf-8")
    text = SITE.replace("zte: {type: zte-http, host: 10.0.0.5, user: admin, password: geheim-7}",
                        f"zte: {{type: zte-http, host: 10.0.0.5, user: admin, password_file: {secret}}}")  # fmt: skip
    settings = read_config(write(tmp_path, text)).site.buses["zte"].settings
    assert settings["password"] == "geheim-8"
    assert "password_file" not in settings


@pytest.mark.parametrize(
    ("right", "wrong", "place", "said"),
    [
        (', bus: zte, object: "1101"', ", bus: zte", "11:7", "1.climate has no object, its number in the site unit"),
        (', unit: 1, object: "1801"', ", unit: 1", "14:7", "1.front has no object"),
        ('bus: zte, object: "1102"', 'bus: zte, object: "1101"', "13:61", "object 1101 is 1.climate already"),
        ('"1802"', '"1801"', "15:66", "object 1801 is 1.front already"),
        ("unit: 3", 'unit: 3, object: "9"', "12:60", "rs485 is a serial bus: an object is for those of type zte-http"),
        ('bus: zte, object: "1101"', 'bus: zte, unit: 7, object: "1101"', "11:62", "has no unit, only an object"),
        ('object: "1101"', "object: 1101", "11:70", 'in quotes, like "1101"'),
        ('object: "1101"', 'object: "11/01"', "11:70", "valid: the object's number in the site unit"),
        ("unit: 2, object", "unit: 1, object", "15:43", "duplicate address: com5 unit 1 is 1.front already"),
        ("profile: zte-air-conditioner, bus: zte", "profile: zte-air-conditioner, bus: com5", "13:48",
         "speaks zte and cannot be on the zte-serial bus com5; valid is a bus of type zte-http: zte"),
        ("profile: chint-dtsu666, bus: rs485", "profile: chint-dtsu666, bus: com5", "12:44",
         "speaks modbus and cannot be on the zte-serial bus com5"),
        (", password: geheim-7}\n  com5", "}\n  com5", "4:3", "give user and password together"),
        ("gap_ms: 0", "gap_ms: -1", "6:52", "gap_ms = -1"),
        ("zte: {type: zte-http", "zte: {type: zte-htp", "4:15", "zte-http"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, right: str, wrong: str, place: str, said: str):
    assert right in SITE
    with pytest.raises(ConfigFault) as caught:
        read_config(write(tmp_path, SITE.replace(right, wrong)))
    faults = [fault.render("en").split("site.yaml:")[1] for fault in caught.value.faults]
    assert any(fault.startswith(f"{place}: ") and said in fault for fault in faults), faults
    assert all(fault.render("zh") != fault.render("en") for fault in caught.value.faults)
    assert "geheim" not in str(caught.value)


def test_a_device_on_the_wrong_bus_is_told_of_that_alone(tmp_path: Path):
    text = SITE.replace("profile: chint-dtsu666, bus: rs485", "profile: chint-dtsu666, bus: com5")
    with pytest.raises(ConfigFault) as caught:
        read_config(write(tmp_path, text))
    assert len(caught.value.faults) == 1


def test_two_buses_of_objects_cannot_be_one_unit(tmp_path: Path):
    text = SITE.replace("  rs485:", "  again: {type: zte-http, host: 10.0.0.5}\n  rs485:")
    with pytest.raises(ConfigFault, match=r"10\.0\.0\.5:80 is used by bus zte already"):
        read_config(write(tmp_path, text))
