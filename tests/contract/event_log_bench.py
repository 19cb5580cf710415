"""The small steps that the tests of an EventLog are made of."""

import time
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest

from fakes.recording_listener import RecordingListener
from postlane.ports import (
    CommitPoint,
    EventLog,
    GroupMember,
    LogRecord,
    LogUnavailable,
    LogWriter,
    NewRecord,
    TopicPartition,
)

LONG_SECONDS = 30.0


class Cluster(Protocol):
    """A log and a way to create topics in it."""

    log: EventLog

    def create_topic(self, partitions: int) -> str:
        """A new, empty topic with an unused name."""


class Bench:
    """One topic, with the small steps that the tests are made of."""

    def __init__(self, cluster: Cluster) -> None:
        self.log = cluster.log
        self.topic = cluster.create_topic(4)
        self.group = f"group-{self.topic}"
        self.transactional_id = f"{self.group}-0"
        self.at = TopicPartition(self.topic, 0)
        self._closers: list[Callable[[], None]] = []

    def record(self, value: bytes | None, partition: int = 0) -> NewRecord:
        return NewRecord(to=TopicPartition(self.topic, partition), key=b"ticket", value=value)

    def owner(self) -> LogWriter:
        """A writer that has taken the id over."""
        writer = self.log.writer(self.transactional_id)
        self._closers.append(writer.close)
        writer.take_over()
        return writer

    def write(self, writer: LogWriter, *values: bytes) -> list[int]:
        offsets = writer.stage([self.record(value) for value in values])
        writer.commit()
        return offsets

    def join(self) -> tuple[GroupMember, RecordingListener]:
        listener = RecordingListener()
        member = self.log.join(self.group, self.topic, listener)
        self._closers.append(member.close)
        return member, listener

    def sole_member(self) -> tuple[GroupMember, RecordingListener]:
        """A member that owns every partition."""
        member, listener = self.join()
        listener.wait_until(lambda seen: seen.owned == {0, 1, 2, 3})
        return member, listener

    def read(self, start: int = 0, stop: int | None = None) -> list[LogRecord]:
        end = self.log.bounds(self.at).end if stop is None else stop
        return [record for batch in self.log.read(self.at, start, end, LONG_SECONDS) for record in batch]

    def values(self) -> list[bytes | None]:
        return [record.value for record in self.read()]

    def committed_soon(self) -> CommitPoint | None:
        """The committed offset, once the last transaction is decided everywhere."""
        deadline = time.monotonic() + LONG_SECONDS
        while True:
            try:
                return self.log.committed(self.group, self.at)
            except LogUnavailable:
                assert time.monotonic() < deadline

    def close(self) -> None:
        for close in reversed(self._closers):
            close()


class BenchContract:
    """Subclasses give a `cluster` fixture."""

    @pytest.fixture
    def bench(self, cluster: Cluster) -> Iterator[Bench]:
        bench = Bench(cluster)
        yield bench
        bench.close()
