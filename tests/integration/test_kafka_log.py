"""What only a real broker can show of the Kafka adapters, beside the EventLog contract."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import Message, Producer
from confluent_kafka import TopicPartition as RawPartition
from pydantic import SecretStr

from contract.test_event_log import KafkaCluster
from fakes.recording_listener import RecordingListener
from localstack import kafka
from localstack.ports import free_ports
from postlane.adapters.kafka_clients import fetcher_config, member_config, writer_config
from postlane.adapters.kafka_group import KafkaGroupMember, record_of
from postlane.adapters.kafka_log import KafkaLog
from postlane.adapters.kafka_writer import KafkaWriter
from postlane.config.sections import KafkaSection
from postlane.ports import (
    CommitPoint,
    Fenced,
    LogRecord,
    LogUnavailable,
    NewRecord,
    TopicPartition,
    TransactionAborted,
)

WAIT_SECONDS = (
    100.0  # a condition is waited for; only a test that fails waits so long, however busy the machine
)
PASSWORD = "correct-horse-battery"


@pytest.fixture
def cluster(kafka_bootstrap: str) -> Iterator[KafkaCluster]:
    cluster = KafkaCluster(kafka_bootstrap)
    yield cluster
    cluster.log.close()


def nobody() -> KafkaSection:
    """A cluster at whose address nothing listens."""
    return KafkaSection(bootstrap_servers=f"127.0.0.1:{free_ports(1)[0]}")


def in_thread(call: Callable[[], Any]) -> "tuple[threading.Thread, list[Any]]":
    """Run a call aside; its result or exception ends up in the list."""
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(call())
        except Exception as error:  # noqa: BLE001 (handed to the test)
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, result


class StaleMember(KafkaGroupMember):
    """A member that commits with the generation of a while ago, as in the moment when a rebalance has just ended."""

    stale: Any = None

    @property
    def topic(self) -> str:
        return self._topic

    def metadata(self) -> Any:
        return super().metadata() if self.stale is None else self.stale


@pytest.fixture
def stale(kafka_bootstrap: str, cluster: KafkaCluster) -> Iterator[tuple[StaleMember, RecordingListener]]:
    """It owns two of four partitions, but its `stale` metadata is from before the second member came."""
    kafka, topic = KafkaSection(bootstrap_servers=kafka_bootstrap), cluster.create_topic(4)
    group, listener, others = f"group-{topic}", RecordingListener(), RecordingListener()
    member = StaleMember(member_config(kafka, group), fetcher_config(kafka, group), topic, listener)
    listener.wait_until(lambda seen: len(seen.owned) == 4)
    before = member.metadata()
    other = cluster.log.join(group, topic, others)
    others.wait_until(lambda seen: len(seen.owned) == 2)
    member.stale = before
    yield member, listener
    other.close()
    member.close()


def test_an_old_generation_aborts_while_the_partition_is_still_ours(
    cluster: KafkaCluster, stale: tuple[StaleMember, RecordingListener]
) -> None:
    member, listener = stale
    at = TopicPartition(member.topic, min(listener.owned))
    writer = cluster.log.writer(f"writer-{at.topic}")
    writer.take_over()
    writer.stage([NewRecord(to=at, key=b"k", value=b"first")])
    with pytest.raises(TransactionAborted, match="generation"):
        writer.commit(member, [(at, CommitPoint(1, ""))])
    member.stale = None
    writer.stage([NewRecord(to=at, key=b"k", value=b"again")])
    writer.commit(member, [(at, CommitPoint(1, ""))])
    end = cluster.log.bounds(at).end
    values = [record.value for batch in cluster.log.read(at, 0, end, WAIT_SECONDS) for record in batch]
    assert values == [b"again"]
    writer.close()


def test_an_old_generation_is_fenced_once_the_partition_is_not_ours(
    cluster: KafkaCluster, stale: tuple[StaleMember, RecordingListener]
) -> None:
    member, listener = stale
    at = TopicPartition(member.topic, min({0, 1, 2, 3} - listener.owned))
    writer = cluster.log.writer(f"writer-{at.topic}")
    writer.take_over()
    writer.stage([])
    with pytest.raises(Fenced, match="generation"):
        writer.commit(member, [(at, CommitPoint(1, ""))])
    writer.close()


class CommittingListener(RecordingListener):
    """Makes the last commit of what is taken away in another thread and waits for it, as the services do."""

    def __init__(self, commit: Callable[[], None]) -> None:
        super().__init__()
        self._commit = commit
        self.commits: list[Any] = []

    def revoked(self, partitions: Sequence[int]) -> None:
        if self.commits == []:
            thread, result = in_thread(self._commit)
            thread.join(WAIT_SECONDS / 2)
            self.commits.append([*result])
        super().revoked(partitions)


def test_the_last_commit_of_a_partition_is_made_while_it_is_taken_away(cluster: KafkaCluster) -> None:
    topic = cluster.create_topic(2)
    group, points = f"group-{topic}", [(TopicPartition(topic, p), CommitPoint(7, "last")) for p in range(2)]
    writer = cluster.log.writer(f"writer-{topic}")
    writer.take_over()
    writer.stage([])
    listener, others = CommittingListener(lambda: writer.commit(member, points)), RecordingListener()
    member = cluster.log.join(group, topic, listener)
    listener.wait_until(lambda seen: len(seen.owned) == 2)
    other = cluster.log.join(group, topic, others)
    others.wait_until(lambda seen: len(seen.owned) == 1)
    assert listener.commits == [[None]]
    assert cluster.log.committed(group, points[0][0]) == CommitPoint(7, "last")
    other.close()
    member.close()
    writer.close()


def test_an_undecided_transaction_does_not_hide_the_committed_offset(
    kafka_bootstrap: str, cluster: KafkaCluster
) -> None:
    """A broker's fault can leave one undecided for ever; the owner's own have been ended by `take_over`."""
    topic = cluster.create_topic(4)
    group, listener, at = f"group-{topic}", RecordingListener(), TopicPartition(topic, 0)
    member = cluster.log.join(group, topic, listener)
    assert isinstance(member, KafkaGroupMember)
    listener.wait_until(lambda seen: len(seen.owned) == 4)
    raw = Producer({"bootstrap.servers": kafka_bootstrap, "transactional.id": f"raw-{topic}"})
    raw.init_transactions(WAIT_SECONDS)
    for offset in (6, 7):
        raw.begin_transaction()
        points = [RawPartition(topic, 0, offset, "raw")]
        raw.send_offsets_to_transaction(points, member.metadata(), WAIT_SECONDS)
        if offset == 6:
            raw.commit_transaction(WAIT_SECONDS)
    assert cluster.log.committed(group, at) == CommitPoint(6, "raw")
    raw.commit_transaction(WAIT_SECONDS)
    deadline = (
        time.monotonic() + WAIT_SECONDS
    )  # the coordinator applies a commit a moment after it is decided
    while cluster.log.committed(group, at) != CommitPoint(7, "raw"):
        assert time.monotonic() < deadline, "the commit is never seen"
        time.sleep(0.05)
    member.close()


class Swallowing:
    """A producer whose client never comes back from sending offsets."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.over = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def send_offsets_to_transaction(self, *_: object) -> None:
        self.over.wait()


@pytest.mark.parametrize("closed", [False, True])
def test_a_client_that_never_comes_back_is_given_up(
    kafka_bootstrap: str, cluster: KafkaCluster, closed: bool
) -> None:
    topic, listener = cluster.create_topic(1), RecordingListener()
    member = cluster.log.join(f"group-{topic}", topic, listener)
    listener.wait_until(lambda seen: len(seen.owned) == 1)
    at = TopicPartition(topic, 0)
    config = writer_config(KafkaSection(bootstrap_servers=kafka_bootstrap), f"writer-{topic}")
    stuck = KafkaWriter(config, come_back_seconds=WAIT_SECONDS if closed else 0.5)
    stuck.take_over()
    stuck.stage([NewRecord(to=at, key=b"k", value=b"first")])
    swallowing = Swallowing(stuck._producer)
    stuck._made = cast("Producer", swallowing)
    thread, result = in_thread(lambda: stuck.commit(member, [(at, CommitPoint(1, ""))]))
    if closed:
        stuck.close()
    thread.join(WAIT_SECONDS / 2)
    assert isinstance(result[0], Fenced)
    again = cluster.log.writer(f"writer-{topic}")
    again.take_over()
    again.stage([NewRecord(to=at, key=b"k", value=b"again")])
    again.commit(member, [(at, CommitPoint(1, ""))])
    end = cluster.log.bounds(at).end
    values = [record.value for batch in cluster.log.read(at, 0, end, WAIT_SECONDS) for record in batch]
    assert values == [b"again"]
    swallowing.over.set()
    again.close()
    member.close()


@pytest.mark.usefixtures("java_artifacts")
def test_an_idle_writer_commits_offsets_after_the_broker_was_restarted(tmp_path: Path) -> None:
    """While it restarts, a broker is not in the cluster's metadata, and librdkafka (2.16) never forgot it as coordinator."""
    broker = kafka.Broker.create(1, tmp_path / "kafka", tmp_path / "kafka.log")
    kafka.format_storage(broker, [broker], kafka.kafka_uuid())
    with kafka.launch(broker) as server:
        kafka.wait_until_ready(server, [broker])
        patient = {"session.timeout.ms": "45000"}  # still a member when the broker is back
        log = KafkaLog(KafkaSection(bootstrap_servers=broker.address, extra=patient))
        topic, listener = KafkaCluster(broker.address).create_topic(1), RecordingListener()
        member, writer = log.join(f"group-{topic}", topic, listener), log.writer(f"writer-{topic}")
        listener.wait_until(lambda seen: len(seen.owned) == 1)
        at = TopicPartition(topic, 0)
        writer.take_over()
        writer.stage([])
        writer.commit(member, [(at, CommitPoint(1, ""))])
    with kafka.launch(broker) as again:
        kafka.wait_until_ready(again, [broker])
        writer.stage([])
        writer.commit(member, [(at, CommitPoint(2, ""))])
        assert log.committed(f"group-{topic}", at) == CommitPoint(2, "")
        writer.close()
        member.close()
        log.close()


def test_a_start_outside_of_the_log_is_reported_and_not_guessed(cluster: KafkaCluster) -> None:
    topic, listener = cluster.create_topic(1), RecordingListener()
    member = cluster.log.join(f"group-{topic}", topic, listener)
    listener.wait_until(lambda seen: seen.owned == {0})
    member.start(0, 1000)
    listener.wait_until(lambda seen: len(seen.errors) == 1)
    assert listener.errors[0].startswith(f"fatal: {topic} 0: ")
    member.close()


def test_a_listener_that_fails_ends_the_member_loudly(cluster: KafkaCluster) -> None:
    class Failing(RecordingListener):
        def assigned(self, partitions: Any) -> None:
            raise ValueError(f"cannot take {len(partitions)}")

    topic, listener = cluster.create_topic(2), Failing()
    threading.excepthook, before = (lambda _: None), threading.excepthook
    try:
        member = cluster.log.join(f"group-{topic}", topic, listener)
        listener.wait_until(lambda seen: len(seen.errors) == 1)
        member.close()
    finally:
        threading.excepthook = before
    assert listener.errors == [f"fatal: group member of {topic} ended: cannot take 2"]


def test_a_header_name_that_is_no_utf8_does_not_stop_the_partition() -> None:
    """Seen on a real record: the client raises SystemError once and would crash if it were asked again."""

    class BadlyNamed:
        asked = 0

        def headers(self) -> object:
            self.asked += 1
            raise SystemError("returned a result with an exception set")

        def topic(self) -> str:
            return "t"

        def partition(self) -> int:
            return 3

        def offset(self) -> int:
            return 7

        def timestamp(self) -> tuple[int, int]:
            return (1, 1000)

        def key(self) -> bytes:
            return b"k"

        def value(self) -> bytes:
            return b"v"

    message = BadlyNamed()
    record = record_of(cast(Message, message))
    assert record == LogRecord(at=TopicPartition("t", 3), offset=7, timestamp_ms=1000, key=b"k", value=b"v")
    assert message.asked == 1


# A cluster that is away


def test_questions_to_nobody_end_in_time() -> None:
    log = KafkaLog(nobody(), answer_seconds=1)
    at = TopicPartition("t", 0)
    for ask in (
        lambda: log.bounds(at),
        lambda: log.offset_at(at, 0),
        lambda: log.topic_id("t"),
        lambda: log.partition_count("t"),
        lambda: log.committed("g", at),
        lambda: next(log.read(at, 0, 1, 1)),
        lambda: log.fetch_at(at, [0]),
    ):
        with pytest.raises(LogUnavailable):
            ask()
    log.close()


def test_closing_ends_a_take_over_that_nobody_answers() -> None:
    writer = KafkaLog(nobody()).writer("w")
    taking_over, result = in_thread(writer.take_over)
    time.sleep(0.2)  # whether it has begun yet or not, it must end
    writer.close()
    taking_over.join(WAIT_SECONDS)
    assert isinstance(result[0], Fenced)


def test_a_member_waits_for_its_broker_and_can_leave() -> None:
    listener = RecordingListener()
    member = KafkaLog(nobody()).join("g", "t", listener)
    listener.wait_until(lambda seen: len(seen.errors) >= 2)
    assert not any(error.startswith("fatal") for error in listener.errors)
    member.close()
    assert listener.calls == []


def test_the_password_is_in_no_error(kafka_bootstrap: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The broker speaks no SASL: everything fails, and says why without the secret. Nothing goes to stderr by itself."""
    secret = KafkaSection(
        bootstrap_servers=kafka_bootstrap,
        security_protocol="sasl_plaintext",
        sasl_mechanism="PLAIN",
        username="postlane",
        password=SecretStr(PASSWORD),
    )
    log, listener = KafkaLog(secret, answer_seconds=2), RecordingListener()
    with pytest.raises(LogUnavailable) as failure:
        log.bounds(TopicPartition("t", 0))
    member = log.join("g", "t", listener)
    listener.wait_until(lambda seen: len(seen.errors) >= 1)
    member.close()
    log.close()
    assert PASSWORD not in str(failure.value)
    assert PASSWORD not in "".join(listener.errors)
    assert capfd.readouterr().err == ""
