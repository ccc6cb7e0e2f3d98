"""Heat and humidity in the cabinet, and the air conditioners that move them.

Theory: one heat capacity behind one conductance to the outside; the load's losses heat it, a compressor takes heat
out, a heater adds some. Air conditioners switch by their set-points with hysteresis, as the cabinet units of the vendor
tables do; the inner fan runs while the unit is switched on.
"""

from dataclasses import replace

from hwsim.plant.approach import clamp, exponential
from hwsim.plant.power import supplied_a
from hwsim.plant.state import AirConditioner, Climate, State

CAPACITY_J_K = 90_000.0
CONDUCTANCE_W_K, OPEN_DOOR_W_K = 18.0, 60.0
COOLING_W, HEATING_W = 1500.0, 900.0
LOSSES = 0.4  # share of the DC load that becomes heat inside; the rest is sent up the mast


def step_climate(state: State, dt: float) -> State:
    powered = any(state.mains.good)
    inside_c = _inside_c(state, dt)
    units = tuple(_switched(unit, inside_c, powered=powered and unit.supplied, dt=dt) for unit in state.air)
    climate = replace(state.climate, inside_c=inside_c, inside_rh=_inside_rh(state, dt))
    return replace(state, climate=climate, air=units)


def _inside_c(state: State, dt: float) -> float:
    open_doors = (not state.front.closed) + (not state.back.closed)
    conductance = CONDUCTANCE_W_K + OPEN_DOOR_W_K * open_doors
    heat_w = LOSSES * supplied_a(state.dc) * state.dc.bus_v + 0.1 * state.ups.load_w * (state.ups.source != "off")
    heat_w += sum(HEATING_W * unit.heater - COOLING_W * unit.compressor for unit in state.air)
    balance_c = state.climate.outside_c + heat_w / conductance
    return exponential(state.climate.inside_c, balance_c, CAPACITY_J_K / conductance, dt)


def _inside_rh(state: State, dt: float) -> float:
    climate: Climate = state.climate
    # The same water in warmer air is less relative humidity: about a twentieth per kelvin.
    balance = climate.outside_rh * (0.95 ** (climate.inside_c - climate.outside_c))
    drying = 0.7 if any(unit.compressor for unit in state.air) else 1.0
    return exponential(climate.inside_rh, clamp(balance * drying, 5.0, 100.0), 900.0, dt)


def _switched(unit: AirConditioner, inside_c: float, *, powered: bool, dt: float) -> AirConditioner:
    running = unit.remote and powered
    compressor = running and not unit.fault and _holds(unit.compressor, inside_c - unit.cool_on_c, unit.cool_band_c)
    heater = running and _holds(unit.heater, unit.heat_on_c - inside_c, unit.heat_band_c)
    coil_target = 8.0 if compressor else inside_c
    return replace(
        unit,
        powered=powered,
        fan=running,
        compressor=compressor,
        heater=heater,
        coil_c=exponential(unit.coil_c, coil_target, 120.0, dt),
    )


def _holds(on: bool, excess_c: float, band_c: float) -> bool:  # noqa: FBT001
    """Two-point control: on at the set-point, off a band beyond it."""
    return excess_c >= 0.0 or (on and excess_c > -band_c)
