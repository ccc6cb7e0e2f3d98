"""100 000 bodies that no cloud would send, at the real port: always a valid answer, never an order that was not given.

`make soak` sends a million.
"""

from pathlib import Path

import pytest
from fuzz_door import GROWTH, assail

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

COUNT = 100_000


async def test_a_hundred_thousand_strange_bodies_do_nothing_that_was_not_asked(tmp_path: Path) -> None:
    tally = await assail(tmp_path, COUNT, seed=5)
    print(tally)
    assert tally.wrong == []
    assert tally.sent >= COUNT
    assert tally.last_s < 2
    assert tally.grown[-1] - tally.grown[1] < GROWTH, tally
    # It was a siege: every kind of answer and of order came, and little of it was cut off at the door.
    assert {"1000", "1001", "1002", "1003", "1004", "1006", "1007", "1009"} <= tally.codes.keys()
    assert tally.codes["1005"] < COUNT / 100
    assert tally.codes["1000"] > COUNT / 20
    assert len(tally.carried) == 13
