"""The one current watch, and who is told when it changes: the only shared state, replaced whole, never edited.

What a poller says is absorbed here on the event loop, without waiting. What follows from it is for those who listen:
the reporter, the cameras, the audit's openings, orders that watch what devices do. Nothing is decided here.
"""

import logging
import time
from collections.abc import Callable, Sequence

from gantry_agent.command import Unlock
from gantry_agent.config import Config
from gantry_agent.core import alarms, monitor
from gantry_agent.model import Answered, Event, Missed
from gantry_agent.reporter import Reporter
from gantry_agent.text import Text

log = logging.getLogger(__name__)


class Watcher:
    """Holds the current watch: the one shared state, replaced whole."""

    def __init__(
        self, config: Config, past: monitor.Past = monitor.NO_PAST, defended: frozenset[int] = frozenset()
    ) -> None:
        self.watch = monitor.begin(config.site, monitor.Layout(config.filled, config.site.misses), past, defended)
        self.reporter: Reporter | None = None
        self.sound: Callable[[int, bool], None] | None = None  # switch siren and beacon of a cabinet
        self.pin: Callable[[str, str], None] | None = None  # keep a device's raw frames of this moment, and why
        self.first: list[Callable[[Answered | Missed], None]] = []  # told before the watch knows: cards explain locks
        self.heard: list[Callable[[Answered | Missed], None]] = []  # orders that watch what devices do
        self.changed: list[Callable[[Sequence[Event], monitor.Watch], None]] = []  # told of events, with the new watch

    def hand_over(self, message: Answered | Missed) -> None:
        """Absorb what a poller says; called on the event loop, never waits."""
        before = self.watch
        was_lost = before.is_lost(message.device)
        for hear in self.first:
            hear(message)
        self.watch, events = monitor.absorb(self.watch, message, time.monotonic())
        is_lost = self.watch.is_lost(message.device)
        if is_lost and not was_lost:
            why = message.why if isinstance(message, Missed) else "it refuses everything that it is asked"
            log.warning("device %s does not answer: %s", message.device, why)
            if self.pin:
                self.pin(message.device, Text(f"{message.device} 无应答", f"{message.device} lost").kept())
        elif was_lost and not is_lost:
            log.info("device %s answers again", message.device)
        for threshold in alarms.changed(before.standing, self.watch.standing):
            log.info("cabinet %d %s", threshold.role.cabinet, alarms.told(threshold, self.watch.standing[threshold]))
        if self.reporter:
            if isinstance(message, Answered):
                self.reporter.note(events, message.fields.keys(), message.partial)
            else:
                self.reporter.note(events)
        for hear_of in self.changed if events else ():
            hear_of(events, self.watch)
        self._sound(before)
        for hear in self.heard:
            hear(message)
        if events and self.pin:
            self.pin(message.device, f"{message.device} {events[0].role.member}.{events[0].field}")

    def defend(self, cabinet: int, *, on: bool) -> None:
        """Set the defence mode of a cabinet (D22)."""
        before = self.watch
        self.watch, events = monitor.defend(before, cabinet, on=on, at=time.time())
        if self.reporter:
            self.reporter.note(events)
        self._sound(before)

    def _sound(self, before: monitor.Watch) -> None:
        if self.sound and before.doors is not self.watch.doors:
            was, now = monitor.sounding(before), monitor.sounding(self.watch)
            for cabinet in was ^ now:
                self.sound(cabinet, cabinet in now)

    def granted(self, command: Unlock, within_s: float, card: str | None = None) -> None:
        """Note that an unlocking, by a card if there is one, is about to happen (D21)."""
        until = time.monotonic() + within_s
        self.watch = monitor.grant_unlock(self.watch, command.cabinet, command.side, until, card)
