"""How often an address may ask (D5), in stepped time."""

from gantry_agent.cloud.rates import ADDRESSES, Rates


def test_a_minute_s_worth_passes_at_once_and_then_one_each_share_of_a_minute():
    rates = Rates(60)
    assert [rates.admit("a", 0.0) for _ in range(62)] == ["admitted"] * 60 + ["refused first", "refused"]
    assert rates.admit("a", 1.0) == "admitted"
    assert rates.admit("a", 1.0) == "refused first"


def test_addresses_do_not_share():
    rates = Rates(1)
    assert [rates.admit(address, 0.0) for address in "abab"] == [
        "admitted",
        "admitted",
        "refused first",
        "refused first",
    ]


def test_failed_authentication_closes_sooner_and_opens_again():
    rates = Rates(1000, failures_per_minute=3)
    for _ in range(3):
        assert rates.admit("a", 0.0) == "admitted"
        rates.failed("a", 0.0)
    assert rates.admit("a", 0.0) == "refused first"
    assert rates.admit("a", 19.0) == "refused"
    assert rates.admit("a", 20.1) == "admitted"


def test_a_clock_that_stands_still_or_runs_back_gives_nothing_away():
    rates = Rates(1)
    assert rates.admit("a", 10.0) == "admitted"
    assert rates.admit("a", 5.0) == "refused first"


def test_only_so_many_addresses_are_remembered():
    rates = Rates(1)
    for number in range(ADDRESSES + 1):
        rates.admit(str(number), 0.0)
    assert rates.admit(str(ADDRESSES), 0.0) == "refused first"
    assert rates.admit("0", 0.0) == "admitted"  # forgotten
