"""What the cloud was last told of a cabinet, as a text to keep: so that an alarm that stands there has its end (D16).

The text is written with the record that carries the same, in one transaction. After a start the watch begins from it:
a reading that differs is an event like any other, and one that does not is none. It holds the last values of the
fields whose change is pushed, the times and the card that no device reports, and the thresholds that are raised.
A text that cannot be read counts as nothing told.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType

from gantry_agent.core.alarms import name
from gantry_agent.core.monitor import Past, Watch
from gantry_agent.model import Role, Value
from gantry_agent.vocabulary import CABINET, Form

FIELDS, ALARMS = "fields", "alarms"


NOTHING: Mapping[tuple[Role, str], Value] = MappingProxyType({})


def write(watch: Watch, cabinet: int, silent: Mapping[tuple[Role, str], Value] = NOTHING) -> str:
    """Write down what a record of this cabinet, built from this watch, tells.

    `silent` are fields whose change is held down: not announced yet, so what was announced before stands for them.
    """
    announced = {**watch.known, **silent}
    fields = {_place(role, one): value for (role, one), value in announced.items() if role.cabinet == cabinet}
    for role, readings in watch.snapshots[cabinet].entries.items():
        for one, reading in readings.items():
            if reading.value is not None and _is_kept(role, one):
                fields[_place(role, one)] = reading.value
    alarms = sorted(name(t) for t, stands in watch.standing.items() if t.role.cabinet == cabinet and stands.raised)
    return json.dumps({FIELDS: dict(sorted(fields.items())), ALARMS: alarms}, ensure_ascii=False, separators=(",", ":"))


def read(texts: Mapping[int, str]) -> Past:
    """Read what was written, by cabinet; whatever makes no sense is left out."""
    fields: dict[tuple[Role, str], Value] = {}
    alarms: set[str] = set()
    for cabinet, text in texts.items():
        try:
            document = json.loads(text)
        except ValueError:
            continue
        if not isinstance(document, dict):
            continue
        found, raised = document.get(FIELDS), document.get(ALARMS)
        for place, value in (found if isinstance(found, dict) else {}).items():
            if (key := _read_place(cabinet, place)) and isinstance(value, int | float | str):
                fields[key] = value
        alarms |= {one for one in (raised if isinstance(raised, list) else []) if isinstance(one, str)}
    return Past(fields, frozenset(alarms))


def _is_kept(role: Role, one: str) -> bool:
    return CABINET[role.member].fields[one].form is Form.TIME or one.endswith("UnlockCardId")


def _place(role: Role, one: str) -> str:
    return f"{role.member} {role.number} {one}"


def _read_place(cabinet: int, place: str) -> tuple[Role, str] | None:
    member, _, rest = place.partition(" ")
    number, _, one = rest.partition(" ")
    if member not in CABINET or one not in CABINET[member].fields or not number.isdigit():
        return None
    return Role(cabinet, member, int(number)), one
