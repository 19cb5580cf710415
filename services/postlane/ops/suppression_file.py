"""Reads addresses to be suppressed from a file: one per line, or CSV with a header line.

    address,cause,reason,expires
    kim@example.org,complaint,"pressed ""spam"", twice",90d
    lee@example.org,,,2027-01-31

Columns other than `address` may be missing or empty. Lines that begin with # and empty lines are passed over.
"""

import csv
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TextIO

from postlane.core.addresses import mailbox_key
from postlane.ops.exits import CommandFailed, Exit
from postlane.ops.moments import read_future

COLUMNS = {
    "address": "address",
    "email": "address",
    "e-mail": "address",
    "recipient": "address",
    "cause": "cause",
    "reason": "reason",
    "expires": "expires",
    "expires_at": "expires",
    "until": "expires",
}
STDIN = "-"
DELIMITERS = ",;\t"
LINE_MAX = 10_000  # characters; more is no list of addresses
REASON_MAX = 500  # characters; it is for reading

_CAUSE = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An address to be suppressed, in the form of `mailbox_key`; what the file does not say comes from the command line."""

    address: str
    cause: str
    reason: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be used, and why."""

    number: int
    fault: str


class BadFile(ValueError):
    """The file as a whole cannot be read as a list; the text says what to do."""


def read_cause(text: str) -> str:
    """A cause as programs read it. Raises ValueError."""
    if not _CAUSE.fullmatch(text):
        raise ValueError(f"{text[:60]!r} is not a cause: lower-case letters, digits and _, such as complaint")
    return text


def read_wanted(address: str, cause: str, reason: str, until: datetime | None, now: datetime) -> Wanted:
    """One address as somebody wrote it. Raises ValueError."""
    key = mailbox_key(address.strip())
    if key is None:
        raise ValueError(f"{address[:120]!r} is not a mail address such as kim@example.org")
    if until is not None and until <= now:
        raise ValueError(f"it would be over already: {until:%Y-%m-%d %H:%M} lies in the past")
    return Wanted(address=key, cause=read_cause(cause), reason=reason[:REASON_MAX], until=until)


def read_file(file: str, given: Wanted, now: datetime) -> tuple[dict[str, Wanted], list[BadLine]]:
    """What the file wants by address, the last line of an address winning, and its bad lines; `-` is stdin. Raises CommandFailed."""
    wanted: dict[str, Wanted] = {}
    bad: list[BadLine] = []
    try:
        with _opened(file) as lines:
            for line in read_lines(lines, given, now):
                if isinstance(line, BadLine):
                    bad.append(line)
                else:
                    wanted[line.address] = line
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}", Exit.USAGE) from None
    except UnicodeDecodeError:
        raise CommandFailed(f"{file} is not UTF-8 text", Exit.USAGE) from None
    except BadFile as error:
        raise CommandFailed(f"{file}: {error}", Exit.USAGE) from None
    return wanted, bad


@contextmanager
def _opened(file: str) -> Iterator[TextIO]:
    if file == STDIN:
        yield sys.stdin
        return
    with Path(file).open(encoding="utf-8") as opened:
        yield opened


def read_lines(lines: Iterable[str], given: Wanted, now: datetime) -> Iterator[Wanted | BadLine]:
    """What the lines of a file say; `given` has what they leave open. Raises BadFile."""
    numbered = ((number, line.strip("\ufeff\r\n \t")) for number, line in enumerate(lines, start=1))
    content = ((number, line) for number, line in numbered if line and not line.startswith("#"))
    first = next(content, None)
    if first is None:
        raise BadFile("it names no address")
    number, line = first
    delimiter = next((mark for mark in DELIMITERS if mark in line), ",")
    columns = _columns(line, delimiter)
    if columns is None:
        columns = ["address"]
        yield _read_line(number, line, (columns, delimiter), given, now)
    for number, line in content:
        yield _read_line(number, line, (columns, delimiter), given, now)


def _columns(line: str, delimiter: str) -> list[str] | None:
    """The columns that a header line names; None: it is no header line."""
    if "@" in line:
        return None
    try:
        names = [name.strip().lower() for name in _cells(line, delimiter)]
    except csv.Error as error:
        raise BadFile(f"its first line cannot be read as CSV: {error}") from None
    known = [COLUMNS.get(name, "") for name in names]
    if known.count("address") != 1:
        raise BadFile(
            "its first line is neither an address nor a header such as address,cause,reason,expires"
        )
    if unknown := [name for name, column in zip(names, known, strict=True) if not column]:
        raise BadFile(
            f"unknown column {unknown[0]!r}; known are {', '.join(dict.fromkeys(COLUMNS.values()))}"
        )
    return known


def _read_line(
    number: int, line: str, form: tuple[list[str], str], given: Wanted, now: datetime
) -> Wanted | BadLine:
    columns, delimiter = form
    if len(line) > LINE_MAX:
        return BadLine(number, f"it has more than {LINE_MAX} characters")
    try:
        cells = [cell.strip() for cell in _cells(line, delimiter)]
        if len(cells) > len(columns):
            raise ValueError(f"{len(cells)} columns where {len(columns)} are named; a header line names them")  # noqa: TRY301
        said = dict(zip(columns, cells, strict=False))
        expires = said.get("expires")
        return read_wanted(
            said["address"],
            said.get("cause") or given.cause,
            said.get("reason") or given.reason,
            read_future(expires, now) if expires else given.until,
            now,
        )
    except (ValueError, OverflowError, csv.Error) as error:
        return BadLine(number, str(error))


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter, strict=True))
