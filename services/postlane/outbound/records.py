"""A batch of the lanes as Kafka records of partition p, and back: which offset belongs to what."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from postlane.adapters.avro_codec import Codec, Unencodable
from postlane.adapters.cloudevents import cloud_event_headers
from postlane.core.events.mail import BlobRef
from postlane.core.events.status import Origin
from postlane.core.events.trail import Headers, encode, encode_claim
from postlane.core.sending.lane_mail import Content, DeadCopy, KeyedStatus, PutCopy, WriteBatch
from postlane.outbound.topics import OutboundTopics
from postlane.ports import NewRecord, RecordRefused, TopicPartition

REASON_MAX = 2000  # characters; a relay's words are for reading, and a status must fit its topic
LEFT_OUT = "left out: this status could not be written with it"

Claims = dict[Origin, BlobRef]


class Cut(IntEnum):
    """How much of a mail's records is left out because they are refused: too large, or not to be encoded. Each step includes those before it."""

    NOTHING = 0
    VALUE = 1  # the bytes go to the blob store, a status drops recipients and metadata
    HEADERS = 2  # the producer's own headers, the relay's words
    KEY = 3  # the key; the origin still says what the record is about


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

    def records(self, batch: WriteBatch, claims: Claims, cuts: Mapping[Origin, Cut]) -> StagedRecords:
        """Encode a batch. Copies of mails in `claims` name their blob instead of carrying bytes; `cuts` says how small a mail's records must be.

        Raises RecordRefused for a status that cannot be encoded, with its place in the batch's statuses.
        """
        records = []
        for index, keyed in enumerate(batch.statuses):
            try:
                records.append(self._status_record(keyed, cuts))
            except Unencodable as error:
                raise RecordRefused(index, str(error)) from None
        records += [self._put_record(copy, claims, cuts) for copy in batch.puts]
        records += [
            NewRecord(to=self._retry, key=key, value=None, headers=encode(done)) for key, done in batch.dones
        ]
        records += [self._dead_record(copy, claims, cuts) for copy in batch.dead]
        origins = [origin_of(keyed) for keyed in batch.statuses]
        origins += [copy.put.origin for copy in batch.puts]
        origins += [done.origin for _, done in batch.dones]
        origins += [copy.dead.origin for copy in batch.dead]
        return StagedRecords(records, origins, len(batch.statuses), len(batch.puts))

    def _status_record(self, keyed: KeyedStatus, cuts: Mapping[Origin, Cut]) -> NewRecord:
        cut = cuts.get(origin_of(keyed), Cut.NOTHING)
        status = replace(keyed.status, reason=keyed.status.reason[:REASON_MAX])
        if cut >= Cut.VALUE:
            status = replace(status, recipients=(), metadata={})
        if cut >= Cut.HEADERS:
            status = replace(status, reason=LEFT_OUT, reply=None, relay=None, message_id=None)
        headers = cloud_event_headers(status, self._source) if cut < Cut.HEADERS else ()
        key = keyed.key if cut < Cut.KEY else None
        return NewRecord(to=self._status, key=key, value=self._codec.encode(status), headers=headers)

    def _put_record(self, copy: PutCopy, claims: Claims, cuts: Mapping[Origin, Cut]) -> NewRecord:
        origin = copy.put.origin
        value, headers = _body(copy.content, claims.get(origin), cuts.get(origin, Cut.NOTHING))
        # The journal's key is the lane: without it the ticket's order would be lost, so it stays whatever it costs.
        return NewRecord(to=self._retry, key=copy.key, value=value, headers=headers + encode(copy.put))

    def _dead_record(self, copy: DeadCopy, claims: Claims, cuts: Mapping[Origin, Cut]) -> NewRecord:
        origin = copy.dead.origin
        cut = cuts.get(origin, Cut.NOTHING)
        value, headers = _body(copy.content, claims.get(origin), cut)
        key = copy.key if cut < Cut.KEY else None
        return NewRecord(to=self._dlq, key=key, value=value, headers=headers + encode(copy.dead))


def origin_of(keyed: KeyedStatus) -> Origin:
    """Which mail a status is about."""
    return Origin(keyed.status.topic_id, keyed.status.offset)


def _body(content: Content, claim: BlobRef | None, cut: Cut) -> tuple[bytes | None, Headers]:
    own = content.headers if cut < Cut.HEADERS else ()
    return (content.value, own) if claim is None else (None, own + encode_claim(claim))
