"""`feeds:` of an output, every fault of it, and what `check` says to be looked at again of relays, modes and doors."""

from pathlib import Path

import pytest

from gantry_agent.config import read_config
from gantry_agent.faults import ConfigFault

SITE = """\
gantry: {id: G000211001002110010}
cloud: {server: "http://127.0.0.1/monitor.do", auth: "roadside-7"}
computers: [{id: 1, monitor: true, source: local}]
buses:
  io: {type: modbus-tcp, host: 10.0.0.2}
  rs485: {type: serial, port: /dev/ttyS1}
cabinets:
  - id: 1
    devices:
      io: {profile: moxa-iologik-e1212, bus: io, map: {doors.frontDoorClosed: di0}}
      left: {profile: envicool-cabinet-ac, bus: rs485, unit: 60}
      right: {profile: envicool-cabinet-ac, bus: rs485, unit: 61}
    outputs:
      left-power: {device: io, point: do0, feeds: {airConditioners: [1]}}
      both-power: {device: io, point: do1, feeds: airConditioners}
      lpr: {device: io, point: do2}
      front-lock: {device: io, point: do3, pulse_s: 3}
      back-lock: {device: io, point: do4, pulse_s: 3}
    doors: {front: {unlock: front-lock}, back: {unlock: back-lock}}
  - id: 2
    devices:
      io: {profile: moxa-iologik-e1212, bus: io, unit: 2, map: {doors.frontDoorClosed: di0}}
      air: {profile: envicool-cabinet-ac, bus: rs485, unit: 62, ids: {airConditioners: [5]}}
    outputs: {air-power: {device: io, point: do0, feeds: {airConditioners: 5}}}
  - id: 3
    devices: {io: {profile: moxa-iologik-e1212, bus: io, unit: 3, map: {doors.frontDoorClosed: di0}}}
    outputs: {dumb-power: {device: io, point: do0, feeds: airConditioners}}
power_modes: {1: [left-power, both-power, air-power, dumb-power], 2: [lpr]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "site.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(old: str, new: str) -> str:
    assert SITE.count(old) == 1
    return SITE.replace(old, new)


def warnings(folder: Path, text: str) -> list[str]:
    return [one.render("en").split("site.yaml:")[1] for one in read_config(write(folder, text)).warnings]


def test_an_output_feeds_air_conditioners_by_number_or_all_of_its_cabinet_also_those_nobody_reads(tmp_path):
    site = read_config(write(tmp_path, SITE)).site
    fed = {name: (one.feeds, one.units) for c in site.cabinets for name, one in c.outputs.items() if one.feeds}
    assert fed == {
        "left-power": ("airConditioners", (1,)),
        "both-power": ("airConditioners", (1, 2)),
        "air-power": ("airConditioners", (5,)),
        "dumb-power": ("airConditioners", ()),
    }


LEFT = "feeds: {airConditioners: [1]}"
FORMS = (
    "valid: uplink (the way to the cloud), agent (this PC), airConditioners (every one of this cabinet) or "
    "{airConditioners: [1]} (by their numbers, those of airId)"
)


@pytest.mark.parametrize(
    ("old", "new", "place", "said"),
    [
        (LEFT, "feeds: airCondtioners", "14:51", f"did you mean airConditioners? {FORMS}"),
        (LEFT, 'feeds: "airConditioners[1]"', "14:51", f"did you mean airConditioners? {FORMS}"),
        (LEFT, "feeds: left", "14:51", FORMS),
        (LEFT, "feeds: {ups: [1]}", "14:44", FORMS),
        (LEFT, "feeds: {airConditioners: []}", "14:44", FORMS),
        (LEFT, "feeds: {airConditioners: [0]}", "14:44", FORMS),
        (LEFT, "feeds: {airConditioners: left}", "14:44", FORMS),
        (LEFT, "feeds: [airConditioners]", "14:44", FORMS),
        (LEFT, "feeds: true", "14:51", FORMS),
        (LEFT, "feeds: {airConditioners: [3]}", "14:70", "cabinet 1 has no air conditioner 3; valid: 1, 2"),
        (LEFT, "feeds: {airConditioners: 3}", "14:69", "cabinet 1 has no air conditioner 3; valid: 1, 2"),
        (
            LEFT,
            "feeds: {airConditioners: [1, 5]}",
            "14:73",
            "air conditioner 5 is one of cabinet 2; an output feeds those of its own, cabinet 1: valid: 1, 2",
        ),
        (LEFT, "feeds: {airConditioners: [1, 1]}", "14:73", "air conditioner 1 is given twice"),
        (LEFT, f"pulse_s: 5, {LEFT}", "14:53", "left-power feeds an air conditioner and cannot have pulse_s"),
        (
            "do0, feeds: airConditioners}",
            "do0, feeds: {airConditioners: [1]}}",
            "27:78",
            "an output feeds those of its own, cabinet 3: it reads none; write feeds: airConditioners",
        ),
    ],
)
def test_every_fault_of_feeds_is_told_at_its_place_with_what_is_valid(tmp_path, old, new, place, said):
    with pytest.raises(ConfigFault) as caught:
        read_config(write(tmp_path, changed(old, new)))
    found = [fault for fault in caught.value.faults if "power mode" not in fault.render("en")]
    assert len(found) == 1, caught.value
    assert f"{found[0].line}:{found[0].column}" == place
    assert said in found[0].render("en")
    assert any("\u4e00" <= one <= "\u9fff" for one in found[0].text.zh)


def test_a_device_that_is_faulty_itself_makes_no_fault_of_its_number(tmp_path):
    with pytest.raises(ConfigFault) as caught:
        read_config(write(tmp_path, changed("left: {profile: envicool-cabinet-ac,", "left: {profile: envicol,")))
    assert len(caught.value.faults) == 1


RELAY = "relays: [{ip: 10.0.0.9, port: 1, output: left-power}]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SITE, None),
        (changed(LEFT, "invert: true"), "14:52: left-power is inverted: its supply is cut while the contact is open"),
        (changed(", " + LEFT, ""), "14:7: if left-power feeds an air conditioner write feeds: airConditioners"),
        (
            changed("lpr: {device", "shed-ac: {device").replace("2: [lpr]", "2: [shed-ac]"),
            "16:7: if shed-ac feeds an air conditioner write feeds: airConditioners",
        ),
        (
            SITE + RELAY,
            "29:42: left-power feeds an air conditioner: it is cut for 180 s (compressor_off_s of interlocks), not 10",
        ),
        (SITE + RELAY + "interlocks: {compressor_off_s: 10}\n", None),
        (changed("unlock: back-lock", "unlock: front-lock"), "19:57: front-lock unlocks both doors"),
        (SITE + "access: {whitelist: merge}\n", "29:1: no door has a controller or a reader: a whitelist"),
    ],
)
def test_what_runs_but_is_probably_not_meant_is_told(tmp_path, text, said):
    found = [one for one in warnings(tmp_path, text) if "/dev/" not in one]
    if said is None:
        assert found == []
    else:
        assert any(one.startswith(said) for one in found), found
