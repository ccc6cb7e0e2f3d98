"""Relays, power modes and interlocks of the site file: what they become, and every fault with its place."""

from pathlib import Path

import pytest

from gantry_agent.config import read_config
from gantry_agent.faults import ConfigFault
from gantry_agent.model import Interlocks, Relay

GOOD = """\
gantry: {id: G000211001002110010}
cloud: {server: "http://10.0.0.1/monitor.do", auth: "roadside-7"}
buses:
  io: {type: modbus-tcp, host: 10.0.0.2}
  boards: {type: modbus-tcp, host: 10.0.0.3}
cabinets:
  - id: 1
    devices:
      io: {profile: moxa-iologik-e1212, bus: io, map: {doors.frontDoorClosed: di0}}
      board: {profile: waveshare-relay, bus: boards}
    outputs:
      front-lock: {device: io, point: do0, pulse_s: 3}
      siren: {device: io, point: do1}
      router: {device: io, point: do2, feeds: uplink}
      aircon: {device: io, point: do3}
      pc: {device: board, point: do0, feeds: agent}
      lpr: {device: board, point: do1}
      hooter: {device: board, point: do2, pulse_s: 2}
    doors: {front: {unlock: front-lock}, siren: siren}
  - id: 2
    devices: {io: {profile: moxa-iologik-e1212, bus: io, unit: 2, map: {doors.frontDoorClosed: di0}}}
    outputs: {aircon: {device: io, point: do0}, antenna: {device: io, point: do1}}
relays:
  - {ip: 192.168.1.31, port: 502, output: router, default: true}
  - {ip: 192.168.1.31, port: 503, output: pc, pulse_s: 20, hold_off_s: 300}
  - {ip: 192.168.1.10, port: 3699, host: true}
power_modes: {1: [1.aircon, 2.aircon], 3: [lpr, antenna]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "site.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigFault) as caught:
        read_config(write(folder, text))
    return [fault.render("en").split("site.yaml:")[1] for fault in caught.value.faults]


def test_relays_and_modes_become_places_of_outputs(tmp_path):
    site = read_config(write(tmp_path, GOOD)).site
    assert site.relays == (
        Relay("router", "192.168.1.31", 502, (1, "router"), default=True),
        Relay("pc", "192.168.1.31", 503, (1, "pc"), pulse_s=20, hold_off_s=300),
        Relay("host", "192.168.1.10", 3699, None),
    )
    assert site.power_modes == (((1, "aircon"), (2, "aircon")), (), ((1, "lpr"), (2, "antenna")))
    assert [site.output(place).feeds for place in ((1, "router"), (1, "pc"), (1, "lpr"))] == ["uplink", "agent", ""]
    assert site.interlocks == Interlocks()


def test_interlocks_are_numbers_with_safe_defaults(tmp_path):
    site = read_config(write(tmp_path, GOOD + "interlocks: {battery_low_v: 46.5, compressor_off_s: 300}\n")).site
    assert site.interlocks == Interlocks(compressor_off_s=300, battery_low_v=46.5)


def test_an_output_may_be_in_a_mode_and_be_rebooted(tmp_path):
    text = GOOD + "  - {ip: 192.168.1.31, port: 504, output: lpr}\n"
    head, tail = text.split("power_modes:")
    mode, relay = tail.split("\n", 1)
    assert read_config(write(tmp_path, f"{head}{relay}power_modes:{mode}\n")).site.relays[3].output == (1, "lpr")


@pytest.mark.parametrize(
    ("old", "new", "at", "said"),
    [
        (
            "output: router,",
            "output: ruoter,",
            "ruoter,",
            "there is no output ruoter; did you mean router?; valid: 1.ai",
        ),
        ("output: router,", "output: 2.router,", "2.router,", "there is no output 2.router"),
        ("output: router,", "output: aircon,", "aircon,", "several cabinets have aircon; write 1.aircon, 2.aircon"),
        ("port: 503,", "port: 502,", "502, output: pc", "192.168.1.31:502 is given twice, for router already"),
        ("output: pc,", "output: router,", "router, pulse_s: 20", "router is that of 192.168.1.31:502 already"),
        ("host: true}", "host: true, default: true}", "true}\npow", "router (192.168.1.31:502) is the default already"),
        ("host: true}", "host: false}", "{ip: 192.168.1.10", "give output or host: true, one of them"),
        ("host: true}", "host: true, output: lpr}", "lpr}\npow", "give output or host: true, one of them"),
        ("ip: 192.168.1.10,", "ip: router.local,", "router.local,", "router.local is no IP address"),
        ("pulse_s: 20,", "pulse_s: 21,", "21,", "must be at most 20"),
        ("pulse_s: 20,", "pulse_s: 0.5,", "0.5,", "must be at least 1"),
        ("pulse_s: 20,", "puls_s: 20,", "puls_s", "unknown key puls_s; did you mean pulse_s?"),
        ("output: router,", "output: front-lock,", "front-lock,", "front-lock is the unlock of the front door"),
        ("output: router,", "output: siren,", "siren,", "siren is the siren and cannot cut"),
        ("feeds: uplink", "feeds: agent", "router, default", "router feeds this PC and needs a board that times"),
        ("feeds: agent}", "feeds: agnet}", "agnet}", "did you mean agent"),
        (
            "{1: [1.aircon,",
            "{1: [router,",
            "router, 2.air",
            "router feeds the way to the cloud and cannot be in a power",
        ),
        ("{1: [1.aircon,", "{1: [pc,", "pc, 2.air", "pc feeds this PC and cannot be in a power mode"),
        ("{1: [1.aircon,", "{1: [siren,", "siren, 2.air", "siren is the siren"),
        ("{1: [1.aircon,", "{1: [hooter,", "hooter, 2.air", "hooter has pulse_s and goes back by itself"),
        ("{1: [1.aircon,", "{1: [lpr,", "lpr, antenna", "lpr is in mode 1 already"),
        ("{1: [1.aircon,", "{1: [aircon,", "aircon, 2.air", "several cabinets have aircon"),
        ("{1: [1.aircon,", "{1: [1.arcon,", "1.arcon, 2.air", "did you mean 1.aircon?"),
        ("{1: [1.aircon,", "{4: [1.aircon,", "4: [1.aircon", "valid: 1, 2 or 3"),
        ("{1: [1.aircon,", "{1: [7,", "7, 2.air", "must be text"),
    ],
)
def test_every_fault_is_told_at_its_place(tmp_path, old: str, new: str, at: str, said: str):
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)
    found = faults_of(tmp_path, text)
    line = text[: text.index(at)].count("\n") + 1
    column = text.index(at) - text.rfind("\n", 0, text.index(at))
    assert len(found) == 1, found
    assert said in found[0]
    assert found[0].startswith(f"{line}:{column}:"), (line, column, found)


def test_an_output_that_is_faulty_itself_is_told_once(tmp_path):
    assert len(faults_of(tmp_path, GOOD.replace("router: {device: io,", "router: {device: oi,"))) == 1


STRIPS = """\
gantry: {id: G000211001002110010}
cloud: {server: "http://10.0.0.1/monitor.do", auth: "roadside-7"}
buses:
  a: {type: snmp, host: 10.0.0.2, version: 2c, community: public, write_community: private}
  b: {type: snmp, host: 10.0.0.3, version: 2c, community: public, write_community: private}
cabinets:
  - id: 1
    devices: {tcw: {profile: teracom-tcw241, bus: a}, strip: {profile: apc-pdu, bus: b}}
    outputs:
      lpr: {device: tcw, point: do1}
      pc: {device: tcw, point: do2, feeds: agent}
      antenna: {device: tcw, point: do3, invert: true}
      switch: {device: strip, point: outlet1, invert: true}
relays:
  - {ip: 192.168.1.31, port: 1, output: lpr, pulse_s: 8}
  - {ip: 192.168.1.31, port: 2, output: pc, pulse_s: 5}
  - {ip: 192.168.1.31, port: 3, output: antenna, pulse_s: 8}
  - {ip: 192.168.1.31, port: 4, output: switch, pulse_s: 20}
"""


def test_a_width_that_only_the_device_can_set_is_told_with_what_it_should_be(tmp_path):
    found = read_config(write(tmp_path, STRIPS)).warnings
    told = [(fault.line, fault.render("en")) for fault in found if " s there" in fault.render("en")]
    assert [line for line, _ in told] == [15, 16]  # antenna is timed by the agent, and the strip's width is set
    assert "lpr is cut for as long as the device is set up for: set 8 s there, else this program times it" in told[0][1]
    assert "set 5 s there, else it is not rebooted at all" in told[1][1]
    assert "请在设备上设为 8 秒" in found[[fault.line for fault in found].index(15)].render("zh")


def test_what_the_device_lets_go_by_itself_cuts_no_supply(tmp_path):
    text = STRIPS.replace("apc-pdu", "vertiv-chd2100j").replace("outlet1, invert: true}", "opened}")
    told = faults_of(tmp_path, text + "power_modes: {2: [switch]}\n")
    assert [one.split(":")[0] for one in told] == ["18", "19"]
    assert all("opened of 1.strip goes back by itself and cannot cut a supply" in one for one in told)


def test_what_a_strip_of_the_pc_can_time_is_told_where_it_cannot_time_what_is_asked(tmp_path):
    text = STRIPS.replace("outlet1, invert: true}", "outlet1, invert: true, feeds: agent}")
    assert read_config(write(tmp_path, text)).site.output((1, "switch")).feeds == "agent"
    (said,) = faults_of(tmp_path, text.replace("pulse_s: 20", "pulse_s: 18"))
    assert "switch feeds this PC" in said
    assert ": 5, 10, 15, 20, 30, 45, 60 s" in said
