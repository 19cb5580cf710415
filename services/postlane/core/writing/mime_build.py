"""Builds a request's mail: the same request gives the same bytes in every attempt and every process.

Message-ID, Date and boundaries come from the request; the signing key follows from `requested_at` and the keys' `since`
(SigningKeys.signer). What does not come from the request is the policy: changing it (a key without `since`, the domain, `plus_address`)
changes the bytes of mails that still wait, and so must be rare.

mixed                         where there are attachments
  alternative                 where there are text and HTML
    text/plain
    related                   where HTML has inline images
      text/html, images
  attachments
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import format_datetime
from hashlib import sha256

from postlane.core.addresses import mailbox_key, wire_address
from postlane.core.events.mail import Address, Disposition
from postlane.core.events.request import AutoSubmitted, MailRequested, RequestedAttachment
from postlane.core.ticket_marks import Signer, SigningKeys
from postlane.core.writing.mime_write import (
    BOUNDARY_MARK,
    address_field,
    file_part,
    id_field,
    multipart,
    text_field,
    text_part,
)

REFERENCES_WRITTEN_MAX = 20  # the newest; some servers refuse header fields of many kilobytes
LOOP_HEADER = "X-Postlane-Loop"  # its value is our signing domain; inbound knows our own mail by it
# What a bounce includes of our mail tells inbound which one it was (docs/decisions/0022-feedback.md).
ID_HEADER = "X-Postlane-Message-ID"  # providers rewrite Message-ID, and leave this
EVENT_HEADER = "X-Postlane-Event"
RECIPIENT_HEADER = "X-Postlane-Recipient"  # only where the mail has one recipient

_MESSAGE_ID = re.compile(r"<?([!-;=?-~]{1,900})>?")  # what fits on a line; other ids are left out
_EVENT_ID = re.compile(r"[!-~]{1,200}")  # others stay out of the header
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPolicy:
    """What the bytes depend on beside the request. `plus_address`: the From mailbox takes mail for local+tag@domain."""

    keys: SigningKeys
    plus_address: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltMail:
    """A mail ready for SMTP: `recipients` are distinct and in order (To, Cc, Bcc)."""

    recipients: tuple[str, ...]
    message_id: str
    content: bytes


def build_mail(request: MailRequested, blobs: Mapping[str, bytes], policy: BuildPolicy) -> BuiltMail:
    """Build a request that `check_request` found no fault with; `blobs` holds the content of its blob attachments by SHA-256.

    Raises KeyError for a blob that is not given, ValueError for an address that `check_request` would have refused.
    """
    signer = policy.keys.signer(request.requested_at)
    message_id = signer.message_id(request.ticket_id, request.event_id)
    fields = [
        *_address_fields(request, signer, policy),
        *_thread_fields(request, signer, message_id),
        *_automation_fields(request, signer),
        *_bounce_fields(request, signer, message_id),
        *(text_field(header.name, header.value) for header in request.headers),
        "MIME-Version: 1.0",
    ]
    head = "".join(f"{field}\r\n" for field in fields).encode()
    return BuiltMail(
        recipients=recipients_of(request),
        message_id=message_id,
        content=head + _entity(request, blobs, signer),
    )


def recipients_of(request: MailRequested) -> tuple[str, ...]:
    """Everybody whom the mail goes to, as the envelope names them: distinct, in order (To, Cc, Bcc)."""
    return tuple(
        dict.fromkeys(_wire(address.address) for address in (*request.to, *request.cc, *request.bcc))
    )


def _address_fields(request: MailRequested, signer: Signer, policy: BuildPolicy) -> list[str]:
    fields = [
        f"Date: {format_datetime(request.requested_at.astimezone(UTC))}",
        address_field("From", [_wired(request.from_address)]),
    ]
    if request.to:
        fields.append(address_field("To", map(_wired, request.to)))
    elif not request.cc:
        fields.append("To: undisclosed-recipients:;")  # RFC 5322 appendix A.1.3
    if request.cc:
        fields.append(address_field("Cc", map(_wired, request.cc)))
    reply_to = _reply_to(request, signer, policy)
    if reply_to:
        fields.append(address_field("Reply-To", reply_to))
    return [*fields, text_field("Subject", request.subject)]


def _reply_to(request: MailRequested, signer: Signer, policy: BuildPolicy) -> list[Address]:
    """The request's Reply-To or From; its first address gets the ticket's tag where it lies in From's domain.

    A mailbox of another domain may not know plus-addresses, and then every answer would bounce.
    """
    given = [_wired(address) for address in request.reply_to]
    if not policy.plus_address:
        return given
    sender = _wired(request.from_address)
    first = given[0] if given else sender
    if first.address.rpartition("@")[2] != sender.address.rpartition("@")[2]:
        return given
    tagged = signer.plus_address(first.address, request.ticket_id)
    return given if tagged is None else [Address(address=tagged, name=first.name), *given[1:]]


def _thread_fields(request: MailRequested, signer: Signer, message_id: str) -> list[str]:
    """Message-ID, In-Reply-To, References (RFC 5322 section 3.6.4). The ticket's root mark comes first, as if it had begun the thread."""
    parent = None if request.in_reply_to is None else _message_id(request.in_reply_to)
    named = [known for reference in request.references if (known := _message_id(reference))]
    if parent:
        named = [*(reference for reference in named if reference != parent), parent]
    root = signer.root_mark(request.ticket_id)
    older = [reference for reference in dict.fromkeys(named) if reference not in (root, message_id)]
    fields = [id_field("Message-ID", [message_id])]
    if parent:
        fields.append(id_field("In-Reply-To", [parent]))
    return [*fields, id_field("References", [root, *older[-REFERENCES_WRITTEN_MAX:]])]


def _automation_fields(request: MailRequested, signer: Signer) -> list[str]:
    fields = [f"{LOOP_HEADER}: {signer.domain}"]
    if request.auto_submitted is not AutoSubmitted.NO:
        value = request.auto_submitted.value.lower().replace("_", "-")
        fields.append(f"Auto-Submitted: {value}")  # RFC 3834 section 5
        fields.append("X-Auto-Response-Suppress: All")  # [MS-OXCMAIL]: Exchange heeds only this one
    return fields


def _bounce_fields(request: MailRequested, signer: Signer, message_id: str) -> list[str]:
    """Which mail this is and whom it goes to, for the day when a bounce brings it back."""
    fields = [id_field(ID_HEADER, [message_id])]
    if _EVENT_ID.fullmatch(request.event_id):
        fields.append(f"{EVENT_HEADER}: {request.event_id}")
    recipients = recipients_of(request)
    mailbox = mailbox_key(recipients[0]) if len(recipients) == 1 else None
    if mailbox is not None:
        fields.append(f"{RECIPIENT_HEADER}: {signer.recipient_proof(message_id, mailbox)}")
    return fields


def _entity(request: MailRequested, blobs: Mapping[str, bytes], signer: Signer) -> bytes:
    """The mail's body as one MIME entity, its own header fields included."""
    seed = sha256(f"{request.ticket_id}\0{request.event_id}".encode()).hexdigest()[:24]
    has_html = request.html is not None
    images = [part for part in request.attachments if has_html and _belongs_to_html(part)]
    files = [part for part in request.attachments if not (has_html and _belongs_to_html(part))]
    marker = signer.body_marker(request.ticket_id)
    bodies: list[bytes] = []
    if request.text is not None or request.html is None:
        bodies.append(text_part("plain", _mark_text(request.text or "", marker)))
    if request.html is not None:
        html = text_part("html", _mark_html(request.html, marker))
        parts = [html, *(_file(image, blobs) for image in images)]
        bodies.append(multipart("related", f"{BOUNDARY_MARK}r{seed}", parts) if images else html)
    body = bodies[0] if len(bodies) == 1 else multipart("alternative", f"{BOUNDARY_MARK}a{seed}", bodies)
    if not files:
        return body
    return multipart("mixed", f"{BOUNDARY_MARK}m{seed}", [body, *(_file(file, blobs) for file in files)])


def _belongs_to_html(attachment: RequestedAttachment) -> bool:
    return attachment.disposition is Disposition.INLINE and attachment.content_id is not None


def _file(attachment: RequestedAttachment, blobs: Mapping[str, bytes]) -> bytes:
    content = attachment.content
    if attachment.blob is not None:
        content = blobs[attachment.blob.sha256]
    return file_part(
        attachment.content_type,
        content or b"",
        attachment.disposition.value.lower(),
        attachment.filename,
        attachment.content_id,
    )


def _mark_text(text: str, marker: str) -> str:
    return f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}\n{marker}\n"


def _mark_html(html: str, marker: str) -> str:
    """Small and grey, but not hidden: spam filters count hidden text."""
    shown = f'<p style="color:#999999;font-size:10px">{marker}</p>'
    ends = [found.start() for found in _BODY_END.finditer(html)]
    return f"{html[: ends[-1]]}{shown}{html[ends[-1] :]}" if ends else f"{html}\n{shown}\n"


def _message_id(value: str) -> str | None:
    found = _MESSAGE_ID.fullmatch(value.strip())
    return found and f"<{found[1]}>"


def _wired(address: Address) -> Address:
    return Address(address=_wire(address.address), name=address.name)


def _wire(address: str) -> str:
    wired = wire_address(address)
    if wired is None:
        raise ValueError(f"{address!r} is not a mail address")
    return wired
