"""Which requests can be sent at all: what no relay or mail client should ever see is refused here, by field.

Above all header injection: a line break in a value would let its author write headers or a second mail of his own.
"""

import re
from collections.abc import Iterator

from postlane.core.addresses import wire_address
from postlane.core.events.mail import Address, Header
from postlane.core.events.request import MailRequested, RequestedAttachment
from postlane.core.ticket_marks import TICKET_ID_BYTES_MAX

EVENT_ID_MAX = 255  # characters; it travels in statuses and record headers
RECIPIENTS_MAX = 1000  # a help desk's mail goes to a few people; a list belongs into many requests
SUBJECT_MAX = 1000  # characters; more than any client shows, and folded it still fits every server
NAME_MAX = 255  # characters of a display name, so that its quoted form fits a line (RFC 5322 section 2.1.1)
HEADERS_MAX = 100  # many servers refuse mail with hundreds of header fields
HEADER_NAME_MAX = 76  # so that name and colon leave room on a line of 78
HEADER_VALUE_MAX = 8000  # Exchange takes at most 8 KB per header
REFERENCES_MAX = 1000  # of which the newest are written; a longer list is a mistake of the producer
ATTACHMENTS_MAX = 250  # Exchange takes at most 250 attachments
FILENAME_MAX = 255  # characters, the limit of most file systems
CONTENT_TYPE_MAX = 500  # so that the field fits a line

_LINE_BREAK = re.compile(r"[\r\n\x00]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f]"
)  # a ticket id stands in one line of logs and lists, and none begins like a lane of its own
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_HEADER_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 section 3.6.8
_TOKEN = r"[A-Za-z0-9!#$&^_.+-]+"  # noqa: S105 - RFC 2045 section 5.1, not a password
CONTENT_TYPE = re.compile(
    rf'(?P<type>{_TOKEN})/(?P<subtype>{_TOKEN})(?:\s*;\s*{_TOKEN}=(?:{_TOKEN}|"[^"\\\x00-\x1f\x7f-\uffff]*"))*',
)
_CONTENT_ID = re.compile(r"<?[!-;=?-~]{1,250}>?")
_SHA256 = re.compile(r"[0-9a-f]{64}")

# Postlane writes these itself; a second one would contradict it or break the mail.
RESERVED_HEADERS = frozenset(
    {
        "auto-submitted",
        "bcc",
        "cc",
        "date",
        "from",
        "in-reply-to",
        "message-id",
        "mime-version",
        "received",
        "references",
        "reply-to",
        "return-path",
        "subject",
        "to",
        "x-auto-response-suppress",
    }
)
RESERVED_PREFIXES = ("content-", "x-postlane-")


def check_request(request: MailRequested) -> list[str]:
    """What is wrong with the request, one `field: fault` each; empty when it can be built and sent. Never raises."""
    return [
        *_identity(request),
        *_addresses(request),
        *_words("subject", request.subject, SUBJECT_MAX),
        *_body("text", request.text),
        *_body("html", request.html),
        *_threading(request),
        *_headers(request.headers),
        *_attachments(request.attachments),
    ]


def _identity(request: MailRequested) -> Iterator[str]:
    if not request.event_id:
        yield "event_id: is empty"
    yield from _words("event_id", request.event_id, EVENT_ID_MAX)
    if not request.ticket_id:
        yield "ticket_id: is empty"
    if _SURROGATE.search(request.ticket_id):
        yield "ticket_id: is not valid Unicode"
    elif _UNSEEN.search(request.ticket_id):
        yield "ticket_id: contains control characters"
    elif len(request.ticket_id.encode()) > TICKET_ID_BYTES_MAX:
        yield f"ticket_id: is longer than {TICKET_ID_BYTES_MAX} bytes of UTF-8"
    if request.requested_at.tzinfo is None:
        yield "requested_at: has no time zone"


def _addresses(request: MailRequested) -> Iterator[str]:
    yield from _address("from_address", request.from_address)
    for field, addresses in (
        ("to", request.to),
        ("cc", request.cc),
        ("bcc", request.bcc),
        ("reply_to", request.reply_to),
    ):
        for number, address in enumerate(addresses):
            yield from _address(f"{field}[{number}]", address)
    if request.envelope_from:
        yield from _address("envelope_from", Address(address=request.envelope_from))
    recipients = len(request.to) + len(request.cc) + len(request.bcc)
    if recipients == 0:
        yield "to: the mail has no recipient"
    if recipients > RECIPIENTS_MAX:
        yield f"to: the mail has {recipients} recipients, at most {RECIPIENTS_MAX} are taken"


def _address(field: str, address: Address) -> Iterator[str]:
    yield from _words(f"{field}.name", address.name, NAME_MAX)
    if fault := _line_break(address.address):
        yield f"{field}.address: {fault}"
    elif wire_address(address.address) is None:
        yield f"{field}.address: {address.address[:300]!r} is not a mail address"


def _threading(request: MailRequested) -> Iterator[str]:
    named = [(f"references[{number}]", value) for number, value in enumerate(request.references)]
    if request.in_reply_to is not None:
        named.append(("in_reply_to", request.in_reply_to))
    for field, value in named:
        if fault := _line_break(value):
            yield f"{field}: {fault}"
    if len(request.references) > REFERENCES_MAX:
        yield f"references: there are {len(request.references)}, at most {REFERENCES_MAX} are taken"


def _headers(headers: tuple[Header, ...]) -> Iterator[str]:
    if len(headers) > HEADERS_MAX:
        yield f"headers: there are {len(headers)}, at most {HEADERS_MAX} are taken"
    for number, header in enumerate(headers):
        field = f"headers[{number}]"
        if not _HEADER_NAME.fullmatch(header.name) or len(header.name) > HEADER_NAME_MAX:
            yield f"{field}.name: {header.name[:HEADER_NAME_MAX]!r} is not a header name"
            continue
        name = header.name.lower()
        if name in RESERVED_HEADERS or name.startswith(RESERVED_PREFIXES):
            yield f"{field}.name: {header.name} is written by Postlane itself"
        yield from _words(f"{field}.value ({header.name})", header.value, HEADER_VALUE_MAX)


def _attachments(attachments: tuple[RequestedAttachment, ...]) -> Iterator[str]:
    if len(attachments) > ATTACHMENTS_MAX:
        yield f"attachments: there are {len(attachments)}, at most {ATTACHMENTS_MAX} are taken"
    for number, attachment in enumerate(attachments):
        field = f"attachments[{number}]"
        yield from _words(f"{field}.filename", attachment.filename, FILENAME_MAX)
        content_type = attachment.content_type
        if len(content_type) > CONTENT_TYPE_MAX or not CONTENT_TYPE.fullmatch(content_type):
            yield f"{field}.content_type: {content_type[:80]!r} is not a content type such as image/png"
        if attachment.content_id is not None and not _CONTENT_ID.fullmatch(attachment.content_id):
            yield f"{field}.content_id: must be 1 to 250 printable ASCII characters without blanks"
        if (attachment.content is None) == (attachment.blob is None):
            yield f"{field}: must have either content or blob"
        if attachment.blob is not None and not _SHA256.fullmatch(attachment.blob.sha256):
            yield f"{field}.blob.sha256: must be 64 lower-case hex digits"


def _words(field: str, value: str, characters_max: int) -> Iterator[str]:
    """The faults of a text that becomes part of a header."""
    if fault := _line_break(value):
        yield f"{field}: {fault}"
    if len(value) > characters_max:
        yield f"{field}: is longer than {characters_max} characters"


def _line_break(value: str) -> str | None:
    if _LINE_BREAK.search(value):
        return "contains a line break or NUL, which would inject header lines"
    if _CONTROL.search(value):
        return "contains a control character"
    return "is not valid Unicode" if _SURROGATE.search(value) else None


def _body(field: str, value: str | None) -> Iterator[str]:
    if value is not None and _SURROGATE.search(value):
        yield f"{field}: is not valid Unicode"
