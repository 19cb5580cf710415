"""What one response of an IMAP server is (RFC 3501 section 7); unknown ones are data of some name, to be passed over."""

import re
from dataclasses import dataclass

from postlane.core.imap.stream import Fragments, ImapSyntaxError, shown

TEXT_MAX = 300  # characters of a server's words that are kept

_STATUS = re.compile(
    rb"(OK|NO|BAD|BYE|PREAUTH)(?: +\[([^\]\r\n]*)\])?(?: +(.*)|)\Z", re.IGNORECASE | re.DOTALL
)
_DATA = re.compile(rb"(?:(\d{1,10}) +)?([A-Za-z][A-Za-z0-9.\-_]*)(?: |\Z)")
_TAG = re.compile(rb"([A-Za-z0-9]{1,20}) +")


@dataclass(frozen=True, slots=True)
class Status:
    """OK, NO, BAD, BYE or PREAUTH. `tag` is empty where it answers no command; `code` as `UIDNEXT 4`, without brackets; `text` for people."""

    tag: str
    word: str
    code: str
    text: str

    @property
    def words(self) -> str:
        """Everything behind OK, NO, BAD, for people."""
        return f"[{self.code}] {self.text}".strip() if self.code else self.text


@dataclass(frozen=True, slots=True)
class Data:
    """Untagged data: `* number NAME rest`; `rest` goes on in the fragments behind it."""

    name: str
    number: int | None
    rest: Fragments


@dataclass(frozen=True, slots=True)
class Continuation:
    """The server waits for more of a command."""

    text: str


Response = Status | Data | Continuation


def read_response(fragments: Fragments) -> Response | None:
    """The meaning of a whole response; None for untagged words without any. Raises ImapSyntaxError for what is no response at all."""
    line = fragments[0]
    if line.startswith(b"* "):
        return _untagged(line[2:].lstrip(), fragments)
    if line.startswith(b"+"):
        return Continuation(_words(line[1:].strip()))
    tag = _TAG.match(line)
    status = _STATUS.match(line[tag.end() :]) if tag else None
    if tag is None or status is None:
        raise ImapSyntaxError(f"does not answer as an IMAP server: {shown(line)}")
    return _status(tag[1].decode(), status)


def _untagged(text: bytes, fragments: Fragments) -> Response | None:
    if status := _STATUS.match(text):
        return _status("", status)
    data = _DATA.match(text)
    if data is None:
        return None
    number = None if data[1] is None else int(data[1])
    return Data(data[2].decode().upper(), number, (text[data.end() :], *fragments[1:]))


def _status(tag: str, found: "re.Match[bytes]") -> Status:
    return Status(tag, found[1].decode().upper(), _words(found[2] or b""), _words(found[3] or b""))


def _words(text: bytes) -> str:
    """At most so much of it; a capability list is longer than words for people and is read as a whole."""
    limit = 8192 if text[:11].upper() == b"CAPABILITY " else TEXT_MAX
    decoded = text[:limit].decode("utf-8", "replace")
    return "".join(char if char.isprintable() else " " for char in decoded)
