"""Whether a recipient may be put on the suppression list by itself, given what is known of the address already."""

from datetime import datetime

from postlane.core.events.command import Command, Wish


def may_suppress(newest: Command | None, reported_at: datetime, now: datetime) -> bool:
    """Add if absent: an entry that holds stays as it is (a person may have made it, and for longer), and so does a leave given after the report."""
    if newest is None:
        return True
    match newest.wish:
        case Wish.SUPPRESS_RECIPIENT:
            return newest.expires_at is not None and newest.expires_at <= now
        case Wish.ALLOW_RECIPIENT:
            return newest.issued_at < reported_at
        case _:
            return False  # a newer wish than we know
