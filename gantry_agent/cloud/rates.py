"""How often one address may ask: token buckets, one pair per address (D5).

Pure: the time is given, on any clock that does not jump. A request takes from the first bucket; a failed
authentication takes from the second, and while that one is empty everything from the address is refused, so that the
code cannot be guessed by trying. Only so many addresses are remembered; the one not heard of for longest is forgotten.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

FAILURES_PER_MINUTE = 10  # a technician mistypes a few times; a guesser of a six-digit code would need weeks
ADDRESSES = 1024  # a gantry is asked by one cloud, perhaps behind a few addresses

Judgement = Literal["admitted", "refused", "refused first"]


@dataclass(slots=True)
class _Buckets:
    requests: float
    failures: float
    at: float
    refusing: bool = False


class Rates:
    """What each address may still ask. A bucket holds a minute's worth, so a burst of that many passes at once."""

    def __init__(self, requests_per_minute: int, failures_per_minute: int = FAILURES_PER_MINUTE) -> None:
        self._requests = float(requests_per_minute)
        self._failures = float(failures_per_minute)
        self._known: OrderedDict[str, _Buckets] = OrderedDict()

    def admit(self, address: str, now: float) -> Judgement:
        """Count a request and judge it; `refused first` begins a series of refusals, and is the one to log."""
        buckets = self._filled(address, now)
        if buckets.requests >= 1 and buckets.failures >= 1:
            buckets.requests -= 1
            buckets.refusing = False
            return "admitted"
        first = not buckets.refusing
        buckets.refusing = True
        return "refused first" if first else "refused"

    def failed(self, address: str, now: float) -> None:
        """Count a failed authentication."""
        buckets = self._filled(address, now)
        buckets.failures = max(0.0, buckets.failures - 1)

    def _filled(self, address: str, now: float) -> _Buckets:
        buckets = self._known.pop(address, None) or _Buckets(self._requests, self._failures, now)
        minutes = max(0.0, now - buckets.at) / 60
        buckets.requests = min(self._requests, buckets.requests + minutes * self._requests)
        buckets.failures = min(self._failures, buckets.failures + minutes * self._failures)
        buckets.at = now
        self._known[address] = buckets
        if len(self._known) > ADDRESSES:
            self._known.popitem(last=False)
        return buckets
