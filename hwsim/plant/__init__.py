"""The cabinet in software: `step(state, dt, orders)` gives the cabinet dt seconds later. Pure and deterministic.

The same steps give the same state, so a test jumps an hour without sleeping and a running simulation has a speed.
Nothing here knows a device, a register or a wire; those show parts of the State and turn writes into orders.
"""

from collections.abc import Iterable
from dataclasses import replace

from hwsim.plant.climate import step_climate
from hwsim.plant.doors import step_door
from hwsim.plant.orders import Order, obey
from hwsim.plant.power import draw, step_dc, step_ups
from hwsim.plant.state import State

LONGEST_STEP_S = 2.0  # the parts see each other's last step only; longer jumps are cut into these


def step(state: State, dt: float, orders: Iterable[Order] = ()) -> State:
    """Carry out `orders`, then let `dt` seconds pass."""
    for order in orders:
        state = obey(state, order)
    while dt > 0.0:
        piece = min(dt, LONGEST_STEP_S)
        state = _piece(state, piece)
        dt -= piece
    return state


def _piece(state: State, dt: float) -> State:
    state = replace(
        state,
        dc=step_dc(state.dc, state.mains, state.t, dt),
        ups=step_ups(state.ups, state.mains, dt),
        front=step_door(state.front, dt),
        back=step_door(state.back, dt),
    )
    state = step_climate(state, dt)
    return replace(draw(state, dt), t=state.t + dt)
