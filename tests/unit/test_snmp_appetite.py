"""How large a question an agent takes: learnt from refusals and silences, and never from one that was only away."""

from gantry_agent.field.bus.appetite import KEPT_S, Appetite


def served(appetite: Appetite, wanted: int, takes: int, now: float, *, says: bool = False) -> tuple[int, bool]:
    """Put one transaction of `wanted` to an agent that takes so many; tell the questions, and whether all came."""
    left, asked = wanted, 0
    while left:
        size, asked = appetite.helping(left, now), asked + 1
        if size <= takes:
            appetite.answered(size)
            left -= size
        elif says:
            appetite.too_big(size, now)
        elif not appetite.silent(size, now):
            return asked, False
    return asked, True


def test_a_refusal_halves_for_good():
    appetite = Appetite()
    assert served(appetite, 20, 6, 0.0, says=True) == (6, True)  # 20, 10, and four of 5
    assert appetite.most == 5
    assert served(appetite, 20, 6, 1.0, says=True) == (4, True)


def test_silence_of_large_questions_alone_halves_after_a_few():
    appetite, lost = Appetite(), 0
    for now in range(12):
        lost += not served(appetite, 20, 6, float(now))[1]
    assert appetite.most == 5
    assert lost <= 3
    assert served(appetite, 20, 6, 20.0) == (4, True)


def test_an_agent_that_was_away_is_asked_for_the_whole_again():
    appetite = Appetite()
    for now in range(30):
        assert not served(appetite, 20, 0, float(now))[1]
    for now in range(30, 34):
        assert served(appetite, 20, 99, float(now))[1]
    assert appetite.most is None
    assert served(appetite, 20, 99, 40.0) == (1, True)


def test_a_small_block_that_is_answered_says_nothing_about_the_large_one():
    appetite = Appetite()
    for now in range(8):
        served(appetite, 20, 12, float(now))
        assert served(appetite, 4, 12, float(now)) == (1, True)
    assert appetite.most == 10


def test_one_loss_changes_nothing():
    appetite = Appetite()
    assert not served(appetite, 20, 0, 0.0)[1]
    assert served(appetite, 20, 99, 1.0) == (1, True)
    assert not served(appetite, 20, 0, 2.0)[1]
    assert served(appetite, 20, 99, 3.0) == (1, True)


def test_the_measure_is_learnt_anew_once_a_day():
    appetite = Appetite()
    served(appetite, 20, 6, 0.0, says=True)
    assert served(appetite, 20, 99, KEPT_S - 1) == (4, True)
    assert served(appetite, 20, 99, KEPT_S) == (1, True)
    assert appetite.most is None


def test_a_single_oid_cannot_be_halved():
    appetite = Appetite()
    assert not any(served(appetite, 1, 0, float(now))[1] for now in range(9))
    assert served(appetite, 20, 99, 10.0) == (1, True)
