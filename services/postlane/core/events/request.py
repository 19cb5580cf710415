"""MailRequested: what a ticketing system asks Postlane to send."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from postlane.core.events.mail import Address, BlobRef, Disposition, Header


class AutoSubmitted(StrEnum):
    """Who wrote the mail, as RFC 3834 names it; anything but NO asks others not to answer by machine."""

    NO = "NO"
    AUTO_GENERATED = "AUTO_GENERATED"
    AUTO_REPLIED = "AUTO_REPLIED"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedAttachment:
    """An attachment: exactly one of `content` (small) and `blob` (claim check) is set."""

    filename: str
    content_type: str
    disposition: Disposition = Disposition.ATTACHMENT
    content_id: str | None = None
    content: bytes | None = None
    blob: BlobRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailRequested:
    """One mail to be sent; the record key on `mail.outbound` is `ticket_id` in UTF-8.

    `event_id` makes the request idempotent. Everything that the message's bytes depend on stands here, so
    that every attempt builds the same bytes. Times are aware datetimes in UTC.
    """

    event_id: str
    ticket_id: str
    requested_at: datetime
    from_address: Address
    to: tuple[Address, ...]
    subject: str
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    envelope_from: str | None = None
    text: str | None = None
    html: str | None = None
    attachments: tuple[RequestedAttachment, ...] = ()
    headers: tuple[Header, ...] = ()
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    auto_submitted: AutoSubmitted = AutoSubmitted.NO
    not_before: datetime | None = None
    expires_at: datetime | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
