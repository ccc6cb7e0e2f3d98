"""The calculations of derived values: sum, first, rate and the like, over readings that may have no value.

An answer is a value, a Quality that says why there is none, or None: not to be said yet, because something it needs was
never read. A `Get` is such a calculation, compiled: it takes the latest samples and those before them.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import cast

from gantry_agent.model import Quality, Value


@dataclass(frozen=True, slots=True)
class Sample:
    """What a point said, and when (monotonic seconds)."""

    value: Value | Quality
    t: float


Samples = Mapping[str, Sample]
Answer = Value | Quality | None
Get = Callable[[Samples, Samples], Answer]
Calculation = Callable[[list[float]], float]


MOST_EXPONENT = 30  # of what a device says; 10 to the power of a "no value" of 2147483647 would never end


def _ratio(values: list[float]) -> float:
    """Percent of the second."""
    return 100 * values[0] / values[1]


def _quotient(values: list[float]) -> float:
    return values[0] / values[1]


def _shifted(values: list[float]) -> float:
    """With the decimal point moved by an exponent; divided, as 5445 / 100 is 54.45 and 5445 * 0.01 is not."""
    raw, exponent = values[0], int(values[1])
    if abs(exponent) > MOST_EXPONENT:
        raise OverflowError
    return raw * float(10**exponent) if exponent >= 0 else raw / float(10**-exponent)


STRICT: Mapping[str, Calculation] = {  # every operand is needed
    "positive": lambda values: max(0, values[0]),
    "negative": lambda values: max(0, -values[0]),  # in this order: 0, not -0.0
    "sum": sum,
    "difference": lambda values: values[0] - sum(values[1:]),
    "product": lambda values: reduce(operator.mul, values),
    "quotient": _quotient,
    "shifted": _shifted,
    "ratio": _ratio,
}
TOLERANT: Mapping[str, Calculation] = {  # of those that have a value
    "mean": lambda values: sum(values) / len(values),
    "min": min,
    "max": max,
}


def worst(answers: Iterable[Answer]) -> Quality:
    """Of several reasons for having no value: failed before not read before not there."""
    reasons = {answer for answer in answers if isinstance(answer, Quality)}
    for reason in (Quality.GET_FAILED, Quality.NO_DATA):
        if reason in reasons:
            return reason
    return Quality.NOT_SUPPORT


def _calculate(calculation: Calculation, values: list[Answer]) -> Answer:
    numbers = [value for value in values if isinstance(value, (int, float))]
    if len(numbers) != len(values):
        return Quality.NO_DATA  # a text is nothing to calculate with
    try:
        return calculation(cast("list[float]", numbers))
    except (ZeroDivisionError, OverflowError):
        return Quality.NO_DATA


def of_all(calculation: Calculation, gets: list[Get]) -> Get:
    """Calculate when every operand has a value."""

    def get(now: Samples, before: Samples) -> Answer:
        answers = [one(now, before) for one in gets]
        if None in answers:
            return None
        if any(isinstance(answer, Quality) for answer in answers):
            return worst(answers)
        return _calculate(calculation, answers)

    return get


def of_some(calculation: Calculation, gets: list[Get]) -> Get:
    """Calculate from the operands that have a value; none may be unread or refused, or the highest of two
    temperatures would fall whenever the hot one cannot be had.
    """

    def get(now: Samples, before: Samples) -> Answer:
        answers = [one(now, before) for one in gets]
        if None in answers:
            return None
        present = [answer for answer in answers if not isinstance(answer, Quality)]
        if not present or Quality.GET_FAILED in answers:
            return worst(answers)
        return _calculate(calculation, present)

    return get


def first(gets: list[Get]) -> Get:
    """The first that has a value; one that was never read holds the rest back, so that no second choice flashes up."""

    def get(now: Samples, before: Samples) -> Answer:
        answers: list[Answer] = []
        for one in gets:
            answer = one(now, before)
            if not isinstance(answer, Quality):
                return answer
            answers.append(answer)
        return worst(answers)

    return get


def rate(key: str, bits: int) -> Get:
    """Counts per second since the sample before. A 64-bit counter that falls was reset; a smaller one went round."""

    def get(now: Samples, before: Samples) -> Answer:
        new, old = now.get(key), before.get(key)
        if new is None:
            return None
        if isinstance(new.value, Quality):
            return new.value
        if old is None or isinstance(old.value, Quality) or new.t <= old.t:
            return None
        if isinstance(new.value, str) or isinstance(old.value, str):
            return Quality.NO_DATA
        counted = new.value - old.value
        if counted < 0:
            if bits == 64:
                return None
            counted += 1 << bits
        return counted / (new.t - old.t)

    return get


def scaled(get: Get, scale: float, offset: float) -> Get:
    """The value times scale plus offset; a Quality or a text as it is."""
    if scale == 1 and offset == 0:
        return get

    def calculated(now: Samples, before: Samples) -> Answer:
        answer = get(now, before)
        return answer * scale + offset if isinstance(answer, (int, float)) else answer

    return calculated
