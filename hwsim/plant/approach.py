"""How a quantity moves in time: current value, target, pace, dt → new value. Never overshoots, never looks at a clock.

After the idea of lewis' `core/approaches`: physics is a few functions of numbers, so a test can jump an hour.
"""

import math


def linear(value: float, target: float, rate: float, dt: float) -> float:
    """Move towards `target` by at most `rate` per second."""
    room = target - value
    step = min(abs(room), rate * dt)
    return value + math.copysign(step, room)


def exponential(value: float, target: float, time_constant_s: float, dt: float) -> float:
    """Close the distance to `target` as a capacity behind a resistance does; exact for any dt."""
    return target + (value - target) * math.exp(-dt / time_constant_s)


def clamp(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))
