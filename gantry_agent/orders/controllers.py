"""One door controller, kept equal to the whitelist: read its list, write the difference, read that back, until equal.

Every question goes through the bus's command lane one at a time, and between two of them the poller has its turn: an
unlocking or a reading of the doors waits for one question of this, however long the list. What a controller holds is
remembered once it was read in full, so that a small change is quick; it is read in full again every day, when it was
lost and is back, and when something did not turn out as it should. A controller checks the expiry of cards by its own
clock, which is set right on the way.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import date, datetime
from typing import Final

from gantry_agent.core.whitelist import Diff, Held, Whitelist, desired, diff, is_lost, masked
from gantry_agent.field.framing import uhppote
from gantry_agent.field.request import AskController, Reply
from gantry_agent.model import AgentError, BadReply, DeviceRefused, DoorController, NoReply
from gantry_agent.text import Text

log = logging.getLogger(__name__)

ASK_S: Final = 15.0  # of one question with its turn on the bus; one whose task has died does not hold this for ever
TRIES: Final = 3  # of one question: a datagram may get lost, and each of these may be asked twice
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 300.0  # between attempts, doubling
LOOK_S: Final = 300.0  # how often it is looked whether a new day has begun
CLOCK_OFF_S: Final = 60.0
FRAMES_TOLD: Final = 20  # of one round, by the audit and a dry run; the others are told by their number
MOST_HOLES: Final = 1000  # places in a row where no card stands; then there are no more, whatever the count says

Ask = Callable[[AskController], Awaitable[Reply]]
_Write = tuple[int, Held | None, AskController]  # the card, how it is to be held (None: not at all), what is asked


class _Superseded(Exception):
    """Another list is wanted by now."""


class _Unequal(AgentError):
    """The controller answers, and does not hold what it should; the text says what was seen."""


class Board:
    """Keeps one controller. `ask` puts a question to it; `now` is local time there, by `today` cards expire."""

    def __init__(
        self,
        controller: DoorController,
        unit: int,
        ask: Ask,
        now: Callable[[], datetime],
        today: Callable[[], date] | None = None,
    ) -> None:
        self.name = controller.device
        self._controller, self._unit, self._ask, self._now = controller, unit, ask, now
        self._today = today or (lambda: now().date())
        self._wanted: Whitelist | None = None  # None: nobody has said what it should hold, so it is left alone
        self._version = 0  # of what is wanted
        self._equal = -1  # the version that it was found equal to
        self._tried = -1  # the version of the last attempt that has ended
        self._day: date | None = None
        self._held: dict[int, Held] | None = None  # None: not known
        self._unproven: set[int] = set()  # written, and not read back yet
        self._failures = 0
        self._wake, self._ended = asyncio.Event(), asyncio.Condition()
        self.told: Text | None = None  # what the last round did, for the audit
        self.wrote: list[Text] = []  # the frames of it, in their order

    # --- what is wanted

    def want(self, whitelist: Whitelist | None) -> int:
        """Say what it should hold from now on; gives the number to ask `settled` for."""
        self._wanted = whitelist
        self._version += 1
        self._failures = 0
        self._wake.set()
        return self._version

    def returned(self) -> None:
        """It was lost and answers again: who knows what became of its cards."""
        self._held = None
        self._failures = 0
        self._wake.set()

    async def settled(self, version: int) -> bool:
        """Wait until it was found equal to what was wanted then, or an attempt to make it so has failed."""
        async with self._ended:
            await self._ended.wait_for(lambda: max(self._equal, self._tried) >= version)
            return self._equal >= version

    async def planned(self, whitelist: Whitelist) -> list[Text]:
        """Say what a list would change, and by which frames; what it holds is read where that is not known.

        Raises NoReply, BadReply.
        """
        held = self._held if self._held is not None else await self._read()
        today = self._today()
        change = diff(held, desired(whitelist, self._controller.doors, today), today)
        counts, would = _counts(change), Text("将写入", "would write")
        steps = [Text(f"{self.name}：{counts.zh}", f"{self.name}: {counts.en}")]
        for number, write in enumerate(self._writes(change)):
            if not self._tell(steps, number, would, write):
                break
        return steps

    # --- keeping it so

    async def run(self) -> None:
        """Keep it equal until cancelled; it may be run again, as after a fault of another controller's."""
        self._wake.set()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._wait_s()):
                    await self._wake.wait()
            self._wake.clear()
            today = self._today()
            if today != self._day:
                self._held = None
            if self._wanted is not None and (self._equal < self._version or self._held is None):
                await self._round(self._wanted, self._version, today)

    def _wait_s(self) -> float:
        if self._failures:
            return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self._failures - 1, 16)))
        return LOOK_S

    async def _round(self, whitelist: Whitelist, version: int, today: date) -> None:
        wanted = desired(whitelist, self._controller.doors, today)
        self.wrote = []
        try:
            await self._set_clock()
            held = self._held = await self._read(version) if self._held is None else self._held
            change = diff(held, wanted, today)
            if change:
                log.info("door controller %s: %s", self.name, _counts(change).en)
            await self._write(change, held, version)
            await self._prove(wanted, held, version)
        except _Superseded:
            self._wake.set()
        except (NoReply, BadReply, DeviceRefused, _Unequal) as fault:
            await self._failed(fault, version)
        else:
            self._day = today
            counts = _counts(change)
            self.told = Text(
                f"{self.name}：{counts.zh}；已读回，共 {len(wanted)} 张",
                f"{self.name}: {counts.en}; read back, {len(wanted)} cards",
            )
            await self._succeeded(len(wanted), version, changed=bool(change))

    async def _failed(self, fault: AgentError, version: int) -> None:
        self._held = None
        self._unproven.clear()
        self._failures += 1
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        log.log(level, "door controller %s does not hold the whitelist: %s; trying until it does", self.name, fault)
        self.told = Text(f"{self.name}：{fault.text.zh}", f"{self.name}: {fault}")
        async with self._ended:
            self._tried = version
            self._ended.notify_all()

    async def _succeeded(self, count: int, version: int, *, changed: bool) -> None:
        if changed or self._failures:
            log.info("door controller %s holds the whitelist: %d cards", self.name, count)
        self._failures = 0
        async with self._ended:
            self._equal = version
            self._ended.notify_all()

    # --- one step at a time

    async def _asked(self, function: int, data: bytes = b"") -> bytes:
        request = self._question(function, data)
        for left in reversed(range(TRIES)):
            try:
                async with asyncio.timeout(ASK_S):
                    reply = await self._ask(request)
            except TimeoutError:
                raise NoReply(f"cannot ask {self.name}: its bus is busy or has stopped") from None
            except (NoReply, BadReply):
                if not left:
                    raise
            else:
                assert isinstance(reply, bytes)
                return reply
        raise AssertionError

    def _question(self, function: int, data: bytes) -> AskController:
        return AskController(self._unit, self._controller.serial, function, data)

    def _check(self, version: int | None) -> None:
        """Give up what is not wanted any more; what was done so far is remembered. None is no list in particular."""
        if version is not None and version != self._version:
            raise _Superseded

    async def _read(self, version: int | None = None) -> dict[int, Held]:
        """Read all cards. Places of deleted cards stay empty, so places are asked until the count is reached."""
        count = uhppote.read_number(await self._asked(uhppote.COUNT_CARDS))
        held: dict[int, Held] = {}
        place = holes = 0
        while len(held) < count and holes < MOST_HOLES:
            self._check(version)
            place += 1
            record = uhppote.read_card(await self._asked(uhppote.GET_CARD_AT, uhppote.number(place)))
            holes = 0 if record is not None and record.number not in held else holes + 1  # nor does one card tell twice
            if record is not None:
                held[record.number] = _held(record)
        return held

    async def _write(self, change: Diff, held: dict[int, Held], version: int) -> None:
        """Take out, then change, then add; one that is declined is found out by reading back."""
        for number, write in enumerate(self._writes(change)):
            self._check(version)
            card, wish, request = write
            self._unproven.add(card)
            self._tell(self.wrote, number, Text("写入", "write"), write)
            with suppress(DeviceRefused):
                await self._asked(request.function, request.data)
            if wish is None:
                held.pop(card, None)
            else:
                held[card] = wish

    def _writes(self, change: Diff) -> Iterator[_Write]:
        """What is asked for a change, in its order."""
        for card in change.delete:
            yield card, None, self._question(uhppote.DELETE_CARD, uhppote.number(card))
        for card, wish in change.put:
            record = uhppote.CardRecord(card, wish.first, wish.last, wish.doors)
            yield card, wish, self._question(uhppote.PUT_CARD, uhppote.put_card(record))

    def _tell(self, steps: list[Text], number: int, what: Text, write: _Write) -> bool:
        """Note the frame of a write, unless there were many; False when it would be no use to go on."""
        card, _, request = write
        if number < FRAMES_TOLD:
            frame, shown = _without_number(request), masked(card)
            steps.append(
                Text(f"{self.name} {what.zh} {frame}（卡 {shown}）", f"{self.name} {what.en} {frame} (card {shown})")
            )
        elif number == FRAMES_TOLD:
            steps.append(Text(f"{self.name}：其余的帧不列出", f"{self.name}: the frames after these are not listed"))
        return number <= FRAMES_TOLD

    async def _prove(self, wanted: dict[int, Held], held: dict[int, Held], version: int) -> None:
        """Read back every card that was written, and the count. Raises _Unequal."""
        for card in tuple(self._unproven):
            self._check(version)
            record = uhppote.read_card(await self._asked(uhppote.GET_CARD, uhppote.number(card)))
            if (None if record is None else _held(record)) != held.get(card):
                what = "is not there" if record is None else "is there" if card not in held else "differs"
                raise _Unequal(
                    Text(f"卡 {masked(card)} 写入后读回不一致", f"card {masked(card)} {what} after it was written")
                )
            self._unproven.discard(card)
        count = uhppote.read_number(await self._asked(uhppote.COUNT_CARDS))
        if count != len(wanted):
            raise _Unequal(
                Text(f"其中有 {count} 张卡，应为 {len(wanted)} 张", f"it holds {count} cards instead of {len(wanted)}")
            )

    async def _set_clock(self) -> None:
        """Set the controller's clock if it is off: by that it tells which cards have expired."""
        shown = uhppote.read_time(await self._asked(uhppote.GET_TIME))
        now = self._now().replace(tzinfo=None, microsecond=0)
        fine = shown is not None and abs((shown - now).total_seconds()) <= CLOCK_OFF_S
        if fine or is_lost(now):  # a computer that has lost its own time sets nobody's
            return
        await self._asked(uhppote.SET_TIME, uhppote.set_time(now))
        log.warning("the clock of door controller %s showed %s; it is set to %s", self.name, shown, now)


def _without_number(request: AskController) -> str:
    """The datagram in hex, but for the card's number, which opens doors and is the first of its data."""
    whole = uhppote.frame(request)
    rest = whole[uhppote.HEAD + 4 :].rstrip(b"\0").hex(" ").upper().split()
    return " ".join((whole[: uhppote.HEAD].hex(" ").upper(), *["**"] * 4, *rest, "00…"))


def _held(record: uhppote.CardRecord) -> Held:
    return Held(record.first, record.last, record.doors)


def _counts(change: Diff) -> Text:
    add, alter, delete = len(change.add), len(change.change), len(change.delete)
    return Text(
        f"增加 {add} 张，修改 {alter} 张，删除 {delete} 张",
        f"{add} cards to add, {alter} to change, {delete} to take out",
    )
