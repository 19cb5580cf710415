"""What is said of a folder, from its cursor and what its poller last reported."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from postlane.core.events.received import MailboxCursor, MailboxReport
from postlane.core.polling import uid_ranges

SILENT_SECONDS = 120.0  # a poller reports every 30 s; a take-over after a crash is said in less than 15 s


class FolderStanding(StrEnum):
    """Names for programs; they never change."""

    NEVER = "never"
    SILENT = "silent"
    FAILING = "failing"
    SCANNING = "scanning"
    BEHIND = "behind"
    WELL = "well"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderView:
    """One folder; `is_configured`: whether the configuration that was asked knows it. `unsettled` None where nobody knows the number."""

    mailbox: str
    folder: str
    standing: FolderStanding
    cursor: MailboxCursor | None
    report: MailboxReport | None
    checked_at: datetime | None
    unsettled: int | None
    is_configured: bool = True


def view_folder(
    place: tuple[str, str],
    cursor: MailboxCursor | None,
    report: MailboxReport | None,
    now: datetime,
    *,
    is_configured: bool = True,
) -> FolderView:
    """How a folder stands at `now`."""
    checked = [one.checked_at for one in (cursor, report) if one is not None and one.checked_at is not None]
    return FolderView(
        mailbox=place[0],
        folder=place[1],
        standing=_standing(cursor, report, now),
        cursor=cursor,
        report=report,
        checked_at=max(checked, default=None),
        unsettled=_unsettled(cursor),
        is_configured=is_configured,
    )


def _standing(cursor: MailboxCursor | None, report: MailboxReport | None, now: datetime) -> FolderStanding:
    if report is None:
        return FolderStanding.NEVER if cursor is None else FolderStanding.SILENT
    if (now - report.told_at).total_seconds() > SILENT_SECONDS:
        return FolderStanding.SILENT
    if report.error_kind is not None:
        return FolderStanding.FAILING
    if report.scanning:
        return FolderStanding.SCANNING
    # A poller that has just taken over knows from its cursor when the folder was last looked through, and not what has come since.
    looked_through = report.lag == 0 and report.checked_at is not None
    return FolderStanding.WELL if looked_through else FolderStanding.BEHIND


def _unsettled(cursor: MailboxCursor | None) -> int | None:
    if cursor is None or cursor.unsettled is None:
        return None
    try:
        return uid_ranges.count(uid_ranges.read(cursor.unsettled))
    except ValueError:
        return None
