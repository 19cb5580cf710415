"""IMAP's lines as aioimaplib hands them out (RFC 3501, RFC 9051). Pure functions.

aioimaplib gives a response as a list: lines as bytes without `* `, literals as bytearray after the line that announced them.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone

from postlane.core.imap.facts import FetchedItem, SelectedFolder

_FETCH = re.compile(rb"^\d+ FETCH \(", re.IGNORECASE)
_UID = re.compile(rb"\bUID (\d+)", re.IGNORECASE)
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)", re.IGNORECASE)
_INTERNALDATE = re.compile(
    rb'\bINTERNALDATE "([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"',
    re.IGNORECASE,
)
_BODY = re.compile(rb"\bBODY\[[^\]]*\](?:<\d+>)? ?(NIL|\"(?:[^\"\\]|\\.)*\"|\{\d+\})?", re.IGNORECASE)
_QUOTED_PAIR = re.compile(rb"\\(.)")
_CODE = re.compile(rb"\[(UIDVALIDITY|UIDNEXT) (\d+)\]", re.IGNORECASE)
_EXISTS = re.compile(rb"^(\d+) EXISTS$", re.IGNORECASE)
_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
    )
}

Line = bytes | bytearray


def parse_fetch(lines: Sequence[Line]) -> list[FetchedItem]:
    """The items that name a UID; unasked flag updates of other clients have none and are left out."""
    return [item for group in _groups(lines) if (item := _item(group)) is not None]


def _groups(lines: Sequence[Line]) -> Iterator[list[Line]]:
    group: list[Line] = []
    for line in lines:
        if isinstance(line, bytes) and _FETCH.match(line):
            if group:
                yield group
            group = [line]
        elif group:
            group.append(line)
    if group:
        yield group


def _item(group: list[Line]) -> FetchedItem | None:
    text = b" ".join(line for line in group if isinstance(line, bytes))
    uid = _UID.search(_BODY.sub(b"", text))
    if uid is None:
        return None
    size = _SIZE.search(text)
    return FetchedItem(int(uid[1]), int(size[1]) if size else None, _received_at(text), _content(group, text))


def _content(group: list[Line], text: bytes) -> bytes | None:
    literal = next((line for line in group if isinstance(line, bytearray)), None)
    if literal is not None:
        return bytes(literal)
    found = _BODY.search(text)
    if found is None or found[1] is None:
        return None
    # Small sections may come as a quoted string; NIL says that there is no content, not that it is empty
    # (RFC 3501 section 4.5), and some servers say so of mail that they cannot reach at the moment.
    return None if found[1].upper() == b"NIL" else _QUOTED_PAIR.sub(rb"\1", found[1][1:-1])


def _received_at(text: bytes) -> datetime | None:
    found = _INTERNALDATE.search(text)
    if found is None or found[2].lower() not in _MONTHS:
        return None
    day, _, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes)) * (-1 if sign == b"-" else 1)
    try:
        zone = timezone(offset)
        local = datetime(
            int(year),
            _MONTHS[found[2].lower()],
            int(day),
            int(hour),
            int(minute),
            min(int(second), 59),
            tzinfo=zone,
        )
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_search(lines: Sequence[Line]) -> list[int]:
    """The UIDs of a SEARCH response, ascending and distinct."""
    uids: set[int] = set()
    for line in lines:
        words = bytes(line).removeprefix(b"SEARCH").split()
        if all(word.isdigit() for word in words):
            uids.update(int(word) for word in words)
    return sorted(uids)


def parse_select(lines: Sequence[Line]) -> SelectedFolder:
    """UIDVALIDITY, UIDNEXT and EXISTS."""
    codes: dict[bytes, int] = {}
    exists = 0
    for line in lines:
        if found := _CODE.search(bytes(line)):
            codes[found[1].upper()] = int(found[2])
        elif found := _EXISTS.match(bytes(line)):
            exists = int(found[1])
    return SelectedFolder(codes.get(b"UIDVALIDITY"), codes.get(b"UIDNEXT"), exists)


def has_exists(lines: Sequence[Line]) -> bool:
    """Whether untagged lines during IDLE speak of the number of mails, so of new ones."""
    return any(_EXISTS.match(bytes(line)) for line in lines)
