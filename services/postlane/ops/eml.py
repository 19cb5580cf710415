"""A stored mail (.eml) as a mail request."""

import re

from postlane.core.events.mail import Address, Header
from postlane.core.events.received import ParseStatus
from postlane.core.events.request import AutoSubmitted, MailRequested, RequestedAttachment
from postlane.core.reading.mime_addresses import parse_addresses
from postlane.core.reading.mime_parse import parse_mail
from postlane.core.reading.parsed_mail import ParsedMail
from postlane.ops.draft import Draft

# What the author of a draft sets; transport headers of a mail that was received belong to its old journey.
OWN_HEADER_PREFIXES = ("x-", "list-")
OWN_HEADERS = frozenset({"importance", "priority", "organization", "comments", "keywords"})


class UnusableMail(ValueError):
    """The file is no mail that can be sent; the text says what is missing."""


def request_from_eml(raw: bytes, draft: Draft) -> MailRequested:
    """The mail in these bytes with the draft's identity; what the draft itself names replaces what the mail says.

    Message-ID and Date are not taken over: Postlane writes its own, so that replies find their ticket. Raises UnusableMail.
    """
    mail = parse_mail(raw)
    if mail.parse_status is ParseStatus.FAILED or not mail.headers:
        raise UnusableMail("the file holds no mail headers")
    sender = draft.from_address or next(iter(mail.from_addresses), None)
    if sender is None:
        raise UnusableMail("the mail has no From; give one with --from")
    return MailRequested(
        event_id=draft.event_id,
        ticket_id=draft.ticket_id,
        requested_at=draft.requested_at,
        from_address=sender,
        to=draft.to or mail.to,
        cc=draft.cc or mail.cc,
        bcc=draft.bcc or _bcc(mail),
        reply_to=draft.reply_to or mail.reply_to,
        subject=draft.subject or mail.subject,
        text=mail.text if draft.text is None else draft.text,
        html=mail.html if draft.html is None else draft.html,
        attachments=_attachments(mail) + draft.attachments,
        headers=_own_headers(mail) + draft.headers,
        in_reply_to=draft.in_reply_to or next(iter(mail.in_reply_to), None),
        references=mail.references,
        auto_submitted=_auto_submitted(mail),
        not_before=draft.not_before,
        expires_at=draft.expires_at,
        tags=draft.tags,
    )


def _bcc(mail: ParsedMail) -> tuple[Address, ...]:
    return tuple(
        address
        for value in mail.header_values("Bcc")
        for address in parse_addresses(value.encode("utf-8", "replace"))
    )


def _attachments(mail: ParsedMail) -> tuple[RequestedAttachment, ...]:
    return tuple(
        RequestedAttachment(
            filename=part.filename,
            content_type=part.content_type,
            disposition=part.disposition,
            content_id=part.content_id,
            content=part.content,
        )
        for part in mail.attachments
    )


def _own_headers(mail: ParsedMail) -> tuple[Header, ...]:
    return tuple(
        Header(name=header.name, value=" ".join(header.value.splitlines()))
        for header in mail.headers
        if header.name.lower() in OWN_HEADERS
        or (
            header.name.lower().startswith(OWN_HEADER_PREFIXES)
            and not header.name.lower().startswith(("x-postlane-", "x-auto-response-suppress"))
        )
    )


def _auto_submitted(mail: ParsedMail) -> AutoSubmitted:
    value = next(iter(mail.header_values("Auto-Submitted")), "no")
    word = (
        re.split(r"[;(]", value, maxsplit=1)[0].strip().lower()
    )  # RFC 3834 section 5: parameters and comments may follow
    return {
        "auto-generated": AutoSubmitted.AUTO_GENERATED,
        "auto-replied": AutoSubmitted.AUTO_REPLIED,
    }.get(word, AutoSubmitted.NO)
