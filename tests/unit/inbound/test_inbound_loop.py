"""The inbound loop over a mail server and a Kafka in memory: every fault that ends a poller elsewhere."""

import asyncio
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fakes.inbound_process import (
    PARTITIONS,
    TopicReader,
    inbound_process,
    inbound_settings,
    mailbox,
    wait_until,
)
from fakes.memory_log import MemoryLog
from fakes.memory_mailbox import MemoryMailServer
from postlane.adapters.blob_directory import BlobDirectory
from postlane.core.events.received import MailReceived, ParseStatus
from postlane.core.partitioner import partition_of
from postlane.core.polling import transaction_marks as marks
from postlane.core.polling.quarantine import decode_quarantine
from postlane.core.ticket_marks import SigningKeys
from postlane.inbound import ends_watch, partition
from postlane.inbound.feedback import Tell, no_listener
from postlane.ports import (
    LogRecord,
    LogUnavailable,
    MailSource,
    MailSourceError,
    NewRecord,
    TopicPartition,
    TransactionAborted,
)

KEYS = SigningKeys("k1", {"k1": b"a-secret-for-tests-only"}, "desk.test")


def mail(number: int, body: str = "words", **headers: str) -> bytes:
    """A small mail whose subject is its number."""
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        f"From: Ann <ann@example.org>\r\nTo: support@desk.test\r\nSubject: mail {number}\r\n"
        f"Message-ID: <{number}@example.org>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n{extra}\r\n{body}\r\n"
    ).encode()


def numbers(events: list[MailReceived]) -> list[int]:
    return [int(event.subject.removeprefix("mail ")) for event in events]


class World:
    """One mailbox named `support` on one server, and one Kafka."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = MemoryMailServer()
        self.server.folder("INBOX")
        self.log = MemoryLog()
        for topic in ("mail.inbound", "mail.inbound.cursor", "mail.inbound.dlq", "mail.outbound.feedback"):
            self.log.create_topic(topic, PARTITIONS)
        self.reader = TopicReader(self.log)
        self.feedback: Tell = no_listener

    def process(self, instance: str = "one", inbound: dict[str, Any] | None = None, **section: Any) -> Any:
        settings = inbound_settings(self.folder, {"support": mailbox(**section)}, inbound=inbound)
        connect = lambda _section: self.server.session()  # noqa: E731
        return inbound_process(settings, self.log, connect, instance, feedback=self.feedback)

    async def produced(self, count: int) -> list[MailReceived]:
        await wait_until(lambda: len(self.reader.events()) >= count)
        return self.reader.events()

    async def settled(self, flag: str = "\\Seen") -> None:
        await wait_until(lambda: all(flag in one.flags for one in self.server.folder().mails.values()))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_mail_becomes_one_event_and_is_flagged(world: World) -> None:
    async with world.process(start="all") as process:
        for number in range(3):
            world.server.deliver(mail(number))
        events = await world.produced(3)
        await world.settled()
        cursor = world.reader.cursor("support")
    assert numbers(events) == [0, 1, 2]
    assert events[0].text == "words"
    assert events[0].mailbox == "support"
    assert (cursor.listed, cursor.produced, cursor.quarantined, cursor.skipped) == (3, 3, 0, 0)
    assert process.metric("postlane_inbound_listed_mails_total", mailbox="support") == 3
    assert process.metric("postlane_inbound_ended_mails_total", mailbox="support", outcome="produced") == 3
    assert await BlobDirectory(world.folder / "blobs").get(events[2].raw) == mail(2)


async def test_the_key_is_the_ticket_that_our_signature_proves_else_the_thread(world: World) -> None:
    signed = KEYS.signer(datetime.now(UTC)).message_id("4711", "event-1")
    async with world.process(start="all"):
        world.server.deliver(mail(1, In_Reply_To=signed))
        world.server.deliver(mail(2, References="<root@example.org> <x@example.org>"))
        world.server.deliver(mail(3, References="<root@example.org>"))
        await world.produced(3)
        records = world.reader.records("mail.inbound")
    by_key = Counter(record.key for record in records)
    assert by_key.pop(b"4711") == 1
    (thread,) = by_key
    assert thread is not None
    assert thread.startswith(b"thread:")
    assert by_key[thread] == 2


@pytest.mark.parametrize(
    ("start", "expected"), [("new", [9]), ("all", [1, 2, 9]), (date(2026, 11, 20), [2, 9])]
)
async def test_where_a_new_mailbox_starts(world: World, start: Any, expected: list[int]) -> None:
    world.server.deliver(mail(1), datetime(2026, 11, 1, tzinfo=UTC))
    world.server.deliver(mail(2), datetime(2026, 11, 21, tzinfo=UTC))
    async with world.process(start=start):
        await wait_until(lambda: bool(world.reader.cursors()))
        world.server.deliver(mail(9))
        events = await world.produced(len(expected))
    assert numbers(events) == expected


async def test_mail_that_comes_while_nobody_polls_is_not_skipped_by_start_new(world: World) -> None:
    async with world.process():
        await wait_until(lambda: bool(world.reader.cursors()))
    world.server.deliver(mail(1))
    async with world.process(instance="two"):
        events = await world.produced(1)
    assert numbers(events) == [1]


async def test_a_restart_produces_nothing_twice(world: World) -> None:
    world.server.deliver(mail(1))
    async with world.process(start="all"):
        await world.produced(1)
    async with world.process(start="all", instance="two"):
        world.server.deliver(mail(2))
        events = await world.produced(2)
    assert numbers(events) == [1, 2]


async def test_a_crash_between_commit_and_flag_is_settled_by_the_next_owner(world: World) -> None:
    world.server.fail("flag", MailSourceError("connection lost during UID STORE"), times=1000)
    world.server.deliver(mail(1))
    async with world.process(start="all") as process:
        await world.produced(1)
        await wait_until(lambda: "flag" in world.server.calls)
        await process.dies()
    assert world.server.folder().mails[1].flags == set()
    world.server.fail_next.clear()
    async with world.process(start="all", instance="two"):
        await world.settled()
        events = world.reader.events()
    assert numbers(events) == [1]


async def test_mail_keeps_flowing_while_the_mailbox_cannot_be_settled(world: World) -> None:
    world.server.fail("flag", MailSourceError("UID STORE refused: permission denied"), times=1000)
    async with world.process(start="all"):
        for number in range(3):
            world.server.deliver(mail(number))
            await world.produced(number + 1)
    assert numbers(world.reader.events()) == [0, 1, 2]


@pytest.mark.parametrize("after", ["move", "delete", "nothing"])
async def test_what_happens_to_a_mail_after_the_commit(world: World, after: str) -> None:
    world.server.deliver(mail(1))
    async with world.process(start="all", after=after, move_to="Done"):
        await world.produced(1)
        if after != "nothing":
            await wait_until(lambda: not world.server.folder().mails)
    assert len(world.server.folder("Done").mails) == (1 if after == "move" else 0)
    assert len(world.server.folder().mails) == (1 if after == "nothing" else 0)


async def test_a_mail_that_cannot_be_fetched_goes_to_quarantine_and_the_others_pass(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postlane.core.reconnect.SECONDS_MAX", 0.01)
    for number in range(5):
        world.server.deliver(mail(number))
    world.server.poison_uids = {3}
    async with world.process(start="all"):
        events = await world.produced(4)
        await wait_until(lambda: bool(world.reader.records("mail.inbound.dlq")))
        await wait_until(lambda: "\\Seen" in world.server.folder().mails[5].flags)
    (record,) = world.reader.records("mail.inbound.dlq")
    entry = decode_quarantine(record.headers)
    assert numbers(events) == [0, 1, 3, 4]
    assert (entry.mailbox, entry.uid, entry.cause) == ("support", 3, "fetch")
    assert world.server.folder().mails[3].flags == set()  # it stays as it is, for people
    cursor = world.reader.cursor("support")
    assert (cursor.listed, cursor.produced, cursor.quarantined) == (5, 4, 1)


async def test_a_mail_server_that_hands_nothing_out_quarantines_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postlane.core.reconnect.SECONDS_MAX", 0.01)
    for number in range(3):
        world.server.deliver(mail(number))
    world.server.withholds_until_session = 20
    async with world.process(start="all"):
        events = await world.produced(3)
    assert numbers(events) == [0, 1, 2]
    assert world.reader.records("mail.inbound.dlq") == []


async def test_a_blob_store_that_fails_holds_mail_back_and_loses_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postlane.core.reconnect.SECONDS_MAX", 0.01)
    (world.folder / "blobs").write_text("a file where the directory should be")
    world.server.deliver(mail(1))
    async with world.process(start="all") as process:
        await wait_until(
            lambda: process.metric("postlane_inbound_errors_total", mailbox="support", kind="blob-store") > 6
        )
        (world.folder / "blobs").unlink()
        events = await world.produced(1)
    assert numbers(events) == [1]
    assert world.reader.records("mail.inbound.dlq") == []


async def test_kafka_away_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postlane.core.reconnect.SECONDS_MAX", 0.01)
    faults = iter(
        [LogUnavailable("broker away"), TransactionAborted("aborted"), LogUnavailable("still away")]
    )

    def before(operation: str) -> None:
        if operation in ("stage", "commit", "take_over") and (fault := next(faults, None)):
            raise fault

    world.log.before = before
    world.server.deliver(mail(1))
    async with world.process(start="all") as process:
        events = await world.produced(1)
        assert process.metric("postlane_transactions_total", end="aborted") == 3
    assert numbers(events) == [1]


async def test_a_renumbered_folder_gives_no_second_event(world: World) -> None:
    for number in range(4):
        world.server.deliver(mail(number))
    async with world.process(start="all"):
        await world.produced(4)
        await world.settled()
    world.server.renumber()
    world.server.deliver(mail(4))
    async with world.process(start="all", instance="two") as process:
        events = await world.produced(5)
        await wait_until(lambda: world.reader.cursor("support").uid_validity == 2)
        world.server.deliver(mail(5))
        events = await world.produced(6)
        assert process.metric("postlane_inbound_uid_validity_changes_total", mailbox="support") == 1
    assert sorted(numbers(events)) == [0, 1, 2, 3, 4, 5]
    cursor = world.reader.cursor("support")
    assert cursor.listed == cursor.produced + cursor.skipped == 4 + 4 + 1 + 1
    assert cursor.skipped == 4


async def test_a_renumbered_folder_passes_old_mail_over_that_start_new_left_out(world: World) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=30)
    for number in range(3):
        world.server.deliver(mail(number), long_ago)
    async with world.process(after="delete"):
        await wait_until(lambda: bool(world.reader.cursors()))
        world.server.deliver(mail(3))
        await world.produced(1)
        await wait_until(lambda: len(world.server.folder().mails) == 3)
    world.server.renumber()
    world.server.deliver(mail(4))
    async with world.process(after="delete", instance="two"):
        events = await world.produced(2)
        await wait_until(lambda: len(world.server.folder().mails) == 3)
    assert numbers(events) == [4, 3] or sorted(numbers(events)) == [3, 4]
    assert len(world.server.folder().mails) == 3  # never produced, so never deleted


async def test_a_crash_during_a_rescan_gives_no_second_event(world: World) -> None:
    for number in range(30):
        world.server.deliver(mail(number))
    async with world.process(start="all"):
        await world.produced(30)
    world.server.renumber()
    for number in range(30, 40):
        world.server.deliver(mail(number))
    async with world.process(start="all", instance="two", inbound={"chunk_mails": 3}) as process:
        await wait_until(lambda: len(world.reader.events()) > 30)
        await process.dies()
    async with world.process(start="all", instance="three"):
        await world.produced(40)
        await wait_until(lambda: world.reader.cursor("support").uid_validity == 2)
    assert Counter(numbers(world.reader.events())) == Counter(range(40))


async def test_a_mail_that_cannot_be_fetched_does_not_stop_a_rescan(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postlane.core.reconnect.SECONDS_MAX", 0.01)
    for number in range(4):
        world.server.deliver(mail(number))
    async with world.process(start="all"):
        await world.produced(4)
    world.server.renumber()
    world.server.deliver(mail(4))
    world.server.poison_uids = {2}
    async with world.process(start="all", instance="two"):
        await world.produced(5)
        await wait_until(lambda: world.reader.cursor("support").uid_validity == 2)
    assert Counter(numbers(world.reader.events())) == Counter(range(5))
    assert len(world.reader.records("mail.inbound.dlq")) == 1


async def test_oversize_mail_is_a_header_only_event_with_the_raw_in_the_store(world: World) -> None:
    big = mail(1, "x" * 3_000_000)
    async with world.process(start="all", inbound={"oversize_bytes": 1_000_000}):
        world.server.deliver(big)
        world.server.deliver(mail(2))
        events = await world.produced(2)
    assert events[0].parse_status is ParseStatus.HEADERS_ONLY
    assert events[0].subject == "mail 1"
    assert events[0].text is None
    assert await BlobDirectory(world.folder / "blobs").get(events[0].raw) == big


async def test_an_event_that_the_broker_refuses_is_cut_to_the_bone(world: World) -> None:
    world.log.record_bytes_max = 20_000
    async with world.process(start="all"):
        world.server.deliver(mail(1, "word " * 10_000))
        world.server.deliver(mail(2))
        events = await world.produced(2)
    assert numbers(events) == [1, 2]
    assert events[0].text is None
    assert any("refused" in defect for defect in events[0].defects)
    assert events[1].text == "words"


async def test_an_event_that_is_refused_even_then_goes_to_quarantine(world: World) -> None:
    async with world.process(start="all"):
        await wait_until(lambda: bool(world.reader.cursors()))
        world.log.record_bytes_max = 2_000
        world.server.deliver(mail(1))
        world.server.deliver(mail(2).replace(b"mail 2", b"y" * 1990))
        world.server.deliver(mail(3))
        events = await world.produced(2)
        await wait_until(lambda: bool(world.reader.records("mail.inbound.dlq")))
    (record,) = world.reader.records("mail.inbound.dlq")
    assert decode_quarantine(record.headers).cause == "refused"
    assert numbers(events) == [1, 3]


async def test_hostile_mail_does_not_stall_the_mailbox(world: World) -> None:
    hostile = [
        b"",
        b"\x00" * 5000,
        b"Content-Type: " + b";" * 20_000 + b"\r\n\r\nx",
        b"Subject: =?utf-8?q?" + b"=?" * 20_000,
        b"".join(b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(2000)),
        b"Content-Type: text/html\r\n\r\n" + b"<div>" * 100_000,
        b"From: " + b"(" * 60_000 + b"\r\n\r\n",
    ]
    async with world.process(start="all"):
        for raw in hostile:
            world.server.deliver(raw)
        world.server.deliver(mail(7))
        events = await world.produced(len(hostile) + 1)
    assert len(events) == len(hostile) + 1
    assert events[-1].subject == "mail 7"
    assert world.reader.records("mail.inbound.dlq") == []


async def test_two_instances_share_and_the_survivor_takes_over(world: World) -> None:
    async with world.process() as first:
        await wait_until(lambda: bool(world.reader.cursors()))
        async with world.process(instance="two") as second:
            await wait_until(
                lambda: all(process.metric("postlane_partitions_owned") == 2 for process in (first, second))
            )
            world.server.deliver(mail(1))
            await world.produced(1)
            await first.ends()
            world.server.deliver(mail(2))
            events = await world.produced(2)
    assert numbers(events) == [1, 2]


async def test_a_fenced_owner_writes_nothing_and_takes_over_again_while_the_group_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postlane.core.reconnect.SECONDS_MAX", 0.01)
    async with world.process() as process:
        await wait_until(lambda: bool(world.reader.cursors()))
        partition = process.parts.topics.partition_of_mailbox("support")
        intruder = world.log.writer(f"postlane-inbound-{partition}")
        await asyncio.to_thread(intruder.take_over)
        world.server.deliver(mail(1))
        events = await world.produced(1)
        assert process.metric("postlane_transactions_total", end="fenced") == 1
    assert numbers(events) == [1]


async def test_stopping_ends_the_wait_at_once(world: World) -> None:
    async with world.process(inbound={"poll_seconds": 600.0, "idle_seconds": 600.0}) as process:
        await wait_until(lambda: "wait_for_change" in world.server.calls)
        began = asyncio.get_running_loop().time()
        await process.ends()
        assert asyncio.get_running_loop().time() - began < 60
        assert process.task.done()


async def test_mail_that_others_remove_while_it_is_taken_is_skipped(world: World) -> None:
    class Vanishing:
        """Lists a mail that is gone when it is fetched."""

        def __init__(self, source: MailSource) -> None:
            self._source = source

        def __getattr__(self, name: str) -> Any:
            return getattr(self._source, name)

        async def fetch(self, uids: list[int]) -> dict[int, bytes]:
            world.server.folder().mails.pop(2, None)
            return await self._source.fetch(uids)

    for number in range(3):
        world.server.deliver(mail(number))
    settings = inbound_settings(world.folder, {"support": mailbox(start="all")})
    async with inbound_process(settings, world.log, lambda _: Vanishing(world.server.session())):  # type: ignore[arg-type, return-value]
        events = await world.produced(2)
    cursor = world.reader.cursor("support")
    assert numbers(events) == [0, 2]
    assert (cursor.listed, cursor.produced, cursor.skipped) == (3, 2, 1)


@pytest.mark.parametrize("end", ["committed", "aborted"])
async def test_a_mailbox_goes_on_where_the_broker_forgot_to_mark_an_end(world: World, end: str) -> None:
    """The broker is restarted in the middle of a transaction, and the owner with it."""
    cursors = TopicPartition("mail.inbound.cursor", partition_of(b"support", PARTITIONS))
    async with world.process(start="all") as process:
        world.server.deliver(mail(1))
        await world.produced(1)
        await world.settled()
        world.log.leaderless = {cursors}

        def fail(operation: str) -> None:
            if operation == "commit" and end == "aborted":
                raise TransactionAborted("a fault for a test")

        world.log.before = fail
        world.server.deliver(mail(2))
        await wait_until(lambda: world.log.hidden(cursors) is not None)
        await process.dies()
    world.log.before = lambda _operation: None
    world.log.leaderless = set()
    world.server.deliver(mail(3))
    async with world.process("two", start="all"):
        events = await world.produced(3)
        await world.settled()
        assert world.reader.cursor("support").produced == 3
    assert numbers(events) == [1, 2, 3]


async def test_a_poller_that_still_takes_over_stops_at_once(world: World) -> None:
    """Kafka does not answer, and nothing that is taken over needs to be finished."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def never(operation: str) -> None:
        if operation == "take_over":
            loop.call_soon_threadsafe(asked.set)
            raise LogUnavailable("a fault for a test")

    world.log.before = never
    async with world.process(inbound={"drain_seconds": 60.0}) as process:
        await asked.wait()
        await process.ends()


async def test_consumers_wait_no_longer_than_it_takes_to_see_a_forgotten_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No further mail comes, so that nothing else would end it."""
    monkeypatch.setattr(ends_watch, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(partition, "STILL_SECONDS", 0.0)
    async with world.process(start="all"):
        await wait_until(lambda: bool(world.reader.cursors()))
        places = [TopicPartition("mail.inbound", number) for number in range(PARTITIONS)]
        world.log.leaderless = {*places}
        world.server.deliver(mail(1))
        await wait_until(lambda: any(world.log.hidden(at) for at in places))
        world.log.leaderless = set()
        records = await wait_for_records(world, 2)
    first, second = records
    assert first.value == second.value
    assert not marks.is_repetition(first.headers)
    assert marks.is_repetition(second.headers)


async def test_mail_is_not_deleted_before_its_event_can_be_read(world: World) -> None:
    """Till then the event may be undone, by the abort of a later transaction, and the mail be all that is left."""
    cursors = TopicPartition("mail.inbound.cursor", partition_of(b"support", PARTITIONS))
    asked = Counter[str]()
    async with world.process(start="all", after="delete") as process:
        await wait_until(lambda: bool(world.reader.cursors()))
        world.log.leaderless = {cursors, *(TopicPartition("mail.inbound", n) for n in range(PARTITIONS))}
        world.server.deliver(mail(1))
        await wait_until(lambda: world.log.hidden(cursors) is not None)
        world.log.before = lambda operation: asked.update([operation])
        await wait_until(lambda: asked["ends"] > 2)
        assert len(world.server.folder().mails) == 1
        await process.dies()
    world.log.leaderless = set()
    async with world.process("two", start="all", after="delete"):
        events = await world.produced(1)
        await wait_until(lambda: not world.server.folder().mails)
    assert {*numbers(events)} == {1}  # and perhaps its repetition


async def test_mail_flows_but_stays_where_it_is_while_others_hide_its_events(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "STILL_SECONDS", 0.0)
    monkeypatch.setattr(partition, "STUCK_SECONDS", 0.0)
    other = world.log.writer("somebody-else")
    other.take_over()
    async with world.process(start="all", after="delete"):
        await wait_until(lambda: bool(world.reader.cursors()))
        places = [TopicPartition("mail.inbound", number) for number in range(PARTITIONS)]
        other.stage([NewRecord(to=at, key=None, value=b"") for at in places])
        for number in (1, 2):
            world.server.deliver(mail(number))
            await wait_until(lambda expected=number: world.reader.cursor("support").uid == expected)  # type: ignore[misc]
        assert len(world.server.folder().mails) == 2
        other.abort()
        world.server.deliver(mail(3))
        await wait_until(lambda: not world.server.folder().mails)
        assert numbers(world.reader.events()) == [1, 2, 3]


async def wait_for_records(world: World, count: int) -> list[LogRecord]:
    def readable() -> list[LogRecord]:
        return [
            one
            for number in range(PARTITIONS)
            for at in [TopicPartition("mail.inbound", number)]
            for batch in world.log.read(at, 0, world.log.stable_end(at), 1.0)
            for one in batch
        ]

    await wait_until(lambda: len(readable()) >= count)
    return readable()
