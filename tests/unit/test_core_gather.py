"""Gathering: which changes go up together, how long they wait, and what is announced (D18)."""

import pytest

from gantry_agent.core import monitor, told
from gantry_agent.core.alarms import Holds
from gantry_agent.core.gather import TOGETHER, Gathering
from gantry_agent.core.monitor import Layout, absorb, begin
from gantry_agent.model import Answered, Cabinet, Event, Missed, Reading, Role, Site, Threshold
from gantry_agent.vocabulary import CABINET

ELEC, RECTIFIER, DOORS, WATER = Role(1, "elec"), Role(1, "rectifier"), Role(1, "doors"), Role(1, "waterloggingSensor")
CLIMATE = Role(1, "thermohygrometer")
FILLED = {
    "1.meter": frozenset({(ELEC, "status"), (ELEC, "voltage"), (ELEC, "warningMsg")}),
    "1.power": frozenset({(RECTIFIER, "status"), (RECTIFIER, "warningMsg")}),
    "1.io": frozenset({(DOORS, "status"), (DOORS, "frontDoorClosed"), (DOORS, "frontDoorLocked")}),
    "1.wet": frozenset({(WATER, "status"), (WATER, "isWarning")}),
}
CALM = {
    "1.meter": {(ELEC, "status"): 1, (ELEC, "voltage"): 230.0, (ELEC, "warningMsg"): ""},
    "1.power": {(RECTIFIER, "status"): 1, (RECTIFIER, "warningMsg"): ""},
    "1.io": {(DOORS, "status"): 1, (DOORS, "frontDoorClosed"): 1, (DOORS, "frontDoorLocked"): 1},
    "1.wet": {(WATER, "status"): 1, (WATER, "isWarning"): 0},
}


class Cell:
    """A watch and a gathering, fed message by message."""

    def __init__(self, past=monitor.NO_PAST, alarms=(), power_s=0.1):
        site = Site("G1", "Asia/Shanghai", {}, {}, (Cabinet(1, (), {}, alarms=alarms),), ())
        self.watch = begin(site, Layout(dict(FILLED), 3), past)
        self.gathering = Gathering(Holds(3, 30.0), power_s)

    def say(self, device: str, now: float, partial=frozenset(), **values):
        fields = {key: Reading(value, at=now) for key, value in CALM[device].items()}
        fields |= {key: Reading(values[key[1]], at=now) for key in fields if key[1] in values}
        return self.hear(Answered(device, now, fields, partial=frozenset(partial)), now)

    def miss(self, device: str, now: float):
        return self.hear(Missed(device, now, "x"), now)

    def hear(self, message, now):
        self.watch, self.events = absorb(self.watch, message, now)
        said = (message.fields.keys(), message.partial) if isinstance(message, Answered) else ((), ())
        return self.gathering.absorb(self.watch, self.events, said[0], now, said[1])

    def send(self):
        taken = self.gathering.take(self.watch, 1)
        self.gathering.kept(taken)
        return taken


def calm(power_s: float) -> Cell:
    made = Cell(power_s=power_s)
    for device in CALM:
        made.say(device, 0.0)
    made.send()
    return made


@pytest.fixture
def cell() -> Cell:
    return calm(0.1)


@pytest.fixture
def patient() -> Cell:
    """A site with `gather_ms: 3000`."""
    return calm(3.0)


def test_every_member_knows_what_belongs_to_it():
    assert set(TOGETHER) == set(CABINET)
    assert all(name in members for name, members in TOGETHER.items())


def test_a_lone_door_event_whose_answer_has_all_of_the_doors_waits_for_nothing(cell):
    found = cell.say("1.io", 1.0, frontDoorClosed=0, frontDoorLocked=0)
    assert not found.asked
    assert cell.gathering.ready(1.0) == [1]
    assert cell.send().urgent
    assert cell.gathering.ready(9.0) == []


def test_a_mains_failure_asks_who_may_know_more_and_goes_up_when_all_have_spoken(cell):
    found = cell.say("1.meter", 1.0, warningMsg="输入欠压", status=0)
    assert found.asked == {"1.power"}
    assert cell.gathering.ready(1.02) == []
    assert cell.gathering.due() == pytest.approx(1.1)
    assert not cell.say("1.power", 1.03, warningMsg="整流模块掉电").asked
    assert cell.gathering.ready(1.03) == [1]
    assert len(cell.events) == 1
    assert cell.send().urgent


def test_nothing_waits_for_longer_than_100_ms(cell):
    cell.say("1.meter", 1.0, warningMsg="输入欠压")
    assert cell.gathering.ready(1.0999) == []
    assert cell.gathering.ready(1.1) == [1]


def test_a_silent_device_is_not_waited_for(cell):
    cell.miss("1.power", 0.5)
    found = cell.say("1.meter", 1.0, warningMsg="输入欠压")
    assert not found.asked
    assert cell.gathering.ready(1.0) == [1]


def test_a_device_that_falls_silent_is_waited_for_no_longer(cell):
    cell.say("1.meter", 1.0, warningMsg="输入欠压")
    assert cell.gathering.ready(1.05) == []
    cell.miss("1.power", 1.05)
    assert cell.gathering.ready(1.05) == [1]


def test_a_field_of_which_a_block_is_still_to_be_read_is_waited_for(cell):
    texts = {(RECTIFIER, "warningMsg")}
    cell.say("1.meter", 1.0, warningMsg="输入欠压")
    cell.say("1.power", 1.02, partial=texts)
    assert cell.gathering.ready(1.02) == []
    cell.say("1.power", 1.04, warningMsg="整流模块掉电")
    assert cell.gathering.ready(1.04) == [1]


def test_a_device_whose_own_other_blocks_may_say_more_is_asked_again(cell):
    found = cell.say("1.meter", 1.0, partial={(ELEC, "warningMsg")}, warningMsg="输入欠压")
    assert found.asked == {"1.meter", "1.power"}


def test_a_door_waits_for_no_other_block(cell):
    found = cell.say("1.io", 1.0, partial={(DOORS, "status")}, frontDoorClosed=0)
    assert not found.asked
    assert cell.gathering.ready(1.0) == [1]


def test_a_site_may_give_the_power_more_time_and_it_goes_up_when_all_have_spoken(patient):
    patient.say("1.meter", 1.0, warningMsg="输入欠压")
    assert patient.gathering.ready(3.9) == []
    assert patient.gathering.due() == pytest.approx(4.0)
    patient.say("1.power", 3.95, warningMsg="整流模块掉电")
    assert patient.gathering.ready(3.95) == [1]


def test_with_more_time_for_the_power_a_door_still_waits_for_nobody(patient):
    patient.say("1.io", 1.0, frontDoorClosed=0)
    assert patient.gathering.ready(1.0) == [1]


def test_a_door_that_opens_while_the_power_is_gathered_goes_up_within_100_ms(patient):
    patient.say("1.meter", 1.0, warningMsg="输入欠压")
    patient.say("1.io", 1.5, frontDoorClosed=0)
    assert patient.gathering.ready(1.59) == []
    assert patient.gathering.ready(1.6) == [1]


def test_events_of_another_kind_go_with_a_window_that_is_open(cell):
    cell.say("1.meter", 1.0, warningMsg="输入欠压")
    cell.say("1.wet", 1.05, isWarning=1)
    assert cell.gathering.ready(1.05) == []
    assert cell.gathering.ready(1.1) == [1]


def test_a_held_input_is_told_by_statuses_and_announced_by_its_summary(cell):
    pushed = 0
    for k in range(9):
        cell.say("1.wet", 1.0 + k, isWarning=(k + 1) % 2)
        if cell.gathering.ready(1.0 + k):
            pushed += cell.send().urgent
    assert pushed == 3
    status = cell.send()
    assert not status.urgent
    assert told.read({1: status.told}).fields[WATER, "isWarning"] == 1  # what was announced last
    cell.say("1.wet", 10.0, isWarning=0)
    [ended] = cell.gathering.end_holds(cell.watch, 34.0)
    assert (ended.changes, ended.again) == (7, True)
    assert cell.gathering.ready(34.0) == [1]
    assert told.read({1: cell.send().told}).fields[WATER, "isWarning"] == 0


def test_a_summary_that_would_say_nothing_new_is_not_sent(cell):
    for k in range(5):
        cell.say("1.wet", 1.0 + k, status=k % 2)
        if cell.gathering.ready(1.0 + k):
            cell.send()
    assert cell.gathering.end_holds(cell.watch, 34.0)
    assert cell.gathering.ready(34.0) == []


def test_events_of_a_record_that_could_not_be_kept_go_with_the_next(cell):
    cell.say("1.io", 1.0, frontDoorClosed=0)
    taken = cell.gathering.take(cell.watch, 1)
    assert cell.gathering.ready(1.0) == []
    cell.gathering.put_back(taken, 1.0)
    assert cell.gathering.ready(1.0) == [1]
    assert cell.send().urgent


def test_a_computer_has_no_push(cell):
    event = Event(Role(0, "computerStatus"), "cpuUsage", Reading(1.0), Reading(2.0), 1.0)
    assert not cell.gathering.absorb(cell.watch, [event], (), 1.0).pushed
    assert cell.gathering.ready(9.0) == []


def test_a_status_that_could_not_be_kept_leaves_no_window_behind(cell):
    cell.gathering.put_back(cell.gathering.take(cell.watch, 1), 1.0)
    assert cell.gathering.ready(9.0) == []


# --- what was told survives ------------------------------------------------------------------------------------------

HOT = Threshold(CLIMATE, "temperature", True, 45.0, 42.0, 0.0, "柜内温度过高")


def restarted(cell: Cell, **more) -> Cell:
    return Cell(told.read({1: cell.send().told}), **more)


def test_an_alarm_that_still_stands_after_a_restart_is_no_event_and_one_that_is_over_is(cell):
    cell.say("1.wet", 1.0, isWarning=1)
    again = restarted(cell)
    again.say("1.wet", 5.0, isWarning=1)
    assert not again.events
    again = restarted(cell)
    again.say("1.wet", 5.0, isWarning=0)
    assert [(e.field, e.before.value, e.after.value) for e in again.events] == [("isWarning", 1, 0)]


def test_an_alarm_that_ended_while_its_device_was_away_is_cleared_when_it_is_back(cell):
    cell.say("1.wet", 1.0, isWarning=1)
    for k in range(3):
        cell.miss("1.wet", 2.0 + k)
    again = restarted(cell)
    again.say("1.wet", 9.0, isWarning=0)
    assert {(e.field, e.after.value) for e in again.events} == {("isWarning", 0), ("status", 1)}


def test_an_illegal_opening_lasts_over_a_restart_until_the_door_is_closed(cell):
    cell.say("1.io", 1.0, frontDoorClosed=0)
    again = restarted(cell)
    again.say("1.io", 9.0, frontDoorClosed=0)
    assert not again.events
    doors = again.watch.snapshots[1].entries[DOORS]
    assert (doors["frontDoorOpenIllegally"].value, doors["frontDoorChangeTime"].value) == (1, 1.0)
    again.say("1.io", 10.0, frontDoorClosed=1)
    assert ("frontDoorOpenIllegally", 0) in {(e.field, e.after.value) for e in again.events}


def test_since_when_a_detector_warns_is_kept(cell):
    cell.say("1.wet", 7.0, isWarning=1)
    again = restarted(cell)
    again.say("1.wet", 9.0, isWarning=1)
    assert again.watch.snapshots[1].entries[WATER]["warningChangeTime"].value == 7.0


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", '{"fields": 3, "alarms": 4}', '{"fields": {"a b c": 1, "": 2}}'])
def test_a_text_that_makes_no_sense_is_nothing_told(text):
    assert told.read({1: text}) == monitor.NO_PAST


# --- alarms of the site file -----------------------------------------------------------------------------------------


def threshold_cell(past=monitor.NO_PAST) -> Cell:
    FILLED["1.climate"] = frozenset({(CLIMATE, "status"), (CLIMATE, "temperature")})
    CALM["1.climate"] = {(CLIMATE, "status"): 1, (CLIMATE, "temperature"): 30.0}
    low = Threshold(ELEC, "voltage", False, 180.0, 200.0, 0.0, "电压偏低")
    try:
        return Cell(past, alarms=(HOT, low))
    finally:
        del FILLED["1.climate"]


def test_a_threshold_shows_in_the_text_of_its_member_beside_the_devices_own():
    cell = threshold_cell()
    cell.say("1.meter", 0.0)
    cell.say("1.meter", 1.0, voltage=150.0, warningMsg="输入欠压")
    assert cell.watch.snapshots[1].entries[ELEC]["warningMsg"].value == "输入欠压,电压偏低"
    cell.say("1.meter", 2.0, voltage=190.0)
    assert cell.watch.snapshots[1].entries[ELEC]["warningMsg"].value == "电压偏低"
    cell.say("1.meter", 3.0, voltage=200.0)
    assert cell.watch.snapshots[1].entries[ELEC]["warningMsg"].value == ""
    assert [(e.field, e.after.value) for e in cell.events] == [("warningMsg", "")]
    assert cell.watch.snapshots[1].entries[ELEC]["status"].value == 1


def test_a_threshold_of_a_member_without_texts_shows_in_its_status_and_survives_a_restart():
    cell = threshold_cell()
    cell.say("1.climate", 0.0)
    cell.say("1.climate", 1.0, temperature=46.0)
    assert [(e.field, e.after.value) for e in cell.events] == [("status", 0)]
    again = threshold_cell(told.read({1: cell.send().told}))
    again.say("1.climate", 5.0, temperature=44.0)
    assert not again.events
    assert again.watch.snapshots[1].entries[CLIMATE]["status"].value == 0
    again.say("1.climate", 6.0, temperature=42.0)
    assert [(e.field, e.after.value) for e in again.events] == [("status", 1)]


def test_a_threshold_whose_device_is_lost_says_get_failed_and_stands():
    cell = threshold_cell()
    cell.say("1.meter", 0.0, voltage=150.0)
    for k in range(3):
        cell.miss("1.meter", 1.0 + k)
    assert cell.watch.snapshots[1].entries[ELEC]["warningMsg"].quality == "GetFailed"
    cell.say("1.meter", 9.0, voltage=190.0)
    assert cell.watch.snapshots[1].entries[ELEC]["warningMsg"].value == "电压偏低"
    assert [e.field for e in cell.events] == ["status"]


def test_a_room_that_grew_hot_while_its_probe_was_away_is_an_event_though_the_status_stays_0():
    cell = threshold_cell()
    cell.say("1.climate", 0.0)
    for k in range(3):
        cell.miss("1.climate", 1.0 + k)
    cell.say("1.climate", 9.0, temperature=50.0)
    assert [(e.field, e.after.value) for e in cell.events] == [("temperature", 50.0)]


def test_a_threshold_waits_for_the_device_that_has_the_texts_unless_it_is_raised():
    FILLED["1.texts"] = frozenset({(ELEC, "warningMsg")})
    FILLED["1.meter"] -= {(ELEC, "warningMsg")}
    texts = CALM["1.meter"].pop((ELEC, "warningMsg"))
    try:
        cell = threshold_cell()
        cell.say("1.meter", 0.0)
        assert cell.watch.snapshots[1].entries[ELEC]["warningMsg"].quality == "NoData"
        cell.say("1.meter", 1.0, voltage=150.0)
        assert cell.watch.snapshots[1].entries[ELEC]["warningMsg"].value == "电压偏低"
    finally:
        CALM["1.meter"][ELEC, "warningMsg"] = texts
        FILLED["1.meter"] |= FILLED.pop("1.texts")


def test_the_end_of_a_hold_is_due_like_the_end_of_a_window(cell):
    for k in range(4):
        cell.say("1.wet", 1.0 + k, isWarning=(k + 1) % 2)
        if cell.gathering.ready(1.0 + k):
            cell.send()
    assert cell.gathering.due() == 34.0
    cell.say("1.io", 5.0, frontDoorClosed=0)
    assert cell.gathering.due() == 0.0
