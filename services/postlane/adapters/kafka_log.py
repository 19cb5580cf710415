"""EventLog on confluent-kafka: questions about topics, bounded reads, and the way to writers and members."""

import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ClusterMetadata  # type: ignore[attr-defined]  # not in its __all__

from postlane import ports
from postlane.adapters.kafka_clients import (
    admin_config,
    asker_config,
    describe,
    error_of,
    fetcher_config,
    follower_config,
    member_config,
    publisher_config,
    reader_config,
    writer_config,
)
from postlane.adapters.kafka_following import KafkaFollowing
from postlane.adapters.kafka_group import KafkaGroupMember
from postlane.adapters.kafka_publisher import KafkaPublisher
from postlane.adapters.kafka_scan import runs, scan
from postlane.adapters.kafka_writer import KafkaWriter
from postlane.config.sections import KafkaSection
from postlane.ports import Bounds, CommitPoint, GroupListener, LogRecord, LogUnavailable, RecordsHeard

_NO_SUCH_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION})  # noqa: SLF001

ANSWER_SECONDS = 10.0
ASK_SECONDS = 4.0  # one try: it may wait for a leader that is down; the next one hears of its successor
KNOCK_SECONDS = 1.0
GRACE_SECONDS = 5.0  # the client itself should end the wait first
PENDING_SECONDS = 2.0  # a pending offset is decided in a moment or never, and one client asks for one partition after the other
ASK_AGAIN_SECONDS = 0.2
FETCH_AT_SECONDS = 10.0
_UNCOMMITTED, _COMMITTED = "read_uncommitted", "read_committed"

_Answer = TypeVar("_Answer")


class KafkaLog:
    """See ports.EventLog. Thread-safe. Clients are made when first needed."""

    def __init__(self, kafka: KafkaSection, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._kafka = kafka
        self._answer_seconds = answer_seconds
        self._lock = threading.Lock()
        self._admin_client: AdminClient | None = None
        self._group_clients: dict[tuple[str, str], Consumer] = {}
        self._askers: dict[str, Consumer] = {}
        self._seek_lock = threading.Lock()
        self._seeker: Consumer | None = None

    def writer(self, transactional_id: str) -> KafkaWriter:
        """See ports.EventLog.writer."""
        return KafkaWriter(writer_config(self._kafka, transactional_id))

    def topic_id(self, topic: str) -> str:
        """See ports.EventLog.topic_id; base64 as Kafka's own tools show it."""

        def ask(seconds: float) -> str:
            admin = self._admin()
            # What is asked next goes to the broker that is named as controller; while that one is away, the client would dial it without a pause.
            _knock(self._metadata(admin, topic, seconds))
            answer = admin.describe_topics(TopicCollection([topic]), request_timeout=seconds)[topic]
            return str(answer.result(seconds + GRACE_SECONDS).topic_id)

        return self._until_answered(f"topic {topic}", ask)

    def partition_count(self, topic: str) -> int:
        """See ports.EventLog.partition_count."""
        return self._until_answered(
            f"topic {topic}", lambda seconds: len(self._partitions(self._admin(), topic, seconds))
        )

    def bounds(self, at: ports.TopicPartition) -> Bounds:
        """See ports.EventLog.bounds."""
        return self._bounds(at, _UNCOMMITTED)

    def offset_at(self, at: ports.TopicPartition, timestamp_ms: int) -> int:
        """See ports.EventLog.offset_at."""
        wanted = TopicPartition(at.topic, at.partition, timestamp_ms)

        def ask(client: Consumer, seconds: float) -> int:
            (found,) = client.offsets_for_times([wanted], timeout=seconds)
            if found.error is not None:
                raise KafkaException(found.error)
            return int(found.offset)

        offset = self._ask_leader(at, _UNCOMMITTED, ask)
        return offset if offset >= 0 else self.bounds(at).end

    def committed(self, group: str, at: ports.TopicPartition) -> CommitPoint | None:
        """See ports.EventLog.committed: the stable offset (KIP-447), else after a while the one committed before.

        A broker that is shut down can leave an offset pending for ever (seen with Kafka 4.3.1). The owner of p has ended p's own
        transactions with `take_over`, so an older commit costs it only more reading.
        """
        try:
            return self._committed(group, at, _COMMITTED, min(PENDING_SECONDS, self._answer_seconds))
        except LogUnavailable:
            return self._committed(group, at, _UNCOMMITTED, self._answer_seconds)

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
        last = None
        for batch in self.unstable(at):
            last = batch[-1]
        return last

    def stable_end(self, at: ports.TopicPartition) -> int:
        """See ports.EventLog.stable_end."""
        return self._bounds(at, _COMMITTED).end

    def ends(
        self, places: Collection[ports.TopicPartition], *, stable: bool
    ) -> dict[ports.TopicPartition, int]:
        """See ports.EventLog.ends; one request for each leader, as the latest time's offset is the end."""
        if not places:
            return {}
        wanted = [TopicPartition(at.topic, at.partition, OFFSET_END) for at in places]

        def ask(client: Consumer, seconds: float) -> dict[ports.TopicPartition, int]:
            found = client.offsets_for_times(wanted, timeout=seconds)
            for one in found:
                if one.error is not None:
                    raise KafkaException(one.error)
            return {ports.TopicPartition(one.topic, one.partition): int(one.offset) for one in found}

        return self._ask_leader(next(iter(places)), _COMMITTED if stable else _UNCOMMITTED, ask)

    def unstable(self, at: ports.TopicPartition) -> Iterator[list[LogRecord]]:
        """See ports.EventLog.unstable."""
        readable, end = self.stable_end(at), self.bounds(at).end
        if readable >= end:
            return
        reader = Consumer(reader_config(self._kafka) | {"isolation.level": _UNCOMMITTED})
        try:
            yield from scan(reader, at, range(readable, end), self._answer_seconds)
        finally:
            reader.close()

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

    def follow(self, starts: Mapping[ports.TopicPartition, int], heard: RecordsHeard) -> KafkaFollowing:
        """See ports.EventLog.follow."""
        return KafkaFollowing(follower_config(self._kafka), starts, heard)

    def publisher(self, name: str) -> KafkaPublisher:
        """See ports.EventLog.publisher."""
        return KafkaPublisher(publisher_config(self._kafka, name))

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
            # Dropped, not closed: another thread may be asking.
            self._admin_client, self._askers = None, {}
        with self._seek_lock:
            if self._seeker is not None:
                clients.append(self._seeker)
                self._seeker = None
        for client in clients:
            client.close()

    def _admin(self) -> AdminClient:
        with self._lock:
            if self._admin_client is None:
                self._admin_client = AdminClient(admin_config(self._kafka))
            self._admin_client.poll(0)  # hands queued log lines over
            return self._admin_client

    def _bounds(self, at: ports.TopicPartition, isolation: str) -> Bounds:
        def ask(client: Consumer, seconds: float) -> Bounds:
            place = TopicPartition(at.topic, at.partition)
            low, end = client.get_watermark_offsets(place, timeout=seconds, cached=False)
            return Bounds(low=low, end=end)

        return self._ask_leader(at, isolation, ask)

    def _ask_leader(
        self, at: ports.TopicPartition, isolation: str, ask: Callable[[Consumer, float], _Answer]
    ) -> _Answer:
        """Ask by way of a consumer: AdminClient.list_offsets redials a leader that is down without a pause (librdkafka 2.16)."""
        with self._lock:
            client = self._askers.get(isolation)
            if client is None:
                client = self._askers[isolation] = Consumer(asker_config(self._kafka, isolation))
            client.poll(0)  # hands queued log lines over

        def try_once(seconds: float) -> _Answer:
            try:
                return ask(client, seconds)
            except KafkaException as exception:
                # How the client also calls a partition without a leader.
                if error_of(exception).code() in _NO_SUCH_TOPIC and at.partition in self._partitions(
                    client, at.topic, seconds
                ):
                    raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE)) from None
                raise

        return self._until_answered(f"offsets of {at.topic} {at.partition}", try_once)

    def _partitions(self, client: AdminClient | Consumer, topic: str, seconds: float) -> dict[int, Any]:
        """The partitions by number, as any broker knows them. Raises KafkaException."""
        return dict(self._metadata(client, topic, seconds).topics[topic].partitions)

    def _metadata(self, client: AdminClient | Consumer, topic: str, seconds: float) -> ClusterMetadata:
        """What any broker knows of the topic and the cluster. Raises KafkaException."""
        metadata = client.list_topics(topic, timeout=seconds)
        error = metadata.topics[topic].error
        if error is not None:
            raise KafkaException(error)
        return metadata

    def _until_answered(self, what: str, ask: Callable[[float], _Answer]) -> _Answer:
        """Ask again while time is left: a leader or a broker that has gone makes the first answers errors."""
        deadline = time.monotonic() + self._answer_seconds
        while True:
            try:
                return ask(min(ASK_SECONDS, self._answer_seconds))
            except KafkaException as exception:
                error = error_of(exception)
                if error.code() in _NO_SUCH_TOPIC:
                    raise LogUnavailable(
                        f"{what}: does not exist; create it with `postlane topics apply`"
                    ) from None
                trouble = describe(error)
            except TimeoutError:
                trouble = "Kafka does not answer"
            if time.monotonic() > deadline:
                raise LogUnavailable(f"{what}: {trouble}")
            time.sleep(ASK_AGAIN_SECONDS)


def _knock(metadata: ClusterMetadata) -> None:
    """See that somebody listens where the controller should be. Raises KafkaException."""
    controller = metadata.brokers.get(metadata.controller_id)
    if controller is None:
        raise KafkaException(KafkaError(KafkaError.BROKER_NOT_AVAILABLE))
    try:
        socket.create_connection((controller.host, controller.port), KNOCK_SECONDS).close()
    except OSError:
        raise KafkaException(KafkaError(KafkaError.BROKER_NOT_AVAILABLE)) from None
