"""What `postlane status` answers, from statuses and waiting requests."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from postlane.core.dlq import DlqRecord, Place, fold
from postlane.core.events.status import (
    MailState,
    MailStatus,
    Origin,
    RecipientOutcome,
    RecipientState,
    SmtpReply,
)
from postlane.core.events.trail import Dead, ReplayOf, Resolution, Resolved, encode
from postlane.core.history import (
    DeadLetter,
    MailHistory,
    PartitionView,
    Replay,
    Request,
    SendersSeen,
    Where,
    fold_histories,
    hold_of,
    may_be_dead,
)

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
REPLY = SmtpReply(phase="rcpt", code=450, enhanced_code="4.2.1", text="mailbox busy")


def status(offset: int, state: MailState, minute: int = 0, **changes: object) -> MailStatus:
    fields: dict[str, object] = {
        "status_id": f"{offset}:{minute}",
        "occurred_at": START + timedelta(minutes=minute),
        "state": state,
        "final": state not in {MailState.DEFERRED, MailState.HELD},
        "topic_id": "topic-1",
        "partition": 0,
        "offset": offset,
        "cause": "accepted",
        "reason": "reason",
        "attempt": 1,
        "instance": "host-1",
        "request_event_id": f"event-{offset}",
        "ticket_id": "T-1",
    }
    return MailStatus(**(fields | changes))  # type: ignore[arg-type]


def request(offset: int, minute: int = 0) -> Request:
    return Request(
        partition=0,
        origin=Origin("topic-1", offset),
        at=START + timedelta(minutes=minute),
        ticket_id="T-1",
        event_id=f"event-{offset}",
        subject="Hello",
        recipients=("a@example.com",),
    )


def dead(offset: int) -> Dead:
    return Dead(
        origin=Origin("topic-1", offset),
        origin_topic="mail.outbound",
        partition=0,
        attempt=1,
        first_seen_ms=0,
        died_ms=0,
        remaining=None,
        cause="no_such_recipient",
        reason="no such user",
        reply=None,
    )


def discarded(offset: int) -> Resolved:
    at_ms = round(START.timestamp() * 1000)
    return Resolved(dead_offset=offset, resolution=Resolution.DISCARDED, resolved_at_ms=at_ms, reason="spam")


def view(committed: int | None = 100, hold: MailStatus | None = None) -> dict[int, PartitionView]:
    return {0: PartitionView(topic_id="topic-1", committed=committed, hold=hold)}


def only(histories: list[MailHistory]) -> MailHistory:
    (history,) = histories
    return history


def test_the_last_status_speaks_and_all_are_kept() -> None:
    steps = [
        status(5, MailState.DEFERRED, 1, reply=REPLY, message_id="<m@x>"),
        status(5, MailState.SENT, 2, attempt=2, provider_message_id="queue-1"),
    ]
    history = only(fold_histories(steps, [request(5)], view()))
    assert (history.where, history.state, history.attempt) == (Where.ENDED, MailState.SENT, 2)
    assert history.message_id == "<m@x>"
    assert history.provider_message_id == "queue-1"
    assert history.steps == tuple(steps)
    assert history.request == request(5)


@pytest.mark.parametrize(
    ("offset", "state", "committed", "topic_id", "where"),
    [
        (5, MailState.DEFERRED, 100, "topic-1", Where.JOURNAL),
        (100, MailState.DEFERRED, 100, "topic-1", Where.SENDER),
        (5, MailState.DEFERRED, None, "topic-1", Where.SENDER),
        (500, MailState.DEFERRED, 100, "an older topic", Where.JOURNAL),
        (5, MailState.HELD, 100, "topic-1", Where.OPERATOR),
        (5, MailState.FAILED, 100, "topic-1", Where.ENDED),
        (500, MailState.EXPIRED, 100, "topic-1", Where.ENDED),
        (5, MailState.DUPLICATE, None, "topic-1", Where.ENDED),
    ],
)
def test_where_a_mail_waits(
    offset: int, state: MailState, committed: int | None, topic_id: str, where: Where
) -> None:
    steps = [status(offset, state, topic_id=topic_id)]
    assert only(fold_histories(steps, [], view(committed))).where is where


def test_recipients_keep_their_own_last_word() -> None:
    def outcome(address: str, state: RecipientState) -> RecipientOutcome:
        return RecipientOutcome(address=address, state=state)

    first = (outcome("a@x", RecipientState.DELIVERED), outcome("b@x", RecipientState.WAITING))
    second = (outcome("b@x", RecipientState.FAILED),)
    steps = [
        status(5, MailState.DEFERRED, 1, recipients=first),
        status(5, MailState.FAILED, 2, recipients=second),
    ]
    history = only(fold_histories(steps, [], view()))
    assert {r.address: r.state for r in history.recipients} == {
        "a@x": RecipientState.DELIVERED,
        "b@x": RecipientState.FAILED,
    }


def test_a_request_without_a_status_is_unread_and_says_how_many_stand_before_it() -> None:
    history = only(fold_histories([], [request(140)], view(committed=100)))
    assert (history.where, history.state, history.cause) == (Where.UNREAD, None, "queued")
    assert "40 requests" in history.reason
    assert history.event_id == "event-140"


def test_a_request_in_a_partition_that_nobody_works_on_says_so() -> None:
    history = only(fold_histories([], [request(3)], view(committed=None)))
    assert history.cause == "no_sender"
    assert "postlane outbound" in history.reason


def test_a_request_says_whether_any_sender_runs() -> None:
    def reason(committed: int | None, senders: SendersSeen) -> tuple[str, str]:
        views = {0: replace(view(committed)[0], senders=senders)}
        history = only(fold_histories([], [request(140)], views))
        return history.cause, history.reason

    nobody, gone, running = SendersSeen(0, None), SendersSeen(0, START), SendersSeen(1, START)
    cause, words = reason(None, nobody)
    assert (cause, "mail.relays knows of none" in words) == ("no_sender", True)
    cause, words = reason(100, gone)
    assert cause == "no_sender"
    assert f"the last asked for a share of a relay at {START:%Y-%m-%d %H:%M:%SZ}" in words
    assert "up to 40 requests" in words
    cause, words = reason(None, running)
    assert cause == "queued"
    assert words.startswith("1 sender runs, and none has finished anything in this partition yet")
    assert "within a minute" in words
    assert reason(100, running) == ("queued", "up to 40 requests of its partition stand before it")


def test_a_request_behind_a_held_relay_takes_over_cause_and_time() -> None:
    until = START + timedelta(hours=1)
    hold = status(
        9,
        MailState.DEFERRED,
        relay="main",
        cause="quota",
        reason="daily quota used up",
        next_attempt_at=until,
    )
    history = only(fold_histories([], [request(140)], view(hold=hold)))
    assert (history.cause, history.relay, history.next_attempt_at) == ("quota", "main", until)
    assert "daily quota used up" in history.reason


def test_one_event_sent_twice_has_two_histories_in_order() -> None:
    steps = [
        status(8, MailState.DUPLICATE, 3, request_event_id="event-5"),
        status(5, MailState.SENT, 2),
    ]
    histories = fold_histories(steps, [request(12, minute=9)], view())
    assert [(h.origin.offset, h.state) for h in histories] == [
        (5, MailState.SENT),
        (8, MailState.DUPLICATE),
        (12, None),
    ]


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"relay": None}, False),
        ({"reply": REPLY}, False),
        ({"recipients": (RecipientOutcome(address="a@x", state=RecipientState.WAITING),)}, False),
        ({"next_attempt_at": START - timedelta(seconds=1)}, False),
        ({"next_attempt_at": None}, False),
        ({"state": MailState.SENT}, False),
    ],
)
def test_only_a_standing_hold_of_a_relay_is_a_hold(changes: dict[str, object], holds: bool) -> None:
    fields: dict[str, object] = {
        "state": MailState.DEFERRED,
        "relay": "main",
        "next_attempt_at": START + timedelta(hours=1),
    }
    newest = status(9, **(fields | changes))  # type: ignore[arg-type]
    assert hold_of(newest, START) == (newest if holds else None)


def test_a_partition_without_statuses_has_no_hold() -> None:
    assert hold_of(None, START) is None


def test_a_mail_names_its_dead_letters_and_a_replay_its_original() -> None:
    records = [
        DlqRecord(place=Place(0, 3), key=b"T-1", size_bytes=1, headers=encode(dead(5))),
        DlqRecord(place=Place(0, 4), key=b"T-1", size_bytes=1, headers=encode(dead(5))),
        DlqRecord(place=Place(0, 5), key=b"T-1", size_bytes=0, headers=encode(discarded(4))),
        DlqRecord(place=Place(0, 6), key=b"T-1", size_bytes=1, headers=()),
    ]
    replay = replace(request(9, minute=5), replay_of=ReplayOf(0, 3))
    steps = [status(5, MailState.FAILED, 1), status(9, MailState.SENT, 6)]
    original, repeated = fold_histories(steps, [request(5), replay], view(), fold(records))
    assert original.dead_letters == (
        DeadLetter(place=Place(0, 3), resolution=None, resolved_at=None, replays=(Place(0, 9),)),
        DeadLetter(place=Place(0, 4), resolution=Resolution.DISCARDED, resolved_at=START, replays=()),
    )
    assert original.replay_of is None
    assert repeated.replay_of == Replay(dead_letter=Place(0, 3), original=Place(0, 5))
    assert repeated.dead_letters == ()
    assert str(Place(0, 3)) == "0:3"


@pytest.mark.parametrize(
    ("state", "recipient", "expected"),
    [
        (MailState.FAILED, None, True),
        (MailState.EXPIRED, None, True),
        (MailState.SKIPPED, None, True),
        (MailState.HELD, None, False),
        (MailState.DEFERRED, RecipientState.FAILED, True),
        (MailState.DEFERRED, RecipientState.WAITING, False),
        (MailState.SENT, None, False),
    ],
)
def test_a_dead_letter_may_follow_a_death_of_the_mail_or_of_a_recipient(
    state: MailState, recipient: RecipientState | None, *, expected: bool
) -> None:
    outcomes = () if recipient is None else (RecipientOutcome(address="a@x", state=recipient),)
    assert may_be_dead(status(5, state, recipients=outcomes)) is expected
