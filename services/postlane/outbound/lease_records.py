"""Records of mail.relays to entries and back."""

from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.adapters.cloudevents import cloud_event_headers
from postlane.core.events.relay_lease import RelayLease, lease_key
from postlane.core.partitioner import partition_of
from postlane.core.sharing.allocator import Entry
from postlane.ports import LogRecord, NewRecord, TopicPartition

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseRecords:
    """`source` is the CloudEvents source of what is written. Thread-safe."""

    codec: Codec
    topic: str
    partitions: int
    source: str

    def place_of(self, relay: str) -> TopicPartition:
        """Where all records of a relay stand."""
        return TopicPartition(self.topic, partition_of(lease_key(relay), self.partitions))

    def record(self, lease: RelayLease) -> NewRecord:
        """What to write."""
        return NewRecord(
            to=self.place_of(lease.relay),
            key=lease_key(lease.relay),
            value=self.codec.encode(lease),
            headers=cloud_event_headers(lease, self.source),
        )

    def entries(self, records: Iterable[LogRecord]) -> list[Entry]:
        """What was read; what is no lease is passed over, with a line in the log."""
        found: list[Entry] = []
        for record in records:
            try:
                lease = self.codec.decode(RelayLease, record.value)
            except Undecodable as error:
                log.error(
                    "lease_unreadable",
                    topic=record.at.topic,
                    partition=record.at.partition,
                    offset=record.offset,
                    reason=str(error),
                )
                continue
            found.append(Entry(record.offset, record.timestamp_ms / 1000, lease))
        return found
