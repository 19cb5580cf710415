"""The named invariants; each raises Violation with what broke it.

NothingLost                  every request is accepted for each recipient, or its death or suppression was committed
TicketOrderKept              the first acceptance of a mail never follows that of a later living mail of its ticket
NothingSentAfterDone         no owner starts what was committed as ended, or for somebody whose delivery or suppression was committed
HeldIsNotAttempted           who has heard of a hold starts nothing of that ticket; a mail that died n times and is held waits for a
                             decision that names n, and one that a decision skips is not started
AttemptsNotBurned            what the relay refused as a whole, or for its sender, is tried again as the same attempt
SenderHoldKept               of a sender that the relay has refused nothing starts before the time that followed from it, and then one
                             mail at a time, until a mail of that sender was accepted
RouteKept                    a mail goes by the route that its request asks for, and nothing starts by one that is held
SentInItsTime                nothing starts before its not_before or after its expires_at
CommitNeverPassesUnfinished  below a committed offset every mail has ended or has a live put, and the pointers find both
DuplicatesBounded            at each start at most connections + K mails of the sender are in flight or accepted and not durable, and none
                             accepted for more than UNCOMMITTED_SECONDS_MAX; in caution none but the one that starts. So a change of owner
                             repeats at most connections + K mails, and no owner sends anything twice to the same recipient by itself
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import assert_never

from postlane.core.events.status import Origin
from postlane.core.routing.routes import Route, route_of
from postlane.core.sending.lane_mail import Attempt, MailDecided, TicketFreed, TicketHeld
from postlane.core.sending.lanes import UNCOMMITTED_SECONDS_MAX
from postlane.core.smtp.attempt import Attempted, Judgement, RelayHeld, SenderHeld
from sim.lanes.broker import Command
from sim.lanes.limits import CONNECTIONS, UNCOMMITTED_MAX
from sim.lanes.records import MainRecord, sender_of_mail
from sim.part import Violation

MAILS_AT_RISK_MAX = CONNECTIONS + UNCOMMITTED_MAX


@dataclass
class Knowledge:
    """What one sender must know and answers for, seen from outside.

    `unburnt` names the attempts that did not count, `refused` says until when a sender is held, `probing` by which mail it is asked about.
    `deaths` counts how often a mail died where dead mail is held, `dying` with what the open batch says; `at_risk` says since when a mail is accepted without that being
    durable, `written` which of them are in the open batch.
    """

    deaths: dict[Origin, int] = field(default_factory=dict)
    dying: dict[Origin, int] = field(default_factory=dict)
    holds: set[bytes] = field(default_factory=set)
    decisions: dict[Origin, MailDecided] = field(default_factory=dict)
    heard: int = 0
    at_risk: dict[Origin, float] = field(default_factory=dict)
    written: set[Origin] = field(default_factory=set)
    unburnt: dict[Origin, int] = field(default_factory=dict)
    refused: dict[str, float] = field(default_factory=dict)
    probing: dict[str, Origin] = field(default_factory=dict)

    def hear(self, commands: Iterable[Command]) -> None:
        """The newest command about something counts."""
        for command in commands:
            match command:
                case TicketHeld():
                    self.holds.add(command.key)
                case TicketFreed():
                    self.holds.discard(command.key)
                case MailDecided():
                    self.decisions[command.origin] = command

    def resumed(self, now: float) -> None:
        """Every held sender may be probed, still by one mail each."""
        self.refused = {sender: min(until, now) for sender, until in self.refused.items()}

    def answered(self, attempt: Attempt, judgement: Judgement, now: float) -> None:
        """A relay has answered; what it says of a sender counts if it was free, or of its probe."""
        sender = sender_of_mail(attempt.content)
        probe = self.probing.get(sender) == attempt.origin
        if probe:
            del self.probing[sender]
        match judgement:
            case Attempted():
                self.unburnt.pop(attempt.origin, None)
                if judgement.accepted is not None:
                    self.refused.pop(sender, None)
                    self.probing.pop(sender, None)
            case RelayHeld():
                self.unburnt[attempt.origin] = attempt.attempt
            case SenderHeld():
                self.unburnt[attempt.origin] = attempt.attempt
                if probe or sender not in self.refused:
                    self.refused[sender] = now + judgement.wait_seconds
            case _:
                assert_never(judgement)


@dataclass(frozen=True, kw_only=True)
class Start:
    """A mail is handed to the relay for `todo`; `flying` are in flight besides it."""

    record: MainRecord
    origin: Origin
    todo: tuple[str, ...]
    flying: Iterable[Origin]
    now: float
    cautious: bool
    route: str
    attempt: int
    sender: str

    def __str__(self) -> str:
        return f"{self.record} at {self.origin.topic_id}:{self.origin.offset}"


def check_route(start: Start, routes: tuple[Route, ...], held: Collection[str]) -> None:
    """RouteKept."""
    asked = route_of(routes, start.record.content.request)
    if start.route != asked:
        raise Violation(f"RouteKept: {start} goes by {start.route}, its request asks for {asked}")
    if start.route in held:
        raise Violation(f"RouteKept: {start} starts by {start.route}, which is held")


def check_unburnt(start: Start, known: Knowledge) -> None:
    """AttemptsNotBurned."""
    before = known.unburnt.get(start.origin, start.attempt)
    if start.attempt != before:
        raise Violation(f"AttemptsNotBurned: {start} is attempt {start.attempt}, but {before} did not count")


def check_sender(start: Start, known: Knowledge) -> None:
    """SenderHoldKept."""
    until = known.refused.get(start.sender)
    if until is None:
        return
    if start.now < until:
        raise Violation(f"SenderHoldKept: {start} starts {until - start.now:.0f} s before {start.sender} may")
    if start.sender in known.probing:
        raise Violation(f"SenderHoldKept: {start} starts beside the probe {known.probing[start.sender]}")
    known.probing[start.sender] = start.origin


def check_held(start: Start, known: Knowledge) -> None:
    """HeldIsNotAttempted."""
    decided = known.decisions.get(start.origin)
    deaths = max(known.deaths.get(start.origin, 0), known.dying.get(start.origin, 0))
    fits = decided is not None and decided.held == deaths
    if start.record.key in known.holds:
        raise Violation(f"HeldIsNotAttempted: {start} starts although its ticket is held")
    if deaths and not fits:
        raise Violation(f"HeldIsNotAttempted: {start} starts after death {deaths}, but {decided} was heard")
    if decided is not None and fits and decided.skip:
        raise Violation(f"HeldIsNotAttempted: {start} starts although {decided} was heard")


def check_risk(start: Start, known: Knowledge) -> None:
    """DuplicatesBounded, as it stands when a mail starts."""
    risk = {start.origin, *start.flying, *known.at_risk}
    if start.cautious and len(risk) > 1:
        raise Violation(f"DuplicatesBounded: {start} starts in caution with {len(risk) - 1} others at risk")
    if len(risk) > MAILS_AT_RISK_MAX:
        raise Violation(f"DuplicatesBounded: with {start} {len(risk)} mails are at risk")
    age = max((start.now - at for at in known.at_risk.values()), default=0.0)
    if age > UNCOMMITTED_SECONDS_MAX:
        raise Violation(f"DuplicatesBounded: {start} starts while an acceptance is {age:.0f} s old")


def check_time(start: Start, known: Knowledge) -> None:
    """SentInItsTime; a person who decides to try a mail now means now."""
    begin, end = start.record.not_before, start.record.expires_at
    if begin is not None and start.now < begin and start.origin not in known.decisions:
        raise Violation(f"SentInItsTime: {start} starts {begin - start.now:.0f} s before its not_before")
    if end is not None and start.now >= end:
        raise Violation(f"SentInItsTime: {start} starts {start.now - end:.0f} s after its expires_at")


def check_base(base: int, unfinished: set[int], retry_from: int, live: dict[Origin, int]) -> None:
    """CommitNeverPassesUnfinished: `unfinished` are offsets of mails neither ended nor parked, `live` the places of the live puts."""
    passed = sorted(offset for offset in unfinished if offset < base)
    if passed:
        raise Violation(f"CommitNeverPassesUnfinished: {base} was committed, but {passed[:4]} are unfinished")
    lost = [origin for origin, at in live.items() if at < retry_from]
    if lost:
        raise Violation(
            f"CommitNeverPassesUnfinished: the journal will be read from {retry_from}, behind {lost[:4]}"
        )


def check_proofs(base: int, status_from: int, proofs: dict[int, int]) -> None:
    """CommitNeverPassesUnfinished: `proofs` are the places of the statuses that prove an offset's end."""
    lost = sorted(offset for offset, at in proofs.items() if offset >= base and at < status_from)
    if lost:
        raise Violation(
            f"CommitNeverPassesUnfinished: statuses will be read from {status_from}, behind the ends of {lost[:4]}"
        )
