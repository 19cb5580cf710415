"""What became of a mail, and dead mail with what operators do about it."""

import re
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from integration.cli.desk import CODEC, Desk
from integration.postlane_process import POSTLANE, STOP_SECONDS, eventually
from postlane.core.events.request import MailRequested
from postlane.core.events.status import MailState
from postlane.core.events.trail import decode_replay


def test_status_answers_for_ticket_event_and_message_id(desk: Desk, ticket: str) -> None:
    sent, waiting, unread = (desk.send(ticket, "--subject", f"Mail {n}") for n in range(3))
    offsets = [record.offset for record in desk.records("mail.outbound", ticket)]
    due = datetime.now(UTC) + timedelta(minutes=10)
    message_id = f"<{uuid4().hex}@a.test>"
    for status in (
        desk.status(ticket, sent, offsets[0], MailState.SENT, message_id=message_id),
        desk.status(ticket, waiting, offsets[1], MailState.DEFERRED, next_attempt_at=due, attempt=2),
    ):
        desk.write("mail.outbound.status", ticket, CODEC.encode(status))
    document = desk.run("status", ticket, "--json").json
    assert [(mail["event_id"], mail["state"], mail["where"]) for mail in document["mails"]] == [
        (sent, "SENT", "ended"),
        (waiting, "DEFERRED", "sender"),
        (unread, None, "unread"),
    ]
    assert document["mails"][2]["cause"] == "no_sender"
    for mail in document["mails"]:
        moments = [mail["request"]["at"], *(step["occurred_at"] for step in mail["steps"])]
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z", moment) for moment in moments), moments
    text = desk.run("status", waiting).out
    assert "DEFERRED, attempt 2, waits with the sender" in text
    assert f"next attempt {due:%Y-%m-%d %H:%M}" in text
    assert "in 10 min" in text
    for asked in (message_id, message_id.strip("<>")):
        assert [mail["event_id"] for mail in desk.run("status", asked, "--json").json["mails"]] == [sent]
    assert [mail["event_id"] for mail in desk.run("status", unread, "--json").json["mails"]] == [unread]


def test_status_of_something_unknown_is_exit_four(desk: Desk) -> None:
    ran = desk.run("status", "no-such-thing")
    assert ran.code == 4
    assert ran.err.strip() == "postlane: nothing is known of 'no-such-thing'"


def test_dead_mail_is_listed_shown_replayed_once_and_again_only_when_asked(desk: Desk, ticket: str) -> None:
    event_id = desk.send(ticket, "--subject", "Dead")
    place = desk.die(ticket, event_id, remaining=("ann@b.test",))
    assert "550 5.1.1 No such user" in desk.run("dlq", "list", "--ticket", ticket).out
    shown = desk.run("dlq", "show", place).json
    assert shown["death"]["cause"] == "no_such_recipient"
    assert shown["record"]["event"]["subject"] == "Dead"

    dry = desk.run("dlq", "replay", "--ticket", ticket, "--dry-run")
    assert dry.code == 0
    assert "would replay 1 mails" in dry.err
    refused = desk.run("dlq", "replay", "--ticket", ticket, answer="n\n")
    assert refused.code == 1
    assert len(desk.records("mail.outbound", ticket)) == 1

    done = desk.run("dlq", "replay", "--ticket", ticket, "--note", "mailbox made", answer="y\n")
    assert done.code == 0, done.err
    original, repeated = desk.records("mail.outbound", ticket)
    assert (repeated.value, repeated.at) == (original.value, original.at)
    source, remaining = decode_replay(repeated.headers)
    assert source is not None
    assert (f"{source.partition}:{source.offset}", remaining) == (place, ("ann@b.test",))
    assert set(original.headers) <= set(repeated.headers)

    assert desk.open_places("--ticket", ticket) == set()
    (closed,) = desk.run("dlq", "list", "--ticket", ticket, "--all", "--json").json
    assert [(r["resolution"], r["note"]) for r in closed["resolutions"]] == [("replayed", "mailbox made")]

    second = desk.run("dlq", "replay", "--ticket", ticket, "--yes")
    assert second.code == 4
    assert "--again repeats it" in second.err
    assert desk.run("dlq", "replay", "--ticket", ticket, "--again", "--yes").code == 0
    assert len(desk.records("mail.outbound", ticket)) == 3


def test_a_ticket_is_replayed_whole_and_in_the_order_of_its_origin(desk: Desk, ticket: str) -> None:
    events = [desk.send(ticket, "--subject", f"Mail {n}") for n in range(3)]
    for event_id, cause in zip(reversed(events), ("quota", "no_such_recipient", "quota"), strict=True):
        desk.die(ticket, event_id, cause=cause)
    ran = desk.run("dlq", "replay", "--ticket", ticket, "--cause", "quota", "--yes", "--json")
    assert ran.code == 0, ran.err
    assert [mail["added"] for mail in ran.json["mails"]] == [False, True, False]
    again = desk.records("mail.outbound", ticket)[3:]
    assert [CODEC.decode(MailRequested, record.value).event_id for record in again] == events


def test_a_slow_replay_that_is_stopped_goes_on_where_it_was(desk: Desk, ticket: str) -> None:
    events = [desk.send(ticket, "--subject", f"Mail {n}") for n in range(5)]
    for event_id in events:
        desk.die(ticket, event_id)
    replay = ("dlq", "replay", "--ticket", ticket, "--yes")

    def replayed() -> list[str]:
        again = desk.records("mail.outbound", ticket)[5:]
        return [CODEC.decode(MailRequested, record.value).event_id for record in again]

    command = (*POSTLANE, "--config", str(desk.configure()), *replay, "--rate", "60/min")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as slow:
        eventually("two are replayed", lambda: len(replayed()) >= 2)
        slow.send_signal(signal.SIGINT)
        _, said = slow.communicate(timeout=STOP_SECONDS)
    assert slow.returncode == 1
    assert "at this rate it takes about 5 s" in said
    assert re.search(
        r"stopped: \d of 5 mails are replayed, and perhaps a few more; the same command goes on", said
    )
    before = len(replayed())
    assert 2 <= before < 5
    assert len(desk.open_places("--ticket", ticket)) == 5 - before

    rest = desk.run(*replay, "--rate", "100/s")
    assert rest.code == 0, rest.err
    assert f"replayed {5 - before} of {5 - before} mails" in rest.err
    assert replayed() == events


def test_a_rate_that_is_none_is_refused(desk: Desk, ticket: str) -> None:
    ran = desk.run("dlq", "replay", "--ticket", ticket, "--rate", "quickly")
    assert ran.code == 2
    assert "is not a rate such as 300/min" in " ".join(ran.err.replace("│", " ").split())


def test_discard_closes_exactly_what_is_named(desk: Desk, ticket: str) -> None:
    first, second = (desk.die(ticket, desk.send(ticket)) for _ in range(2))
    ran = desk.run("dlq", "discard", "--offset", first, "--note", "spam", "--yes")
    assert ran.code == 0, ran.err
    assert desk.open_places("--ticket", ticket) == {second}
    assert len(desk.records("mail.outbound", ticket)) == 2


def test_an_unknown_cause_is_refused_with_the_known_ones(desk: Desk, ticket: str) -> None:
    desk.die(ticket, desk.send(ticket), cause="of_an_older_version")
    assert desk.run("dlq", "list", "--cause", "of_an_older_version").code == 0
    for command in ("list", "replay", "discard"):
        ran = desk.run("dlq", command, "--cause", "mailbox_unknown", "--cause", "quota")
        assert ran.code == 2
        assert "cause 'mailbox_unknown' is not known; " in ran.err
        assert ", no_such_recipient, " in ran.err


def test_an_empty_list_is_an_answer(desk: Desk, ticket: str) -> None:
    ran = desk.run("dlq", "list", "--ticket", ticket, "--json")
    assert (ran.code, ran.json) == (0, [])
    assert desk.run("dlq", "list", "--ticket", ticket, "--cause", "quota").code == 0


def test_replay_and_discard_want_to_know_what_is_meant(desk: Desk) -> None:
    for command in ("replay", "discard"):
        ran = desk.run("dlq", command, "--yes")
        assert ran.code == 2
        assert "--ticket, --cause, --reason" in ran.err
    assert desk.run("dlq", "replay", "--offset", "three", "--yes").code == 2
    assert desk.run("dlq", "show", "0:999999").code == 4


def test_a_mistyped_cause_is_answered_with_its_neighbours(desk: Desk) -> None:
    ran = desk.run("dlq", "list", "--cause", "no_such_recipent")
    assert ran.code == 2
    assert "'no_such_recipent' is not known; did you mean no_such_recipient" in ran.err


def test_a_waiting_mail_whose_time_is_long_over_says_what_may_be_the_matter(desk: Desk, ticket: str) -> None:
    event_id = desk.send(ticket)
    (request,) = desk.records("mail.outbound", ticket)
    due = datetime.now(UTC) - timedelta(hours=3)
    waits = desk.status(
        ticket, event_id, request.offset, MailState.DEFERRED, cause="connection", next_attempt_at=due
    )
    desk.write("mail.outbound.status", ticket, CODEC.encode(waits))
    text = desk.run("status", ticket).out
    assert "(overdue for 3 h: the relay may be held" in text
    assert "the newest status of its partition says connection)" in text
