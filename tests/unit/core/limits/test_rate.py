"""Rates: spread, with a burst, and never more than the count in any period."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.limits.limit import BadLimitState
from postlane.core.limits.microseconds import MICRO, to_seconds, to_us
from postlane.core.limits.rate import burst_of, smooth_rate, strict_rate
from unit.core.limits.parts import NOW, NOW_US, budget


@pytest.mark.parametrize(("count", "burst"), [(1, 1), (14, 1), (30, 3), (100, 10)])
def test_the_burst_is_small(count: int, burst: int) -> None:
    assert burst_of(budget(f"{count} mails/s")) == burst


def test_a_burst_starts_at_once_then_one_by_one() -> None:
    rate = strict_rate(budget("30 mails/s"))
    starts = []
    now_us = NOW_US
    for _ in range(6):
        now_us = rate.earliest(1, now_us)
        rate.reserve(1, now_us)
        starts.append(now_us - NOW_US)
    assert starts[:3] == [0, 0, 0]
    assert starts[3:] == [rate.interval_us * n for n in (1, 2, 3)]


@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.floats(0, 0.7), st.integers(1, 12)), max_size=80),
)
def test_no_second_has_more_than_the_count(count: int, asks: list[tuple[float, int]]) -> None:
    rate, now = strict_rate(budget(f"{count} recipients/s")), NOW
    starts: list[tuple[float, int]] = []
    for pause, wanted in asks:
        units = min(wanted, count)
        now = max(now + pause, to_seconds(rate.earliest(units, to_us(now + pause))))
        assert rate.earliest(units, to_us(now)) == to_us(now)
        rate.reserve(units, to_us(now))
        starts.append((now, units))
    for begin, _ in starts:
        assert sum(units for at, units in starts if begin <= at < begin + 1.0) <= count


@given(st.integers(1, 40), st.integers(1, 200))
def test_the_forecast_is_when_a_greedy_sender_is_through(count: int, backlog: int) -> None:
    rate, now_us = smooth_rate(budget(f"{count} mails/min")), NOW_US
    forecast_us = rate.through(backlog, now_us)
    for _ in range(backlog):
        now_us = rate.earliest(1, now_us)
        rate.reserve(1, now_us)
    assert forecast_us == now_us


def test_a_mail_above_the_burst_rests_for_it() -> None:
    rate = strict_rate(budget("20 recipients/s"))
    rate.reserve(2, NOW_US)
    at_us = rate.earliest(20, NOW_US)
    assert at_us == NOW_US + 20 * rate.interval_us
    rate.reserve(20, at_us)
    assert rate.earliest(1, at_us) == at_us + 19 * rate.interval_us


def test_after_a_clock_was_set_back_nothing_waits_for_the_old_time() -> None:
    rate = strict_rate(budget("5 mails/s"))
    rate.reserve(1, NOW_US)
    yesterday_us = NOW_US - 86_400 * MICRO
    assert rate.earliest(1, yesterday_us) <= yesterday_us + 2 * MICRO


def test_people_read_the_spacing() -> None:
    assert smooth_rate(budget("30 mails/min")).describe(NOW_US) == "30 mails/minute, one every 2 s"


@pytest.mark.parametrize("state", [{}, {"due_us": None}, {"due_us": 1.5}, {"due_us": True}])
def test_a_state_that_makes_no_sense_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(BadLimitState, match="due_us"):
        strict_rate(budget("5 mails/s")).restore(state, NOW_US)
