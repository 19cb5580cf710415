"""Which mails of a folder still wait to be flagged, moved or deleted: those whose events are durable, and no others.

The set is written with the cursor, so that the next owner repeats what a crash cut off. It is exact: a mail that was quarantined or passed over, or that
came to light late, is never in it.
"""

from dataclasses import dataclass, replace

from postlane.core.events.received import MailboxCursor
from postlane.core.polling import uid_ranges
from postlane.core.polling.uid_ranges import Ranges

RANGES_MAX = (
    2000  # of one cursor record, at most 43 kB; a mailbox that refuses so much keeps its oldest mail as it is
)


@dataclass(frozen=True, slots=True)
class Unsettled:
    """`uids` hold under `uid_validity`; `legacy` is set where an older Postlane wrote the cursor, which knew no set.

    Then every mail above its first UID and up to its second counts.
    """

    uid_validity: int
    uids: Ranges = ()
    legacy: tuple[int, int] | None = None

    def __bool__(self) -> bool:
        return bool(self.uids) or self.legacy is not None


def unsettled_of(cursor: MailboxCursor) -> Unsettled:
    """What a former owner left."""
    if cursor.unsettled is None:
        span = (cursor.settled_uid, cursor.uid)
        return Unsettled(cursor.uid_validity, legacy=span if span[0] < span[1] else None)
    try:
        return Unsettled(cursor.uid_validity, uid_ranges.read(cursor.unsettled))
    except ValueError:
        return Unsettled(cursor.uid_validity)  # nothing is lost by mail that stays as it is


def with_produced(unsettled: Unsettled, uids: Ranges) -> Unsettled:
    """These events are durable now."""
    kept = uid_ranges.joined(unsettled.uids, uids)[-RANGES_MAX:]
    return replace(unsettled, uids=kept)


def with_settled(unsettled: Unsettled, uids: Ranges) -> Unsettled:
    """These mails are flagged, moved or deleted."""
    return replace(unsettled, uids=uid_ranges.without(unsettled.uids, uids))


def with_legacy_known(unsettled: Unsettled, listed: Ranges) -> Unsettled:
    """These mails lie in the range that an older Postlane left."""
    return Unsettled(unsettled.uid_validity, uid_ranges.joined(unsettled.uids, listed))


def stamped(cursor: MailboxCursor, unsettled: Unsettled) -> MailboxCursor:
    """The cursor with what waits, as it is to be written; untouched while it still has the numbers of another UIDVALIDITY."""
    if cursor.uid_validity != unsettled.uid_validity:
        return cursor
    if unsettled.legacy is not None:
        return replace(cursor, settled_uid=min(unsettled.legacy[0], cursor.uid), unsettled=None)
    first = unsettled.uids[0][0] - 1 if unsettled.uids else cursor.uid
    return replace(cursor, settled_uid=min(first, cursor.uid), unsettled=uid_ranges.write(unsettled.uids))
