"""Doors behind a supervisor, each a row of its table: opened by an order, locked again by themselves."""

from collections.abc import Iterator

import pytest
from gantry import Gantry, gantry
from support import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

SITE = """\
gantry: {{id: {gantry}}}
cloud: {{server: "http://127.0.0.1:{cloud}/monitor.do", auth: "{auth}", interval_s: 3600}}
control: {{listen: "127.0.0.1:{control}", requests_per_minute: 6000}}
storage: {{path: {folder}/state}}
polling: {{fast_s: 0.5, slow_s: 1, misses: 3}}
buses:
  dcs: {{type: snmp, host: 127.0.0.1, port: {power}, version: 2c, community: public, write_community: private}}
cabinets:
  - id: 1
    devices:
      chd:
        profile: vertiv-chd2100j
        bus: dcs
        map: {{doors.frontDoorClosed: closed, doors.backDoorClosed: "closed[2]", doors.frontDoorLocked: locked, doors.backDoorLocked: "locked[2]"}}
    outputs:
      front-lock: {{device: chd, point: opened, pulse_s: 3}}
      back-lock: {{device: chd, point: "opened[2]", pulse_s: 3}}
    doors: {{front: {{unlock: front-lock}}, back: {{unlock: back-lock}}}}
"""  # noqa: E501


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gantry]:
    with gantry(tmp_path_factory.mktemp("rows"), SITE) as made:
        yield made


@pytest.mark.parametrize(("number", "side"), [("2", "back"), ("1", "front")])
def test_the_door_of_a_row_is_opened_and_locks_by_itself(site: Gantry, number: str, side: str):
    other = {"back": "front", "front": "back"}[side]
    site.sees(1, **{f"doors_{side}DoorLocked": "1"})
    answer = site.order({"cmd": "2", "unlockDoorId": number})
    assert answer["code"] == "1000", answer
    eventually(lambda: site.latest(1)["doors"][f"{side}DoorLocked"] == "0", 10, f"{side} is unlocked")
    assert site.latest(1)["doors"][f"{other}DoorLocked"] == "1"
    eventually(lambda: site.latest(1)["doors"][f"{side}DoorLocked"] == "1", 15, f"{side} locks by itself")
