"""Reads from Kafka how every folder stands: the newest cursor and the newest report of each."""

from dataclasses import dataclass
from datetime import datetime

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.config.settings import Settings
from postlane.core.events.received import MailboxCursor, MailboxReport
from postlane.core.polling.cursor_keys import is_report
from postlane.core.polling.mailbox_view import FolderView, view_folder
from postlane.ops.scanning import Step, bounds_of, partitions_of, scan
from postlane.ports import EventLog, LogRecord


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
                return self.codec.decode(MailboxReport, record.value)
            return self.codec.decode(MailboxCursor, record.value)
        except Undecodable:
            return None  # the owner of the partition reports it
