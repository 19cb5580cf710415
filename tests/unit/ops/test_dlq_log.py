"""Replay and discard on the in-memory log: what is written, together, in which order, and what stays open."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fakes.memory_log import MemoryLog, MemoryWriter
from postlane.adapters.blob_directory import BlobDirectory
from postlane.core.dlq import DeadMail, Place, Selection, plan_discard, plan_replay
from postlane.core.events.status import Origin
from postlane.core.events.trail import Dead, ReplayOf, Resolution, decode_replay, encode, encode_claim
from postlane.core.partitioner import partition_of
from postlane.core.replay_rate import parse_rate
from postlane.ops.dlq_log import BEHIND, DlqLog, Resolving
from postlane.ops.exits import CommandFailed
from postlane.ops.pacer import Pacer
from postlane.ports import Fenced, LogRecord, NewRecord, TopicPartition, TransactionAborted

MAIN, DLQ = "mail.outbound", "mail.outbound.dlq"
PARTITIONS = 3
REPLAY = Resolving(resolution=Resolution.REPLAYED, now_ms=lambda: 9000, reason="fixed")
DISCARD = Resolving(resolution=Resolution.DISCARDED, now_ms=lambda: 9000, reason="spam")


@dataclass
class Desk:
    """A log with dead mail in it, and an operator at work."""

    log: MemoryLog
    blobs: BlobDirectory
    dlq: DlqLog
    writer: MemoryWriter

    def die(self, ticket: str, origin: int, value: bytes | None = b"mail", **changes: object) -> Place:
        """One dead mail, as the owner of its partition writes it."""
        fields: dict[str, object] = {
            "origin": Origin("topic-1", origin),
            "origin_topic": MAIN,
            "partition": 0,
            "attempt": 1,
            "first_seen_ms": origin,
            "died_ms": origin,
            "remaining": None,
            "cause": "no_such_recipient",
            "reason": "no such user",
            "reply": None,
        }
        claim = changes.pop("claim", ())
        dead = Dead(**(fields | changes))  # type: ignore[arg-type]
        key = ticket.encode()
        at = TopicPartition(DLQ, partition_of(key, PARTITIONS))
        owner = self.log.writer("owner")
        owner.take_over()
        headers = (("ce_id", f"event-{origin}".encode()), *claim, *encode(dead))  # type: ignore[misc]
        (offset,) = owner.stage([NewRecord(to=at, key=key, value=value, headers=headers)])
        owner.commit()
        return Place(at.partition, offset)

    def planned(self, selection: Selection | None = None, *, again: bool = False) -> tuple[DeadMail, ...]:
        return plan_replay(self.dlq.read(), selection or Selection(), again=again).mails

    def requests(self) -> list[LogRecord]:
        """What stands in the main topic."""
        return [
            record
            for partition in range(PARTITIONS)
            for at in [TopicPartition(MAIN, partition)]
            for batch in self.log.read(at, 0, self.log.bounds(at).end, 1)
            for record in batch
        ]

    def open_places(self) -> set[Place]:
        return {mail.place for mail in self.dlq.read() if mail.open}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    log = MemoryLog()
    for topic in (MAIN, DLQ):
        log.create_topic(topic, PARTITIONS)
    blobs = BlobDirectory(tmp_path)
    writer = log.writer("postlane-ops-dlq")
    writer.take_over()
    return Desk(log, blobs, DlqLog(log, blobs, MAIN, DLQ), writer)


def test_a_replay_puts_the_original_back_and_closes_the_dead_mail(desk: Desk) -> None:
    place = desk.die("T-é", 7, b"original bytes", remaining=("b@example.com",))
    assert desk.dlq.resolve(desk.writer, desk.planned(), REPLAY) == []
    (request,) = desk.requests()
    assert request.at.partition == partition_of("T-é".encode(), PARTITIONS)
    assert request.key == "T-é".encode()
    assert request.value == b"original bytes"
    assert request.headers[0] == ("ce_id", b"event-7")
    assert decode_replay(request.headers) == (ReplayOf(place.partition, place.offset), ("b@example.com",))
    (mail,) = desk.dlq.read()
    assert [(done.resolution, done.reason) for done in mail.resolutions] == [(Resolution.REPLAYED, "fixed")]
    assert desk.planned() == ()


def test_a_second_replay_needs_to_be_asked_for(desk: Desk) -> None:
    desk.die("T-1", 7)
    desk.dlq.resolve(desk.writer, desk.planned(), REPLAY)
    desk.dlq.resolve(desk.writer, desk.planned(again=True), REPLAY)
    assert len(desk.requests()) == 2
    assert len(desk.dlq.read()[0].resolutions) == 2


def test_whole_tickets_stand_in_the_main_topic_in_the_order_of_their_origin(desk: Desk) -> None:
    for origin in (30, 10, 20):
        desk.die("T-1", origin, str(origin).encode())
        desk.die("T-2", origin + 1, str(origin + 1).encode())
    assert desk.dlq.resolve(desk.writer, desk.planned(), REPLAY) == []
    for ticket, values in ((b"T-1", [b"10", b"20", b"30"]), (b"T-2", [b"11", b"21", b"31"])):
        assert [request.value for request in desk.requests() if request.key == ticket] == values
    assert desk.open_places() == set()


def test_a_discard_closes_and_sends_nothing(desk: Desk) -> None:
    place = desk.die("T-1", 7)
    plan = plan_discard(desk.dlq.read(), Selection(places=frozenset({place})))
    assert desk.dlq.resolve(desk.writer, plan.mails, DISCARD) == []
    assert desk.requests() == []
    assert desk.open_places() == set()


def test_an_aborted_transaction_is_repeated_and_leaves_one_request(desk: Desk) -> None:
    desk.die("T-1", 7)
    mails = desk.planned()
    aborts = iter([True, True])

    def abort_twice(operation: str) -> None:
        if operation == "commit" and next(aborts, False):
            raise TransactionAborted("coordinator moved")

    desk.log.before = abort_twice
    assert desk.dlq.resolve(desk.writer, mails, REPLAY) == []
    assert len(desk.requests()) == 1
    assert len(desk.dlq.read()[0].resolutions) == 1


def test_a_transaction_that_is_always_aborted_ends_with_words_and_changes_nothing(desk: Desk) -> None:
    place = desk.die("T-1", 7)
    mails = desk.planned()

    def abort(operation: str) -> None:
        if operation == "commit":
            raise TransactionAborted("coordinator moved")

    desk.log.before = abort
    with pytest.raises(CommandFailed, match="coordinator moved"):
        desk.dlq.resolve(desk.writer, mails, REPLAY)
    assert desk.requests() == []
    assert desk.open_places() == {place}


def test_a_second_operator_fences_the_first(desk: Desk) -> None:
    desk.die("T-1", 7)
    mails = desk.planned()
    second = desk.log.writer("postlane-ops-dlq")
    second.take_over()
    desk.dlq.resolve(second, desk.planned(), REPLAY)
    with pytest.raises(Fenced):
        desk.dlq.resolve(desk.writer, mails, REPLAY)
    assert len(desk.requests()) == 1


def test_a_mail_that_the_broker_refuses_stays_open_with_what_follows_of_its_ticket(desk: Desk) -> None:
    first = desk.die("T-1", 1, b"small")
    desk.log.record_bytes_max = 10_000
    refused, behind = desk.die("T-1", 2, b"x" * 9_000), desk.die("T-1", 3, b"small")
    other = desk.die("T-2", 4, b"small")
    desk.log.record_bytes_max = 1_000
    failures = desk.dlq.resolve(desk.writer, desk.planned(), REPLAY)
    assert [(failure.mail.place, failure.reason) for failure in failures] == [
        (refused, "Message size too large"),
        (behind, BEHIND),
    ]
    assert desk.open_places() == {refused, behind}
    assert {request.value for request in desk.requests()} == {b"small"}
    assert {first, other}.isdisjoint(desk.open_places())


def test_a_value_in_the_blob_store_comes_back_as_bytes(desk: Desk) -> None:
    ref = asyncio.run(desk.blobs.put(b"a very large mail"))
    desk.die("T-1", 7, None, claim=encode_claim(ref))
    assert desk.dlq.resolve(desk.writer, desk.planned(), REPLAY) == []
    (request,) = desk.requests()
    assert request.value == b"a very large mail"
    assert not any(name == "x-postlane-value-blob" for name, _ in request.headers)


def test_a_missing_blob_leaves_its_ticket_open_and_the_others_go_on(desk: Desk) -> None:
    ref = asyncio.run(desk.blobs.put(b"lost"))
    lost = desk.die("T-1", 1, None, claim=encode_claim(type(ref)(sha256="0" * 64, size_bytes=4)))
    behind = desk.die("T-1", 2)
    desk.die("T-2", 3)
    failures = desk.dlq.resolve(desk.writer, desk.planned(), REPLAY)
    assert [failure.mail.place for failure in failures] == [lost, behind]
    assert "cannot be read" in failures[0].reason
    assert desk.open_places() == {lost, behind}
    assert [request.key for request in desk.requests()] == [b"T-2"]


def test_progress_counts_every_mail(desk: Desk) -> None:
    for origin in range(5):
        desk.die(f"T-{origin}", origin)
    expected: list[int] = []
    steps: list[int] = []
    desk.dlq.read(expected.append, steps.append)
    assert sum(steps) <= sum(expected)
    written: list[int] = []
    desk.dlq.resolve(desk.writer, desk.planned(), REPLAY, written.append)
    assert sum(written) == 5


def test_a_rate_makes_small_transactions_and_waits_before_each(desk: Desk) -> None:
    for origin in range(7):
        desk.die(f"T-{origin % 2}", origin)
    now, slept = 0.0, list[float]()

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        slept.append(seconds)

    rate = parse_rate("120/min")
    pacer = Pacer(rate, clock=lambda: now, sleep=sleep)
    order = replace(REPLAY, batch_mails=rate.batch_mails, before_batch=pacer.wait)
    written: list[int] = []
    assert desk.dlq.resolve(desk.writer, desk.planned(), order, written.append) == []
    assert written == [2, 2, 2, 1]
    assert slept == [1.0, 1.0, 1.0]
    assert desk.open_places() == set()


def test_what_was_replayed_before_it_was_stopped_is_closed_and_the_rest_goes_later(desk: Desk) -> None:
    for origin in range(4):
        desk.die("T-1", origin, b"%d" % origin)

    def stop_at_the_third(written: list[int] = []) -> None:  # noqa: B006 - counts its calls
        written.append(1)
        if len(written) == 3:
            raise KeyboardInterrupt

    order = replace(REPLAY, batch_mails=1, before_batch=lambda _mails: stop_at_the_third())
    with pytest.raises(KeyboardInterrupt):
        desk.dlq.resolve(desk.writer, desk.planned(), order)
    assert len(desk.planned()) == 2
    assert desk.dlq.resolve(desk.writer, desk.planned(), REPLAY) == []
    assert [request.value for request in desk.requests()] == [b"0", b"1", b"2", b"3"]
