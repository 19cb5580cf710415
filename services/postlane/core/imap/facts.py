"""What data of a server says about a folder and its mails."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from postlane.core.imap.responses import Data, Status
from postlane.core.imap.stream import ImapSyntaxError
from postlane.core.imap.values import Value, read_values

UID_MAX = 2**32 - 1

_INTERNALDATE = re.compile(rb"([ \d]?\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")
_NUMBER_CODE = re.compile(r"(UIDVALIDITY|UIDNEXT) (\d{1,10})\Z", re.IGNORECASE)
_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
    )
}


@dataclass(frozen=True, slots=True)
class FetchedItem:
    """One FETCH response: what of it was asked for. `content` is None where no body section came, or NIL for one.

    NIL says that there is no content, not that it is empty (RFC 3501 section 4.5), and some servers say so of mail that they cannot
    reach at the moment.
    """

    uid: int
    size_bytes: int | None
    received_at: datetime | None
    content: bytes | None


@dataclass(frozen=True, slots=True)
class SelectedFolder:
    """What the untagged lines of SELECT said; None for what was not said."""

    uid_validity: int | None
    uid_next: int | None
    exists: int


@dataclass(frozen=True, slots=True)
class Namespace:
    """Where one's own folders are: what their names begin with, and what stands between levels (empty: there are none).

    `others`: what the names of other people's and of shared folders begin with.
    """

    prefix: str = ""
    delimiter: str = "/"
    others: tuple[str, ...] = ()


def read_fetch(data: Data) -> FetchedItem | None:
    """The item, if it names a UID: flags that other clients change come without. Raises ImapSyntaxError."""
    values = read_values(data.rest)
    items = values[0] if values else None
    if not isinstance(items, list):
        return None
    uid: int | None = None
    size: int | None = None
    received_at: datetime | None = None
    content: bytes | None = None
    for at in range(0, len(items) - 1, 2):
        key, value = items[at], items[at + 1]
        if not isinstance(key, bytes):
            continue
        name = key.upper()
        if name == b"UID":
            uid = _number(value)
        elif name == b"RFC822.SIZE":
            size = _number(value)
        elif name == b"INTERNALDATE":
            received_at = _instant(value)
        elif name.startswith(b"BODY[") and isinstance(value, bytes):
            content = value
    if uid is None or not 0 < uid <= UID_MAX:
        return None
    return FetchedItem(uid, size, received_at, content)


def read_search(data: Data) -> list[int]:
    """The numbers of a SEARCH response; what is none, such as `(MODSEQ 5)` behind them (RFC 7162), is left out."""
    words = data.rest[0].partition(b"(")[0].split()
    return [int(word) for word in words if word.isdigit() and len(word) <= 10]


def read_select(lines: "list[Data | Status]") -> SelectedFolder:
    """UIDVALIDITY, UIDNEXT and EXISTS."""
    codes: dict[str, int] = {}
    exists = 0
    for line in lines:
        if isinstance(line, Data):
            exists = line.number or 0 if line.name == "EXISTS" else exists
        elif found := _NUMBER_CODE.match(line.code):
            codes[found[1].upper()] = int(found[2])
    # A UIDVALIDITY of 0 is none (RFC 3501 section 9: nz-number).
    return SelectedFolder(codes.get("UIDVALIDITY") or None, codes.get("UIDNEXT") or None, exists)


def read_uid_validity(code: str) -> int | None:
    """The number of a UIDVALIDITY code; None for any other code."""
    found = _NUMBER_CODE.match(code)
    return int(found[2]) if found and found[1].upper() == "UIDVALIDITY" else None


def read_capabilities(words: str) -> frozenset[str]:
    """The names, in capitals, of a CAPABILITY response or code."""
    return frozenset(words.upper().removeprefix("CAPABILITY").split())


def read_namespace(data: Data) -> Namespace | None:
    """The first personal one of a NAMESPACE response (RFC 2342); None where there is none."""
    values = _values(data)
    match values:
        case [[[bytes() as prefix, (bytes() | None) as delimiter, *_], *more], *foreign]:
            lists = [more, *(one for one in foreign if isinstance(one, list))]
            others = [
                namespace[0]
                for one in lists
                for namespace in one
                if isinstance(namespace, list) and namespace
            ]
            named = tuple(_text(other) for other in others if isinstance(other, bytes) and other)
            return Namespace(_text(prefix), _text(delimiter or b""), named)
        case _:
            return None


def read_delimiter(data: Data) -> str | None:
    """The hierarchy delimiter of a LIST response; empty where there are no levels, None where nothing is said."""
    match _values(data):
        case [list(), (bytes() | None) as delimiter, *_]:
            return _text(delimiter or b"")
        case _:
            return None


def read_listed(data: Data) -> str | None:
    """The name of a folder that mail can lie in, as the server spells it, from a LIST response (RFC 3501 section 7.2.2, RFC 5258 section 3)."""
    match _values(data):
        case [list() as attributes, _, bytes() as name, *_]:
            folded = {attribute.lower() for attribute in attributes if isinstance(attribute, bytes)}
            return None if folded & {b"\\noselect", b"\\nonexistent"} else _text(name)
        case _:
            return None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _values(data: Data) -> list[Value]:
    try:
        return read_values(data.rest)
    except ImapSyntaxError:
        return []


def _number(value: Value) -> int | None:
    return int(value) if isinstance(value, bytes) and value.isdigit() and len(value) <= 19 else None


def _instant(value: Value) -> datetime | None:
    found = _INTERNALDATE.fullmatch(value) if isinstance(value, bytes) else None
    if found is None or found[2].lower() not in _MONTHS:
        return None
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes)) * (-1 if sign == b"-" else 1)
    try:
        zone = timezone(offset)
        seconds = min(int(second), 59)
        local = datetime(
            int(year), _MONTHS[month.lower()], int(day), int(hour), int(minute), seconds, tzinfo=zone
        )
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
