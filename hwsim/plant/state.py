"""What one cabinet is, physically: frozen values, replaced whole by `step` and `obey`.

Units stand in the names (`_a`, `_v`, `_c`, `_ah`). Nothing here knows a protocol, a register or a product; a device
shows parts of this in its own way. Numbers that are not in the vendor tables are plausible for a roadside cabinet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Side = Literal["front", "back"]
SIDES: tuple[Side, ...] = ("front", "back")


@dataclass(frozen=True, slots=True)
class Mains:
    """The supply at the cabinet's terminals. A phase that is absent has 0 V; `phases` counts the wired ones."""

    phases: int = 3
    present: tuple[bool, bool, bool] = (True, True, True)
    voltage_v: tuple[float, float, float] = (231.0, 229.5, 230.4)
    frequency_hz: float = 50.0

    def at(self, phase: int) -> float:
        """Volts of phase 0..2 as a meter would see them."""
        return self.voltage_v[phase] if phase < self.phases and self.present[phase] else 0.0

    @property
    def good(self) -> tuple[bool, ...]:
        """Which wired phases can feed a power supply (85–300 V, the usual rectifier input range)."""
        return tuple(85.0 <= self.at(phase) <= 300.0 for phase in range(self.phases))


@dataclass(frozen=True, slots=True)
class Rectifier:
    """One module of the DC system, fed by one phase."""

    on: bool = True
    fault: bool = False
    current_a: float = 0.0
    temperature_c: float = 30.0


@dataclass(frozen=True, slots=True)
class DischargeRow:
    """One row of the site monitor's battery test table; words as there."""

    kind: int  # 1 manual, 2 mains off, 3 timed, 4 short
    started_s: float  # seconds of the plant's own time
    result: int  # 1 none 2 normal 3 slight 4 severe
    efficiency_percent: int
    duration_s: float
    end_voltage_v: float
    mean_current_a: float
    discharged_ah: float
    temperature_c: float
    end_cause: int  # 1 end voltage 2 end time 3 alarm or mains 4 manual 5 fault


@dataclass(frozen=True, slots=True)
class BatteryTest:
    """A discharge test under way."""

    kind: int
    started_s: float
    limit_s: float
    end_voltage_v: float
    discharged_ah: float = 0.0


@dataclass(frozen=True, slots=True)
class Battery:
    """The 48 V string. Current is positive while charging."""

    capacity_ah: float = 100.0
    charge: float = 1.0  # 0..1 of capacity
    current_a: float = 0.0
    temperature_c: float = 25.0
    fuse: bool = True
    mode: Literal["float", "boost", "discharge"] = "float"
    limiting: bool = False
    connected: bool = True  # the low-voltage disconnect
    test: BatteryTest | None = None
    outage: BatteryTest | None = None  # a discharge because the mains failed, which is recorded like a test
    results: tuple[DischargeRow, ...] = ()


@dataclass(frozen=True, slots=True)
class Dc:
    """Rectifiers, battery and load on one 48 V bus."""

    load_a: float = 12.0
    bus_v: float = 53.5
    float_v: float = 53.5
    boost_v: float = 56.4
    enabled: bool = True  # all rectifiers on or off by the group object
    modules: tuple[Rectifier, ...] = (Rectifier(), Rectifier())
    rows: tuple[int, ...] = ()  # where the site monitor shows each module, 0 for nowhere; empty: where it did at first
    battery: Battery = field(default_factory=Battery)


@dataclass(frozen=True, slots=True)
class Ups:
    """The 230 V UPS beside the DC system, single phase, 3 kVA, on phase L1."""

    load_w: float = 450.0
    rated_va: float = 3000.0
    capacity_ah: float = 9.0
    charge: float = 1.0
    battery_v: float = 82.1
    source: Literal["line", "battery", "bypass", "off"] = "line"
    enabled: bool = True  # output switched on
    testing_s: float = 0.0  # what is left of a self-test
    tested_s: float = 0.0  # how long the last one has run
    tested_ah: float = 0.0  # and what it took out of the battery
    test_result: Literal["none", "running", "passed", "warning", "failed", "aborted"] = "none"
    on_battery_s: float = 0.0
    replace: bool = False


@dataclass(frozen=True, slots=True)
class AirConditioner:
    """Compressor, heater and fans by set-points; `remote` is the remote on/off switch."""

    remote: bool = True
    cool_on_c: float = 35.0
    cool_band_c: float = 5.0
    heat_on_c: float = 5.0
    heat_band_c: float = 5.0
    high_alarm_c: float = 45.0
    low_alarm_c: float = -5.0
    high_alarm_rh: float = 90.0
    powered: bool = True
    compressor: bool = False
    heater: bool = False
    fan: bool = True
    fault: bool = False  # compressor fault
    coil_c: float = 25.0
    supplied: bool = True  # no relay of the site cuts it off


@dataclass(frozen=True, slots=True)
class Climate:
    outside_c: float = 25.0
    outside_rh: float = 60.0
    inside_c: float = 30.0
    inside_rh: float = 50.0


@dataclass(frozen=True, slots=True)
class Door:
    """A door leaf with its contact and its electric lock."""

    closed: bool = True
    locked: bool = True
    energised: bool = False  # the unlock output holds the lock open
    relock_s: float = 0.0  # until the bolt springs back, counted while nothing holds it


@dataclass(frozen=True, slots=True)
class Spd:
    """A surge protector with its strike counter."""

    healthy: bool = True
    strikes: int = 0
    total: int = 0
    leakage_ma: float = 0.02
    life_percent: float = 98.0


@dataclass(frozen=True, slots=True)
class Supply:
    """What one relay of the site cuts off, wired normally closed; `air` are the air conditioners it feeds, from 0."""

    on: bool = True
    since: float = 0.0  # plant seconds
    cuts: int = 0
    last_cut_s: float = 0.0
    air: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """One cabinet at one instant."""

    t: float = 0.0
    mains: Mains = field(default_factory=Mains)
    dc: Dc = field(default_factory=Dc)
    ups: Ups = field(default_factory=Ups)
    air: tuple[AirConditioner, ...] = ()
    climate: Climate = field(default_factory=Climate)
    front: Door = field(default_factory=Door)
    back: Door = field(default_factory=Door)
    water: bool = False
    smoke: bool = False
    siren: bool = False
    beacon: bool = False
    spds: tuple[Spd, ...] = (Spd(),)
    supplies: Mapping[str, Supply] = field(default_factory=dict, hash=False)  # by the name of the output
    energy_kwh: float = 1234.5
    phase_a: tuple[float, float, float] = (0.0, 0.0, 0.0)
    phase_w: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def door(self, side: Side) -> Door:
        return self.front if side == "front" else self.back
