"""What each field of an upload must say, by the plant of hwsim: a table per kind of device, to put sites together from.

The tables are written from what the device measures, not from its profile. A device's resolution is the tolerance, so
that a wrong scale or a neighbour's register shows. `mismatches` holds an upload against tables; what a site cannot give
is no row here: the site's test lists it, with the reason.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import psutil

State = Mapping[str, Any]
ZONE = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, slots=True)
class Near:
    """A number of the plant, to within what the device resolves and the plant moves between two readings."""

    value: Callable[[State], float]
    off: float
    decimals: int | None = None  # exactly so many on the wire

    def holds(self, said: str, state: State) -> bool:
        try:
            number = float(said)
        except ValueError:
            return False
        if self.decimals is not None and len(said.partition(".")[2]) != self.decimals:
            return False
        return abs(number - self.value(state)) <= self.off + 1e-6

    def tell(self, state: State) -> str:
        return f"{self.value(state):.3f} ± {self.off:g}"


@dataclass(frozen=True, slots=True)
class Is:
    """A word that follows from the plant."""

    value: Callable[[State], str]

    def holds(self, said: str, state: State) -> bool:
        return said == self.value(state)

    def tell(self, state: State) -> str:
        return repr(self.value(state))


@dataclass(frozen=True, slots=True)
class Instant:
    """A time that the agent itself observed, in the gantry's zone, since it was started."""

    def holds(self, said: str, state: State) -> bool:
        try:
            at = datetime.strptime(said, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=ZONE).timestamp()
        except ValueError:
            return False
        return state["started"] - 1 <= at <= time.time() + 1

    def tell(self, _state: State) -> str:
        return "a time since the start"


Truth = Near | Is | Instant
Fields = Mapping[str, Truth]


def word(text: str) -> Is:
    return Is(lambda _: text)


def bit(condition: Callable[[State], bool]) -> Is:
    return Is(lambda state: "1" if condition(state) else "0")


# --- electricity ----------------------------------------------------------------------------------------------------


def voltage(state: State) -> float:
    return state["mains"]["voltage_v"][0] if state["mains"]["present"][0] else 0.0


def mains_good(state: State) -> bool:
    mains = state["mains"]
    return all(mains["present"][: mains["phases"]]) and all(176 <= v <= 264 for v in mains["voltage_v"])


def meter() -> Fields:
    return {
        "status": bit(mains_good),
        "voltage": Near(voltage, 0.06),
        "current": Near(lambda p: p["phase_a"][0], 0.02),
        "power": Near(lambda p: sum(p["phase_w"]) / 1000, 0.003),
        "frequency": Near(lambda p: p["mains"]["frequency_hz"], 0.01),
        "elecConsumption": Near(lambda p: p["energy_kwh"], 0.05),
        "warningMsg": word(""),
    }


def monitor_mains() -> Fields:
    """The AC input of a site monitor: tenths of V and A, one phase wired."""
    shown = {"status": bit(mains_good), "voltage": Near(voltage, 0.06), "warningMsg": word("")}
    return shown | {
        "current": Near(lambda p: p["phase_a"][0], 0.06),
        "power": Near(lambda p: sum(p["phase_w"]) / 1000, 0.015),
    }


def rectifier(number: int) -> Fields:
    def amps(state: State) -> float:
        return state["dc"]["modules"][number - 1]["current_a"]

    return {
        "status": bit(lambda p: not p["dc"]["modules"][number - 1]["fault"]),
        "currentLimiting": bit(lambda p: p["dc"]["battery"]["limiting"]),
        "outputVoltage": Near(lambda p: p["dc"]["bus_v"], 0.06),
        "outputCurrent": Near(amps, 0.06),
        "outputPower": Near(lambda p: amps(p) * p["dc"]["bus_v"] / 1000, 0.005),
        "warningMsg": word(""),
    }


RUNNING = {"float": "1", "boost": "2", "discharge": "3"}


def battery_of_a_psu() -> Fields:
    """What any controller knows of the 48 V string: voltage and signed current."""
    return {
        "status": bit(lambda p: p["dc"]["battery"]["fuse"]),
        "runningState": Is(lambda p: RUNNING[p["dc"]["battery"]["mode"]]),
        "inputVoltage": Near(lambda p: p["dc"]["bus_v"], 0.06),
        "inputCurrent": Near(lambda p: max(0.0, p["dc"]["battery"]["current_a"]), 0.06),
        "outputVoltage": Near(lambda p: p["dc"]["bus_v"], 0.06),
        "outputCurrent": Near(lambda p: max(0.0, -p["dc"]["battery"]["current_a"]), 0.06),
        "warningMsg": word(""),
    }


def battery_of_a_monitor() -> Fields:
    def left_ah(state: State) -> float:
        battery = state["dc"]["battery"]
        return battery["capacity_ah"] * battery["charge"]

    return battery_of_a_psu() | {
        "powerRate": Near(lambda p: 100 * p["dc"]["battery"]["charge"], 0.3),
        "surplusTime": Near(lambda p: 60 * left_ah(p) / p["dc"]["load_a"], 2),
        "remainCapacity": Near(left_ah, 0.8),
        "temperature": Near(lambda p: p["dc"]["battery"]["temperature_c"], 0.06),
    }


def ups(state_while_charging: str, cell: float, warmer: float, degree: float) -> Fields:
    """The 230 V UPS: battery voltage to within `cell`; its own temperature is the cabinet's and `warmer`."""

    def running(state: State) -> str:
        if state["ups"]["source"] == "battery":
            return "3"
        return "1" if state["ups"]["charge"] > 0.995 else state_while_charging

    return {
        "status": word("1"),
        "runningState": Is(running),
        "inputVoltage": Near(lambda p: p["ups"]["battery_v"], cell),
        "outputVoltage": Near(lambda p: p["ups"]["battery_v"], cell),
        "temperature": Near(lambda p: p["climate"]["inside_c"] + warmer, degree + 0.3),
        "warningMsg": word(""),
    }


def ups_charge() -> Fields:
    """Of those that count: whole percents, and Ah of the 9 that the battery is rated."""
    return {
        "powerRate": Near(lambda p: 100 * p["ups"]["charge"], 0.8),
        "remainCapacity": Near(lambda p: p["ups"]["capacity_ah"] * p["ups"]["charge"], 0.08),
    }


def ups_minutes(off: float) -> Fields:
    def minutes(state: State) -> float:
        own = state["ups"]
        return own["charge"] * 82.1 * own["capacity_ah"] / own["load_w"] * 60

    return {"surplusTime": Near(minutes, off)}


def no_battery_current() -> Fields:
    """A card that measures it: none flows while the mains is there (the plant's UPS has no charging current)."""
    return {"inputCurrent": Near(lambda _: 0.0, 0.0), "outputCurrent": Near(lambda _: 0.0, 0.0)}


# --- the cabinet ----------------------------------------------------------------------------------------------------


def air_conditioner(number: int) -> Fields:
    def mode(state: State) -> str:
        unit = state["air"][number - 1]
        return "1" if unit["compressor"] else "2" if unit["heater"] else "0"

    def comfortable(state: State) -> bool:
        unit = state["air"][number - 1]
        return unit["low_alarm_c"] <= state["climate"]["inside_c"] <= unit["high_alarm_c"]

    return {
        "status": word("1"),
        "errorMsg": word(""),
        "isWorking": bit(lambda p: any(p["air"][number - 1][part] for part in ("compressor", "heater", "fan"))),
        "workMode": Is(mode),
        "systemWarning": bit(lambda p: not p["air"][number - 1]["fault"]),
        "temperatureWarning": bit(comfortable),
    }


def probe(step: float) -> Fields:
    """Temperature and humidity in steps of `step`; both drift while the test looks."""
    return {
        "status": word("1"),
        "temperature": Near(lambda p: p["climate"]["inside_c"], step / 2 + 0.3),
        "humidity": Near(lambda p: p["climate"]["inside_rh"], step / 2 + 0.6),
    }


def detector(what: str) -> Fields:
    return {"status": word("1"), "isWarning": bit(lambda p: p[what]), "warningChangeTime": Instant()}


def doors(*sides: str) -> Fields:
    """Contact and lock of each; nobody has unlocked one, so there is no card (`NoData`, §2.1.2)."""
    fields: dict[str, Truth] = {"status": word("1"), "defendMode": word("0")}
    for side in sides:
        fields |= {
            f"{side}DoorClosed": bit(lambda p, side=side: p[side]["closed"]),
            f"{side}DoorLocked": bit(lambda p, side=side: p[side]["locked"]),
            f"{side}DoorUnlockType": word("0"),
            f"{side}DoorUnlockCardId": word("NoData"),
            f"{side}DoorOpenIllegally": word("0"),
            f"{side}DoorChangeTime": Instant(),
        }
    return fields


def surge_contact(number: int) -> Fields:
    return {"status": bit(lambda p: p["spds"][number - 1]["healthy"])}


def surge_counter(number: int) -> Fields:
    return surge_contact(number) | {"lightningCount": Is(lambda p: str(p["spds"][number - 1]["strikes"]))}


# --- computers ------------------------------------------------------------------------------------------------------


def toll_pc() -> Fields:
    return {
        "isMonitorComputer": word("0"),
        "isMainComputer": word("1"),
        "sysDiskUsage": Near(lambda h: h["sys_disk_percent"], 0.01, 2),
        "sysDiskSize": Near(lambda h: h["sys_disk_bytes"] / 1024, 0.5, 0),
        "dataDiskUsage": Near(lambda h: h["data_disk_percent"], 0.01, 2),
        "dataDiskSize": Near(lambda h: h["data_disk_bytes"] / 1024, 0.5, 0),
        "memoryUsage": Near(lambda h: h["memory_used_percent"], 0.01, 2),
        "memorySize": Near(lambda h: h["memory_kb"], 0.5, 0),
        "netUsage": Near(lambda h: h["net_percent"], 0.5, 2),
        "cpuUsage": Near(lambda h: h["cpu_percent"], 0.5, 2),
        "cpuTemperature": Near(lambda h: h["cpu_c"], 0.01, 2),
        "ip": word("127.0.0.1"),
    }


def this_pc(main: str) -> Fields:
    """The one that the test runs on, as its system says; loads are what they are at the moment."""
    disk = Near(lambda _: shutil.disk_usage("/").total / 1024, 1, 0)
    used = Near(lambda _: psutil.disk_usage("/").percent, 2, 2)
    fields: dict[str, Truth] = {
        "isMonitorComputer": word("1"),
        "isMainComputer": word(main),
        "sysDiskUsage": used,
        "sysDiskSize": disk,
        "dataDiskUsage": used,
        "dataDiskSize": disk,
        "memoryUsage": Near(lambda _: psutil.virtual_memory().percent, 15, 2),
        "memorySize": Near(lambda _: psutil.virtual_memory().total / 1024, 1, 0),
        "netUsage": Near(lambda _: 50, 50, 2),
        "cpuUsage": Near(lambda _: 50, 50, 2),
        "ip": word("127.0.0.1"),
    }
    warm = psutil.sensors_temperatures()
    return fields | {"cpuTemperature": Near(lambda _: 60, 60, 2) if warm else word("NotSupport")}


# --- holding an upload against it -----------------------------------------------------------------------------------


def leaves(payload: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each field of a status by its name: `elec[1].voltage`, `doors.status`."""
    for member, value in payload.items():
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, Mapping):
                place = f"{member}[{entry['id']}]" if "id" in entry else member
                yield from ((f"{place}.{name}", said) for name, said in entry.items() if name != "id")


def mismatches(
    payload: Mapping[str, Any], state: State, tables: Mapping[str, Fields], excused: Mapping[str, str]
) -> list[str]:
    """What is not as the tables say, or missing in them; an `excused` field says exactly its NotSupport or NoData."""
    said = dict(leaves(payload))
    known = {f"{place}.{name}": truth for place, fields in tables.items() for name, truth in fields.items()}
    faults = [f"{name}: says {said[name]!r} and is in no table" for name in said.keys() - known.keys() - excused.keys()]
    for name, truth in (known | {name: word(text) for name, text in excused.items()}).items():
        if name not in said:
            faults.append(f"{name}: not uploaded")
        elif not truth.holds(said[name], state):
            faults.append(f"{name}: says {said[name]!r}, should say {truth.tell(state)}")
    return sorted(faults)
