"""What `postlane mailboxes` says of a folder, from what stands in Kafka."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fakes.inbound_process import inbound_settings, mailbox
from fakes.memory_log import MemoryLog
from postlane.adapters.avro_codec import Codec
from postlane.core.events.received import MailboxCursor, MailboxReport
from postlane.core.partitioner import partition_of
from postlane.core.polling.cursor_keys import cursor_key, report_key
from postlane.core.polling.mailbox_view import FolderStanding, view_folder
from postlane.ops.mailbox_output import folder_json, folder_lines
from postlane.ops.mailbox_survey import MailboxSurveyor
from postlane.ports import NewRecord, TopicPartition

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TOPIC = "mail.inbound.cursor"


def cursor(folder: str = "INBOX", **changes: object) -> MailboxCursor:
    fields = {
        "mailbox": "support",
        "folder": folder,
        "uid_validity": 7,
        "uid": 12,
        "settled_uid": 10,
        "updated_at": NOW,
        "instance": "one",
        "listed": 12,
        "produced": 9,
        "quarantined": 1,
        "skipped": 2,
        "unsettled": "11:12",
    }
    return MailboxCursor(**(fields | changes))  # type: ignore[arg-type]


def report(folder: str = "INBOX", age_seconds: float = 5, **changes: object) -> MailboxReport:
    told_at = NOW - timedelta(seconds=age_seconds)
    fields = {
        "mailbox": "support",
        "folder": folder,
        "instance": "one",
        "told_at": told_at,
        "connected": True,
        "checked_at": told_at,
        "lag": 0,
    }
    return MailboxReport(**(fields | changes))  # type: ignore[arg-type]


FAILING = report(error_kind="auth", error="LOGIN refused: no", error_since=NOW, retry_at=NOW, connected=False)


@pytest.mark.parametrize(
    ("held", "told", "standing", "words"),
    [
        (None, None, FolderStanding.NEVER, "NEVER POLLED"),
        (cursor(), None, FolderStanding.SILENT, "no inbound process reports of it"),
        (cursor(), report(age_seconds=130), FolderStanding.SILENT, "one did last"),
        (None, FAILING, FolderStanding.FAILING, "(auth): LOGIN refused: no; tried again about"),
        (cursor(), report(scanning=True, lag=4), FolderStanding.SCANNING, "renumbered or restored"),
        (cursor(), report(lag=4), FolderStanding.BEHIND, "4 mails wait"),
        (cursor(), report(checked_at=None, lag=None), FolderStanding.BEHIND, "not known"),
        (cursor(), report(lag=None, connected=False), FolderStanding.BEHIND, "not known"),  # just taken over
        (cursor(), report(), FolderStanding.WELL, "12 listed = 9 produced + 1 quarantined + 2 skipped"),
    ],
)
def test_how_a_folder_stands(
    held: MailboxCursor | None, told: MailboxReport | None, standing: FolderStanding, words: str
) -> None:
    view = view_folder(("support", "INBOX"), held, told, NOW)
    text = "\n".join(folder_lines(view, NOW))
    document = folder_json(view)
    assert view.standing is standing
    assert words in text
    assert document["state"] == standing.value
    if held is not None:
        assert "at most 2 still to be flagged" in text
        assert document["listed"] == document["produced"] + document["quarantined"] + document["skipped"]


def test_a_next_try_that_has_passed_is_not_told_as_to_come() -> None:
    later = NOW + timedelta(seconds=1)
    view = view_folder(("support", "INBOX"), None, FAILING, later)
    assert "; was to be tried again about" in "\n".join(folder_lines(view, later))


def test_books_that_do_not_balance_are_shown() -> None:
    view = view_folder(("support", "INBOX"), cursor(skipped=1), report(), NOW)
    assert "12 listed != 9" in "\n".join(folder_lines(view, NOW))


def test_the_newest_records_of_every_folder_are_read(tmp_path: Path) -> None:
    log, codec = MemoryLog(clock=NOW.timestamp), Codec()
    log.create_topic(TOPIC, 4)
    settings = inbound_settings(tmp_path, {"support": mailbox(more_folders=["Billing"]), "sales": mailbox()})
    writer = log.writer("w")
    writer.take_over()
    for event in (
        cursor(produced=1, listed=4),
        cursor(),
        report(age_seconds=60, lag=9),
        report(),
        cursor("Billing"),
        cursor(mailbox="old"),
    ):
        key = (report_key if isinstance(event, MailboxReport) else cursor_key)(event.mailbox, event.folder)
        at = TopicPartition(TOPIC, partition_of(event.mailbox.encode(), 4))
        writer.stage([NewRecord(to=at, key=key, value=codec.encode(event))])
        writer.commit()
    views = MailboxSurveyor(log, codec, TOPIC).survey(settings, NOW)
    assert [(view.mailbox, view.folder, view.standing.value, view.is_configured) for view in views] == [
        ("support", "INBOX", "well", True),
        ("support", "Billing", "silent", True),
        ("sales", "INBOX", "never", True),
        ("old", "INBOX", "silent", False),
    ]
    assert views[0].cursor == cursor()
    assert "not in this configuration" in "\n".join(folder_lines(views[3], NOW))


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_poller_with_a_wrong_clock_is_judged_by_the_brokers_time(tmp_path: Path, hours: int) -> None:
    log, codec = MemoryLog(clock=NOW.timestamp), Codec()
    log.create_topic(TOPIC, 1)
    wrong = NOW + timedelta(hours=hours)
    told = report(told_at=wrong, checked_at=wrong - timedelta(seconds=1))
    publisher = log.publisher("p")
    at = TopicPartition(TOPIC, 0)
    publisher.publish(NewRecord(to=at, key=report_key("support", "INBOX"), value=codec.encode(told)))
    surveyor = MailboxSurveyor(log, codec, TOPIC)
    settings = inbound_settings(tmp_path, {"support": mailbox()})
    (view,) = surveyor.survey(settings, NOW + timedelta(seconds=60))
    assert (view.standing, view.checked_at) == (FolderStanding.WELL, NOW - timedelta(seconds=1))
    (view,) = surveyor.survey(settings, NOW + timedelta(seconds=130))
    assert view.standing is FolderStanding.SILENT, "also where its clock was ahead"
