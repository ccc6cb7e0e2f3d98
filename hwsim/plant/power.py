"""Electricity: rectifiers and battery on the 48 V bus, the UPS, and what all of it draws from the mains.

Theory: below their current limit the rectifiers hold the bus at the float (or boost) voltage and the battery takes what
it wants; without them the battery alone carries the load and the bus follows its open-circuit voltage less the drop in
its resistance. Charging is a current limited by 0.15 C10 and by how empty the battery is.
"""

from dataclasses import replace
from typing import Literal

from hwsim.plant.approach import clamp, exponential, linear
from hwsim.plant.state import Battery, BatteryTest, Dc, DischargeRow, Mains, Rectifier, State, Ups

MODULE_LIMIT_A = 34.5  # rated current of the modules in the SMU11B recording
EFFICIENCY = 0.96
CHARGE_LIMIT_C10 = 0.15
RESISTANCE_OHM = 0.03
DISCONNECT_V = 43.2  # the recorded low-voltage disconnect
BOOST_BELOW, FULL = 0.9, 0.995
RESULTS_KEPT = 10  # rows of the result table in one version of the MIB
SHORT_TEST_S, STANDARD_TEST_S = 300.0, 480 * 60.0
TEST_END_V = 45.0
FLOAT_A = 0.1  # below this the battery counts as full

Mode = Literal["float", "boost", "discharge"]


def open_circuit_v(charge: float) -> float:
    """A 24-cell lead battery at rest: 51.8 V full, and the last tenth falls off steeply to 42 V."""
    knee = clamp((0.1 - charge) / 0.1, 0.0, 1.0)
    return 47.0 + 4.8 * charge - 5.0 * knee


def supplied_a(dc: Dc) -> float:
    """What the load really gets: nothing on a dead bus."""
    return dc.load_a if dc.bus_v > 0.0 else 0.0


def ready_modules(dc: Dc, mains: Mains) -> tuple[bool, ...]:
    """Which modules can deliver: switched on, whole, and their phase is there (module k hangs on phase k)."""
    good = mains.good
    return tuple(dc.enabled and m.on and not m.fault and good[k % len(good)] for k, m in enumerate(dc.modules))


def step_dc(dc: Dc, mains: Mains, t: float, dt: float) -> Dc:
    ready = ready_modules(dc, mains)
    limit_a = MODULE_LIMIT_A * sum(ready)
    carrying = 0.0 if dc.battery.test else limit_a  # a test lowers the rectifiers so that the battery carries the load
    battery = _battery(dc, carrying, dt)
    bus_v = _bus_v(dc, battery, carrying)
    delivered = clamp(dc.load_a + battery.current_a, 0.0, carrying)
    battery = _outage(_tested(battery, bus_v, limit_a, t, dt), bus_v, limit_a, t, dt)
    return replace(dc, battery=battery, bus_v=bus_v, modules=_share(dc.modules, ready, delivered, dt))


def _battery(dc: Dc, limit_a: float, dt: float) -> Battery:
    before = dc.battery
    current_a = _battery_a(dc, limit_a)
    charge = clamp(before.charge + current_a * dt / 3600.0 / before.capacity_ah, 0.0, 1.0)
    alone_v = open_circuit_v(charge) - RESISTANCE_OHM * dc.load_a
    connected = limit_a > 0.0 or (before.connected and alone_v > DISCONNECT_V)  # closes again only with the mains
    return replace(
        before,
        charge=charge,
        current_a=current_a if connected else 0.0,
        mode=_mode(before, current_a, charge, limit_a),
        limiting=current_a >= CHARGE_LIMIT_C10 * before.capacity_ah - 1e-6,
        connected=connected,
    )


def _battery_a(dc: Dc, limit_a: float) -> float:
    battery = dc.battery
    if not (battery.fuse and (battery.connected or limit_a > 0.0)):
        return 0.0
    spare = limit_a - dc.load_a
    if spare < 0.0:
        return spare if battery.charge > 0.0 else 0.0
    wanted = 2.0 * battery.capacity_ah * (1.0 - battery.charge)  # tapers as it fills
    current_a = min(spare, CHARGE_LIMIT_C10 * battery.capacity_ah, wanted)
    return current_a if current_a > FLOAT_A else 0.0


def _mode(before: Battery, current_a: float, charge: float, limit_a: float) -> Mode:
    if current_a < 0.0 or limit_a <= 0.0:
        return "discharge"
    boosting = charge < BOOST_BELOW or (before.mode == "boost" and charge < FULL)
    return "boost" if boosting and current_a > 0.0 else "float"


def _bus_v(dc: Dc, battery: Battery, limit_a: float) -> float:
    if limit_a >= dc.load_a and limit_a > 0.0:
        return dc.boost_v if battery.mode == "boost" else dc.float_v
    if battery.fuse and battery.connected and battery.charge > 0.0:
        return open_circuit_v(battery.charge) + RESISTANCE_OHM * battery.current_a
    return 0.0


def _share(
    modules: tuple[Rectifier, ...], ready: tuple[bool, ...], delivered: float, dt: float
) -> tuple[Rectifier, ...]:
    each = delivered / max(1, sum(ready))
    return tuple(
        replace(
            module,
            current_a=each if able else 0.0,
            temperature_c=exponential(module.temperature_c, 25.0 + (each if able else 0.0), 600.0, dt),
        )
        for module, able in zip(modules, ready, strict=True)
    )


# --- the battery test -----------------------------------------------------------------------------------------------


def start_test(dc: Dc, kind: int, limit_s: float, t: float) -> Dc:
    test = BatteryTest(kind, t, limit_s, TEST_END_V)
    return dc if dc.battery.test else replace(dc, battery=replace(dc.battery, test=test))


def stop_test(dc: Dc, t: float, cause: int = 4) -> Dc:
    battery = dc.battery
    return replace(dc, battery=_concluded(battery, battery.test, dc.bus_v, t, cause)) if battery.test else dc


def _tested(battery: Battery, bus_v: float, limit_a: float, t: float, dt: float) -> Battery:
    test = battery.test
    if test is None:
        return battery
    test = replace(test, discharged_ah=test.discharged_ah + max(0.0, -battery.current_a) * dt / 3600.0)
    cause = _end_cause(test, bus_v, limit_a, t + dt)
    if cause:
        return _concluded(battery, test, bus_v, t + dt, cause)
    return replace(battery, test=test)


def _outage(battery: Battery, bus_v: float, limit_a: float, t: float, dt: float) -> Battery:
    """A discharge by a mains failure is a record too, of a kind of its own, ended by the mains (`acOnToEnd`)."""
    outage = battery.outage
    if limit_a > 0.0:
        return replace(_concluded(battery, outage, bus_v, t, 3), outage=None, test=battery.test) if outage else battery
    outage = outage or BatteryTest(2, t, STANDARD_TEST_S, DISCONNECT_V)
    drained_ah = max(0.0, -battery.current_a) * dt / 3600.0
    return replace(battery, outage=replace(outage, discharged_ah=outage.discharged_ah + drained_ah))


def _end_cause(test: BatteryTest, bus_v: float, limit_a: float, t: float) -> int:
    if limit_a <= 0.0:
        return 3
    if bus_v <= test.end_voltage_v:
        return 1
    return 2 if t - test.started_s >= test.limit_s else 0


def _concluded(battery: Battery, test: BatteryTest, bus_v: float, t: float, cause: int) -> Battery:
    duration_s = max(t - test.started_s, 1.0)
    early = cause == 1 and duration_s < test.limit_s / 2
    row = DischargeRow(
        kind=test.kind,
        started_s=test.started_s,
        result={1: 4 if early else 2, 2: 2}.get(cause, 1),
        efficiency_percent=round(100 * min(1.0, duration_s / test.limit_s)),
        duration_s=duration_s,
        end_voltage_v=bus_v,
        mean_current_a=test.discharged_ah * 3600.0 / duration_s,
        discharged_ah=test.discharged_ah,
        temperature_c=battery.temperature_c,
        end_cause=cause,
    )
    return replace(battery, test=None, results=(*battery.results, row)[-RESULTS_KEPT:])


# --- the UPS --------------------------------------------------------------------------------------------------------

UPS_FULL_V, UPS_EMPTY_V = 82.1, 66.0
TEST_LOW_CHARGE = 0.2  # no self-test discharges further


def step_ups(ups: Ups, mains: Mains, dt: float) -> Ups:
    line = mains.good[0]
    if ups.test_result == "running" and not (line and ups.enabled and ups.charge > 0.0):
        ups = replace(ups, testing_s=0.0, test_result="aborted")
    if line and ups.enabled and ups.testing_s <= 0.0:
        charge = linear(ups.charge, 1.0, 0.2 / 3600.0, dt)  # full again in five hours
        return replace(ups, source="line", charge=charge, battery_v=_ups_v(charge, charging=True), on_battery_s=0.0)
    if not ups.enabled or ups.charge <= 0.0:
        return replace(ups, source="line" if line and ups.enabled else "off")
    battery_v = _ups_v(ups.charge, charging=False)
    drained_ah = ups.load_w / battery_v * dt / 3600.0
    charge = max(0.0, ups.charge - drained_ah / ups.capacity_ah)
    carrying = replace(
        ups,
        source="battery",
        charge=charge,
        battery_v=_ups_v(charge, charging=False),
        on_battery_s=ups.on_battery_s + dt,
    )
    return _tested_ups(carrying, drained_ah, dt) if ups.test_result == "running" else carrying


def _tested_ups(ups: Ups, drained_ah: float, dt: float) -> Ups:
    """A self-test ends in time, or when the battery is low; one that is to be replaced fails it."""
    testing_s = max(0.0, ups.testing_s - dt)
    result = ups.test_result
    if ups.charge < TEST_LOW_CHARGE:
        testing_s, result = 0.0, "warning"
    elif testing_s <= 0.0:
        result = "failed" if ups.replace else "passed"
    return replace(
        ups,
        testing_s=testing_s,
        test_result=result,
        tested_s=ups.tested_s + dt,
        tested_ah=ups.tested_ah + drained_ah,
    )


def _ups_v(charge: float, *, charging: bool) -> float:
    return UPS_FULL_V if charging else UPS_EMPTY_V + (UPS_FULL_V - 4.0 - UPS_EMPTY_V) * charge


def ups_remaining_s(ups: Ups) -> float:
    return ups.charge * UPS_FULL_V * ups.capacity_ah * 3600.0 / max(ups.load_w, 1.0)


# --- what the mains gives -------------------------------------------------------------------------------------------


def draw(state: State, dt: float) -> State:
    """Sum what hangs on each phase, count the energy: rectifiers by their phase, the UPS on L1, cooling on the last."""
    mains, dc = state.mains, state.dc
    watts = [0.0, 0.0, 0.0]
    for k, module in enumerate(dc.modules):
        watts[k % mains.phases] += module.current_a * dc.bus_v / EFFICIENCY
    watts[0] += state.ups.load_w / 0.9 if state.ups.source == "line" else 0.0
    watts[mains.phases - 1] += sum(_air_w(unit.compressor, unit.heater, unit.fan) for unit in state.air)
    watts = [w if mains.at(phase) > 0.0 else 0.0 for phase, w in enumerate(watts)]
    amps = [w / mains.at(phase) if w else 0.0 for phase, w in enumerate(watts)]
    return replace(
        state,
        phase_w=(watts[0], watts[1], watts[2]),
        phase_a=(amps[0], amps[1], amps[2]),
        energy_kwh=state.energy_kwh + sum(watts) * dt / 3.6e6,
    )


def _air_w(compressor: bool, heater: bool, fan: bool) -> float:  # noqa: FBT001
    return 650.0 * compressor + 1000.0 * heater + 60.0 * fan
