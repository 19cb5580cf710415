"""The fake log and Kafka keep the EventLog contract."""

import time
from collections.abc import Iterator
from itertools import count
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # not in its __all__

from contract.event_log_contract import EventLogContract
from contract.event_log_following_contract import EventLogFollowingContract
from contract.event_log_group_contract import GroupContract
from fakes.memory_log import MemoryLog
from postlane.adapters.kafka_log import KafkaLog
from postlane.config.sections import KafkaSection
from postlane.ports import EventLog, LogUnavailable


class MemoryCluster:
    def __init__(self) -> None:
        self._memory = MemoryLog()
        self._numbers = count()
        self.log: EventLog = self._memory

    def create_topic(self, partitions: int) -> str:
        name = f"topic-{next(self._numbers)}"
        self._memory.create_topic(name, partitions)
        return name


class KafkaCluster:
    def __init__(self, bootstrap: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self.log: EventLog = KafkaLog(KafkaSection(bootstrap_servers=bootstrap))

    def create_topic(self, partitions: int) -> str:
        name = f"log-{uuid4().hex}"
        new = NewTopic(name, num_partitions=partitions, replication_factor=1)
        for done in self._admin.create_topics([new]).values():
            done.result(30)
        self._wait_for(name, partitions)
        return name

    def _wait_for(self, name: str, partitions: int) -> None:
        """The controller knows a new topic a moment before the broker tells of it."""
        deadline = time.monotonic() + 30
        while True:
            try:
                assert self.log.partition_count(name) == partitions
            except LogUnavailable:
                assert time.monotonic() < deadline
            else:
                return


class TestMemoryLog(EventLogContract, EventLogFollowingContract, GroupContract):
    @pytest.fixture
    def cluster(self) -> MemoryCluster:
        return MemoryCluster()


class TestKafkaLog(EventLogContract, EventLogFollowingContract, GroupContract):
    @pytest.fixture
    def cluster(self, kafka_bootstrap: str) -> Iterator[KafkaCluster]:
        cluster = KafkaCluster(kafka_bootstrap)
        yield cluster
        cluster.log.close()
