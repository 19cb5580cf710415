"""One relay at work: builds the message, makes the attempt, judges the answers, tells the governor."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import assert_never

import structlog

from postlane.core.alerts.distrust import Seldom, distrust
from postlane.core.events.request import MailRequested
from postlane.core.limits.circuit import Refusal
from postlane.core.limits.governor import Governor
from postlane.core.limits.held_senders import HeldSenders, Trial, sender_of
from postlane.core.limits.permission import (
    Answered,
    Ending,
    Permission,
    Start,
    Ticket,
    TooLarge,
    TurnedAway,
    Unheard,
    Unsent,
)
from postlane.core.limits.share import CAUSES_OF_ALL
from postlane.core.sending.dead_limit import DeadLimit
from postlane.core.sending.lane_mail import Attempt, AttemptEnded
from postlane.core.sending.screening import Screened, conclude
from postlane.core.smtp.attempt import (
    BEFORE_MAIL,
    CAUSE_TOO_MANY_RECIPIENTS,
    Attempted,
    Classify,
    Judgement,
    RecipientTrouble,
    RelayHeld,
    SenderHeld,
    describe,
    judge,
    with_unreachable,
)
from postlane.core.smtp.transcript import Envelope, Lost, Phase
from postlane.core.writing.envelope_sender import SenderPolicy, envelope_sender
from postlane.core.writing.mime_build import BuildPolicy, BuiltMail, build_mail, recipients_of
from postlane.ports import BlobMissing, BlobStore, BlobStoreError, Clock, MailDomains, MailSink

CAUSE_ATTACHMENT_MISSING = "attachment_missing"
CAUSE_NOT_BUILT = "not_built"
CAUSE_SENDER_FAULT = "sender_fault"
CAUSE_TOO_MANY_DEAD = "too_many_dead"

Screen = Callable[[tuple[str, ...], bool], Screened]
"""Who of the recipients is tried, and whether a person wants the mail sent again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt's end, how long it took, and how old the request is now, by its `requested_at`."""

    ended: AttemptEnded
    seconds: float
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskParts:
    """What a desk works with: `classify` judges replies, `build` and `envelope` say what a message and its envelope depend on beside the request.

    `senders` knows whose mail the relay refuses. `recipients_max`: more recipients than that go with the next attempt, None = as many as there are.
    `screen` says who is tried at all, `domains` which recipients' domains take mail, None = nobody is asked.
    """

    governor: Governor
    senders: HeldSenders
    limit: DeadLimit
    sink: MailSink
    blobs: BlobStore
    classify: Classify
    build: BuildPolicy
    envelope: SenderPolicy
    screen: Screen
    recipients_max: int | None = None
    domains: MailDomains | None = None
    clock: Clock = time.time


@dataclass(slots=True, eq=False)
class Errand:
    """A mail that has started at a desk: to `recipients` now, to those `later` with the next attempt.

    `ending` is what the governor hears if it is cut off. Where its sender is held it has no `ticket`: the relay is not asked.
    """

    desk: "RelayDesk"
    attempt: Attempt
    request: MailRequested
    trial: Trial | SenderHeld
    ticket: Ticket | None
    recipients: tuple[str, ...]
    later: tuple[str, ...]
    ending: Ending = field(default_factory=Unsent)
    over: bool = False


def addressees(attempt: Attempt) -> tuple[MailRequested, tuple[str, ...]]:
    """The request of an attempt, and whom it has still to reach."""
    request = attempt.content.request
    assert request is not None, "the lanes end a mail without a request unsent"
    if attempt.remaining:
        return request, attempt.remaining
    try:
        return request, recipients_of(request)
    except ValueError:  # the attempt says so, visibly: the mail cannot be built
        return request, tuple(address.address for address in (*request.to, *request.cc, *request.bcc))


class RelayDesk:
    """A relay's sink with its governor."""

    def __init__(self, parts: DeskParts) -> None:
        self.governor = parts.governor
        self._parts = parts
        self._distrust = Seldom()

    @property
    def name(self) -> str:
        """The relay's name in the configuration."""
        return self.governor.relay

    def free_slots(self, now: float) -> int:
        """How many mails to one recipient each may start now; one after the other where each may be the last."""
        return self.governor.free_slots(1, now)

    def permission(self, recipients: int, now: float) -> Permission:
        """Whether a mail to so many may start, if need be with a part of them."""
        return self._part(recipients, now)[1]

    def begin(self, attempt: Attempt, now: float) -> Errand | None:
        """It starts, and the caller sees to it that it ends; None where what `permission` has just allowed is over, as a lease may be."""
        request, recipients = addressees(attempt)
        part, permission = self._part(len(recipients), now)
        if not isinstance(permission, Start):
            return None
        sender = sender_of(request.from_address.address, self._parts.envelope.named_by(request))
        trial = self._parts.senders.begin(sender, now, _jitter())
        ticket = None if isinstance(trial, SenderHeld) else self.governor.started(part, now)
        return Errand(self, attempt, request, trial, ticket, recipients[:part], recipients[part:])

    def end(self, errand: Errand) -> None:
        """It is over, be it that it was cut off; the first call counts."""
        if errand.over:
            return
        errand.over = True
        if errand.ticket is not None:
            self.governor.ended(errand.ticket, errand.ending, self._parts.clock())
        if isinstance(errand.trial, Trial):
            self._parts.senders.ended(errand.trial)

    def probe_now(self, now: float) -> bool:
        """Ask the relay again at once where it is held, and about each sender that it refused; True where it refused any."""
        if self.governor.probe_now(now):
            log.info("relay_probe_wanted", relay=self.name)
        return self._parts.senders.probe_now(now)

    def _part(self, recipients: int, now: float) -> tuple[int, Permission]:
        """To how many of them a mail may go at once, and whether it may now."""
        part = min(recipients, self._parts.recipients_max or recipients)
        permission = self.governor.may_start(part, now)
        if isinstance(permission, TooLarge):
            part = permission.most
            permission = self.governor.may_start(part, now)
        return part, permission

    async def deliver(self, errand: Errand) -> Delivery:
        """Make one attempt. A fault of ours counts as one, too: a mail must neither be lost for it nor sent for ever."""
        attempt, request = errand.attempt, errand.request
        started = time.monotonic()
        try:
            message_id, judgement = await self._attempt(request, errand)
        except Exception:
            log.exception("attempt_fault", ticket=request.ticket_id, event_id=request.event_id)
            reason = "the sender failed at this mail; see its log"
            message_id, judgement = (
                None,
                _all_wait(errand.recipients, CAUSE_SENDER_FAULT, reason, unknown=True),
            )
        self.end(errand)
        if isinstance(judgement, Attempted) and errand.later:
            judgement = replace(judgement, waiting=_untried(errand) + judgement.waiting)
        seconds = time.monotonic() - started
        _log_attempt(request, attempt, judgement, relay=self.name, seconds=seconds)
        for cause, words in distrust(judgement).items():
            if self._distrust.due(cause, self._parts.clock()):
                log.warning("relay_distrusts", relay=self.name, cause=cause, reason=words)
        ended = AttemptEnded(
            origin=attempt.origin,
            judgement=judgement,
            relay=self.name,
            message_id=message_id,
            jitter=_jitter(),
        )
        return Delivery(ended, seconds, self._parts.clock() - request.requested_at.timestamp())

    async def _attempt(self, request: MailRequested, errand: Errand) -> tuple[str | None, Judgement]:
        if isinstance(errand.trial, SenderHeld):
            return None, errand.trial
        message_id, judgement = await self._try(request, errand)
        return message_id, self._parts.senders.judged(errand.trial, judgement, self._parts.clock(), _jitter())

    async def _try(self, request: MailRequested, errand: Errand) -> tuple[str | None, Judgement]:
        asked, by_a_person = errand.recipients, errand.attempt.wanted_by_a_person
        if not (nobody := self._parts.screen(asked, by_a_person)).envelope:
            return None, conclude(nobody, None)  # its attachments may be missing: nobody is to get them
        try:
            blobs = {
                attachment.blob.sha256: await self._parts.blobs.get(attachment.blob)
                for attachment in request.attachments
                if attachment.blob is not None
            }
        except (BlobMissing, BlobStoreError) as error:
            return None, _all_wait(asked, CAUSE_ATTACHMENT_MISSING, f"an attachment cannot be read: {error}")
        try:
            mail = build_mail(request, blobs, self._parts.build)
        except (
            Exception
        ):  # a fault of ours must not lose the mail: it waits, visibly, and in the end is dead-lettered
            log.exception("mail_not_built", ticket=request.ticket_id, event_id=request.event_id)
            return None, _all_wait(
                asked, CAUSE_NOT_BUILT, "the message could not be built; see the sender's log"
            )
        recipients = tuple(a for a in mail.recipients if a in set(asked))
        if not recipients:
            reason = f"the request does not name {', '.join(asked)}"
            return mail.message_id, _all_wait(asked, CAUSE_NOT_BUILT, reason)
        screened = self._parts.screen(recipients, by_a_person)
        judgement = await self._send(mail, screened.envelope, errand) if screened.envelope else None
        return mail.message_id, conclude(screened, judgement)

    async def _send(self, mail: BuiltMail, recipients: tuple[str, ...], errand: Errand) -> Judgement:
        """Ask DNS about the recipients' domains where that is wanted, and the relay about those who are left."""
        domains = self._parts.domains
        unreachable = {} if domains is None else await domains.check(recipients)
        reachable = tuple(address for address in recipients if address not in unreachable)
        if not reachable:
            return with_unreachable(None, unreachable)
        sender = envelope_sender(errand.request, reachable, self._parts.envelope)
        errand.ending = Unheard()
        transcript = await self._parts.sink.send(Envelope(sender, reachable), mail.content)
        judgement = judge(transcript, reachable, self._parts.classify)
        errand.ending = self._ending(judgement)
        return with_unreachable(judgement, unreachable)

    def _ending(self, judgement: Judgement) -> Ending:
        """What the attempt says about the relay."""
        match judgement:
            case RelayHeld():
                counted = judgement.reply.phase not in BEFORE_MAIL
                refusal = self._refusal(judgement.cause, judgement.reason, judgement.wait_seconds)
                return TurnedAway(refusal, counted, of_all=judgement.cause in CAUSES_OF_ALL)
            case SenderHeld():
                return Answered()
            case Attempted():
                return self._ending_of(judgement)
            case _:
                assert_never(judgement)

    def _ending_of(self, attempted: Attempted) -> Ending:
        sent, died = attempted.accepted is not None, bool(attempted.failed)
        if not sent and not died and all(isinstance(t.answer, Lost) for t in attempted.waiting):
            return Unheard()
        too_many = (
            self._parts.limit.note(died=died and not sent and not attempted.waiting) if sent or died else None
        )
        if too_many is not None:
            log.error("too_many_dead", relay=self.name, reason=too_many)
            return TurnedAway(self._refusal(CAUSE_TOO_MANY_DEAD, too_many, None), counted=True)
        if sent and self.governor.trip is not None:
            self._parts.limit.forget()
        return Answered()

    @staticmethod
    def _refusal(cause: str, reason: str, wait_seconds: float | None) -> Refusal:
        return Refusal(cause=cause, reason=reason, wait_seconds=wait_seconds, jitter=_jitter())


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads retries and probes


def _untried(errand: Errand) -> tuple[RecipientTrouble, ...]:
    words = f"the mail goes to {len(errand.recipients)} recipients at a time"
    answer = Lost(Phase.RCPT, words)
    return tuple(RecipientTrouble(a, CAUSE_TOO_MANY_RECIPIENTS, answer, 0.0) for a in errand.later)


def _all_wait(addresses: tuple[str, ...], cause: str, error: str, *, unknown: bool = False) -> Attempted:
    answer = Lost(Phase.DATA, error)
    waiting = tuple(RecipientTrouble(address, cause, answer, None) for address in addresses)
    return Attempted(delivered=(), waiting=waiting, failed=(), accepted=None, unknown=unknown)


def _log_attempt(
    request: MailRequested, attempt: Attempt, judgement: Judgement, *, relay: str, seconds: float
) -> None:
    said = log.bind(
        ticket=request.ticket_id,
        event_id=request.event_id,
        relay=relay,
        attempt=attempt.attempt,
        seconds=round(seconds, 3),
    )
    match judgement:
        case RelayHeld():
            said.warning("mail_held", cause=judgement.cause, reason=judgement.reason)
        case SenderHeld():
            tell = said.warning if judgement.asked else said.info  # people hear of each refusal once
            tell(
                "sender_held",
                cause=judgement.cause,
                reason=judgement.reason,
                wait_seconds=round(judgement.wait_seconds),
            )
        case Attempted(failed=(first, *others)):
            said.warning(
                "mail_refused", cause=first.cause, reason=describe(first.answer), refused=1 + len(others)
            )
        case Attempted(waiting=(first, *others)):
            said.info(
                "mail_deferred", cause=first.cause, reason=describe(first.answer), waiting=1 + len(others)
            )
        case Attempted(delivered=(), suppressed=(unwanted, *others)):
            said.info(
                "mail_suppressed", cause=unwanted.cause, reason=unwanted.reason, suppressed=1 + len(others)
            )
        case Attempted():
            said.info("mail_sent", recipients=len(judgement.delivered))
        case _:
            assert_never(judgement)
