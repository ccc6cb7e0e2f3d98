"""What this program has cut off, as it is kept over a restart: which contact, and since when.

An entry is kept before its contact is moved and goes when it was seen to let the supply through again. So what is cut
is given back also when the site file lists it no longer, and a compressor without supply rests from when it lost it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from gantry_agent.core.interlocks import Instant
from gantry_agent.model import Output

CUT = "cut."  # setting of an output that is cut, by `cabinet.name`; nothing that a person would drop

Place = tuple[int, str]  # cabinet, name of the output


@dataclass(frozen=True, slots=True)
class Cut:
    """A contact that was moved to cut a supply, at `at` (Unix seconds)."""

    at: float
    device: str
    point: str
    invert: bool = False
    air: bool = False  # it fed an air conditioner
    boot: str = ""  # of the host, and its monotonic clock then
    mono: float = 0.0

    def contact(self) -> tuple[str, str]:
        return self.device, self.point


def of(output: Output, at: float, boot: str = "", mono: float = 0.0) -> Cut:
    return Cut(at, output.device, output.point, output.invert, output.feeds == "airConditioners", boot, mono)


def name(place: Place) -> str:
    """The setting's name."""
    return f"{CUT}{place[0]}.{place[1]}"


def written(cut: Cut) -> str:
    return json.dumps(asdict(cut) | {"at": round(cut.at, 3), "mono": round(cut.mono, 3)})


def read(settings: Mapping[str, str]) -> dict[Place, Cut]:
    """Read what is cut from the stored settings; what makes no sense is left out."""
    found: dict[Place, Cut] = {}
    for setting, text in settings.items():
        number, dot, output = setting.removeprefix(CUT).partition(".")
        if setting.startswith(CUT) and dot and number.isdecimal() and (cut := _cut(text)) is not None:
            found[int(number), output] = cut
    return found


def since(cut: Cut, wall: float, mono: float, boot: str = "") -> float:
    """When it was cut, on the monotonic clock."""
    return Instant(cut.at, cut.boot, cut.mono).taken_up(wall, mono, boot)


def _cut(text: str) -> Cut | None:
    try:
        found = json.loads(text)
        where = str(found["device"]), str(found["point"])
        boot, mono = str(found.get("boot", "")), float(found.get("mono", 0.0))
        return Cut(float(found["at"]), *where, bool(found["invert"]), bool(found["air"]), boot, mono)
    except (ValueError, TypeError, KeyError):
        return None
