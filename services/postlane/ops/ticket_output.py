"""What waits for a person, in words, as table rows and as JSON."""

import shlex

from postlane.core.events.command import Command
from postlane.ops.output import Json, iso, moment_text, shortened
from postlane.ops.ticket_waits import ParkedMail

COLUMNS = ("ticket", "kind", "since", "by", "reason", "next")


def held_words(hold: Command) -> str:
    """By whom and since when a ticket is held."""
    return f"by {hold.issued_by} since {moment_text(hold.issued_at)}"


def release_words(ticket: str) -> str:
    """What to type to end a hold."""
    return f"postlane ticket release {shlex.quote(ticket)}"


def decide_words(ticket: str) -> str:
    """What to type about mail that died and was kept."""
    quoted = shlex.quote(ticket)
    return f"postlane ticket retry {quoted}, or: postlane ticket skip {quoted}"


def hold_row(hold: Command) -> tuple[str, ...]:
    """A held ticket as a row of `ticket list`."""
    since = moment_text(hold.issued_at)
    return (
        hold.ticket_id,
        "held",
        since,
        hold.issued_by,
        shortened(hold.reason),
        release_words(hold.ticket_id),
    )


def kept_row(mail: ParkedMail) -> tuple[str, ...]:
    """Kept dead mail as a row of `ticket list`."""
    reason = shortened(f"{mail.put.cause}: {mail.put.reason}")
    return (mail.ticket_id, "dead mail", moment_text(mail.since), "-", reason, decide_words(mail.ticket_id))


def hold_json(hold: Command) -> Json:
    """A held ticket; the keys are stable."""
    return {
        "kind": "held",
        "ticket_id": hold.ticket_id,
        "since": iso(hold.issued_at),
        "by": hold.issued_by,
        "reason": hold.reason,
    }


def kept_json(mail: ParkedMail) -> Json:
    """Kept dead mail; the keys are stable, those of both kinds alike where they mean the same."""
    return {
        "kind": "dead_mail",
        "ticket_id": mail.ticket_id,
        "since": iso(mail.since),
        "cause": mail.put.cause,
        "reason": mail.put.reason,
        "event_id": mail.event_id,
        "subject": mail.subject,
        "deaths": mail.put.held,
    }
