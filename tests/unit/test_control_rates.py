"""How often an address may ask (D5), in stepped time."""

from gantry_agent.cloud.rates import ADDRESSES, Rates, asker_at


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


def fail(rates: Rates, at: float, address: str = "a") -> int:
    """Guess until the door closes; return how often."""
    for guesses in range(100):
        if rates.admit(address, at) != "admitted":
            return guesses
        rates.failed(address, at)
    raise AssertionError("guessing goes on")


def opens(rates: Rates, after: float) -> float:
    """When the address is let in again, to the second."""
    return next(after + wait for wait in range(10_000) if rates.admit("a", after + wait) == "admitted")


def test_failed_authentication_closes_for_a_minute_and_each_time_for_twice_as_long_up_to_a_quarter_of_an_hour():
    rates, now, closed = Rates(1000, failures_per_minute=4), 0.0, []
    for _ in range(6):
        assert fail(rates, now) <= 4
        closed.append(opens(rates, now) - now)
        now += closed[-1]
    assert closed == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0]


def test_the_right_code_or_an_hour_forgives():
    rates = Rates(1000, failures_per_minute=4)
    fail(rates, 0.0)
    assert opens(rates, 0.0) == 60.0
    rates.passed("a")
    fail(rates, 60.0)
    assert opens(rates, 60.0) == 120.0
    fail(rates, 120.0)
    assert opens(rates, 120.0) == 240.0
    fail(rates, 240.0 + 3601.0)
    assert opens(rates, 3841.0) == 3901.0


def test_all_day_long_a_code_can_be_guessed_some_hundred_times():
    rates, now, guesses = Rates(1000), 0.0, 0
    while now < 86_400.0:
        guesses += fail(rates, now)
        now = opens(rates, now)
    assert guesses < 1000


def test_a_clock_that_stands_still_or_runs_back_gives_nothing_away():
    rates = Rates(1)
    assert rates.admit("a", 10.0) == "admitted"
    assert rates.admit("a", 5.0) == "refused first"


def test_whoever_has_a_network_of_ipv6_addresses_is_one_asker():
    assert asker_at("fe80::1:2%eth0") == asker_at("fe80::ffff:3") != asker_at("fe80:0:0:1::1")
    assert [asker_at(one) for one in ("10.0.0.5", "10.0.0.6", "")] == ["10.0.0.5", "10.0.0.6", ""]


def test_only_so_many_addresses_are_remembered():
    rates = Rates(1)
    for number in range(ADDRESSES + 1):
        rates.admit(str(number), 0.0)
    assert rates.admit(str(ADDRESSES), 0.0) == "refused first"
    assert rates.admit("0", 0.0) == "admitted"  # forgotten
