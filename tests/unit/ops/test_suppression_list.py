"""The suppression list as operators see it, on the in-memory log."""

from datetime import UTC, datetime, timedelta

import pytest

from fakes.memory_log import MemoryLog
from postlane.adapters.avro_codec import Codec
from postlane.core.events.command import Command, Wish, command_key, partition_for_all
from postlane.ops.suppression_list import Entry, entry_json, entry_words, read_entries
from postlane.ports import NewRecord, TopicPartition
from unit.core.control.test_standing import AT, KIM, command

CODEC = Codec()
PARTITIONS = 3
LEE = "lee@example.org"


class World:
    def __init__(self) -> None:
        self.log = MemoryLog()
        self.log.create_topic("control", PARTITIONS)
        self.steps = 0

    def write(self, key: bytes, value: bytes | None) -> None:
        writer = self.log.writer("w")
        writer.take_over()
        at = TopicPartition("control", partition_for_all(key, PARTITIONS))
        writer.stage([NewRecord(to=at, key=key, value=value)])
        writer.commit()

    def give(self, wish: Wish, address: str, *, seconds: float | None = None, cause: str = "") -> None:
        one = command(wish, address, seconds=seconds, cause=cause)
        self.write(command_key(one), CODEC.encode(one))

    def entries(self, *addresses: str) -> dict[str, Entry]:
        return read_entries(self.log, CODEC, "control", addresses or None, self._step)

    def _step(self, count: int) -> None:
        self.steps += count


@pytest.fixture
def world() -> World:
    return World()


def test_the_newest_word_about_an_address_counts(world: World) -> None:
    world.give(Wish.SUPPRESS_RECIPIENT, KIM, cause="bounced")
    world.give(Wish.SUPPRESS_RECIPIENT, LEE, cause="bounced")
    world.give(Wish.SUPPRESS_RECIPIENT, KIM, cause="complaint", seconds=60)
    world.give(Wish.ALLOW_RECIPIENT, LEE)
    assert world.entries() == {
        KIM: Entry(
            address=KIM,
            cause="complaint",
            reason="because",
            by="kim@desk",
            since=AT,
            until=AT + timedelta(seconds=60),
        )
    }


def test_a_cleared_address_is_off_the_list(world: World) -> None:
    world.give(Wish.SUPPRESS_RECIPIENT, KIM)
    world.write(b"recipient:kim@example.org", None)
    assert world.entries() == {}


def test_named_addresses_alone_are_read(world: World) -> None:
    for number in range(30):
        world.give(Wish.SUPPRESS_RECIPIENT, f"k{number}@x.example")
    assert world.entries("k7@x.example", "nobody@x.example").keys() == {"k7@x.example"}


def test_other_commands_and_what_senders_refuse_are_no_entries(world: World) -> None:
    held = Command(command_id="c", issued_at=AT, issued_by="k", wish=Wish.HOLD_TICKET, ticket_id="T-1")
    pause = command(Wish.PAUSE_RELAY, "main")
    for one in (held, pause):
        world.write(command_key(one), CODEC.encode(one))
    world.write(b"recipient:kim@example.org", b"?")
    world.write(b"recipient:KIM@example.org", CODEC.encode(command(Wish.SUPPRESS_RECIPIENT, KIM)))
    assert world.entries() == {}


def test_an_entry_in_words_and_as_json(world: World) -> None:
    world.give(Wish.SUPPRESS_RECIPIENT, KIM, cause="manual")
    entry = world.entries()[KIM]
    assert entry_words(entry) == "(manual) by kim@desk since 2026-01-01 00:00:00Z, until it is removed"
    assert entry_json(entry) == {
        "address": KIM,
        "cause": "manual",
        "since": "2026-01-01T00:00:00.000Z",
        "until": None,
        "by": "kim@desk",
        "reason": "because",
    }
    assert entry.holds(datetime(2100, 1, 1, tzinfo=UTC))


def test_it_says_how_far_it_has_come(world: World) -> None:
    world.give(Wish.SUPPRESS_RECIPIENT, KIM)
    world.entries()
    assert world.steps == 2  # the record and the mark of its transaction
