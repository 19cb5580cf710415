"""A MailRequested from the few things that every mail has."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from uuid import uuid4

from postlane.core.events.mail import Address, Header
from postlane.core.events.request import AutoSubmitted, MailRequested, RequestedAttachment

Mailbox = Address | str

# name-addr of RFC 5322 section 3.4, one of them. Without quotes a name has neither comma nor @: those tell of a second address.
_NAMED = re.compile(r'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"\s*|(?P<plain>[^",;@<>]*))<(?P<address>[^<>]+)>')
_QUOTED_PAIR = re.compile(r"\\(.)")


def request(  # noqa: PLR0913 (one argument per field of the event)
    *,
    ticket_id: str,
    from_address: Mailbox,
    to: Iterable[Mailbox],
    subject: str,
    text: str | None = None,
    html: str | None = None,
    cc: Iterable[Mailbox] = (),
    bcc: Iterable[Mailbox] = (),
    reply_to: Iterable[Mailbox] = (),
    attachments: Iterable[RequestedAttachment] = (),
    headers: Iterable[Header] = (),
    in_reply_to: str | None = None,
    references: Iterable[str] = (),
    auto_submitted: AutoSubmitted = AutoSubmitted.NO,
    envelope_from: str | None = None,
    not_before: datetime | None = None,
    expires_at: datetime | None = None,
    tags: Iterable[str] = (),
    metadata: Mapping[str, str] | None = None,
    event_id: str | None = None,
    requested_at: datetime | None = None,
) -> MailRequested:
    """A request with a new `event_id` and the time of now, unless they are given.

    Give your own `event_id`, kept with the ticket, where the same mail might be requested twice (a retried web request, a job
    that runs again): it is then sent once. A mailbox is an Address, `jane@example.com` or `Jane Doe <jane@example.com>`.
    """
    return MailRequested(
        event_id=str(uuid4()) if event_id is None else event_id,
        ticket_id=ticket_id,
        requested_at=datetime.now(UTC) if requested_at is None else requested_at,
        from_address=mailbox(from_address),
        to=tuple(mailbox(each) for each in to),
        subject=subject,
        cc=tuple(mailbox(each) for each in cc),
        bcc=tuple(mailbox(each) for each in bcc),
        reply_to=tuple(mailbox(each) for each in reply_to),
        envelope_from=envelope_from,
        text=text,
        html=html,
        attachments=tuple(attachments),
        headers=tuple(headers),
        in_reply_to=in_reply_to,
        references=tuple(references),
        auto_submitted=auto_submitted,
        not_before=not_before,
        expires_at=expires_at,
        tags=tuple(tags),
        metadata={} if metadata is None else dict(metadata),
    )


def mailbox(value: Mailbox) -> Address:
    """An Address from text. What cannot be read stays as it is, for the check before sending to name in the user's own words."""
    if isinstance(value, Address):
        return value
    # A parser would drop a line break, and with it an attack; and the standard library's differs from version to version.
    named = _NAMED.fullmatch(value.strip()) if value.isprintable() else None
    if named is None:
        return Address(address=value)
    name = named["quoted"]
    name = named["plain"].strip() if name is None else _QUOTED_PAIR.sub(r"\1", name)
    return Address(address=named["address"].strip(), name=name)
