"""`postlane ticket`: hold a ticket's mail, let it go on, and decide about mail that died and was kept."""

import getpass
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import uuid4

import typer

from postlane.adapters.avro_codec import Undecodable
from postlane.adapters.cloudevents import cloud_event_headers
from postlane.adapters.kafka_produce import produce
from postlane.core.command import Command, Wish, command_key
from postlane.core.history import MailHistory, Where
from postlane.core.lane_holds import CAUSE_TICKET_HELD
from postlane.core.partitioner import partition_of
from postlane.core.status import MailState
from postlane.ops import options
from postlane.ops.exits import CommandFailed, Exit
from postlane.ops.output import iso, moment_text, print_json, print_line, print_table, shortened
from postlane.ops.scanning import bounds_of, partitions_of, scan
from postlane.ops.session import Session, session_of
from postlane.ops.status_search import Asked, Kind, StatusSearch
from postlane.ops.topic_names import CONTROL, DLQ, OUTBOUND, STATUS
from postlane.ports import LogRecord, NewRecord, RecordRefused, TopicPartition

SOURCE = "/postlane/ops"
LOOK_BACK = timedelta(days=30)  # the journal keeps no mail longer

app = typer.Typer(help="Hold a ticket's mail, and decide about mail that waits.", no_args_is_help=True)

Ticket = Annotated[str, typer.Argument(metavar="TICKET", help="The ticket's id.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in your words; `postlane status` shows it.")]
Event = Annotated[
    str | None, typer.Option("--event", metavar="EVENT-ID", help="This mail, not the ticket's first.")
]


@app.command()
def hold(context: typer.Context, ticket: Ticket, reason: Reason = "held by an operator") -> None:
    """Send nothing of this ticket until `release`: what waits and what comes waits in the journal; mail in flight still ends."""
    session = session_of(context)
    _write(session, _partition(session, ticket), _command(Wish.HOLD_TICKET, ticket, reason))
    print_line(f"ticket {ticket} is held; its sender obeys within seconds")


@app.command()
def release(context: typer.Context, ticket: Ticket, reason: Reason = "") -> None:
    """End the hold of this ticket. Mail that died and was kept needs `retry` or `skip`."""
    session = session_of(context)
    _write(session, _partition(session, ticket), _command(Wish.RELEASE_TICKET, ticket, reason))
    print_line(f"ticket {ticket} goes on")


@app.command()
def retry(context: typer.Context, *, ticket: Ticket, event: Event = None, reason: Reason = "") -> None:
    """Try the ticket's mail again that died and was kept (outbound.on_dead = "hold")."""
    session = session_of(context)
    mail = _chosen(_waiting(session, ticket), ticket, event)
    if mail.where is not Where.OPERATOR or _deaths(mail) == 0:
        raise CommandFailed(
            f"{_described(mail)} has not died and been kept; it goes on by itself: see `postlane status`"
        )
    _decide(session, Wish.RETRY_MAIL, ticket, mail, reason)
    print_line(f"{_described(mail)} is tried again")


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
    mail = _chosen(_waiting(session, ticket), ticket, event)
    if not yes and not typer.confirm(f"end {_described(mail)} unsent?", err=True):
        raise CommandFailed("nothing was done")
    _decide(session, Wish.SKIP_MAIL, ticket, mail, reason)
    print_line(f"{_described(mail)} is skipped in its turn")


@app.command("list")
def list_(context: typer.Context, as_json: options.Json = False) -> None:
    """List the tickets that are held, who held them and why."""
    session = session_of(context)
    held = sorted(_held(session), key=lambda command: command.issued_at)
    if as_json:
        print_json(
            [
                {"ticket_id": c.ticket_id, "since": iso(c.issued_at), "by": c.issued_by, "reason": c.reason}
                for c in held
            ]
        )
    elif held:
        rows = ((c.ticket_id, moment_text(c.issued_at), c.issued_by, shortened(c.reason)) for c in held)
        print_table(("ticket", "since", "by", "reason"), rows)


def _held(session: Session) -> list[Command]:
    """The newest command of every ticket, where it is a hold."""

    def command(record: LogRecord) -> tuple[bytes | None, Command] | None:
        try:
            return record.key, session.codec.decode(Command, record.value)
        except Undecodable:
            return None

    places = partitions_of(session.log, session.topic(CONTROL))
    newest = dict(scan(session.log, bounds_of(session.log, places), command))
    return [command for command in newest.values() if command.wish is Wish.HOLD_TICKET]


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


def _deaths(mail: MailHistory) -> int:
    """How often it has died and been kept: the sender writes HELD once for each."""
    steps = {
        step.status_id
        for step in mail.steps
        if step.state is MailState.HELD and step.cause != CAUSE_TICKET_HELD
    }
    return len(steps)


def _described(mail: MailHistory) -> str:
    subject = (
        ""
        if mail.request is None or mail.request.subject is None
        else f" {shortened(mail.request.subject, 60)!r}"
    )
    return f"mail{subject} (event {mail.event_id or '-'}, {mail.cause})"


def _decide(session: Session, wish: Wish, ticket: str, mail: MailHistory, reason: str) -> None:
    command = _command(wish, ticket, reason, mail)
    _write(session, mail.partition, command)


def _command(wish: Wish, ticket: str, reason: str, mail: MailHistory | None = None) -> Command:
    return Command(
        command_id=str(uuid4()),
        issued_at=datetime.now(UTC),
        issued_by=f"{getpass.getuser()}@{socket.gethostname()}",
        wish=wish,
        ticket_id=ticket,
        reason=reason,
        topic_id=None if mail is None else mail.origin.topic_id,
        partition=None if mail is None else mail.partition,
        offset=None if mail is None else mail.origin.offset,
        held=0 if mail is None else _deaths(mail),
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
