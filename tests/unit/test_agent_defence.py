"""The watcher's part in the defence: when siren and beacon are switched (D22)."""

from gantry_agent.config import read_config
from gantry_agent.model import Answered, Reading, Role
from gantry_agent.orders.changes import read_overrides
from gantry_agent.watcher import Watcher

SITE = """\
gantry: {id: G000211001002110010}
cloud: {server: "http://10.0.0.1/monitor.do", auth: "roadside-7"}
buses: {io: {type: modbus-tcp, host: 10.0.0.2}}
cabinets:
  - id: 1
    devices:
      io: {profile: moxa-iologik-e1212, bus: io, map: {doors.frontDoorClosed: di0, doors.frontDoorLocked: di1}}
    outputs: {horn: {device: io, point: do0}, lamp: {device: io, point: do1}}
    doors: {siren: horn, beacon: lamp}
"""
DOORS = Role(1, "doors")


def watcher(tmp_path, defended: frozenset[int]) -> tuple[Watcher, list[tuple[int, bool]]]:
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    made, heard = Watcher(read_config(path), defended=defended), []
    made.sound = lambda cabinet, on: heard.append((cabinet, on))
    return made, heard


def front(closed: int, at: float) -> Answered:
    fields = {"frontDoorClosed": closed, "frontDoorLocked": 1, "status": 1}
    return Answered("1.io", at, {(DOORS, name): Reading(value, at=at) for name, value in fields.items()})


def test_they_sound_once_from_the_illegal_opening_to_the_closing(tmp_path):
    made, heard = watcher(tmp_path, frozenset({1}))
    for at, closed in enumerate((1, 0, 0, 1)):
        made.hand_over(front(closed, float(at)))
    assert heard == [(1, True), (1, False)]


def test_the_end_of_the_defence_silences_them_and_without_it_they_are_silent(tmp_path):
    made, heard = watcher(tmp_path, frozenset())
    made.hand_over(front(1, 1.0))
    made.hand_over(front(0, 2.0))
    made.hand_over(front(1, 3.0))
    assert heard == []
    made.defend(1, on=True)
    made.hand_over(front(0, 4.0))
    made.defend(1, on=False)
    assert heard == [(1, True), (1, False)]


def test_the_defence_is_kept_by_cabinet():
    assert read_overrides({"defend.1": "1", "defend.2": "0", "defend.x": "1", "undefend.3": "1"}).defended == {1}
