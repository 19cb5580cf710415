"""What only several brokers can show of the Kafka adapters: one of them is away, the others answer."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # not in its __all__

from chaos.cluster import Cluster
from postlane.adapters.kafka_clients import LIBRDKAFKA_LOGGER
from postlane.adapters.kafka_log import KafkaLog
from postlane.config.sections import KafkaSection
from postlane.ports import LogUnavailable, TopicPartition

TOPIC = "spread"
# While a question waits 5 s in vain it dials a few times a second; without a pause it would be over 10,000 times.
DIALS_MAX = 100


class Dials(logging.Filter):
    """Counts how often the clients that say so in their log dial this address."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.count = 0
        self._address = address

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything pass."""
        message = record.getMessage()
        self.count += "Connecting to" in message and self._address in message
        return True


@pytest.fixture(scope="module")
def cluster(java_artifacts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two brokers; each leads one partition that the other one has no copy of."""
    del java_artifacts
    with closing(Cluster.start(tmp_path_factory.mktemp("cluster"), 2)) as cluster:
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        spread = NewTopic(TOPIC, 2, 1, config={"min.insync.replicas": "1"})  # spread over the brokers in turn
        admin.create_topics([spread])[TOPIC].result(30)
        yield cluster


@pytest.fixture
def log(cluster: Cluster) -> Iterator[KafkaLog]:
    """It has asked everything once, and so knows the leaders."""
    kafka = KafkaSection(bootstrap_servers=cluster.bootstrap, extra={"debug": "broker"})
    with closing(KafkaLog(kafka, answer_seconds=5.0)) as log:
        assert log.topic_id(TOPIC)
        assert [log.bounds(TopicPartition(TOPIC, partition)).end for partition in (0, 1)] == [0, 0]
        yield log


def led_by(cluster: Cluster, node: int) -> TopicPartition:
    """The partition that only this broker has."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    partitions = admin.list_topics(TOPIC, timeout=30).topics[TOPIC].partitions
    (number,) = (number for number, partition in partitions.items() if partition.leader == node)
    return TopicPartition(TOPIC, number)


@contextmanager
def away(cluster: Cluster, node: int, *, crash: bool) -> Iterator[None]:
    """Without this broker."""
    cluster.take_away(node, crash=crash)
    try:
        yield
    finally:
        cluster.give_back(node)


@contextmanager
def dials(cluster: Cluster, node: int) -> Iterator[Dials]:
    """Counts those of this broker."""
    counter = Dials(cluster.brokers[node - 1].address)
    LIBRDKAFKA_LOGGER.filters.insert(0, counter)  # before the one that leaves repeated lines out
    level = LIBRDKAFKA_LOGGER.level
    LIBRDKAFKA_LOGGER.setLevel(logging.DEBUG)
    try:
        yield counter
    finally:
        LIBRDKAFKA_LOGGER.setLevel(level)
        LIBRDKAFKA_LOGGER.removeFilter(counter)


def test_a_leader_that_is_down_is_not_redialled_without_a_pause(cluster: Cluster, log: KafkaLog) -> None:
    """The AdminClient of librdkafka (2.16) does that as long as it waits for one broker."""
    first, second = led_by(cluster, 1), led_by(cluster, 2)
    questions: list[Callable[[], Any]] = [
        lambda: log.bounds(second),
        lambda: log.offset_at(second, 0),
        lambda: log.hidden(second),
    ]
    with away(cluster, 2, crash=True), dials(cluster, 2) as dialled:
        for question in questions:
            with pytest.raises(LogUnavailable, match=TOPIC):
                question()
        assert log.bounds(first).end == 0  # asking hands the clients' log lines over
        assert 0 < dialled.count < len(questions) * DIALS_MAX
        before = dialled.count
        for _ in range(2):
            assert log.topic_id(TOPIC)  # any broker knows
        assert dialled.count - before < DIALS_MAX
    assert log.bounds(second).end == 0


def test_a_partition_without_a_leader_is_not_taken_for_none(cluster: Cluster, log: KafkaLog) -> None:
    """A broker that is shut down gives its leadership up, to nobody where there is no other copy."""
    second = led_by(cluster, 2)
    with away(cluster, 2, crash=False), pytest.raises(LogUnavailable, match="Leader not available"):
        log.bounds(second)
    assert log.bounds(second).end == 0
    assert log.offset_at(second, 0) == 0
