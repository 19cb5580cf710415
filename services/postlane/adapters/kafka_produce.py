"""Writes one record outside any transaction and waits until it is durable, for commands that end after it."""

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from postlane.adapters.kafka_clients import describe, error_of, is_refusal, producer_config
from postlane.config.sections import KafkaSection
from postlane.ports import LogUnavailable, NewRecord, RecordRefused

DELIVERY_SECONDS = 20.0


def produce(kafka: KafkaSection, record: NewRecord) -> int:
    """The offset of the written record. Raises RecordRefused, LogUnavailable."""
    timeout = {"message.timeout.ms": round(DELIVERY_SECONDS * 1000)}
    producer = Producer(producer_config(kafka, "postlane-send") | timeout)
    delivered: list[int] = []
    failed: list[KafkaError] = []

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failed.append(error)
        else:
            delivered.append(message.offset() or 0)

    try:
        producer.produce(
            record.to.topic,
            value=record.value,
            key=record.key,
            partition=record.to.partition,
            headers=list(record.headers),
            on_delivery=on_delivery,
        )
    except KafkaException as exception:
        failed.append(error_of(exception))
    producer.flush(DELIVERY_SECONDS + 1.0)
    if delivered:
        return delivered[0]
    error = failed[0] if failed else KafkaError(KafkaError._MSG_TIMED_OUT)  # noqa: SLF001 - librdkafka's own code
    if is_refusal(error):
        raise RecordRefused(0, describe(error))
    raise LogUnavailable(f"cannot write to {record.to.topic} {record.to.partition}: {describe(error)}")
