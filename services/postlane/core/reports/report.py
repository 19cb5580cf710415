"""What a report says, as values: about which mail of ours, and what became of each recipient."""

from dataclasses import dataclass
from enum import StrEnum


class ReportKind(StrEnum):
    """What the report is about as a whole."""

    BOUNCE = "bounce"
    DELAY = "delay"
    DELIVERED = "delivered"
    COMPLAINT = "complaint"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRecipient:
    """What became of one recipient.

    `original` is the address before forwarding, as far as it is named; `action` the word of RFC 3464 section 2.3.3, in lower case, where one is
    given; `status` an enhanced code (RFC 3463) and `smtp_code` a reply code, from fields or from the words.
    """

    address: str | None
    original: str | None = None
    action: str | None = None
    status: str | None = None
    smtp_code: int | None = None
    diagnostic: str = ""
    remote_mta: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalMail:
    """What the report includes or quotes of the mail that it is about; ids with angle brackets.

    `message_id` as the report gives it, perhaps rewritten by a provider; `our_id` is the Message-ID that we gave, from our own header,
    `event_id` and `recipient_proof` are our headers as they stand there, `return_path` the envelope sender that it came with; not checked yet.
    """

    message_id: str | None = None
    our_id: str | None = None
    references: tuple[str, ...] = ()
    event_id: str | None = None
    recipient_proof: str | None = None
    return_path: str | None = None
    recipients: tuple[str, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailReport:
    """One report. `recipients` has at least one entry, without an address where none could be found.

    `return_paths` are addresses by which the mail may have been sent: those that the report came to, and what it says itself.
    """

    kind: ReportKind
    recipients: tuple[ReportedRecipient, ...]
    original: OriginalMail
    return_paths: tuple[str, ...] = ()
    reporting_mta: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenReport:
    """A report about mail of ours, as our signature shows; `message_id` and `event_id` only where they are certain.

    `proven_addresses` (as core.addresses.mailbox_key spells them) are recipients of whom only themselves can report falsely.
    """

    report: MailReport
    ticket_id: str
    message_id: str | None = None
    event_id: str | None = None
    proven_addresses: frozenset[str] = frozenset()
