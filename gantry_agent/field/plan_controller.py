"""From a profile to requests for door controllers, locks and surge monitors: one status for every point, a function or
signal to open.

Cards are not points: they are put and taken by `orders.controllers`, with the functions of `framing.uhppote`.
"""

from collections.abc import Iterable, Iterator

from gantry_agent.field import codec
from gantry_agent.field.framing import shengjiu, uhppote
from gantry_agent.field.product import (
    Point,
    Profile,
)
from gantry_agent.field.product_places import (
    InStatus,
    InSwipe,
    OpensDoor,
    Signals,
)
from gantry_agent.field.profile_controller import SERIAL, SOURCE
from gantry_agent.field.request import AskController, AskInputs, AskLock, AskSurge, Block, Placed, ReadController
from gantry_agent.model import Device, Lane

UHPPOTE = "uhppote"
PROTOCOLS = frozenset({UHPPOTE, "shengjiu", "zpta", "huazi"})


def serial(profile: Profile, device: Device) -> int:
    """The number by which a controller is told from others."""
    return int(profile.parameters_of(device)[SERIAL])


def blocks(points: Iterable[tuple[str, Point]], lane: Lane, profile: Profile, device: Device) -> Iterator[Block]:
    """All points of a lane in one block: a status holds everything."""
    parameters = profile.parameters_of(device)
    placed = []
    for key, point in points:
        assert isinstance(point.place, InStatus | InSwipe)
        placed.append(Placed(key, codec.controller_reader(point.place, point.encoding, parameters)))
    if not placed:
        return
    yield Block(_status(profile, device), tuple(placed), lane)


def _status(profile: Profile, device: Device) -> ReadController | AskLock | AskInputs | AskSurge:
    """What asks for everything that the device knows."""
    match profile.protocol:
        case "uhppote":
            return ReadController(device.unit, serial(profile, device))
        case "zpta":
            return AskInputs(device.unit)
        case "huazi":
            return AskSurge(device.unit)
    return _signal(shengjiu.QUERY, profile, device)


def written(
    how: OpensDoor | Signals, value: int, profile: Profile, device: Device
) -> tuple[AskController | AskLock, ...]:
    """What makes a point be `value`. A controller closes a door by itself: for that nothing is asked."""
    if isinstance(how, Signals):
        return (_signal(how.by_value[value], profile, device),) if value in how.by_value else ()
    if not value:
        return ()
    return (AskController(device.unit, serial(profile, device), uhppote.OPEN_DOOR, bytes([how.door])),)


def _signal(signal: int, profile: Profile, device: Device) -> AskLock:
    """A lock may want to be addressed by itself: the source 0 stands for its own address."""
    source = int(profile.parameters_of(device)[SOURCE])
    return AskLock(device.unit, source or device.unit, signal)
