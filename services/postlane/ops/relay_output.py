"""What is told of relays: in words and as JSON."""

import shlex
from collections.abc import Iterator
from datetime import datetime
from typing import assert_never

from postlane.core.control.standing import Pause
from postlane.core.instants import moment
from postlane.core.limits.limit import CAUSE_QUOTA, CAUSE_RATE
from postlane.core.limits.permission import Never
from postlane.core.limits.warm_up import CAUSE_WARM_UP
from postlane.core.relays.backlog import Waiting
from postlane.core.relays.relay_state import RelayState, RelayView
from postlane.core.routing.routes import Route
from postlane.ops.output import Json, iso, moment_text, shortened, span_text
from postlane.ops.relay_survey import RelayReport, Survey

SILENT_SECONDS = 60.0  # mail that may go is answered, and a relay probed, within seconds
UNEXPLAINED = {RelayState.DUE, RelayState.SENDS, RelayState.UNKNOWN}  # nothing tells why mail waits
OWN_BUDGETS = {
    CAUSE_QUOTA,
    CAUSE_RATE,
    CAUSE_WARM_UP,
}  # where no relay has said so: only their own time ends them
ORDINALS = ("first", "second", "third")


def report_lines(report: RelayReport, survey: Survey) -> Iterator[str]:
    """One relay for people."""
    view, section = report.view, report.section
    yield f"{view.relay}  {state_words(view, survey.now)}"
    own_budget = report.usage.hold is None and view.cause in OWN_BUDGETS
    if view.state is RelayState.HELD and view.told_by is None and not own_budget:
        yield f"  to have it tried at once: postlane relays resume {shlex.quote(view.relay)}"
    if report.waiting.ready and view.state in UNEXPLAINED and _is_silent(survey):
        yield "  mail waits, and no relay answers: either one was tried and refused again, or no sender runs; see the log of `postlane outbound`"
    limits = ", ".join(section.budgets) or "no budgets"
    ramp = "" if section.warm_up is None else f"; warm-up {section.warm_up}, since {section.warm_up_since}"
    yield f"  {section.host}:{section.port}; {section.connections} connections; {limits}{ramp}"
    for words in report.usage.words(survey.now):
        yield f"  {words}, by all senders"
    yield f"  senders that share it now: {report.usage.senders}"
    if report.usage.differing:
        yield f"  OTHER CONFIGURATION than here at sender {report.usage.differing}: all senders must have the same"
    ways = [_route_words(route, view.relay, report) for route in survey.routes if route.name in report.routes]
    yield f"  routes: {', '.join(ways) or 'none leads here: it is not used'}"
    if ways:
        yield f"  waiting: {_waiting_words(report.waiting)}"
    if report.waiting.ready:
        yield f"  {_forecast_words(report)}"


def state_words(view: RelayView, now: datetime) -> str:
    """What a relay does now, and why."""
    match view.state:
        case RelayState.PAUSED:
            resume = f"postlane relays resume {shlex.quote(view.relay)}"
            end = _end_words(view.until, "somebody resumes it")
            return f"PAUSED by {view.by} since {moment_text(view.since)}, {end}: {shortened(view.reason, 300)}; to let it go on: {resume}"
        case RelayState.HELD:
            sure = "probably" if view.told_by is None else "at least"
            end = "nobody knows until when" if view.until is None else f"{sure} {_until(view.until, now)}"
            return f"HELD since {moment_text(view.since)}{_why(view)}, {end}{_reason(view)}"
        case RelayState.PASSED_OVER:
            last = "" if view.answered_at is None else f" its own last answer: {_ago(view.answered_at, now)};"
            return (
                f"PASSED OVER: {view.told_by} sends in its place, last {_ago(view.told_at, now)};{last} "
                "the line relay_held in the log of `postlane outbound` says why"
            )
        case RelayState.DUE:
            return (
                f"DUE: it was held{_why(view)} until {moment_text(view.until)} and is tried with the next mail; "
                f"nothing is known of it since{_reason(view)}"
            )
        case RelayState.SENDS:
            return f"SENDS: its last answer to a mail came {_ago(view.answered_at, now)}"
        case RelayState.UNKNOWN:
            return "UNKNOWN: none of the newest statuses names it; mail will show"
        case _:
            assert_never(view.state)


def _why(view: RelayView) -> str:
    return "" if view.cause is None else f" ({view.cause})"


def _reason(view: RelayView) -> str:
    if view.told_by is None:
        return f": {shortened(view.reason, 300)}"
    return (
        f": no relay of its routes takes mail, the next to be tried is {view.told_by}; "
        "why this one takes none, the line relay_held in the log of `postlane outbound` says"
    )


def report_json(report: RelayReport, survey: Survey) -> Json:
    """One relay; the keys are stable."""
    view, section = report.view, report.section
    through = report.through_seconds
    return {
        "relay": view.relay,
        "state": view.state.value,
        "cause": view.cause,
        "reason": view.reason,
        "by": view.by,
        "since": iso(view.since),
        "until": iso(view.until),
        "told_at": iso(view.told_at),
        "answered_at": iso(view.answered_at),
        "told_by": view.told_by,
        "host": section.host,
        "port": section.port,
        "connections": section.connections,
        "budgets": list(section.budgets),
        "used": list(report.usage.words(survey.now)),
        "senders": report.usage.senders,
        "differing": report.usage.differing or None,
        "warm_up": section.warm_up,
        "warm_up_since": None if section.warm_up_since is None else section.warm_up_since.isoformat(),
        "routes": [
            {
                "route": route.name,
                "tier": tier + 1,
                "weight": weight,
                "waiting": _waiting_json(report.routes[route.name]),
            }
            for route in survey.routes
            for tier, relays in enumerate(route.tiers)
            for name, weight in relays
            if name == view.relay
        ],
        "waiting": _waiting_json(report.waiting),
        "waiting_estimated": survey.estimated > 0,
        "through_seconds_at_best": None if isinstance(through, Never) or through is None else round(through),
        "through_never": through.reason if isinstance(through, Never) else None,
    }


def pause_json(relay: str, pause: Pause | None, *, changed: bool, probed: bool = False) -> Json:
    """What `pause` and `resume` have come to; the keys are stable."""
    return {
        "relay": relay,
        "paused": pause is not None,
        "changed": changed,
        "probed": probed,
        "reason": None if pause is None else pause.reason,
        "by": None if pause is None else pause.by,
        "since": None if pause is None else iso(moment(pause.since)),
        "until": None if pause is None or pause.until is None else iso(moment(pause.until)),
    }


def resume_lines(relay: str, pause: Pause | None, hold: RelayView | None) -> list[str]:
    """What `resume` has come to: a pause that has ended, and a hold that is to be tried."""
    if pause is not None:
        lines = [f"relay {relay} goes on within seconds; it was paused {pause_words(pause)}"]
    else:
        lines = [f"relay {relay} is not paused"]
    if hold is not None:
        cause = "" if hold.cause is None else f" ({hold.cause})"
        lines.append(
            f"it holds mail back{cause}: senders try it within seconds with a single mail, and go on once that was answered; "
            "a budget of the configuration that is used up still holds"
        )
    elif pause is None:
        lines.append(
            "nothing says that it holds mail back; senders that know of a hold try it again within seconds"
        )
    return lines


def pause_words(pause: Pause) -> str:
    """Since when, by whom, until when and why a relay is paused."""
    until = None if pause.until is None else moment(pause.until)
    end = _end_words(until, "somebody resumes it")
    return f"since {moment_text(moment(pause.since))} by {pause.by}, {end}: {shortened(pause.reason)}"


def _end_words(until: datetime | None, without: str) -> str:
    return f"until {without if until is None else moment_text(until)}"


def _until(until: datetime, now: datetime) -> str:
    return f"until {moment_text(until)} (in {span_text((until - now).total_seconds())})"


def _ago(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "-"
    return f"{moment_text(at)} ({span_text(max(0.0, (now - at).total_seconds()))} ago)"


def _is_silent(survey: Survey) -> bool:
    answers = [report.view.answered_at for report in survey.relays if report.view.answered_at is not None]
    return not answers or (survey.now - max(answers)).total_seconds() > SILENT_SECONDS


def _route_words(route: Route, relay: str, report: RelayReport) -> str:
    (tier,) = [number for number, relays in enumerate(route.tiers) if relay in dict(relays)]
    place = ORDINALS[tier] if tier < len(ORDINALS) else f"{tier + 1}th"
    share = dict(route.tiers[tier])
    weight = f", weight {share[relay]} of {sum(share.values())}" if len(share) > 1 else ""
    ready = report.routes[route.name].ready
    waits = f", {ready} mails may go now" if len(report.routes) > 1 else ""
    return f"{route.name} ({place}{weight}{waits})"


def _waiting_words(waiting: Waiting) -> str:
    ready = f"{waiting.ready} mails may go now"
    if waiting.ready:
        ready += f" ({waiting.unread} unread or with a sender, {waiting.parked} in the journal)"
    return f"{ready}; {waiting.later} wait for their own time, {waiting.for_person} for a person"


def _forecast_words(report: RelayReport) -> str:
    through = report.through_seconds
    if isinstance(through, Never):
        return f"backlog through: not foreseeable: {through.reason}"
    if through is None:
        return "backlog through: no budget bounds it: as fast as the relay takes it"
    rest = "" if report.section.budgets else ", then as fast as the relay takes it"
    return f"backlog through in about {span_text(through)} at best{rest}"


def _waiting_json(waiting: Waiting) -> Json:
    return {
        "ready": waiting.ready,
        "unread": waiting.unread,
        "journal": waiting.parked,
        "later": waiting.later,
        "for_person": waiting.for_person,
    }
