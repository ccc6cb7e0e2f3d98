"""Door openings as entries of the audit, so that it can tell why a door stood open at 03:12.

An opening is no request, but its answer is often one: the entries before it say who unlocked. A contact that flaps
must not push the requests out of the audit: of each door only so many openings an hour are noted, and how many more
there were.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Final

from gantry_agent.core.audit import Entry
from gantry_agent.core.monitor import Watch
from gantry_agent.model import Event, Role

MOST: Final = 20  # more people do not go in and out of a cabinet
PER_S: Final = 3600.0
SIDES: Final = {"frontDoorClosed": "front", "backDoorClosed": "back"}
_REASONS: Final = {0: "while it was locked", 1: "unlocked by a card", 2: "unlocked remotely", 3: "unlocked by a key"}


class Openings:
    """Notes each opening with what is known of its reason. `now` is monotonic seconds."""

    def __init__(self, note: Callable[[Entry], None], now: Callable[[], float]) -> None:
        self._note = note
        self._now = now
        self._noted: defaultdict[tuple[Role, str], deque[float]] = defaultdict(lambda: deque(maxlen=MOST))
        self._left_out: defaultdict[tuple[Role, str], int] = defaultdict(int)

    def hear(self, events: Iterable[Event], watch: Watch) -> None:
        """Look for openings among events; `watch` is the one that follows from them."""
        for event in events:
            side = SIDES.get(event.field) if event.role.member == "doors" else None
            if side is None or event.after.value != 0 or event.before.value != 1:
                continue
            door, now = (event.role, side), self._now()
            noted = self._noted[door]
            if len(noted) == MOST and now - noted[0] < PER_S:
                self._left_out[door] += 1
                continue
            noted.append(now)
            more = (
                f"; {left_out} openings before it were not noted" if (left_out := self._left_out.pop(door, 0)) else ""
            )
            self._note(_entry(event, side, watch, more))


def _entry(event: Event, side: str, watch: Watch, more: str) -> Entry:
    entries = watch.snapshots[event.role.cabinet].entries[event.role]
    reason, illegally = (entries[f"{side}Door{name}"].value for name in ("UnlockType", "OpenIllegally"))
    said = _REASONS.get(int(reason), str(reason)) if isinstance(reason, int) else "reason unknown"
    illegal = "; illegal" if illegally == 1 else ""
    return Entry(
        event.at, f"cabinet {event.role.cabinet}", "site", f"{side} door opened", "", outcome=f"{said}{illegal}{more}"
    )
