"""Records of several partitions as they come, for people who watch; no group is joined and nothing is committed."""

from collections.abc import Iterator, Mapping

from confluent_kafka import Consumer, KafkaError, TopicPartition

from postlane import ports
from postlane.adapters.kafka_clients import describe, reader_config
from postlane.adapters.kafka_group import record_of
from postlane.config.sections import KafkaSection
from postlane.ports import LogRecord, LogUnavailable

POLL_SECONDS = 0.2
BATCH_RECORDS_MAX = 500
_END_REACHED = KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's local codes begin with an underscore


def stream_records(
    kafka: KafkaSection, starts: Mapping[ports.TopicPartition, int], *, follow: bool
) -> Iterator[list[LogRecord]]:
    """Committed records from these offsets on, in order per partition; without `follow` until each partition's end.

    While nothing comes, `follow` yields empty lists, so that the caller can stop. Raises LogUnavailable.
    """
    reader = Consumer(reader_config(kafka))
    unfinished = set(starts)
    try:
        reader.assign([TopicPartition(at.topic, at.partition, start) for at, start in starts.items()])
        while follow or unfinished:
            batch = []
            for message in reader.consume(BATCH_RECORDS_MAX, POLL_SECONDS):
                error = message.error()
                if error is None:
                    batch.append(record_of(message))
                elif error.code() == _END_REACHED:
                    unfinished.discard(ports.TopicPartition(str(message.topic()), message.partition() or 0))
                elif not follow or error.fatal():  # who follows waits for a broker that is away
                    raise LogUnavailable(f"{message.topic()}: {describe(error)}")
            if batch or follow:
                yield batch
    finally:
        reader.close()
