"""`postlane dlq`: dead mail, for people: list, show, replay, discard."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from postlane.adapters.blob_stores import open_blob_store
from postlane.adapters.smtp_rules_file import load_classifier
from postlane.core.causes import known_causes
from postlane.core.dlq import DeadMail, Place, Plan, Selection, plan_discard, plan_replay, unknown_causes
from postlane.core.events.trail import BadTrail, Resolution
from postlane.core.replay_rate import ReplayRate, parse_rate
from postlane.ops import options
from postlane.ops.decoded import as_json as record_json
from postlane.ops.decoded import decode_record
from postlane.ops.dlq_log import DlqLog, Failure, Resolving
from postlane.ops.dlq_output import COLUMNS, by_cause, left_out_lines, mail_json, plan_json, row
from postlane.ops.exits import CommandFailed, Exit
from postlane.ops.output import print_json, print_table, progress, say, span_text
from postlane.ops.pacer import Pacer
from postlane.ops.session import Session, session_of
from postlane.ops.topic_names import DLQ, KINDS, OUTBOUND
from postlane.ports import BlobMissing, BlobStoreError, LogWriter

PLACE_DIGITS_MAX = 25  # a partition and a 64-bit offset


def _rate(text: str) -> ReplayRate:
    try:
        return parse_rate(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


app = typer.Typer(help="Dead mail: see it, send it again, or close it.", no_args_is_help=True)

Tickets = Annotated[
    list[str] | None, typer.Option("--ticket", "-t", help="Of this ticket; may be given several times.")
]
Causes = Annotated[list[str] | None, typer.Option("--cause", help="With this cause, as `list` names it.")]
Reason = Annotated[
    str,
    typer.Option("--reason", metavar="WORDS", help="With these words in the reason or the relay's reply."),
]
Places = Annotated[
    list[str] | None,
    typer.Option("--offset", metavar="PARTITION:OFFSET", help="This very record, as `list` names it."),
]
Note = Annotated[str, typer.Option("--note", help="Why, for the record.")]
Rate = Annotated[
    ReplayRate | None,
    typer.Option(
        "--rate",
        parser=_rate,
        metavar="N/min",
        help="So fast, such as 300/min, 5/s or 1000/hour, so that new mail is not stood in the way of; without it: all at once.",
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="All open mail, when no other filter is given.")]


@app.command("list")
def list_(  # noqa: PLR0913 - the options of a command
    context: typer.Context,
    *,
    ticket: Tickets = None,
    cause: Causes = None,
    reason: Reason = "",
    since: options.Since = None,
    until: options.Until = None,
    offset: Places = None,
    resolved_too: Annotated[bool, typer.Option("--all", help="Resolved mail too.")] = False,
    as_json: options.Json = False,
) -> None:
    """List open dead mail, in the order of death per partition. An empty list is an answer: exit 0, JSON []."""
    selection = _selection(ticket, cause, reason, _Span(since, until), offset)
    dead = _read(_dlq(session_of(context)), selection)
    mails = [mail for mail in dead if selection.holds(mail) and (resolved_too or mail.open)]
    if as_json:
        print_json([mail_json(mail) for mail in mails])
    elif mails:
        print_table(COLUMNS, map(row, mails))
        say(f"{len(mails)} dead mails: {by_cause(mails)}")
    else:
        say("no dead mail matches" if resolved_too else "no open dead mail matches")


@app.command()
def show(
    context: typer.Context,
    *,
    place: Annotated[str, typer.Argument(metavar="PARTITION:OFFSET", help="The record, as `list` names it.")],
    raw: Annotated[
        bool, typer.Option("--raw", help="Write the original bytes to stdout, nothing else.")
    ] = False,
) -> None:
    """Show one dead mail whole, as JSON: why it died, what was done about it, its headers and its request."""
    session = session_of(context)
    dlq = _dlq(session)
    wanted = _place(place)
    mail = next((mail for mail in _read(dlq, Selection()) if mail.place == wanted), None)
    record = None if mail is None else dlq.fetch(wanted)
    if mail is None or record is None:
        raise CommandFailed(f"no dead mail stands at {place}", Exit.NOT_FOUND)
    try:
        value = dlq.value(record)
    except (BlobMissing, BlobStoreError, BadTrail) as error:
        raise CommandFailed(f"the original of {place} cannot be read: {error}") from None
    if raw:
        typer.get_binary_stream("stdout").write(value or b"")
        return
    decoded = decode_record(replace(record, value=value), KINDS["dlq"], session.codec)
    print_json(mail_json(mail) | {"record": record_json(decoded)})


@app.command("replay")
def replay_(  # noqa: PLR0913 - the options of a command
    context: typer.Context,
    *,
    ticket: Tickets = None,
    cause: Causes = None,
    reason: Reason = "",
    since: options.Since = None,
    until: options.Until = None,
    offset: Places = None,
    everything: Everything = False,
    alone: Annotated[
        bool, typer.Option("--alone", help="Only what matches, not the other open mail of its tickets.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also what matches and was replayed or discarded before.")
    ] = False,
    rate: Rate = None,
    note: Note = "",
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Send dead mail again to those who did not get it: whole tickets, in their order.

    Each mail is closed in the same transaction that sends it. So a replay that was stopped with Ctrl-C, or cut off, goes on where it was when the
    same command is given again.
    """
    selection = _selection(ticket, cause, reason, _Span(since, until), offset)
    _refuse_unlimited(selection, everything=everything)
    order = _Order(
        Resolution.REPLAYED, note, dry_run=dry_run, yes=yes, as_json=as_json, rate=rate, again=again
    )
    with _taken_over(session_of(context), dry_run=dry_run) as (dlq, writer):
        plan = plan_replay(_read(dlq, selection), selection, again=again, alone=alone)
        _carry_out(dlq, writer, plan, order)


@app.command()
def discard(  # noqa: PLR0913 - the options of a command
    context: typer.Context,
    *,
    ticket: Tickets = None,
    cause: Causes = None,
    reason: Reason = "",
    since: options.Since = None,
    until: options.Until = None,
    offset: Places = None,
    everything: Everything = False,
    note: Note = "",
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Close dead mail without sending it: exactly what matches. The records stay until their retention is over."""
    selection = _selection(ticket, cause, reason, _Span(since, until), offset)
    _refuse_unlimited(selection, everything=everything)
    order = _Order(Resolution.DISCARDED, note, dry_run=dry_run, yes=yes, as_json=as_json)
    with _taken_over(session_of(context), dry_run=dry_run) as (dlq, writer):
        _carry_out(dlq, writer, plan_discard(_read(dlq, selection), selection), order)


@dataclass(frozen=True, slots=True)
class _Span:
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class _Order:
    resolution: Resolution
    note: str
    dry_run: bool
    yes: bool
    as_json: bool
    rate: ReplayRate | None = None
    again: bool = False


def _selection(
    ticket: list[str] | None, cause: list[str] | None, reason: str, span: _Span, offset: list[str] | None
) -> Selection:
    return Selection(
        tickets=frozenset(ticket or ()),
        causes=frozenset(cause or ()),
        reason=reason,
        since_ms=None if span.since is None else round(span.since.timestamp() * 1000),
        until_ms=None if span.until is None else round(span.until.timestamp() * 1000),
        places=frozenset(_place(text) for text in offset or ()),
    )


def _place(text: str) -> Place:
    partition, _, offset = text.partition(":")
    digits = partition + offset
    if not (
        partition and offset and digits.isascii() and digits.isdecimal() and len(digits) <= PLACE_DIGITS_MAX
    ):
        raise CommandFailed(f"{text!r} is not PARTITION:OFFSET, such as 3:17", Exit.USAGE)
    return Place(int(partition), int(offset))


def _refuse_unlimited(selection: Selection, *, everything: bool) -> None:
    if selection == Selection() and not everything:
        raise CommandFailed(
            "say which dead mail: --ticket, --cause, --reason, --since, --until, --offset, or --all",
            Exit.USAGE,
        )


def _dlq(session: Session) -> DlqLog:
    try:
        blobs = open_blob_store(session.settings.blobs)
    except BlobStoreError as error:
        raise CommandFailed(str(error)) from None
    return DlqLog(session.log, blobs, main=session.topic(OUTBOUND), dlq=session.topic(DLQ))


def _read(dlq: DlqLog, selection: Selection) -> list[DeadMail]:
    """All dead mail; a cause that can select none of it is refused, because it is a slip."""
    with progress("reading dead mail") as bar:
        dead = dlq.read(bar.expect, bar.step)
    known = known_causes(load_classifier())
    if unknown := unknown_causes(selection, known, dead):
        near = difflib.get_close_matches(unknown[0], known)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise CommandFailed(
            f"cause {unknown[0]!r} is not known; {hint}known are {', '.join(sorted(known))}", Exit.USAGE
        )
    return dead


@contextmanager
def _taken_over(session: Session, *, dry_run: bool) -> Iterator[tuple[DlqLog, LogWriter | None]]:
    """The dead-letter log, and for real work its writer.

    The writer is taken over before anything is read: a second operator's command fences this one, and neither can
    act on what the other has just resolved.
    """
    dlq = _dlq(session)
    if dry_run:
        yield dlq, None
        return
    session.log.partition_count(session.topic(DLQ))  # a take-over would wait longer for a Kafka that is away
    writer = session.log.writer(session.settings.kafka.group("ops-dlq"))
    try:
        writer.take_over()
        yield dlq, writer
    finally:
        writer.close()


def _carry_out(dlq: DlqLog, writer: LogWriter | None, plan: Plan, order: _Order) -> None:
    """Show the plan, ask, write, and say what came of it."""
    _show(plan, order)
    failures: list[Failure] = []
    if plan.mails and writer is not None:
        if not order.yes:
            typer.confirm(
                f"{_verb(order)} {len(plan.mails)} mails ({by_cause(plan.mails)})?", abort=True, err=True
            )
        failures = _write(dlq, writer, plan, order)
    if order.as_json:
        print_json(plan_json(plan, failures, dry_run=order.dry_run))
    for failure in failures:
        say(f"{failure.mail.place} stays open: {failure.reason}")
    if not plan.mails:
        raise CommandFailed("nothing to do: no open dead mail matches", Exit.NOT_FOUND)
    if writer is not None:
        say(f"{order.resolution.value} {len(plan.mails) - len(failures)} of {len(plan.mails)} mails")
    if failures:
        raise CommandFailed(f"{len(failures)} mails could not be written")


def _write(dlq: DlqLog, writer: LogWriter, plan: Plan, order: _Order) -> list[Failure]:
    """Write all of it, as fast as ordered. Raises CommandFailed when a person stops it, with what was done by then."""
    resolving = Resolving(
        resolution=order.resolution,
        now_ms=lambda: round(datetime.now(UTC).timestamp() * 1000),
        reason=order.note,
    )
    if order.rate is not None:
        pacer = Pacer(order.rate)
        resolving = replace(resolving, batch_mails=order.rate.batch_mails, before_batch=pacer.wait)
    done = 0
    try:
        with progress("writing") as bar:
            bar.expect(len(plan.mails))

            def step(count: int) -> None:
                nonlocal done
                done += count
                bar.step(count)

            return dlq.resolve(writer, plan.mails, resolving, step)
    except KeyboardInterrupt:
        rest = "without --again the same command" if order.again else "the same command"
        raise CommandFailed(
            f"stopped: {done} of {len(plan.mails)} mails are {order.resolution.value}, and perhaps a few more; {rest} goes on with the rest"
        ) from None


def _show(plan: Plan, order: _Order) -> None:
    if not order.as_json and plan.mails:
        print_table(
            ("", *COLUMNS), (("+" if mail.place in plan.added else "", *row(mail)) for mail in plan.mails)
        )
    if plan.added:
        say(f"+ {len(plan.added)} more of the same tickets, so that their order holds (--alone leaves them)")
    for line in left_out_lines(plan):
        say(line)
    if order.dry_run and plan.mails:
        say(f"dry run: would {_verb(order).lower()} {len(plan.mails)} mails: {by_cause(plan.mails)}")
    if order.rate is not None and plan.mails:
        say(f"at this rate it takes about {span_text(order.rate.seconds_for(len(plan.mails)))}")


def _verb(order: _Order) -> str:
    return {Resolution.REPLAYED: "Replay", Resolution.DISCARDED: "Discard"}[order.resolution]
