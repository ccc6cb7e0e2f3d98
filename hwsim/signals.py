"""Which plant condition stands behind a field of the interface that a site file wires to a module's input. Pure.

A signal is true when the field would be 1: a door contact that is closed, a warning that is active, a status that is
normal. A wired input shows it, inverted where the site says so.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hwsim.plant.state import State

Signal = Callable[[State, int], bool]


def _working(plant: State, number: int) -> bool:
    unit = plant.air[number - 1]
    return unit.fan or unit.compressor or unit.heater


def _comfortable(plant: State, number: int) -> bool:
    unit = plant.air[number - 1]
    return unit.low_alarm_c <= plant.climate.inside_c <= unit.high_alarm_c


SIGNALS: Mapping[str, Signal] = MappingProxyType(
    {
        "waterloggingSensor.isWarning": lambda plant, _: plant.water,
        "smokeSensor.isWarning": lambda plant, _: plant.smoke,
        "doors.frontDoorClosed": lambda plant, _: plant.front.closed,
        "doors.frontDoorLocked": lambda plant, _: plant.front.locked,
        "doors.backDoorClosed": lambda plant, _: plant.back.closed,
        "doors.backDoorLocked": lambda plant, _: plant.back.locked,
        "thunderSpd.status": lambda plant, number: plant.spds[number - 1].healthy,
        "airConditioners.status": lambda plant, number: not plant.air[number - 1].fault,
        "airConditioners.isWorking": _working,
        "airConditioners.systemWarning": lambda plant, number: not plant.air[number - 1].fault,
        "airConditioners.temperatureWarning": _comfortable,
        "elec.status": lambda plant, _: all(plant.mains.good),
        "ups.status": lambda plant, _: plant.ups.source in ("line", "battery"),
        "rectifier.status": lambda plant, number: not plant.dc.modules[number - 1].fault and any(plant.mains.good),
    }
)


def level(plant: State, signal: str, number: int, *, invert: bool) -> bool:
    """What the input sees; a field that nothing here stands behind rests at false."""
    known = SIGNALS.get(signal)
    return (known(plant, number) if known else False) != invert
