"""Mail requests into Kafka: checked first, then confirmed or an exception."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from postlane.adapters.avro_codec import Codec
from postlane.adapters.cloudevents import cloud_event_headers
from postlane.adapters.kafka_clients import describe, error_of, is_refusal, producer_config
from postlane.adapters.schema_registry import ConfluentRegistry
from postlane.config.sections import KafkaSection
from postlane.core.events.request import MailRequested
from postlane.core.events.request_rules import check_request

TOPIC = "mail.outbound"
TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.05
MISSING_TOPIC_MS = 5_000  # how long a topic that is not there is waited for


class RequestRefused(ValueError):
    """The request cannot be sent as it is; nothing was produced. `faults` has one `field: fault` each."""

    def __init__(self, event_id: str, faults: list[str]) -> None:
        super().__init__(f"mail request {event_id}: {'; '.join(faults)}")
        self.event_id = event_id
        self.faults = faults


class NotDelivered(Exception):
    """Kafka did not confirm the request. It may be there or not: send it again with the same `event_id`."""

    def __init__(self, event_id: str, reason: str) -> None:
        super().__init__(f"mail request {event_id} is not confirmed by Kafka: {reason}")
        self.event_id = event_id


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where the request stands in `mail.outbound`; from here on Postlane answers for it."""

    event_id: str
    partition: int
    offset: int


class MailProducer:
    """Thread-safe. Connects with the first request, so it may be made before a server forks its workers, not used."""

    def __init__(
        self,
        kafka: KafkaSection,
        *,
        source: str = "/ticketing-system",
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        url = kafka.schema_registry_url
        self._kafka = kafka
        self._topic = kafka.topic(TOPIC)
        self._source = source
        self._timeout_seconds = timeout_seconds
        self._codec = Codec(None if url is None else ConfluentRegistry(url))
        self._lock = threading.Lock()
        self._made: Producer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, request: MailRequested) -> Receipt:
        """Produce one request and wait until every replica has it. Raises RequestRefused, NotDelivered."""
        return self.send_all([request])[0]

    def send_all(self, requests: Iterable[MailRequested]) -> list[Receipt]:
        """Produce several at once, in this order; all of them are checked before the first one goes.

        Raises RequestRefused, NotDelivered; with the latter others of the list may have been delivered, so send all again.
        """
        batch = list(requests)
        for request in batch:
            if faults := check_request(request):
                raise RequestRefused(request.event_id, faults)
        values = [(request, self._codec.encode(request)) for request in batch]
        outcomes: dict[int, tuple[KafkaError | None, Message | None]] = {}
        for index, (request, value) in enumerate(values):
            self._produce(request, value, partial(_note, outcomes, index))
        self._await(outcomes, len(batch))
        return [self._receipt(request, outcomes.get(index)) for index, request in enumerate(batch)]

    def close(self) -> None:
        """Let go of the connection; nothing is waiting, because every send was confirmed."""
        with self._lock:
            self._made = None

    def _client(self) -> Producer:
        with self._lock:
            if self._made is None:
                config = producer_config(self._kafka, "postlane-client")
                config["message.timeout.ms"] = round(self._timeout_seconds * 1000)
                config["topic.metadata.propagation.max.ms"] = MISSING_TOPIC_MS
                self._made = Producer(config)
            return self._made

    def _produce(self, request: MailRequested, value: bytes, on_delivery: "partial[None]") -> None:
        client = self._client()
        deadline = time.monotonic() + self._timeout_seconds
        headers = list(cloud_event_headers(request, self._source))
        while True:
            try:
                client.produce(
                    self._topic,
                    value=value,
                    key=request.ticket_id.encode(),
                    headers=list(headers),
                    on_delivery=on_delivery,
                )
            except BufferError:  # the local queue is full
                if time.monotonic() > deadline:
                    raise NotDelivered(request.event_id, "too many requests are waiting") from None
                client.poll(POLL_SECONDS)
            except KafkaException as exception:
                on_delivery(error_of(exception), None)
                return
            else:
                return

    def _await(self, outcomes: dict[int, tuple[KafkaError | None, Message | None]], count: int) -> None:
        client = self._client()
        deadline = time.monotonic() + self._timeout_seconds + 1.0  # librdkafka gives up first and says why
        while len(outcomes) < count and time.monotonic() < deadline:
            client.poll(POLL_SECONDS)

    def _receipt(
        self, request: MailRequested, outcome: tuple[KafkaError | None, Message | None] | None
    ) -> Receipt:
        error, message = outcome or (KafkaError(KafkaError._MSG_TIMED_OUT), None)  # noqa: SLF001
        if error is not None and is_refusal(error):
            fault = "the whole request is too large for Kafka; put attachments into the blob store and name them by `blob`"
            raise RequestRefused(request.event_id, [f"{fault} ({describe(error)})"])
        if error is not None:
            raise NotDelivered(request.event_id, self._reason(error))
        assert message is not None
        return Receipt(request.event_id, message.partition() or 0, message.offset() or 0)

    def _reason(self, error: KafkaError) -> str:
        if error.code() in {KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART}:  # noqa: SLF001
            return f"topic {self._topic} does not exist; create it with `postlane topics apply`"
        return describe(error)


def _note(
    outcomes: dict[int, tuple[KafkaError | None, Message | None]],
    index: int,
    error: KafkaError | None,
    message: Message | None,
) -> None:
    outcomes[index] = (error, message)
