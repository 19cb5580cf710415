"""A replay's rate: how people write it, and that it is never faster."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.dlq import BATCH_MAILS_MAX
from postlane.core.replay_rate import ReplayClock, ReplayRate, parse_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("300/min", ReplayRate(300, 60.0)),
        ("5/s", ReplayRate(5, 1.0)),
        (" 1000 / hour ", ReplayRate(1000, 3600.0)),
        ("10/m", ReplayRate(10, 60.0)),
    ],
)
def test_it_is_read_as_people_write_it(text: str, rate: ReplayRate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "300",
        "/min",
        "300/",
        "0/s",
        "-5/s",
        "1.5/s",
        "5/fortnight",
        "5 mails/s",
        "5/day calendar UTC",
        "5/s/s",
    ],
)
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate such as 300/min, 5/s or 1000/hour"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "mails"), [("10/min", 1), ("300/min", 5), ("5/s", 5), ("5000/s", BATCH_MAILS_MAX)]
)
def test_a_transaction_holds_what_is_due_in_a_second(text: str, mails: int) -> None:
    assert parse_rate(text).batch_mails == mails


def test_how_long_it_takes() -> None:
    assert parse_rate("300/min").seconds_for(10_000) == 2000.0


@given(
    st.integers(1, 1000),
    st.sampled_from([1.0, 60.0, 3600.0]),
    st.lists(st.tuples(st.integers(1, 200), st.floats(0, 1e4)), min_size=1, max_size=30),
)
def test_it_is_never_faster_whatever_delays_it(
    mails: int, seconds: float, batches: list[tuple[int, float]]
) -> None:
    rate, now = ReplayRate(mails, seconds), 1000.0
    clock = ReplayClock(rate)
    begun: list[tuple[float, int]] = []
    for count, delay in batches:
        now += clock.wait_seconds(now)
        begun.append((now, count))
        clock.written(count, now)
        now += delay
    for index, (start, _) in enumerate(begun):
        for end in range(index + 1, len(begun)):
            between = sum(count for _, count in begun[index:end])
            assert begun[end][0] - start >= rate.seconds_for(between) * (1 - 1e-9) - 1e-6
