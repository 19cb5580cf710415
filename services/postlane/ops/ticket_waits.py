"""What waits for a person: the standing commands of mail.control, and mail of the journal that died and was kept."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.core.events.command import Command, Wish, concerns_all
from postlane.core.events.request import MailRequested
from postlane.core.events.status import Origin
from postlane.core.events.trail import BadTrail, Done, Put, decode
from postlane.core.instants import moment
from postlane.core.sending.recovery import JournalFold
from postlane.ops.scanning import Step, bounds_of, partitions_of, scan
from postlane.ports import EventLog, LogRecord, TopicPartition

_DECISIONS = {Wish.RETRY_MAIL, Wish.SKIP_MAIL}


@dataclass(frozen=True, slots=True)
class Orders:
    """The newest command about every ticket that is held, and about every mail that was decided on."""

    holds: dict[str, Command]
    decisions: dict[tuple[int, Origin], Command]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedMail:
    """A live mail of the journal; `since` = when it was parked after its newest death. `subject` is read of kept mail alone."""

    partition: int
    ticket_id: str
    put: Put
    since: datetime
    event_id: str | None = None
    subject: str | None = None

    @property
    def origin(self) -> Origin:
        """Where its request stands."""
        return self.put.origin


def read_orders(
    log: EventLog, codec: Codec, places: list[TopicPartition], step: Step | None = None
) -> Orders:
    """What these partitions of mail.control say now. Raises LogUnavailable."""

    def command(record: LogRecord) -> tuple[tuple[TopicPartition, bytes | None], Command] | None:
        try:
            return (record.at, record.key), codec.decode(Command, record.value)
        except Undecodable:
            return None

    def wanted(key: bytes | None, _value: bytes | None) -> bool:
        return not concerns_all(key)

    newest = dict(scan(log, bounds_of(log, places), command, step, wanted))
    return Orders(
        holds={c.ticket_id: c for c in newest.values() if c.wish is Wish.HOLD_TICKET},
        decisions={
            (at.partition, Origin(c.topic_id, c.offset)): c
            for (at, _), c in newest.items()
            if c.wish in _DECISIONS and c.topic_id is not None and c.offset is not None
        },
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    partition: int
    offset: int
    key: bytes | None
    timestamp_ms: int
    entry: Put | Done
    event_id: str | None
    subject: str | None


def read_parked(  # noqa: PLR0917 - read_orders', the topic's id, and where to begin
    log: EventLog,
    codec: Codec,
    places: list[TopicPartition],
    topic_id: str,
    step: Step | None = None,
    starts: Mapping[int, int] | None = None,
) -> list[ParkedMail]:
    """The live mails of these partitions of the journal, in their order. `topic_id` = that of mail.outbound. Raises LogUnavailable.

    `starts`: offsets by partition below which nothing lives.
    """

    def entry(record: LogRecord) -> _Entry | None:
        return _entry(record, codec)

    spans = bounds_of(log, places)
    if starts is not None:
        spans = {
            at: replace(span, low=max(span.low, starts.get(at.partition, 0))) for at, span in spans.items()
        }
    folds: dict[int, JournalFold] = {at.partition: JournalFold() for at in places}
    entries: dict[tuple[int, int], _Entry] = {}
    since_ms: dict[tuple[int, Origin, int], int] = {}  # a put is written again before retention takes it
    for found in scan(log, spans, entry, step):
        folds[found.partition].add(found.offset, found.key, found.entry)
        if isinstance(found.entry, Put):
            entries[found.partition, found.offset] = found
            death = (found.partition, found.entry.origin, found.entry.held)
            since_ms.setdefault(death, found.timestamp_ms)
    return [
        ParkedMail(
            partition=partition,
            ticket_id=(key or b"").decode("utf-8", "replace"),
            put=put,
            since=moment(since_ms[partition, put.origin, put.held] / 1000),
            event_id=entries[partition, offset].event_id,
            subject=entries[partition, offset].subject,
        )
        for partition, fold in folds.items()
        for offset, key, put in fold.parked(topic_id)
    ]


def kept(parked: Iterable[ParkedMail], orders: Orders) -> list[ParkedMail]:
    """Those that died and wait for a person: nobody has decided on their newest death."""
    return [mail for mail in parked if mail.put.held > 0 and decision_on(mail, orders) is None]


def decision_on(mail: ParkedMail, orders: Orders) -> Command | None:
    """What was decided about this death of this mail; None also where the newest decision was on an earlier death."""
    decision = orders.decisions.get((mail.partition, mail.origin))
    return decision if decision is not None and decision.held == mail.put.held else None


def places_of(log: EventLog, topic: str, partition: int | None) -> list[TopicPartition]:
    """One partition of a topic, or all of them."""
    return partitions_of(log, topic) if partition is None else [TopicPartition(topic, partition)]


def _entry(record: LogRecord, codec: Codec) -> _Entry | None:
    try:
        entry = decode(record.headers)
    except (BadTrail, ValueError):
        return None  # the owner of the partition reports it
    if not isinstance(entry, Put | Done):
        return None
    event_id = next(
        (value.decode("utf-8", "replace") for name, value in record.headers if name == "ce_id"), None
    )
    subject = None
    if isinstance(entry, Put) and entry.held > 0:
        with suppress(Undecodable):  # its bytes may lie in the blob store, or be the reason for its death
            subject = codec.decode(MailRequested, record.value).subject
    return _Entry(
        record.at.partition, record.offset, record.key, record.timestamp_ms, entry, event_id, subject
    )
