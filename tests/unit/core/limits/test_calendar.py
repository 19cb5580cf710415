"""Calendar windows and what is used of them, also on days on which clocks are changed."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.limits.budgets import Period
from postlane.core.limits.calendar_ledger import WINDOWS_MAX, CalendarLedger, calendar_ledger
from postlane.core.limits.calendar_windows import midnight_us, window_at
from postlane.core.limits.microseconds import MICRO, to_us
from unit.core.limits.parts import AUTUMN, BERLIN, SPRING, berlin_us, budget

HOUR_US = 3600 * MICRO


def ledger(words: str) -> CalendarLedger:
    wanted = budget(words)
    assert wanted.zone is not None
    return calendar_ledger(wanted, wanted.zone)


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        (date(2026, 5, 28), "Europe/Berlin", 24),
        (SPRING, "Europe/Berlin", 23),
        (AUTUMN, "Europe/Berlin", 25),
        (date(2026, 4, 5), "Australia/Lord_Howe", 24.5),
        (date(2026, 4, 24), "Africa/Cairo", 23),  # midnight is skipped
        (date(2026, 11, 1), "America/Havana", 25),  # midnight comes twice
        (date(2018, 2, 17), "America/Sao_Paulo", 25),  # the hour before midnight comes twice
    ],
)
def test_a_day_is_as_long_as_it_is(day: date, zone: str, hours: float) -> None:
    where = ZoneInfo(zone)
    begin, end = midnight_us(day, where), midnight_us(day + timedelta(days=1), where)
    assert end - begin == hours * HOUR_US
    for moment_us in (begin, begin + HOUR_US, (begin + end) // 2, end - 1):
        assert window_at(moment_us, Period.DAY, where).end_us == end
    assert window_at(end, Period.DAY, where).end_us > end


def test_a_day_that_does_not_exist_is_passed_over() -> None:
    where = ZoneInfo("Pacific/Apia")  # there was no 2011-12-30
    last = window_at(midnight_us(date(2011, 12, 29), where), Period.DAY, where)
    assert window_at(last.end_us, Period.DAY, where).day == date(2011, 12, 31)


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2050, 1, 1)),  # noqa: DTZ001 - Hypothesis wants them naive
    st.sampled_from(
        ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]
    ),
    st.sampled_from([Period.HOUR, Period.DAY]),
)
def test_a_window_ends_later_and_is_the_same_until_then(at: datetime, zone: str, period: Period) -> None:
    where = ZoneInfo(zone)
    now_us = to_us(at.replace(tzinfo=UTC).timestamp())
    window = window_at(now_us, period, where)
    assert now_us < window.end_us <= now_us + (25 * HOUR_US if period is Period.DAY else HOUR_US)
    if period is Period.DAY:
        assert window_at(window.end_us - 1, period, where) == window
        assert window_at(window.end_us, period, where).day > window.day


def test_hours_are_those_of_the_zone() -> None:
    at_us = to_us(datetime(2026, 5, 28, 12, 10, tzinfo=UTC).timestamp())  # 17:40 in Kolkata
    assert window_at(at_us, Period.HOUR, ZoneInfo("Asia/Kolkata")).end_us == at_us + 20 * 60 * MICRO


@pytest.mark.parametrize(("day", "hours"), [(SPRING, 23), (AUTUMN, 25)])
def test_a_used_up_day_waits_for_midnight_there(day: date, hours: int) -> None:
    used = ledger("3 mails/day calendar Europe/Berlin")
    begin = midnight_us(day, BERLIN)
    used.reserve(3, begin)
    used.settle(3, begin)
    assert used.earliest(1, begin) == begin + hours * HOUR_US
    assert used.earliest(1, begin + hours * HOUR_US - 1) == begin + hours * HOUR_US
    assert used.earliest(3, begin + hours * HOUR_US) == begin + hours * HOUR_US


def test_mail_in_flight_at_midnight_counts_for_both_days() -> None:
    used = ledger("3 mails/day calendar Europe/Berlin")
    before, after = berlin_us("2026-05-28T23:59"), berlin_us("2026-05-29T00:01")
    used.reserve(2, before)
    assert used.earliest(2, before) == berlin_us("2026-05-29T00:00")
    assert used.earliest(2, after) == berlin_us("2026-05-30T00:00")
    used.settle(2, after)
    assert used.earliest(2, after) == berlin_us("2026-05-30T00:00")
    assert used.earliest(1, after) == after


def test_what_is_given_back_was_never_used() -> None:
    used = ledger("3 mails/day calendar UTC")
    used.reserve(3, 0)
    used.give_back(3)
    assert used.earliest(3, 0) == 0


def test_a_clock_that_is_set_back_gives_nothing_back() -> None:
    used = ledger("3 mails/day calendar Europe/Berlin")
    today = berlin_us("2026-05-28T12:00")
    used.reserve(3, today)
    used.settle(3, today)
    assert used.earliest(1, today - 24 * HOUR_US) == berlin_us("2026-05-29T00:00")


def test_a_backlog_goes_out_day_by_day() -> None:
    used = ledger("100 mails/day calendar Europe/Berlin")
    now = berlin_us("2026-10-24T12:00")
    used.reserve(40, now)
    used.settle(40, now)
    assert used.through(60, now) == now
    assert used.through(61, now) == berlin_us("2026-10-25T00:00")
    assert used.through(160, now) == berlin_us("2026-10-25T00:00")
    assert used.through(161, now) == berlin_us("2026-10-26T00:00")
    assert used.through(100 * (WINDOWS_MAX + 1), now) is None


def test_people_read_how_much_is_used() -> None:
    used = ledger("3 mails/hour calendar UTC")
    used.reserve(2, 0)
    used.settle(1, 0)
    assert used.describe(0) == "3 mails/hour calendar UTC: 2 of 3 used in this hour"
