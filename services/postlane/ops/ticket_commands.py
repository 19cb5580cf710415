"""`postlane ticket`: hold a ticket's mail, let it go on, and decide about mail that died and was kept."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import typer

from postlane.core.events.command import Command, Wish
from postlane.core.partitioner import partition_of
from postlane.ops import options
from postlane.ops.control_writing import give_command
from postlane.ops.exits import CommandFailed, Exit
from postlane.ops.operator_name import operator_name
from postlane.ops.output import (
    has_controls,
    print_json,
    print_line,
    print_table,
    progress,
    say,
    shortened,
    visible,
)
from postlane.ops.session import Session, session_of
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
from postlane.ops.ticket_targets import (
    Target,
    chosen,
    described,
    kept_target,
    orders_in,
    parked_in,
    put_of,
    waiting_mail,
    why_no_retry,
)
from postlane.ops.ticket_waits import kept
from postlane.ops.topic_names import OUTBOUND

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


@app.command()
def hold(context: typer.Context, ticket: NewTicket, reason: Reason = "held by an operator") -> None:
    """Send nothing of this ticket until `release`: what waits and what comes waits in the journal; mail in flight still ends."""
    session = session_of(context)
    partition = _partition(session, ticket)
    before = orders_in(session, partition).holds.get(ticket)
    give_command(session, _command(Wish.HOLD_TICKET, ticket, reason), partition)
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
    orders = orders_in(session, partition)
    waiting = [mail for mail in kept(parked_in(session, partition), orders) if mail.ticket_id == ticket]
    advice = f"its mail that died waits for {decide_words(ticket)}"
    if ticket not in orders.holds:
        raise CommandFailed(
            f"ticket {ticket} is not held" + (f"; {advice}" if waiting else ""), Exit.NOT_FOUND
        )
    give_command(session, _command(Wish.RELEASE_TICKET, ticket, reason), partition)
    print_line(f"ticket {ticket} is not held any more; {advice}" if waiting else f"ticket {ticket} goes on")


@app.command()
def retry(context: typer.Context, *, ticket: Ticket, event: Event = None, reason: Reason = "") -> None:
    """Try the ticket's mail again that died and was kept (outbound.on_dead = "hold")."""
    session = session_of(context)
    partition = _partition(session, ticket)
    orders = orders_in(session, partition)
    parked = parked_in(session, partition)
    target = kept_target(kept(parked, orders), ticket, event)
    if target is None:
        mail = chosen(waiting_mail(session, ticket), ticket, event)
        raise CommandFailed(f"{described(mail)} {why_no_retry(mail, parked, orders, ticket)}")
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
    parked = parked_in(session, partition)
    target = kept_target(kept(parked, orders_in(session, partition)), ticket, event)
    if target is None:
        mail = chosen(waiting_mail(session, ticket), ticket, event)
        put = put_of(mail, parked)
        held = 0 if put is None else put.put.held
        target = Target(partition=mail.partition, origin=mail.origin, held=held, words=described(mail))
    if not yes and not typer.confirm(visible(f"end {target.words} unsent?"), err=True):
        raise CommandFailed("nothing was done")
    _decide(session, Wish.SKIP_MAIL, ticket, target, reason)
    print_line(f"{target.words} is skipped in its turn")


@app.command("list")
def list_(context: typer.Context, as_json: options.Json = False) -> None:
    """List what waits for a person: tickets that somebody holds, and mail that died and was kept. Nothing = exit 0, JSON []."""
    session = session_of(context)
    with progress("reading commands and the journal") as bar:
        orders = orders_in(session, None, bar.step)
        dead = kept(parked_in(session, None, bar.step), orders)
    held = sorted(orders.holds.values(), key=lambda command: command.issued_at)
    dead.sort(key=lambda mail: mail.since)
    if as_json:
        print_json([*map(hold_json, held), *map(kept_json, dead)])
    elif held or dead:
        print_table(COLUMNS, [*map(hold_row, held), *map(kept_row, dead)])
    else:
        say("no ticket is held, and no dead mail waits for a decision")


def _decide(session: Session, wish: Wish, ticket: str, target: Target, reason: str) -> None:
    give_command(session, _command(wish, ticket, reason, target), target.partition)


def _command(wish: Wish, ticket: str, reason: str, target: Target | None = None) -> Command:
    return Command(
        command_id=str(uuid4()),
        issued_at=datetime.now(UTC),
        issued_by=operator_name(),
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
