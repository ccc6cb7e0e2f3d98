"""Parts of `make soak` for the lines: a million hostile frames. `python tests/soak_lines.py [PART …]` runs them alone.

A part prints what it did and raises AssertionError when a promise is broken.
"""

import asyncio
import sys
import time
from collections.abc import Callable

import hostile
import hostile_tcp

FRAMES = 1_000_000  # FIELD D.1: 10^6 hostile frames, no value at a wrong point, no crash, back in step within two


def lines() -> None:
    """10^6 hostile frames on serial lines and converters."""
    _judge(asyncio.run(hostile.besiege(FRAMES, seed=int(time.time()))))


def modbus_tcp() -> None:
    """10^5 hostile frames on Modbus TCP."""
    _judge(asyncio.run(hostile_tcp.besiege(FRAMES // 10, seed=int(time.time()))))


def _judge(tally: hostile.Tally) -> None:
    print(
        f"{tally.hostile} hostile frames, {tally.asked} questions, {tally.answered} answered, {tally.stale} stale,"
        f" {len(tally.astray)} astray, {len(tally.unstepped)} not back in step, {tally.second_lost} only at the third,"
        f" {tally.excused} lost to a machine that stood still; {dict(tally.kinds)}"
    )
    assert not tally.astray, tally.astray[:5]
    assert not tally.unstepped, tally.unstepped[:5]


PARTS: dict[str, Callable[[], None]] = {"lines": lines, "modbus-tcp": modbus_tcp}


def main() -> None:
    for name in sys.argv[1:] or PARTS:
        print(f"{name}: {PARTS[name].__doc__}", flush=True)
        began = time.monotonic()
        PARTS[name]()
        print(f"{name}: good, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
