"""Devices as the daemon reads them: a site file with many cabinets of one device each → buses → pollers → payloads.

What evidence means is worked out by hand and asserted elsewhere straight from profile and decoder; here the same must
come out of the path that runs at the roadside. One process, one site file, all devices at once, over real sockets.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gantry_agent.agent import build_pollers
from gantry_agent.cloud import protocol
from gantry_agent.config.roles import read_target
from gantry_agent.config.site import SHIPPED_PROFILES, Config, read_config
from gantry_agent.field import examine
from gantry_agent.field.poller import Poller
from gantry_agent.field.product import Profile, read_name
from gantry_agent.model import Answered, Missed, Quality, Role
from gantry_agent.text import Text
from gantry_agent.vocabulary import CABINET, MEMBERS, Form, Shape
from gantry_agent.watcher import Watcher
from tests import profile_rig as rig

FAST_S, SLOW_S, MISSES = 1.0, 2.0, 3
WHOLE_S = 30.0  # until everything must have been read, and what needs two readings
STEADY_S = 2.2  # and must stand still after that: a round more of either lane
SILENCE = (
    "cannot get an answer from"  # of a question that was not answered in time, on a machine that has other things to do
)
COMPUTER_MEMBER = "computerStatus"
RATES = frozenset({"computerStatus.netUsage"})  # nothing that one look can tell
COMPUTER = frozenset({"sys_disk", "data_disk", "nic", "link_mbps"})
Bus = Mapping[str, Any]
Payload = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """One device of the site, and what must be told of it; keys of `given` are those of the evidence."""

    name: str
    profile: str
    given: Mapping[str, Any]
    expected: Mapping[str, Any]

    @property
    def product(self) -> Profile:
        return rig.load(self.profile)

    @property
    def is_computer(self) -> bool:
        return COMPUTER_MEMBER in self.product.members


@dataclass(slots=True)
class Told:
    """What the cloud would be told of one device, and what was heard of it before that."""

    payload: Payload = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    whole: bool = False
    probed: dict[str, Any] = field(default_factory=dict)  # fields by `probe`, over the same poller


def sayable(name: str, profile: str, given: Mapping[str, Any], expected: Mapping[str, Any]) -> Case:
    """The case without what no site may map: some cases read a contact through a field that the agent itself fills."""
    own = {target for target in given.get("map", ()) if isinstance(read_target(target), Text)}
    mapped = {target: point for target, point in given.get("map", {}).items() if target not in own}
    return Case(
        name, profile, {**given, "map": mapped}, {name: value for name, value in expected.items() if name not in own}
    )


# --- the site file --------------------------------------------------------------------------------------------------


def can_be_written(case: Case) -> bool:
    """Tell whether a site file can say this: computers take four parameters only."""
    return not case.is_computer or set(case.given.get("parameters", ())) <= COMPUTER


def site(cases: Sequence[Case], buses: Sequence[Bus], folder: Path) -> dict[str, Any]:
    cabinets = [(n, case) for n, case in enumerate(cases, 1) if not case.is_computer]
    computers = [(n, case) for n, case in enumerate(cases, 1) if case.is_computer]
    return {
        "gantry": {"id": "G000211001002110010"},
        "cloud": {"server": "http://127.0.0.1:9/monitor.do", "auth": "roadside-7"},
        "storage": {"path": str(folder)},
        "polling": {"fast_s": FAST_S, "slow_s": SLOW_S, "misses": MISSES},
        "buses": {f"bus{n}": dict(bus) for n, bus in enumerate(buses, 1)},
        "computers": [
            {"id": n, "source": "snmp", "bus": f"bus{n}", "profile": case.profile, **case.given.get("parameters", {})}
            for n, case in computers
        ],
        "cabinets": [
            {"id": n, "devices": {"it": device(case, f"bus{n}")}, **case.given.get("cabinet", {})}
            for n, case in cabinets
        ],
    }


def device(case: Case, bus: str) -> dict[str, Any]:
    """How the site file writes the device of a case."""
    given, product = case.given, case.product
    mapped = {target: point if isinstance(point, list) else [point] for target, point in given.get("map", {}).items()}
    placed = {named.member for target in mapped if (named := read_name(target))}
    ids, skip = {}, []
    for member, numbers in (given.get("roles") or {}).items():
        single = CABINET[member].shape is Shape.SINGLE
        if not numbers:
            skip.append(member)
        elif not (single and (product.members.get(member) or member in placed)):
            ids[member] = list(numbers)
    written = {
        "profile": case.profile,
        "bus": bus,
        "parameters": dict(given.get("parameters", {})),
        "ids": ids,
        "skip": skip,
        "map": {target: dict(zip(("point", "invert"), point, strict=False)) for target, point in mapped.items()},
    }
    if "object" in given:
        return written | {"object": given["object"]}
    return written | {"unit": given.get("unit", 1)}


# --- the daemon -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Daemon:
    """Buses, pollers and monitor of a site file, as `agent` builds them, without cloud and store."""

    config: Config
    watcher: Watcher
    pollers: Mapping[str, Poller]
    missed: dict[str, list[str]]

    def payload(self, cabinet: int) -> Payload:
        """`cabinetStatus` of a cabinet, or the entry of a computer, by the names a person writes."""
        site, snapshots = self.config.site, self.watcher.watch.snapshots
        if cabinet in snapshots:
            return flat(protocol.build_cabinet(site, snapshots[cabinet]))
        built = protocol.build_computers(site, snapshots[0])
        found = next(one for one in built if one["id"] == str(cabinet))
        return {f"{COMPUTER_MEMBER}.{name}": value for name, value in found.items()}

    def look(self, device: str) -> AsyncIterator[Mapping[str, Any]]:
        """`probe` of a device, step by step."""
        known = self.config.site.devices[device]
        return examine.probe(self.pollers[known.bus], self.config.profiles[device], known)

    async def probe(self, device: str) -> dict[str, Any]:
        """What a technician is told of a device."""
        found: dict[str, Any] = {}
        async for step in self.look(device):
            for one in step.get("fields", ()):
                role = Role(0, one["member"], 1 if one["member"] == COMPUTER_MEMBER else one["number"])
                value = one["value"] if one["quality"] == Quality.OK else Quality(one["quality"])
                found |= rig.named({(role, one["field"]): value})
        return found


def flat(built: Mapping[str, Any]) -> Payload:
    found: dict[str, str] = {}
    for member, entries in built.items():
        for entry in entries if isinstance(entries, list) else [entries] if isinstance(entries, dict) else []:
            number = int(entry.get("id", 1)) if isinstance(entries, list) else 1
            place = f"[{number}]" if number > 1 else ""
            found |= {f"{member}{place}.{name}": value for name, value in entry.items()}
    return found


@contextlib.asynccontextmanager
async def daemon(text: Mapping[str, Any], folder: Path) -> AsyncIterator[Daemon]:
    """Poll what stands in this site file for as long as the block lasts."""
    path = folder / "gantry.yaml"
    path.write_text(json.dumps(text, ensure_ascii=False), encoding="utf-8")
    config = read_config(path, (SHIPPED_PROFILES,))
    watcher = Watcher(config)
    missed: dict[str, list[str]] = {}

    def hear(message: Answered | Missed) -> None:
        if isinstance(message, Missed) and SILENCE not in message.why:
            missed.setdefault(message.device, []).append(message.why)

    watcher.first.append(hear)
    pollers = build_pollers(config, watcher)
    tasks = [asyncio.create_task(poller.run(), name=name) for name, poller in pollers.items()]
    try:
        yield Daemon(config, watcher, pollers, missed)
    finally:
        for task in tasks:
            task.cancel()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(end, Exception):
                raise end


Change = Callable[[int, Case], None]  # let the far end of a device, by its place, answer as another case says


def unchanging(_place: int, _case: Case) -> None:
    raise AssertionError("this far end says the same for ever")


def all_told(
    chains: Sequence[Sequence[Case]],
    wires: AbstractAsyncContextManager[Sequence[Bus]],
    folder: Path,
    change: Change = unchanging,
) -> Mapping[str, Told]:
    """Let each device go through the cases of its chain; give what the daemon tells in each of them.

    The next begins when every device is told as it should be, or after so long.
    """
    return asyncio.run(_all_told(chains, wires, folder, change))


async def _all_told(
    chains: Sequence[Sequence[Case]], wires: AbstractAsyncContextManager[Sequence[Bus]], folder: Path, change: Change
) -> Mapping[str, Told]:
    told: dict[str, Told] = {}
    async with wires as buses, daemon(site([chain[0] for chain in chains], buses, folder), folder) as it:
        for turn in range(max(map(len, chains))):
            now = {n: chain[turn] for n, chain in enumerate(chains, 1) if turn < len(chain)}
            for n, case in now.items() if turn else ():
                change(n - 1, case)
                it.pollers[f"bus{n}"].relearn(key(n, case))  # it may have now what it refused before
            until, left = time.monotonic() + WHOLE_S, now
            while left and time.monotonic() < until:
                await asyncio.sleep(0.2)
                left = {n: case for n, case in left.items() if differing(it.payload(n), case.expected)}
            await asyncio.sleep(0.0 if left else STEADY_S)
            for n, case in now.items():
                whole = it.pollers[f"bus{n}"].looked.is_set()
                told[case.name] = Told(it.payload(n), it.missed.pop(key(n, case), []), whole)
            probed = await asyncio.gather(*(it.probe(key(n, case)) for n, case in now.items()))
            for case, fields in zip(now.values(), probed, strict=True):
                told[case.name].probed = fields
    return told


def key(number: int, case: Case) -> str:
    """The key of the device with this place in the site file."""
    return f"computer {number}" if case.is_computer else f"{number}.it"


# --- what must come out ---------------------------------------------------------------------------------------------


def differing(payload: Payload, expected: Mapping[str, Any]) -> list[str]:
    """Say which fields are not as expected."""
    return [
        f"{name} is {payload.get(name)!r}, not {value!r}"
        for name, value in expected.items()
        if is_told(name) and not _same(name, payload.get(name), value)
    ]


def is_told(name: str) -> bool:
    """Tell whether the interface has this field: `doors` has no status, that a profile's deriver tells."""
    named = read_name(name)
    return named is not None and named.member in MEMBERS and named.field in MEMBERS[named.member].fields


def _same(name: str, told: str | None, expected: Any) -> bool:
    named = read_name(name)
    assert named is not None
    known = MEMBERS[named.member].fields[named.field]
    if told is None:
        return False
    if isinstance(expected, Quality) or expected in {str(one) for one in Quality} or known.form is Form.TEXT:
        return told == str(expected)
    try:
        value = float(told)
    except ValueError:
        return False
    return abs(value - float(expected)) <= 0.51 * 10.0**-known.decimals + 1e-6 * abs(float(expected))


def assert_told(told: Told, case: Case) -> None:
    """Everything came, nothing was missed on the way, and it is what the evidence says; and so says `probe`."""
    assert not told.missed, told.missed
    assert told.whole
    wrong = differing(told.payload, case.expected)
    assert not wrong, wrong
    seen = {name: value for name, value in case.expected.items() if name in told.probed}
    rig.assert_readings(told.probed, seen)
    left = {name: value for name, value in case.expected.items() if name not in seen and name not in RATES}
    assert set(left.values()) <= {Quality.NOT_SUPPORT.value}, left  # what the site does not ask for


def by_shape(cases: Iterable[Case]) -> list[Case]:
    """The first case of each profile for each way in which a site may write its device."""
    found: dict[tuple[Any, ...], Case] = {}
    for case in cases:
        given = case.given
        roles = tuple(sorted((m, tuple(n)) for m, n in (given.get("roles") or {}).items()))
        shape = (case.profile, roles, tuple(sorted(given.get("map", ()))), tuple(sorted(given.get("parameters", ()))))
        found.setdefault(shape, case)
    return [case for case in found.values() if can_be_written(case)]


def chained(cases: Iterable[Case], longest: int) -> list[list[Case]]:
    """Cases of which the site file says the same, one after another on one device; at most so many."""
    chains: list[list[Case]] = []
    growing: dict[str, list[Case]] = {}
    for case in cases:
        written = json.dumps([device(case, ""), case.given.get("cabinet")], sort_keys=True)
        chain = growing.get(written)
        if chain is None or len(chain) == longest:
            growing[written] = chain = []
            chains.append(chain)
        chain.append(case)
    return chains
