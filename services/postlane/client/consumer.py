"""Events out of Kafka, in order per ticket, at least once: an event counts as handled when you say so."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, Self, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from postlane.adapters.avro_codec import Codec, Undecodable
from postlane.adapters.kafka_clients import consumer_config, describe, error_of
from postlane.adapters.kafka_group import record_of
from postlane.adapters.schema_registry import ConfluentRegistry, RegistryUnavailable
from postlane.config.sections import KafkaSection
from postlane.core.events.feedback import MailFeedback
from postlane.core.events.received import MailReceived
from postlane.core.events.status import MailStatus
from postlane.core.polling.transaction_marks import is_repetition
from postlane.ports import LogUnavailable

E = TypeVar("E", bound=MailReceived | MailStatus | MailFeedback)

POLL_SECONDS = 0.5  # how soon an endless wait hears a signal or close()

# Everything else passes by itself, a broker that is away above all.
_REFUSALS = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,  # noqa: SLF001
    }
)
_NO_SUCH_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class Consumed(Generic[E]):
    """An event and where it stood."""

    event: E
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that is no such event: somebody else wrote it, or a newer version that this one does not know."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    fault: str


class _EventConsumer(Generic[E]):
    """A member of your consumer group: several processes with the same `group` share the events, each ticket with one of them.

    Only `done` makes progress durable (within a second and at close). Events come again after a crash or when a partition
    changes hands: skip event ids that you have handled, best by storing the id in the transaction that stores the result.

    A record that cannot be read raises Undecodable, which ends a `for` loop: nothing is passed over unseen. With
    `on_unreadable` the record is given to that function instead, and when it returns the consumer goes on behind it. Log it, or
    keep its bytes; it comes again after a restart unless something later in its partition, or the record itself, is `done`.
    """

    topic: ClassVar[str]
    kind: type[E]

    def __init__(
        self,
        kafka: KafkaSection,
        *,
        group: str,
        start: Literal["earliest", "latest"] = "earliest",
        on_unreadable: Callable[[Unreadable], None] | None = None,
    ) -> None:
        url = kafka.schema_registry_url
        self._topic = kafka.topic(self.topic)
        self._codec = Codec(None if url is None else ConfluentRegistry(url))
        self._on_unreadable = on_unreadable
        self._stopped = False
        self._closed = False
        self._polling = False
        self._busy = threading.RLock()
        self._consumer = Consumer(consumer_config(kafka, group, start))
        self._consumer.subscribe([self._topic])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Consumed[E]]:
        """Events without end, until `stop()`. Raises what `poll` raises."""
        while not self._stopped:
            consumed = self.poll(POLL_SECONDS)
            if consumed is not None:
                yield consumed

    def poll(self, timeout_seconds: float) -> Consumed[E] | None:
        """The next event, or None if none came in time. A broker that is away is waited for, and a repetition (see schemas/README.md) passed over.

        Raises Undecodable for a record that is no such event (the next call goes on behind it), unless there is `on_unreadable`; what
        that raises; LogUnavailable where the topic is missing, access is refused or the schema registry is away (the
        next call tries again).
        """
        message = self._poll(timeout_seconds)
        if message is None:
            return None
        error = message.error()
        if error is not None:
            self._raise_if_refused(error)
            return None
        if is_repetition(record_of(message).headers):
            return None  # the same event stands before it in this partition
        partition, offset = _place(message)
        try:
            event = self._codec.decode(self.kind, message.value())
        except Undecodable as fault:
            if self._on_unreadable is None:
                raise Undecodable(f"{self._topic} partition {partition} offset {offset}: {fault}") from None
            self._on_unreadable(
                Unreadable(self._topic, partition, offset, message.key(), message.value(), str(fault))
            )
            return None
        except RegistryUnavailable:
            self._consumer.seek(
                TopicPartition(self._topic, partition, offset)
            )  # the next call tries it again
            raise
        return Consumed(event, partition, offset)

    def done(self, consumed: Consumed[E] | Unreadable) -> None:
        """Count this event or record, and all before it in its partition, as handled."""
        place = TopicPartition(self._topic, consumed.partition, consumed.offset + 1)
        with self._busy:
            if self._closed:
                return  # too late: the event comes again
            try:
                self._consumer.store_offsets(offsets=[place])
            except KafkaException as exception:
                if error_of(exception).code() != KafkaError._STATE:  # noqa: SLF001
                    raise
                # The partition was taken away meanwhile: its new owner gets the event again.

    def stop(self) -> None:
        """End the iteration after the event at hand; from any thread or signal handler."""
        self._stopped = True

    def close(self) -> None:
        """Commit what is done and leave the group; the iteration ends after the event at hand."""
        self._stopped = True
        with self._busy:
            # In a signal handler we may stand in the middle of our own poll: the client must not go under it. The
            # iteration ends, and `with` closes.
            if not self._closed and not self._polling:
                self._closed = True
                self._consumer.close()

    def _poll(self, timeout_seconds: float) -> Message | None:
        with self._busy:
            if self._closed:
                raise RuntimeError(f"the consumer of {self._topic} is closed")
            self._polling = True
            try:
                return self._consumer.poll(timeout_seconds)
            finally:
                self._polling = False

    def _raise_if_refused(self, error: KafkaError) -> None:
        if error.code() in _NO_SUCH_TOPIC:
            raise LogUnavailable(
                f"topic {self._topic} does not exist; create it with `postlane topics apply`"
            )
        if error.fatal() or error.code() in _REFUSALS:
            raise LogUnavailable(f"{self._topic}: {describe(error)}")


class MailConsumer(_EventConsumer[MailReceived]):
    """Received mail: one MailReceived per mail of a mailbox."""

    topic = "mail.inbound"
    kind = MailReceived


class StatusConsumer(_EventConsumer[MailStatus]):
    """What becomes of requested mail: one MailStatus per step."""

    topic = "mail.outbound.status"
    kind = MailStatus


class FeedbackConsumer(_EventConsumer[MailFeedback]):
    """What other machines report about mail that was sent: one MailFeedback per bounced, delayed or complaining recipient."""

    topic = "mail.outbound.feedback"
    kind = MailFeedback


def _place(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset
