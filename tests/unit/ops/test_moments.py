"""Times as people type them."""

from datetime import UTC, datetime, timedelta

import pytest

from postlane.ops.moments import read_future, read_past

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("30s", timedelta(seconds=30)),
        ("15m", timedelta(minutes=15)),
        (" 2h ", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
    ],
)
def test_a_span_counts_from_now(text: str, span: timedelta) -> None:
    assert read_past(text, NOW) == NOW - span
    assert read_future(text, NOW) == NOW + span


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T08:00", datetime(2026, 1, 31, 8, tzinfo=UTC)),
        ("2026-01-31T08:00+02:00", datetime(2026, 1, 31, 6, tzinfo=UTC)),
        ("2026-01-31T08:00:00Z", datetime(2026, 1, 31, 8, tzinfo=UTC)),
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise(text: str, at: datetime) -> None:
    assert read_past(text, NOW) == at
    assert read_future(text, NOW) == at


@pytest.mark.parametrize("text", ["", "yesterday", "15", "m", "-3d", "1w", "2026-13-01"])
def test_anything_else_is_refused_with_the_forms_that_are_taken(text: str) -> None:
    with pytest.raises(ValueError, match="30s, 15m, 2h, 3d"):
        read_past(text, NOW)
