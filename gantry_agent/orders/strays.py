"""What an earlier run had cut and the site file lists no longer: found by its contact, to be given back.

A technician may rename an output, wire it elsewhere, or take it out of `power_modes`, `relays` or the file while it
is cut. What stays the same is the contact, the point of a device; or the output's name, where it is the device that has
another one.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from gantry_agent.core import cuts
from gantry_agent.core.cuts import Cut, Place
from gantry_agent.model import Output, Site
from gantry_agent.orders.changes import Settings

log = logging.getLogger(__name__)


async def followed(site: Site, store: Settings, kept: Mapping[Place, Cut]) -> dict[Place, Cut]:
    """Return what was cut under the names that its contacts have now, and keep it so."""
    outputs = {(c.number, name): one for c in site.cabinets for name, one in c.outputs.items()}
    now = {(one.device, one.point): place for place, one in outputs.items()}
    devices = {*site.devices, *(one.device for one in outputs.values())}
    found: dict[Place, Cut] = {}
    for place, kept_cut in kept.items():
        cut, output = kept_cut, outputs.get(place)
        if output is not None and cut.device not in devices:  # it is the device that has another name now
            cut = replace(cut, device=output.device, point=output.point, invert=output.invert)
        place_now = now.get(cut.contact()) or ((place[0], f"{place[1]}@{cut.point}") if output is not None else place)
        found[place_now] = cut
        if (place_now, cut) != (place, kept_cut):
            await store.set_setting(cuts.name(place_now), cuts.written(cut))
        if place_now != place:
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
                "cannot give back the supply that %s of %s had cut: the site file has no such device or point; "
                "give it that name again, or switch it there by hand",
                cut.point,
                cut.device,
            )
    return found
