"""What Kafka knows about mailboxes: the cursors of a partition, and which raw mails have become events. Blocks; runs in threads."""

import threading
from collections import defaultdict
from dataclasses import dataclass, field

import structlog

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.core.events.received import MailboxCursor, MailReceived
from postlane.core.polling.cursor_keys import is_report
from postlane.inbound.topics import InboundTopics
from postlane.ports import EventLog, TopicPartition

READ_SECONDS_MAX = 60.0  # longer than the transaction timeout: an open transaction below the end is then over

log = structlog.get_logger(__name__)


class ProducedHashes:
    """Reads on where the last question ended. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._positions: dict[int, int] = {}
        self._by_mailbox: defaultdict[str, set[str]] = defaultdict(set)

    def of(self, reader: "CursorReader", mailbox: str, since_ms: int | None) -> frozenset[str]:
        """See CursorReader.produced_hashes."""
        with self._lock:
            for partition in range(reader.topics.partitions):
                self._read(reader, TopicPartition(reader.topics.main, partition), since_ms)
            return frozenset(self._by_mailbox[mailbox])

    def _read(self, reader: "CursorReader", at: TopicPartition, since_ms: int | None) -> None:
        bounds = reader.event_log.bounds(at)
        start = self._positions.get(at.partition)
        if start is None:
            start = bounds.low if since_ms is None else reader.event_log.offset_at(at, since_ms)
        for batch in reader.event_log.read(at, max(start, bounds.low), bounds.end, READ_SECONDS_MAX):
            for record in batch:
                try:
                    event = reader.codec.decode(MailReceived, record.value)
                except Undecodable:
                    continue  # somebody else's record on our topic is no mail of ours
                self._by_mailbox[event.mailbox].add(event.raw.sha256)
        self._positions[at.partition] = bounds.end


@dataclass(frozen=True, slots=True)
class CursorReader:
    """Reads back what the inbound service wrote."""

    event_log: EventLog
    codec: Codec
    topics: InboundTopics
    produced: ProducedHashes = field(default_factory=ProducedHashes)

    def cursors(self, partition: int, *, stable: bool = False) -> dict[tuple[str, str], MailboxCursor]:
        """The newest cursor of each (mailbox, folder), read to the partition's end, or as far as it is `stable`. Raises LogUnavailable."""
        at = self.topics.cursor_at(partition)
        bounds = self.event_log.bounds(at)
        end = self.event_log.stable_end(at) if stable else bounds.end
        cursors: dict[bytes | None, MailboxCursor] = {}
        for batch in self.event_log.read(at, bounds.low, end, READ_SECONDS_MAX):
            for record in batch:
                if is_report(record.key):
                    continue
                if record.value is None:
                    cursors.pop(record.key, None)
                    continue
                try:
                    cursor = self.codec.decode(MailboxCursor, record.value)
                except Undecodable as error:
                    log.error("cursor_unreadable", topic=at.topic, offset=record.offset, reason=str(error))
                    continue
                cursors[record.key] = cursor
        return {(cursor.mailbox, cursor.folder): cursor for cursor in cursors.values()}

    def produced_hashes(self, mailbox: str, since_ms: int | None) -> frozenset[str]:
        """The raw hashes of a mailbox's events that are still on `mail.inbound`, from a time on. Raises LogUnavailable.

        What was read once is kept: when a whole server is restored, all of its mailboxes ask.
        """
        return self.produced.of(self, mailbox, since_ms)
