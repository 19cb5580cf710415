"""What waits for a person, on the in-memory log."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fakes.memory_log import MemoryLog
from postlane.adapters.avro_codec import Codec
from postlane.core.events.command import Command, Wish, command_key
from postlane.core.events.status import Origin
from postlane.core.events.trail import Done, Put, encode
from postlane.ops.ticket_waits import Orders, ParkedMail, kept, places_of, read_orders, read_parked
from postlane.ports import NewRecord, TopicPartition

RETRY, CONTROL = "mail.outbound.retry", "mail.control"
CODEC = Codec()
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class World:
    """Two partitions of the journal and of the commands, on a clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = NOW.timestamp()
        self.log = MemoryLog(clock=lambda: self.seconds)
        for topic in (RETRY, CONTROL):
            self.log.create_topic(topic, 2)

    def write(self, topic: str, partition: int, key: bytes, entry: Put | Done | Command) -> None:
        value = CODEC.encode(entry) if isinstance(entry, Command) else b"mail"
        headers = () if isinstance(entry, Command) else (("ce_id", b"event-1"), *encode(entry))
        writer = self.log.writer("test")
        writer.take_over()
        writer.stage([NewRecord(to=TopicPartition(topic, partition), key=key, value=value, headers=headers)])
        writer.commit()

    def park(self, partition: int, offset: int, held: int) -> None:
        entry = Put(
            origin=Origin("main", offset),
            attempt=1,
            first_seen_ms=0,
            due_ms=0,
            remaining=None,
            held=held,
            cause="no_such_recipient",
            reason="no such user",
        )
        self.write(RETRY, partition, f"T-{partition}".encode(), entry)

    def order(self, wish: Wish, partition: int = 0, offset: int | None = None, held: int = 0) -> None:
        command = Command(
            command_id="c",
            issued_at=NOW,
            issued_by="kim",
            wish=wish,
            ticket_id=f"T-{partition}",
            topic_id=None if offset is None else "main",
            partition=None if offset is None else partition,
            offset=offset,
            held=held,
        )
        self.write(CONTROL, partition, command_key(command), command)

    def parked(self) -> list[ParkedMail]:
        return read_parked(self.log, CODEC, places_of(self.log, RETRY, None), "main")

    def orders(self) -> Orders:
        return read_orders(self.log, CODEC, places_of(self.log, CONTROL, None))

    def kept(self) -> list[tuple[int, int]]:
        return [(mail.partition, mail.origin.offset) for mail in kept(self.parked(), self.orders())]


@pytest.fixture
def world() -> World:
    return World()


def test_dead_mail_waits_until_it_is_done_or_decided(world: World) -> None:
    for partition in (0, 1):  # one offset in two partitions is two mails
        world.park(partition, 7, held=1)
    world.park(0, 8, held=0)
    assert world.kept() == [(0, 7), (1, 7)]
    world.write(RETRY, 0, b"T-0", Done(origin=Origin("main", 7)))
    assert world.kept() == [(1, 7)]
    world.order(Wish.SKIP_MAIL, 1, 7, held=1)
    assert world.kept() == []
    assert len(world.parked()) == 2


def test_a_decision_on_an_earlier_death_leaves_the_newest_to_a_person(world: World) -> None:
    world.order(Wish.RETRY_MAIL, 0, 7, held=1)
    world.park(0, 7, held=1)
    assert world.kept() == []
    world.park(0, 7, held=2)
    assert world.kept() == [(0, 7)]


def test_a_put_that_is_written_again_keeps_the_time_of_the_death(world: World) -> None:
    world.park(0, 7, held=1)
    world.seconds += 86_400
    world.park(0, 7, held=1)
    (mail,) = world.parked()
    facts: tuple[Any, ...] = (mail.since, mail.ticket_id, mail.event_id)
    assert facts == (NOW, "T-0", "event-1")


def test_a_ticket_is_held_by_its_newest_command(world: World) -> None:
    world.order(Wish.HOLD_TICKET, 0)
    world.order(Wish.HOLD_TICKET, 1)
    world.order(Wish.RELEASE_TICKET, 0)
    assert set(world.orders().holds) == {"T-1"}
