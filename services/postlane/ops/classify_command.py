"""`postlane classify`: what a relay's reply means to Postlane, and which rule says so."""

from pathlib import Path
from typing import Annotated

import typer

from postlane.adapters.smtp_rules_file import load_classifier, read_own_rules
from postlane.core.events.status import SmtpReply
from postlane.core.smtp.attempt import describe
from postlane.core.smtp.smtp_reply import NoReply, Outcome, Rule, Verdict, explain_fallback, parse_reply
from postlane.core.smtp.transcript import Phase
from postlane.ops import options
from postlane.ops.exits import CommandFailed, Exit
from postlane.ops.output import plain, print_json, print_line
from postlane.ops.session import session_of

SHIPPED = "shipped with Postlane"
_OUTCOMES = {
    Outcome.HOLD: "everything of this scope waits; no attempt is counted",
    Outcome.RETRY: "it is tried again later; the attempt counts",
    Outcome.FAIL: "it is given up",
}


def classify(
    context: typer.Context,
    reply: Annotated[
        str,
        typer.Argument(help="The reply with its code; \\n or a line break parts the lines of a longer one."),
    ],
    phase: Annotated[
        Phase, typer.Option(help="What the relay answered; final is the answer to the final dot.")
    ] = Phase.RCPT,
    rules: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Own rules to try instead of outbound.reply_rules_file."),
    ] = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Say what a relay's reply means, and which rule decides: `postlane classify "550 5.4.5 Daily sending quota exceeded" --phase mail`."""
    own_file = rules or session_of(context).settings.outbound.reply_rules_file
    own = read_own_rules(own_file)
    classifier = load_classifier(own_file)
    try:
        heard = parse_reply(phase, reply.replace(r"\n", "\n"))
    except NoReply as error:
        raise CommandFailed(f"{reply!r} cannot be classified: {error}", Exit.USAGE) from None
    verdict, rule = classifier.classify(heard), classifier.deciding_rule(heard)
    place = None if rule is None else str(own_file) if rule in classifier.rules[: len(own)] else SHIPPED
    if as_json:
        print_json(_as_json(heard, verdict, rule, place))
        return
    for name, text in _lines(heard, verdict, rule, place):
        print_line(f"{name:<8}  {text}")


def _as_json(heard: SmtpReply, verdict: Verdict, rule: Rule | None, place: str | None) -> dict[str, object]:
    return {
        "reply": plain(heard),
        **plain(verdict),
        "alarm": verdict.alarms,
        "rule": None if rule is None else rule.name,
        "rules": place,
        "source": None if rule is None else rule.source,
        "fallback": explain_fallback(heard) if rule is None else None,
    }


def _lines(heard: SmtpReply, verdict: Verdict, rule: Rule | None, place: str | None) -> list[tuple[str, str]]:
    wait = "no time is named" if verdict.wait_seconds is None else f"{verdict.wait_seconds:g} s"
    alarm = "; an alarm: our standing is in question" if verdict.alarms else ""
    lines = [
        ("reply", describe(heard)),
        ("outcome", f"{verdict.outcome} ({_OUTCOMES[verdict.outcome]})"),
        ("scope", verdict.scope.value),
        ("cause", f"{verdict.cause}{alarm}"),
        ("wait", wait),
    ]
    if rule is None:
        return [*lines, ("rule", f"no rule: fallback by {explain_fallback(heard)}")]
    return [*lines, ("rule", f"{rule.name} ({place})"), ("source", rule.source)]
