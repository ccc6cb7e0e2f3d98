"""What an earlier run had cut and the site file lists no longer: found by its contact, to be given back.

A technician may rename an output, wire it elsewhere, or take it out of `power_modes`, `relays` or the file while it
is cut. What stays the same is the contact: the point of a device.
"""

import logging
from collections.abc import Callable, Collection, Mapping

from gantry_agent.core import cuts
from gantry_agent.core.cuts import Cut, Place
from gantry_agent.model import Output, Site
from gantry_agent.orders.changes import Settings

log = logging.getLogger(__name__)


async def followed(site: Site, store: Settings, kept: Mapping[Place, Cut]) -> dict[Place, Cut]:
    """Return what was cut under the names that its contacts have now, and keep it so."""
    now = {(one.device, one.point): (c.number, name) for c in site.cabinets for name, one in c.outputs.items()}
    taken = set(now.values())
    found: dict[Place, Cut] = {}
    for place, cut in kept.items():
        place_now = now.get(cut.contact()) or ((place[0], f"{place[1]}@{cut.point}") if place in taken else place)
        found[place_now] = cut
        if place_now != place:
            await store.set_setting(cuts.name(place_now), cuts.written(cut))
            await store.set_setting(cuts.name(place), None)
    return found


def strays(
    site: Site, can_switch: Callable[[Output], bool], held: Collection[Place], kept: Mapping[Place, Cut]
) -> dict[Place, Output]:
    """The outputs that are cut, by their names in `followed`, and not among those that are held anyway."""
    known = {(c.number, name): output for c in site.cabinets for name, output in c.outputs.items()}
    found: dict[Place, Output] = {}
    for place, cut in kept.items():
        if place in held:
            continue
        output = known.get(place) or Output(place[1], cut.device, cut.point, invert=cut.invert)
        if can_switch(output):
            found[place] = output
        else:
            log.error(
                "cannot give back the supply that %s of %s had cut: the site file has no such device or point",
                cut.point,
                cut.device,
            )
    return found
