"""Who may open the doors by card (cmd 7, D12): the whitelist in force, at every door that has a reader.

The list is kept in the store before it counts. Controllers that keep cards of their own are made equal to it, each by a
task of its own that does not rest until it is; the cloud hears 1000 when all of them are, and else 1007 while that goes
on. Where a reader only reads, the card is looked up here and the door's output switched: no cloud and no disk is needed
for that. Card numbers open doors: no more than their last digits go into a log.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import date, datetime
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from gantry_agent.cloud import words
from gantry_agent.command import Card, Done, Failed, Outcome, Refused, SetWhitelist, Unlock
from gantry_agent.core import whitelist
from gantry_agent.core.audit import Entry
from gantry_agent.core.whitelist import Look, Whitelist, masked
from gantry_agent.field.actuator import Actuator
from gantry_agent.field.framing.uhppote import HIGHEST_CARD
from gantry_agent.field.poller import Poller
from gantry_agent.field.product import Profile
from gantry_agent.field.trace import Trace
from gantry_agent.model import (
    Answered,
    BadReply,
    Cabinet,
    DoorController,
    Missed,
    NoReply,
    Output,
    Quality,
    Reader,
    Reading,
    Site,
    Value,
)
from gantry_agent.orders.changes import DAY
from gantry_agent.orders.controllers import LOOK_S, Board
from gantry_agent.text import Text

log = logging.getLogger(__name__)

REFUSAL_S: Final = 60.0  # of one reader one refusal in that time is told to the audit: it must not be filled by waving
ANSWER_S: Final = 25.0  # the cloud's answer waits so long for the controllers; less than a command may take in all

CONTROLLER_TAKES: Final = Text(
    f"门禁控制器的卡号应为 1–{HIGHEST_CARD}", f"a door controller takes card numbers from 1 to {HIGHEST_CARD}"
)
MOST: Final = Text(f"最多 {whitelist.MOST_CARDS} 张卡", f"at most {whitelist.MOST_CARDS} cards")

Granted = Callable[[Unlock, float, str], None]  # a card is about to explain an opening, for so many seconds (D21)
Spawn = Callable[[str, Coroutine[Any, Any, None]], object]


class Kept(Protocol):
    """The stored list, and whether none of it is lost."""

    @property
    def cards(self) -> tuple[Card, ...]: ...
    @property
    def whole(self) -> bool: ...


class Store(Protocol):
    """Where the list is kept."""

    async def set_setting(self, name: str, value: str | None) -> None: ...
    async def cards(self) -> Kept | None: ...
    async def replace_cards(self, listed: tuple[Card, ...]) -> None: ...


class Cards:
    """The whitelist of a site, and all that obeys it."""

    def __init__(
        self,
        site: Site,
        profiles: Mapping[str, Profile],
        pollers: Mapping[str, Poller],
        store: Store,
        actuator: Actuator,
        spawn: Spawn,
        granted: Granted,
        day: date | None = None,
        clock: Callable[[ZoneInfo], datetime] = datetime.now,
    ) -> None:
        self._site, self._store, self._actuator = site, store, actuator
        self._spawn, self._granted = spawn, granted
        self._zone, self._clock = ZoneInfo(site.timezone), clock
        self._day, self._day_at = day, time.monotonic()  # the last that a good clock has shown, and when
        self.note: Callable[[Entry], None] | None = None  # for the audit: who opened a door, or tried to
        self._list: Whitelist | None = None
        self._loaded = False
        self._turn = asyncio.Lock()
        self._misses: dict[str, int] = {}
        self._looks: dict[Reader, Look] = {}
        self._refused: dict[Reader, float] = {}  # when the audit was told last, monotonic
        self._readers: dict[str, list[Reader]] = {}
        for reader in site.readers:
            self._readers.setdefault(reader.device, []).append(reader)
        self._boards = tuple(self._board(one, profiles, pollers) for one in site.controllers)

    def _board(self, one: DoorController, profiles: Mapping[str, Profile], pollers: Mapping[str, Poller]) -> Board:
        device, timing = self._site.devices[one.device], profiles[one.device].timing
        poller = pollers[device.bus]
        return Board(one, device.unit, lambda request: poller.transact(request, timing), self._now, self._today)

    async def run(self) -> None:
        """Take up the list that the store has, and keep every controller equal to it until cancelled."""
        async with self._turn:
            await self._load()
        async with asyncio.TaskGroup() as group:
            for board in self._boards:
                group.create_task(board.run(), name=f"cards {board.name}")
            group.create_task(self._keep_day(), name="day")

    async def _keep_day(self) -> None:
        """Keep the day over a restart, for a clock that will have lost its time then; say so when it has."""
        kept: date | None = None
        lost = False
        while True:
            today = self._today()
            if lost is not whitelist.is_lost(self._now().date()):
                lost = not lost
                log.log(
                    logging.ERROR if lost else logging.INFO,
                    "the clock of this PC %s; cards expire as of %s",
                    f"shows {self._now():%Y-%m-%d}, which cannot be" if lost else "is plausible again",
                    today,
                )
            if today != kept:
                await self._store.set_setting(DAY, today.isoformat())
                kept = today
            await asyncio.sleep(LOOK_S)

    async def _load(self) -> None:
        """Take up the stored list once. Where the cloud never sent one no controller is touched.

        Of one that is not whole a reader still lets in who is left; a controller is not told to forget the others.
        """
        if self._loaded:
            return
        kept = await self._store.cards()
        self._loaded = True
        if kept is None:
            return
        self._list = whitelist.build(kept.cards, self._site.card_numbers)
        if kept.whole:
            for board in self._boards:
                board.want(self._list)
            return
        log.error(
            "part of the whitelist is lost: %d cards are left; door controllers keep what they have until the cloud"
            " sends the list anew",
            len(kept.cards),
        )

    # --- cmd 7

    async def set_whitelist(self, command: SetWhitelist, trace: Trace) -> Outcome:
        """Put the list in force: in the store, at the readers at once, in every controller."""
        if not self._site.readers and not self._boards:
            return Failed("未配置门禁")
        if self._boards:
            wrong = whitelist.unfit(command.cards, self._site.card_numbers, HIGHEST_CARD)
            if wrong is not None:
                return Refused(f"cardInfos[{wrong}].cardId", CONTROLLER_TAKES)
        async with self._turn:
            await self._load()
            new = self._following(command)
            if len(new.cards) > whitelist.MOST_CARDS:
                merging = len(new.cards) > len(command.cards)
                return Failed(f"合并后超过{whitelist.MOST_CARDS}张卡") if merging else Refused("cardInfos", MOST)
            count, sent = len(new.cards), len(command.cards)
            trace.note(f"白名单 {count} 张卡，其中下发 {sent} 张", f"whitelist of {count} cards, {sent} of them sent")
            if not trace.dry:
                await self._store.replace_cards(tuple(new.cards.values()))
                self._list = new
                log.info("the whitelist has %d cards now", len(new.cards))
                versions = [(board, board.want(new)) for board in self._boards]
        if trace.dry:
            return await self._rehearse(new, trace)
        late = await self._settled(versions)
        for board, _ in versions:
            trace.devices.add(board.name)
            told = board.told or Text(board.name, board.name)
            for step in board.wrote:
                trace.add(step)
            trace.add(told if board not in late else Text(f"尚未一致：{told.zh}", f"not yet equal: {told.en}"))
        return Failed(f"{_which(late)}未同步，继续重试") if late else Done()

    async def _rehearse(self, new: Whitelist, trace: Trace) -> Outcome:
        """Note what would be written to the controllers; what they hold is read, if that is not known."""
        late = []
        for board in self._boards:
            try:
                async with asyncio.timeout(ANSWER_S):
                    steps = await board.planned(new)
            except (NoReply, BadReply, TimeoutError):
                late.append(board)
                continue
            for step in steps:
                trace.add(step)
        return Failed(f"{_which(late)}无应答") if late else Done()

    def _following(self, command: SetWhitelist) -> Whitelist:
        """The list that an order leads to (D12)."""
        form = self._site.card_numbers
        if self._site.merge_cards and self._list is not None:
            return whitelist.build(whitelist.merged(self._list, command.cards, self._today()), form)
        return whitelist.build(command.cards, form)

    async def _settled(self, versions: list[tuple[Board, int]]) -> list[Board]:
        """Wait for the controllers; give those that are not equal."""
        if not versions:
            return []
        waiting = {asyncio.ensure_future(board.settled(version)): board for board, version in versions}
        try:
            done, _ = await asyncio.wait(waiting, timeout=ANSWER_S)
            return [board for task, board in waiting.items() if task not in done or not task.result()]
        finally:
            for task in waiting:
                task.cancel()

    # --- cards shown

    def heard(self, message: Answered | Missed) -> None:
        """Take in what readers show; called on the event loop before the watch learns the same, never waits."""
        if isinstance(message, Missed):
            self._misses[message.device] = self._misses.get(message.device, 0) + 1
            return
        if self._misses.pop(message.device, 0) >= self._site.misses:
            self._returned(message.device)
        if not message.points:
            return
        for reader in self._readers.get(message.device, ()):
            now = _look(reader, message.points, time.monotonic())
            if now is None:
                self._looks.pop(reader, None)
                continue
            card = whitelist.shown(self._looks.get(reader), now, self._site.fast_s)
            self._looks[reader] = now
            if card is not None:
                self._judge(reader, card)

    def _returned(self, device: str) -> None:
        """A device that was lost answers again."""
        for board in self._boards:
            if board.name == device:
                board.returned()

    def _judge(self, reader: Reader, shown: int | str) -> None:
        where = f"the {reader.side} door of cabinet {reader.cabinet}"
        if reader.decides:
            known = self._list.known(shown) if self._list else None
            self._explain(reader, known.number if known else str(shown), 0.0)
            log.info("card %s was let in at %s by its controller", masked(shown), where)
            self._note(reader, shown, Text("控制器放行", "let in by the controller"))
            return
        card = self._list.opens(shown, self._today()) if self._list else None
        if card is None:
            known = self._list.known(shown) if self._list else None
            why = Text("已过有效期", "it has expired") if known else Text("不在白名单中", "it is not on the whitelist")
            log.warning("card %s refused at %s: %s", masked(shown), where, why.en)
            if time.monotonic() - self._refused.get(reader, -REFUSAL_S) >= REFUSAL_S:
                self._refused[reader] = time.monotonic()
                self._note(reader, shown, Text(f"拒绝：{why.zh}", f"refused: {why.en}"))
            return
        log.info("card %s accepted at %s", masked(shown), where)
        self._spawn(f"card {reader.cabinet} {reader.side}", self._let_in(reader, card))

    async def _let_in(self, reader: Reader, card: Card) -> None:
        """Unlock the door for a card; the grant stands before the lock can be seen to open."""
        output = self._output(reader)
        self._explain(reader, card.number, output.pulse_s)
        trace = Trace()
        outcome = await self._actuator.switch(output, trace, on=True)
        said = Text("已开锁", "unlocked") if isinstance(outcome, Done) else words.told(outcome)
        self._note(reader, card.number, said, tuple(one.kept() for one in trace.steps))
        if not isinstance(outcome, Done):
            self._granted(Unlock(reader.cabinet, reader.side), 0.0, card.number)
            door = f"the {reader.side} door of cabinet {reader.cabinet}"
            log.error("cannot unlock %s for card %s: %s", door, masked(card.number), outcome)

    def _note(self, reader: Reader, card: int | str, outcome: Text, steps: tuple[str, ...] = ()) -> None:
        if self.note:
            door, who = words.of_door(reader.cabinet, reader.side), Text(f"卡 {masked(card)}", f"card {masked(card)}")
            self.note(Entry(time.time(), who.kept(), "site", door.kept(), "", "", steps, outcome.kept()))

    def _explain(self, reader: Reader, card: str, pulse_s: float) -> None:
        within_s = pulse_s + self._cabinet(reader).unlock_window_s
        self._granted(Unlock(reader.cabinet, reader.side), within_s, card)

    def _cabinet(self, reader: Reader) -> Cabinet:
        return next(cabinet for cabinet in self._site.cabinets if cabinet.number == reader.cabinet)

    def _output(self, reader: Reader) -> Output:
        cabinet = self._cabinet(reader)
        door = next(door for door in cabinet.doors if door.side == reader.side)
        assert door.unlock is not None  # the site file was checked
        return cabinet.outputs[door.unlock]

    def _now(self) -> datetime:
        return self._clock(self._zone)

    def _today(self) -> date:
        """The day by which cards expire, be the clock of this PC right or not."""
        shown, mono = self._now().date(), time.monotonic()
        today = whitelist.day_now(shown, self._day, mono - self._day_at)
        if today == shown:
            self._day, self._day_at = shown, mono
        return today


def _which(late: list[Board]) -> str:
    return f"门禁{late[0].name}" if len(late) == 1 else f"{len(late)}台门禁"


def _look(reader: Reader, points: Mapping[str, Reading], at: float) -> Look | None:
    """What a reader shows now; None where it could not be read."""
    card, count, given = (points.get(name) if name else None for name in (reader.point, reader.count, reader.given))
    if card is None or Quality.GET_FAILED in {one.quality for one in (card, count, given) if one is not None}:
        return None
    shown = _value(card)
    if given is not None and not _value(given):
        shown = None
    number = _value(count) if count is not None else None
    return Look(
        shown if isinstance(shown, int | str) and shown != "" else None,
        number if isinstance(number, int) else None,
        at,
    )


def _value(reading: Reading) -> Value | None:
    return reading.value if reading.quality is Quality.OK else None
