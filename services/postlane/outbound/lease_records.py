"""Records of mail.relays to entries and back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.adapters.cloudevents import cloud_event_headers
from postlane.adapters.relay_marks import marks_in
from postlane.core.events.relay_lease import RelayLease, lease_key
from postlane.core.partitioner import partition_of
from postlane.core.sharing.allocator import Entry
from postlane.core.sharing.section_marks import HEADER, encode_marks
from postlane.ports import LogRecord, NewRecord, TopicPartition

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseRecords:
    """`source` is the CloudEvents source of what is written, `marks` those of the relays' sections. Thread-safe."""

    codec: Codec
    topic: str
    partitions: int
    source: str
    marks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def place_of(self, relay: str) -> TopicPartition:
        """Where all records of a relay stand."""
        return TopicPartition(self.topic, partition_of(lease_key(relay), self.partitions))

    def record(self, lease: RelayLease) -> NewRecord:
        """What to write."""
        return NewRecord(
            to=self.place_of(lease.relay),
            key=lease_key(lease.relay),
            value=self.codec.encode(lease),
            headers=cloud_event_headers(lease, self.source) + self._section_header(lease),
        )

    def _section_header(self, lease: RelayLease) -> tuple[tuple[str, bytes], ...]:
        marks = self.marks.get(lease.relay)
        return ((HEADER, encode_marks(marks)),) if marks and lease.request is not None else ()

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
            found.append(Entry(record.offset, record.timestamp_ms / 1000, lease, marks_in(record)))
        return found
