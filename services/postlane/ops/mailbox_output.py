"""What is told of mailboxes: in words and as JSON."""

from collections.abc import Iterator
from datetime import datetime
from typing import assert_never

from postlane.core.events.received import MailboxReport
from postlane.core.polling.mailbox_view import FolderStanding, FolderView
from postlane.ops.output import Json, iso, moment_text, shortened, span_text


def folder_lines(view: FolderView, now: datetime) -> Iterator[str]:
    """One folder for people."""
    yield f"{view.mailbox}/{view.folder}  {_standing_words(view, now)}"
    if not view.is_configured:
        yield "  not in this configuration; its cursor is kept, so that it goes on where it was when it is configured again"
    report, cursor = view.report, view.cursor
    if report is not None and view.standing is not FolderStanding.SILENT:
        session = "a session is open" if report.connected else "no session is open"
        lag = "how many mails wait is not known" if report.lag is None else f"{report.lag} mails wait"
        yield f"  polled by {report.instance}; {session}; {lag}; last looked through {_ago(view.checked_at, now)}"
    if cursor is not None:
        settled = (
            ""
            if view.unsettled is None
            else f"; {_unsettled_words(view.unsettled)} to be flagged, moved or deleted"
        )
        yield f"  {_books_words(view)}; up to UID {cursor.uid} of UIDVALIDITY {cursor.uid_validity}{settled}"


def _standing_words(view: FolderView, now: datetime) -> str:
    report = view.report
    match view.standing:
        case FolderStanding.NEVER:
            return "NEVER POLLED: no inbound process has said anything of it"
        case FolderStanding.SILENT:
            told = "" if report is None else f"; {report.instance} did last, {_ago(report.told_at, now)}"
            return f"SILENT: no inbound process reports of it{told}; last looked through {_ago(view.checked_at, now)}"
        case FolderStanding.FAILING:
            assert report is not None
            return (
                f"FAILING since {moment_text(report.error_since)} ({report.error_kind}): {shortened(report.error, 300)}"
                f"{_retry_words(report, now)}"
            )
        case FolderStanding.SCANNING:
            return "SCANNING: it was renumbered or restored, and is looked through again"
        case FolderStanding.BEHIND:
            return "BEHIND: it has not been looked through to its end"
        case FolderStanding.WELL:
            return "WELL: everything in it has been taken"
        case _:
            assert_never(view.standing)


def _unsettled_words(unsettled: int) -> str:
    """The cursor names what waited when it was written; that something was flagged since is written with the next quiet poll."""
    return f"at most {unsettled} still" if unsettled else "0 still"


def _retry_words(report: MailboxReport, now: datetime) -> str:
    if report.retry_at is None:
        return ""
    if report.retry_at < now:  # a poller tells of its failure once, then every half minute
        return f"; was to be tried again about {moment_text(report.retry_at)}"
    return f"; tried again about {moment_text(report.retry_at)}"


def _books_words(view: FolderView) -> str:
    cursor = view.cursor
    assert cursor is not None
    sign = "=" if cursor.listed == cursor.produced + cursor.quarantined + cursor.skipped else "!="
    return f"{cursor.listed} listed {sign} {cursor.produced} produced + {cursor.quarantined} quarantined + {cursor.skipped} skipped"


def folder_json(view: FolderView) -> Json:
    """One folder; the keys are stable."""
    report, cursor = view.report, view.cursor
    return {
        "mailbox": view.mailbox,
        "folder": view.folder,
        "state": view.standing.value,
        "configured": view.is_configured,
        "instance": None if report is None else report.instance,
        "told_at": None if report is None else iso(report.told_at),
        "connected": None if report is None else report.connected,
        "checked_at": iso(view.checked_at),
        "lag": None if report is None else report.lag,
        "error_kind": None if report is None else report.error_kind,
        "error": None if report is None or report.error_kind is None else report.error,
        "error_since": None if report is None else iso(report.error_since),
        "retry_at": None if report is None else iso(report.retry_at),
        "uid_validity": None if cursor is None else cursor.uid_validity,
        "uid": None if cursor is None else cursor.uid,
        "unsettled": view.unsettled,
        "listed": None if cursor is None else cursor.listed,
        "produced": None if cursor is None else cursor.produced,
        "quarantined": None if cursor is None else cursor.quarantined,
        "skipped": None if cursor is None else cursor.skipped,
    }


def _ago(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "never"
    return f"{moment_text(at)} ({span_text(max(0.0, (now - at).total_seconds()))} ago)"
