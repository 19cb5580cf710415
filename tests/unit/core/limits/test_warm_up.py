"""The ramp of a new relay."""

from datetime import UTC, date, datetime

import pytest

from postlane.core.limits.microseconds import to_us
from postlane.core.limits.warm_up import BadWarmUp, WarmUp, parse_warm_up, warm_up_ledger

RAMP = "50, 100, 200, 500, 1000*2, then unlimited"
SINCE = date(2026, 5, 28)


def day_us(day: int) -> int:
    return to_us(datetime(2026, 5, day, 9, tzinfo=UTC).timestamp())


def test_words_are_read() -> None:
    assert parse_warm_up(RAMP) == WarmUp((50, 100, 200, 500, 1000, 1000), None)
    assert parse_warm_up("50*3,then 5000") == WarmUp((50, 50, 50), 5000)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("", "say what comes after it"),
        ("50, 100", "it ends with '100'; say what comes after it"),
        ("then unlimited", "say what comes after it"),
        ("50, , then unlimited", "'' is not a count"),
        ("0, then unlimited", "'0' is not a count"),
        ("50*0, then unlimited", "'50*0' is not a count"),
        ("50*x, then unlimited", "'50*x' is not a count"),
        ("5000000000, then unlimited", "is not a count of mails from 1 to 1000000000"),
        ("50*367, then unlimited", "more than 366 days"),
        ("50, then 0", "names no count"),
        ("50, then much", "say what comes after it"),
    ],
)
def test_a_fault_is_named_with_an_example(words: str, fault: str) -> None:
    with pytest.raises(BadWarmUp) as caught:
        parse_warm_up(words)
    assert fault in str(caught.value)
    assert "`50, 100, 200, 500, 1000*2, then unlimited`" in str(caught.value)


@pytest.mark.parametrize(("day", "cap"), [(27, 50), (28, 50), (29, 100), (30, 200), (31, 500)])
def test_each_day_has_its_cap(day: int, cap: int) -> None:
    ramp = warm_up_ledger(parse_warm_up(RAMP), SINCE, UTC)
    now_us = day_us(day)
    ramp.reserve(cap, now_us)
    assert ramp.earliest(1, now_us) > now_us
    ramp.give_back(1)
    assert ramp.earliest(1, now_us) == now_us


def test_after_the_ramp_there_is_no_limit_or_the_last() -> None:
    later_us = to_us(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
    free = warm_up_ledger(parse_warm_up(RAMP), SINCE, UTC)
    free.reserve(10**7, later_us)
    assert free.earliest(1, later_us) == later_us
    assert free.describe(later_us) == "warm-up since 2026-05-28: 10000000 used in this day"
    capped = warm_up_ledger(parse_warm_up("50, then 70"), SINCE, UTC)
    capped.reserve(70, later_us)
    assert capped.earliest(1, later_us) > later_us


def test_a_backlog_climbs_the_ramp() -> None:
    ramp = warm_up_ledger(parse_warm_up("50, 100, then unlimited"), SINCE, UTC)
    now_us = day_us(28)
    midnights = [to_us(datetime(2026, 5, day, tzinfo=UTC).timestamp()) for day in (29, 30)]
    assert [ramp.through(mails, now_us) for mails in (50, 51, 150, 151, 10**6)] == [
        now_us,
        midnights[0],
        midnights[0],
        midnights[1],
        midnights[1],
    ]
