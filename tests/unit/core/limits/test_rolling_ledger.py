"""A rolling budget: never exceeded, and late by a bounded time."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from postlane.core.limits.microseconds import MICRO
from postlane.core.limits.rolling_ledger import BUCKETS, RollingLedger
from unit.core.limits.parts import NOW_US, budget

HOUR_US = 3600 * MICRO
LATE_US = HOUR_US // BUCKETS


def ledger(count: int) -> RollingLedger:
    return RollingLedger(budget(f"{count} recipients/hour"))


def use(used: RollingLedger, units: int, now_us: int) -> None:
    used.reserve(units, now_us)
    used.settle(units, now_us)


def test_a_unit_comes_back_after_the_period_and_at_most_a_bucket_later() -> None:
    used = ledger(10)
    use(used, 10, NOW_US)
    back_us = used.earliest(1, NOW_US)
    assert NOW_US + HOUR_US < back_us <= NOW_US + HOUR_US + LATE_US
    assert used.earliest(1, back_us - 1) == back_us
    assert used.earliest(10, back_us) == back_us


def test_what_is_in_flight_counts_until_it_has_come_back_and_a_period_longer() -> None:
    used = ledger(10)
    used.reserve(10, NOW_US)
    late_us = NOW_US + 5 * HOUR_US
    assert used.earliest(1, late_us) > late_us + HOUR_US
    used.settle(10, late_us)
    assert used.earliest(1, late_us) > late_us + HOUR_US


def test_what_is_given_back_was_never_used() -> None:
    used = ledger(10)
    used.reserve(10, NOW_US)
    used.give_back(10)
    assert used.earliest(10, NOW_US) == NOW_US


def test_asking_changes_nothing() -> None:
    used = ledger(10)
    use(used, 10, NOW_US)
    before = used.export()
    used.earliest(1, NOW_US + 10 * HOUR_US)
    used.through(1000, NOW_US + 10 * HOUR_US)
    used.describe(NOW_US + 10 * HOUR_US)
    assert used.export() == before
    assert used.earliest(1, NOW_US) > NOW_US


def test_a_clock_that_is_set_back_gives_nothing_back() -> None:
    used = ledger(10)
    use(used, 6, NOW_US)
    use(used, 4, NOW_US - 2 * HOUR_US)
    assert used.earliest(1, NOW_US) > NOW_US + HOUR_US


def test_no_backlog_takes_no_time() -> None:
    used = ledger(1)
    use(used, 1, NOW_US)
    assert used.through(0, NOW_US) == NOW_US


def test_people_read_how_much_is_used() -> None:
    used = ledger(10)
    use(used, 4, NOW_US)
    used.reserve(3, NOW_US)
    assert used.describe(NOW_US) == "10 recipients/hour: 7 used in the last hour"
    assert used.describe(NOW_US + 2 * HOUR_US) == "10 recipients/hour: 3 used in the last hour"


steps = st.lists(
    st.tuples(st.integers(0, HOUR_US // 4), st.integers(1, 5), st.integers(0, HOUR_US // 3)), max_size=60
)


@given(st.integers(5, 20), steps)
def test_no_hour_has_more_than_the_budget_whenever_the_relay_counts(
    count: int, moves: list[tuple[int, int, int]]
) -> None:
    """Each mail counts at the worst moment between its start and its end."""
    used, now_us = ledger(count), NOW_US
    flying: deque[tuple[int, int, int]] = deque()
    spans: list[tuple[int, int, int]] = []
    for pause_us, units, lasts_us in moves:
        now_us += pause_us
        for ends_us, started_us, before in sorted(flying):
            if ends_us <= now_us:
                used.settle(before, ends_us)
                flying.remove((ends_us, started_us, before))
        if used.earliest(units, now_us) <= now_us:
            used.reserve(units, now_us)
            flying.append((now_us + lasts_us, now_us, units))
            spans.append((now_us, now_us + lasts_us, units))
        assert len(used._buckets) <= BUCKETS + 2
    ends = [end for _, end, _ in spans]
    for begin_us in ends:  # the worst hour begins when a mail ends
        inside = [units for start, end, units in spans if end >= begin_us and start < begin_us + HOUR_US]
        assert sum(inside) <= count


@given(st.integers(5, 20), steps, st.integers(1, 5))
def test_the_time_that_is_named_is_neither_early_nor_a_bucket_late(
    count: int, moves: list[tuple[int, int, int]], wanted: int
) -> None:
    used, now_us = ledger(count), NOW_US
    history: list[tuple[int, int]] = []
    for pause_us, units, _ in moves:
        now_us += pause_us
        if used.earliest(units, now_us) <= now_us:
            use(used, units, now_us)
            history.append((now_us, units))

    def exact(at_us: int) -> bool:
        return sum(units for when, units in history if when > at_us - HOUR_US) + wanted <= count

    named_us = used.earliest(wanted, now_us)
    assert exact(named_us)
    assert used.earliest(wanted, named_us) == named_us
    if named_us > now_us:
        assert used.earliest(wanted, named_us - 1) == named_us
        assert not exact(max(now_us, named_us - LATE_US - 1))


@given(st.integers(1, 12), steps, st.integers(1, 60))
def test_the_forecast_is_when_a_greedy_sender_is_through(
    count: int, moves: list[tuple[int, int, int]], backlog: int
) -> None:
    used, now_us = ledger(count), NOW_US
    for pause_us, units, _ in moves:
        now_us += pause_us
        if units <= count and used.earliest(units, now_us) <= now_us:
            use(used, units, now_us)
    forecast_us = used.through(backlog, now_us)
    for _ in range(backlog):
        now_us = used.earliest(1, now_us)
        use(used, 1, now_us)
    assert forecast_us == now_us
