"""Raw bytes -> ParsedMail: hostile input is the normal case, so everything has a limit and nothing raises.

What could not be read as it should is listed in `defects`, and the parse status says how much can be relied on.
"""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from postlane.core.events.mail import Address, Header
from postlane.core.events.received import ParseStatus
from postlane.core.reading.mime_addresses import parse_addresses, parse_message_ids
from postlane.core.reading.mime_bodies import NO_BODIES, Bodies, read_bodies
from postlane.core.reading.mime_headers import HeaderBlock, decode_header, split_headers
from postlane.core.reading.mime_parts import split_parts, with_line_feeds
from postlane.core.reading.parsed_mail import ParsedMail

DEFECTS_MAX = 50  # enough to see what is wrong
HEADER_BLOCK_MAX = 1024 * 1024  # bytes looked at when only the headers are read
DATE_CHARACTERS_MAX = 100  # an honest Date has about 40
SUBJECT_CHARACTERS_MAX = 2000
CENTURY_MISSING = range(100, 200)  # programs that wrote years since 1900, as RFC 5322 section 4.3 reads them
EARLIEST_DATE = datetime(1971, 1, 1, tzinfo=UTC)  # before e-mail as we know it: a broken clock
LATEST_DATE = datetime(2200, 1, 1, tzinfo=UTC)

# Where delivery wrote the recipient, nearest hop first; research/tickets.md (a).
DELIVERED_TO_HEADERS = (
    "X-Gm-Original-To",
    "Delivered-To",
    "X-Original-To",
    "Envelope-To",
    "X-Envelope-To",
    "X-Delivered-To",
    "X-Forwarded-To",
    "Resent-To",
)
ONCE = (
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Subject",
    "Date",
)


def parse_mail(raw: bytes) -> ParsedMail:
    """Read a whole mail."""
    tree = split_parts(raw)
    bodies = read_bodies(tree.root)
    report = tree.root.content_type
    is_report = report.value == "multipart/report"
    report_type = report.parameters.get("report-type", "").lower() if is_report else None
    return _mail(tree.root.headers, (*tree.defects, *bodies.defects), bodies, report_type)


def parse_headers(raw: bytes, why: str) -> ParsedMail:
    """Read the header block alone; `why` becomes a defect. For mail too large or too hostile to be read whole."""
    head = with_line_feeds(raw[:HEADER_BLOCK_MAX])
    block = split_headers(head, 0, len(head))
    mail = _mail(block, (why, *block.defects), NO_BODIES, None)
    return replace(mail, parse_status=ParseStatus.HEADERS_ONLY)


def unreadable_mail(why: str) -> ParsedMail:
    """What is left when nothing could be read: the event then carries the raw bytes' name and this reason."""
    return ParsedMail(parse_status=ParseStatus.FAILED, defects=(why,))


def _mail(
    block: HeaderBlock, structural: tuple[str, ...], bodies: Bodies, report_type: str | None
) -> ParsedMail:
    hint = None if all(field.value.isascii() for field in block.fields) else block.charset_hint()
    message_ids = parse_message_ids(_text(block, "message-id"))
    date, date_defect = _date(_text(block, "date"))
    from_addresses = _from_addresses(block, hint)
    defects = [*structural, *_header_defects(block), *date_defect]
    if not any("@" in address.address for address in from_addresses):
        defects.append("From names no address")
    if not message_ids:
        defects.append("Message-ID is missing")
    distinct = tuple(dict.fromkeys(defects))[:DEFECTS_MAX]
    return ParsedMail(
        parse_status=ParseStatus.DEFECTIVE if distinct else ParseStatus.OK,
        defects=distinct,
        headers=tuple(
            Header(name=field.name, value=decode_header(field.value, hint)) for field in block.fields
        ),
        message_id=message_ids[0] if message_ids else None,
        in_reply_to=parse_message_ids(_text(block, "in-reply-to")),
        references=parse_message_ids(_text(block, "references")),
        date=date,
        from_addresses=from_addresses,
        sender=next(iter(parse_addresses(block.first("sender"), hint)), None),
        reply_to=_addresses(block, "reply-to", hint),
        to=_addresses(block, "to", hint),
        cc=_addresses(block, "cc", hint),
        delivered_to=_delivered_to(block),
        return_path=_return_path(block),
        subject=_subject(block, hint),
        text=bodies.text,
        html=bodies.html,
        sanitized_html=bodies.sanitized_html,
        reply_text=bodies.reply_text,
        attachments=bodies.attachments,
        part_types=bodies.part_types,
        report_type=report_type,
        report_text=bodies.report_text,
    )


def _text(block: HeaderBlock, name: str) -> str:
    return decode_header(block.first(name))


def _subject(block: HeaderBlock, hint: str | None) -> str:
    """The first that says something: broken mail has a second one."""
    subjects = (decode_header(value, hint) for value in block.raw("subject"))
    return next((subject for subject in subjects if subject), "")[:SUBJECT_CHARACTERS_MAX]


def _from_addresses(block: HeaderBlock, hint: str | None) -> tuple[Address, ...]:
    """The first From that names an address: broken mail has a second one."""
    found = [parse_addresses(value, hint) for value in block.raw("from")]
    named = (one for one in found if any("@" in address.address for address in one))
    return next(named, found[0] if found else ())


def _addresses(block: HeaderBlock, name: str, hint: str | None = None) -> tuple[Address, ...]:
    """Recipient fields may stand more than once in broken mail; all of them count."""
    return tuple(address for value in block.raw(name) for address in parse_addresses(value, hint))


def _delivered_to(block: HeaderBlock) -> tuple[str, ...]:
    values = (value for name in DELIVERED_TO_HEADERS for value in block.raw(name))
    found = (address.address for value in values for address in parse_addresses(value))
    return tuple(dict.fromkeys(address for address in found if "@" in address))


def _return_path(block: HeaderBlock) -> str | None:
    """The reverse path; empty for `<>`, which marks bounces and automatic mail (RFC 5321 section 4.5.5)."""
    values = block.raw("return-path")
    if not values:
        return None
    return next((address.address for address in parse_addresses(values[0])), "")


def _header_defects(block: HeaderBlock) -> list[str]:
    return [f"{name} is given more than once" for name in ONCE if len(block.raw(name)) > 1]


# As nearly every program writes it (RFC 5322 section 3.3); parsedate_to_datetime takes three times as long to read the same.
_ORDINARY_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d?) ([A-Z][a-z]{2}) ([12]\d{3}) (\d\d):(\d\d):(\d\d) ([+-])([01]\d)(\d\d)(?: \([A-Z]{1,5}\))?",
    re.ASCII,
)
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
_COMMENT = re.compile(r"\([^()]*\)")
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:?\d\d)?")


def _date(value: str) -> tuple[datetime | None, tuple[str, ...]]:
    if not value:
        return None, ("Date is missing",)
    written = value[:DATE_CHARACTERS_MAX]
    date = (
        _ordinary_date(written)
        or _rfc_date(_COMMENT.sub(" ", written) if "(" in written else written)
        or _iso_date(written)
    )
    try:
        if date and date.year in CENTURY_MISSING:
            date = date.replace(year=date.year + 1900)
        utc = date and (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        utc = None
    if utc is None or not EARLIEST_DATE <= utc <= LATEST_DATE:
        return None, ("Date cannot be read",)
    return utc, ()


def _ordinary_date(written: str) -> datetime | None:
    found = _ORDINARY_DATE.fullmatch(written)
    month = _MONTHS.get(found[2]) if found else None
    if found is None or month is None:
        return None
    offset = timedelta(hours=int(found[8]), minutes=int(found[9]))
    try:
        local = datetime(
            int(found[3]), month, int(found[1]), int(found[4]), int(found[5]), int(found[6]), tzinfo=UTC
        )
        return local + offset if found[7] == "-" else local - offset
    except (ValueError, OverflowError):
        return None


def _rfc_date(written: str) -> datetime | None:
    try:
        return parsedate_to_datetime(written)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _iso_date(written: str) -> datetime | None:
    found = _ISO_DATE.search(written)
    try:
        return datetime.fromisoformat(found[0]) if found else None
    except ValueError:
        return None
