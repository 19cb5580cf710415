"""Where to go on in a folder that has just been selected: resume, begin, or scan again because its UIDs mean nothing any more."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Literal, assert_never

from postlane.core.events.received import MailboxCursor
from postlane.core.polling.folder import FolderState
from postlane.core.polling.mailbox import Identity, Progress, Rescan

Start = Literal["new", "all"] | date

# The mail server's clock and ours may differ, and SEARCH knows only days in a zone of its own; repeats are found by their hash.
RESCAN_MARGIN = timedelta(days=1)
NO_UID_VALIDITY = 0  # in a cursor whose UIDs mean nothing any more; no folder has it (RFC 9051: nz-number)


class Renumbering(StrEnum):
    """Why the UIDs of a cursor mean nothing any more."""

    UID_VALIDITY = "uid_validity"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class Resume:
    """The cursor holds: settle what a crash cut off, and go on."""

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
    """Say so loudly once, read back what was produced, then scan.

    `write_first`: the folder has the cursor's own UIDVALIDITY, and would look as if nothing had happened once new mail has come. So what
    `progress.cursor` says, that its UIDs mean nothing, must be durable before the scan begins.
    """

    progress: Progress
    why: Renumbering
    write_first: bool = False


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
    same = cursor.uid_validity == folder.uid_validity
    # UIDNEXT never goes down (RFC 9051 section 2.3.1.1), but in a folder that was restored from an older state.
    if same and not (folder.uid_next_told and folder.uid_next <= cursor.uid):
        return Resume(Progress(cursor=cursor, uid_validity=cursor.uid_validity, uid=cursor.uid))
    rescan = Rescan(until_uid=folder.uid_next - 1, since=_rescan_since(cursor, start))
    void = (
        replace(cursor, uid_validity=NO_UID_VALIDITY, uid=0, settled_uid=0, unsettled="") if same else cursor
    )
    return Renumbered(
        Progress(cursor=void, uid_validity=folder.uid_validity, uid=0, rescan=rescan),
        Renumbering.RESTORED if same or cursor.uid_validity == NO_UID_VALIDITY else Renumbering.UID_VALIDITY,
        write_first=same,
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
        unsettled="",
        # Whatever is there already was left out on purpose; that counts as looked through.
        checked_at=now if first_uid >= folder.uid_next else None,
    )
    return Progress(cursor=cursor, uid_validity=folder.uid_validity, uid=first_uid - 1)


def _day(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _rescan_since(cursor: MailboxCursor, start: Start) -> datetime | None:
    """From which arrival on a scan must look at mail; None = at all of it.

    What had arrived when the folder was last looked through to its end has been taken; `updated_at` cannot tell that, because a backlog moves it, too.
    """
    checked = None if cursor.checked_at is None else cursor.checked_at - RESCAN_MARGIN
    match start:
        case "new":
            return checked or cursor.updated_at - RESCAN_MARGIN
        case "all":
            return checked
        case date():
            return max(checked, _day(start)) if checked else _day(start)
        case _:
            assert_never(start)
