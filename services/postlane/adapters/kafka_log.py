"""EventLog on confluent-kafka: questions about topics, bounded reads, and the way to writers and members."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # not in its __all__

from postlane import ports
from postlane.adapters.kafka_clients import (
    base_config,
    describe,
    error_of,
    fetcher_config,
    member_config,
    reader_config,
    writer_config,
)
from postlane.adapters.kafka_group import KafkaGroupMember
from postlane.adapters.kafka_scan import runs, scan
from postlane.adapters.kafka_writer import KafkaWriter
from postlane.config.sections import KafkaSection
from postlane.ports import Bounds, CommitPoint, GroupListener, LogRecord, LogUnavailable

_NO_SUCH_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION})  # noqa: SLF001
# After a leader change librdkafka's admin client asks with the old epoch until its metadata are refreshed, which it does
# not do by itself (for consumers it does: librdkafka issue 4620).
_STALE_METADATA = frozenset({KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH})
_OFFSETS: Any = OffsetSpec  # its methods carry no types

ANSWER_SECONDS = 10.0
GRACE_SECONDS = 5.0  # the client itself should end the wait first
PENDING_SECONDS = 2.0  # a pending offset is decided in a moment or never, and one client asks for one partition after the other
ASK_AGAIN_SECONDS = 0.2
FETCH_AT_SECONDS = 10.0


class KafkaLog:
    """See ports.EventLog. Thread-safe. Clients are made when first needed."""

    def __init__(self, kafka: KafkaSection, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._kafka = kafka
        self._answer_seconds = answer_seconds
        self._lock = threading.Lock()
        self._admin_client: AdminClient | None = None
        self._group_clients: dict[tuple[str, str], Consumer] = {}
        self._seek_lock = threading.Lock()
        self._seeker: Consumer | None = None

    def writer(self, transactional_id: str) -> KafkaWriter:
        """See ports.EventLog.writer."""
        return KafkaWriter(writer_config(self._kafka, transactional_id))

    def topic_id(self, topic: str) -> str:
        """See ports.EventLog.topic_id; base64 as Kafka's own tools show it."""
        return str(self._described(topic).topic_id)

    def partition_count(self, topic: str) -> int:
        """See ports.EventLog.partition_count."""
        return len(self._described(topic).partitions)

    def bounds(self, at: ports.TopicPartition) -> Bounds:
        """See ports.EventLog.bounds."""
        return Bounds(
            low=self._offset(at, _OFFSETS.earliest()),
            end=self._offset(at, _OFFSETS.latest()),
        )

    def offset_at(self, at: ports.TopicPartition, timestamp_ms: int) -> int:
        """See ports.EventLog.offset_at."""
        offset = self._offset(at, _OFFSETS.for_timestamp(timestamp_ms))
        return offset if offset >= 0 else self._offset(at, _OFFSETS.latest())

    def committed(self, group: str, at: ports.TopicPartition) -> CommitPoint | None:
        """See ports.EventLog.committed: the stable offset (KIP-447), else after a while the one committed before.

        A broker that is shut down can leave an offset pending for ever (seen with Kafka 4.3.1). The owner of p has ended p's own
        transactions with `take_over`, so an older commit costs it only more reading.
        """
        try:
            return self._committed(group, at, "read_committed", min(PENDING_SECONDS, self._answer_seconds))
        except LogUnavailable:
            return self._committed(group, at, "read_uncommitted", self._answer_seconds)

    def _committed(
        self, group: str, at: ports.TopicPartition, isolation: str, seconds: float
    ) -> CommitPoint | None:
        with self._lock:
            client = self._group_clients.get((group, isolation))
            if client is None:
                config = fetcher_config(self._kafka, group) | {"isolation.level": isolation}
                client = self._group_clients[group, isolation] = Consumer(config)
        try:
            answer = client.committed([TopicPartition(at.topic, at.partition)], timeout=seconds)[0]
        except KafkaException as exception:
            raise LogUnavailable(f"committed offset of {group}: {describe(error_of(exception))}") from None
        if answer.error is not None:
            raise LogUnavailable(f"committed offset of {group}: {describe(answer.error)}")
        return CommitPoint(answer.offset, answer.metadata or "") if answer.offset >= 0 else None

    def read(
        self,
        at: ports.TopicPartition,
        start: int,
        stop: int,
        timeout_seconds: float,
        *,
        wanted: ports.Wanted | None = None,
    ) -> Iterator[list[LogRecord]]:
        """See ports.EventLog.read."""
        if start >= stop:
            return
        reader = Consumer(reader_config(self._kafka))
        try:
            yield from scan(reader, at, range(start, stop), timeout_seconds, wanted)
        finally:
            reader.close()

    def hidden(self, at: ports.TopicPartition) -> LogRecord | None:
        """See ports.EventLog.hidden."""
        readable = self._offset(at, _OFFSETS.latest(), IsolationLevel.READ_COMMITTED)
        end = self._offset(at, _OFFSETS.latest())
        if readable >= end:
            return None
        reader = Consumer(reader_config(self._kafka) | {"isolation.level": "read_uncommitted"})
        try:
            batches = [*scan(reader, at, range(readable, end), self._answer_seconds)]
        finally:
            reader.close()
        return batches[-1][-1] if batches else None

    def fetch_at(self, at: ports.TopicPartition, offsets: Sequence[int]) -> list[LogRecord]:
        """See ports.EventLog.fetch_at; one pass per run of nearby offsets."""
        if not offsets:
            return []
        bounds = self.bounds(at)
        wanted = [offset for offset in sorted(set(offsets)) if bounds.low <= offset < bounds.end]
        found: list[LogRecord] = []
        with self._seek_lock:
            if self._seeker is None:
                self._seeker = Consumer(reader_config(self._kafka))
            try:
                for run in runs(wanted):
                    keep = frozenset(run)
                    span = range(run[0], run[-1] + 1)
                    for batch in scan(self._seeker, at, span, FETCH_AT_SECONDS):
                        found.extend(record for record in batch if record.offset in keep)
            finally:
                self._seeker.unassign()
        return found

    def join(self, group: str, topic: str, listener: GroupListener) -> KafkaGroupMember:
        """See ports.EventLog.join."""
        return KafkaGroupMember(
            member_config(self._kafka, group),
            fetcher_config(self._kafka, group),
            topic,
            listener,
        )

    def close(self) -> None:
        """See ports.EventLog.close; writers and members are closed by those who asked for them."""
        with self._lock:
            clients, self._group_clients = [*self._group_clients.values()], {}
            self._admin_client = None
        with self._seek_lock:
            if self._seeker is not None:
                clients.append(self._seeker)
                self._seeker = None
        for client in clients:
            client.close()

    def _admin(self) -> AdminClient:
        with self._lock:
            if self._admin_client is None:
                self._admin_client = AdminClient(base_config(self._kafka, "postlane"))
            self._admin_client.poll(0)  # hands queued log lines over
            return self._admin_client

    def _described(self, topic: str) -> Any:
        def ask() -> "Future[Any]":
            return self._admin().describe_topics(
                TopicCollection([topic]), request_timeout=self._answer_seconds
            )[topic]

        return self._answer(ask, f"topic {topic}")

    def _offset(
        self, at: ports.TopicPartition, spec: Any, isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED
    ) -> int:
        def ask() -> "Future[Any]":
            place = TopicPartition(at.topic, at.partition)
            return self._admin().list_offsets(
                {place: spec},
                isolation_level=isolation,
                request_timeout=self._answer_seconds,
            )[place]

        def refresh() -> None:
            with suppress(KafkaException):  # it is asked again in any case
                self._admin().list_topics(at.topic, timeout=self._answer_seconds)

        what = f"offsets of {at.topic} {at.partition}"
        offset = int(self._answer(ask, what, refresh).offset)
        if offset == OFFSET_INVALID:  # how librdkafka 2.16 reports that nobody answered in time
            raise LogUnavailable(f"{what}: Kafka does not answer")
        return offset

    def _answer(
        self, ask: Callable[[], "Future[Any]"], what: str, refresh: Callable[[], None] | None = None
    ) -> Any:
        """The answer; asked again while time is left, because a leader change makes the first one an error."""
        deadline = time.monotonic() + self._answer_seconds
        while True:
            try:
                return ask().result(self._answer_seconds + GRACE_SECONDS)
            except KafkaException as exception:
                error = error_of(exception)
            except TimeoutError:
                raise LogUnavailable(f"{what}: Kafka does not answer") from None
            if error.code() in _NO_SUCH_TOPIC:
                raise LogUnavailable(f"{what}: does not exist; create it with `postlane topics apply`")
            if time.monotonic() > deadline:
                raise LogUnavailable(f"{what}: {describe(error)}")
            if refresh is not None and error.code() in _STALE_METADATA:
                refresh()
            time.sleep(ASK_AGAIN_SECONDS)
