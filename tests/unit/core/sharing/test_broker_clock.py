from hypothesis import given
from hypothesis import strategies as st

from postlane.core.sharing.broker_clock import BrokerClock
from postlane.core.sharing.terms import DRIFT

EVENTS = st.lists(
    st.tuples(st.floats(0, 3600), st.floats(0, 5), st.floats(0, 5), st.booleans()), min_size=1, max_size=20
)


def test_nothing_is_known_before_something_is_read() -> None:
    clock = BrokerClock()
    assert clock.earliest(5.0) is None
    clock.was_read(100.0, 5.0)
    assert clock.earliest(5.0) == 100.0
    assert clock.latest(5.0) is None


@given(rate=st.floats(1 - DRIFT, 1 + DRIFT), shift=st.floats(-1e6, 1e6), events=EVENTS)
def test_the_bounds_hold_whatever_our_clock_shows(
    rate: float, shift: float, events: list[tuple[float, float, float, bool]]
) -> None:
    clock, true = BrokerClock(), 1.79e9
    begin = true

    def ours(at: float) -> float:
        return (at - begin) * rate + shift

    for pause, writing, reading, own in events:
        true += pause
        decided, appended = ours(true), true + writing
        true = appended + reading
        clock.was_read(appended, ours(true))
        if own:
            clock.was_written(appended, decided, ours(true))
        earliest, latest = clock.earliest(ours(true)), clock.latest(ours(true))
        assert earliest is not None
        assert earliest <= true + 1e-3
        assert latest is None or latest >= true - 1e-3
