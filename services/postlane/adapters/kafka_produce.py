"""Writes records outside any transaction and waits until they are durable."""

from collections.abc import Callable, Iterable
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from postlane.adapters.kafka_clients import describe, error_of, is_refusal, producer_config
from postlane.config.sections import KafkaSection
from postlane.ports import LogUnavailable, NewRecord, RecordRefused

DELIVERY_SECONDS = 20.0
QUEUE_FULL_SECONDS = 0.1


def produce(kafka: KafkaSection, record: NewRecord) -> int:
    """The offset of the written record. Raises RecordRefused, LogUnavailable."""
    return produce_all(kafka, [record])[0]


def produce_all(
    kafka: KafkaSection, records: Iterable[NewRecord], step: Callable[[int], None] | None = None
) -> list[int]:
    """The offsets of the written records, in their order; `step` is told how many more are on their way.

    Raises RecordRefused (with the place of the first refused record), LogUnavailable: then some may have been written, and all may be again.
    """
    timeout = {"message.timeout.ms": round(DELIVERY_SECONDS * 1000)}
    producer = Producer(producer_config(kafka, "postlane-send") | timeout)
    delivered: dict[int, int] = {}
    failed: dict[int, tuple[KafkaError, NewRecord]] = {}
    for index, record in enumerate(records):
        _produce(producer, record, partial(_delivered, index, record, delivered, failed))
        if step is not None:
            step(1)
        if failed:
            break
    producer.flush(DELIVERY_SECONDS + 1.0)
    if failed:
        index = min(failed)
        error, record = failed[index]
        if is_refusal(error):
            raise RecordRefused(index, describe(error))
        raise _unwritten(record, error)
    if len(producer):
        raise _unwritten(record, KafkaError(KafkaError._MSG_TIMED_OUT))  # noqa: SLF001 - librdkafka's own code
    return [delivered[index] for index in sorted(delivered)]


def _produce(
    producer: Producer, record: NewRecord, on_delivery: Callable[[KafkaError | None, Message | None], None]
) -> None:
    while True:
        try:
            producer.produce(
                record.to.topic,
                value=record.value,
                key=record.key,
                partition=record.to.partition,
                headers=list(record.headers),
                on_delivery=on_delivery,
            )
        except BufferError:  # the queue is full; every record in it ends by its time-out
            producer.poll(QUEUE_FULL_SECONDS)
        except KafkaException as exception:
            on_delivery(error_of(exception), None)
            return
        else:
            producer.poll(0)
            return


def _delivered(  # noqa: PLR0917 - bound by `partial`, called by librdkafka
    index: int,
    record: NewRecord,
    delivered: dict[int, int],
    failed: dict[int, tuple[KafkaError, NewRecord]],
    error: KafkaError | None,
    message: Message | None,
) -> None:
    if error is not None:
        failed[index] = (error, record)
    elif message is not None:
        delivered[index] = message.offset() or 0


def _unwritten(record: NewRecord, error: KafkaError) -> LogUnavailable:
    return LogUnavailable(f"cannot write to {record.to.topic} {record.to.partition}: {describe(error)}")
