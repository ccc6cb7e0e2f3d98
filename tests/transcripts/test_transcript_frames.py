"""The bytes on the line: cases of the transcripts that write their questions and answers down as whole frames.

`frames` are [question: answer] in hexadecimal, CRC included, reckoned by another program than ours. `verdict` is what a
battery test's outcome in that case means to the interface.
"""

from typing import Any

import pytest

from gantry_agent.field import codec, plan
from gantry_agent.field.framing import speech
from gantry_agent.field.product import amount
from tests.transcripts.test_profile_transcripts import CASES, the_device, the_source

FRAMED = [case for case in CASES if "frames" in case.values[1]]
JUDGED = [case for case in CASES if "verdict" in case.values[1]]


@pytest.mark.parametrize(("name", "case"), FRAMED)
def test_the_questions_and_answers_of_the_device_are_these_bytes(name: str, case: dict[str, Any]) -> None:
    product, it = the_device(name, case)
    image = the_source(case)
    frames = {bytes.fromhex(asked): bytes.fromhex(said) for asked, said in case["frames"].items()}
    requests = [block.request for block in plan.blocks(product, it, {})]
    assert {speech.frame(request) for request in requests} == set(frames)
    for request in requests:
        found = speech.find(request, frames[speech.frame(request)])
        assert found is not None, f"no answer to {request}"
        assert speech.decode(request, found.pdu) == image.answer(request)


@pytest.mark.parametrize(("name", "case"), JUDGED)
def test_a_battery_test_that_ended_so_is_judged_so(name: str, case: dict[str, Any]) -> None:
    product, it = the_device(name, case)
    testing = product.battery_test
    (block,) = plan.point_blocks(product, it, testing.verdict, ())
    (reading,) = codec.decode(block, the_source(case).answer(block.request), product, it).values()
    assert testing.verdicts.get(reading) == case["verdict"]  # type: ignore[call-overload]


def test_some_cases_have_frames_and_a_verdict() -> None:
    assert FRAMED
    assert JUDGED


@pytest.mark.parametrize(("name", "minutes"), [("apc-modbus", 2), ("voltronic", 10)])
def test_a_battery_test_lasts_so_long_where_nothing_ends_it(name: str, minutes: int) -> None:
    product, it = the_device(name, {})
    assert amount(product.battery_test.minutes, product.parameters_of(it)) == minutes
