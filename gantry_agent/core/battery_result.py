"""What a battery test comes to: the nine fields of `batterysTestResult` (spec §3.2.3), and which battery's are told.

A device that keeps a record of its own is believed; this is for those that keep none, and only as good as what was
read: a sum with a hole in it is GetFailed, what the device cannot tell NotSupport.
"""

from collections.abc import Iterable, Mapping

from gantry_agent.core.battery import UNDER_WAY, Phase, Reason, Test
from gantry_agent.model import GET_FAILED, NO_DATA, NOT_SUPPORT, Reading

NONE, NORMAL, SLIGHT, SEVERE = 1, 2, 3, 4  # testResult
# YD/T 799 and IEEE 1188 have a lead battery replaced when it gives less than 80 % of its rated capacity.
WORN_PERCENT, SPENT_PERCENT = 80.0, 60.0

Result = Mapping[str, Reading]
NO_TEST: Result = {"testResult": Reading(NONE)}  # what is not in a result is NoData (D14)


def result(test: Test) -> Result:
    """Say what is known of a test: of one that runs only when it began (D14)."""
    if test.phase in (Phase.IDLE, Phase.STARTING):
        return NO_TEST
    begun = {"testStartTime": Reading(test.started_at), "testResult": Reading(NONE)}
    if test.phase in UNDER_WAY:
        return begun
    sum_ = test.measured
    whole = sum_.known_s > 0 and not sum_.gap_s and not test.unsure
    mean = sum_.ah * 3600.0 / sum_.known_s if sum_.known_s > 0 else None
    percent = 100.0 * sum_.ah / test.rated_ah if whole and test.rated_ah else None
    spent = GET_FAILED if sum_.known_s > 0 and not whole else NO_DATA
    return begun | {
        "testResult": Reading(_grade(test, percent)),
        "efficiency": _told(test, "amps", percent, spent),
        "dischargeTime": GET_FAILED if test.unsure else Reading((test.ended - test.began) / 3600.0),
        "dischargeEndVoltage": _told(test, "volts", None if test.unsure else sum_.volts, _last(test)),
        "dischargeAvCurrent": _told(test, "amps", mean, NO_DATA),
        "dischargeAhCurrent": _told(test, "amps", sum_.ah if whole else None, spent),
        "testTemperature": _told(test, "celsius", test.celsius, NO_DATA),
        "testEndCourse": Reading(int(test.reason)),
    }


def _told(test: Test, what: str, value: float | None, otherwise: Reading) -> Reading:
    if what in test.lacks:
        return NOT_SUPPORT
    return otherwise if value is None else Reading(value)


def _last(test: Test) -> Reading:
    """Whoever did not see the end has a last value, and it is not the one that is asked for."""
    return GET_FAILED if test.unsure and test.measured.volts is not None else NO_DATA


def _grade(test: Test, percent: float | None) -> int:
    """What the test says of the battery: the device's own verdict, else what it gave before its voltage was down."""
    if test.verdict:
        return test.verdict
    match test.reason:
        case Reason.FAULT:
            return SEVERE
        case Reason.TIME:
            return NORMAL  # it carried the load for as long as it was asked to
        case Reason.VOLTAGE if percent is not None:
            return NORMAL if percent >= WORN_PERCENT else SLIGHT if percent >= SPENT_PERCENT else SEVERE
    return NONE


def worst(results: Iterable[Result]) -> Result:
    """Choose what a cabinet of several batteries tells: the worst of their last tests, of equals the newest."""
    return max(results, key=lambda one: (_number(one, "testResult"), _number(one, "testStartTime")), default=NO_TEST)


def _number(one: Result, name: str) -> float:
    value = one.get(name, NO_DATA).value
    return float(value) if isinstance(value, int | float) else 0.0
