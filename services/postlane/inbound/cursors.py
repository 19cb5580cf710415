"""What Kafka knows about mailboxes: the cursors of a partition, and which raw mails have become events. Blocks; runs in threads."""

from dataclasses import dataclass

import structlog

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.core.events.received import MailboxCursor, MailReceived
from postlane.core.polling.cursor_keys import is_report
from postlane.inbound.topics import InboundTopics
from postlane.ports import EventLog, TopicPartition

READ_SECONDS_MAX = 60.0  # longer than the transaction timeout: an open transaction below the end is then over

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CursorReader:
    """Reads back what the inbound service wrote."""

    event_log: EventLog
    codec: Codec
    topics: InboundTopics

    def cursors(self, partition: int) -> dict[tuple[str, str], MailboxCursor]:
        """The newest cursor of each (mailbox, folder), read to the partition's end. Raises LogUnavailable."""
        at = self.topics.cursor_at(partition)
        bounds = self.event_log.bounds(at)
        cursors: dict[tuple[str, str], MailboxCursor] = {}
        for batch in self.event_log.read(at, bounds.low, bounds.end, READ_SECONDS_MAX):
            for record in batch:
                if record.value is None or is_report(record.key):
                    continue
                try:
                    cursor = self.codec.decode(MailboxCursor, record.value)
                except Undecodable as error:
                    log.error("cursor_unreadable", topic=at.topic, offset=record.offset, reason=str(error))
                    continue
                cursors[cursor.mailbox, cursor.folder] = cursor
        return cursors

    def produced_hashes(self, mailbox: str, since_ms: int | None) -> frozenset[str]:
        """The raw hashes of a mailbox's events that are still on `mail.inbound`, from a time on. Raises LogUnavailable."""
        return frozenset(
            sha256
            for partition in range(self.topics.partitions)
            for sha256 in self._hashes(TopicPartition(self.topics.main, partition), mailbox, since_ms)
        )

    def _hashes(self, at: TopicPartition, mailbox: str, since_ms: int | None) -> set[str]:
        bounds = self.event_log.bounds(at)
        start = bounds.low if since_ms is None else max(bounds.low, self.event_log.offset_at(at, since_ms))
        hashes: set[str] = set()
        for batch in self.event_log.read(at, start, bounds.end, READ_SECONDS_MAX):
            for record in batch:
                try:
                    event = self.codec.decode(MailReceived, record.value)
                except Undecodable:
                    continue  # somebody else's record on our topic is no mail of this mailbox
                if event.mailbox == mailbox:
                    hashes.add(event.raw.sha256)
        return hashes
