"""Which mail a decision of `postlane ticket` is about."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from postlane.core.events.command import Wish
from postlane.core.events.status import Origin
from postlane.core.history import MailHistory, Where
from postlane.ops.exits import CommandFailed, Exit
from postlane.ops.output import moment_text, shortened
from postlane.ops.scanning import Step
from postlane.ops.session import Session
from postlane.ops.status_search import Asked, Kind, search_of
from postlane.ops.ticket_output import held_words, release_words
from postlane.ops.ticket_waits import Orders, ParkedMail, decision_on, places_of, read_orders, read_parked
from postlane.ops.topic_names import CONTROL, OUTBOUND, RETRY

LOOK_BACK = timedelta(days=30)  # the journal keeps no mail longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The mail that a decision is about, and its newest death (0 = it has not died)."""

    partition: int
    origin: Origin
    held: int
    words: str


def orders_in(session: Session, partition: int | None, step: Step | None = None) -> Orders:
    """The standing commands of one partition, or of all."""
    places = places_of(session.log, session.topic(CONTROL), partition)
    return read_orders(session.log, session.codec, places, step)


def parked_in(session: Session, partition: int | None, step: Step | None = None) -> list[ParkedMail]:
    """What the journal of one partition holds, or of all."""
    places = places_of(session.log, session.topic(RETRY), partition)
    topic_id = session.log.topic_id(session.topic(OUTBOUND))
    return read_parked(session.log, session.codec, places, topic_id, step)


def waiting_mail(session: Session, ticket: str) -> list[MailHistory]:
    """The ticket's mail that has not ended, oldest first."""
    search = search_of(session)
    histories = search.find(Asked(Kind.TICKET, ticket), search.now - LOOK_BACK)
    return [history for history in histories if history.where is not Where.ENDED]


def chosen(waiting: Iterable[MailHistory], ticket: str, event: str | None) -> MailHistory:
    """The mail that stands in the ticket's way, or the one that is named."""
    for mail in waiting:
        if event is None or mail.event_id == event:
            return mail
    named = f"mail {event} of ticket {ticket}" if event else f"ticket {ticket}"
    raise CommandFailed(f"nothing of {named} waits", Exit.NOT_FOUND)


def kept_target(dead: Iterable[ParkedMail], ticket: str, event: str | None) -> Target | None:
    """The ticket's first mail that died and was kept, or the one that is named."""
    for mail in dead:
        if mail.ticket_id == ticket and event in {None, mail.event_id}:
            words = _mail_words(mail.subject, mail.event_id, mail.put.cause)
            return Target(partition=mail.partition, origin=mail.origin, held=mail.put.held, words=words)
    return None


def put_of(mail: MailHistory, parked: Iterable[ParkedMail]) -> ParkedMail | None:
    """Its copy in the journal, if it has one."""
    return next((one for one in parked if one.origin == mail.origin), None)


def why_no_retry(mail: MailHistory, parked: list[ParkedMail], orders: Orders, ticket: str) -> str:
    """What to tell who wants mail tried again that has not died."""
    hold = orders.holds.get(ticket)
    if hold is not None:
        return (
            f"has not died: its ticket is held {held_words(hold)} ({shortened(hold.reason)}); "
            f"let it go on: {release_words(ticket)}"
        )
    put = put_of(mail, parked)
    decision = None if put is None else decision_on(put, orders)
    if decision is not None and decision.held > 0:
        verb = "tried again" if decision.wish is Wish.RETRY_MAIL else "skipped"
        return f"is to be {verb} already, as {decision.issued_by} decided {moment_text(decision.issued_at)}"
    return "has not died and been kept; it goes on by itself: see `postlane status`"


def described(mail: MailHistory) -> str:
    """A mail in words: subject, event, why it waits."""
    return _mail_words(None if mail.request is None else mail.request.subject, mail.event_id, mail.cause)


def _mail_words(subject: str | None, event_id: str | None, cause: str) -> str:
    quoted = "" if subject is None else f" {shortened(subject, 60)!r}"
    return f"mail{quoted} (event {event_id or '-'}, {cause})"
