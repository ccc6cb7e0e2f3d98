"""10^4 random episodes of trip, clear, restart and link loss: raises = clears, order kept.

`python tests/soak_events.py [EPISODES] [SEED]`; what is checked stands in `episodes`. The seed is printed, so that a
failure can be lived through again.
"""

import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

import episodes

EPISODES, AT_A_TIME = 10_000, 250


def main(count: int = EPISODES, seed: int | None = None) -> int:
    chance = random.Random(seed)
    began, done, raises, records, kills = time.monotonic(), 0, 0, 0, 0
    while done < count:
        number = seed if seed is not None and count <= AT_A_TIME else chance.randrange(1 << 30)
        some = min(AT_A_TIME, count - done)
        with tempfile.TemporaryDirectory() as folder:
            try:
                life = asyncio.run(episodes.run(Path(folder), some, number))
            except AssertionError as broken:
                print(f"episodes: BROKEN: {broken} (python tests/soak_events.py {some} {number})")
                return 1
        done += some
        raises += sum(life.cloud.raises.values())
        records += life.cloud.urgent
        kills += life.happened["kill"]
    print(
        f"episodes: {done}, raises = clears = {raises} in {records} records with events, in their order;"
        f" {kills} kills; {time.monotonic() - began:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:])))
