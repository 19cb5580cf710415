"""Reads built mail back with the standard library's parser, the one that resembles real clients most: no repairs, no guessing."""

import email.utils
from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import Message
from email.utils import collapse_rfc2231_value, getaddresses

from postlane.core.events.mail import Address, Disposition
from postlane.core.events.request import MailRequested, RequestedAttachment
from postlane.core.events.request_rules import check_request
from postlane.core.ticket_marks import SigningKeys
from postlane.core.writing.mime_build import BuildPolicy, BuiltMail, build_mail

KEYS = SigningKeys("k1", {"k1": b"a secret of some length"}, "desk.example")
POLICY = BuildPolicy(keys=KEYS)
REQUEST = MailRequested(
    event_id="e-1",
    ticket_id="4711",
    requested_at=datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
    from_address=Address(address="support@desk.example", name="Support"),
    to=(Address(address="kim@example.org", name="Kim"),),
    subject="Your printer [#4711]",
    text="Hello Kim,\nit prints again.\n",
)
# The stricter reader of newer Pythons (gh-102988) gives up on domain literals such as [192.0.2.1].
LENIENT: dict[str, bool] = {"strict": False} if getattr(email.utils, "supports_strict_parsing", False) else {}
PNG = RequestedAttachment(
    filename="logo.png",
    content_type="image/png",
    disposition=Disposition.INLINE,
    content_id="logo@desk",
    content=b"\x89PNG\r\n\x1a\n\x00",
)


def build(
    request: MailRequested, blobs: Mapping[str, bytes] | None = None, by: BuildPolicy = POLICY
) -> BuiltMail:
    assert check_request(request) == []
    return build_mail(request, blobs or {}, by)


def parse(built: BuiltMail) -> Message:
    """The message without any repair."""
    return message_from_bytes(built.content, policy=policy.compat32)


def words(message: Message, name: str) -> str:
    return str(make_header(decode_header(message[name].replace("\r\n", ""))))


def addresses(message: Message, name: str) -> list[tuple[str, str]]:
    unfolded = message[name].replace("\r\n", "")
    found = getaddresses([str(unfolded)], **LENIENT)
    return [(str(make_header(decode_header(display))), address) for display, address in found]


def body(part: Message) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()


def leaves(message: Message) -> list[Message]:
    return [part for part in message.walk() if not part.is_multipart()]


def shape(message: Message) -> str:
    if not message.is_multipart():
        return message.get_content_type()
    inner = ", ".join(shape(part) for part in message.get_payload() if isinstance(part, Message))
    return f"{message.get_content_subtype()}({inner})"


def normal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def filename(part: Message) -> str:
    """The decoded file name; empty where there is none."""
    return collapse_rfc2231_value(part.get_param("filename", "", "content-disposition") or "")
