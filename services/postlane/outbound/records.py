"""A batch of the lanes as Kafka records of partition p, and back: which offset belongs to what."""

from dataclasses import dataclass, replace

from postlane.adapters.avro_codec import Codec
from postlane.adapters.cloudevents import cloud_event_headers
from postlane.core.lane_mail import Content, DeadCopy, KeyedStatus, PutCopy, WriteBatch
from postlane.core.mail import BlobRef
from postlane.core.status import Origin
from postlane.core.trail import encode, encode_claim
from postlane.outbound.topics import OutboundTopics
from postlane.ports import NewRecord, TopicPartition

REASON_MAX = 2000  # characters; a relay's words are for reading, and a status must fit its topic

Claims = dict[Origin, BlobRef]


@dataclass(frozen=True, slots=True)
class StagedRecords:
    """The records in the order statuses, puts, dones, dead; `origins` names each one's mail."""

    records: list[NewRecord]
    origins: list[Origin]
    statuses: int
    puts: int

    def split(self, offsets: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The offsets of the statuses and of the puts."""
        return tuple(offsets[: self.statuses]), tuple(offsets[self.statuses : self.statuses + self.puts])


class RecordWriter:
    """`source` is the CloudEvents source of the statuses."""

    def __init__(self, codec: Codec, topics: OutboundTopics, partition: int, source: str) -> None:
        self._codec = codec
        self._source = source
        self._status = TopicPartition(topics.status, partition)
        self._retry = TopicPartition(topics.retry, partition)
        self._dlq = TopicPartition(topics.dlq, partition)

    def records(self, batch: WriteBatch, claims: Claims, slim: frozenset[Origin]) -> StagedRecords:
        """Encode a batch. Copies of mails in `claims` name their blob instead of carrying bytes; statuses in `slim` drop what is large."""
        records = [self._status_record(keyed, slim) for keyed in batch.statuses]
        records += [self._put_record(copy, claims) for copy in batch.puts]
        records += [
            NewRecord(to=self._retry, key=key, value=None, headers=encode(done)) for key, done in batch.dones
        ]
        records += [self._dead_record(copy, claims) for copy in batch.dead]
        origins = [Origin(keyed.status.topic_id, keyed.status.offset) for keyed in batch.statuses]
        origins += [copy.put.origin for copy in batch.puts]
        origins += [done.origin for _, done in batch.dones]
        origins += [copy.dead.origin for copy in batch.dead]
        return StagedRecords(records, origins, len(batch.statuses), len(batch.puts))

    def _status_record(self, keyed: KeyedStatus, slim: frozenset[Origin]) -> NewRecord:
        status = replace(keyed.status, reason=keyed.status.reason[:REASON_MAX])
        if Origin(status.topic_id, status.offset) in slim:
            status = replace(status, recipients=(), metadata={})
        headers = cloud_event_headers(status, self._source)
        return NewRecord(to=self._status, key=keyed.key, value=self._codec.encode(status), headers=headers)

    def _put_record(self, copy: PutCopy, claims: Claims) -> NewRecord:
        value, headers = _body(copy.content, claims.get(copy.put.origin))
        return NewRecord(to=self._retry, key=copy.key, value=value, headers=headers + encode(copy.put))

    def _dead_record(self, copy: DeadCopy, claims: Claims) -> NewRecord:
        value, headers = _body(copy.content, claims.get(copy.dead.origin))
        return NewRecord(to=self._dlq, key=copy.key, value=value, headers=headers + encode(copy.dead))


def _body(content: Content, claim: BlobRef | None) -> tuple[bytes | None, tuple[tuple[str, bytes], ...]]:
    if claim is None:
        return content.value, content.headers
    return None, content.headers + encode_claim(claim)
