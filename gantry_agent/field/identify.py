"""Which product it is: what answers is compared with the signs of every profile (`identity`).

Each sign is asked once, however many profiles have it, and a profile's second sign only where its first fits. Nothing
is walked and nothing written; after `MOST_S` no more is asked. How sure the verdict is, is `product_identity`'s matter.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gantry_agent.field import codec, plan
from gantry_agent.field.examine import failure, patiently, somebody_there
from gantry_agent.field.poller import Poller
from gantry_agent.field.product import Profile
from gantry_agent.field.product_identity import Says, Surety, judge
from gantry_agent.field.redact import NAMES
from gantry_agent.field.request import Block, GetOids, ReadBits, ReadRegisters, Reply, Request, Timing
from gantry_agent.field.tape import Tape
from gantry_agent.model import BadReply, BusDown, Device, NoReply, Quality, Value

Told = Mapping[str, Any]

MOST_S = 13.0  # for one host or unit; a question that is under way then is waited for ANSWER_S more
ANSWER_S = 2.0  # the longest that one sign is waited for; cards of SNMP take up to this
LINE_ANSWER_S = 0.5  # on a line; no profile asks longer for a few registers
AT_ONCE = 20  # OIDs in one question
SILENT = 4  # signs in a row without an answer: nobody is there
WHO = ("1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0")  # sysDescr, sysObjectID


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign of a profile, as it is asked of one device."""

    profile: Profile
    device: Device
    block: Block
    says: Says

    def read(self, reply: Reply | None) -> Value | Quality:
        if reply is None:
            return Quality.GET_FAILED
        try:
            return codec.decode(self.block, reply, self.profile, self.device)[self.block.keys[0]]
        except BadReply:
            return Quality.GET_FAILED


@dataclass(slots=True)
class _Asker:
    """Asks each question once, and knows when to stop."""

    poller: Poller
    tape: Tape | None
    until: float
    known: dict[Request, Reply | None] = field(default_factory=dict)
    silent: int = 0
    failure: dict[str, str] | None = None
    heard: bool = False  # an answer, a refusal or a broken frame
    down: bool = False

    @property
    def over(self) -> bool:
        return self.down or self.silent >= SILENT or time.monotonic() > self.until

    async def ask(self, request: Request, response_s: float) -> Reply | None:
        if request in self.known:
            return self.known[request]
        if self.over:
            return None
        try:  # one question to an agent of SNMPv1 may be twenty on the wire
            async with asyncio.timeout(self.until + ANSWER_S - time.monotonic()):
                exchange = await patiently(self.poller, request, Timing(response_s, 0.02, seeking=True))
        except TimeoutError:
            return None
        if exchange.error is not None:
            self.failure = failure(exchange.error)
            self.down = isinstance(exchange.error, BusDown) and exchange.error.__cause__ is not None
        self.silent = self.silent + 1 if isinstance(exchange.error, NoReply) else 0
        self.heard |= somebody_there(exchange)
        if self.tape is not None and exchange.reply is not None:
            received = b"".join(frame.data for frame in exchange.frames if frame.direction != "sent")
            self.tape.note(request, exchange.reply, received)
        self.known[request] = exchange.reply
        return exchange.reply


def signs(profile: Profile, bus: str, unit: int) -> tuple[Sign, ...]:
    """What is asked of one unit to know whether it is this product."""
    device = Device(key="found", cabinet=1, profile=profile.name, bus=bus, unit=unit, roles={})
    points = {point.key: point for point, _ in profile.identity}
    asking = replace(profile, points=points, tables={})
    return tuple(
        Sign(asking, device, plan.point_blocks(asking, device, point.key, (1,))[0], says)
        for point, says in profile.identity
    )


async def identify(
    poller: Poller, bus: str, profiles: Iterable[Profile], unit: int = 1, tape: Tape | None = None
) -> AsyncIterator[Told]:
    """Tell what `unit` may be: one step `unit` with its `candidates`, the surest first."""
    asker = _Asker(poller, tape, time.monotonic() + MOST_S)
    asked = [signs(profile, bus, unit) for profile in profiles if profile.identity]
    snmp = [one for one in asked if one[0].profile.protocol == "snmp"]
    known: dict[str, Any] = {}
    if snmp:
        known = await _greet(asker, snmp)
    found = []
    for one in asked:
        values = [(sign.says, await _value(asker, sign)) for sign in one[:1]]
        if len(one) > 1 and (values[0][0].fits(values[0][1]) or one in snmp):
            values += [(sign.says, await _value(asker, sign)) for sign in one[1:]]
        values += [(sign.says, Quality.GET_FAILED) for sign in one[len(values) :]]
        surety, weight = judge(values, zero_shows=one in snmp)  # an object that is not there does not answer
        if surety is not Surety.NO:
            found.append(((surety, weight), one[0].profile, sum(says.fits(value) for says, value in values)))
    found.sort(key=lambda one: (-one[0][0], -one[0][1], one[1].name))
    yield {
        "unit": unit,
        "answered": asker.heard,
        "failed": None if asker.heard else asker.failure,
        "cut": time.monotonic() > asker.until,
        **known,
        "candidates": [_told(profile, rank, fits) for rank, profile, fits in found],
    }


def _told(profile: Profile, rank: tuple[Surety, int], fits: int) -> Told:
    return {
        "profile": profile.name,
        "zh": profile.title.zh,
        "en": profile.title.en,
        "members": dict(profile.members),
        "sure": int(rank[0]),
        "weight": rank[1],
        "fits": fits,
        "of": len(profile.identity),
    }


async def _value(asker: _Asker, sign: Sign) -> Value | Quality:
    request = sign.block.request
    response_s = ANSWER_S if isinstance(request, GetOids) else min(LINE_ANSWER_S, sign.profile.timing.response_s)
    if not isinstance(request, ReadRegisters | ReadBits | GetOids):
        response_s = sign.profile.timing.response_s  # of what is asked by commands, answers begin late
    return sign.read(await asker.ask(request, response_s))


async def _greet(asker: _Asker, known: Sequence[Sequence[Sign]]) -> dict[str, Any]:
    """Ask an SNMP agent who it says that it is, then for all signs of all profiles in a few questions.

    Those of products that call themselves so come first: SNMPv1 refuses a question for the sake of one object, and a
    slow agent may not be through by the end.
    """
    who = await asker.ask(GetOids(WHO), ANSWER_S)
    if asker.silent:
        asker.down = True  # the first question of all; a card that is busy is asked again by the link
    if asker.tape is not None:
        await asker.ask(GetOids(NAMES), ANSWER_S)
    values: dict[str, Any] = dict(who) if isinstance(who, Mapping) else {}
    wanted = [sign for one in sorted(known, key=lambda one: not _greeted(one, values)) for sign in one]
    oids = tuple(dict.fromkeys(oid for sign in wanted for oid in _oids(sign) if oid not in values))
    first = len({oid for one in known if _greeted(one, values) for sign in one for oid in _oids(sign)} - {*values})
    ranges = (range(0, first, AT_ONCE), range(first, len(oids), AT_ONCE))
    waiting = [oids[at : min(at + AT_ONCE, part.stop)] for part in ranges for at in part]
    while waiting and not asker.over:
        part = waiting.pop(0)
        reply = await asker.ask(GetOids(part), ANSWER_S)
        if isinstance(reply, Mapping):
            values |= reply
        elif len(part) > 1:  # an agent that takes less at once, or refuses all for the sake of one
            waiting[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]
    for oid in (*WHO, *oids):
        asker.known.setdefault(GetOids((oid,)), {oid: values[oid]} if oid in values else None)
    description, identity = (values.get(oid) for oid in WHO)
    said = description.decode("utf-8", "replace") if isinstance(description, bytes) else description
    return {"agent": said, "identity": None if identity is None else str(identity)}


def _greeted(signs: Sequence[Sign], values: Mapping[str, Any]) -> bool:
    """Whether a product's sign is what the agent calls itself."""
    return any(
        (sign.says.under or sign.says.has) and oid in values and sign.says.fits(sign.read({oid: values[oid]}))
        for sign in signs
        for oid in _oids(sign)
    )


def _oids(sign: Sign) -> tuple[str, ...]:
    return sign.block.request.oids if isinstance(sign.block.request, GetOids) else ()
