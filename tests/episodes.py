"""Random episodes of trip, clear, restart and link loss over the pure core and a real store, on a virtual clock.

One cabinet with six alarms of every kind: detectors, a forced door, a device's own text, and two thresholds. The agent
is the watch and the gathering, killed at any instant (before a record is safe, after it, while an input is held) and
begun again from the store alone. The cloud reads the bodies it is sent. What must hold after every look at the devices:
what was announced last is the truth. What must hold in the end: each raise at the cloud has exactly one clear, records
with events arrived in their order, and no alarm stands that is over.
"""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gantry_agent.cloud import protocol
from gantry_agent.core import monitor, told
from gantry_agent.core.alarms import Holds
from gantry_agent.core.gather import Gathering
from gantry_agent.core.monitor import Layout, absorb, begin
from gantry_agent.model import Answered, Cabinet, Missed, Reading, Record, Role, Site, Threshold, Value
from gantry_agent.store import Store

ELEC, DOORS, CLIMATE = Role(1, "elec"), Role(1, "doors"), Role(1, "thermohygrometer")
WATER, SMOKE = Role(1, "waterloggingSensor"), Role(1, "smokeSensor")
HOT = Threshold(CLIMATE, "temperature", True, 45.0, 42.0, 0.0, "柜内温度过高")
LOW = Threshold(ELEC, "voltage", False, 180.0, 200.0, 0.0, "电压偏低")
SITE = Site("G1", "Asia/Shanghai", {}, {}, (Cabinet(1, (), {}, alarms=(HOT, LOW)),), ())

Fields = dict[tuple[Role, str], Value]
CALM: dict[str, Fields] = {
    "1.wet": {(WATER, "status"): 1, (WATER, "isWarning"): 0},
    "1.smoke": {(SMOKE, "status"): 1, (SMOKE, "isWarning"): 0},
    "1.io": {(DOORS, "status"): 1, (DOORS, "frontDoorClosed"): 1, (DOORS, "frontDoorLocked"): 1},
    "1.meter": {(ELEC, "status"): 1, (ELEC, "voltage"): 230.0, (ELEC, "warningMsg"): ""},
    "1.climate": {(CLIMATE, "status"): 1, (CLIMATE, "temperature"): 30.0},
}
TRIPPED: dict[str, tuple[str, Fields]] = {  # by alarm: the device that shows it, and how
    "water": ("1.wet", {(WATER, "isWarning"): 1}),
    "smoke": ("1.smoke", {(SMOKE, "isWarning"): 1}),
    "door": ("1.io", {(DOORS, "frontDoorClosed"): 0}),
    "phase": ("1.meter", {(ELEC, "warningMsg"): "交流L1相缺相"}),
    "low": ("1.meter", {(ELEC, "voltage"): 150.0}),
    "hot": ("1.climate", {(CLIMATE, "temperature"): 50.0}),
}
FIELD_OF = {
    "water": (WATER, "isWarning"),
    "smoke": (SMOKE, "isWarning"),
    "door": (DOORS, "frontDoorOpenIllegally"),
    "phase": (ELEC, "warningMsg"),
    "low": (ELEC, "warningMsg"),
    "hot": (CLIMATE, "status"),
}
LAYOUT = Layout({device: frozenset(fields) for device, fields in CALM.items()}, misses=3)
HOLD_S = 30.0


def shown(status: dict[str, Any]) -> dict[str, bool | None]:
    """How each alarm stands in a payload; None where the payload does not say."""

    def bit(text: str) -> bool | None:
        return None if text in {"NoData", "GetFailed", "NotSupport"} else text == "1"

    def text(wanted: str) -> bool | None:
        said = status["elec"][0]["warningMsg"]
        return None if said in {"NoData", "GetFailed"} else wanted in said.split(",")

    climate = status["thermohygrometer"]
    return {
        "water": bit(status["waterloggingSensor"]["isWarning"]),
        "smoke": bit(status["smokeSensor"]["isWarning"]),
        "door": bit(status["doors"]["frontDoorOpenIllegally"]),
        "phase": text("交流L1相缺相"),
        "low": text("电压偏低"),
        "hot": None if bit(climate["temperature"]) is None else climate["status"] == "0",
    }


@dataclass
class Cloud:
    """What has arrived, and how each alarm stands by the records that carry events."""

    seen: set[int] = field(default_factory=set)
    newest_urgent: int = 0
    stands: Counter[str] = field(default_factory=Counter)  # 0 or 1
    raises: Counter[str] = field(default_factory=Counter)
    clears: Counter[str] = field(default_factory=Counter)
    urgent: int = 0

    def receive(self, record: Record) -> None:
        if record.number in self.seen:
            return
        self.seen.add(record.number)
        if not record.urgent:
            return
        assert record.number > self.newest_urgent, "events out of order"
        self.newest_urgent, self.urgent = record.number, self.urgent + 1
        for alarm, stands in shown(json.loads(record.body)["cabinetStatus"]).items():
            if stands is not None and stands != self.stands[alarm]:
                self.stands[alarm] = stands
                (self.raises if stands else self.clears)[alarm] += 1


class Killed(Exception):
    """The process is gone."""


class Agent:
    """Watch and gathering as the reporter runs them, with a record's way into the store."""

    def __init__(self, store: Store, past: monitor.Past, chance: random.Random) -> None:
        self.store, self.chance = store, chance
        self.watch = begin(SITE, LAYOUT, past)
        self.gathering = Gathering(Holds(3, HOLD_S))
        self.begun = False
        self.deadly = 0.0  # chance to die at a record

    def hear(self, message: Answered | Missed, now: float) -> None:
        self.watch, events = absorb(self.watch, message, now)
        heard = message.fields.keys() if isinstance(message, Answered) else ()
        self.gathering.absorb(self.watch, events, heard, now)

    async def flush(self, now: float) -> None:
        self.gathering.end_holds(self.watch, now)
        if self.begun:
            for cabinet in self.gathering.ready(now + 0.1):
                await self.report(cabinet, now)

    async def report(self, cabinet: int, now: float) -> None:
        taken = self.gathering.take(self.watch, cabinet)
        status = protocol.build_cabinet(SITE, self.watch.snapshots[cabinet])
        body = protocol.envelope(SITE.gantry_id, protocol.METHOD["cabinet"], now, status)
        if self.chance.random() < self.deadly:
            raise Killed
        await self.store.put(Record("cabinet", cabinet, taken.urgent, now, body), taken.told)
        if self.chance.random() < self.deadly:
            raise Killed
        self.gathering.kept(taken)

    def silent(self) -> set[str]:
        """Alarms whose field is held down just now, and not announced."""
        held = self.gathering.holds.fields()
        return {alarm for alarm, key in FIELD_OF.items() if key in held or TRIPPED[alarm][1].keys() & held}


class Run:
    """One cabinet's life."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store, self.chance = store, random.Random(seed)
        self.cloud = Cloud()
        self.agent: Agent | None = None
        self.now = 1_800_000_000.0
        self.tripped: set[str] = set()
        self.dead: set[str] = set()  # devices that do not answer
        self.linked = True
        self.happened: Counter[str] = Counter()

    async def episode(self) -> None:
        """Trip, clear, restart and lose the link in any order, then let all be well and look at the cloud."""
        for _ in range(self.chance.randint(3, 12)):
            await self.happen(self.chance.choice(("trip", "trip", "clear", "clear", "kill", "link", "dead", "tick")))
            await self.look(self.chance.uniform(0.5, 8.0))
        self.tripped.clear()
        self.dead.clear()
        self.linked = True
        for _ in range(3):
            await self.look(2 * HOLD_S)  # holds end
        assert not +self.cloud.stands, f"stands at the cloud and is over: {+self.cloud.stands}"
        assert self.cloud.raises == self.cloud.clears

    async def happen(self, what: str) -> None:
        self.happened[what] += 1
        match what:
            case "trip":
                self.tripped.add(self.chance.choice(sorted(TRIPPED)))
            case "clear" if self.tripped:
                self.tripped.discard(self.chance.choice(sorted(self.tripped)))
            case "kill":
                if self.agent and self.chance.random() < 0.5:
                    self.agent.deadly = 0.5
                else:
                    self.agent = None
            case "link":
                self.linked = not self.linked
            case "dead":
                self.dead ^= {self.chance.choice(sorted(CALM))}
            case "tick" if self.agent:
                await self.guarded(self.agent.report(1, self.now))

    async def guarded(self, work: Any) -> None:
        try:
            await work
        except Killed:
            self.agent = None

    async def look(self, after_s: float) -> None:
        """Let time pass, poll every device until each was read or is lost, and check what was announced."""
        self.now += after_s
        agent = self.agent
        if agent is None:
            agent = self.agent = Agent(self.store, told.read(await self.store.told()), self.chance)
        for device in self.chance.sample(sorted(CALM), len(CALM)):
            for _ in range(3):
                self.now += 0.2
                agent.hear(self.said(device), self.now)
                await self.guarded(agent.flush(self.now))
                if self.agent is None:
                    return
                if device not in self.dead:
                    break
        if not agent.begun:
            agent.begun = True
            await self.guarded(agent.report(1, self.now))
        await self.drain()
        if self.agent is not None and self.linked:
            self.check(agent)

    def said(self, device: str) -> Answered | Missed:
        if device in self.dead:
            return Missed(device, self.now, "dead")
        fields = dict(CALM[device])
        for alarm in self.tripped:
            if TRIPPED[alarm][0] == device:
                fields |= TRIPPED[alarm][1]
        return Answered(device, self.now, {key: Reading(value, at=self.now) for key, value in fields.items()})

    async def drain(self) -> None:
        while self.linked and (record := await self.store.next_record("cabinet")) is not None:
            self.cloud.receive(record)
            if self.chance.random() < 0.05:  # the answer is lost on the way; the record comes again
                continue
            await self.store.delivered(record.number)

    def check(self, agent: Agent) -> None:
        unsure = agent.silent() | {alarm for alarm, (device, _) in TRIPPED.items() if device in self.dead}
        for alarm in TRIPPED.keys() - unsure:
            stands = alarm in self.tripped
            assert self.cloud.stands[alarm] == stands, f"{alarm} is {stands} and was announced otherwise"


async def run(folder: Path, episodes: int, seed: int) -> Run:
    """Live through so many episodes; raises AssertionError with what was broken."""
    async with Store(folder / f"episodes-{seed}.db") as store:
        life = Run(store, seed)
        await life.look(1.0)  # a door that is found open at the very first start is not called illegal
        for _ in range(episodes):
            await life.episode()
    return life
