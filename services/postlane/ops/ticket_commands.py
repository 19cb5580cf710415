"""`postlane ticket`: hold a ticket's mail, let it go on, and decide about mail that died and was kept."""

import getpass
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import uuid4

import typer

from postlane.adapters.cloudevents import cloud_event_headers
from postlane.adapters.kafka_produce import produce
from postlane.core.events.command import Command, Wish, command_key
from postlane.core.events.status import Origin
from postlane.core.history import MailHistory, Where
from postlane.core.partitioner import partition_of
from postlane.ops import options
from postlane.ops.exits import CommandFailed, Exit
from postlane.ops.output import (
    has_controls,
    moment_text,
    print_json,
    print_line,
    print_table,
    progress,
    say,
    shortened,
    visible,
)
from postlane.ops.scanning import Step
from postlane.ops.session import Session, session_of
from postlane.ops.status_search import Asked, Kind, StatusSearch
from postlane.ops.ticket_output import (
    COLUMNS,
    decide_words,
    held_words,
    hold_json,
    hold_row,
    kept_json,
    kept_row,
    release_words,
)
from postlane.ops.ticket_waits import (
    Orders,
    ParkedMail,
    decision_on,
    kept,
    places_of,
    read_orders,
    read_parked,
)
from postlane.ops.topic_names import CONTROL, DLQ, OUTBOUND, RETRY, STATUS
from postlane.ports import NewRecord, RecordRefused, TopicPartition

SOURCE = "/postlane/ops"
LOOK_BACK = timedelta(days=30)  # the journal keeps no mail longer

app = typer.Typer(help="Hold a ticket's mail, and decide about mail that waits.", no_args_is_help=True)


def _not_empty(ticket: str) -> str:
    if not ticket:
        raise typer.BadParameter("a ticket id is not empty")
    return ticket


def _printable(ticket: str) -> str:
    if has_controls(ticket):
        raise typer.BadParameter(f"{visible(ticket)} contains a control character")
    return _not_empty(ticket)


Ticket = Annotated[str, typer.Argument(metavar="TICKET", help="The ticket's id.", callback=_not_empty)]
NewTicket = Annotated[str, typer.Argument(metavar="TICKET", help="The ticket's id.", callback=_printable)]
Reason = Annotated[str, typer.Option("--reason", help="Why, in your words; `postlane status` shows it.")]
Event = Annotated[
    str | None, typer.Option("--event", metavar="EVENT-ID", help="This mail, not the ticket's first.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """The mail that a decision is about, and its newest death (0 = it has not died)."""

    partition: int
    origin: Origin
    held: int
    words: str


@app.command()
def hold(context: typer.Context, ticket: NewTicket, reason: Reason = "held by an operator") -> None:
    """Send nothing of this ticket until `release`: what waits and what comes waits in the journal; mail in flight still ends."""
    session = session_of(context)
    partition = _partition(session, ticket)
    before = _orders(session, partition).holds.get(ticket)
    _write(session, partition, _command(Wish.HOLD_TICKET, ticket, reason))
    if before is None:
        print_line(f"ticket {ticket} is held; its sender obeys within seconds")
    else:
        print_line(
            f"ticket {ticket} was held already {held_words(before)}; its reason is now: {shortened(reason)}"
        )


@app.command()
def release(context: typer.Context, ticket: Ticket, reason: Reason = "") -> None:
    """End the hold of this ticket. Mail that died and was kept needs `retry` or `skip`."""
    session = session_of(context)
    partition = _partition(session, ticket)
    orders = _orders(session, partition)
    waiting = [mail for mail in kept(_parked(session, partition), orders) if mail.ticket_id == ticket]
    advice = f"its mail that died waits for {decide_words(ticket)}"
    if ticket not in orders.holds:
        raise CommandFailed(
            f"ticket {ticket} is not held" + (f"; {advice}" if waiting else ""), Exit.NOT_FOUND
        )
    _write(session, partition, _command(Wish.RELEASE_TICKET, ticket, reason))
    print_line(f"ticket {ticket} is not held any more; {advice}" if waiting else f"ticket {ticket} goes on")


@app.command()
def retry(context: typer.Context, *, ticket: Ticket, event: Event = None, reason: Reason = "") -> None:
    """Try the ticket's mail again that died and was kept (outbound.on_dead = "hold")."""
    session = session_of(context)
    partition = _partition(session, ticket)
    orders = _orders(session, partition)
    parked = _parked(session, partition)
    target = _kept_target(kept(parked, orders), ticket, event)
    if target is None:
        mail = _chosen(_waiting(session, ticket), ticket, event)
        raise CommandFailed(f"{_described(mail)} {_why_no_retry(mail, parked, orders, ticket)}")
    _decide(session, Wish.RETRY_MAIL, ticket, target, reason)
    still = orders.holds.get(ticket)
    end = (
        ""
        if still is None
        else f" once the ticket, held {held_words(still)}, goes on: {release_words(ticket)}"
    )
    print_line(f"{target.words} is tried again{end}")


@app.command()
def skip(
    context: typer.Context,
    *,
    ticket: Ticket,
    event: Event = None,
    reason: Reason = "",
    yes: options.Yes = False,
) -> None:
    """End the ticket's first waiting mail unsent, with a copy in the dead letters; the ticket goes on. Asks first."""
    session = session_of(context)
    partition = _partition(session, ticket)
    parked = _parked(session, partition)
    target = _kept_target(kept(parked, _orders(session, partition)), ticket, event)
    if target is None:
        mail = _chosen(_waiting(session, ticket), ticket, event)
        put = _put_of(mail, parked)
        held = 0 if put is None else put.put.held
        target = _Target(partition=mail.partition, origin=mail.origin, held=held, words=_described(mail))
    if not yes and not typer.confirm(visible(f"end {target.words} unsent?"), err=True):
        raise CommandFailed("nothing was done")
    _decide(session, Wish.SKIP_MAIL, ticket, target, reason)
    print_line(f"{target.words} is skipped in its turn")


@app.command("list")
def list_(context: typer.Context, as_json: options.Json = False) -> None:
    """List what waits for a person: tickets that somebody holds, and mail that died and was kept. Nothing = exit 0, JSON []."""
    session = session_of(context)
    with progress("reading commands and the journal") as bar:
        orders = _orders(session, None, bar.step)
        dead = kept(_parked(session, None, bar.step), orders)
    held = sorted(orders.holds.values(), key=lambda command: command.issued_at)
    dead.sort(key=lambda mail: mail.since)
    if as_json:
        print_json([*map(hold_json, held), *map(kept_json, dead)])
    elif held or dead:
        print_table(COLUMNS, [*map(hold_row, held), *map(kept_row, dead)])
    else:
        say("no ticket is held, and no dead mail waits for a decision")


def _orders(session: Session, partition: int | None, step: Step | None = None) -> Orders:
    places = places_of(session.log, session.topic(CONTROL), partition)
    return read_orders(session.log, session.codec, places, step)


def _parked(session: Session, partition: int | None, step: Step | None = None) -> list[ParkedMail]:
    places = places_of(session.log, session.topic(RETRY), partition)
    topic_id = session.log.topic_id(session.topic(OUTBOUND))
    return read_parked(session.log, session.codec, places, topic_id, step)


def _waiting(session: Session, ticket: str) -> list[MailHistory]:
    search = StatusSearch(
        log=session.log,
        codec=session.codec,
        main=session.topic(OUTBOUND),
        status=session.topic(STATUS),
        dlq=session.topic(DLQ),
        group=session.settings.kafka.group("outbound"),
        now=datetime.now(UTC),
    )
    histories = search.find(Asked(Kind.TICKET, ticket), search.now - LOOK_BACK)
    return [history for history in histories if history.where is not Where.ENDED]


def _chosen(waiting: Iterable[MailHistory], ticket: str, event: str | None) -> MailHistory:
    """The mail that stands in the ticket's way, or the one that is named."""
    for mail in waiting:
        if event is None or mail.event_id == event:
            return mail
    named = f"mail {event} of ticket {ticket}" if event else f"ticket {ticket}"
    raise CommandFailed(f"nothing of {named} waits", Exit.NOT_FOUND)


def _kept_target(dead: Iterable[ParkedMail], ticket: str, event: str | None) -> _Target | None:
    """The ticket's first mail that died and was kept, or the one that is named."""
    for mail in dead:
        if mail.ticket_id == ticket and event in {None, mail.event_id}:
            words = _mail_words(mail.subject, mail.event_id, mail.put.cause)
            return _Target(partition=mail.partition, origin=mail.origin, held=mail.put.held, words=words)
    return None


def _put_of(mail: MailHistory, parked: Iterable[ParkedMail]) -> ParkedMail | None:
    return next((one for one in parked if one.origin == mail.origin), None)


def _why_no_retry(mail: MailHistory, parked: list[ParkedMail], orders: Orders, ticket: str) -> str:
    hold = orders.holds.get(ticket)
    if hold is not None:
        return (
            f"has not died: its ticket is held {held_words(hold)} ({shortened(hold.reason)}); "
            f"let it go on: {release_words(ticket)}"
        )
    put = _put_of(mail, parked)
    decision = None if put is None else decision_on(put, orders)
    if decision is not None and decision.held > 0:
        verb = "tried again" if decision.wish is Wish.RETRY_MAIL else "skipped"
        return f"is to be {verb} already, as {decision.issued_by} decided {moment_text(decision.issued_at)}"
    return "has not died and been kept; it goes on by itself: see `postlane status`"


def _described(mail: MailHistory) -> str:
    return _mail_words(None if mail.request is None else mail.request.subject, mail.event_id, mail.cause)


def _mail_words(subject: str | None, event_id: str | None, cause: str) -> str:
    quoted = "" if subject is None else f" {shortened(subject, 60)!r}"
    return f"mail{quoted} (event {event_id or '-'}, {cause})"


def _decide(session: Session, wish: Wish, ticket: str, target: _Target, reason: str) -> None:
    _write(session, target.partition, _command(wish, ticket, reason, target))


def _command(wish: Wish, ticket: str, reason: str, target: _Target | None = None) -> Command:
    return Command(
        command_id=str(uuid4()),
        issued_at=datetime.now(UTC),
        issued_by=f"{getpass.getuser()}@{socket.gethostname()}",
        wish=wish,
        ticket_id=ticket,
        reason=reason,
        topic_id=None if target is None else target.origin.topic_id,
        partition=None if target is None else target.partition,
        offset=None if target is None else target.origin.offset,
        held=0 if target is None else target.held,
    )


def _partition(session: Session, ticket: str) -> int:
    return partition_of(ticket.encode(), session.log.partition_count(session.topic(OUTBOUND)))


def _write(session: Session, partition: int, command: Command) -> None:
    """Commands about a ticket stand in the partition of its mail."""
    record = NewRecord(
        to=TopicPartition(session.topic(CONTROL), partition),
        key=command_key(command),
        value=session.codec.encode(command),
        headers=cloud_event_headers(command, SOURCE),
    )
    try:
        produce(session.settings.kafka, record)
    except RecordRefused as error:
        raise CommandFailed(f"the command was not given: {error}") from None
