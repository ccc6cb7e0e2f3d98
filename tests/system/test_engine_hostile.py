"""A slice of what `make soak` does for long: hostile frames by the ten thousand, and scripts that hypothesis makes up.

No value at a wrong point, no crash, and the third sound transaction after a siege is answered.
"""

import asyncio
import random

import hostile
import hostile_tcp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.system


def judge(tally: hostile.Tally) -> None:
    assert not tally.astray, tally.astray[:5]
    assert not tally.unstepped, tally.unstepped[:5]
    assert tally.answered > 0.3 * tally.asked


async def test_no_hostile_frame_on_a_line_puts_a_value_at_a_wrong_point():
    tally = await hostile.besiege(20_000, seed=20261124)
    judge(tally)
    assert tally.hostile >= 20_000
    assert tally.second_lost == 0


async def test_no_hostile_frame_on_modbus_tcp_puts_a_value_at_a_wrong_point():
    tally = await hostile_tcp.besiege(4_000, seed=20261124)
    judge(tally)
    assert tally.hostile >= 4_000


# --- scripts --------------------------------------------------------------------------------------------------------

NOISE = st.integers(0, len(hostile.NOISES) - 1)
BURST = st.lists(NOISE | st.binary(min_size=1, max_size=24), max_size=4)
WHEN = st.sampled_from(["before", "after", "instead", "late", "pieces"])
SCRIPT = st.lists(st.tuples(WHEN, BURST, st.booleans()), min_size=1, max_size=8)


class Scripted(hostile.Peer):
    """Plays one entry of a script for each request, and is sound afterwards."""

    def __init__(self, script: list, tally: hostile.Tally) -> None:
        super().__init__(random.Random(1), tally, echoes=False)
        self.script = script

    def _play(self, request: bytes) -> None:
        good = hostile.framed(hostile.answer(request[:-2], self.number))
        self.note(request, "good")
        if not self.script:
            self.send(0.0, good)
            return
        when, burst, again = self.script.pop(0)
        noise = b"".join(
            one if isinstance(one, bytes) else hostile.NOISES[one](self.fate, request, good) for one in burst
        )
        if hostile.happens_to_answer(noise + good[:-1], request, len(good)):
            noise = b""
        self.tally.hostile += len(burst)
        match when:
            case "before":
                self.send(0.0, noise + good)
            case "after":
                self.send(0.0, good + noise + (good if again else b""))
            case "instead":
                self.send(0.0, noise)
            case "late":
                self.send(0.0, noise)
                self.send((1.6 if again else 1.1) * hostile.RESPONSE_S, good)
            case "pieces":
                self.send(0.0, noise + good[:3])
                self.send(0.1 * hostile.RESPONSE_S, good[3:])


async def play(scripts: list) -> hostile.Tally:
    """Play every script on a tty and on a converter, all at the same time."""
    tally = hostile.Tally()

    async def one(wire, script: list) -> None:
        peer, fate = Scripted(list(script), tally), random.Random(2)
        async with wire(peer) as line:
            asked, failed = hostile.question(fate), ""
            for _ in range(len(script) + hostile.CALM):
                asked = hostile.choose(line, fate, asked)
                failed = await hostile.judge(line, peer, tally, asked)
            if failed:
                tally.unstepped.append(failed)

    async with asyncio.TaskGroup() as group:
        for script in scripts:
            for wire in (hostile.on_pty, hostile.on_converter):
                group.create_task(one(wire, script))
    return tally


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(SCRIPT, min_size=1, max_size=20))
def test_no_script_of_hostile_frames_puts_a_value_at_a_wrong_point(scripts):
    tally = asyncio.run(play(scripts))
    assert not tally.astray, tally.astray[:5]
    assert not tally.unstepped, tally.unstepped[:5]
