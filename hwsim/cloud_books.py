"""What the simulated cloud remembers of uploads, and the orders it has to misbehave. Pure.

The books tell a body that comes again after it was properly received (a duplicate) from one that comes again because
nothing was received, and each upload from the one before it of the same cabinet. Time is given, HTTP is not known.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from hwsim.cloud_rules import BUSINESS, MESSAGES, Judgement
from hwsim.cloud_view import Change, differences

UPLOADS_KEPT = 10_000
FOR_EVER_S = 3600.0  # a hanging answer: longer than anybody waits

# Ways of misbehaving besides answering any code of the interface. True: the upload did reach these books and only the
# answer went wrong, so that the same body coming again is a repeat of something the cloud has.
MODES = {
    "500": False,
    "503": False,
    "429": False,
    "html": False,  # a captive portal or a proxy's page, with HTTP 200
    "redirect": False,
    "empty": False,
    "hang": True,
    "half": True,
    "reset": True,
    "slow": True,
}


@dataclass(slots=True)
class Behaviour:
    """One order to misbehave; `left` None means until told otherwise, `method` empty means every method."""

    mode: str
    left: int | None
    method: str
    seconds: float
    location: str


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload as it came and as it was answered. `code` is what was answered, "" where no code was."""

    number: int
    received: float
    judgement: Judgement
    code: str
    behaviour: str
    duplicate: bool
    seen_before: int
    md5: str
    size: int
    headers: Mapping[str, str]
    changes: tuple[Change, ...] | None  # against the last good one of the same cabinet; None: there is none

    def as_json(self) -> dict[str, object]:
        return {
            "number": self.number,
            "received": self.received,
            "method": self.judgement.method,
            "cabinet": self.judgement.cabinet,
            "code": self.code,
            "verdict": self.judgement.code,
            "complaints": [str(complaint) for complaint in self.judgement.complaints],
            "behaviour": self.behaviour,
            "duplicate": self.duplicate,
            "seen_before": self.seen_before,
            "changes": None if self.changes is None else [list(change) for change in self.changes],
            "md5": self.md5,
            "size": self.size,
            "headers": dict(self.headers),
            "payload": self.judgement.envelope,
        }


@dataclass(slots=True)
class Books:
    uploads: deque[Upload] = field(default_factory=lambda: deque(maxlen=UPLOADS_KEPT))
    count: int = 0
    duplicates: int = 0
    complaints: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)
    bodies: Counter[str] = field(default_factory=Counter)  # how often each body came, by MD5
    taken: set[str] = field(default_factory=set)  # MD5 of the bodies properly received
    latest: dict[tuple[str, str], Upload] = field(default_factory=dict)  # last good one by (method, cabinet)
    times: deque[float] = field(default_factory=deque)  # monotonic
    strays: int = 0  # requests to the place a redirect points to

    def enter(
        self,
        judgement: Judgement,
        behaviour: Behaviour | None,
        body: bytes,
        headers: Mapping[str, str],
        received: float,
    ) -> Upload:
        """Write down one upload. Only a good one that was not turned away counts as received."""
        md5 = hashlib.md5(body).hexdigest()
        place = (judgement.method, judgement.cabinet)
        last = self.latest.get(place)
        self.count += 1
        upload = Upload(
            number=self.count,
            received=received,
            judgement=judgement,
            code=_answered(judgement, behaviour),
            behaviour=behaviour.mode if behaviour else "",
            duplicate=md5 in self.taken,
            seen_before=self.bodies[md5],
            md5=md5,
            size=len(body),
            headers=headers,
            changes=differences(_business(last.judgement), _business(judgement)) if last else None,
        )
        self.uploads.append(upload)
        self.bodies[md5] += 1
        self.duplicates += upload.duplicate
        self.complaints += len(judgement.complaints)
        self.codes[upload.code or "none"] += 1
        self.methods[judgement.method or "unknown"] += 1
        if judgement.code == "1000" and (not behaviour or MODES.get(behaviour.mode, behaviour.mode == "1000")):
            self.taken.add(md5)
            self.latest[place] = upload
        return upload

    def rate(self, now: float) -> int:
        """Count one more request, and tell how many there were in the last minute."""
        self.times.append(now)
        while self.times[0] < now - 60:
            self.times.popleft()
        return len(self.times)

    def summary(self) -> dict[str, object]:
        return {
            "uploads": self.count,
            "accepted": self.codes["1000"],
            "duplicates": self.duplicates,
            "complaints": self.complaints,
            "codes": dict(self.codes),
            "methods": dict(self.methods),
            "strays": self.strays,
            "latest": {
                cabinet or "computers": {"number": upload.number, "received": upload.received}
                for (_, cabinet), upload in self.latest.items()
            },
        }


def _answered(judgement: Judgement, behaviour: Behaviour | None) -> str:
    if behaviour is None or behaviour.mode == "slow":
        return judgement.code
    return behaviour.mode if behaviour.mode in MESSAGES else ""


def _business(judgement: Judgement) -> object:
    name = BUSINESS.get(judgement.method)
    value = judgement.envelope.get(name) if judgement.envelope and name else None
    return {name: value} if isinstance(value, list) else value  # so that paths begin with a name: computerStatus[1].ip
