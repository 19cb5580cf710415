"""The dead-letter topic as operators use it: read it whole, resolve dead mail in transactions."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from postlane.core.dlq import (
    BATCH_MAILS_MAX,
    DeadMail,
    DlqRecord,
    Place,
    batches,
    fold,
    replay_headers,
    resolution_headers,
)
from postlane.core.events.mail import BlobRef
from postlane.core.events.trail import BadTrail, Resolution, decode_claim
from postlane.core.partitioner import partition_of
from postlane.ops.exits import CommandFailed
from postlane.ops.scanning import Step, bounds_of, partitions_of, scan
from postlane.ports import (
    BlobMissing,
    BlobStore,
    BlobStoreError,
    EventLog,
    LogRecord,
    LogWriter,
    NewRecord,
    RecordRefused,
    TopicPartition,
    TransactionAborted,
)

BEHIND = "an earlier mail of its ticket could not be written"
ABORTS_MAX = 5  # a transaction that is aborted again and again has a cause that repeating does not cure


@dataclass(frozen=True, slots=True)
class Failure:
    """A dead mail that could not be dealt with, and why; it stays open."""

    mail: DeadMail
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolving:
    """What the operator orders: how the mails end and why; `now_ms` is asked when each is written (milliseconds since 1970).

    `batch_mails`: so many in one transaction. `before_batch` may take its time before a batch of so many is written.
    """

    resolution: Resolution
    now_ms: Callable[[], int]
    reason: str
    batch_mails: int = BATCH_MAILS_MAX
    before_batch: Callable[[int], None] = lambda _mails: None


class DlqLog:
    """`main` and `dlq` are full topic names. Calls raise LogUnavailable; what writes may raise Fenced."""

    def __init__(self, log: EventLog, blobs: BlobStore, main: str, dlq: str) -> None:
        self._log = log
        self._blobs = blobs
        self._main = main
        self._dlq = dlq

    def read(self, expect: Callable[[int], None] | None = None, step: Step | None = None) -> list[DeadMail]:
        """Every dead mail that the topic still holds, with its resolutions, in the order of death."""
        spans = bounds_of(self._log, partitions_of(self._log, self._dlq))
        if expect is not None:
            expect(sum(span.end - span.low for span in spans.values()))
        mails = fold(scan(self._log, spans, without_value, step))
        return sorted(mails, key=lambda mail: mail.place)

    def fetch(self, place: Place) -> LogRecord | None:
        """One record with its value, as it stands in the topic."""
        found = self._log.fetch_at(TopicPartition(self._dlq, place.partition), [place.offset])
        return found[0] if found else None

    def value(self, record: LogRecord) -> bytes | None:
        """The original bytes of a dead mail, from the blob store where they were too large for the topic.

        Raises BlobMissing, BlobStoreError, BadTrail.
        """
        claim = decode_claim(record.headers)
        return record.value if claim is None else asyncio.run(self._blob(claim))

    async def _blob(self, ref: BlobRef) -> bytes:
        return await self._blobs.get(ref)

    def resolve(
        self, writer: LogWriter, mails: Sequence[DeadMail], order: Resolving, done: Step | None = None
    ) -> list[Failure]:
        """Replay or discard these mails in their order, whole tickets per transaction where they fit.

        A mail that cannot be written stays open, and with it what follows of its ticket; other tickets go on.
        """
        failures: list[Failure] = []
        blocked: set[bytes | None] = set()
        for batch in batches(mails, order.batch_mails):
            order.before_batch(len(batch))
            prepared, faults = self._prepare(batch, order, blocked)
            failures += faults
            failures += _write(writer, prepared, blocked)
            if done is not None:
                done(len(batch))
        return failures

    def _prepare(
        self, batch: Sequence[DeadMail], order: Resolving, blocked: set[bytes | None]
    ) -> tuple[list["_Prepared"], list[Failure]]:
        prepared: list[_Prepared] = []
        failures: list[Failure] = []
        originals = self._fetch_all(batch) if order.resolution is Resolution.REPLAYED else {}
        for mail in batch:
            if mail.key in blocked:
                failures.append(Failure(mail, BEHIND))
                continue
            closing = NewRecord(
                to=TopicPartition(self._dlq, mail.place.partition),
                key=mail.key,
                value=None,
                headers=resolution_headers(mail, order.resolution, order.now_ms(), order.reason),
            )
            if order.resolution is Resolution.DISCARDED:
                prepared.append(_Prepared(mail, (closing,)))
                continue
            try:
                prepared.append(_Prepared(mail, (self._request(mail, originals), closing)))
            except (BlobMissing, BlobStoreError, BadTrail, LookupError) as error:
                failures.append(Failure(mail, f"its original cannot be read: {error}"))
                blocked.add(mail.key)
        return prepared, failures

    def _fetch_all(self, batch: Sequence[DeadMail]) -> dict[Place, LogRecord]:
        offsets: dict[int, list[int]] = {}
        for mail in batch:
            offsets.setdefault(mail.place.partition, []).append(mail.place.offset)
        return {
            Place(partition, record.offset): record
            for partition, wanted in offsets.items()
            for record in self._log.fetch_at(TopicPartition(self._dlq, partition), sorted(wanted))
        }

    def _request(self, mail: DeadMail, originals: dict[Place, LogRecord]) -> NewRecord:
        assert mail.key is not None, "a plan leaves keyless mail out"
        record = originals.get(mail.place)
        if record is None:
            raise LookupError("it is no longer in the topic")
        partition = partition_of(mail.key, self._log.partition_count(self._main))
        return NewRecord(
            to=TopicPartition(self._main, partition),
            key=mail.key,
            value=self.value(record),
            headers=replay_headers(mail),
        )


@dataclass(frozen=True, slots=True)
class _Prepared:
    mail: DeadMail
    records: tuple[NewRecord, ...]


def _write(writer: LogWriter, prepared: list[_Prepared], blocked: set[bytes | None]) -> list[Failure]:
    """One transaction for all of it; a refused mail and what follows of its ticket is left out of the next try."""
    failures: list[Failure] = []
    aborts = 0
    while prepared:
        try:
            writer.stage([record for one in prepared for record in one.records])
            writer.commit()
        except RecordRefused as refusal:
            owners = [place for place, one in enumerate(prepared) for _ in one.records]
            place = owners[refusal.index]
            refused = prepared[place].mail
            behind = [one.mail for one in prepared[place + 1 :] if one.mail.key == refused.key]
            failures += [Failure(refused, refusal.reason), *(Failure(mail, BEHIND) for mail in behind)]
            blocked.add(refused.key)
            prepared = [
                one
                for n, one in enumerate(prepared)
                if n < place or (n > place and one.mail.key != refused.key)
            ]
        except TransactionAborted as abort:
            aborts += 1
            if aborts >= ABORTS_MAX:
                raise CommandFailed(f"nothing of this batch was written: {abort}") from None
        else:
            break
    return failures


def without_value(record: LogRecord) -> DlqRecord:
    """A record of the topic as the core folds it."""
    return DlqRecord(
        place=Place(record.at.partition, record.offset),
        key=record.key,
        size_bytes=len(record.value or b""),
        headers=record.headers,
    )
