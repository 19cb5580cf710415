"""From what was read to the event: identity, key, attachments by claim check, and a size that the broker takes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import TypeVar

from postlane.core.events.mail import Address, BlobRef, Header
from postlane.core.events.received import MailReceived, ParseStatus, ReceivedAttachment, Scan
from postlane.core.reading.parsed_mail import MailReading, ParsedAttachment, ParsedMail

# Brokers take about 1 MB (message.max.bytes 1048588), producers 1,000,000: the sum of these stays below. Bytes are UTF-8.
TEXT_BYTES_MAX = 128 * 1024
HTML_BYTES_MAX = 192 * 1024
SANITIZED_BYTES_MAX = 192 * 1024
REPLY_BYTES_MAX = 64 * 1024
HEADERS_BYTES_MAX = 96 * 1024
ADDRESSES_BYTES_MAX = 24 * 1024  # per address field
INLINE_BYTES_MAX = 64 * 1024  # of all small attachments that travel in the event together
ATTACHMENTS_MAX = 200
SLIM_ITEMS_MAX = 20  # addresses per field and attachments of an event that the broker refused once

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a mail lies and when it arrived there."""

    mailbox: str
    folder: str
    uid_validity: int
    uid: int
    received_at: datetime


def event_id(place: Place, raw: BlobRef) -> str:
    """32 hex digits that are the same however often the same mail is read at the same place."""
    parts = (place.mailbox, place.folder, str(place.uid_validity), str(place.uid), raw.sha256)
    return sha256("\x00".join(parts).encode("utf-8", "replace")).hexdigest()[:32]


def thread_key(mail: ParsedMail, raw: BlobRef) -> str:
    """`thread:<hash>` of the thread's root: the first of References, else In-Reply-To, else this mail itself."""
    root = next(iter((*mail.references, *mail.in_reply_to)), mail.message_id)
    return f"thread:{sha256((root or raw.sha256).encode('utf-8', 'replace')).hexdigest()[:32]}"


def record_key(event: MailReceived) -> bytes:
    """The event's key on `mail.inbound`: the ticket that our signature proves, else the thread."""
    return (event.ticket_id or event.thread_key).encode()


def travels_inline(attachments: Iterable[ParsedAttachment], bytes_max: int) -> tuple[bool, ...]:
    """Which attachments travel inside the event, in order: those of at most so many bytes, as long as there is room.

    The others go to the blob store; 0 sends all of them there.
    """
    room = INLINE_BYTES_MAX
    inline: list[bool] = []
    for attachment in attachments:
        size = len(attachment.content)
        fits = bytes_max > 0 and size <= min(bytes_max, room)
        room -= size if fits else 0
        inline.append(fits)
    return tuple(inline)


def received_attachment(
    attachment: ParsedAttachment, blob: BlobRef | None, scan: Scan | None = None
) -> ReceivedAttachment:
    """The attachment as the event carries it: by reference when it was stored, else with its content."""
    return ReceivedAttachment(
        filename=attachment.filename,
        content_type=attachment.content_type,
        disposition=attachment.disposition,
        size_bytes=len(attachment.content),
        content_id=attachment.content_id,
        blob=blob,
        content=attachment.content if blob is None else None,
        scan=scan,
    )


def build_event(
    place: Place,
    raw: BlobRef,
    reading: MailReading,
    attachments: tuple[ReceivedAttachment, ...],
    now: datetime,
) -> MailReceived:
    """The event of one mail; what does not fit is cut and listed among the defects, the raw mail has all of it."""
    mail = reading.mail
    cuts = _Cuts()
    text = cuts.text("text", mail.text, TEXT_BYTES_MAX)
    html = cuts.text("html", mail.html, HTML_BYTES_MAX)
    reply = cuts.text("reply_text", mail.reply_text, REPLY_BYTES_MAX)
    # Cleaned markup that is cut in the middle would no longer be clean.
    sanitized = cuts.whole("sanitized_html", mail.sanitized_html, SANITIZED_BYTES_MAX)
    headers = cuts.items("headers", mail.headers, _header_bytes, HEADERS_BYTES_MAX)
    to = cuts.items("to", mail.to, _address_bytes, ADDRESSES_BYTES_MAX)
    cc = cuts.items("cc", mail.cc, _address_bytes, ADDRESSES_BYTES_MAX)
    senders = cuts.items("from", mail.from_addresses, _address_bytes, ADDRESSES_BYTES_MAX)
    reply_to = cuts.items("reply_to", mail.reply_to, _address_bytes, ADDRESSES_BYTES_MAX)
    references = cuts.items("references", mail.references, lambda one: len(one.encode()), ADDRESSES_BYTES_MAX)
    if len(mail.attachments) > ATTACHMENTS_MAX:
        cuts.defects.append(f"more than {ATTACHMENTS_MAX} attachments; the others are in the raw mail only")
    defects = (*mail.defects, *cuts.defects)
    status = (
        ParseStatus.DEFECTIVE if cuts.defects and mail.parse_status is ParseStatus.OK else mail.parse_status
    )
    return MailReceived(
        event_id=event_id(place, raw),
        mailbox=place.mailbox,
        folder=place.folder,
        uid_validity=place.uid_validity,
        uid=place.uid,
        received_at=place.received_at,
        produced_at=now,
        raw=raw,
        parse_status=status,
        defects=defects,
        thread_key=thread_key(mail, raw),
        verdicts=reading.verdicts,
        ticket_id=reading.ticket_id,
        matches=reading.matches,
        conflict=reading.conflict,
        classifications=reading.classifications,
        message_id=mail.message_id,
        in_reply_to=mail.in_reply_to[:10],
        references=references,
        date=mail.date,
        from_addresses=senders,
        sender=mail.sender,
        reply_to=reply_to,
        to=to,
        cc=cc,
        delivered_to=mail.delivered_to[:50],
        return_path=mail.return_path,
        subject=mail.subject,
        text=text,
        html=html,
        sanitized_html=sanitized,
        reply_text=reply,
        attachments=attachments[:ATTACHMENTS_MAX],
        headers=headers,
        authentication_results=tuple(value[:2000] for value in reading.authentication_results[:5]),
        spam_verdict=reading.spam_verdict,
    )


def slim_event(event: MailReceived) -> MailReceived:
    """The event without bodies, headers and inline content: for a broker that takes even less than usual."""
    return replace(
        event,
        parse_status=ParseStatus.HEADERS_ONLY,
        defects=(
            *event.defects[:10],
            "the broker refused the whole event; bodies and headers are in the raw mail only",
        ),
        text=None,
        html=None,
        sanitized_html=None,
        reply_text=None,
        headers=(),
        references=event.references[:1] + event.references[-4:],
        from_addresses=event.from_addresses[:SLIM_ITEMS_MAX],
        reply_to=event.reply_to[:SLIM_ITEMS_MAX],
        to=event.to[:SLIM_ITEMS_MAX],
        cc=event.cc[:SLIM_ITEMS_MAX],
        attachments=tuple(one for one in event.attachments if one.blob is not None)[:SLIM_ITEMS_MAX],
    )


class _Cuts:
    """Cuts values to their limits and remembers where it had to."""

    def __init__(self) -> None:
        self.defects: list[str] = []

    def text(self, name: str, value: str | None, limit: int) -> str | None:
        if value is None or len(value) * 4 <= limit:
            return value
        encoded = value.encode("utf-8", "replace")
        if len(encoded) <= limit:
            return value
        self._note(name, limit)
        return encoded[:limit].decode("utf-8", "ignore")

    def whole(self, name: str, value: str | None, limit: int) -> str | None:
        if value is None or len(value.encode("utf-8", "replace")) <= limit:
            return value
        self.defects.append(f"{name} is longer than {limit} bytes and left out")
        return None

    def items(
        self, name: str, values: tuple[T, ...], size_of: Callable[[T], int], limit: int
    ) -> tuple[T, ...]:
        used = 0
        for index, value in enumerate(values):
            used += size_of(value)
            if used > limit:
                self._note(name, limit)
                return values[:index]
        return values

    def _note(self, name: str, limit: int) -> None:
        self.defects.append(f"{name} is longer than {limit} bytes and cut here; the raw mail has all of it")


def _header_bytes(header: Header) -> int:
    return len(header.name) + len(header.value.encode()) + 4


def _address_bytes(address: Address) -> int:
    return len(address.address.encode()) + len(address.name.encode()) + 4
