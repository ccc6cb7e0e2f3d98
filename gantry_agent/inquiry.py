"""Who is on a bus, and what a device says, written down: `identify`, and the recordings of `probe` and `identify`.

Asked over a bus's own poller, as the daemon has it or as the command line opens it. All profiles are read for it, in a
thread, since the daemon's polling goes on.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gantry_agent.config.site import SPEAKS
from gantry_agent.faults import ConfigFault
from gantry_agent.field import examine, profile, site_unit, tape
from gantry_agent.field.identify import identify
from gantry_agent.field.poller import Poller
from gantry_agent.field.product import Profile
from gantry_agent.field.tape import RECORDED, Tape
from gantry_agent.model import AgentError, Bus, Device, Quality, Value
from gantry_agent.text import Text

Step = Mapping[str, Any]
Mine = tuple[str, str]  # a device of the site: its key and its profile

MOST_SPOKEN = 8  # units that are asked in every language of a line; each silent one costs a second
UNADDRESSED = frozenset({"megatec", "dlt645"})  # whoever is on the line answers; a meter to the address AAAAAAAAAAAA
_SECRETS = ("community", "write_community", "user", "auth_key", "priv_key", "host", "port")


class CannotRecord(AgentError):
    """What this device says is not kept."""


def known_profiles(folders: Sequence[Path]) -> tuple[Profile, ...]:
    """Every profile that can be read; a faulty one is told by `check` and `profiles lint`."""
    found = []
    for name in profile.names(folders):
        try:
            found.append(profile.load(name, folders))
        except ConfigFault:
            continue
    return tuple(found)


async def identify_bus(
    poller: Poller, bus: Bus, mine: Mapping[int, Mine], question: Step, known: Callable[[], tuple[Profile, ...]]
) -> AsyncIterator[Step]:
    """Tell who answers on a bus and what it may be; `mine` are the site's devices by unit.

    On a line, where every question waits for its turn, one of these is asked for its own signs first, and for those of
    all others only where they do not fit.
    """
    yield {"bus": bus.name, "kind": bus.kind}
    if bus.kind == "uhppote":
        async for step in examine.scan(poller, bus, {}):
            yield {"serial": int(str(step["agent"]).split()[-1])} if "agent" in step else step
        return
    if bus.kind == "zte-serial":
        said = f"cannot identify what is on {bus.name}: the zte-http bus of its site unit lists that"
        yield {"failed": Text(f"{bus.name} 上有什么，由该动环监控单元的 zte-http 总线列出", said).both()}
        return
    profiles = await asyncio.to_thread(known)  # seconds, on a small PC
    if bus.kind == "zte-http":
        async for step in site_unit.listed(poller):
            yield {**step, **_object(step.get("name"), profiles)}
        return
    able = [one for one in profiles if one.identity and bus.kind in SPEAKS[one.protocol]]
    lines = [one for one in able if one.protocol not in {"modbus", "snmp"}]
    plain = [one for one in able if one not in lines]
    units = list(_units(bus, mine, question.get("units")))
    answering = units if plain else []
    if bus.kind in {"serial", "serial-tcp"}:
        answering = []
        async for step in examine.scan(poller, bus, {}, units):
            if "found" in step:
                answering.append(step["found"])
            elif "progress" in step or "failed" in step:
                yield step
                if "failed" in step:  # the line itself cannot be had
                    return
    for unit in answering:
        own = [one for one in plain if bus.kind != "snmp" and unit in mine and one.name == mine[unit][1]]
        fits = False
        for asked in ([own] if own else []) + [plain]:
            async for step in _one(poller, bus, asked, unit, mine, question):
                fits |= any(one["fits"] == one["of"] for one in step.get("candidates", ()))
                if fits or asked is plain:
                    yield step
            if fits:
                break
    left = [unit for unit in units if unit not in answering]  # a unit has one language
    async for step in _spoken_to(poller, bus, lines, left, mine, question):
        yield step


async def _spoken_to(
    poller: Poller, bus: Bus, lines: Sequence[Profile], left: Sequence[int], mine: Mapping[int, Mine], question: Step
) -> AsyncIterator[Step]:
    """Ask units that are silent to Modbus in the other languages of a line; each silence costs seconds.

    The site's own device is asked for first. A unit that answers in one language is asked in no other, and when all
    have, what has no address is not looked for.
    """
    speaks: dict[int, str] = {}  # by unit
    asked = [(one, unit) for one in lines for unit in left if unit in mine and one.name == mine[unit][1]]
    own = {(one.name, unit) for one, unit in asked}
    others = sorted(lines, key=lambda one: one.protocol in UNADDRESSED)
    asked += [(one, unit) for one in others for unit in _spoken(one, left) if (one.name, unit) not in own]
    for one, unit in asked:
        if speaks.get(unit, one.protocol) != one.protocol or (one.protocol in UNADDRESSED and len(speaks) == len(left)):
            continue
        async for step in _one(poller, bus, [one], unit, mine, question):
            if step.get("answered") and (one.protocol not in UNADDRESSED or (one.name, unit) in own):
                speaks[unit] = one.protocol
            if step.get("candidates") or "recording" in step:
                yield step


def _object(name: object, profiles: Iterable[Profile]) -> Step:
    """What an object of a site unit is by its name."""
    found = next((one for one in profiles if name in one.objects), None)
    if found is None:
        return {}
    return {"profile": found.name, "protocol": found.protocol, "members": dict(found.members), **found.title.both()}


def _spoken(asked: Profile, units: Sequence[int]) -> Sequence[int]:
    """The units that are asked in a language of its own."""
    if asked.protocol in UNADDRESSED or len(units) > MOST_SPOKEN:
        return units[:1]
    return units


def _units(bus: Bus, mine: Mapping[int, Mine], given: object) -> Iterable[int]:
    if bus.kind == "snmp":
        return (1,)
    if isinstance(given, list) and len(given) == 2 and all(isinstance(one, int) for one in given):
        return range(max(1, given[0]), min(examine.UNITS[-1], given[1]) + 1)
    return sorted({1, *mine}) if bus.kind in {"modbus-tcp", "udp"} else examine.UNITS


async def _one(
    poller: Poller, bus: Bus, profiles: Iterable[Profile], unit: int, mine: Mapping[int, Mine], question: Step
) -> AsyncIterator[Step]:
    kept = Tape(secrets_of(bus)) if question.get("record") else None
    async for step in identify(poller, bus.name, profiles, unit, kept):
        yield {**step, "device": mine[unit][0] if unit in mine else None}
        if kept is not None and (kept.values or kept.words or kept.said):
            device = Device(key="found", cabinet=1, profile="unknown", bus=bus.name, unit=unit, roles={})
            yield _written(kept, bus, None, device, {}, f"unknown-{unit}")


# --- recordings -------------------------------------------------------------------------------------------------------


def secrets_of(bus: Bus) -> tuple[str, ...]:
    """What of a bus's settings must stand in no recording."""
    return tuple(str(bus.settings[key]) for key in _SECRETS if bus.settings.get(key))


async def record(poller: Poller, bus: Bus, known: Profile, device: Device) -> AsyncIterator[Step]:
    """Probe a device, and write down what it said; the steps of `probe`, then one with `recording`."""
    if known.protocol not in RECORDED:
        valid = ", ".join(sorted(RECORDED))
        raise CannotRecord(
            Text(
                f"不能录制 {device.key}：{known.protocol} 设备的应答含卡号或属于本机；可录制讲 {valid} 的设备",
                f"cannot record {device.key}: what {known.protocol} devices say holds cards or is this computer's;"
                f" valid are devices that speak {valid}",
            )
        )
    kept = Tape(secrets_of(bus))
    read: dict[str, Value | Quality] = {}
    async for step in examine.probe(poller, known, device, kept):
        yield step
        for one in step.get("fields", ()):
            place = f"[{one['number']}]" if one["number"] > 1 else ""
            value = one["value"] if one["quality"] == "ok" else Quality(one["quality"])
            read[f"{one['member']}{place}.{one['field']}"] = value
    if known.protocol == "snmp":
        async for step in identify(poller, bus.name, [known], device.unit, kept):
            if not step["answered"]:
                return
    if kept.values or kept.words or kept.said:
        yield _written(kept, bus, known, device, read, known.name)


def _written(
    kept: Tape, bus: Bus, known: Profile | None, device: Device, read: Mapping[str, Value | Quality], name: str
) -> Step:
    if bus.kind == "snmp":
        return {"recording": tape.snmprec(kept, known), "file": f"{name}.snmprec"}
    return {"recording": tape.transcript(kept, known, device, read), "file": f"{name}.yaml"}
