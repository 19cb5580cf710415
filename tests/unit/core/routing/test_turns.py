"""Relays share a route's mail by weight, and later tiers help out only while earlier ones are held."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from postlane.core.routing.routes import Route
from postlane.core.routing.turns import Readiness, RelayTurns

OPEN, BUSY, HELD = Readiness.OPEN, Readiness.BUSY, Readiness.HELD
ROUTE = Route(tiers=((("a", 3), ("b", 1)), (("spare", 1),)))


def test_a_tier_shares_by_weight() -> None:
    turns = RelayTurns()
    ready = {"a": OPEN, "b": OPEN, "spare": OPEN}
    assert [turns.choose(ROUTE, ready) for _ in range(8)] == ["a", "a", "b", "a"] * 2


def test_a_busy_relay_of_the_first_tier_is_waited_for() -> None:
    assert RelayTurns().choose(ROUTE, {"a": BUSY, "b": HELD, "spare": OPEN}) is None


def test_the_next_tier_sends_while_the_first_is_held() -> None:
    turns = RelayTurns()
    assert turns.choose(ROUTE, {"a": HELD, "b": HELD, "spare": OPEN}) == "spare"
    assert turns.choose(ROUTE, {"a": HELD, "b": OPEN, "spare": OPEN}) == "b"
    assert turns.choose(ROUTE, {"a": HELD, "b": HELD, "spare": HELD}) is None


def test_a_relay_that_comes_back_gets_its_share_and_no_more() -> None:
    turns = RelayTurns()
    for _ in range(1000):
        assert turns.choose(ROUTE, {"a": OPEN, "b": HELD, "spare": OPEN}) == "a"
    after = Counter(turns.choose(ROUTE, {"a": OPEN, "b": OPEN, "spare": OPEN}) for _ in range(40))
    assert after == {"a": 30, "b": 10}


@given(weights=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_over_a_round_every_relay_has_exactly_its_weight(weights: list[int]) -> None:
    route = Route(tiers=(tuple((str(number), weight) for number, weight in enumerate(weights)),))
    ready = dict.fromkeys(route.relays, OPEN)
    turns = RelayTurns()
    for _ in range(3):
        round_ = Counter(turns.choose(route, ready) for _ in range(sum(weights)))
        assert round_ == {str(number): weight for number, weight in enumerate(weights)}
