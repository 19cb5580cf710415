"""Header fields as mail really has them: split from bytes with limits, unfolded, decoded; never raises.

RFC 5322 section 2.2 and RFC 2047 (encoded words), also in the broken forms that senders write.
"""

import re
from binascii import a2b_qp
from dataclasses import dataclass

from postlane.core.reading.mime_text import clean_text, decode_base64, decode_text

HEADERS_MAX = 1000  # per header block; real mail stays under 200, what has more is a bomb
HEADER_BYTES_MAX = 64 * 1024  # per field; the longest honest ones (References, To) stay under 32 KiB
HEADER_BLOCK_BYTES_MAX = 1024 * 1024  # all values together; the event keeps far less
HEADER_NAME_MAX = 200  # the longest names of real mail have about 60 characters
ENCODED_CHARSET_MAX = 75  # RFC 2047 section 2: an encoded word has at most 75 characters

_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
_FOLD = re.compile(rb"[\r\n]+[ \t]*")
CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class RawHeader:
    """One field: its name as written and its bytes after the colon, unfolded."""

    name: str
    value: bytes


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """The fields of one block in order, where its body begins, and what was wrong."""

    fields: tuple[RawHeader, ...]
    body_at: int
    defects: tuple[str, ...]

    def raw(self, name: str) -> list[bytes]:
        """The values of every field of that name (case-insensitive), in order."""
        wanted = name.lower()
        return [field.value for field in self.fields if field.name.lower() == wanted]

    def first(self, name: str) -> bytes:
        """The first field of that name, or nothing."""
        return next(iter(self.raw(name)), b"")


def split_headers(content: bytes, start: int, end: int) -> HeaderBlock:
    """Read the header block of `content[start:end]`, whose lines end in LF or CRLF.

    A line that is no header is skipped when another header follows it, else the body begins there without a blank line.
    """
    collected = _Collected()
    at = start
    while at < end:
        line_end = _line_end(content, at, end)
        line = content[at:line_end].rstrip(b"\r\n")
        if not line:
            return collected.block(body_at=line_end)
        if found := _NAME.match(line):
            field_end = _field_end(content, line_end, end)
            collected.add(found[1], content[at + found.end() : field_end])
            at = field_end
        elif line.startswith((b"From ", b">From ")) and not collected.fields:
            at = line_end  # an mbox separator
        elif _NAME.match(content, line_end, end) or content[line_end : line_end + 1] in (b" ", b"\t"):
            collected.defects["a header line has no name"] = None
            at = line_end
        else:
            collected.defects["no blank line between headers and body"] = None
            return collected.block(body_at=at)
    return collected.block(body_at=end)


class _Collected:
    """The fields of a block while it is read, within the limits."""

    def __init__(self) -> None:
        self.fields: list[RawHeader] = []
        self.defects: dict[str, None] = {}
        self._bytes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self._bytes += len(value)
        if len(self.fields) >= HEADERS_MAX or self._bytes > HEADER_BLOCK_BYTES_MAX:
            self.defects["there are too many headers; the rest is left out"] = None
            return
        if len(value) > HEADER_BYTES_MAX or len(name) > HEADER_NAME_MAX:
            self.defects[f"a header is longer than {HEADER_BYTES_MAX} bytes and is cut"] = None
        unfolded = _FOLD.sub(b" ", value[:HEADER_BYTES_MAX].strip(b" \t\r\n"))
        self.fields.append(RawHeader(name[:HEADER_NAME_MAX].decode("ascii"), unfolded))

    def block(self, body_at: int) -> HeaderBlock:
        return HeaderBlock(tuple(self.fields), body_at, tuple(self.defects))


def _line_end(content: bytes, at: int, end: int) -> int:
    found = content.find(b"\n", at, end)
    return end if found < 0 else found + 1


def _field_end(content: bytes, at: int, end: int) -> int:
    """Where the folded lines (RFC 5322 section 2.2.3) after `at` are over."""
    while at < end and content[at] in b" \t":
        line_end = _line_end(content, at, end)
        if not content[at:line_end].strip():  # a line of blanks: some senders' idea of an empty one
            return at
        at = line_end
    return at


def decode_header(value: bytes) -> str:
    """An unstructured value as text: encoded words decoded, 8-bit bytes read as UTF-8 or else Windows-1252."""
    text = _decode_words(value) if b"=?" in value else decode_text(value, None)[0]
    return CONTROL.sub("", clean_text(text)).replace("\r", " ").replace("\n", " ").strip()


def _decode_words(value: bytes) -> str:
    """RFC 2047. Words of one charset that touch are joined as bytes: senders cut characters in two."""
    pieces: list[tuple[str | None, bytes]] = []
    at = 0
    while (begin := value.find(b"=?", at)) >= 0:
        word = _encoded_word(value, begin)
        if word is None:
            _append(pieces, None, value[at : begin + 2])
            at = begin + 2
            continue
        charset, content, word_end = word
        between = value[at:begin]
        if between.strip() or not pieces or pieces[-1][0] is None:
            _append(pieces, None, between)  # blanks between two words are not part of the text
        _append(pieces, charset, content)
        at = word_end
    _append(pieces, None, value[at:])
    return "".join(decode_text(content, charset)[0] for charset, content in pieces)


def _append(pieces: list[tuple[str | None, bytes]], charset: str | None, content: bytes) -> None:
    if not content:
        return
    if pieces and pieces[-1][0] == charset:
        pieces[-1] = (charset, pieces[-1][1] + content)
    else:
        pieces.append((charset, content))


def _encoded_word(value: bytes, begin: int) -> tuple[str, bytes, int] | None:
    """Read `=?charset?B or Q?text?=` at `begin`: charset, content, end. `begin + 2` is where a failed try goes on."""
    charset_end = value.find(b"?", begin + 2, begin + 2 + ENCODED_CHARSET_MAX)
    if charset_end < 0 or value[charset_end + 2 : charset_end + 3] != b"?":
        return None
    text_at = charset_end + 3
    text_end = value.find(b"?=", text_at)
    if text_end < 0:
        return None
    charset = value[begin + 2 : charset_end].partition(b"*")[0].decode("ascii", "replace").lower()
    text = value[text_at:text_end]
    match value[charset_end + 1 : charset_end + 2]:
        case b"B" | b"b":
            return charset, decode_base64(text)[0], text_end + 2
        case b"Q" | b"q":
            return charset, a2b_qp(text.replace(b" ", b"_"), header=True), text_end + 2
        case _:
            return None
