"""A mail as the flags of `postlane send` describe it."""

import mimetypes
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from postlane.core.events.mail import Address, Header
from postlane.core.events.request import MailRequested, RequestedAttachment
from postlane.core.reading.mime_addresses import parse_addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Everything that flags can say; empty or None where a flag was not given."""

    event_id: str
    ticket_id: str
    requested_at: datetime
    from_address: Address | None = None
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    subject: str = ""
    text: str | None = None
    html: str | None = None
    attachments: tuple[RequestedAttachment, ...] = ()
    headers: tuple[Header, ...] = ()
    in_reply_to: str | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None
    tags: tuple[str, ...] = ()

    def request(self) -> MailRequested:
        """The request of these flags alone. Raises ValueError without a sender."""
        if self.from_address is None:
            raise ValueError("--from is needed unless --eml names the sender")
        return MailRequested(
            event_id=self.event_id,
            ticket_id=self.ticket_id,
            requested_at=self.requested_at,
            from_address=self.from_address,
            to=self.to,
            cc=self.cc,
            bcc=self.bcc,
            reply_to=self.reply_to,
            subject=self.subject,
            text=self.text,
            html=self.html,
            attachments=self.attachments,
            headers=self.headers,
            in_reply_to=self.in_reply_to,
            references=() if self.in_reply_to is None else (self.in_reply_to,),
            not_before=self.not_before,
            expires_at=self.expires_at,
            tags=self.tags,
        )


def read_addresses(values: list[str] | None) -> tuple[Address, ...]:
    """`a@example.com` or `Ann <a@example.com>`, several separated by commas. What is no address is kept, to be refused by name."""
    found = (address for value in values or () for address in parse_addresses(value.encode()))
    return tuple(each if each.address else Address(address=each.name) for each in found)


def read_header(value: str) -> Header:
    """`Name: value`. Raises ValueError."""
    name, colon, text = value.partition(":")
    if not colon or not name.strip():
        raise ValueError(f"{value!r} is not NAME: VALUE")
    return Header(name=name.strip(), value=text.strip())


def read_attachment(path: Path) -> RequestedAttachment:
    """A file as an attachment; its type follows from its name. Raises OSError."""
    guessed, encoding = mimetypes.guess_type(path.name)
    content_type = guessed if guessed is not None and encoding is None else "application/octet-stream"
    return RequestedAttachment(filename=path.name, content_type=content_type, content=path.read_bytes())
