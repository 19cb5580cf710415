"""One relay at work: builds the message, makes the attempt, judges the answers, keeps the gate."""

import random
import time
from dataclasses import dataclass

import structlog

from postlane.core.events.request import MailRequested
from postlane.core.sending.dead_limit import DeadLimit
from postlane.core.sending.lane_mail import Attempt, AttemptEnded
from postlane.core.sending.relay_gate import RelayGate
from postlane.core.smtp.attempt import (
    Attempted,
    Classify,
    Judgement,
    RecipientTrouble,
    RelayHeld,
    describe,
    judge,
)
from postlane.core.smtp.transcript import Envelope, Lost, Phase
from postlane.core.writing.mime_build import BuildPolicy, BuiltMail, build_mail, recipients_of
from postlane.ports import BlobMissing, BlobStore, BlobStoreError, MailSink

CAUSE_ATTACHMENT_MISSING = "attachment_missing"
CAUSE_NOT_BUILT = "not_built"
CAUSE_SENDER_FAULT = "sender_fault"
CAUSE_TOO_MANY_DEAD = "too_many_dead"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt's end, how long it took, and how old the request is now, by its `requested_at`."""

    ended: AttemptEnded
    seconds: float
    age_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskParts:
    """What a desk works with: `classify` judges replies, `build` says what a message's bytes depend on beside its request."""

    gate: RelayGate
    limit: DeadLimit
    sink: MailSink
    blobs: BlobStore
    classify: Classify
    build: BuildPolicy


class RelayDesk:
    """A relay's sink with its gate; `in_flight` counts the attempts of all partitions and is kept by the loop."""

    def __init__(self, parts: DeskParts) -> None:
        self.gate = parts.gate
        self.in_flight = 0
        self._parts = parts

    @property
    def name(self) -> str:
        """The relay's name in the configuration."""
        return self.gate.relay

    def free_slots(self, now: float) -> int:
        """How many mails may start now."""
        return self.gate.free_slots(self.in_flight, now)

    async def deliver(self, attempt: Attempt) -> Delivery:
        """Make one attempt. A fault of ours counts as one, too: a mail must neither be lost for it nor sent for ever."""
        request = attempt.content.request
        assert request is not None, "the lanes end a mail without a request unsent"
        started = time.monotonic()
        try:
            message_id, judgement = await self._attempt(request, attempt.remaining)
        except Exception:
            log.exception("attempt_fault", ticket=request.ticket_id, event_id=request.event_id)
            reason = "the sender failed at this mail; see its log"
            message_id, judgement = (
                None,
                _all_wait(request, attempt.remaining, CAUSE_SENDER_FAULT, reason, unknown=True),
            )
        seconds = time.monotonic() - started
        _log_attempt(request, attempt, judgement, relay=self.name, seconds=seconds)
        ended = AttemptEnded(
            origin=attempt.origin,
            judgement=judgement,
            relay=self.name,
            message_id=message_id,
            jitter=random.random(),  # noqa: S311 - spreads retries
        )
        return Delivery(ended, seconds, time.time() - request.requested_at.timestamp())

    async def _attempt(
        self, request: MailRequested, remaining: tuple[str, ...] | None
    ) -> tuple[str | None, Judgement]:
        try:
            blobs = {
                attachment.blob.sha256: await self._parts.blobs.get(attachment.blob)
                for attachment in request.attachments
                if attachment.blob is not None
            }
        except (BlobMissing, BlobStoreError) as error:
            return None, _all_wait(
                request, remaining, CAUSE_ATTACHMENT_MISSING, f"an attachment cannot be read: {error}"
            )
        try:
            mail = build_mail(request, blobs, self._parts.build)
        except (
            Exception
        ):  # a fault of ours must not lose the mail: it waits, visibly, and in the end is dead-lettered
            log.exception("mail_not_built", ticket=request.ticket_id, event_id=request.event_id)
            return None, _all_wait(
                request, remaining, CAUSE_NOT_BUILT, "the message could not be built; see the sender's log"
            )
        envelope = Envelope(mail.envelope_from, _recipients(mail, remaining))
        if not envelope.recipients:
            reason = f"the request does not name {', '.join(remaining or ())}"
            return mail.message_id, _all_wait(request, remaining, CAUSE_NOT_BUILT, reason)
        transcript = await self._parts.sink.send(envelope, mail.content)
        judgement = judge(transcript, envelope.recipients, self._parts.classify)
        self._tell_gate(judgement)
        return mail.message_id, judgement

    def _tell_gate(self, judgement: Judgement) -> None:
        now, jitter = time.time(), random.random()  # noqa: S311 - spreads probes
        if isinstance(judgement, RelayHeld):
            self.gate.refused(judgement.cause, judgement.reason, judgement.wait_seconds, now, jitter)
            return
        sent, died = judgement.accepted is not None, bool(judgement.failed)
        if not (sent or died or judgement.waiting):
            return
        too_many = (
            self._parts.limit.note(died=died and not sent and not judgement.waiting) if sent or died else None
        )
        if too_many is not None:
            log.error("too_many_dead", relay=self.name, reason=too_many)
            self.gate.refused(CAUSE_TOO_MANY_DEAD, too_many, None, now, jitter)
        elif self.gate.answered() and sent:
            self._parts.limit.forget()


def _recipients(mail: BuiltMail, remaining: tuple[str, ...] | None) -> tuple[str, ...]:
    return mail.recipients if remaining is None else tuple(a for a in mail.recipients if a in set(remaining))


def _all_wait(
    request: MailRequested,
    remaining: tuple[str, ...] | None,
    cause: str,
    error: str,
    *,
    unknown: bool = False,
) -> Attempted:
    addresses = remaining or recipients_of(request)
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
    if isinstance(judgement, RelayHeld):
        said.warning("mail_held", cause=judgement.cause, reason=judgement.reason)
    elif judgement.failed:
        first = judgement.failed[0]
        said.warning(
            "mail_refused", cause=first.cause, reason=describe(first.answer), refused=len(judgement.failed)
        )
    elif judgement.waiting:
        first = judgement.waiting[0]
        said.info(
            "mail_deferred", cause=first.cause, reason=describe(first.answer), waiting=len(judgement.waiting)
        )
    else:
        said.info("mail_sent", recipients=len(judgement.delivered))
