"""`postlane suppression`: whom no relay is asked to mail: look, add, remove, import."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import typer

from postlane.adapters.kafka_produce import produce_all
from postlane.core.addresses import mailbox_key
from postlane.core.events.command import Command, Wish
from postlane.ops import options
from postlane.ops.control_writing import records_for_all
from postlane.ops.exits import CommandFailed, Exit
from postlane.ops.operator_name import operator_name
from postlane.ops.output import print_json, print_line, print_table, progress, say
from postlane.ops.session import Session, session_of
from postlane.ops.suppression_file import Wanted, read_cause, read_file, read_wanted
from postlane.ops.suppression_list import COLUMNS, Entry, entry_json, entry_row, entry_words, read_entries
from postlane.ops.topic_names import CONTROL
from postlane.ports import RecordRefused

FAULTS_SHOWN_MAX = 20

app = typer.Typer(help="The addresses that are not mailed, and why.", no_args_is_help=True)


def _address(text: str) -> str:
    key = mailbox_key(text)
    if key is None:
        raise typer.BadParameter(f"{text!r} is not a mail address such as kim@example.org")
    return key


def _cause(text: str) -> str:
    try:
        return read_cause(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Addresses = Annotated[
    list[str], typer.Argument(metavar="ADDRESS...", parser=_address, help="Bare addresses.")
]
SomeAddresses = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ADDRESS...]", parser=_address, help="Only these; else the whole list."),
]
Cause = Annotated[
    str,
    typer.Option("--cause", parser=_cause, metavar="CAUSE", help="A token for programs, such as complaint."),
]
Reason = Annotated[str, typer.Option("--reason", help="Why, in your words; `list` and statuses show it.")]
Expires = Annotated[
    datetime | None,
    typer.Option(
        "--expires",
        parser=options.future,
        callback=options.not_past,
        metavar="WHEN",
        help="When it ends by itself: a span from now (30d) or a time (ISO 8601); without it: never.",
    ),
]


@app.command("list")
def list_(
    context: typer.Context,
    addresses: SomeAddresses = None,
    *,
    over: Annotated[bool, typer.Option("--over", help="Also those whose time is over.")] = False,
    as_json: options.Json = False,
) -> None:
    """List who is not mailed, by whose word, and until when. Nothing = exit 0, JSON []; of named addresses none = exit 4."""
    session = session_of(context)
    now = datetime.now(UTC)
    entries = _read(session, addresses)
    found = [entries[address] for address in sorted(entries) if over or entries[address].holds(now)]
    if as_json:
        print_json([entry_json(entry) for entry in found])
    elif found:
        print_table(COLUMNS, map(entry_row, found))
    elif not addresses:
        say("no address is suppressed")
    if addresses and not found:
        raise CommandFailed(f"not on the list: {', '.join(addresses)}", Exit.NOT_FOUND)


@app.command()
def add(
    context: typer.Context,
    addresses: Addresses,
    *,
    cause: Cause = "manual",
    reason: Reason = "",
    expires: Expires = None,
    dry_run: options.DryRun = False,
) -> None:
    """Mail nothing to these addresses from now on. One that is listed already gets the new cause, reason and end."""
    session = session_of(context)
    now = datetime.now(UTC)
    wanted = [read_wanted(address, cause, reason, expires, now) for address in dict.fromkeys(addresses)]
    known = _read(session, addresses)
    changes = [one for one in wanted if not _same(known.get(one.address), one, now)]
    if not dry_run:
        _write(session, [_suppress(one, now) for one in changes])
    for one in wanted:
        entry = known.get(one.address)
        listed = entry is not None and entry.holds(now)
        if one not in changes and entry is not None:
            print_line(f"{one.address} is on the list already {entry_words(entry)}")
        elif listed and entry is not None:
            verb = "would be changed" if dry_run else "is changed"
            print_line(f"{one.address} {verb}; it was on the list {entry_words(entry)}")
        else:
            print_line(f"{one.address} {'would be' if dry_run else 'is'} suppressed ({one.cause})")


@app.command()
def remove(
    context: typer.Context,
    addresses: Addresses,
    *,
    reason: Reason = "",
    dry_run: options.DryRun = False,
) -> None:
    """Take these addresses off the list: the next mail to them is tried. Mail that ended SUPPRESSED has to be requested again."""
    session = session_of(context)
    now = datetime.now(UTC)
    entries = _read(session, addresses)
    listed = [address for address in dict.fromkeys(addresses) if address in entries]
    if not dry_run:
        _write(session, [_command(Wish.ALLOW_RECIPIENT, address, reason, now) for address in listed])
    for address in listed:
        verb = "would be taken off" if dry_run else "is taken off"
        print_line(f"{address} {verb} the list; it was there {entry_words(entries[address])}")
    if missing := [address for address in dict.fromkeys(addresses) if address not in entries]:
        raise CommandFailed(f"not on the list: {', '.join(missing)}", Exit.NOT_FOUND)


@app.command("import")
def import_(  # noqa: PLR0913 - a command's options
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="One address per line, or CSV with a header line such as address,cause,reason,expires; - reads stdin.",
        ),
    ],
    *,
    cause: Cause = "manual",
    reason: Reason = "imported",
    expires: Expires = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Take the good lines where there are bad ones.")
    ] = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Suppress all addresses of a file; what it does not say about one comes from the options. No entry is made shorter by it.

    With a bad line nothing is written, unless --skip-bad. It can be repeated.
    """
    session = session_of(context)
    now = datetime.now(UTC)
    given = Wanted(address="", cause=cause, reason=reason, until=expires)
    wanted, bad = read_file(file, given, now)
    for line in bad[:FAULTS_SHOWN_MAX]:
        say(f"{file}, line {line.number}: {line.fault}")
    if len(bad) > FAULTS_SHOWN_MAX:
        say(f"{file}: {len(bad) - FAULTS_SHOWN_MAX} more bad lines")
    if bad and not skip_bad:
        raise CommandFailed(
            f"nothing was imported: {len(bad)} of {len(bad) + len(wanted)} lines are bad; correct them, or --skip-bad"
        )
    known = _read(session, None)
    changes = [one for one in wanted.values() if _lengthens(known.get(one.address), one, now)]
    if not dry_run:
        _write(session, [_suppress(one, now) for one in changes])
    counts = {"suppressed": len(changes), "unchanged": len(wanted) - len(changes), "bad_lines": len(bad)}
    if as_json:
        print_json(counts | {"dry_run": dry_run})
    else:
        verb = "would be" if dry_run else "are"
        print_line(
            f"{len(changes)} addresses {verb} suppressed, {counts['unchanged']} were already, {len(bad)} lines left out"
        )


def _read(session: Session, addresses: Sequence[str] | None) -> dict[str, Entry]:
    with progress("reading the suppression list") as bar:
        topic = session.topic(CONTROL)
        return read_entries(session.log, session.codec, topic, addresses or None, bar.step)


def _same(entry: Entry | None, wanted: Wanted, now: datetime) -> bool:
    if entry is None or not entry.holds(now):
        return False
    return (entry.cause, entry.reason, entry.until) == (wanted.cause, wanted.reason, wanted.until)


def _lengthens(entry: Entry | None, wanted: Wanted, now: datetime) -> bool:
    """Whether an import has something to say about an address: a person may have suppressed it for longer."""
    if entry is None or not entry.holds(now):
        return True
    return entry.until is not None and (wanted.until is None or wanted.until > entry.until)


def _suppress(wanted: Wanted, now: datetime) -> Command:
    return _command(Wish.SUPPRESS_RECIPIENT, wanted.address, wanted.reason, now, wanted)


def _command(wish: Wish, address: str, reason: str, now: datetime, wanted: Wanted | None = None) -> Command:
    return Command(
        command_id=str(uuid4()),
        issued_at=now,
        issued_by=operator_name(),
        wish=wish,
        reason=reason,
        recipient=address,
        cause="" if wanted is None else wanted.cause,
        expires_at=None if wanted is None else wanted.until,
    )


def _write(session: Session, commands: Sequence[Command]) -> None:
    if not commands:
        return
    try:
        with progress("writing") as bar:
            bar.expect(len(commands))
            produce_all(session.settings.kafka, records_for_all(session, commands), bar.step)
    except RecordRefused as error:
        raise CommandFailed(
            f"{commands[error.index].recipient} was not written: {error.reason}; others may have been, so repeat it"
        ) from None
