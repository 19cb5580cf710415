"""`postlane status`: what happened to a mail, where it waits, when it is tried next, and why."""

import shlex
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Annotated

import typer

from postlane.core.dlq import Place
from postlane.core.events.command import Command
from postlane.core.events.status import MailStatus
from postlane.core.history import DeadLetter, MailHistory, Replay, Where
from postlane.core.ticket_marks import read_message_id
from postlane.ops import options
from postlane.ops.exits import CommandFailed, Exit
from postlane.ops.output import moment_text, plain, print_json, print_line, progress, shortened, span_text
from postlane.ops.session import Session, session_of
from postlane.ops.status_feedback import by_mail, feedback_lines, read_feedback
from postlane.ops.status_search import Asked, Kind, StatusSearch, search_of
from postlane.ops.ticket_output import held_words, hold_json, release_words
from postlane.ops.ticket_waits import read_orders
from postlane.ops.topic_names import CONTROL
from postlane.ports import TopicPartition

OVERDUE_SECONDS = 60.0  # a sender is busy now and then; longer than this something stands in its way

WHERE_WORDS = {
    Where.UNREAD: "waits in the topic for its sender",
    Where.SENDER: "waits with the sender",
    Where.JOURNAL: "waits in the retry journal",
    Where.OPERATOR: "held until an operator decides",
    Where.ENDED: "ended",
}


def status(
    context: typer.Context,
    *,
    what: Annotated[
        str, typer.Argument(metavar="TICKET|EVENT|MESSAGE-ID", help="A ticket id, event id or Message-ID.")
    ],
    kind: Annotated[
        Kind | None, typer.Option("--as", help="What the argument is; without it each is tried in turn.")
    ] = None,
    since: options.Since = None,
    as_json: options.Json = False,
) -> None:
    """Say what happened to a ticket's mails, to one request, or to one sent mail. Tickets: the last 7 days unless --since."""
    session = session_of(context)
    with progress("reading statuses") as bar:
        search = search_of(session, bar.step)
        histories = _first_answer(session, search, _questions(what, kind), since)
        holds = _holds(session, histories)
        feedback = by_mail(read_feedback(session, histories), histories)
    if as_json:
        mails = [
            plain(history) | {"feedback": [plain(one) for one in feedback[index]]}
            for index, history in enumerate(histories)
        ]
        print_json({"asked": what, "mails": mails, "holds": [hold_json(hold) for hold in holds]})
    told = (
        chain(_lines(one, search), feedback_lines(feedback[index])) for index, one in enumerate(histories)
    )
    for line in () if as_json else chain(_hold_lines(holds), *told):
        print_line(line)
    if not histories:
        raise CommandFailed(f"nothing is known of {what!r}", Exit.NOT_FOUND)


def _questions(what: str, kind: Kind | None) -> list[Asked]:
    """What the words may mean, likeliest first; only Message-IDs have an @."""
    message = Asked(Kind.MESSAGE, what.strip().strip("<>"))
    if kind is not None:
        return [message if kind is Kind.MESSAGE else Asked(kind, what)]
    others = [Asked(Kind.TICKET, what), Asked(Kind.EVENT, what)]
    return [message, *others] if "@" in what else others


def _first_answer(
    session: Session, search: StatusSearch, questions: list[Asked], since: datetime | None
) -> list[MailHistory]:
    for asked in questions:
        mark = None
        if asked.kind is Kind.MESSAGE:
            mark = read_message_id(session.settings.signing.signing_keys(), asked.value)
        found = search.find(asked, since, None if mark is None else mark.ticket_id)
        if found:
            return found
    return []


def _holds(session: Session, histories: list[MailHistory]) -> list[Command]:
    """The holds of the tickets of mail that has not ended: statuses do not tell of them for mail in the journal."""
    tickets = {one.ticket_id: one.partition for one in histories if one.where is not Where.ENDED}
    control = session.topic(CONTROL)
    places = [TopicPartition(control, partition) for partition in sorted(set(tickets.values()))]
    holds = read_orders(session.log, session.codec, places).holds
    return [hold for ticket, hold in holds.items() if ticket in tickets]


def _hold_lines(holds: list[Command]) -> Iterator[str]:
    for hold in holds:
        words = f"{held_words(hold)}: {shortened(hold.reason, 300)}"
        yield f"ticket {hold.ticket_id} is held {words}; to let it go on: {release_words(hold.ticket_id)}"


def _lines(history: MailHistory, search: StatusSearch) -> Iterator[str]:
    subject = "" if history.request is None else f"  {shortened(history.request.subject or '', 60)!r}"
    yield (
        f"ticket {history.ticket_id or '-'}{subject}  event {history.event_id or '-'}"
        f"  at {_at(search.main, Place(history.partition, history.origin.offset))}"
    )
    if history.replay_of is not None:
        yield f"  {_replay_words(history.replay_of, search)}"
    state = "QUEUED" if history.state is None else history.state.value
    attempt = f", attempt {history.attempt}" if history.attempt else ""
    yield f"  {state}{attempt}, {WHERE_WORDS[history.where]}: {history.cause}: {shortened(history.reason, 300)}"
    if history.next_attempt_at is not None and history.where is not Where.ENDED:
        yield f"  next attempt {moment_text(history.next_attempt_at)} ({_turn_words(history, search)})"
    if history.outcome_unknown:
        yield "  the connection was lost after the final dot: the relay may have taken the mail already"
    if history.message_id is not None:
        provider = (
            "" if history.provider_message_id is None else f", relay's id {history.provider_message_id}"
        )
        yield f"  Message-ID {history.message_id}{provider}"
    for outcome in history.recipients:
        reply = "" if outcome.reply is None else f"  {outcome.reply.code} {shortened(outcome.reply.text)}"
        yield f"  to {outcome.address}: {outcome.state.value}{reply}"
    for step in history.steps:
        yield f"    {_step(step)}"
    for letter in history.dead_letters:
        yield f"  dead letter {_at(search.dlq, letter.place)}, {_letter_words(letter, history, search)}"


def _at(topic: str, place: Place) -> str:
    return f"{topic} {place.partition}/{place.offset}"


def _replay_words(replay: Replay, search: StatusSearch) -> str:
    letter = f"dead letter {_at(search.dlq, replay.dead_letter)}"
    if replay.original is None:
        return f"replay of {letter}, which is no longer there"
    return f"replay of {_at(search.main, replay.original)}, by way of {letter}"


def _letter_words(letter: DeadLetter, history: MailHistory, search: StatusSearch) -> str:
    if letter.resolution is None:
        ticket = "" if history.ticket_id is None else shlex.quote(history.ticket_id)
        return f"open: postlane dlq show {letter.place}; postlane dlq replay --ticket {ticket}"
    done = f"{letter.resolution.value} {moment_text(letter.resolved_at)}"
    replays = " and ".join(_at(search.main, place) for place in letter.replays)
    return f"{done} as {replays}" if replays else done


def _step(step: MailStatus) -> str:
    relay = "" if step.relay is None else f" via {step.relay}"
    return (
        f"{moment_text(step.occurred_at)}  {step.state.value:<10} attempt {step.attempt}{relay}"
        f"  {step.cause}: {shortened(step.reason)}"
    )


def _turn_words(history: MailHistory, search: StatusSearch) -> str:
    """How far away the next attempt is, and what may be the matter where its time is long over."""
    assert history.next_attempt_at is not None, "asked only of mail that is tried again"
    seconds = (history.next_attempt_at - search.now).total_seconds()
    if seconds >= 0:
        return f"in {span_text(seconds)}"
    if seconds > -OVERDUE_SECONDS:
        return "due"
    newest = search.newest_status(history.partition)
    cause = history.cause if newest is None else newest.cause
    return (
        f"overdue for {span_text(-seconds)}: the relay may be held, or no sender runs; "
        f"the newest status of its partition says {cause}"
    )
