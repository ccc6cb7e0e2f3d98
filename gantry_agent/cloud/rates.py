"""How often one address may ask: token buckets, one pair per address (D5).

Pure: the time is given, on any clock that does not jump. A request takes from the first bucket; a failed
authentication takes from the second. When that one is empty everything from the address is refused for a minute, and
each time anew twice as long, so that the code cannot be guessed by trying; an hour without failures, or the right code,
and that is forgiven. Only so many addresses are remembered; the one not heard of for longest is forgotten.
"""

import contextlib
import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

FAILURES_PER_MINUTE = 10  # a technician mistypes a few times
FIRST_CLOSED_S, LONGEST_CLOSED_S = 60.0, 900.0  # some 1000 guesses a day: a six-digit code would hold for years
FORGIVEN_S = 3600.0
ADDRESSES = 1024  # a gantry is asked by one cloud, perhaps behind a few addresses

Judgement = Literal["admitted", "refused", "refused first"]


def asker_at(address: str) -> str:
    """Whose rate counts: of IPv6 the network, since anybody has 2^64 addresses there to guess the code from."""
    with contextlib.suppress(ValueError):
        plain = address.partition("%")[0]
        if ipaddress.ip_address(plain).version == 6:
            return str(ipaddress.ip_network(f"{plain}/64", strict=False))
    return address


@dataclass(slots=True)
class _Buckets:
    requests: float
    failures: float
    at: float
    refusing: bool = False
    closed_until: float = 0.0
    closings: int = 0
    failed_at: float = 0.0


class Rates:
    """What each address may still ask. A bucket holds a minute's worth, so a burst of that many passes at once."""

    def __init__(self, requests_per_minute: int, failures_per_minute: int = FAILURES_PER_MINUTE) -> None:
        self._requests = float(requests_per_minute)
        self._failures = float(failures_per_minute)
        self._known: OrderedDict[str, _Buckets] = OrderedDict()

    def admit(self, address: str, now: float) -> Judgement:
        """Count a request and judge it; `refused first` begins a series of refusals, and is the one to log."""
        buckets = self._filled(address, now)
        if buckets.requests >= 1 and now >= buckets.closed_until:
            buckets.requests -= 1
            buckets.refusing = False
            return "admitted"
        first = not buckets.refusing
        buckets.refusing = True
        return "refused first" if first else "refused"

    def failed(self, address: str, now: float) -> None:
        """Count a failed authentication."""
        buckets = self._filled(address, now)
        buckets.failures -= 1
        buckets.failed_at = now
        if buckets.failures < 1:
            buckets.closed_until = now + min(FIRST_CLOSED_S * 2**buckets.closings, LONGEST_CLOSED_S)
            buckets.closings += 1
            buckets.failures = self._failures / 2  # then it may err some times more

    def passed(self, address: str) -> None:
        """The right code came: what went before were mistakes."""
        if (buckets := self._known.get(address)) is not None:
            buckets.closings = 0

    def _filled(self, address: str, now: float) -> _Buckets:
        buckets = self._known.pop(address, None) or _Buckets(self._requests, self._failures, now, closed_until=now)
        if now - buckets.failed_at > FORGIVEN_S:
            buckets.closings = 0
        minutes = max(0.0, now - buckets.at) / 60
        buckets.requests = min(self._requests, buckets.requests + minutes * self._requests)
        buckets.failures = min(self._failures, buckets.failures + minutes * self._failures)
        buckets.at = now
        self._known[address] = buckets
        if len(self._known) > ADDRESSES:
            self._known.popitem(last=False)
        return buckets
