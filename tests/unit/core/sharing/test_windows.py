from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.sharing.windows import SLICES, CalendarDay, CalendarHour, Rolling, Window

ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Africa/Cairo")
WINDOWS = [
    *(CalendarDay(ZoneInfo(name)) for name in ZONES),
    *(CalendarHour(ZoneInfo(name)) for name in ZONES[:4]),
    *(Rolling(seconds) for seconds in (60.0, 3600.0, 86400.0)),
]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@given(at=st.floats(1.6e9, 2.0e9))
def test_spans_hold_their_moment_and_meet(window: Window, at: float) -> None:
    span = window.span(at)
    assert span.starts <= at < span.ends
    assert window.span(span.starts) == window.span(span.ends - 0.001) == span
    assert window.span(span.ends).starts == span.ends


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 7, 1), 24)])
def test_days_are_as_long_as_the_zone_makes_them(day: tuple[int, int, int], hours: int) -> None:
    at = datetime(*day, 12, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    span = CalendarDay(ZoneInfo("Europe/Berlin")).span(at)
    assert (span.ends - span.starts) / 3600 == hours


def test_a_rolling_window_has_few_slices() -> None:
    span = Rolling(86400.0).span(datetime(2026, 7, 1, tzinfo=UTC).timestamp())
    assert 86400 / (span.ends - span.starts) <= SLICES
