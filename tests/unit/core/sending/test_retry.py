"""Retry schedules and what follows a failure."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.sending.retry import BadSchedule, GiveUp, RetryAt, RetryPolicy, Wait, parse_schedule

POLICY = RetryPolicy(
    delays_seconds=(30.0, 120.0), jitter_share=0.2, age_max_seconds=1000.0, memory_delay_seconds=20.0
)


@pytest.mark.parametrize(
    ("text", "delays"),
    [
        ("30s", (30.0,)),
        ("30s, 2m*3, 1h", (30.0, 120.0, 120.0, 120.0, 3600.0)),
        ("0.5s,1d", (0.5, 86400.0)),
    ],
)
def test_a_schedule_is_read(text: str, delays: tuple[float, ...]) -> None:
    assert parse_schedule(text) == delays


@pytest.mark.parametrize("text", ["", "30", "30x", "2m*0", "2m*", "-1s", "1h,,2h"])
def test_a_bad_schedule_names_its_step(text: str) -> None:
    with pytest.raises(BadSchedule, match="is not like 30s"):
        parse_schedule(text)


def test_the_last_delay_repeats() -> None:
    decision = POLICY.after_failure(99, 0.0, 0.0, Wait(cause="c", jitter=0.5))
    assert decision == RetryAt(120.0)


@given(st.floats(0, 0.999), st.integers(1, 5))
def test_jitter_stays_within_its_share(jitter: float, attempt: int) -> None:
    decision = POLICY.after_failure(attempt, 100.0, 0.0, Wait(cause="c", jitter=jitter))
    base = 30.0 if attempt == 1 else 120.0
    assert isinstance(decision, RetryAt)
    assert base * 0.8 <= decision.due - 100.0 <= base * 1.2


def test_a_wait_named_by_the_relay_is_a_floor() -> None:
    assert POLICY.after_failure(1, 0.0, 0.0, Wait(cause="c", jitter=0.5, asked_seconds=500.0)) == RetryAt(
        500.0
    )
    assert POLICY.after_failure(1, 0.0, 0.0, Wait(cause="c", jitter=0.5, asked_seconds=1.0)) == RetryAt(30.0)


def test_at_once_means_at_once() -> None:
    assert POLICY.after_failure(1, 7.0, 0.0, Wait(cause="c", jitter=0.5, asked_seconds=0.0)) == RetryAt(7.0)


def test_too_old_is_given_up() -> None:
    decision = POLICY.after_failure(3, 0.0, 950.0, Wait(cause="c", jitter=0.5))
    assert isinstance(decision, GiveUp)
    assert "after 3 attempts" in decision.reason


def test_a_retry_never_lies_beyond_the_requests_end() -> None:
    assert POLICY.after_failure(2, 0.0, 0.0, Wait(cause="c", jitter=0.5, expires_at=50.0)) == RetryAt(50.0)


def test_after_its_end_it_is_given_up() -> None:
    assert isinstance(
        POLICY.after_failure(1, 60.0, 0.0, Wait(cause="c", jitter=0.5, expires_at=50.0)), GiveUp
    )


def test_a_cause_may_have_delays_of_its_own() -> None:
    policy = replace(POLICY, by_cause={"greylisted": (60.0, 300.0)})
    waits = [policy.after_failure(n, 0.0, 0.0, Wait(cause="greylisted", jitter=0.5)) for n in (1, 2, 3)]
    assert waits == [RetryAt(60.0), RetryAt(300.0), RetryAt(300.0)]
    assert policy.after_failure(1, 0.0, 0.0, Wait(cause="c", jitter=0.5)) == RetryAt(30.0)
