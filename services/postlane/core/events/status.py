"""MailStatus: every outcome of a mail, and the ledger from which a new owner recovers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class MailState(StrEnum):
    """What has become of a mail. DEFERRED and HELD wait; all others are ends."""

    SENT = "SENT"
    DEFERRED = "DEFERRED"
    HELD = "HELD"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    SKIPPED = "SKIPPED"
    SUPPRESSED = "SUPPRESSED"
    DUPLICATE = "DUPLICATE"
    OTHER = "OTHER"


class RecipientState(StrEnum):
    """What has become of one recipient."""

    DELIVERED = "DELIVERED"
    WAITING = "WAITING"
    FAILED = "FAILED"
    SUPPRESSED = "SUPPRESSED"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpReply:
    """A relay's words: `phase` as in core.smtp.smtp_reply, the three-digit code, the enhanced code (RFC 3463) if any."""

    phase: str
    code: int
    enhanced_code: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientOutcome:
    """One recipient's state and the words that decided it."""

    address: str
    state: RecipientState
    reply: SmtpReply | None = None


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where a request stands in `mail.outbound`: the topic's id (it changes when the topic is recreated) and offset."""

    topic_id: str
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MailStatus:
    """One step in a mail's life, keyed by ticket on `mail.outbound.status`, same partition as its request.

    `final` marks an end: the request at (`topic_id`, `partition`, `offset`) is done and never sent again.
    `cause` is a stable token for programs, `reason` a sentence for people. `request_event_id` and `ticket_id`
    are None only where the request could not be decoded.
    """

    status_id: str
    occurred_at: datetime
    state: MailState
    final: bool
    topic_id: str
    partition: int
    offset: int
    cause: str
    reason: str
    attempt: int
    instance: str
    request_event_id: str | None = None
    ticket_id: str | None = None
    next_attempt_at: datetime | None = None
    relay: str | None = None
    reply: SmtpReply | None = None
    message_id: str | None = None
    provider_message_id: str | None = None
    outcome_unknown: bool = False
    recipients: tuple[RecipientOutcome, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
