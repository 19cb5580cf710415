"""Finds what is known of a ticket's mails, of one event or of one Message-ID.

Statuses are read from the newest backwards, because people ask about what happened lately. Once a mail is found, its request says when its life
began, and the statuses from there on complete the answer. Requests that no sender has spoken of yet are looked for above the committed offset.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.core.dlq import DeadMail
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailStatus, Origin
from postlane.core.events.trail import BadTrail, ReplayOf, decode_replay
from postlane.core.history import (
    MailHistory,
    PartitionView,
    Request,
    SendersSeen,
    fold_histories,
    hold_of,
    may_be_dead,
)
from postlane.core.instants import moment
from postlane.core.partitioner import partition_of
from postlane.ops.relay_survey import usage_reader_of
from postlane.ops.relay_usage import senders_seen
from postlane.ops.scanning import Step, bounds_of, scan, scan_back
from postlane.ops.session import Session
from postlane.ops.status_dead import Death, dead_letters
from postlane.ops.topic_names import DLQ, OUTBOUND, STATUS
from postlane.ports import Bounds, EventLog, LogRecord, TopicPartition, Wanted

TICKET_LOOK_BACK = timedelta(days=7)  # a ticket's older mails are asked for with --since


class Kind(StrEnum):
    """What the person asks about."""

    TICKET = "ticket"
    EVENT = "event"
    MESSAGE = "message-id"


@dataclass(frozen=True, slots=True)
class Asked:
    """The question: all mails of a ticket, or those of one event id or Message-ID (without angle brackets)."""

    kind: Kind
    value: str

    def holds_status(self, status: MailStatus) -> bool:
        """Whether a status belongs into the answer; a ticket's are known by their key before they are decoded."""
        match self.kind:
            case Kind.TICKET:
                return True
            case Kind.EVENT:
                return status.request_event_id == self.value
            case Kind.MESSAGE:
                return (status.message_id or "").strip("<>") == self.value

    def may_be_in(self) -> Wanted:
        """Which keys and values are worth decoding: text stands in Avro as it is."""
        text = self.value.encode()
        if self.kind is Kind.TICKET:
            return lambda key, _value: key == text
        return lambda _key, value: value is not None and text in value


@dataclass(frozen=True, slots=True)
class _Seen:
    """A status with its place in the status topic."""

    at: TopicPartition
    offset: int
    timestamp_ms: int
    key: bytes | None
    status: MailStatus

    @property
    def origin(self) -> Origin:
        return Origin(self.status.topic_id, self.status.offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSearch:
    """`main`, `status` and `dlq` are full topic names, `group` the senders' consumer group; `senders` looks who runs. Calls raise LogUnavailable."""

    log: EventLog
    codec: Codec
    main: str
    status: str
    dlq: str
    group: str
    now: datetime
    step: Step | None = None
    senders: Callable[[], SendersSeen] | None = None

    def find(
        self, asked: Asked, since: datetime | None = None, ticket_hint: str | None = None
    ) -> list[MailHistory]:
        """One history per request, oldest first; empty where nothing is known.

        `ticket_hint` names a ticket whose partition is looked at first, and alone if something is found there.
        """
        count = self.log.partition_count(self.main)
        hint = asked.value if asked.kind is Kind.TICKET else ticket_hint
        searched: list[Sequence[int]] = [] if hint is None else [[partition_of(hint.encode(), count)]]
        if asked.kind is not Kind.TICKET:
            searched.append(range(count))
        for partitions in searched:
            if asked.kind is Kind.MESSAGE:
                found = self._find_message(partitions, asked)
            else:
                found = self._find_in(partitions, asked, since)
            if found:
                return found
        return []

    def _find_message(self, partitions: Sequence[int], asked: Asked) -> list[MailHistory]:
        """A Message-ID stands only in statuses of attempts; the event that they name has the whole story."""
        seen, _ = self._recent(partitions, asked, None)
        if not seen:
            return []
        status = seen[-1].status
        assert status.request_event_id is not None, "a mail that was attempted could be decoded"
        return self._find_in([status.partition], Asked(Kind.EVENT, status.request_event_id), None)

    def _find_in(self, partitions: Sequence[int], asked: Asked, since: datetime | None) -> list[MailHistory]:
        topic_id = self.log.topic_id(self.main)
        committed = {partition: self._committed(partition) for partition in partitions}
        seen, reached = self._recent(partitions, asked, since)
        requests = self._requests_of(seen, topic_id)
        seen = self._earlier(seen, reached, requests) + seen
        requests += self._waiting(partitions, asked, committed, topic_id)
        spoken_of = {(item.status.partition, item.origin) for item in seen}
        silent = {r.partition for r in requests if (r.partition, r.origin) not in spoken_of}
        senders = self.senders() if silent and self.senders is not None else None
        views = {
            partition: PartitionView(
                topic_id=topic_id,
                committed=committed[partition],
                hold=hold_of(self.newest_status(partition), self.now) if partition in silent else None,
                senders=senders,
            )
            for partition in partitions
        }
        return fold_histories(
            (item.status for item in seen), requests, views, self._dead_letters(seen, requests)
        )

    def _dead_letters(self, seen: Iterable[_Seen], requests: Iterable[Request]) -> list[DeadMail]:
        deaths = [
            Death(item.status.partition, item.timestamp_ms, item.key)
            for item in seen
            if may_be_dead(item.status)
        ]
        replays = [
            (request.replay_of, None if request.ticket_id is None else request.ticket_id.encode())
            for request in requests
            if request.replay_of is not None
        ]
        return dead_letters(self.log, self.dlq, deaths, replays, self.step)

    def _committed(self, partition: int) -> int | None:
        point = self.log.committed(self.group, TopicPartition(self.main, partition))
        return None if point is None else point.offset

    def _recent(
        self, partitions: Sequence[int], asked: Asked, since: datetime | None
    ) -> tuple[list[_Seen], dict[TopicPartition, int]]:
        spans = bounds_of(self.log, [TopicPartition(self.status, partition) for partition in partitions])
        floor = since if since is not None or asked.kind is not Kind.TICKET else self.now - TICKET_LOOK_BACK

        wanted = asked.may_be_in()

        def keep(record: LogRecord) -> _Seen | None:
            return self._matching_status(record, asked)

        if floor is None:
            return scan_back(self.log, spans, keep, bool, self.step, wanted)
        floors = {at: self._offset_at(at, floor, span) for at, span in spans.items()}
        recent = {at: Bounds(low=floors[at], end=span.end) for at, span in spans.items()}
        found = scan(self.log, recent, keep, self.step, wanted)
        if found or since is not None:
            return found, floors
        older = {at: Bounds(low=span.low, end=floors[at]) for at, span in spans.items()}
        return scan_back(self.log, older, keep, bool, self.step, wanted)

    def _offset_at(self, at: TopicPartition, moment: datetime, span: Bounds) -> int:
        return min(self.log.offset_at(at, round(moment.timestamp() * 1000)), span.end)

    def _requests_of(self, seen: Iterable[_Seen], topic_id: str) -> list[Request]:
        """The requests that the statuses speak of, as far as the main topic still has them."""
        offsets: dict[int, set[int]] = {}
        for item in seen:
            if item.status.topic_id == topic_id:
                offsets.setdefault(item.status.partition, set()).add(item.status.offset)
        return [
            self._request(record, topic_id)
            for partition, wanted in offsets.items()
            for record in self.log.fetch_at(TopicPartition(self.main, partition), sorted(wanted))
        ]

    def _earlier(
        self, seen: list[_Seen], reached: dict[TopicPartition, int], requests: list[Request]
    ) -> list[_Seen]:
        """The statuses of the same requests below what was read, from the time of the oldest request on."""
        began = {(r.partition, r.origin): round(r.at.timestamp() * 1000) for r in requests}
        spans: dict[TopicPartition, Bounds] = {}
        for at in {item.at for item in seen}:
            of_partition = [item for item in seen if item.at == at]
            known = [began.get((item.status.partition, item.origin)) for item in of_partition]
            low = self.log.bounds(at).low
            times = [ms for ms in known if ms is not None]
            if len(times) == len(known):
                low = max(low, self.log.offset_at(at, min(times)))
            if low < reached[at]:
                spans[at] = Bounds(low=low, end=reached[at])
        places = {(item.at, item.origin) for item in seen}
        keys = {item.key for item in seen} | {
            None
        }  # a status too large for its topic was written without its key

        def keep(record: LogRecord) -> _Seen | None:
            item = self._decoded_status(record)
            return item if item is not None and (item.at, item.origin) in places else None

        return scan(self.log, spans, keep, self.step, lambda key, _value: key in keys)

    def _waiting(
        self, partitions: Sequence[int], asked: Asked, committed: dict[int, int | None], topic_id: str
    ) -> list[Request]:
        """Requests at or above the committed offset: unread, or read and not yet spoken of."""
        spans = bounds_of(self.log, [TopicPartition(self.main, partition) for partition in partitions])
        ahead = {
            at: Bounds(low=max(span.low, committed[at.partition] or 0), end=span.end)
            for at, span in spans.items()
        }

        def keep(record: LogRecord) -> Request | None:
            request = self._request(record, topic_id)
            return request if asked.kind is Kind.TICKET or request.event_id == asked.value else None

        return scan(self.log, ahead, keep, self.step, asked.may_be_in())

    def newest_status(self, partition: int) -> MailStatus | None:
        """What was last said of any mail of a partition. Raises LogUnavailable."""
        at = TopicPartition(self.status, partition)
        newest, _ = scan_back(self.log, {at: self.log.bounds(at)}, self._decoded_status, bool)
        return newest[-1].status if newest else None

    def _matching_status(self, record: LogRecord, asked: Asked) -> _Seen | None:
        item = self._decoded_status(record)
        return item if item is not None and asked.holds_status(item.status) else None

    def _decoded_status(self, record: LogRecord) -> _Seen | None:
        try:
            status = self.codec.decode(MailStatus, record.value)
        except Undecodable:
            return None  # not a sender's; it says nothing about any mail
        return _Seen(record.at, record.offset, record.timestamp_ms, record.key, status)

    def _request(self, record: LogRecord, topic_id: str) -> Request:
        place = Request(
            partition=record.at.partition,
            origin=Origin(topic_id, record.offset),
            at=moment(record.timestamp_ms / 1000),
            ticket_id=None if record.key is None else record.key.decode("utf-8", "replace"),
            replay_of=_replay_of(record),
        )
        try:
            request = self.codec.decode(MailRequested, record.value)
        except Undecodable:
            return place
        return replace(
            place,
            ticket_id=request.ticket_id,
            event_id=request.event_id,
            subject=request.subject,
            recipients=tuple(a.address for a in (*request.to, *request.cc, *request.bcc)),
        )


def search_of(session: Session, step: Step | None = None) -> StatusSearch:
    """A search in the topics of this session, as of now."""
    return StatusSearch(
        log=session.log,
        codec=session.codec,
        main=session.topic(OUTBOUND),
        status=session.topic(STATUS),
        dlq=session.topic(DLQ),
        group=session.settings.kafka.group("outbound"),
        now=datetime.now(UTC),
        step=step,
        senders=lambda: _senders_of(session, step),
    )


def _senders_of(session: Session, step: Step | None) -> SendersSeen:
    usage = usage_reader_of(session, step).read(session.settings, datetime.now(UTC))
    return senders_seen(usage.values())


def _replay_of(record: LogRecord) -> ReplayOf | None:
    try:
        return decode_replay(record.headers)[0]
    except BadTrail:
        return None  # the sender says so in the mail's status
