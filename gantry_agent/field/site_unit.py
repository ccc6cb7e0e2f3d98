"""What a ZTE site supervision unit looks after, as it lists it itself: for `scan` and `identify`; only reads.

Steps are plain values that go through a socket as JSON, like those of `examine`.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from gantry_agent.field.examine import failure, patiently
from gantry_agent.field.poller import Poller
from gantry_agent.field.request import ListObjects, Timing

Told = Mapping[str, Any]
ANSWER_S: Final = 10.0


async def listed(poller: Poller) -> AsyncIterator[Told]:
    """One step for each object: its number, its name, and where one hangs on a serial line, the port and address."""
    timing = Timing(ANSWER_S, 0.0, seeking=True)
    exchange = await patiently(poller, ListObjects(1), timing)
    if not isinstance(exchange.reply, tuple):
        yield {"failed": failure(exchange.error)}
        return
    ports = await patiently(poller, ListObjects(1, ports=True), timing)
    behind = dict(_pairs(ports.reply))  # a unit without serial lines may not know the question
    for number, name in _pairs(exchange.reply):
        port, _, address = behind.get(number, "").partition(" ")
        yield {"object": number, "name": name, "port": port, "address": int(address) if address.isdecimal() else None}


def _pairs(reply: object) -> list[tuple[str, str]]:
    rows = reply if isinstance(reply, tuple) else ()
    return [(str(row[0]), str(row[1])) for row in rows if isinstance(row, tuple)]
