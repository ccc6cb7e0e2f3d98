"""From a profile to requests for an object of a ZTE site unit: one for all its values, one for the list of alarms.

Each is read as fast as the most urgent of its points needs it: the unit answers with all of them whatever is wanted.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from gantry_agent.field import codec
from gantry_agent.field.product import Point, Profile
from gantry_agent.field.product_places import InAlarms, InObject
from gantry_agent.field.request import Block, Placed, ReadAlarms, ReadObject
from gantry_agent.model import Device, Lane

PROTOCOL: Final = "zte"


def blocks(points: Iterable[tuple[str, Point]], profile: Profile, device: Device) -> Iterator[Block]:
    """At most one block of values and one of alarms."""
    parameters = profile.parameters_of(device)
    asked: dict[ReadObject | ReadAlarms, list[Placed]] = {}
    fast: set[ReadObject | ReadAlarms] = set()
    for key, point in points:
        place = point.place
        assert isinstance(place, InObject | InAlarms)
        request: ReadObject | ReadAlarms
        if isinstance(place, InAlarms):
            request = ReadAlarms(device.unit)
            read = codec.alarm_reader(device.object, point.encoding, parameters)
        else:
            request = ReadObject(device.unit, device.object)
            read = codec.object_reader(place, point.encoding, parameters)
        asked.setdefault(request, []).append(Placed(key, read))
        if point.lane == "fast":
            fast.add(request)
    for request, placed in asked.items():
        lane: Lane = "fast" if request in fast else "slow"
        yield Block(request, tuple(placed), lane)
