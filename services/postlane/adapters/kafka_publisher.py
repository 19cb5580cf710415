"""Publisher on a producer that lives as long as its service."""

import threading
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from postlane.adapters.kafka_clients import describe, error_of
from postlane.ports import NewRecord

POLL_SECONDS = 0.5

log = structlog.get_logger(__name__)


class KafkaPublisher:
    """See ports.Publisher."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._producer = Producer(config)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="kafka-publish", daemon=True)
        self._thread.start()

    def publish(self, record: NewRecord) -> None:
        """See ports.Publisher.publish."""
        try:
            self._producer.produce(
                record.to.topic,
                value=record.value,
                key=record.key,
                partition=record.to.partition,
                headers=list(record.headers),
                on_delivery=_delivered,
            )
        except BufferError:
            log.warning("record_given_up", topic=record.to.topic, reason="too much waits for Kafka already")
        except KafkaException as exception:
            log.warning("record_given_up", topic=record.to.topic, reason=describe(error_of(exception)))

    def close(self, timeout_seconds: float) -> None:
        """See ports.Publisher.close."""
        self._closing.set()
        self._thread.join(2 * POLL_SECONDS)
        self._producer.flush(timeout_seconds)

    def _serve(self) -> None:
        """Delivery reports come with `poll`."""
        while not self._closing.is_set():
            self._producer.poll(POLL_SECONDS)


def _delivered(error: KafkaError | None, message: Message) -> None:
    if error is not None:
        log.warning("record_given_up", topic=message.topic(), reason=describe(error))
