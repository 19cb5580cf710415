"""What stands on the list, or was taken off it, is left alone."""

from datetime import UTC, datetime, timedelta

import pytest

from postlane.core.control.additions import may_suppress
from postlane.core.events.command import Command, Wish

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)


def said(wish: Wish, ago: timedelta, ends: datetime | None = None) -> Command:
    return Command(
        command_id="c", issued_at=NOW - ago, issued_by="kim", wish=wish, recipient="a@b.test", expires_at=ends
    )


@pytest.mark.parametrize(
    ("newest", "allowed"),
    [
        (None, True),
        (said(Wish.SUPPRESS_RECIPIENT, HOUR), False),
        (said(Wish.SUPPRESS_RECIPIENT, HOUR, NOW + HOUR), False),
        (said(Wish.SUPPRESS_RECIPIENT, 2 * HOUR, NOW - HOUR), True),
        (said(Wish.ALLOW_RECIPIENT, 2 * HOUR), True),  # and has bounced since
        (said(Wish.ALLOW_RECIPIENT, HOUR / 2), False),  # the bounce is older than the leave
        (said(Wish.OTHER, HOUR), False),
    ],
)
def test_add_if_absent(newest: Command | None, *, allowed: bool) -> None:
    assert may_suppress(newest, reported_at=NOW - HOUR, now=NOW) is allowed
