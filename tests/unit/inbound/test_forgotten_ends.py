"""Transactions of the inbound service whose end the broker forgot to mark: nothing is lost, nothing doubled, and all can be read again."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import pytest

from fakes.inbound_process import wait_until
from fakes.memory_log import MemoryLog, MemoryWriter
from postlane.adapters.avro_codec import Codec
from postlane.adapters.http_health import Health
from postlane.adapters.metrics import Metrics
from postlane.core.events.mail import BlobRef
from postlane.core.events.received import MailboxCursor, MailReceived, ParseStatus, Verdicts
from postlane.core.metrics import INBOUND_METRICS
from postlane.core.polling import transaction_marks as marks
from postlane.core.polling.cursor_keys import cursor_key
from postlane.inbound import forgotten_ends, partition
from postlane.inbound.cursors import CursorReader
from postlane.inbound.forgotten_ends import ForgottenEnds, marked
from postlane.inbound.partition import PartitionOwner
from postlane.inbound.topics import InboundTopics
from postlane.inbound.watch import KafkaWatch
from postlane.ports import LogRecord, LogUnavailable, NewRecord, TopicPartition, TransactionAborted

CODEC = Codec()
TOPICS = InboundTopics.with_prefix("", 2)
OWN = TopicPartition("mail.inbound.cursor", 0)
MAIN = [TopicPartition("mail.inbound", number) for number in range(2)]
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def cursor(uid: int, mailbox: str = "support") -> NewRecord:
    value = MailboxCursor(
        mailbox=mailbox, folder="INBOX", uid_validity=1, uid=uid, settled_uid=0, updated_at=NOW, instance="i"
    )
    return NewRecord(to=OWN, key=cursor_key(mailbox, "INBOX"), value=CODEC.encode(value))


def event(uid: int, at: TopicPartition, mailbox: str = "support") -> NewRecord:
    value = MailReceived(
        event_id=f"{mailbox}-{uid}",
        mailbox=mailbox,
        folder="INBOX",
        uid_validity=1,
        uid=uid,
        received_at=NOW,
        produced_at=NOW,
        raw=BlobRef(sha256=f"{uid:064x}", size_bytes=1),
        parse_status=ParseStatus.OK,
        defects=(),
        thread_key="t",
        verdicts=Verdicts(may_open=True, may_reopen=True, may_auto_answer=False),
    )
    return NewRecord(to=at, key=b"t", value=CODEC.encode(value))


class Desk:
    """Two cursor partitions, of which 0 is looked at, and what their owners write."""

    def __init__(self) -> None:
        self.log = MemoryLog(threaded=False)
        for topic in ("mail.inbound", "mail.inbound.cursor", "mail.inbound.dlq", "mail.outbound.feedback"):
            self.log.create_topic(topic, 2)
        self.reader = CursorReader(self.log, CODEC, TOPICS)
        self.writer = self.owner()
        self.tries = 0

    def owner(self, partition: int = 0) -> MemoryWriter:
        writer = self.log.writer(f"inbound-{partition}")
        writer.take_over()
        return writer

    def transact(
        self, *records: NewRecord, forgotten: set[TopicPartition] | None = None, end: str = "commit"
    ) -> str:
        """One transaction; in `forgotten` its end is not marked."""
        self.tries += 1
        name = f"0-old-{self.tries}"
        self.writer.stage(marked(records, OWN, name))
        self.log.leaderless = forgotten or set()
        self.writer.commit() if end == "commit" else self.writer.abort()
        self.log.leaderless = set()
        return name

    def take_over(self, aborted: tuple[str, ...] = ()) -> bool:
        """What a new owner does before it reads the cursors."""
        self.writer = self.owner()
        ends = ForgottenEnds(self.reader, 0)
        return ends.end(self.writer, "0-new-1", TOPICS.written_beside_cursors(), aborted)

    async def partition_owner(self) -> PartitionOwner:
        owner = PartitionOwner(0, self.log.writer("inbound-0"), self.reader, kafka_watch())
        await owner.take_over()
        return owner

    async def kill(self, owner: PartitionOwner, tasks: Sequence[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.log.leaderless = set()
        self.log.before = lambda _operation: None
        owner.drop()

    def records(self, at: TopicPartition) -> list[LogRecord]:
        return [one for batch in self.log.read(at, 0, self.log.bounds(at).end, 0.1) for one in batch]

    def uids(self) -> list[int]:
        """Of the events, as a consumer counts them who passes over repetitions."""
        values = [
            CODEC.decode(MailReceived, one.value).uid
            for at in MAIN
            for one in self.records(at)
            if not marks.is_repetition(one.headers)
        ]
        return sorted(values)

    def uid(self, mailbox: str = "support") -> int | None:
        found = self.reader.cursors(0).get((mailbox, "INBOX"))
        return None if found is None else found.uid

    def is_whole(self) -> bool:
        return all(self.log.hidden(at) is None for at in (OWN, *TOPICS.written_beside_cursors()))


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(forgotten_ends, "MARKED_SECONDS", 0.0)
    desk = Desk()
    desk.transact(event(1, MAIN[0]), cursor(1))
    yield desk
    assert desk.is_whole()


EVERYWHERE = {OWN, *MAIN}
PARTS = [{OWN}, {MAIN[0]}, {MAIN[1]}, {OWN, MAIN[0]}, set(MAIN), EVERYWHERE]


@pytest.mark.parametrize("forgotten", PARTS)
def test_a_committed_transaction_counts_wherever_its_end_was_forgotten(
    desk: Desk, forgotten: set[TopicPartition]
) -> None:
    desk.transact(event(2, MAIN[0]), event(3, MAIN[1]), cursor(3), forgotten=forgotten)
    assert not desk.is_whole()
    assert desk.take_over()
    assert (desk.uid(), desk.uids()) == (3, [1, 2, 3])


@pytest.mark.parametrize("forgotten", PARTS)
def test_an_aborted_transaction_leaves_no_cursor_without_its_events_and_no_event_twice(
    desk: Desk, forgotten: set[TopicPartition]
) -> None:
    desk.transact(event(2, MAIN[0]), event(3, MAIN[1]), cursor(3), forgotten=forgotten, end="abort")
    desk.take_over()
    # Where no partition shows the end, nobody was told of it either: all of it counts.
    expected = (3, [1, 2, 3]) if forgotten == EVERYWHERE else (1, [1])
    assert (desk.uid(), desk.uids()) == expected


@pytest.mark.parametrize("forgotten", PARTS)
def test_a_try_that_failed_before_our_eyes_stays_undone_and_its_repetition_counts_once(
    desk: Desk, forgotten: set[TopicPartition]
) -> None:
    records = (event(2, MAIN[0]), event(3, MAIN[1]), cursor(3))
    failed = desk.transact(*records, forgotten=forgotten, end="abort")
    ForgottenEnds(desk.reader, 0).end(desk.writer, "0-old-again", MAIN, (failed,))
    assert (desk.uid(), desk.uids()) == (1, [1])
    desk.transact(*records)
    assert (desk.uid(), desk.uids()) == (3, [1, 2, 3])


def test_a_first_cursor_that_was_aborted_is_no_cursor(desk: Desk) -> None:
    desk.transact(event(7, MAIN[0], "sales"), cursor(7, "sales"), forgotten={OWN}, end="abort")
    assert desk.take_over()
    assert (desk.uid("sales"), desk.uid()) == (None, 1)


def test_a_repetition_says_what_it_is_and_is_the_only_further_record(desk: Desk) -> None:
    desk.transact(event(2, MAIN[0]), event(3, MAIN[0]), cursor(3), forgotten={MAIN[0]})
    desk.take_over()
    repeated = [one for one in desk.records(MAIN[0]) if marks.is_repetition(one.headers)]
    assert len(repeated) == 1
    assert len(desk.records(MAIN[0])) == 4
    assert marks.transaction_of(repeated[0].headers) == "0-new-1"


def test_two_forgotten_transactions_of_which_the_second_was_aborted(desk: Desk) -> None:
    desk.transact(event(2, MAIN[0]), cursor(2), forgotten={OWN})
    desk.transact(event(3, MAIN[0]), cursor(3), forgotten={OWN}, end="abort")
    desk.take_over()
    assert (desk.uid(), desk.uids()) == (2, [1, 2])


def test_cursors_of_other_mailboxes_are_said_again_as_they_were(desk: Desk) -> None:
    desk.transact(cursor(5, "sales"), forgotten={OWN})
    desk.transact(event(2, MAIN[0]), cursor(2), forgotten={OWN}, end="abort")
    desk.take_over()
    assert (desk.uid("sales"), desk.uid()) == (5, 1)


def test_the_compacted_cursor_of_a_forgotten_transaction_does_not_cost_its_events(desk: Desk) -> None:
    desk.transact(event(2, MAIN[0]), cursor(2), forgotten={MAIN[0]})
    desk.transact(event(3, MAIN[1]), cursor(3))
    desk.log.delete_before(OWN, desk.log.bounds(OWN).end - 2)
    desk.take_over()
    assert (desk.uid(), desk.uids()) == (3, [1, 2, 3])


def test_an_unmarked_cursor_of_an_older_postlane_does_not_count(desk: Desk) -> None:
    desk.writer.stage([event(2, MAIN[0]), cursor(2)])
    desk.log.leaderless = {OWN}
    desk.writer.commit()
    desk.log.leaderless = set()
    desk.take_over()
    assert desk.uid() == 1


def test_events_behind_somebody_elses_open_transaction_are_rather_written_twice_than_lost(desk: Desk) -> None:
    other = desk.owner(1)
    other.stage(marked([event(9, MAIN[0], "other")], TopicPartition(OWN.topic, 1), "1-x-1"))
    desk.transact(
        event(2, MAIN[0]), cursor(2), forgotten={OWN}, end="abort"
    )  # the mark in MAIN[0] cannot be seen
    desk.take_over()
    other.commit()
    assert desk.uid() == 2
    assert desk.uids() == [1, 2, 9]


def test_what_another_owner_has_open_is_left_alone(desk: Desk) -> None:
    other = desk.owner(1)
    other.stage(marked([event(9, MAIN[0], "other")], TopicPartition(OWN.topic, 1), "1-x-1"))
    before = [desk.log.bounds(at) for at in (OWN, *MAIN)]
    assert not desk.take_over()
    assert [desk.log.bounds(at) for at in (OWN, *MAIN)] == before
    other.commit()


def test_the_end_of_a_forgotten_end_may_be_forgotten_as_well(desk: Desk) -> None:
    desk.transact(event(2, MAIN[0]), event(3, MAIN[1]), cursor(3), forgotten={OWN, MAIN[1]})
    desk.log.leaderless = {MAIN[1]}
    desk.take_over()
    desk.log.leaderless = set()
    assert desk.take_over()
    assert (desk.uid(), desk.uids()) == (3, [1, 2, 3])


def test_an_end_that_is_cut_off_leaves_no_cursor_without_its_events(desk: Desk) -> None:
    desk.transact(event(2, MAIN[0]), cursor(2), forgotten={MAIN[0]})
    commits = count_calls(desk.log, "commit", fail_at=2)
    with pytest.raises(LogUnavailable):
        desk.take_over()  # and dies in the middle of the last commit
    assert commits() == 2
    desk.log.before = lambda _operation: None
    desk.take_over()
    assert (desk.uid(), desk.uids()) == (1, [1])


async def test_nothing_new_is_begun_before_the_last_can_be_read(desk: Desk) -> None:
    """Else the abort of what is begun, as when its owner is killed, would be marked for what was committed, too."""
    owner = await desk.partition_owner()
    desk.log.leaderless = {OWN, MAIN[0]}
    asked, commits = count_calls(desk.log, "ends"), count_calls(desk.log, "commit", fail_at=2)
    writes = [asyncio.create_task(owner.write([event(uid, MAIN[0]), cursor(uid)])) for uid in (2, 3)]
    await wait_until(lambda: desk.log.hidden(OWN) is not None)
    before = asked()
    await wait_until(lambda: asked() > before + 2 or commits() == 2)
    assert not any(write.done() for write in writes)
    await desk.kill(owner, writes)
    desk.take_over()
    assert (desk.uid(), desk.uids()) == (2, [1, 2])


async def test_whoever_waits_until_it_is_seen_is_not_held_up_by_others_for_ever(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "STILL_SECONDS", 0.0)
    monkeypatch.setattr(partition, "STUCK_SECONDS", 0.0)
    owner = await desk.partition_owner()
    other = desk.owner(1)
    other.stage(marked([event(9, MAIN[0], "other")], TopicPartition(OWN.topic, 1), "1-x-1"))
    await owner.write([event(2, MAIN[0]), cursor(2)])
    assert not await owner.seen()
    other.commit()
    assert await owner.seen()
    assert (desk.uid(), desk.uids()) == (2, [1, 2, 9])
    owner.drop()


async def test_what_the_abort_of_a_later_transaction_undid_is_written_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which can happen only where somebody else hides for long whether it was marked."""
    monkeypatch.setattr(partition, "STILL_SECONDS", 0.0)
    monkeypatch.setattr(partition, "STUCK_SECONDS", 0.0)
    owner = await desk.partition_owner()
    other = desk.owner(1)
    other.stage(marked([event(9, MAIN[0], "other")], TopicPartition(OWN.topic, 1), "1-x-1"))
    desk.log.leaderless = {MAIN[0]}
    await owner.write([event(2, MAIN[0]), cursor(2)])
    desk.log.leaderless = set()
    failures = iter([TransactionAborted("a fault for a test")])

    def fail_once(operation: str) -> None:
        if operation == "commit" and (failure := next(failures, None)) is not None:
            raise failure

    desk.log.before = fail_once
    await owner.write([event(3, MAIN[0]), cursor(3)])
    other.commit()
    assert await owner.seen()
    assert (desk.uid(), desk.uids()) == (3, [1, 2, 3, 9])
    owner.drop()


def count_calls(log: MemoryLog, wanted: str, fail_at: int | None = None) -> Callable[[], int]:
    """How often this was asked for since; from the given time on it fails."""
    calls, before = Counter[str](), log.before

    def note(operation: str) -> None:
        before(operation)
        calls[operation] += 1
        if operation == wanted and fail_at is not None and calls[wanted] >= fail_at:
            raise LogUnavailable("a fault for a test")

    log.before = note
    return lambda: calls[wanted]


def kafka_watch() -> KafkaWatch:
    metrics = Metrics(INBOUND_METRICS)
    return KafkaWatch(metrics, Health(metrics, time.monotonic), time.monotonic)
