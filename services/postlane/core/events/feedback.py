"""MailFeedback: what other machines reported about mail of ours after a relay had taken it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class FeedbackKind(StrEnum):
    """What was reported of a recipient."""

    BOUNCE = "BOUNCE"
    DELAY = "DELAY"
    COMPLAINT = "COMPLAINT"
    DELIVERED = "DELIVERED"
    OTHER = "OTHER"


class Permanence(StrEnum):
    """Whether mailing the recipient again makes sense."""

    HARD = "HARD"
    SOFT = "SOFT"
    UNKNOWN = "UNKNOWN"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailFeedback:
    """One recipient's report, keyed by ticket on `mail.outbound.feedback`; written only where our signature holds.

    `feedback_id` is derived from the report's event, so it is the same however often the report is read. `recipient_proven`: only the
    recipient, or who handled the mail on its way to him, can have written this; without it any reader of the mail can.
    """

    feedback_id: str
    reported_at: datetime
    kind: FeedbackKind
    permanence: Permanence
    ticket_id: str
    source_event_id: str
    source_mailbox: str
    reason: str
    message_id: str | None = None
    request_event_id: str | None = None
    recipient: str | None = None
    original_recipient: str | None = None
    recipient_proven: bool = False
    action: str | None = None
    status: str | None = None
    smtp_code: int | None = None
    diagnostic: str = ""
    remote_mta: str | None = None
    reporting_mta: str | None = None
