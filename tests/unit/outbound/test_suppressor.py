"""Recipients whom a relay does not know get onto the suppression list, after their mail's status is durable."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from fakes.memory_log import MemoryLog
from postlane.adapters.avro_codec import Codec
from postlane.core.events.command import Command, Wish, command_key, partition_for_all
from postlane.core.events.status import Origin
from postlane.core.sending.lane_mail import AttemptEnded, WriteBatch
from postlane.core.smtp.attempt import Judgement
from postlane.outbound import suppressor as module
from postlane.outbound.suppressor import Suppressor, SuppressorParts
from postlane.ports import LogUnavailable, NewRecord, RecordRefused, TopicPartition
from unit.core.control.test_standing import AT, NOW
from unit.core.lane_bench import HELD, Bench, arrival, refused
from unit.outbound.sender_rig import until

CODEC = Codec()
PARTITIONS = 3
A, B = "A@x", "b@x"


@pytest.fixture(autouse=True)
def _write_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_SECONDS", 0.005)


class Site:
    """The topic, the list as it is known here, and faults of Kafka."""

    def __init__(self, seconds: float = 86400.0) -> None:
        self.log = MemoryLog()
        self.log.create_topic("control", PARTITIONS)
        self.listed: dict[str, str] = {}
        self.faults: list[Exception] = []
        self.suppressor = Suppressor(
            SuppressorParts(
                event_log=self.log,
                codec=CODEC,
                topic="control",
                source="/test",
                instance="sender-1",
                seconds=seconds,
                write=self.write,
                listed=lambda address, _now: self.listed.get(address),
                clock=lambda: NOW,
            )
        )

    def write(self, records: Sequence[NewRecord]) -> None:
        if self.faults:
            raise self.faults.pop()
        writer = self.log.writer("w")
        writer.take_over()
        writer.stage(records)
        writer.commit()

    def commands(self) -> list[Command]:
        found = []
        for partition in range(PARTITIONS):
            at = TopicPartition("control", partition)
            for batch in self.log.read(at, 0, self.log.bounds(at).end, 1.0):
                for record in batch:
                    command = CODEC.decode(Command, record.value)
                    assert record.key == command_key(command)
                    assert partition == partition_for_all(record.key, PARTITIONS)
                    found.append(command)
        return found

    def fail(self, judgement: Judgement, offset: int = 0) -> WriteBatch:
        """An attempt of the mail at this offset ends so; the batch that makes it durable."""
        bench = Bench()
        bench.arrive(arrival(offset))
        bench.starts()
        bench.end(offset, judgement)
        ended = AttemptEnded(
            origin=Origin("T", offset), judgement=judgement, relay="main", message_id=None, jitter=0.0
        )
        self.suppressor.note(0, ended)
        return bench.cut() or WriteBatch()


@asynccontextmanager
async def running(site: Site) -> AsyncIterator[None]:
    task = asyncio.create_task(site.suppressor.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()


async def test_a_command_is_written_once_the_failure_is_durable() -> None:
    site = Site()
    async with running(site):
        batch = site.fail(refused(A))
        other = site.fail(refused(B), offset=7)
        site.suppressor.committed(other)
        await until(lambda: [command.recipient for command in site.commands()] == ["b@x"])
        site.suppressor.committed(batch)
        await until(lambda: len(site.commands()) == 2)
        (command,) = (one for one in site.commands() if one.recipient == "a@x")
    assert command == Command(
        command_id=command.command_id,
        issued_at=AT,
        issued_by="sender-1",
        wish=Wish.SUPPRESS_RECIPIENT,
        reason="550 5.1.1 no such user (rcpt)",
        recipient="a@x",
        cause="no_such_recipient",
        expires_at=AT + timedelta(days=1),
    )


async def test_what_is_not_durable_is_not_written() -> None:
    site = Site()
    site.fail(refused(A))
    async with running(site):
        site.suppressor.committed(site.fail(refused(B), offset=7))
        await until(lambda: len(site.commands()) == 1)
    assert [command.recipient for command in site.commands()] == ["b@x"]


@pytest.mark.parametrize("way", ["switched off", "listed already", "held"])
def test_nothing_is_written(way: str) -> None:
    site = Site(seconds=0.0 if way == "switched off" else 86400.0)
    if way == "listed already":
        site.listed[A] = "manual"
    site.suppressor.committed(site.fail(HELD if way == "held" else refused(A)))
    assert site.suppressor._due == {}
    assert site.suppressor._noted == {}


async def test_while_kafka_is_away_it_waits_and_what_is_refused_is_dropped() -> None:
    site = Site()
    site.suppressor.committed(site.fail(refused(A, B)))
    site.faults = [LogUnavailable("away"), RecordRefused(0, "too large")][::-1]
    async with running(site):
        await until(lambda: len(site.commands()) == 1)
    assert site.faults == []
    assert [command.recipient for command in site.commands()] == ["b@x"]


async def test_many_failures_of_one_address_are_one_command() -> None:
    site = Site()
    for offset in range(5):
        site.suppressor.committed(site.fail(refused(A), offset))
    async with running(site):
        await until(lambda: len(site.commands()) > 0)
    assert len(site.commands()) == 1
