"""The example sites of config/ against hwsim: each field is the plant's, or says NotSupport for a reason told here.

Of a file only what says where things are is changed (`loopback_site`). Each is read at rest and with everything moved
away from its rest, so that no value is right by being the usual one; then come events and orders, under the strict
cloud; and NUT's drivers read the same simulated UPS as the agent and must have read the same. It is mostly waiting, so
the sites live side by side: each goes through its steps in a thread, and a test takes the outcome of one.
"""

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import truth
from gantry import Gantry, started
from loopback_site import move
from spoken_rig import nut
from support import ROOT, ask, eventually, python
from truth import Fields, leaves, mismatches

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@dataclass(frozen=True)
class Example:
    """A site: the tables of each cabinet and computer, and what says NotSupport or NoData, each with the reason."""

    tables: Mapping[int, Mapping[str, Fields]]
    computers: Mapping[int, Fields]
    not_supported: Mapping[str, str]
    moved: Mapping[int, Mapping[str, Any]]  # how each cabinet is moved away from its rest
    no_data_at_rest: Mapping[str, str] = field(default_factory=dict)
    hardware_options: tuple[str, ...] = ()


MOVED: dict[str, Any] = {
    "load_a": 20,
    "battery_percent": 80,
    "battery_c": 31.5,
    "ups_percent": 60,
    "ups_load_w": 900,
    "inside_c": 38.6,
    "outside_c": 38,
    "inside_rh": 64,
    "outside_rh": 70,
    "energy_kwh": 54321.9,
    "frequency_hz": 49.8,
    "phase": {"L1": 224.6, "L2": 219.3, "L3": 235.1},
}
FULL = {name: wish for name, wish in MOVED.items() if name != "ups_percent"}
COMPUTER = {"cpu": 33, "memory": 61, "sys_disk": 72, "data_disk": 18, "net": 7, "cpu_c": 63}

HUAWEI_SNMP = Example(
    tables={
        1: {
            "elec[1]": truth.monitor_mains(),
            "rectifier[1]": truth.rectifier(1),
            "rectifier[2]": truth.rectifier(2),
            "ups[1]": truth.battery_of_a_monitor(),
            "ups[2]": truth.ups("4", 0.06, 0, 0.5)
            | truth.ups_charge()
            | truth.ups_minutes(0.6)
            | truth.no_battery_current(),
            "thermohygrometer": truth.probe(1),
            "waterloggingSensor": truth.detector("water"),
            "smokeSensor": truth.detector("smoke"),
            "doors": truth.doors("front", "back"),
            "thunderSpd[1]": truth.surge_contact(1),
        }
    },
    computers={1: truth.this_pc(main="0"), 2: truth.toll_pc()},
    not_supported={
        "1.elec[1].frequency": "the site monitor does not measure it",
        "1.elec[1].elecConsumption": "the site monitor has no energy meter",
        "1.thunderSpd[1].lightningCount": "a contact tells a state and counts nothing",
    },
    no_data_at_rest={"1.ups[2].surplusTime": "cards say 'unknown' while the battery rests full, as recorded"},
    moved={1: MOVED | {"water": True}},
)
DOOR_FIELDS = ("DoorClosed", "DoorLocked", "DoorUnlockType", "DoorUnlockCardId", "DoorOpenIllegally", "DoorChangeTime")
_NO_CHARGE = "YD/T 1363 has voltage and current of a battery, and nothing of its charge"
_Q1 = "Megatec Q1 has the battery's voltage only"
RS485_MIXED = Example(
    tables={
        1: {
            "elec[1]": truth.meter(),
            "rectifier[1]": truth.rectifier(1),
            "rectifier[2]": truth.rectifier(2),
            "ups[1]": truth.battery_of_a_psu(),
            "ups[2]": truth.ups("1", 0.19, 3, 0.1),
            "airConditioners[1]": truth.air_conditioner(1),
            "thermohygrometer": truth.probe(0.1),
            "waterloggingSensor": truth.detector("water"),
            "smokeSensor": truth.detector("smoke"),
            "doors": truth.doors("front", "back"),
            "thunderSpd[1]": truth.surge_counter(1),
            "thunderSpd[2]": truth.surge_counter(2),
        }
    },
    computers={1: truth.this_pc(main="1")},
    not_supported={
        **dict.fromkeys((f"1.ups[1].{name}" for name in ("powerRate", "surplusTime", "remainCapacity")), _NO_CHARGE),
        "1.ups[1].temperature": "no battery probe in the answers of YD/T 1363",
        **dict.fromkeys((f"1.ups[2].{name}" for name in ("inputCurrent", "outputCurrent", "powerRate")), _Q1),
        **dict.fromkeys((f"1.ups[2].{name}" for name in ("surplusTime", "remainCapacity")), _Q1),
    },
    moved={1: FULL | {"strike": 3, "smoke": True}},  # that the UPS charges cannot be seen by its voltage
)
TWO_CABINETS = Example(
    tables={
        1: {
            "elec[1]": truth.meter(),
            "airConditioners[1]": truth.air_conditioner(1),
            "thermohygrometer": truth.probe(0.1),
            "waterloggingSensor": truth.detector("water"),
            "smokeSensor": truth.detector("smoke"),
            "doors": truth.doors("front", "back"),
            "thunderSpd[1]": truth.surge_counter(1),
        },
        2: {
            "rectifier[1]": truth.rectifier(1),
            "rectifier[2]": truth.rectifier(2),
            "ups[1]": truth.battery_of_a_monitor(),
            "ups[2]": truth.ups("2", 0.06, 3, 0.1) | truth.ups_charge() | truth.ups_minutes(0.3),
            "airConditioners[1]": truth.air_conditioner(1),
            "thermohygrometer": truth.probe(0.1),
            "waterloggingSensor": truth.detector("water"),
            "smokeSensor": truth.detector("smoke"),
            "doors": truth.doors("front"),
        },
    },
    computers={1: truth.this_pc(main="0"), 2: truth.toll_pc()},
    not_supported={
        **dict.fromkeys((f"2.ups[2].{name}" for name in ("inputCurrent", "outputCurrent")), "a UPS2000 has none"),
        **dict.fromkeys((f"2.doors.back{name}" for name in DOOR_FIELDS), "the battery cabinet has one door"),
    },
    moved={1: FULL | {"strike": 3, "water": True}, 2: MOVED | {"water": True}},
    hardware_options=("--fast-lines",),  # huawei-ups2000 keeps no silence before its frames
)
EXAMPLES = {"huawei-snmp": HUAWEI_SNMP, "rs485-mixed": RS485_MIXED, "two-cabinets": TWO_CABINETS}


class Site:
    """A running example, and how to compare it with its tables."""

    def __init__(self, name: str, it: Gantry, auth: str, began: float) -> None:
        self.name, self.example, self.it, self.auth, self.began = name, EXAMPLES[name], it, auth, began
        self.settled = 0  # uploads received when all was first as it should be

    def order(self, business: Mapping[str, str], method: str = "cabinetControl") -> dict[str, str]:
        unlike_any_before = {"why": str(time.monotonic_ns())}  # the same bytes again would not be carried out again
        return self.it.order({**business, **unlike_any_before}, method, auth=self.auth)

    def faults(self, *, at_rest: bool) -> list[str]:
        """Have all sent now, and hold it against the plant as it is now."""
        since = self.it.received()
        for method in ("cabinetControl", "computerControl"):
            assert self.order({"updateNow": "1"}, method)["code"] == "1000"
        wanted = len(self.example.tables) + 1
        eventually(lambda: len(self.it.uploads(since=since)) >= wanted, 5, "every status")
        state = ask(f"{self.it.api}/state")
        faults = [
            f"{number}.{fault}"
            for number, tables in self.example.tables.items()
            for fault in mismatches(
                self.it.latest(number),
                state["plant"][str(number)] | {"started": self.began},
                tables,
                self._otherwise(f"{number}.", at_rest=at_rest),
            )
        ]
        hosts = {1: {}} | {int(name.split()[1]): host for name, host in state["computers"].items()}
        payload = {"computer": self.it.uploads("computerStatusUpdate")[-1]["payload"]["computerStatus"]}
        for number, fields in self.example.computers.items():
            own = {"computer": [one for one in payload["computer"] if one["id"] == str(number)]}
            faults += mismatches(own, hosts[number], {f"computer[{number}]": fields}, {})
        assert len(payload["computer"]) == len(self.example.computers)
        return faults

    def _otherwise(self, prefix: str, *, at_rest: bool) -> dict[str, str]:
        told = dict.fromkeys(self.example.not_supported, "NotSupport")
        told |= dict.fromkeys(self.example.no_data_at_rest if at_rest else (), "NoData")
        return {name.removeprefix(prefix): word for name, word in told.items() if name.startswith(prefix)}

    def becomes_true(self, *, at_rest: bool, within_s: float, of: tuple[str, ...] = ("",)) -> None:
        """Wait until every field whose name begins with one of `of` is the plant's."""
        deadline = time.monotonic() + within_s
        while faults := [one for one in self.faults(at_rest=at_rest) if one.startswith(of)]:
            assert time.monotonic() < deadline, "\n".join(faults)
            time.sleep(1)


@dataclass(frozen=True)
class Run:
    """What came of each step of one site."""

    outcomes: Mapping[str, Future[None]]

    def take(self, step: str) -> None:
        self.outcomes[step].result(timeout=100)


def go(name: str, folder: Path, outcomes: Mapping[str, Future[None]]) -> None:
    """Start a site and take it through its steps; one that fails does not keep the next from being tried."""
    try:
        moved, began = move(ROOT / "config" / f"{name}.yaml", folder), time.time()
        with started(folder, moved.file, moved.ports, moved.auth, EXAMPLES[name].hardware_options) as it:
            site = Site(name, it, moved.auth, began)
            for step, outcome in outcomes.items():
                try:
                    STEPS[step](site)
                except BaseException as e:  # noqa: BLE001 - it is the outcome, and raised by the test that takes it
                    outcome.set_exception(e)
                else:
                    outcome.set_result(None)
    except BaseException as e:  # noqa: BLE001 - likewise
        for outcome in outcomes.values():
            if not outcome.done():
                outcome.set_exception(e)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Run]]:
    made = {name: Run({step: Future() for step in STEPS}) for name in EXAMPLES}
    with ThreadPoolExecutor(len(made)) as pool:
        all_of_them = [pool.submit(go, name, tmp_path_factory.mktemp(name), run.outcomes) for name, run in made.items()]
        yield made
        for one in all_of_them:
            one.result(timeout=100)


@pytest.fixture(params=list(EXAMPLES))
def run(request: pytest.FixtureRequest, runs: Mapping[str, Run]) -> Run:
    return runs[request.param]


def test_every_field_is_the_plants_at_rest_or_says_why_not(run: Run):
    run.take("rest")


def test_every_field_follows_the_plant_away_from_its_rest(run: Run):
    run.take("away")


def test_events_go_up_as_they_happen_and_orders_move_what_they_name(run: Run):
    run.take("events")


def test_nut_reads_the_same_ups_and_agrees_with_what_was_uploaded(run: Run):
    run.take("peer")


def test_the_cloud_has_no_complaint_and_no_field_was_lost_meanwhile(run: Run):
    run.take("clean")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_file_as_it_is_passes_check(name: str):
    command = python("gantry_agent", "check", "-c", str(ROOT / "config" / f"{name}.yaml"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, ": good. " in done.stdout) == (0, True), done.stdout + done.stderr


# --- at rest and away from it ---------------------------------------------------------------------------------------


def rest(site: Site) -> None:
    eventually(lambda: len(site.it.uploads()) > len(site.example.tables), 25, "the first statuses")
    site.becomes_true(at_rest=True, within_s=20)
    site.settled = site.it.received()


def away(site: Site) -> None:
    for number, wish in site.example.moved.items():
        site.it.plant(number, **wish)
    if 2 in site.example.computers:
        ask(f"{site.it.api}/plant", {"computer": 2, **COMPUTER})
    site.becomes_true(at_rest=False, within_s=40)


def clean(site: Site) -> None:
    assert not [(one["method"], one["complaints"]) for one in site.it.uploads() if one["complaints"]]
    assert {one["code"] for one in site.it.uploads()} == {"1000"}
    assert not re.search(r"Traceback|is too slow|was read within", site.it.agent.output), site.it.agent.output
    assert site.settled
    assert _lost(site) == set()


def _lost(site: Site) -> set[tuple[str, str]]:
    """What said GetFailed or NoData after the first round, but for cards, of which there may be none."""
    excused = {name.partition(".")[2] for name in site.example.no_data_at_rest}
    return {
        (name, said)
        for one in site.it.uploads(since=site.settled)
        for name, said in leaves(one["payload"].get("cabinetStatus") or {"computer": one["payload"]["computerStatus"]})
        if said in {"GetFailed", "NoData"} and not name.endswith("CardId") and name not in excused
    }


# --- events and orders ----------------------------------------------------------------------------------------------


def events_of_huawei_snmp(site: Site) -> None:
    it, since = site.it, site.it.received()
    it.plant(mains=False)
    it.sees(1, since=since, elec_status="0", rectifier_status="0")
    site.becomes_true(at_rest=False, within_s=15, of=("1.ups[1]", "1.ups[2].runningState"))  # both discharge
    it.plant(mains=True)
    it.sees(1, since=since + 1, elec_status="1", elec_warningMsg="")
    it.plant(rectifier={"number": 2, "fault": True})
    eventually(lambda: it.latest(1)["rectifier"][1]["warningMsg"] == "整流模块故障", 10, "a faulty module")
    it.plant(smoke=True, spd={"status": False})
    it.sees(1, since=since, smokeSensor_isWarning="1", thunderSpd_status="0")
    forced(site, 1, "back")
    unlocked(site, 1, "front")


def events_of_rs485_mixed(site: Site) -> None:
    it, since = site.it, site.it.received()
    it.plant(water=True, strike={"number": 2, "count": 2})
    it.sees(1, since=since, waterloggingSensor_isWarning="1")
    eventually(lambda: it.latest(1)["thunderSpd"][1]["lightningCount"] == "2", 10, "the strikes of the second")
    it.plant(aircon={"fault": True}, battery_fuse=False)
    it.sees(1, since=since, within_s=15, airConditioners_systemWarning="0", airConditioners_errorMsg="压缩机故障")
    it.sees(1, since=since, within_s=15, ups_warningMsg="电池熔丝断")
    forced(site, 1, "back")
    unlocked(site, 1, "front")


def events_of_two_cabinets(site: Site) -> None:
    it, since = site.it, site.it.received()
    it.plant(1, inside_c=50, outside_c=50)  # its alarm takes for_s; meanwhile the rest
    unlocked(site, 1, "back")
    for number in (1, 2):
        assert site.order({"cmd": "6", "cabinetId": str(number), "isDoorDefend": "1"})["code"] == "1000"
        forced(site, number, "front", alarm=("siren",) if number == 2 else ("siren", "beacon"))
    pictures = site.it.folder / "state" / "media"
    eventually(lambda: [one for one in pictures.rglob("1/front/*.jpg") if one.stat().st_size], 10, "a picture")
    for number in (1, 2):
        it.plant(number, smoke=True)
        it.sees(number, since=since, smokeSensor_isWarning="1")
    it.sees(1, since=since, within_s=20, thermohygrometer_status="0")
    assert site.order({"cmd": "5", "mode": "1"})["code"] == "1000"
    assert [it.state(n)["supplies"]["aircon-power"]["on"] for n in (1, 2)] == [False, False]
    before = it.state(1)["supplies"]["toll-pc"]["cuts"]
    assert site.order({"cmd": "1", "rebootIp": "192.168.1.31", "rebootPort": "2"})["code"] == "1000"
    assert (it.state(1)["supplies"]["toll-pc"]["cuts"], it.state(1)["supplies"]["toll-pc"]["on"]) == (before + 1, True)


EVENTS = {
    "huawei-snmp": events_of_huawei_snmp,
    "rs485-mixed": events_of_rs485_mixed,
    "two-cabinets": events_of_two_cabinets,
}


def forced(site: Site, cabinet: int, side: str, alarm: tuple[str, ...] = ()) -> None:
    """A locked door is opened: told at once as illegal, with siren and beacon where that is to be."""
    since = site.it.received()
    site.it.plant(cabinet, door={side: "forced"})
    site.it.sees(cabinet, since=since, **{f"doors_{side}DoorClosed": "0", f"doors_{side}DoorOpenIllegally": "1"})
    eventually(lambda: all(site.it.state(cabinet)[name] for name in alarm), 3, "siren and beacon")
    site.it.plant(cabinet, door={side: "closed"})
    site.it.sees(cabinet, since=since + 1, **{f"doors_{side}DoorClosed": "1", f"doors_{side}DoorOpenIllegally": "0"})
    eventually(lambda: not any(site.it.state(cabinet)[name] for name in ("siren", "beacon")), 3, "silence")


def unlocked(site: Site, cabinet: int, side: str) -> None:
    """cmd 2 moves the bolt of that door, and the opening is explained by it."""
    since, number = site.it.received(), {"front": "1", "back": "2"}[side]
    assert site.order({"cmd": "2", "cabinetId": str(cabinet), "unlockDoorId": number})["code"] == "1000"
    assert not site.it.state(cabinet)[side]["locked"]
    site.it.plant(cabinet, door={side: "pull"})
    site.it.sees(cabinet, since=since, **{f"doors_{side}DoorClosed": "0", f"doors_{side}DoorUnlockType": "2"})
    assert site.it.latest(cabinet)["doors"][f"{side}DoorOpenIllegally"] == "0"
    site.it.plant(cabinet, door={side: "closed"})
    site.it.sees(cabinet, since=since, **{f"doors_{side}DoorClosed": "1", f"doors_{side}DoorLocked": "1"})


# --- peers ----------------------------------------------------------------------------------------------------------


SNMP_UPS = {"community": "gantry-read", "snmp_version": "v2c", "mibs": "ietf"}
PEERS = {  # NUT's driver, its settings, and which of its names is which field: by what to multiply, how far off at most
    "huawei-snmp": (
        "snmp-ups",
        SNMP_UPS,
        {
            "battery.charge": ("1.ups[2].powerRate", 1, 1),
            "battery.voltage": ("1.ups[2].outputVoltage", 1, 0.1),
            "battery.runtime": ("1.ups[2].surplusTime", 1 / 60, 1),
            "battery.temperature": ("1.ups[2].temperature", 1, 1),
            "input.voltage": ("1.elec[1].voltage", 1, 0.6),
        },
    ),
    "rs485-mixed": (
        "nutdrv_qx",
        {"protocol": "megatec", "cablepower": "none"},
        {
            "ups.temperature": ("1.ups[2].temperature", 1, 1),
            "battery.voltage": ("1.ups[2].outputVoltage", 36, 0.4),  # a digit of a cell
            "input.voltage": ("1.elec[1].voltage", 1, 0.1),
        },
    ),
    "two-cabinets": (
        "huawei-ups2000",
        {},
        {
            "battery.charge": ("2.ups[2].powerRate", 1, 1),
            "battery.voltage": ("2.ups[2].outputVoltage", 1, 0.1),
            "battery.runtime": ("2.ups[2].surplusTime", 1 / 60, 0.5),
            "ups.temperature": ("2.ups[2].temperature", 1, 1),
        },
    ),
}


def peer(site: Site) -> None:
    """The UPS is on battery, so that nothing it tells is what it tells at rest."""
    driver, settings, pairs = PEERS[site.name]
    cabinet = 2 if site.name == "two-cabinets" else 1
    site.it.plant(cabinet, mains=False, ups_percent=70)
    state = f"{cabinet}.ups[2].runningState"
    site.becomes_true(at_rest=False, within_s=35, of=(state, *(name for name, _, _ in pairs.values())))
    uploaded = {f"{cabinet}.{name}": said for name, said in leaves(site.it.latest(cabinet))}
    if driver == "snmp-ups":
        place = ask(f"{site.it.api}/state")["wires"]["ups-card"]["place"].removesuffix("/udp")
    else:  # one program at a time has a serial line
        assert site.it.agent.stop() == 0
        place = str(site.it.folder / "ttyS2")
    told = nut(driver, site.it.folder, port=place, **settings)
    assert ("OB" in told["ups.status"].split(), uploaded[state]) == (True, "3")
    for name, (uploaded_as, factor, off) in pairs.items():
        assert float(told[name]) * factor == pytest.approx(float(uploaded[uploaded_as]), abs=off), name


STEPS = {"rest": rest, "away": away, "events": lambda site: EVENTS[site.name](site), "peer": peer, "clean": clean}
