"""Finding what is known of a mail, on the in-memory log."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from fakes.memory_log import MemoryLog
from postlane.adapters.avro_codec import Codec
from postlane.core.dlq import Place
from postlane.core.events.mail import Address
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailState, MailStatus, Origin
from postlane.core.events.trail import Dead, ReplayOf, Resolution, Resolved, encode, encode_replay
from postlane.core.history import MailHistory, Replay, Where
from postlane.core.partitioner import partition_of
from postlane.ops.scanning import FIRST_SPAN_RECORDS
from postlane.ops.status_search import Asked, Kind, StatusSearch
from postlane.ports import CommitPoint, NewRecord, TopicPartition

MAIN, STATUS, DLQ = "mail.outbound", "mail.outbound.status", "mail.outbound.dlq"
GROUP = "postlane-outbound"
PARTITIONS = 4
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CODEC = Codec()


@dataclass
class World:
    """A log whose clock the test moves; requests and statuses are written as the real parts write them."""

    now: datetime = NOW - timedelta(hours=1)
    log: MemoryLog = field(init=False)

    def __post_init__(self) -> None:
        self.log = MemoryLog(clock=self._seconds)
        for topic in (MAIN, STATUS, DLQ):
            self.log.create_topic(topic, PARTITIONS)

    def _seconds(self) -> float:
        return self.now.timestamp()

    def write(
        self, topic: str, key: bytes, value: bytes | None, headers: tuple[tuple[str, bytes], ...] = ()
    ) -> int:
        writer = self.log.writer("test")
        writer.take_over()
        at = TopicPartition(topic, partition_of(key, PARTITIONS))
        (offset,) = writer.stage([NewRecord(to=at, key=key, value=value, headers=headers)])
        writer.commit()
        return offset

    def request(self, ticket: str, event_id: str, headers: tuple[tuple[str, bytes], ...] = ()) -> int:
        request = MailRequested(
            event_id=event_id,
            ticket_id=ticket,
            requested_at=self.now,
            from_address=Address(address="desk@example.com"),
            to=(Address(address="ann@example.com"),),
            subject=f"About {event_id}",
        )
        return self.write(MAIN, ticket.encode(), CODEC.encode(request), headers)

    def die(self, ticket: str, event_id: str, offset: int) -> Place:
        """The status of a death and its dead letter, as one transaction writes them."""
        partition = partition_of(ticket.encode(), PARTITIONS)
        self.status(ticket, event_id, offset, MailState.FAILED)
        dead = Dead(
            origin=Origin(self.log.topic_id(MAIN), offset),
            origin_topic=MAIN,
            partition=partition,
            attempt=1,
            first_seen_ms=0,
            died_ms=round(self.now.timestamp() * 1000),
            remaining=None,
            cause="no_such_recipient",
            reason="no such user",
            reply=None,
        )
        return Place(partition, self.write(DLQ, ticket.encode(), b"mail", encode(dead)))

    def resolve(self, ticket: str, place: Place, resolution: Resolution) -> None:
        """An operator's answer to a dead letter."""
        at_ms = round(self.now.timestamp() * 1000)
        done = Resolved(dead_offset=place.offset, resolution=resolution, resolved_at_ms=at_ms, reason="")
        self.write(DLQ, ticket.encode(), None, encode(done))

    def status(self, ticket: str, event_id: str, offset: int, state: MailState, **changes: object) -> None:
        fields: dict[str, object] = {
            "status_id": f"{event_id}-{self.now.timestamp()}",
            "occurred_at": self.now,
            "state": state,
            "final": state is not MailState.DEFERRED,
            "topic_id": self.log.topic_id(MAIN),
            "partition": partition_of(ticket.encode(), PARTITIONS),
            "offset": offset,
            "cause": "accepted",
            "reason": "reason",
            "attempt": 1,
            "instance": "host-1",
            "request_event_id": event_id,
            "ticket_id": ticket,
        }
        status = MailStatus(**(fields | changes))  # type: ignore[arg-type]
        self.write(STATUS, ticket.encode(), CODEC.encode(status))

    def commit(self, ticket: str, offset: int) -> None:
        """The senders' group has come so far in the ticket's partition."""
        at = TopicPartition(MAIN, partition_of(ticket.encode(), PARTITIONS))
        self.log.group(GROUP).points[at] = CommitPoint(offset, "")

    def find(self, kind: Kind, value: str, **how: object) -> list[MailHistory]:
        search = StatusSearch(
            log=self.log, codec=CODEC, main=MAIN, status=STATUS, dlq=DLQ, group=GROUP, now=NOW
        )
        return search.find(Asked(kind, value), **how)  # type: ignore[arg-type]


@pytest.fixture
def world() -> World:
    return World()


def test_a_ticket_tells_of_all_its_mails_sent_waiting_and_unread(world: World) -> None:
    first, second, third = (world.request("T-1", f"event-{n}") for n in (1, 2, 3))
    world.request("T-2", "other")
    world.status("T-1", "event-1", first, MailState.DEFERRED, next_attempt_at=world.now)
    world.status("T-1", "event-1", first, MailState.SENT, attempt=2, message_id="<m1@desk>")
    world.status("T-1", "event-2", second, MailState.DEFERRED)
    world.commit("T-1", second)
    found = world.find(Kind.TICKET, "T-1")
    assert [(h.event_id, h.state, h.where) for h in found] == [
        ("event-1", MailState.SENT, Where.ENDED),
        ("event-2", MailState.DEFERRED, Where.SENDER),
        ("event-3", None, Where.UNREAD),
    ]
    assert [step.state for step in found[0].steps] == [MailState.DEFERRED, MailState.SENT]
    assert found[0].request is not None
    assert found[0].request.subject == "About event-1"
    assert found[2].origin.offset == third


def test_nothing_is_known_of_an_unknown_ticket(world: World) -> None:
    world.request("T-1", "event-1")
    assert world.find(Kind.TICKET, "T-9") == []
    assert world.find(Kind.EVENT, "event-9") == []
    assert world.find(Kind.MESSAGE, "m9@desk") == []


def test_an_event_is_found_in_any_partition_with_its_whole_life(world: World) -> None:
    for ticket in ("A", "B", "C", "D", "E"):
        offset = world.request(ticket, f"event-{ticket}")
        world.status(ticket, f"event-{ticket}", offset, MailState.DEFERRED)
        world.status(ticket, f"event-{ticket}", offset, MailState.SENT, message_id=f"<{ticket}@desk>")
    (found,) = world.find(Kind.EVENT, "event-C")
    assert found.ticket_id == "C"
    assert len(found.steps) == 2
    (by_message,) = world.find(Kind.MESSAGE, "C@desk")
    assert by_message.steps == found.steps
    assert world.find(Kind.MESSAGE, "C@desk", ticket_hint="C") == [by_message]


def test_a_wrong_hint_does_not_hide_the_mail(world: World) -> None:
    offset = world.request("A", "event-A")
    world.status("A", "event-A", offset, MailState.SENT, message_id="<A@desk>")
    far = next(t for t in "BCDEFGH" if partition_of(t.encode(), PARTITIONS) != partition_of(b"A", PARTITIONS))
    assert [h.event_id for h in world.find(Kind.MESSAGE, "A@desk", ticket_hint=far)] == ["event-A"]


def test_the_steps_before_the_piece_that_was_read_first_are_found_too(world: World) -> None:
    offset = world.request("T-1", "event-1")
    world.status("T-1", "event-1", offset, MailState.DEFERRED)
    for _ in range(FIRST_SPAN_RECORDS + 50):
        world.status("T-1", "noise", offset + 1, MailState.SENT)
    world.status("T-1", "event-1", offset, MailState.SENT, attempt=2)
    (found,) = world.find(Kind.EVENT, "event-1")
    assert [step.state for step in found.steps] == [MailState.DEFERRED, MailState.SENT]


def test_an_old_mail_is_found_by_reading_on_backwards(world: World) -> None:
    offset = world.request("T-1", "event-1")
    world.status("T-1", "event-1", offset, MailState.SENT)
    for _ in range(FIRST_SPAN_RECORDS + 50):
        world.status("T-1", "noise", offset + 1, MailState.SENT)
    (found,) = world.find(Kind.EVENT, "event-1")
    assert found.state is MailState.SENT


def test_a_tickets_old_mails_are_left_out_unless_there_are_no_newer_ones(world: World) -> None:
    world.now = NOW - timedelta(days=30)
    old = world.request("T-1", "old")
    world.status("T-1", "old", old, MailState.SENT)
    world.commit("T-1", old + 2)
    assert [h.event_id for h in world.find(Kind.TICKET, "T-1")] == ["old"]
    world.now = NOW - timedelta(hours=1)
    new = world.request("T-1", "new")
    world.status("T-1", "new", new, MailState.SENT)
    world.commit("T-1", new + 2)
    assert [h.event_id for h in world.find(Kind.TICKET, "T-1")] == ["new"]
    both = world.find(Kind.TICKET, "T-1", since=NOW - timedelta(days=60))
    assert [h.event_id for h in both] == ["old", "new"]


def test_an_unread_mail_behind_a_held_relay_says_so(world: World) -> None:
    held = world.request("T-1", "event-1")
    until = NOW + timedelta(hours=1)
    world.status(
        "T-1", "event-1", held, MailState.DEFERRED, relay="main", cause="quota", next_attempt_at=until
    )
    world.request("T-1", "event-2")
    world.commit("T-1", held)
    unread = world.find(Kind.TICKET, "T-1")[1]
    assert (unread.where, unread.cause, unread.relay, unread.next_attempt_at) == (
        Where.UNREAD,
        "quota",
        "main",
        until,
    )


def test_a_request_that_retention_has_deleted_still_has_its_statuses(world: World) -> None:
    offset = world.request("T-1", "event-1")
    world.status("T-1", "event-1", offset, MailState.DEFERRED)
    world.status("T-1", "event-1", offset, MailState.SENT)
    at = TopicPartition(MAIN, partition_of(b"T-1", PARTITIONS))
    world.log.partition(at).slots.clear()
    world.commit("T-1", offset + 2)
    (found,) = world.find(Kind.EVENT, "event-1")
    assert found.request is None
    assert len(found.steps) == 2


def test_foreign_bytes_in_the_topics_do_not_break_the_answer(world: World) -> None:
    world.write(MAIN, b"T-1", b"no avro")
    world.write(STATUS, b"T-1", b"no avro either")
    (found,) = world.find(Kind.TICKET, "T-1")
    assert found.where is Where.UNREAD
    assert found.event_id is None


def test_an_original_and_its_replay_name_each_other(world: World) -> None:
    first = world.request("T-1", "event-1")
    place = world.die("T-1", "event-1", first)
    (dead,) = world.find(Kind.TICKET, "T-1")
    (letter,) = dead.dead_letters
    assert (letter.place, letter.resolution, letter.replays) == (place, None, ())

    again = world.request("T-1", "event-1", encode_replay(ReplayOf(place.partition, place.offset), None))
    world.resolve("T-1", place, Resolution.REPLAYED)
    for kind, value in ((Kind.TICKET, "T-1"), (Kind.EVENT, "event-1")):
        original, replay = world.find(kind, value)
        (letter,) = original.dead_letters
        assert (letter.resolution, letter.resolved_at) == (Resolution.REPLAYED, world.now)
        assert letter.replays == (Place(place.partition, again),)
        assert replay.replay_of == Replay(dead_letter=place, original=Place(place.partition, first))
        assert (original.replay_of, replay.dead_letters) == (None, ())


def test_a_replay_of_an_old_mail_names_it_though_the_answer_leaves_it_out(world: World) -> None:
    world.now = NOW - timedelta(days=30)
    first = world.request("T-1", "event-1")
    place = world.die("T-1", "event-1", first)
    world.commit("T-1", first + 2)
    world.now = NOW - timedelta(hours=1)
    world.resolve("T-1", place, Resolution.REPLAYED)
    again = world.request("T-1", "event-1", encode_replay(ReplayOf(place.partition, place.offset), None))
    world.status("T-1", "event-1", again, MailState.SENT)
    world.commit("T-1", again + 2)
    (replay,) = world.find(Kind.TICKET, "T-1")
    assert replay.replay_of == Replay(dead_letter=place, original=Place(place.partition, first))


def test_a_replay_header_that_leads_nowhere_is_told_as_it_is(world: World) -> None:
    world.request("T-1", "event-1", encode_replay(ReplayOf(99, 1), None))
    world.request("T-1", "event-2", encode_replay(ReplayOf(0, 12345), None))
    world.request("T-1", "event-3", (("x-postlane-replay-of", b"nowhere"),))
    found = world.find(Kind.TICKET, "T-1")
    assert [history.replay_of for history in found] == [
        Replay(dead_letter=Place(99, 1), original=None),
        Replay(dead_letter=Place(0, 12345), original=None),
        None,
    ]


def test_another_tickets_dead_letters_are_left_out(world: World) -> None:
    far = next(
        t for t in "BCDEFGHIJ" if partition_of(t.encode(), PARTITIONS) == partition_of(b"A", PARTITIONS)
    )
    for ticket in ("A", far):
        world.die(ticket, f"event-{ticket}", world.request(ticket, f"event-{ticket}"))
    assert [len(history.dead_letters) for history in world.find(Kind.TICKET, "A")] == [1]
