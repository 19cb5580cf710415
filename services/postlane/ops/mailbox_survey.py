"""Reads from Kafka how every folder stands: the newest cursor and the newest report of each."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.config.settings import Settings
from postlane.core.events.received import MailboxCursor, MailboxReport
from postlane.core.polling.cursor_keys import is_report
from postlane.core.polling.mailbox_view import FolderView, view_folder
from postlane.ops.scanning import Step, bounds_of, partitions_of, scan
from postlane.ports import EventLog, LogRecord

SKEW_MIN = timedelta(seconds=5)  # as long as a report may take into its topic


@dataclass(frozen=True, slots=True)
class MailboxSurveyor:
    """`topic` is the full name of mail.inbound.cursor."""

    log: EventLog
    codec: Codec
    topic: str
    step: Step | None = None

    def survey(self, settings: Settings, now: datetime) -> list[FolderView]:
        """The configured folders in their order, then those that only Kafka knows. Raises LogUnavailable."""
        cursors: dict[tuple[str, str], MailboxCursor] = {}
        reports: dict[tuple[str, str], MailboxReport] = {}
        spans = bounds_of(self.log, partitions_of(self.log, self.topic))
        found: list[MailboxCursor | MailboxReport] = scan(self.log, spans, self._keep, self.step)
        for event in found:
            if isinstance(event, MailboxReport):
                reports[event.mailbox, event.folder] = event
            else:
                cursors[event.mailbox, event.folder] = event
        configured = [
            (name, folder) for name, section in settings.mailboxes.items() for folder in section.folders
        ]
        further = sorted({*cursors, *reports} - {*configured})
        return [
            view_folder(
                place, cursors.get(place), reports.get(place), now, is_configured=place in set(configured)
            )
            for place in (*configured, *further)
        ]

    def _keep(self, record: LogRecord) -> MailboxCursor | MailboxReport | None:
        if record.value is None:
            return None
        try:
            if is_report(record.key):
                return _on_the_brokers_time(
                    self.codec.decode(MailboxReport, record.value), record.timestamp_ms / 1000
                )
            return self.codec.decode(MailboxCursor, record.value)
        except Undecodable:
            return None  # the owner of the partition reports it


def _on_the_brokers_time(report: MailboxReport, written_at: float) -> MailboxReport:
    """A poller whose clock is wrong is neither silent nor ahead of its time; `grant_ends_at` is its provider's word."""
    skew = timedelta(seconds=written_at - report.told_at.timestamp())
    if abs(skew) < SKEW_MIN:
        return report

    def shifted(at: datetime | None) -> datetime | None:
        return None if at is None else at + skew

    return replace(
        report,
        told_at=report.told_at + skew,
        checked_at=shifted(report.checked_at),
        error_since=shifted(report.error_since),
        retry_at=shifted(report.retry_at),
    )
