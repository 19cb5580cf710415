"""What a report includes of the mail that it is about: the whole of it, its headers, or their copy in the text."""

import re
from dataclasses import replace

from postlane.core.reading.mime_parse import parse_headers, parse_mail
from postlane.core.reading.parsed_mail import ParsedMail
from postlane.core.reports.bounce_signs import ORIGINAL_TYPES, quoted_original
from postlane.core.reports.report import OriginalMail
from postlane.core.writing.mime_build import EVENT_HEADER, ID_HEADER, RECIPIENT_HEADER

ORIGINAL_BYTES_MAX = 1024 * 1024  # our marks stand in the headers and at the end of ordinary bodies
QUOTED_CHARACTERS_MAX = 64 * 1024
RECIPIENTS_MAX = 50
# Where the original itself is not included, some servers name its id.
_HEADER_LINE = re.compile(
    rf"^[ \t>]*(Message-ID|{ID_HEADER}|{EVENT_HEADER}|{RECIPIENT_HEADER}):\s{{0,5}}(\S{{1,300}})[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_ID_HEADERS = (
    "X-MS-Exchange-Parent-Message-Id",
    "X-Original-Message-ID",
    "X-CM-Original-Message-ID",
    "X-Actual-Message-ID",
)


def read_original(report: ParsedMail) -> OriginalMail:
    """The original as far as the report shows it; empty where it shows nothing."""
    part = next((part for part in report.attachments if part.content_type in ORIGINAL_TYPES), None)
    if part is not None:
        whole = "headers" not in part.content_type and len(part.content) <= ORIGINAL_BYTES_MAX
        original = _original(parse_mail(part.content) if whole else parse_headers(part.content, "headers"))
    elif quoted := quoted_original(report)[:QUOTED_CHARACTERS_MAX]:
        original = replace(_original(parse_headers(quoted.encode("utf-8", "replace"), "quoted")), text=quoted)
    else:
        original = OriginalMail()
    return _completed(original, report)


def _completed(original: OriginalMail, report: ParsedMail) -> OriginalMail:
    """With what stands elsewhere: in headers of the report, or in lines of its text where the structure was lost on the way."""
    text = (report.text or "")[:QUOTED_CHARACTERS_MAX]
    lines = {found[1].lower(): found[2] for found in reversed(list(_HEADER_LINE.finditer(text)))}
    named = next((value for name in _ID_HEADERS for value in report.header_values(name)), None)
    return replace(
        original,
        message_id=original.message_id or named or lines.get("message-id"),
        our_id=original.our_id or lines.get(ID_HEADER.lower()),
        event_id=original.event_id or lines.get(EVENT_HEADER.lower()),
        recipient_proof=original.recipient_proof or lines.get(RECIPIENT_HEADER.lower()),
    )


def _original(mail: ParsedMail) -> OriginalMail:
    recipients = (address.address for address in (*mail.to, *mail.cc) if address.address)
    return OriginalMail(
        message_id=mail.message_id,
        our_id=next(iter(mail.header_values(ID_HEADER)), None),
        references=mail.references,
        event_id=next(iter(mail.header_values(EVENT_HEADER)), None),
        recipient_proof=next(iter(mail.header_values(RECIPIENT_HEADER)), None),
        return_path=mail.return_path or None,
        recipients=tuple(dict.fromkeys(recipients))[:RECIPIENTS_MAX],
        text=(mail.text or mail.html or "")[:QUOTED_CHARACTERS_MAX],
    )
