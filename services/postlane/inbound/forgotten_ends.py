"""Ends transactions whose end the broker forgot to mark, so that their partitions can be read again. Blocks; runs in a writer's thread.

What the same transactional id commits or aborts next in a partition is marked for both (docs/decisions/0024-forgotten-transactions.md).
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.core.events.received import MailReceived
from postlane.core.polling import transaction_marks as marks
from postlane.core.polling.transaction_marks import End, Sight
from postlane.inbound.cursors import READ_SECONDS_MAX, CursorReader
from postlane.inbound.topics import InboundTopics
from postlane.ports import EventLog, LogRecord, LogWriter, NewRecord, TopicPartition

MARKED_SECONDS = 1.0  # ends are marked in milliseconds, but after the commit is answered
ASK_AGAIN_SECONDS = 0.1
TOGETHER_MS = 120_000  # the records of a transaction are appended within its time-out, in whichever order

log = structlog.get_logger(__name__)


def marked(records: Sequence[NewRecord], own: TopicPartition, transaction: str) -> list[NewRecord]:
    """The records of one try, each of which says so; those in the cursor partition also say where the others are."""
    beside = sorted({(one.to.topic, one.to.partition) for one in records if one.to != own})
    told = {marks.TRANSACTION: transaction} | ({marks.BESIDE: marks.beside_text(beside)} if beside else {})
    return [_marked(one, told if one.to == own else {marks.TRANSACTION: transaction}) for one in records]


@dataclass(slots=True)
class _Place:
    """A partition that hides records of ours. `certain`: the first one that it hides is ours, so no end of ours is marked behind it."""

    records: list[LogRecord]
    certain: bool


@dataclass(slots=True)
class _Found:
    """What a question has brought to light, and what is concluded from it."""

    hidden: dict[TopicPartition, _Place] = field(default_factory=dict)
    ends: dict[str | None, End] = field(default_factory=dict)
    undecided: set[str | None] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Cursors:
    """Of the mailboxes that are concerned: as they were before what is to be ended, and as they are to be."""

    before: list[NewRecord]
    again: list[NewRecord]


@dataclass(frozen=True, slots=True)
class ForgottenEnds:
    """One cursor partition's. The writer holds its transactional id and has nothing open."""

    reader: CursorReader
    partition: int

    def end(
        self,
        writer: LogWriter,
        transaction: str,
        places: Collection[TopicPartition] = (),
        aborted: Collection[str] = (),
    ) -> bool:
        """End what the cursor partition and these places hide of ours; whether there was any. Raises Fenced, TransactionAborted, LogUnavailable.

        `transaction` marks what has to be written for it; `aborted` are tries that are known to have failed.
        """
        found = self._look(places)
        if not found.hidden:
            return False
        self._conclude(found, aborted)
        dropped = [at for at in found.hidden if at != self.own and not self._committed(found, at)]
        if dropped:
            # The cursor comes second: should we die in between, what is gone says how the rest must end.
            writer.stage([_nothing(at, transaction) for at in dropped])
            writer.abort()
        cursors = self._cursors(found)
        again = [
            *cursors.again,
            *(one for at in found.hidden if at != self.own for one in self._again(found, at)),
        ]
        if again:
            if cursors.before:
                # Should we die in the middle of what follows, its abort undoes what is committed: no cursor may count on that.
                writer.stage(marked(cursors.before, self.own, transaction))
                writer.commit()
            writer.stage(marked(again, self.own, transaction))
            writer.commit()
        for at, place in found.hidden.items():
            log.warning(
                "forgotten_transaction_ended",
                topic=at.topic,
                partition=at.partition,
                offset=place.records[0].offset,
                committed=at not in dropped,
            )
        return True

    @property
    def own(self) -> TopicPartition:
        """The partition with the cursors, which only our transactional id writes to."""
        return self._topics.cursor_at(self.partition)

    @property
    def _log(self) -> EventLog:
        return self.reader.event_log

    @property
    def _topics(self) -> InboundTopics:
        return self.reader.topics

    @property
    def _codec(self) -> Codec:
        return self.reader.codec

    # What is hidden, and since when

    def _look(self, places: Iterable[TopicPartition]) -> _Found:
        found = _Found()
        deadline = time.monotonic() + MARKED_SECONDS  # one for all places
        for at in {self.own, *places}:
            if (place := self._hidden(at, deadline, only_certain=True)) is not None:
                found.hidden[at] = place
        own = found.hidden.get(self.own)
        for record in () if own is None else own.records:
            for name, number in marks.beside_of(record.headers):
                at = TopicPartition(name, number)
                if at not in found.hidden and (place := self._hidden(at, deadline)) is not None:
                    found.hidden[at] = place
        return found

    def _hidden(self, at: TopicPartition, deadline: float, *, only_certain: bool = False) -> _Place | None:
        """What of ours stays hidden there."""
        while (place := self._ours(at, only_certain=only_certain)) is not None:
            while self._log.stable_end(at) <= place.records[0].offset:
                if time.monotonic() > deadline:
                    return place
                time.sleep(ASK_AGAIN_SECONDS)
        return None

    def _ours(self, at: TopicPartition, *, only_certain: bool) -> _Place | None:
        ours: list[LogRecord] = []
        first: LogRecord | None = None
        for batch in self._log.unstable(at):
            first = first or batch[0]
            ours += [one for one in batch if at == self.own or marks.is_of(one.headers, self.partition)]
            if only_certain and (not ours or ours[0] is not first):
                return None  # somebody else's: it is for its writer to end
        return _Place(ours, certain=ours[0] is first) if ours else None

    # What became of it

    def _conclude(self, found: _Found, aborted: Collection[str]) -> None:
        for place in found.hidden.values():
            for record in place.records:
                transaction = marks.transaction_of(record.headers)
                if transaction in found.ends:
                    continue
                if transaction is None or transaction in aborted:
                    # Unmarked: an older Postlane wrote it. The cursor before it may repeat mails, but loses none.
                    found.ends[transaction] = End.ABORTED
                    continue
                sights = self._sights(found, transaction, record)
                found.ends[transaction] = marks.conclude(sights)
                if Sight.VISIBLE not in sights and Sight.UNKNOWN in sights:
                    found.undecided.add(transaction)

    def _sights(self, found: _Found, transaction: str, record: LogRecord) -> list[Sight]:
        of = {at: _of(place.records, transaction) for at, place in found.hidden.items()}
        sights = [
            Sight.HIDDEN if found.hidden[at].certain else Sight.UNKNOWN for at, ours in of.items() if ours
        ]
        listed = {
            TopicPartition(*place) for one in of.get(self.own, ()) for place in marks.beside_of(one.headers)
        }
        for at in {self.own, *listed} - {at for at, ours in of.items() if ours}:
            if self._is_visible(at, transaction, record.timestamp_ms):
                sights.append(Sight.VISIBLE)
            elif at == self.own and self._is_covered(record):
                sights.append(Sight.UNKNOWN)  # compaction may have removed a cursor that newer ones follow
            else:
                sights.append(Sight.GONE)
        return sights

    def _is_visible(self, at: TopicPartition, transaction: str, around_ms: int) -> bool:
        start, stop = self._log.offset_at(at, around_ms - TOGETHER_MS), self._log.stable_end(at)
        batches = self._log.read(at, start, stop, READ_SECONDS_MAX) if start < stop else ()
        return any(_of(batch, transaction) for batch in batches)

    def _is_covered(self, record: LogRecord) -> bool:
        try:
            event = self._codec.decode(MailReceived, record.value)
        except Undecodable:
            return True  # quarantine, feedback: which mail it belongs to cannot be told
        cursor = self.reader.cursors(self.partition, stable=True).get((event.mailbox, event.folder))
        return cursor is not None and (cursor.uid_validity != event.uid_validity or cursor.uid >= event.uid)

    # What is to be written

    def _committed(self, found: _Found, at: TopicPartition) -> list[LogRecord]:
        return [
            one
            for one in found.hidden[at].records
            if found.ends[marks.transaction_of(one.headers)] is End.COMMITTED
        ]

    def _again(self, found: _Found, at: TopicPartition) -> list[NewRecord]:
        records = self._committed(found, at)
        if not records:
            return []
        lost = [one for one in records if marks.transaction_of(one.headers) in found.undecided]
        if lost and not found.hidden[at].certain:
            return [_again(one) for one in lost]  # they may have been aborted there: better twice than never
        smallest = min(records, key=lambda one: len(one.value or b""))
        return [_repetition(smallest)]

    def _cursors(self, found: _Found) -> _Cursors:
        """Of each key that is concerned the newest that counts, so that what was aborted shows, but says nothing."""
        own = found.hidden.get(self.own)
        hidden = [] if own is None else own.records
        elsewhere = {
            marks.transaction_of(one.headers)
            for at in found.hidden
            if at != self.own
            for one in self._committed(found, at)
        }
        shown = list(self._shown())
        concerned = [one for one in shown if marks.transaction_of(one.headers) in elsewhere] + hidden
        first = {one.key: one.offset for one in reversed(concerned)}
        counting = [one for one in shown if one.key in first]
        before = {one.key: one for one in counting if one.offset < first[one.key]}
        newest = {one.key: one for one in counting} | {
            one.key: one for one in hidden if found.ends[marks.transaction_of(one.headers)] is End.COMMITTED
        }
        return _Cursors(
            before=[_again(one) for one in before.values()] if elsewhere else [],
            again=[
                _again(newest[key]) if key in newest else NewRecord(to=self.own, key=key, value=None)
                for key in first
            ],
        )

    def _shown(self) -> Iterator[LogRecord]:
        low, stop = self._log.bounds(self.own).low, self._log.stable_end(self.own)
        batches = self._log.read(self.own, low, stop, READ_SECONDS_MAX) if low < stop else ()
        return (one for batch in batches for one in batch)


def _of(records: Iterable[LogRecord], transaction: str) -> list[LogRecord]:
    return [one for one in records if marks.transaction_of(one.headers) == transaction]


def _marked(record: NewRecord, told: Mapping[str, str]) -> NewRecord:
    repeats = {name: value.decode() for name, value in record.headers if name == marks.REPEATS}
    return NewRecord(
        to=record.to,
        key=record.key,
        value=record.value,
        headers=marks.with_marks(record.headers, {**told, **repeats}),
    )


def _again(record: LogRecord) -> NewRecord:
    return NewRecord(to=record.at, key=record.key, value=record.value, headers=record.headers)


def _repetition(record: LogRecord) -> NewRecord:
    headers = marks.with_marks(record.headers, {marks.REPEATS: str(record.offset)})
    return NewRecord(to=record.at, key=record.key, value=record.value, headers=headers)


def _nothing(at: TopicPartition, transaction: str) -> NewRecord:
    """Nobody will ever see it."""
    return NewRecord(to=at, key=None, value=None, headers=((marks.TRANSACTION, transaction.encode()),))
