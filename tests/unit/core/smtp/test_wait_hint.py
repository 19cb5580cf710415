"""The times that relays name."""

import pytest

from postlane.core.smtp.wait_hint import WAIT_SECONDS_MAX, wait_hint


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Greylisted, please try again in 299 seconds", 299.0),
        ("please come back in 00:05:00", 300.0),
        ("come back in 1:30", 90.0),
        ("Retry after 2 minutes.", 120.0),
        ("Request is throttled. Suggested Backoff Time: 1500 milliseconds", 1.5),
        ("throttled, back off: 1500 milliseconds", 1.5),
        ("wait 250 ms", 0.25),
        ("try again in 1 hour", 3600.0),
        ("resumes in 5h", 18000.0),
        ("try again in 90 hours", WAIT_SECONDS_MAX),
        ("try again later from [192.0.2.7]", None),
        ("limit of 100 messages in 60 minutes", None),
        ("after 3 attempts", None),
        ("421 Timeout after 300 seconds", None),
        ("Greylisted for 5 minutes", 300.0),
        ("Too many login attempts, blocked for 1 hour", 3600.0),
        ("the limit is lifted in 20 min", 1200.0),
        ("try again in 2 days", WAIT_SECONDS_MAX),
        ("", None),
    ],
)
def test_waits_in_words(text: str, seconds: float | None) -> None:
    assert wait_hint(text) == seconds
