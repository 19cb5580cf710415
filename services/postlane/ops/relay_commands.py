"""`postlane relays`: what each relay does, what waits for it; stop one, and let it go on."""

import difflib
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import typer

from postlane.core.control.standing import Pause
from postlane.core.events.command import Command, Wish
from postlane.ops import options
from postlane.ops.control_writing import give_command
from postlane.ops.exits import CommandFailed, Exit
from postlane.ops.operator_name import operator_name
from postlane.ops.output import print_json, print_line, progress, say
from postlane.ops.relay_output import pause_json, pause_words, report_json, report_lines, resume_lines
from postlane.ops.relay_survey import read_pauses, surveyor_of
from postlane.ops.session import Session, session_of
from postlane.ops.topic_names import CONTROL

NO_REASON = "no reason was given"

app = typer.Typer(help="The relays: what they do, what waits for them; stop one, let it go on.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The relay's name in the configuration.")]
PauseReason = Annotated[
    str | None, typer.Option("--reason", help="Why, in your words; `list` and statuses show it.")
]
ResumeReason = Annotated[str, typer.Option("--reason", help="Why, in your words; mail.control keeps it.")]
For = Annotated[
    datetime | None,
    typer.Option(
        "--for",
        parser=options.future,
        callback=options.not_past,
        metavar="SPAN",
        help="When it ends by itself: a span (30m, 2h, 1d) or a time (ISO 8601); without it: with `resume`.",
    ),
]


@app.callback(invoke_without_command=True)
def relays(context: typer.Context, as_json: options.Json = False) -> None:
    """Show all relays, as `list` does."""
    if context.invoked_subcommand is None:
        _show(session_of(context), as_json=as_json)
    elif as_json:
        raise typer.BadParameter(
            f"--json stands behind the command: relays {context.invoked_subcommand} --json"
        )


@app.command("list")
def list_(context: typer.Context, as_json: options.Json = False) -> None:
    """Say of each relay whether it sends, is held or paused and until when, which routes use it, what waits, and how long that takes.

    The state is what senders last told: up to a hold's expected time, or until a relay answers. Waiting mails are those of the routes that
    a relay stands in, so mail that may go by two relays is counted at both. The forecast is the bound by the configured budgets, as if all
    of it went by this relay and nothing of them were used.
    """
    _show(session_of(context), as_json=as_json)


@app.command()
def pause(
    context: typer.Context,
    name: Name,
    *,
    until: For = None,
    reason: PauseReason = None,
    as_json: options.Json = False,
) -> None:
    """Send nothing by this relay until `resume`, or until the time is over: its mail waits, or goes by its route's other relays."""
    session = session_of(context)
    _known(session, name)
    now, until = _cut(datetime.now(UTC)), None if until is None else _cut(until)
    before = _pause_of(session, name, now)
    words = reason or (NO_REASON if before is None else before.reason)
    end = None if until is None else until.timestamp()
    if before is not None and (before.reason, before.until) == (words, end):
        _tell(name, before, f"relay {name} is paused already {pause_words(before)}", False, as_json)
        return
    made = Pause(words, operator_name(), now.timestamp(), end)
    give_command(session, _command(Wish.PAUSE_RELAY, name, words, now, until))
    if before is None:
        line = f"relay {name} is paused {pause_words(made)}; senders obey within seconds, mail in flight still ends"
    else:
        line = f"relay {name} was paused already {pause_words(before)}. Now it is paused {pause_words(made)}"
    _tell(name, made, line, True, as_json)


@app.command()
def resume(
    context: typer.Context, name: Name, *, reason: ResumeReason = "", as_json: options.Json = False
) -> None:
    """End the pause of this relay. Where the relay itself made us wait, ask it again at once, with a single mail.

    The same goes for senders that it refused. A budget of the configuration that is used up ends by itself only; `list` says when.
    """
    session = session_of(context)
    _known(session, name)
    now = datetime.now(UTC)
    before = _pause_of(session, name, now)
    with progress("looking at statuses") as bar:
        hold = surveyor_of(session, bar.step).hold_of(name, session.settings, now)
    give_command(session, _command(Wish.RESUME_RELAY, name, reason, now))
    lines = resume_lines(name, before, hold)
    if as_json:
        print_json(pause_json(name, None, changed=before is not None, probed=hold is not None))
    else:
        for line in lines:
            print_line(line)


def _show(session: Session, *, as_json: bool) -> None:
    if not session.settings.relays:
        if as_json:
            print_json([])
        say("no relay is configured; see [relays] in `postlane config example`")
        return
    with progress("looking at statuses and what waits") as bar:
        survey = surveyor_of(session, bar.step).survey(session.settings, datetime.now(UTC))
    if as_json:
        print_json([report_json(report, survey) for report in survey.relays])
        return
    for report in survey.relays:
        for line in report_lines(report, survey):
            print_line(line)
    if survey.estimated:
        say(
            f"{survey.estimated} unread mails were counted, not looked at; routes are taken to share them as those before"
        )


def _known(session: Session, name: str) -> None:
    configured = list(session.settings.relays)
    if name in configured:
        return
    near = difflib.get_close_matches(name, configured, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    known = ", ".join(configured) or "none: see [relays] in `postlane config example`"
    raise CommandFailed(f"no relay is called {name!r}; {hint}known are: {known}", Exit.USAGE)


def _pause_of(session: Session, name: str, now: datetime) -> Pause | None:
    standing = read_pauses(session.log, session.codec, session.topic(CONTROL), [name])
    return standing.pause_of(name, now.timestamp())


def _tell(name: str, pause_now: Pause | None, line: str, changed: bool, as_json: bool) -> None:
    if as_json:
        print_json(pause_json(name, pause_now, changed=changed))
    else:
        print_line(line)


def _cut(at: datetime) -> datetime:
    """To whole milliseconds, as mail.control will keep it."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _command(wish: Wish, relay: str, reason: str, now: datetime, until: datetime | None = None) -> Command:
    return Command(
        command_id=str(uuid4()),
        issued_at=now,
        issued_by=operator_name(),
        wish=wish,
        reason=reason,
        relay=relay,
        expires_at=until,
    )
