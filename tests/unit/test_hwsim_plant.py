"""The plant's physics: stepped, never slept."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.plant import step
from hwsim.plant.approach import exponential, linear
from hwsim.plant.host import Host, step_host
from hwsim.plant.orders import BatteryTesting, Change, ClearStrikes, Energise, Handle, Strike, UpsTesting
from hwsim.plant.state import AirConditioner, Dc, Mains, State

LOST = Change("mains", (("present", (False, False, False)),))
BACK = Change("mains", (("present", (True, True, True)),))
HOT = State(air=(AirConditioner(),), dc=Dc(load_a=25.0))


@given(st.floats(-100, 100), st.floats(-100, 100), st.floats(0.01, 50), st.floats(0.001, 1e5))
def test_an_approach_never_overshoots(value: float, target: float, pace: float, dt: float) -> None:
    low, high = min(value, target) - 1e-9, max(value, target) + 1e-9
    assert low <= linear(value, target, pace, dt) <= high
    assert low <= exponential(value, target, pace, dt) <= high


def test_the_same_steps_give_the_same_state() -> None:
    assert step(step(HOT, 60), 60, [LOST]) == step(step(HOT, 60), 60, [LOST])


def test_the_rectifiers_share_the_load_at_float_voltage() -> None:
    dc = step(State(), 60).dc
    assert dc.bus_v == 53.5
    assert [module.current_a for module in dc.modules] == [6.0, 6.0]
    assert (dc.battery.mode, dc.battery.current_a) == ("float", 0.0)


def test_mains_failure_discharges_the_battery_and_its_return_recharges_it() -> None:
    failed = step(State(), 3600, [LOST])
    assert failed.dc.battery.mode == "discharge"
    assert failed.dc.battery.current_a == -12.0
    assert failed.dc.battery.charge == pytest.approx(0.88, abs=0.001)  # 12 Ah of 100
    assert 48.0 < failed.dc.bus_v < 53.5
    returned = step(failed, 60, [BACK])
    assert returned.dc.battery.mode == "boost"
    assert returned.dc.battery.limiting
    assert returned.dc.battery.current_a == 15.0
    full = step(returned, 20 * 3600)
    assert full.dc.battery.charge > 0.99
    assert (full.dc.battery.mode, full.dc.battery.limiting) == ("float", False)


def test_the_battery_runs_empty_and_the_bus_dies_until_the_mains_returns() -> None:
    dead = step(State(), 12 * 3600, [LOST])
    assert (dead.dc.bus_v, dead.dc.battery.connected) == (0.0, False)
    assert dead.ups.source == "off"
    assert step(dead, 600).dc.battery.charge == dead.dc.battery.charge
    alive = step(dead, 10, [BACK])
    assert alive.dc.bus_v > 50.0
    assert alive.dc.battery.connected
    assert alive.ups.source == "line"


def test_a_lost_phase_takes_only_the_module_on_it() -> None:
    state = step(State(), 10, [Change("mains", (("present", (True, False, True)),))])
    assert [round(module.current_a) for module in state.dc.modules] == [12, 0]
    assert state.phase_a[1] == 0.0


def test_a_blown_battery_fuse_leaves_the_load_on_the_rectifiers_only() -> None:
    state = step(State(), 10, [Change("battery", (("fuse", False),))])
    assert state.dc.bus_v == 53.5
    assert step(state, 10, [LOST]).dc.bus_v == 0.0


def test_more_load_than_the_rectifiers_give_is_taken_from_the_battery() -> None:
    state = step(State(), 10, [Change("dc", (("load_a", 80.0),))])
    assert state.dc.battery.current_a == pytest.approx(69.0 - 80.0)


def test_a_short_test_discharges_for_its_time_and_leaves_a_result() -> None:
    state = step(State(t=100.0), 301, [BatteryTesting("short")])
    (result,) = state.dc.battery.results
    assert (result.kind, result.result, result.end_cause, result.started_s) == (4, 2, 2, 100.0)
    assert result.discharged_ah == pytest.approx(1.0, abs=0.02)  # 12 A for five minutes
    assert result.mean_current_a == pytest.approx(12.0, abs=0.2)
    assert state.dc.battery.test is None


@pytest.mark.parametrize(("order", "cause"), [(BatteryTesting("stop"), 4), (LOST, 3)])
def test_a_test_that_is_stopped_says_why(order: object, cause: int) -> None:
    state = step(step(State(), 60, [BatteryTesting("standard")]), 5, [order])
    assert [result.end_cause for result in state.dc.battery.results] == [cause]


def test_a_second_test_does_not_restart_the_first() -> None:
    once = step(State(), 60, [BatteryTesting("standard")])
    twice = step(once, 60, [BatteryTesting("short")])
    assert twice.dc.battery.test is not None
    assert twice.dc.battery.test.kind == 1


def test_the_ups_carries_its_load_and_its_self_test_passes() -> None:
    assert step(State(), 1, [LOST]).ups.source == "battery"
    testing = step(State(), 5, [UpsTesting(10.0)]).ups
    assert (testing.source, testing.test_result) == ("battery", "running")
    done = step(State(), 15, [UpsTesting(10.0)]).ups
    assert (done.source, done.test_result) == ("line", "passed")
    assert step(State(), 5, [UpsTesting(10.0), UpsTesting(0.0)]).ups.test_result == "aborted"


def test_a_self_test_ends_when_the_mains_fails_or_the_battery_is_low_or_to_be_replaced() -> None:
    testing = step(State(), 5, [UpsTesting(600.0)])
    assert testing.ups.tested_ah == pytest.approx((1.0 - testing.ups.charge) * testing.ups.capacity_ah)
    lost = step(testing, 1, [LOST]).ups
    assert (lost.source, lost.test_result, lost.testing_s) == ("battery", "aborted", 0.0)
    low = step(State(), 60, [Change("ups", (("charge", 0.201),)), UpsTesting(600.0)]).ups
    assert (low.source, low.test_result) == ("line", "warning")
    old = step(State(), 15, [Change("ups", (("replace", True),)), UpsTesting(10.0)]).ups
    assert (old.source, old.test_result) == ("line", "failed")


def test_an_outage_is_recorded_when_the_mains_is_back() -> None:
    out = step(State(), 600, [LOST])
    assert out.dc.battery.results == ()
    (row,) = step(out, 5, [BACK]).dc.battery.results
    assert (row.kind, row.end_cause) == (2, 3)
    assert row.discharged_ah == pytest.approx(12.0 * 600 / 3600, rel=0.01)


def test_a_self_test_without_charge_is_aborted() -> None:
    empty = [Change("ups", (("charge", 0.0),)), UpsTesting(10.0)]
    assert step(State(), 5, empty).ups.test_result == "aborted"
    off = step(State(), 5, [Change("ups", (("enabled", False),))]).ups
    assert off.source == "off"


def test_energy_counts_what_is_drawn() -> None:
    before = step(State(), 10)
    watts = sum(before.phase_w)
    assert step(before, 3600).energy_kwh - before.energy_kwh == pytest.approx(watts / 1000, rel=0.05)


def test_the_air_conditioner_cools_at_its_set_point_and_stops_a_band_below() -> None:
    state, seen = HOT, set()
    for _ in range(240):
        state = step(state, 60)
        seen.add(state.air[0].compressor)
        assert state.climate.inside_c < 37.0
    assert seen == {True, False}


def test_the_heater_comes_in_the_cold() -> None:
    cold = State(air=(AirConditioner(),), dc=Dc(load_a=1.0))
    state = step(cold, 4 * 3600, [Change("climate", (("outside_c", -25.0),))])
    assert state.climate.inside_c > -25.0 + 10.0
    assert any(step(state, 60 * k).air[0].heater for k in range(30))


def test_an_air_conditioner_switched_off_or_without_mains_stands_still() -> None:
    off = step(HOT, 3600, [Change("air", (("remote", False),))])
    assert (off.air[0].fan, off.air[0].compressor) == (False, False)
    dark = step(HOT, 3600, [LOST])
    assert (dark.air[0].fan, dark.air[0].compressor) == (False, False)


def test_an_unlock_pulse_opens_the_lock_and_closing_the_door_relocks_it() -> None:
    state = step(State(), 3, [Energise("front", True)])
    assert not state.front.locked
    state = step(state, 1, [Energise("front", False), Handle("front", "pull")])
    assert (state.front.closed, state.front.locked) == (False, False)
    state = step(state, 600)
    assert not state.front.locked  # as long as it stands open
    state = step(state, 0.5, [Handle("front", "close")])
    assert (state.front.closed, state.front.locked) == (True, False)
    assert step(state, 2).front.locked


def test_a_lock_opened_for_nobody_springs_back() -> None:
    state = step(State(), 3, [Energise("back", True), Energise("back", False)])
    assert not state.back.locked
    assert step(state, 15).back.locked


def test_a_locked_door_opens_only_by_force_with_its_bolt_out() -> None:
    assert step(State(), 1, [Handle("front", "pull")]).front.closed
    forced = step(State(), 1, [Handle("front", "force")]).front
    assert (forced.closed, forced.locked) == (False, True)
    by_key = step(State(), 1, [Handle("front", "key"), Handle("front", "pull")]).front
    assert (by_key.closed, by_key.locked) == (False, False)


def test_strikes_count_until_cleared() -> None:
    state = step(State(), 1, [Strike(0, 2), Strike(0)])
    assert (state.spds[0].strikes, state.spds[0].total) == (3, 3)
    state = step(state, 1, [ClearStrikes(0)])
    assert (state.spds[0].strikes, state.spds[0].total) == (0, 3)


def test_a_phase_that_is_not_wired_has_no_voltage() -> None:
    mains = Mains(phases=1)
    assert [mains.at(phase) for phase in range(3)] == [231.0, 0.0, 0.0]
    assert mains.good == (True,)
    assert replace(mains, voltage_v=(60.0, 0.0, 0.0)).good == (False,)


def test_a_host_counts_octets_and_ticks() -> None:
    before = Host(net_percent=10.0, cpu_percent=25.0)
    after = step_host(before, 10.0)
    assert after.octets_in - before.octets_in == 1000 * 125_000 // 10 * 10
    assert after.busy_ticks - before.busy_ticks == pytest.approx(0.25 * 100 * 4 * 10)
    assert after.idle_ticks - before.idle_ticks == pytest.approx(0.75 * 100 * 4 * 10)
