"""A bounce of our mail brings feedback along in its transaction, and a hard one puts its recipient on the suppression list."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fakes.inbound_process import PARTITIONS, wait_until
from fakes.memory_log import MemoryLog
from postlane.adapters.avro_codec import Codec
from postlane.adapters.smtp_rules_file import load_classifier
from postlane.core.events.command import Command, Wish, command_key, partition_for_all
from postlane.core.events.feedback import FeedbackKind, MailFeedback, Permanence
from postlane.core.instants import moment
from postlane.core.return_paths import write_return_path
from postlane.inbound.bounced_recipients import BouncedParts, BouncedRecipients
from postlane.ports import LogUnavailable, NewRecord, RecordRefused, TopicPartition
from unit.inbound.test_inbound_loop import KEYS, World

CODEC = Codec()
GONE = "gone@example.org"
NOW = 1_700_000_000.0
SIGNER = KEYS.signer(datetime.now(UTC))
ID = SIGNER.message_id("4711", "event-1")


def bounce(number: int, recipient: str = GONE) -> bytes:
    """A report by Postfix about the mail with that id, which went to GONE alone."""
    return (
        f"Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.example.net\r\nTo: support@desk.test\r\nSubject: mail {number}\r\n"
        f"Message-ID: <{number}@mx.example.net>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        "--b\r\n\r\nYour mail could not be delivered.\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n"
        f"Final-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 User unknown\r\n\r\n"
        f"--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {ID}\r\n"
        f"X-Postlane-Event: event-1\r\nX-Postlane-Recipient: {SIGNER.recipient_proof(ID, GONE)}\r\n\r\n--b--\r\n"
    ).encode()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def feedback_of(world: World) -> list[MailFeedback]:
    return [
        CODEC.decode(MailFeedback, record.value) for record in world.reader.records("mail.outbound.feedback")
    ]


async def test_a_bounce_brings_its_feedback_along(world: World) -> None:
    world.server.deliver(bounce(1))
    async with world.process(start="all"):
        (event,) = await world.produced(1)
    (feedback,) = feedback_of(world)
    (record,) = world.reader.records("mail.outbound.feedback")
    assert record.key == b"4711"
    assert dict(record.headers)["ce_type"] == b"postlane.MailFeedback"
    assert event.ticket_id == "4711"
    assert feedback.source_event_id == event.event_id
    assert (feedback.kind, feedback.permanence) == (FeedbackKind.BOUNCE, Permanence.HARD)
    assert (feedback.message_id, feedback.request_event_id) == (ID, "event-1")
    assert (feedback.recipient, feedback.recipient_proven) == (GONE, True)


async def test_a_bounce_with_nothing_of_our_mail_is_known_by_the_return_path(world: World) -> None:
    path = write_return_path(SIGNER, "support@desk.test", ticket_id="4711", event_id="event-1", mailbox=GONE)
    heard: list[MailFeedback] = []
    world.feedback = heard.append
    world.server.deliver(
        f"Return-Path: <>\r\nDelivered-To: {path}\r\nFrom: MAILER-DAEMON@mx.example.net\r\nSubject: mail 1\r\n\r\n"
        f"Your message could not be delivered:\r\n\r\n<{GONE}>: 550 5.1.1 User unknown\r\n".encode()
    )
    async with world.process(start="all"):
        (event,) = await world.produced(1)
        await wait_until(lambda: bool(heard))
    (feedback,) = feedback_of(world)
    assert [one.feedback_id for one in heard] == [feedback.feedback_id]
    assert feedback.reason.startswith("From: MAILER-DAEMON")
    assert (event.ticket_id, feedback.ticket_id, feedback.message_id) == ("4711", "4711", ID)
    assert (feedback.recipient, feedback.recipient_proven) == (GONE, True)
    desk = Desk()
    desk.bounced.hear(replace(feedback, reported_at=moment(NOW)))
    await desk.bounced.write_due()
    assert [command.recipient for command in desk.commands()] == [GONE]


async def test_a_restart_repeats_no_feedback(world: World) -> None:
    world.server.deliver(bounce(1))
    async with world.process(start="all"):
        await world.produced(1)
    world.server.deliver(bounce(2))
    async with world.process(start="all", instance="two"):
        await world.produced(2)
    assert len({one.feedback_id for one in feedback_of(world)}) == len(feedback_of(world)) == 2


async def test_ordinary_mail_brings_nothing_along(world: World) -> None:
    world.server.deliver(
        b"From: a@b.test\r\nSubject: mail 1\r\nIn-Reply-To: " + ID.encode() + b"\r\n\r\nthanks\r\n"
    )
    async with world.process(start="all"):
        (event,) = await world.produced(1)
    assert event.ticket_id == "4711"
    assert feedback_of(world) == []


class Desk:
    """mail.control in memory, and faults of Kafka."""

    def __init__(self, seconds: float = 86400.0) -> None:
        self.log = MemoryLog()
        self.log.create_topic("mail.control", PARTITIONS)
        self.faults: list[Exception] = []
        self.bounced = BouncedRecipients(
            BouncedParts(
                event_log=self.log,
                codec=CODEC,
                classifier=load_classifier(),
                topic="mail.control",
                instance="inbound-1",
                seconds=seconds,
                write=self.write,
                clock=lambda: NOW,
            )
        )

    def write(self, records: Sequence[NewRecord]) -> None:
        if self.faults:
            raise self.faults.pop(0)
        writer = self.log.writer("test")
        writer.take_over()
        writer.stage(records)
        writer.commit()

    def order(self, wish: Wish, issued_at: datetime) -> None:
        command = Command(command_id="c", issued_at=issued_at, issued_by="kim", wish=wish, recipient=GONE)
        key = command_key(command)
        at = TopicPartition("mail.control", partition_for_all(key, PARTITIONS))
        self.write([NewRecord(to=at, key=key, value=CODEC.encode(command))])

    def commands(self) -> list[Command]:
        found: list[Command] = []
        for partition in range(PARTITIONS):
            at = TopicPartition("mail.control", partition)
            bounds = self.log.bounds(at)
            for batch in self.log.read(at, bounds.low, bounds.end, 1.0):
                found += [CODEC.decode(Command, record.value) for record in batch]
        return found


def told(**changes: object) -> MailFeedback:
    facts: dict[str, object] = {
        "feedback_id": "f",
        "reported_at": moment(NOW - 60),
        "kind": FeedbackKind.BOUNCE,
        "permanence": Permanence.HARD,
        "ticket_id": "4711",
        "source_event_id": "e",
        "source_mailbox": "support",
        "reason": "delivery status: failed",
        "recipient": "Gone@Example.ORG",
        "recipient_proven": True,
        "status": "5.1.1",
        "smtp_code": 550,
        "diagnostic": "550 5.1.1 User unknown",
    }
    return MailFeedback(**(facts | changes))  # type: ignore[arg-type]


async def test_a_hard_bounce_reaches_the_list_once() -> None:
    desk = Desk()
    for _ in range(3):
        desk.bounced.hear(told())
    await desk.bounced.write_due()
    desk.bounced.hear(told())
    await desk.bounced.write_due()
    (command,) = desk.commands()
    assert (command.wish, command.recipient, command.cause) == (
        Wish.SUPPRESS_RECIPIENT,
        GONE,
        "no_such_recipient",
    )
    assert command.expires_at is not None
    assert timedelta(0) <= command.expires_at - moment(NOW + 86400) < timedelta(hours=1)
    assert "User unknown" in command.reason


@pytest.mark.parametrize(
    "feedback",
    [
        told(recipient_proven=False),
        told(permanence=Permanence.SOFT),
        told(kind=FeedbackKind.DELAY),
        told(kind=FeedbackKind.COMPLAINT),
        told(status="5.7.1", diagnostic="550 5.7.1 blocked"),
        told(status="5.2.2", diagnostic="552 5.2.2 mailbox full"),
        told(status=None),
        told(recipient=None),
        told(recipient="no address"),
        # The code says unknown, the words say blocked: the reply rules know better.
        told(diagnostic="550 5.1.1 Blocked by Spamhaus, see https://www.spamhaus.org/query/ip/192.0.2.1"),
    ],
)
async def test_everything_else_does_not(feedback: MailFeedback) -> None:
    desk = Desk()
    desk.bounced.hear(feedback)
    await desk.bounced.write_due()
    assert desk.commands() == []


@pytest.mark.parametrize(
    ("days_ago", "left_seconds"), [(0.5, 43200), (0.99, 864), (1.0, None), (400, None), (-3, 86400)]
)
async def test_an_old_bounce_counts_from_its_own_time(days_ago: float, left_seconds: int | None) -> None:
    """As one that is read late, or again: after a mailbox was moved, say."""
    desk = Desk(seconds=86400)
    desk.bounced.hear(told(reported_at=moment(NOW - days_ago * 86400)))
    await desk.bounced.write_due()
    found = [command.expires_at for command in desk.commands()]
    if left_seconds is None:
        assert found == []
        return
    (until,) = found
    assert until is not None
    assert timedelta(0) <= until - moment(NOW + left_seconds) < timedelta(hours=1)


async def test_no_time_means_no_entry() -> None:
    desk = Desk(seconds=0)
    desk.bounced.hear(told())
    await desk.bounced.write_due()
    assert desk.commands() == []


@pytest.mark.parametrize(
    ("wish", "ago", "written"),
    [(Wish.SUPPRESS_RECIPIENT, 3600, 0), (Wish.ALLOW_RECIPIENT, 30, 0), (Wish.ALLOW_RECIPIENT, 3600, 1)],
)
async def test_what_a_person_ordered_stands(wish: Wish, ago: int, written: int) -> None:
    desk = Desk()
    desk.order(wish, moment(NOW - ago))
    desk.bounced.hear(told())
    await desk.bounced.write_due()
    assert len(desk.commands()) == 1 + written


async def test_kafka_away_is_waited_for_and_a_refusal_is_given_up() -> None:
    desk = Desk()
    desk.faults = [LogUnavailable("away")]
    desk.bounced.hear(told())
    await desk.bounced.write_due()
    assert desk.commands() == []
    desk.faults = [RecordRefused(0, "too large")]
    await desk.bounced.write_due()
    await desk.bounced.write_due()
    assert desk.commands() == []
    desk.bounced.hear(told())
    await desk.bounced.write_due()
    assert len(desk.commands()) == 1


async def test_the_desk_tells_of_feedback_once_it_is_durable(world: World) -> None:
    heard: list[MailFeedback] = []
    world.feedback = heard.append
    world.server.deliver(bounce(1))
    async with world.process(start="all"):
        await world.produced(1)
        await wait_until(lambda: bool(heard))
    assert [one.recipient for one in heard] == [GONE]
