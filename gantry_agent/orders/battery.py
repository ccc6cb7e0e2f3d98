"""Battery tests: begun and ended by cmd 9, followed by what the readings show, their results told by cmd 10 (D14).

A device tests by itself; a test that nobody here ordered, by its own timer or at its panel, is followed as well. Every
battery of a cabinet that can be tested is meant, since the interface names none. What is known of a test is kept in the
store when something happens to it and every so often, so that a restart costs a few seconds of measuring, not the test.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, Protocol, TypeVar
from zoneinfo import ZoneInfo

from gantry_agent.cloud import protocol
from gantry_agent.command import AskBatteryTest, Done, Failed, Outcome, TestBattery
from gantry_agent.core import battery, battery_result, interlocks
from gantry_agent.core.battery import UNDER_WAY, Input, Phase, Sight, Test, Word
from gantry_agent.core.battery_result import Result
from gantry_agent.core.monitor import Watch
from gantry_agent.field import plan_writes
from gantry_agent.field.actuator import Actuator
from gantry_agent.field.battery_log import BatteryLog, Record
from gantry_agent.field.poller import Poller
from gantry_agent.field.product import Profile
from gantry_agent.field.trace import Trace
from gantry_agent.model import (
    NO_DATA,
    AgentError,
    Answered,
    BadReply,
    DeviceRefused,
    Missed,
    NoReply,
    Quality,
    Reading,
    Role,
    Site,
)
from gantry_agent.vocabulary import BATTERY_TEST

log = logging.getLogger(__name__)

PREFIX = "battery_test."  # of settings: by cabinet and number
LAST = ".last"  # the newest test that has ended; the one without it may be under way
TICK_S = 2.0
LAG_S = 3.0  # for a bus that is behind with its readings
SAVE_S = 15.0  # a kill costs no more than that of what was measured, and battery.BRIDGE_S bridges it
UPS, ELEC = "ups", "elec"
TESTING = 5  # ups.runningState
_RUNNING = frozenset({Phase.RUNNING, Phase.STOPPING})
UNITS_TOLD = 3  # of those that failed, in `msg`


class Settings(Protocol):
    """Where tests are kept."""

    async def settings(self) -> dict[str, str]: ...
    async def set_setting(self, name: str, value: str | None) -> None: ...


_T = TypeVar("_T")
Spawn = Callable[[str, Coroutine[Any, Any, None]], object]


class Batteries:
    """Every battery of the site: what it is doing, and what its last test came to."""

    def __init__(
        self,
        site: Site,
        profiles: Mapping[str, Profile],
        pollers: Mapping[str, Poller],
        actuator: Actuator,
        watch: Callable[[], Watch],
        store: Settings,
        spawn: Spawn,
    ) -> None:
        self._zone = ZoneInfo(site.timezone)
        self._logs = {
            key: BatteryLog(pollers[device.bus], device, profiles[key])
            for key, device in site.devices.items()
            if device.roles.get(UPS)
        }
        self._actuator = actuator
        self._watch = watch
        self._store = store
        self._spawn = spawn
        self._lag_s = LAG_S + 2 * site.slow_s
        shown = {role for snapshot in watch().snapshots.values() for role in snapshot.entries}  # not what a site skips
        self._givers = {role: key for role, key in _givers(self._logs) if role in shown}
        self._tests: dict[Role, Test] = dict.fromkeys(self._givers, battery.IDLE)
        self._last: dict[Role, Test] = {}
        self._unsaved: set[Role] = set()
        self._saved: dict[Role, float] = {}  # monotonic
        self._changed = asyncio.Event()
        self._known = asyncio.Event()  # what the last run knew has been taken up
        self.supply_cut: Callable[[int], bool] = lambda _: False  # rectifiers of a cabinet, just now

    def _take_up(self, kept: Mapping[str, str], mono: float, at: float) -> None:
        """Go on with what the last run knew."""
        for role in self._givers:
            for name, tests in ((_setting(role), self._tests), (_setting(role) + LAST, self._last)):
                if (text := kept.get(name)) is None:
                    continue
                if (stored := battery.read(text)) is None:
                    log.warning("cannot read the stored %s: %r", name, text[:80])
                    continue
                tests[role] = battery.taken_up(stored, mono, at)
                if stored.phase in UNDER_WAY:
                    away_s = at - stored.latest_at
                    log.info("battery test of %s goes on; nobody measured for %.0f s", _name(role), away_s)

    # --- orders

    async def test(self, command: TestBattery, trace: Trace) -> Outcome:
        """Begin a test of every battery of the cabinet that can be tested, or end it."""
        await self._known.wait()
        mine = {
            role: target
            for role, key in self._givers.items()
            if role.cabinet == command.cabinet and (target := self._target(role, key)) is not None
        }
        if not mine:
            return Failed("没有可测试的电池")
        if command.start and (why := self._obstacle(command.cabinet, mine)):
            number = command.cabinet
            trace.note(f"拒绝机柜 {number} 的电池测试：{why}", f"a battery test of cabinet {number} is refused: {why}")
            return Failed(why)
        if not trace.dry:
            await self._announce(mine, start=command.start)
        done = await asyncio.gather(
            *(self._order(role, target, trace, start=command.start) for role, target in mine.items())
        )
        return _together(dict(zip(mine, done, strict=True)))

    def tests(self, cabinet: int) -> bool:
        """Tell whether a battery of a cabinet is being tested, or has just been told to begin."""
        return any(
            test.phase in UNDER_WAY - {Phase.ENDING} for role, test in self._tests.items() if role.cabinet == cabinet
        )

    def _target(self, role: Role, key: str) -> str | None:
        """The order of that battery's device, if it takes one."""
        device, profile = self._logs[key].device, self._logs[key].profile
        found = plan_writes.targets(profile, device, UPS, "testStartStop")
        return next((one.name for one in found if one.numbers[0] == role.number), None)

    def _obstacle(self, cabinet: int, mine: Iterable[Role]) -> str | None:
        snapshot = self._watch().snapshots[cabinet]
        tested = any(snapshot.entries[role]["runningState"].value == TESTING for role in mine)
        phases = {self._tests[role].phase for role in mine}
        if tested or phases & (UNDER_WAY - {Phase.ENDING}):
            return "测试进行中"
        if self.supply_cut(cabinet):
            return "整流模块正在关闭"
        return interlocks.battery_test(snapshot)

    async def _announce(self, mine: Iterable[Role], *, start: bool) -> None:
        """Keep what is about to be ordered, so that a restart knows. A disk that fails stops a start, but no stop."""
        for role in mine:
            if start:
                self._say(role, Word.SETTLED)
                self._say(role, Word.ORDERED, self._sight(role, None))
            else:
                self._say(role, Word.STOP_ORDERED)
        try:
            for role in mine:
                await self._save(role)
        except AgentError as e:
            if start:
                for role in mine:
                    self._say(role, Word.ABANDONED)
                raise
            log.warning("cannot keep that a battery test is stopped: %s", e)

    async def _order(self, role: Role, target: str, trace: Trace, *, start: bool) -> Outcome:
        """Start or stop; what is at rest is told to stop all the same, whatever is known of it."""
        done, undone = (Word.CONFIRMED, Word.ABANDONED) if start else (Word.STOPPED, Word.NOT_STOPPED)
        outcome: Outcome = Failed("未执行")
        try:
            outcome = await self._actuator.order(self._givers[role], target, int(start), trace)
        finally:
            if not trace.dry:
                self._say(role, done if isinstance(outcome, Done) else undone)
        return outcome

    async def ask(self, command: AskBatteryTest, trace: Trace) -> Outcome:
        """Tell the result of the last test: of several batteries the worst; while one is tested, only that it is."""
        await self._known.wait()
        mine = [role for role in self._givers if role.cabinet == command.cabinet]
        found = [await self._result(role, trace) for role in mine]
        results = [one for one in found if not isinstance(one, Failed)]
        silent = {role: one for role, one in zip(mine, found, strict=True) if isinstance(one, Failed)}
        if silent and not results:
            return _together(silent)
        for role, one in silent.items():
            log.warning("cannot ask %s for the result of its battery test: %s", _name(role), one.why)
        running = [battery_result.result(self._tests[role]) for role in mine if self._tests[role].phase in _RUNNING]
        told = battery_result.worst(running or results)
        fields = BATTERY_TEST.fields.items()
        return Done({name: protocol.wire_value(one, told.get(name, NO_DATA), self._zone) for name, one in fields})

    async def _result(self, role: Role, trace: Trace) -> Result | Failed:
        """What is known of one battery's last test: the device's own record, else what was measured."""
        test, source = self._tests[role], self._logs[self._givers[role]]
        if test.phase in _RUNNING:
            return battery_result.result(test)
        measured = test if test.phase is Phase.ENDING else self._last.get(role, battery.IDLE)
        if source.keeps_records:
            try:
                newest = await source.newest()
            except (NoReply, BadReply):
                return Failed("设备无应答")
            except DeviceRefused as e:
                return Failed(f"设备拒绝{e.code}")
            trace.devices.add(source.device.key)
            key, shown = source.device.key, "; ".join(f"{name} {value}" for name, value in (newest or {}).items())
            trace.note(f"{key} 的最新记录：{shown or '无'}", f"{key} keeps as its newest record: {shown or 'none'}")
            if newest is not None and (measured.phase is Phase.IDLE or _named(newest) != measured.before):
                return _of_record(newest, self._zone)
        return battery_result.result(measured)

    # --- what the readings show

    def see(self, message: Answered | Missed) -> None:
        """Take in what a device just said; called on the event loop, never waits."""
        if isinstance(message, Answered) and self._known.is_set():
            cabinets = {role.cabinet for role, _ in message.fields}
            for role in self._givers:
                if role.cabinet in cabinets:
                    self._say(role, Word.SIGHT, self._sight(role, message))

    def _sight(self, role: Role, message: Answered | None) -> Sight:
        """What is known of a battery; what it measures counts when it was just read."""
        watch = self._watch()
        entries = watch.snapshots[role.cabinet].entries
        mine = entries[role]
        fresh = message.fields if message is not None else {}

        def value(name: str) -> float | None:
            reading = fresh.get((role, name), NO_DATA)
            return float(reading.value) if isinstance(reading.value, int | float) else None

        running, source = value("runningState"), self._logs[self._givers[role]]
        minutes = source.profile.battery_test.minutes
        named = float(source.profile.parameters_of(source.device)[minutes]) if isinstance(minutes, str) else minutes
        fields = {"amps": "outputCurrent", "volts": "outputVoltage", "celsius": "temperature"}
        return Sight(
            testing=None if running is None else running == TESTING,
            amps=value("outputCurrent"),
            volts=value("outputVoltage"),
            celsius=_number(mine["temperature"]),
            rated_ah=_rated(mine),
            alarms=frozenset(_alarms(watch, role)),
            lacks=frozenset(n for n, name in fields.items() if mine[name].quality is Quality.NOT_SUPPORT),
            duration_s=60.0 * named,
            lag_s=self._lag_s,
        )

    def _say(self, role: Role, word: Word, sight: Sight = battery.NOTHING, verdict: int = 0) -> None:
        """Take one input in, and do what follows from it."""
        before = self._tests[role]
        if not battery.can(before, word):
            return
        mono = time.monotonic()
        now = battery.advance(before, Input(word, mono, time.time(), sight, verdict))
        self._tests[role] = now
        if now.phase is Phase.ENDED:
            self._last[role] = now
        if now.phase is not before.phase or now.verdict != before.verdict:
            self._note(role, before, now)
            self._unsaved.add(role)
            self._changed.set()
        elif now.phase in UNDER_WAY and mono - self._saved.get(role, 0.0) >= SAVE_S:
            self._unsaved.add(role)
            self._changed.set()

    def _note(self, role: Role, before: Test, now: Test) -> None:
        source, begun = self._logs[self._givers[role]], before.phase not in UNDER_WAY or before.phase is Phase.STARTING
        if now.phase is Phase.RUNNING and begun:
            how = "as ordered" if now.ordered else "by itself, or at its panel"
            log.info("%s tests its battery, %s", _name(role), how)
            if source.keeps_records:
                self._spawn(f"record before the test of {_name(role)}", self._ask_record(role, source))
        if before.phase in (Phase.RUNNING, Phase.STOPPING) and now.phase in (Phase.ENDING, Phase.ENDED):
            log.info("%s tests its battery no more", _name(role))
            if source.has_verdict:
                self._spawn(f"verdict of {_name(role)}", self._ask_verdict(role, source))
        if now.phase is Phase.ENDED and before.phase is not Phase.ENDED:
            told = battery_result.result(now)
            shown = ", ".join(f"{name} {_shown(name, reading, self._zone)}" for name, reading in told.items())
            log.info("battery test of %s ended (%s): %s", _name(role), _words(now.reason), shown)

    async def _ask_record(self, role: Role, source: BatteryLog) -> None:
        """Note the device's newest record while its test runs, to know afterwards whether it keeps one of this."""
        with_what = await _asked(source.newest())
        if with_what is not None and self._tests[role].phase in UNDER_WAY:
            self._tests[role] = battery.with_record(self._tests[role], _named(with_what))
            self._unsaved.add(role)
            self._changed.set()

    async def _ask_verdict(self, role: Role, source: BatteryLog) -> None:
        if verdict := await _asked(source.verdict()):
            self._say(role, Word.VERDICT, verdict=verdict)

    # --- keeping

    async def run(self) -> None:
        """Let time pass for the tests, and keep them, until cancelled."""
        if not self._known.is_set():
            self._take_up(await self._store.settings(), time.monotonic(), time.time())
            self._known.set()
        try:
            while True:
                for role in tuple(self._unsaved):
                    await self._save(role)
                try:
                    async with asyncio.timeout(TICK_S):
                        await self._changed.wait()
                except TimeoutError:
                    for role in self._givers:
                        self._say(role, Word.TICK)
                self._changed.clear()
        except asyncio.CancelledError:
            with contextlib.suppress(AgentError):  # a disk that fails now costs some seconds of measuring
                for role, test in self._tests.items():
                    if test.phase in UNDER_WAY:
                        await self._save(role)
            raise

    async def _save(self, role: Role) -> None:
        test, last = self._tests[role], self._last.get(role)
        self._unsaved.discard(role)
        self._saved[role] = time.monotonic()
        if last is not None:
            await self._store.set_setting(_setting(role) + LAST, battery.write(last))
        known = battery.write(test) if test.phase in UNDER_WAY else None
        await self._store.set_setting(_setting(role), known)


# --- batteries --------------------------------------------------------------------------------------------------------


def _givers(logs: Mapping[str, BatteryLog]) -> Iterable[tuple[Role, str]]:
    """The batteries, each with the device that tells of it; where two do, with the one that can be told to test it."""
    able = {key: plan_writes.targets(one.profile, one.device, UPS, "testStartStop") for key, one in logs.items()}
    for key in sorted(logs, key=lambda key: bool(able[key])):
        device = logs[key].device
        for number in device.roles[UPS]:
            yield Role(device.cabinet, UPS, number), key


def _rated(mine: Mapping[str, Reading]) -> float | None:
    """The rated capacity in Ah: what is left of it, by the share that this is."""
    left, percent = _number(mine["remainCapacity"]), _number(mine["powerRate"])
    return 100.0 * left / percent if left is not None and percent else None


def _alarms(watch: Watch, role: Role) -> Iterable[str]:
    """What stands that could end a test. A device that is lost tells nothing, least of all that the mains failed."""
    for one, readings in watch.snapshots[role.cabinet].entries.items():
        if any(watch.is_lost(device) for device in watch.givers[one]):
            continue
        if one == role:
            text = str(readings["warningMsg"].value or "")
            yield from (each for each in text.split(",") if each)
            if readings["status"].value == 0 and not text:
                yield battery.UNWELL
        elif one.member == ELEC and readings["status"].value == 0:
            yield battery.MAINS


def _number(reading: Reading) -> float | None:
    return float(reading.value) if isinstance(reading.value, int | float) else None


def _name(role: Role) -> str:
    return f"{role.cabinet}.{role.member}{role.number}"


def _setting(role: Role) -> str:
    return f"{PREFIX}{role.cabinet}.{role.number}"


def _together(done: Mapping[Role, Outcome]) -> Outcome:
    """One outcome of several batteries: what failed is named, and what did not stays done (D13)."""
    failed = [(role, one.why if isinstance(one, Failed) else "") for role, one in done.items() if one != Done()]
    if not failed:
        return Done()
    if len(done) == 1:
        return next(iter(done.values()))
    return Failed("; ".join(f"电池{role.number}{why}" for role, why in failed[:UNITS_TOLD]))


# --- records ----------------------------------------------------------------------------------------------------------

_FORMATS: Sequence[str] = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M")
_SIZES = frozenset({"dischargeAvCurrent", "dischargeAhCurrent"})  # some devices give what is discharged a minus


def _named(record: Record) -> str:
    """What a record is known by: the device's own words for when the test began."""
    return str(record.get("testStartTime", ""))


def _of_record(record: Record, zone: tzinfo) -> Result:
    """Put a device's own record into the words of the interface."""
    found: dict[str, Reading] = {}
    for name, value in record.items():
        if isinstance(value, Quality):
            found[name] = Reading(None, value)
        elif name == "testStartTime":
            at = _instant(str(value), zone)
            found[name] = NO_DATA if at is None else Reading(at)
        else:
            found[name] = Reading(abs(value) if name in _SIZES and not isinstance(value, str) else value)
    if found.get("testResult", NO_DATA).value is None:
        found["testResult"] = Reading(battery_result.NONE)
    return found


def _instant(text: str, zone: tzinfo) -> float | None:
    """Read a device's local time, written with hyphens or slashes; None when it is not one."""
    plain = text.strip().replace("/", "-").replace(",", " ").replace("T", " ")[:19]
    for form in _FORMATS:
        try:
            return datetime.strptime(plain, form).replace(tzinfo=zone).timestamp()
        except ValueError:
            continue
    return None


def _words(reason: battery.Reason) -> str:
    return reason.name.lower().replace("_", " ")


def _shown(name: str, reading: Reading, zone: tzinfo) -> str:
    if reading.quality is not Quality.OK:
        return reading.quality.value
    if not isinstance(reading.value, float):
        return str(reading.value)
    if name == "testStartTime":
        return datetime.fromtimestamp(reading.value, zone).isoformat(timespec="seconds")
    digits = 2 if abs(reading.value) >= 1 else 5  # hours among them: 0.00028 h is a second
    return f"{reading.value:.{digits}f}".rstrip("0").rstrip(".")


async def _asked(question: Awaitable[_T]) -> _T | None:
    """The answer; None from a device that gives none."""
    try:
        return await question
    except (NoReply, BadReply, DeviceRefused) as e:
        log.info("cannot ask about a battery test: %s", e)
        return None
