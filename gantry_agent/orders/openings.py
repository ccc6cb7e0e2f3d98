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
from gantry_agent.text import Text, joined

MOST: Final = 20  # more people do not go in and out of a cabinet
PER_S: Final = 3600.0
SIDES: Final = {"frontDoorClosed": "front", "backDoorClosed": "back"}
_REASONS: Final = {
    0: Text("锁着时被打开", "while it was locked"),
    1: Text("刷卡开锁", "unlocked by a card"),
    2: Text("远程开锁", "unlocked remotely"),
    3: Text("钥匙开锁", "unlocked by a key"),
}
_OPENED: Final = {"front": Text("前门打开", "front door opened"), "back": Text("后门打开", "back door opened")}


UNKNOWN: Final = Text("原因不明", "reason unknown")


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
            self._note(_entry(event, side, watch, self._left_out.pop(door, 0)))


def _entry(event: Event, side: str, watch: Watch, left_out: int) -> Entry:
    entries = watch.snapshots[event.role.cabinet].entries[event.role]
    reason, illegally = (entries[f"{side}Door{name}"].value for name in ("UnlockType", "OpenIllegally"))
    said = [_REASONS.get(reason, UNKNOWN) if isinstance(reason, int) else UNKNOWN]
    said += [Text("非法开门", "illegal")] if illegally == 1 else []
    if left_out:
        said.append(Text(f"之前另有 {left_out} 次未记录", f"{left_out} openings before it were not noted"))
    number = event.role.cabinet
    where = Text(f"机柜 {number}", f"cabinet {number}").kept()
    return Entry(event.at, where, "site", _OPENED[side].kept(), "", outcome=joined(said).kept())
