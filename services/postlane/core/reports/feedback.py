"""From a proven report to MailFeedback, one per recipient, and which of these put a recipient on the suppression list."""

from hashlib import sha256

from postlane.core.addresses import mailbox_key
from postlane.core.events.feedback import FeedbackKind, MailFeedback, Permanence
from postlane.core.events.received import MailReceived
from postlane.core.events.status import SmtpReply
from postlane.core.reports.report import MailReport, ProvenReport, ReportedRecipient, ReportKind
from postlane.core.smtp.transcript import Phase
from postlane.core.smtp.unknown_recipients import SUPPRESSING_CODES

_KINDS = {
    ReportKind.BOUNCE: FeedbackKind.BOUNCE,
    ReportKind.DELAY: FeedbackKind.DELAY,
    ReportKind.DELIVERED: FeedbackKind.DELIVERED,
    ReportKind.COMPLAINT: FeedbackKind.COMPLAINT,
}
_ACTIONS = {  # RFC 3464 section 2.3.3
    "failed": FeedbackKind.BOUNCE,
    "delayed": FeedbackKind.DELAY,
    "delivered": FeedbackKind.DELIVERED,
    "relayed": FeedbackKind.DELIVERED,
    "expanded": FeedbackKind.DELIVERED,
}
MAILBOX_FULL = "5.2.2"  # permanent by its class, but mailboxes are emptied


def build_feedback(event: MailReceived, proven: ProvenReport) -> tuple[MailFeedback, ...]:
    """What one received mail reports about a mail of ours."""
    report = proven.report
    return tuple(
        _feedback(event, proven, report, number, one) for number, one in enumerate(report.recipients)
    )


def suppressing_reply(feedback: MailFeedback) -> SmtpReply | None:
    """The words that would put the recipient on the list, for the reply rules to judge; None where they must not.

    As docs/decisions/0016-suppression-list.md wants it of relays: a code that says that there is no such mailbox, about one recipient. Beyond that, it
    must be impossible for others to have made it up.
    """
    if feedback.kind is not FeedbackKind.BOUNCE or feedback.permanence is not Permanence.HARD:
        return None
    if not feedback.recipient_proven or feedback.status not in SUPPRESSING_CODES:
        return None
    return SmtpReply(
        phase=Phase.RCPT.value,
        code=feedback.smtp_code or 550,
        enhanced_code=feedback.status,
        text=feedback.diagnostic,
    )


def permanence(kind: FeedbackKind, one: ReportedRecipient) -> Permanence:
    """By the status code's class (RFC 3463 section 2), else by the reply code's first digit."""
    if kind is FeedbackKind.DELAY:
        return Permanence.SOFT
    if kind is not FeedbackKind.BOUNCE:
        return Permanence.UNKNOWN
    digit = (one.status or str(one.smtp_code or ""))[:1]
    if one.status == MAILBOX_FULL or digit == "4":
        return Permanence.SOFT
    return Permanence.HARD if digit == "5" else Permanence.UNKNOWN


def _feedback(
    event: MailReceived, proven: ProvenReport, report: MailReport, number: int, one: ReportedRecipient
) -> MailFeedback:
    kind = _ACTIONS.get(one.action or "", _KINDS[report.kind])
    return MailFeedback(
        feedback_id=sha256(f"{event.event_id}\0{number}".encode()).hexdigest()[:32],
        reported_at=event.received_at,
        kind=kind,
        permanence=permanence(kind, one),
        ticket_id=proven.ticket_id,
        source_event_id=event.event_id,
        source_mailbox=event.mailbox,
        reason=event.classifications[0].reason if event.classifications else "",
        message_id=proven.message_id,
        request_event_id=proven.event_id,
        recipient=one.address,
        original_recipient=one.original,
        # Not by way of `original`: its owner could name anybody as the final recipient.
        recipient_proven=one.address is not None and mailbox_key(one.address) in proven.proven_addresses,
        action=one.action,
        status=one.status,
        smtp_code=one.smtp_code,
        diagnostic=one.diagnostic,
        remote_mta=one.remote_mta,
        reporting_mta=report.reporting_mta,
    )
