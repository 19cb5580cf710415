"""What a new owner finds in Kafka and what it puts right there."""

from datetime import UTC, datetime

from fakes.memory_log import MemoryLog
from postlane.adapters.avro_codec import Codec
from postlane.core.events.status import MailState, MailStatus, Origin
from postlane.core.events.trail import Dead, Done, Put, Resolved, decode, encode
from postlane.outbound.control import ControlReader
from postlane.outbound.takeover import TakenOver, TakeOver
from postlane.outbound.topics import OutboundTopics
from postlane.ports import LogRecord, NewRecord, TopicPartition

CODEC = Codec()
TOPICS = OutboundTopics(main="main", retry="retry", status="status", dlq="dlq")
RETRY, STATUS, DLQ = (TopicPartition(topic, 0) for topic in ("retry", "status", "dlq"))


MAIN = TopicPartition("main", 0)


def site() -> MemoryLog:
    log = MemoryLog()
    for topic in ("main", "retry", "status", "dlq", "control"):
        log.create_topic(topic, 1)
    writer = log.writer("desk")
    writer.take_over()
    writer.stage([NewRecord(to=MAIN, key=b"t", value=b"request", headers=())] * 8)
    writer.commit()
    return log


def take_over(log: MemoryLog) -> TakenOver:
    control = ControlReader(event_log=log, codec=CODEC, topic="control")
    work = TakeOver(
        event_log=log, codec=CODEC, control=control, topics=TOPICS, group="g", duplicate_window_seconds=60.0
    )
    return work.run(log.writer("g-0"), 0)


def put(log: MemoryLog, offset: int) -> NewRecord:
    origin = Origin(log.topic_id("main"), offset)
    entry = Put(
        origin=origin, attempt=1, first_seen_ms=1, due_ms=2, remaining=None, held=0, cause="c", reason="r"
    )
    return NewRecord(to=RETRY, key=b"t", value=b"request", headers=encode(entry))


def sent(log: MemoryLog, offset: int) -> NewRecord:
    status = MailStatus(
        status_id=f"s{offset}",
        occurred_at=datetime.now(UTC),
        state=MailState.SENT,
        final=True,
        topic_id=log.topic_id("main"),
        partition=0,
        offset=offset,
        cause="accepted",
        reason="r",
        attempt=1,
        instance="i",
    )
    return NewRecord(to=STATUS, key=b"t", value=CODEC.encode(status))


def dead(log: MemoryLog, offset: int) -> NewRecord:
    entry = Dead(
        origin=Origin(log.topic_id("main"), offset),
        origin_topic="main",
        partition=0,
        attempt=1,
        first_seen_ms=1,
        died_ms=2,
        remaining=None,
        cause="c",
        reason="r",
        reply=None,
    )
    return NewRecord(to=DLQ, key=b"t", value=b"request", headers=encode(entry))


def written(log: MemoryLog, at: TopicPartition) -> list[LogRecord]:
    return [record for batch in log.read(at, 0, log.bounds(at).end, 1.0) for record in batch]


def test_what_was_committed_is_found() -> None:
    log = site()
    writer = log.writer("g-0")
    writer.take_over()
    writer.stage([sent(log, 3), put(log, 4), put(log, 5)])
    writer.commit()
    writer.stage([NewRecord(to=RETRY, key=b"t", value=None, headers=encode(Done(origin=Origin("x", 9))))])
    taken = take_over(log)
    assert [entry.origin.offset for _, _, entry in taken.recovered.parked] == [4, 5]
    assert taken.recovered.done == {3: 0}
    assert taken.alarms == ()


def test_a_transaction_whose_end_the_broker_forgot_is_ended_and_counts() -> None:
    log = site()
    writer = log.writer("g-0")
    writer.take_over()
    writer.stage([put(log, 4)])
    writer.commit()
    log.forgets_markers = True
    writer.stage([sent(log, 3), put(log, 5), put(log, 6), dead(log, 7)])
    writer.commit()
    log.forgets_markers = False
    taken = take_over(log)
    assert [entry.origin.offset for _, _, entry in taken.recovered.parked] == [4, 5, 6]
    assert taken.recovered.done.keys() == {3}
    assert len(taken.alarms) == 3
    assert all("never marked" in alarm for alarm in taken.alarms)
    assert all(log.hidden(at) is None for at in (RETRY, STATUS, DLQ))


def test_a_revealed_dead_letter_is_not_doubled() -> None:
    log = site()
    writer = log.writer("g-0")
    writer.take_over()
    log.forgets_markers = True
    writer.stage([dead(log, 7)])
    writer.commit()
    log.forgets_markers = False
    take_over(log)
    first, second = (decode(record.headers) for record in written(log, DLQ))
    assert isinstance(first, Dead)
    assert isinstance(second, Resolved)
    assert second.dead_offset > log.bounds(DLQ).end
