"""Bounded reads of one partition: committed records from a start up to an end, markers and gaps passed over."""

import time
from collections.abc import Iterator, Sequence

from confluent_kafka import Consumer, KafkaError, TopicPartition

from postlane import ports
from postlane.adapters.kafka_clients import describe
from postlane.adapters.kafka_group import record_of
from postlane.ports import LogRecord, LogUnavailable

POLL_SECONDS = 0.1
BATCH_RECORDS_MAX = 500
NEARBY_RECORDS = 200  # offsets closer than this are read in one pass; farther ones by seeking


def scan(
    reader: Consumer,
    at: ports.TopicPartition,
    span: range,
    timeout_seconds: float,
    wanted: ports.Wanted | None = None,
) -> Iterator[list[LogRecord]]:
    """Committed records of `span`, until the position (control records included) has reached its end."""
    reader.assign([TopicPartition(at.topic, at.partition, span.start)])
    position = span.start
    trouble = "Kafka does not answer, or a transaction is still open there"
    deadline = time.monotonic() + timeout_seconds
    while position < span.stop:
        first = reader.poll(POLL_SECONDS)
        messages = [] if first is None else [first, *reader.consume(BATCH_RECORDS_MAX - 1, 0)]
        before = position
        batch = []
        for message in messages:
            error, offset = message.error(), message.offset()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                trouble = describe(error)
            elif offset is not None and offset >= position:
                # The end of what is readable is reported past control records: aborted data leaves no other trace.
                position = offset if error is not None else offset + 1
                if (
                    error is None
                    and offset < span.stop
                    and (wanted is None or wanted(message.key(), message.value()))
                ):
                    batch.append(record_of(message))
        if batch:
            yield batch
        if position > before:
            deadline = time.monotonic() + timeout_seconds
        elif time.monotonic() > deadline:
            raise LogUnavailable(
                f"{at.topic} {at.partition}: no progress at offset {position} (of {span.stop}) "
                f"for {timeout_seconds:g} s: {trouble}"
            )


def runs(offsets: Sequence[int]) -> Iterator[list[int]]:
    """Ascending offsets in groups that are cheaper read in one pass."""
    run: list[int] = []
    for offset in offsets:
        if run and offset - run[-1] > NEARBY_RECORDS:
            yield run
            run = []
        run.append(offset)
    if run:
        yield run
