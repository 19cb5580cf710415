"""Dead mail as table rows and as JSON."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from postlane.core.dlq import DeadMail, Place, Plan, Unreadable
from postlane.core.events.trail import Dead
from postlane.ops.dlq_log import Failure
from postlane.ops.output import Json, iso_ms, ms_text, shortened

PLACES_SHOWN_MAX = 5  # of mails that are left out; thousands may be

COLUMNS = ("AT", "DIED", "TICKET", "CAUSE", "WORDS", "STATE")


def row(mail: DeadMail) -> tuple[str, ...]:
    """One line of `dlq list`."""
    died, cause, words = _obituary_words(mail)
    return (str(mail.place), died, mail.ticket_id or "-", cause, words, state_words(mail))


def state_words(mail: DeadMail) -> str:
    """`open`, or what was done about it last."""
    if mail.open:
        return "open"
    last = mail.resolutions[-1]
    return f"{last.resolution.value} {ms_text(last.resolved_at_ms)}"


def by_cause(mails: Iterable[DeadMail]) -> str:
    """How many there are of each cause, most frequent first."""
    counts = Counter(_obituary_words(mail)[1] for mail in mails)
    return ", ".join(f"{count} {cause}" for cause, count in counts.most_common())


def left_out_lines(plan: Plan) -> Iterator[str]:
    """A line per reason for which mails that were meant are not touched."""
    places: dict[str, list[Place]] = {}
    for mail, why in plan.left_out:
        places.setdefault(why.value, []).append(mail.place)
    for words, found in places.items():
        more = len(found) - PLACES_SHOWN_MAX
        shown = ", ".join(map(str, found[:PLACES_SHOWN_MAX])) + (f" and {more} more" if more > 0 else "")
        yield f"{len(found)} left out ({shown}): {words}"


def mail_json(mail: DeadMail) -> Json:
    """One dead mail without its value; the keys are stable."""
    event_id = next(
        (value.decode("utf-8", "replace") for name, value in mail.headers if name == "ce_id"), None
    )
    return {
        "place": str(mail.place),
        "ticket_id": mail.ticket_id,
        "event_id": event_id,
        "open": mail.open,
        "size_bytes": mail.size_bytes,
        "death": _death_json(mail.obituary),
        "resolutions": [
            {"resolution": done.resolution.value, "at": iso_ms(done.resolved_at_ms), "note": done.reason}
            for done in mail.resolutions
        ],
    }


def plan_json(plan: Plan, failures: Sequence[Failure], *, dry_run: bool) -> Json:
    """What was planned and what came of it."""
    failed = {failure.mail.place for failure in failures}
    return {
        "dry_run": dry_run,
        "mails": [
            mail_json(mail)
            | {"added": mail.place in plan.added, "done": not dry_run and mail.place not in failed}
            for mail in plan.mails
        ],
        "left_out": [{"place": str(mail.place), "why": why.value} for mail, why in plan.left_out],
        "failures": [{"place": str(failure.mail.place), "reason": failure.reason} for failure in failures],
    }


def _death_json(obituary: Dead | Unreadable) -> Json:
    if isinstance(obituary, Unreadable):
        return {"fault": obituary.reason}
    return {
        "at": iso_ms(obituary.died_ms),
        "cause": obituary.cause,
        "reason": obituary.reason,
        "reply": obituary.reply,
        "attempt": obituary.attempt,
        "first_seen": iso_ms(obituary.first_seen_ms),
        "remaining": obituary.remaining,
        "origin": {
            "topic": obituary.origin_topic,
            "topic_id": obituary.origin.topic_id,
            "partition": obituary.partition,
            "offset": obituary.origin.offset,
        },
    }


def _obituary_words(mail: DeadMail) -> tuple[str, str, str]:
    if isinstance(mail.obituary, Unreadable):
        return "-", "unreadable", shortened(mail.obituary.reason)
    dead = mail.obituary
    return ms_text(dead.died_ms), dead.cause, shortened(dead.reply or dead.reason)
