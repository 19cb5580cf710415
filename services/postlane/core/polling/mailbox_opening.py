"""Where to go on in a folder that has just been selected: resume, begin, or scan again because it was renumbered."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, assert_never

from postlane.core.events.received import MailboxCursor
from postlane.core.polling.folder import FolderState
from postlane.core.polling.mailbox import Identity, Progress, Rescan

Start = Literal["new", "all"] | date

RESCAN_MARGIN = timedelta(
    days=1
)  # the mail server's clock and ours may differ; repeats are found by their hash


@dataclass(frozen=True, slots=True)
class Resume:
    """The cursor holds: settle what a crash cut off, then go on."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Begin:
    """Never seen before, or starting anew: the cursor must be written first, so that a crash does not skip what comes now."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class BeginAtDate:
    """Never seen before: ask the server for the first UID of that day, then `begin_at`."""

    since: datetime


@dataclass(frozen=True, slots=True)
class Renumbered:
    """UIDVALIDITY has changed: read back what was produced, say so loudly once, then scan."""

    progress: Progress


Opening = Resume | Begin | BeginAtDate | Renumbered


def open_folder(
    identity: Identity, cursor: MailboxCursor | None, folder: FolderState, start: Start, now: datetime
) -> Opening:
    """Decide how to go on with a folder that has just been selected."""
    if cursor is None:
        match start:
            case "new":
                return Begin(begin_at(identity, folder, folder.uid_next, now))
            case "all":
                return Begin(begin_at(identity, folder, 1, now))
            case date():
                return BeginAtDate(_day(start))
            case _:
                assert_never(start)
    if cursor.uid_validity == folder.uid_validity:
        return Resume(
            Progress(
                cursor=cursor,
                uid_validity=cursor.uid_validity,
                uid=cursor.uid,
                settled_uid=min(cursor.settled_uid, cursor.uid),
            )
        )
    rescan = Rescan(until_uid=folder.uid_next - 1, since=_rescan_since(cursor, start))
    return Renumbered(
        Progress(cursor=cursor, uid_validity=folder.uid_validity, uid=0, settled_uid=0, rescan=rescan)
    )


def begin_at(identity: Identity, folder: FolderState, first_uid: int, now: datetime) -> Progress:
    """The progress of a folder whose first mail to be taken has this UID."""
    cursor = MailboxCursor(
        mailbox=identity.mailbox,
        folder=identity.folder,
        uid_validity=folder.uid_validity,
        uid=first_uid - 1,
        settled_uid=first_uid - 1,
        updated_at=now,
        instance=identity.instance,
    )
    return Progress(
        cursor=cursor, uid_validity=folder.uid_validity, uid=first_uid - 1, settled_uid=first_uid - 1
    )


def _day(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _rescan_since(cursor: MailboxCursor, start: Start) -> datetime | None:
    """Mails that arrived earlier were left out on purpose or have been seen; with `all` nothing is left out."""
    match start:
        case "new":
            return cursor.updated_at - RESCAN_MARGIN
        case "all":
            return None
        case date():
            return _day(start)
        case _:
            assert_never(start)
