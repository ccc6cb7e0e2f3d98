"""One battery's discharge test, from the order to what ended it: (test, input) → test, by a table.

The device does the testing; this follows it by what the watch shows, adds up what is discharged, and finds out why it
ended. Instants are given: monotonic for durations, Unix for what is told. What no reading vouches for is not added up:
a gap is bridged only while it is short and the device tested before and after it. What a test comes to is
`battery_result`; how a battery is told to test is not known here.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

BRIDGE_S = 120.0  # the load of a gantry does not change much in that: a gap so long is bridged by its two ends
START_S = 60.0  # from an order until the device must show it
SETTLE_S = 5.0  # for the alarms, of other devices too, that tell why a test ended
NOTE_S = 60.0  # an alarm that came so long before the end, or less, is why it ended
SILENT_S = 1800.0  # a device that tells nothing for so long is not waited for
LONGEST_S = 120 * 3600.0  # above the longest that HUAWEI-SITE-MONITOR-MIB allows, 6000 minutes


class Phase(StrEnum):
    IDLE = "idle"  # never tested, as far as this agent knows
    STARTING = "starting"  # ordered, and not seen to have begun
    RUNNING = "running"
    STOPPING = "stopping"  # told to stop, and not seen to have stopped
    ENDING = "ending"  # over; why is not clear yet
    ENDED = "ended"


class Reason(IntEnum):
    """Why a test ended: testEndCourse (spec §3.2.3); NONE while it has not."""

    NONE = 0
    VOLTAGE = 1
    TIME = 2
    ALARM = 3
    BY_HAND = 4
    FAULT = 5
    CHARGE_LOW = 6
    COLD = 7
    OTHER = 255


class Word(Enum):
    ORDERED = "the start was ordered and is about to be written"
    CONFIRMED = "the device shows that it tests"
    ABANDONED = "the start was refused, or not confirmed"
    STOP_ORDERED = "the end was ordered and is about to be written"
    STOPPED = "the device shows that it tests no more"
    NOT_STOPPED = "the stop was refused, or not confirmed"
    SIGHT = "the readings, as they are now"
    SETTLED = "no more alarms are waited for that could tell why it ended"
    VERDICT = "what the device thinks of its battery, after a test"
    TICK = "time has passed"


@dataclass(frozen=True, slots=True)
class Sight:
    """What the readings show. None: not known now, or not read this time; `lacks`: what the device does not have."""

    testing: bool | None = None
    amps: float | None = None  # discharge, just measured
    volts: float | None = None
    celsius: float | None = None
    rated_ah: float | None = None
    alarms: frozenset[str] = frozenset()  # texts that stand; see `MAINS`
    lacks: frozenset[str] = frozenset()  # of 'amps', 'volts', 'celsius'
    duration_s: float = 0.0  # how long the device tests if nothing ends it earlier; 0: not known
    end_volts: float = 0.0  # at what voltage it ends; 0: not known
    lag_s: float = START_S  # what the device was read to be may be so old


NOTHING = Sight()
MAINS = "mains"  # stands among the alarms for whatever shows that the mains failed
UNWELL = "unwell"  # and for a battery that calls itself abnormal and does not say why


@dataclass(frozen=True, slots=True)
class Input:
    word: Word
    mono: float
    at: float  # Unix seconds
    sight: Sight = NOTHING
    verdict: int = 0  # as testResult: 2 normal, 3 slightly, 4 severely abnormal


@dataclass(frozen=True, slots=True)
class Measured:
    """What was discharged while the test was watched; the newest current, and when it was read (monotonic)."""

    amps: float | None = None
    amps_at: float = 0.0
    ah: float = 0.0
    known_s: float = 0.0  # of which the current is known
    gap_s: float = 0.0  # of which it is not
    volts: float | None = None
    # Just read, and not counted before the device is seen to test on: it may have ended between two of its answers, and
    # the battery be charged already.
    next_amps: float | None = None
    next_volts: float | None = None
    next_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Test:
    """A test so far. Instants are monotonic, but for those in `_at`."""

    __test__ = False  # to pytest

    phase: Phase = Phase.IDLE
    ordered: bool = False  # by us; else by the device's own timer, or at its panel
    started_at: float = 0.0
    began: float = 0.0
    latest: float = 0.0  # of the newest input; after a restart the gap counts from it
    latest_at: float = 0.0
    tested: float = 0.0  # when the device last showed that it tests
    seen: bool = False  # the readings have shown it (or, when it is over, that it is)
    turned: float = 0.0  # when the stop was ordered
    ended: float = 0.0
    unsure: bool = False  # when it ended, or how long a gap was, nobody saw
    measured: Measured = Measured()
    celsius: float | None = None
    rated_ah: float | None = None
    duration_s: float = 0.0
    end_volts: float = 0.0
    lacks: frozenset[str] = frozenset()
    alarms: frozenset[str] = frozenset()  # that stood at the newest sight
    noted: Reason = Reason.NONE  # what the newest new alarm would be a reason for
    noted_at: float = 0.0
    verdict: int = 0
    before: str = ""  # what the device's newest record is known by, while this test has none yet
    reason: Reason = Reason.NONE


IDLE = Test()
UNDER_WAY = frozenset({Phase.STARTING, Phase.RUNNING, Phase.STOPPING, Phase.ENDING})


class NotNow(ValueError):
    """The input cannot follow, by the table."""


def advance(test: Test, said: Input) -> Test:
    """Take one input in. Raises NotNow for one that is not in the table."""
    step = TABLE.get((test.phase, said.word))
    if step is None:
        raise NotNow(f"cannot take {said.word.name} while a battery test is {test.phase}")
    return replace(step(test, said), latest=said.mono, latest_at=said.at)


# --- starting -------------------------------------------------------------------------------------------------------


def _order(_test: Test, said: Input) -> Test:
    known = _look(replace(IDLE, alarms=said.sight.alarms), said)
    return replace(known, phase=Phase.STARTING, ordered=True, started_at=said.at, began=said.mono)


def _begin(test: Test, said: Input) -> Test:
    return replace(
        test,
        phase=Phase.RUNNING,
        started_at=said.at,
        began=said.mono,
        tested=said.mono,
        seen=False,
        measured=Measured(amps_at=said.mono),
    )


def _abandon(_test: Test, _said: Input) -> Test:
    return IDLE


def _sight_before(test: Test, said: Input) -> Test:
    """Nobody here ordered a test that is seen now: the device's own timer did, or somebody at its panel."""
    rested = test.phase is Phase.IDLE or test.seen or said.mono - test.ended > START_S
    if said.sight.testing and rested:
        return _sight(_begin(replace(IDLE, alarms=said.sight.alarms), said), said)
    return replace(test, seen=test.seen or said.sight.testing is False) if test.phase is Phase.ENDED else test


def _sight_starting(test: Test, said: Input) -> Test:
    return _sight(_begin(test, said), said) if said.sight.testing else _tick_starting(_look(test, said), said)


def _tick_starting(test: Test, said: Input) -> Test:
    return IDLE if said.mono - test.began > START_S else test


# --- running --------------------------------------------------------------------------------------------------------


def _sight(test: Test, said: Input) -> Test:
    if said.sight.testing:
        test = replace(_look(test, said), measured=_add(test.measured, said), seen=True, tested=said.mono)
    elif said.sight.testing is None or not (test.seen or said.mono - test.began > said.sight.lag_s):
        test = _note(test, said)  # it is confirmed, and the readings lag
    else:
        blind_s = said.mono - test.tested if test.seen else math.inf
        return _sight_ending(_close(_note(test, said), said.mono, blind_s), said)
    return _tick(test, said)


def _tick(test: Test, said: Input) -> Test:
    """Nothing lasts for ever, not even a test whose device has gone."""
    if test.phase is Phase.STOPPING and said.mono - test.turned > START_S and test.tested > test.turned:
        test = replace(test, phase=Phase.RUNNING)  # whoever ordered the stop is gone, and it did not stop
    silent = said.mono - max(test.tested, test.began) > SILENT_S
    if silent or said.mono - test.began > LONGEST_S:
        return _judge(_close(test, said.mono, SILENT_S if silent else 0.0))
    return test


def _order_stop(test: Test, said: Input) -> Test:
    return replace(test, phase=Phase.STOPPING, turned=said.mono)


def _not_stopped(test: Test, _said: Input) -> Test:
    return replace(test, phase=Phase.RUNNING)


def _stopped(test: Test, said: Input) -> Test:
    return _judge(replace(_close(test, said.mono, 0.0), seen=False))


def _look(test: Test, said: Input) -> Test:
    """Take in what is read besides the current."""
    sight = said.sight
    return replace(
        _note(test, said),
        celsius=test.celsius if sight.celsius is None else sight.celsius,
        rated_ah=sight.rated_ah if test.rated_ah is None else test.rated_ah,  # as it was at the start
        duration_s=sight.duration_s or test.duration_s,
        end_volts=sight.end_volts or test.end_volts,
        lacks=sight.lacks,
    )


def _add(sum_: Measured, said: Input) -> Measured:
    """Count what was read before, now that the device tests on, and note what was read now."""
    sum_, sight = _counted(sum_), said.sight
    if sight.amps is None and sight.volts is None:
        return sum_
    return replace(sum_, next_amps=sight.amps, next_volts=sight.volts, next_at=said.mono)


def _counted(sum_: Measured) -> Measured:
    """Add up what was discharged since the current was read last; the first reading counts from the start."""
    volts = sum_.volts if sum_.next_volts is None else sum_.next_volts
    if (amps := sum_.next_amps) is not None:
        sum_ = _span(sum_, amps if sum_.amps is None else (sum_.amps + amps) / 2, sum_.next_at, amps)
    return replace(sum_, volts=volts, next_amps=None, next_volts=None)


def _span(sum_: Measured, mean: float, until: float, amps: float | None) -> Measured:
    span_s = max(0.0, until - sum_.amps_at)
    if span_s > BRIDGE_S:
        return replace(sum_, amps=amps, amps_at=until, gap_s=sum_.gap_s + span_s)
    ah = sum_.ah + mean * span_s / 3600.0
    return replace(sum_, amps=amps, amps_at=until, ah=ah, known_s=sum_.known_s + span_s)


# --- ending ---------------------------------------------------------------------------------------------------------


def _close(test: Test, mono: float, blind_s: float) -> Test:
    """End the measuring: in the middle of the time that nobody looked, if that is short."""
    sure = blind_s <= BRIDGE_S
    ended = mono - blind_s / 2 if sure else test.tested
    sum_ = test.measured
    if sum_.amps is None and sum_.volts is None:
        sum_ = _counted(replace(sum_, next_at=min(sum_.next_at, ended)))  # better than nothing
    if sum_.amps is not None:
        sum_ = _span(sum_, sum_.amps, ended, sum_.amps)
    sum_ = replace(sum_, next_amps=None, next_volts=None)
    return replace(test, ended=ended, measured=sum_, unsure=test.unsure or not sure)


def _sight_ending(test: Test, said: Input) -> Test:
    if said.sight.testing:  # it was not over: one reading was wrong
        return _sight(replace(test, phase=Phase.RUNNING, ended=0.0), said)
    test = _note(test, said)
    if test.noted is not Reason.NONE and abs(test.ended - test.noted_at) <= NOTE_S:
        return _judge(test)
    if test.phase is Phase.STOPPING:
        return _judge(test)
    return _tick_ending(replace(test, phase=Phase.ENDING), said)


def _tick_ending(test: Test, said: Input) -> Test:
    return _judge(test) if said.mono - test.ended > SETTLE_S else test


def _settle(test: Test, _said: Input) -> Test:
    return _judge(test)


def _verdict(test: Test, said: Input) -> Test:
    return replace(test, verdict=said.verdict)


def _judge(test: Test) -> Test:
    """Say why it ended."""
    noted = test.noted if abs(test.ended - test.noted_at) <= NOTE_S else Reason.NONE
    ran_s, volts = test.ended - test.began, test.measured.volts
    found = (
        (test.phase is Phase.STOPPING, Reason.BY_HAND),
        (noted is not Reason.NONE, noted),
        (test.unsure, Reason.OTHER),
        (test.end_volts > 0 and volts is not None and volts <= 1.005 * test.end_volts, Reason.VOLTAGE),
        (test.duration_s > 0 and ran_s >= 0.9 * test.duration_s, Reason.TIME),
        (test.verdict in (2, 3, 4), Reason.TIME),  # it came to its end, or there would be none
    )
    reason = next((reason for holds, reason in found if holds), Reason.OTHER)
    return replace(test, phase=Phase.ENDED, reason=reason)


CAUSES: tuple[tuple[str, Reason], ...] = (  # what an alarm text that holds these characters is a reason for
    ("自检", Reason.NONE),  # a text about the test is no cause of its end
    (MAINS, Reason.ALARM),
    (UNWELL, Reason.FAULT),
    ("熔丝", Reason.FAULT),
    ("断开", Reason.FAULT),
    ("故障", Reason.FAULT),
    ("温度低", Reason.COLD),
    ("耗尽", Reason.CHARGE_LOW),
    ("电量低", Reason.CHARGE_LOW),
    ("电压低", Reason.VOLTAGE),
)


def cause(alarms: Iterable[str]) -> Reason:
    """What these alarms, all new, are a reason for: the first of the table; any other alarm is one, too."""
    texts = sorted(alarms)
    known = [(word, reason) for word, reason in CAUSES if any(word in text for text in texts)]
    if any(not any(word in text for word, _ in CAUSES) for text in texts):
        known.append(("", Reason.ALARM))
    return next((reason for _, reason in known if reason is not Reason.NONE), Reason.NONE)


def _note(test: Test, said: Input) -> Test:
    """Note an alarm that has come up; one that stood at the start, or lasts, ends nothing."""
    found = cause(said.sight.alarms - test.alarms)
    alarms = said.sight.alarms if said.sight is not NOTHING else test.alarms
    if found is Reason.NONE:
        return replace(test, alarms=alarms)
    return replace(test, alarms=alarms, noted=found, noted_at=said.mono)


def _stay(test: Test, _said: Input) -> Test:
    return test


def with_record(test: Test, before: str) -> Test:
    """Note what the device's newest record is known by: this test's will be another."""
    return replace(test, before=before)


def can(test: Test, word: Word) -> bool:
    """Tell whether that can be said now."""
    return (test.phase, word) in TABLE


Step = Callable[[Test, Input], Test]
TABLE: Mapping[tuple[Phase, Word], Step] = MappingProxyType(
    {
        (Phase.IDLE, Word.ORDERED): _order,
        (Phase.IDLE, Word.SIGHT): _sight_before,
        (Phase.IDLE, Word.TICK): _stay,
        (Phase.STARTING, Word.CONFIRMED): _begin,
        (Phase.STARTING, Word.ABANDONED): _abandon,
        (Phase.STARTING, Word.SIGHT): _sight_starting,
        (Phase.STARTING, Word.TICK): _tick_starting,
        (Phase.RUNNING, Word.CONFIRMED): _stay,  # the readings were quicker
        (Phase.RUNNING, Word.ABANDONED): _stay,  # and knew better
        (Phase.RUNNING, Word.STOP_ORDERED): _order_stop,
        (Phase.RUNNING, Word.SIGHT): _sight,
        (Phase.RUNNING, Word.TICK): _tick,
        (Phase.STOPPING, Word.STOP_ORDERED): _order_stop,
        (Phase.STOPPING, Word.STOPPED): _stopped,
        (Phase.STOPPING, Word.NOT_STOPPED): _not_stopped,
        (Phase.STOPPING, Word.SIGHT): _sight,
        (Phase.STOPPING, Word.TICK): _tick,
        (Phase.ENDING, Word.SIGHT): _sight_ending,
        (Phase.ENDING, Word.TICK): _tick_ending,
        (Phase.ENDING, Word.SETTLED): _settle,
        (Phase.ENDING, Word.VERDICT): _verdict,
        (Phase.ENDED, Word.ORDERED): _order,
        (Phase.ENDED, Word.SIGHT): _sight_before,
        (Phase.ENDED, Word.STOPPED): _stay,  # the readings were quicker
        (Phase.ENDED, Word.NOT_STOPPED): _stay,
        (Phase.ENDED, Word.VERDICT): _verdict,
        (Phase.ENDED, Word.TICK): _stay,
    }
)


# --- over a restart -------------------------------------------------------------------------------------------------

_INSTANTS = ("began", "latest", "tested", "turned", "ended", "noted_at")


def taken_up(test: Test, mono: float, at: float) -> Test:
    """Put a test that an earlier run stored on this run's monotonic clock, by how long nobody looked.

    The wall clock alone tells that; one that went back meanwhile makes the length of the test unsure.
    """
    gap_s = at - test.latest_at
    shift = mono - max(0.0, gap_s) - test.latest
    moved = {name: getattr(test, name) + shift for name in _INSTANTS}
    sum_ = test.measured
    measured = replace(sum_, amps_at=sum_.amps_at + shift, next_at=sum_.next_at + shift)
    return replace(test, **moved, measured=measured, unsure=test.unsure or (gap_s < 0 and test.phase in UNDER_WAY))


def write(test: Test) -> str:
    """Put a test into one line of text; `read` is the inverse."""
    values = asdict(test)
    return json.dumps({**values, "lacks": sorted(test.lacks), "alarms": sorted(test.alarms)}, ensure_ascii=False)


def read(text: str) -> Test | None:
    """Read what `write` wrote; None for what it never did."""
    try:
        stored = json.loads(text)
        sums = {one.name: _number(stored["measured"][one.name]) for one in fields(Measured)}
        values = {one.name: stored[one.name] for one in fields(Test)}
        for names, kind in _KINDS.items():
            values |= {name: kind(values[name]) for name in names}
        return Test(**{**values, "measured": Measured(**sums)})
    except (ValueError, KeyError, TypeError):
        return None


def _number(value: Any) -> Any:
    return None if value is None else float(value)


_KINDS: Mapping[tuple[str, ...], Callable[[Any], Any]] = MappingProxyType(
    {
        ("phase",): Phase,
        ("ordered", "seen", "unsure"): bool,
        ("lacks", "alarms"): frozenset,
        ("noted", "reason"): Reason,
        ("verdict",): int,
        ("before",): str,
        (*_INSTANTS, "started_at", "latest_at", "celsius", "rated_ah", "duration_s", "end_volts"): _number,
    }
)
