"""What comes back later about mail that was sent: beside its statuses, in `tail`, and for consumers."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from integration.cli.desk import CODEC, Desk
from postlane.core.events.feedback import FeedbackKind, MailFeedback, Permanence
from postlane.core.events.status import MailState


def bounced(ticket: str, message_id: str | None) -> MailFeedback:
    return MailFeedback(
        feedback_id=uuid4().hex,
        reported_at=datetime.now(UTC),
        kind=FeedbackKind.BOUNCE,
        permanence=Permanence.HARD,
        ticket_id=ticket,
        source_event_id=uuid4().hex,
        source_mailbox="support",
        reason="delivery status: failed",
        message_id=message_id,
        recipient="ann@b.test",
        status="5.1.1",
        smtp_code=550,
        diagnostic="550 5.1.1 User unknown",
    )


def test_status_and_tail_show_what_came_back(desk: Desk, ticket: str) -> None:
    first, second = (desk.send(ticket, "--subject", f"Mail {n}") for n in range(2))
    offsets = [record.offset for record in desk.records("mail.outbound", ticket)]
    ids = [f"<{uuid4().hex}@a.test>" for _ in range(2)]
    for event_id, offset, message_id in zip((first, second), offsets, ids, strict=True):
        status = desk.status(ticket, event_id, offset, MailState.SENT, message_id=message_id)
        desk.write("mail.outbound.status", ticket, CODEC.encode(status))
    named = bounced(ticket, ids[0].upper())
    unnamed = replace(bounced(ticket, None), kind=FeedbackKind.DELAY, permanence=Permanence.SOFT)
    for feedback in (named, unnamed):
        desk.write("mail.outbound.feedback", ticket, CODEC.encode(feedback))
    desk.write("mail.outbound.feedback", ticket, b"no feedback")

    mails = desk.run("status", ticket, "--json").json["mails"]
    assert [[one["feedback_id"] for one in mail["feedback"]] for mail in mails] == [
        [named.feedback_id],
        [unnamed.feedback_id],
    ]
    text = desk.run("status", ticket).out
    assert "BOUNCE of ann@b.test 5.1.1 (hard): 550 5.1.1 User unknown" in text
    assert "which mail of the ticket it was is not said" in text
    assert "BOUNCE of ann@b.test" in desk.run("status", ids[0]).out

    lines = desk.run("tail", "feedback", "--ticket", ticket).out.splitlines()
    assert len(lines) == 3
    assert "BOUNCE of ann@b.test 5.1.1 (hard): 550 5.1.1 User unknown" in lines[0]
    assert "(" in lines[2]
    (line,) = desk.run("tail", "feedback", "--ticket", ticket, "--state", "delay").out.splitlines()
    assert "DELAY of ann@b.test" in line
