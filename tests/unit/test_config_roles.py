"""Members that a product can give but not every site wants, and contacts that stand in the rows of a table."""

from pathlib import Path
from typing import Any

import pytest

from gantry_agent.config.site import Config, read_config
from gantry_agent.faults import ConfigFault
from gantry_agent.model import MappedPoint, Role

SITE = """\
gantry: {id: G000211001002110010}
cloud: {server: "http://127.0.0.1:1/monitor.do", auth: "654321"}
buses: {net: {type: snmp, host: 127.0.0.1, version: 2c, community: public}}
computers: [{id: 1, monitor: true, source: local, nic: lo}]
"""


def read(folder: Path, device: str) -> Config:
    path = folder / "site.yaml"
    path.write_text(f"{SITE}cabinets: [{{id: 1, devices: {{it: {{bus: net, {device}}}}}}}]\n", encoding="utf-8")
    return read_config(path)


@pytest.mark.parametrize(
    ("device", "roles"),
    [
        ("profile: hwg-ste2", {"thermohygrometer": (1,)}),
        ("profile: hwg-ste2, ids: {waterloggingSensor: [1]}", {"thermohygrometer": (1,), "waterloggingSensor": (1,)}),
        ("profile: hwg-ste2, map: {smokeSensor.isWarning: di1}", {"thermohygrometer": (1,), "smokeSensor": (1,)}),
        ("profile: ups-mib, ids: {elec: [3]}", {"ups": (1,), "elec": (3,)}),
    ],
)
def test_what_is_there_only_once_is_given_where_it_is_asked_for(tmp_path: Path, device: str, roles: Any) -> None:
    given = read(tmp_path, device).site.devices["1.it"].roles
    assert {member: numbers for member, numbers in given.items() if numbers} == roles


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("profile: hwg-ste2, ids: {waterloggingSensor: [2]}", "this device has no waterloggingSensor to number"),
        ("profile: hwg-ste2, ids: {thermohygrometer: [1]}", "this device has no thermohygrometer to number"),
        ("profile: hwg-ste2, ids: {doors: [1]}", "this device has no doors to number"),
        ("profile: rittal-cmc-iii, map: {smokeSensor.isWarning: di3}", "rittal-cmc-iii has no point di3"),
    ],
)
def test_what_cannot_be_asked_for_is_told(tmp_path: Path, device: str, said: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        read(tmp_path, device)
    assert any(said in fault.text.en for fault in caught.value.faults)


@pytest.mark.parametrize("point", ["di1", '"di1[2]"'])
def test_a_contact_in_a_row_of_a_table_may_be_mapped(tmp_path: Path, point: str) -> None:
    device = read(tmp_path, f"profile: rittal-cmc-iii, map: {{smokeSensor.isWarning: {point}}}").site.devices["1.it"]
    assert device.mapping[Role(1, "smokeSensor"), "isWarning"] == MappedPoint(point.strip('"'))
