"""What is owed on a line, step by step: whoever may ask never has another's answer before him, and everybody may ask.

The model knows of every answer whether it is still on its way; the account under test does not.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.field.bus.debts import DOUBT_S, FIRST_S, Debts
from gantry_agent.field.framing import speech
from gantry_agent.field.request import AskText, AskYdt, ReadBits, ReadRegisters, WriteBit, WriteRegisters

RESPONSE_S = 0.3
HELD_S = 2 * RESPONSE_S
CLEAR_S = HELD_S + DOUBT_S
QUESTIONS = (
    *(ReadRegisters(1, 3, address, 4) for address in (0, 10, 20)),
    *(ReadRegisters(1, 3, 0, 2), ReadRegisters(1, 4, 0, 4), ReadRegisters(2, 3, 0, 4), ReadBits(1, 1, 0, 8)),
    *(ReadBits(1, 1, 8, 3), WriteBit(1, 0, True), WriteBit(1, 0, False)),
    *(WriteRegisters(1, 16, 0, (1, 2)), WriteRegisters(1, 16, 0, (3, 4))),
    *(AskYdt(5, 0x21, 0x41, cid2, b"") for cid2 in (0x42, 0x43)),
    *(AskText(6, "Q1"), AskText(6, "QS"), AskText(6, "F")),
)
STEP = st.tuples(st.sampled_from(QUESTIONS), st.floats(0.0, 4.0), st.sampled_from(["own", "older", "lost", "lost"]))


def ask(debts: Debts, request, now: float) -> None:
    debts.asked(request, now, now + RESPONSE_S, RESPONSE_S)


@given(st.lists(STEP, max_size=40))
def test_nobody_is_asked_while_an_answer_may_come_that_looks_like_his_and_is_anothers(steps):
    debts, now = Debts(), 0.0
    coming = []  # (request, until when it may come)
    for request, pause_s, fate in steps:
        now = max(now + pause_s, debts.held_until(request, now + pause_s))
        coming = [one for one in coming if one[1] > now]
        rivals = [one for one, _ in coming if speech.shape(one) == speech.shape(request) and one != request]
        assert not rivals
        ask(debts, request, now)
        older = [one for one in coming if one[0] == request]
        coming.append((request, now + CLEAR_S - 1e-6))
        now += 0.1
        if fate == "own":
            coming.pop()
            debts.paid(request)
        elif fate == "older" and older:  # and nobody can see that
            coming.remove(older[0])
            debts.paid(request)
        else:
            now += RESPONSE_S


@given(st.lists(st.tuples(st.sampled_from(QUESTIONS[:3]), st.floats(0.0, 1.0), st.booleans()), max_size=20))
def test_a_question_that_waits_is_not_put_off_by_others_being_repeated(steps):
    debts, now, waiting = Debts(), HELD_S, QUESTIONS[1]
    ask(debts, QUESTIONS[0], 0.0)
    at = debts.held_until(waiting, now)
    assert at == pytest.approx(CLEAR_S)
    for request, pause_s, answered in steps:
        now += pause_s
        if now < at and debts.held_until(request, now) <= now:
            ask(debts, request, now)
            if answered:
                debts.paid(request)
        assert debts.held_until(waiting, now) == max(at, now)


def test_the_same_question_is_asked_again_after_the_hold_unless_another_waits():
    debts, (first, second, _) = Debts(), QUESTIONS[:3]
    ask(debts, first, 0.0)
    assert debts.held_until(first, 0.1) == HELD_S
    assert debts.held_until(first, 1.0) == 1.0
    assert debts.held_until(second, 1.0) == CLEAR_S
    assert debts.held_until(first, 1.0) == CLEAR_S + FIRST_S
    assert debts.held_until(second, CLEAR_S + 0.1) == CLEAR_S + 0.1
    assert debts.held_until(first, CLEAR_S + 0.1) == CLEAR_S + FIRST_S  # the one that waited goes first
    assert debts.held_until(first, CLEAR_S + 2.0) == CLEAR_S + 2.0


def test_of_two_askings_one_answer_leaves_the_other_to_come():
    debts, (first, second, _) = Debts(), QUESTIONS[:3]
    ask(debts, first, 0.0)
    ask(debts, first, 1.0)
    debts.paid(first)
    assert debts.held_until(second, 2.0) == 1.0 + CLEAR_S


def test_an_answer_that_has_come_is_owed_no_more():
    debts, (first, second, _) = Debts(), QUESTIONS[:3]
    ask(debts, first, 0.0)
    assert debts.came_late(first, 0.4) == pytest.approx(0.4)
    assert debts.held_until(second, 0.4) == 0.4
    ask(debts, first, 1.0)
    ask(debts, first, 2.0)
    assert debts.came_late(first, 2.4) is None  # to one of two askings
    assert debts.held_until(second, 3.0) == 2.0 + CLEAR_S


def test_a_refusal_is_disputed_while_another_question_by_the_same_function_is_owed_for():
    debts = Debts()
    ask(debts, ReadRegisters(1, 3, 0, 4), 0.0)
    assert debts.disputed(ReadRegisters(1, 3, 0, 2), 1.0)
    assert debts.disputed(ReadRegisters(1, 3, 9, 4), 1.0)
    assert not debts.disputed(ReadRegisters(1, 3, 0, 4), 1.0)
    assert not debts.disputed(ReadRegisters(1, 4, 0, 4), 1.0)
    assert not debts.disputed(ReadRegisters(2, 3, 0, 4), 1.0)
    assert not debts.disputed(ReadRegisters(1, 3, 0, 2), CLEAR_S)
    ask(debts, AskText(6, "Q1"), 0.0)
    assert debts.disputed(AskText(6, "T", answered=False), 1.0)


def test_the_account_forgets_what_can_no_longer_come():
    debts = Debts()
    for n in range(1000):
        ask(debts, ReadRegisters(1 + n % 247, 3, n, 1 + n % 100), 1.0 * n)
    assert len(debts._doubts) <= CLEAR_S + FIRST_S + 1
