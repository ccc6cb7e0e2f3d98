"""A door leaf and its electric lock.

Theory: an unlock output holds the bolt back while it is on. When it goes off the bolt waits: it springs back
`UNOPENED_S` later if nobody opened, or `CLOSED_S` after the door was closed. A person opens an unlocked door; a locked
one opens only by force, its bolt still out, which is how an illegal opening looks to contact and lock.
"""

from dataclasses import replace

from hwsim.plant.approach import linear
from hwsim.plant.state import Door

UNOPENED_S = 10.0
CLOSED_S = 1.0


def step_door(door: Door, dt: float) -> Door:
    if door.locked or door.energised or not door.closed:
        return door
    relock_s = linear(door.relock_s, 0.0, 1.0, dt)
    return replace(door, relock_s=relock_s, locked=relock_s <= 0.0)


def energise(door: Door, *, on: bool) -> Door:
    if on:
        return replace(door, energised=True, locked=False, relock_s=UNOPENED_S)
    return replace(door, energised=False)


def turn_key(door: Door) -> Door:
    return replace(door, locked=False, relock_s=UNOPENED_S)


def pull(door: Door) -> Door:
    """A person tries the handle: opens if the bolt is back, else nothing happens."""
    return door if door.locked else replace(door, closed=False)


def force(door: Door) -> Door:
    return replace(door, closed=False)


def close(door: Door) -> Door:
    return replace(door, closed=True, relock_s=CLOSED_S)
