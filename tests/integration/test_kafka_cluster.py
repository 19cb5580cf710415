"""What only several brokers can show of the Kafka adapters: one of them is away, the others answer."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from chaos.cluster import Cluster
from localstack.ports import HOST
from postlane.adapters.kafka_log import KafkaLog
from postlane.config.sections import KafkaSection
from postlane.ports import LogUnavailable, TopicPartition

TOPIC = "spread"
CALLS_MAX = (
    300  # several clients, each with a pause that grows from a tenth of a second; without one it is thousands
)


class Slammer:
    """Sits at the address of a broker that is away, and counts who calls."""

    def __init__(self, port: int) -> None:
        self.calls = 0
        self._socket = socket.create_server((HOST, port))
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        with suppress(OSError):
            while True:
                self._socket.accept()[0].close()
                self.calls += 1

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


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
    with closing(KafkaLog(KafkaSection(bootstrap_servers=cluster.bootstrap), answer_seconds=5.0)) as log:
        assert log.topic_id(TOPIC)
        assert [log.bounds(TopicPartition(TOPIC, partition)).end for partition in (0, 1)] == [0, 0]
        yield log


def led_by(cluster: Cluster, node: int) -> TopicPartition:
    """The partition that only this broker has."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    partitions = admin.list_topics(TOPIC, timeout=30).topics[TOPIC].partitions
    (number,) = (number for number, partition in partitions.items() if partition.leader == node)
    return TopicPartition(TOPIC, number)


def test_a_leader_that_is_down_is_not_redialled_without_a_pause(cluster: Cluster, log: KafkaLog) -> None:
    """The AdminClient of librdkafka (2.16) does that as long as it waits for one broker."""
    first, second = led_by(cluster, 1), led_by(cluster, 2)
    cluster.take_away(2, crash=True)
    slammer = Slammer(cluster.brokers[1].port)
    questions: list[Callable[[], Any]] = [
        lambda: log.bounds(second),
        lambda: log.offset_at(second, 0),
        lambda: log.hidden(second),
    ]
    for question in questions:
        with pytest.raises(LogUnavailable, match=TOPIC):
            question()
    slammer.close()
    assert slammer.calls < CALLS_MAX
    assert log.bounds(first).end == 0
    cluster.give_back(2)
    assert log.bounds(second).end == 0


def test_a_partition_that_had_no_leader_for_a_while_has_one_again(cluster: Cluster, log: KafkaLog) -> None:
    """A broker that is shut down says so, and librdkafka (2.16) keeps that for 15 minutes."""
    second = led_by(cluster, 2)
    cluster.take_away(2, crash=False)
    with pytest.raises(LogUnavailable, match="Leader not available"):
        log.bounds(second)
    cluster.give_back(2)
    assert log.bounds(second).end == 0
    assert log.offset_at(second, 0) == 0
