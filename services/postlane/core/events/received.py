"""MailReceived: the evidence that one mail in a mailbox gives; consumers decide."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from postlane.core.events.mail import Address, BlobRef, Disposition, Header


class ParseStatus(StrEnum):
    """How much of the mail could be read."""

    OK = "OK"
    DEFECTIVE = "DEFECTIVE"
    HEADERS_ONLY = "HEADERS_ONLY"
    FAILED = "FAILED"
    OTHER = "OTHER"


class MatchKind(StrEnum):
    """Where a ticket id was found, strongest evidence first."""

    PLUS_ADDRESS = "PLUS_ADDRESS"
    IN_REPLY_TO = "IN_REPLY_TO"
    REFERENCES = "REFERENCES"
    BODY_MARKER = "BODY_MARKER"
    SUBJECT_TAG = "SUBJECT_TAG"
    OTHER = "OTHER"


class Label(StrEnum):
    """What kind of mail this is; several may hold at once."""

    AUTO_REPLY = "AUTO_REPLY"
    BOUNCE = "BOUNCE"
    DELAY = "DELAY"
    MDN = "MDN"
    COMPLAINT = "COMPLAINT"
    LIST = "LIST"
    OWN_LOOP = "OWN_LOOP"
    SPAM = "SPAM"
    CALENDAR = "CALENDAR"
    OTHER = "OTHER"


class ScanVerdict(StrEnum):
    """What a virus scanner says of a content; only CLEAN means that it has found nothing."""

    CLEAN = "CLEAN"
    INFECTED = "INFECTED"
    ERROR = "ERROR"
    SKIPPED = "SKIPPED"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchCandidate:
    """One ticket that this mail may belong to; `verified` = our signature held. `source` names the header or part."""

    kind: MatchKind
    ticket_id: str
    verified: bool
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """One label with the words that led to it, such as `Auto-Submitted: auto-replied`."""

    label: Label
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What the classification advises: may this mail open a ticket, reopen one, be answered by machine."""

    may_open: bool
    may_reopen: bool
    may_auto_answer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A verdict with what was found or why there is none, and the scanner that gave it."""

    verdict: ScanVerdict
    detail: str = ""
    engine: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedAttachment:
    """A non-body part; `filename` is made safe. Its content is in `content` where it is small, else in `blob`."""

    filename: str
    content_type: str
    disposition: Disposition
    size_bytes: int
    content_id: str | None = None
    blob: BlobRef | None = None
    content: bytes | None = None
    scan: Scan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailReceived:
    """One mail of one mailbox; the record key on `mail.inbound` is the ticket id, else `thread:<hash>`.

    `event_id` is derived from (mailbox, folder, UIDVALIDITY, UID, raw hash), so that it is the same however often the mail is read.
    """

    event_id: str
    mailbox: str
    folder: str
    uid_validity: int
    uid: int
    received_at: datetime
    produced_at: datetime
    raw: BlobRef
    parse_status: ParseStatus
    defects: tuple[str, ...]
    thread_key: str
    verdicts: Verdicts
    ticket_id: str | None = None
    matches: tuple[MatchCandidate, ...] = ()
    conflict: bool = False
    classifications: tuple[Classification, ...] = ()
    message_id: str | None = None
    in_reply_to: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    date: datetime | None = None
    from_addresses: tuple[Address, ...] = ()
    sender: Address | None = None
    reply_to: tuple[Address, ...] = ()
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    delivered_to: tuple[str, ...] = ()
    return_path: str | None = None
    subject: str = ""
    text: str | None = None
    html: str | None = None
    sanitized_html: str | None = None
    reply_text: str | None = None
    attachments: tuple[ReceivedAttachment, ...] = ()
    headers: tuple[Header, ...] = ()
    authentication_results: tuple[str, ...] = ()
    spam_verdict: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxCursor:
    """How far one folder of a mailbox is in Kafka; keyed `mailbox/folder` on `mail.inbound.cursor`.

    Every UID up to `uid` (under `uid_validity`) is durably produced, quarantined or skipped. `unsettled` are the UIDs (an IMAP sequence set) whose
    mails have yet to be flagged, moved or deleted; None: an older Postlane wrote it, and those above `settled_uid` are meant.
    `checked_at`: when everything that lay in the folder had ended. Until `compared_until` a restore may still be going on: mails that arrived before
    `compared_since`, or that have an event already, are skipped. The counters balance: listed = produced + quarantined + skipped.
    """

    mailbox: str
    folder: str
    uid_validity: int
    uid: int
    settled_uid: int
    updated_at: datetime
    instance: str
    listed: int = 0
    produced: int = 0
    quarantined: int = 0
    skipped: int = 0
    unsettled: str | None = None
    checked_at: datetime | None = None
    compared_since: datetime | None = None
    compared_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxReport:
    """How the polling of one folder goes, as its poller says every half minute on `mail.inbound.cursor`, beside the cursor.

    `lag`: mails above the cursor, None where that is not known. `error_kind`, a token, and `error` stand from a failure until the folder is looked through
    again; `retry_at` is when it is tried next.
    """

    mailbox: str
    folder: str
    instance: str
    told_at: datetime
    connected: bool
    checked_at: datetime | None = None
    lag: int | None = None
    scanning: bool = False
    error_kind: str | None = None
    error: str = ""
    error_since: datetime | None = None
    retry_at: datetime | None = None
    grant_ends_at: datetime | None = None
