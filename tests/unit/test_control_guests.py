"""Who may hold a connection to the control port, and who makes room."""

from hypothesis import given
from hypothesis import strategies as st

from gantry_agent.cloud.reception import CONNECTIONS, OF_ONE_ADDRESS, SETTLE_S, STRANGERS, Guest, Guests


class Crowd:
    """Guests with a note of who was sent away."""

    def __init__(self) -> None:
        self.guests = Guests()
        self.sent_away: list[str] = []

    def comes(self, address: str, now: float = 0.0, *, stranger: bool = False) -> Guest | None:
        return self.guests.admit(address, now, lambda: self.sent_away.append(address), stranger=stranger)


def test_a_full_port_lets_the_next_in_and_the_address_with_most_gives_up_its_oldest() -> None:
    crowd = Crowd()
    crowd.comes("cloud")
    for _ in range(CONNECTIONS + 100):
        assert crowd.comes("crowd")
    assert crowd.comes("another")
    assert len(crowd.guests) == CONNECTIONS
    assert set(crowd.sent_away) == {"crowd"}


def test_one_whose_request_is_answered_is_not_sent_away() -> None:
    crowd = Crowd()
    busy = [crowd.comes("cloud") for _ in range(CONNECTIONS)]
    for guest in busy:
        assert guest
        crowd.guests.begin(guest)
    assert crowd.comes("cloud") is None
    assert busy[0]
    crowd.guests.end(busy[0], 1.0)
    assert crowd.comes("another", 1.0)
    assert crowd.sent_away == ["cloud"]


def test_an_address_keeps_few_idle_connections_but_a_burst_may_settle() -> None:
    crowd = Crowd()
    for _ in range(2 * OF_ONE_ADDRESS):
        assert crowd.comes("cloud", 10.0)
    assert crowd.sent_away == []
    assert crowd.comes("cloud", 10.0 + SETTLE_S)
    assert len(crowd.guests) == OF_ONE_ADDRESS


def test_strangers_get_a_few_places_and_displace_nobody() -> None:
    crowd = Crowd()
    for number in range(100):
        crowd.comes(f"stranger {number}", stranger=True)
    assert len(crowd.guests) == STRANGERS
    assert crowd.sent_away == []
    assert crowd.comes("cloud")


def test_one_that_is_gone_leaves_its_place() -> None:
    crowd = Crowd()
    guest = crowd.comes("cloud")
    assert guest
    crowd.guests.gone(guest)
    crowd.guests.end(guest, 1.0)
    assert len(crowd.guests) == 0


@given(st.lists(st.tuples(st.sampled_from("abcdefghi"), st.booleans(), st.floats(0, 100))))
def test_there_are_never_more_than_there_are_places(comers: list[tuple[str, bool, float]]) -> None:
    crowd = Crowd()
    for address, stranger, now in sorted(comers, key=lambda comer: comer[2]):
        assert crowd.comes(address, now, stranger=stranger) or stranger
        assert len(crowd.guests) <= CONNECTIONS
