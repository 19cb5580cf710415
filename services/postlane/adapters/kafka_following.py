"""Committed records of some partitions as they come, for those who keep up with what others write; no group is joined."""

import threading
from collections.abc import Mapping
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from postlane import ports
from postlane.adapters.kafka_clients import describe, error_of
from postlane.adapters.kafka_group import record_of
from postlane.ports import LogUnavailable, RecordsHeard

POLL_SECONDS = 0.1  # how late `close` may be noticed
BATCH_RECORDS_MAX = 500
CLOSE_SECONDS = 5.0

log = structlog.get_logger(__name__)


class KafkaFollowing:
    """See ports.Following. A fault of the listener, or of a client that cannot go on, ends it: what was not heard cannot be made up for."""

    def __init__(
        self, config: dict[str, Any], starts: Mapping[ports.TopicPartition, int], heard: RecordsHeard
    ) -> None:
        self.fault: Exception | None = None
        self._refused = False
        self._heard = heard
        self._closing = threading.Event()
        self._reader = Consumer(config | {"error_cb": _tell})
        self._reader.assign([TopicPartition(at.topic, at.partition, start) for at, start in starts.items()])
        self._thread = threading.Thread(target=self._run, name="kafka-follow", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """See ports.Following.close."""
        self._closing.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                try:
                    messages = self._messages()
                except KafkaException as exception:
                    self._stumbled(error_of(exception))
                    self._closing.wait(POLL_SECONDS)
                    continue
                records = [record_of(message) for message in messages if message.error() is None]
                if records and not self._closing.is_set():
                    self._heard(records)
        except Exception as error:
            self.fault = error
            raise
        finally:
            self._reader.close()

    def _messages(self) -> list[Message]:
        # consume(500, 0.1) alone would wait out its time at light load.
        first = self._reader.poll(POLL_SECONDS)
        messages = [] if first is None else [first, *self._reader.consume(BATCH_RECORDS_MAX - 1, 0)]
        for message in messages:
            if (error := message.error()) is not None:
                self._stumbled(error)
        return messages

    def _stumbled(self, error: KafkaError) -> None:
        """Raises LogUnavailable where the client will never hear anything again."""
        _tell(error)
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED and not self._refused:
            self._refused = True  # of what only we read nobody else tells
            log.warning("following_refused", reason=describe(error))
        if error.fatal():
            raise LogUnavailable(f"the Kafka client cannot follow any more: {describe(error)}")


def _tell(error: KafkaError) -> None:
    # The consumer goes on by itself; the service's own members say that Kafka is away.
    log.debug("following_stumbled", reason=describe(error))
