"""Header fields as mail really has them: split from bytes with limits, unfolded, decoded; never raises.

RFC 5322 section 2.2 and RFC 2047 (encoded words), also in the broken forms that senders write.
"""

import re
from binascii import a2b_qp
from dataclasses import dataclass
from typing import NamedTuple

from postlane.core.reading.charset_guess import guess_codec
from postlane.core.reading.charset_names import charset_codec
from postlane.core.reading.mime_text import clean_text, decode_text
from postlane.core.reading.mime_transfer import decode_base64

HEADERS_MAX = 1000  # per header block; real mail stays under 200, what has more is a bomb
HEADER_BYTES_MAX = 64 * 1024  # per field; the longest honest ones (References, To) stay under 32 KiB
HEADER_BLOCK_BYTES_MAX = 1024 * 1024  # all values together; the event keeps far less
HEADER_NAME_MAX = 200  # the longest names of real mail have about 60 characters
ENCODED_CHARSET_MAX = 75  # RFC 2047 section 2: an encoded word has at most 75 characters

# One field with its folded lines (RFC 5322 section 2.2.3). A line of blanks alone is some senders' idea of an empty one.
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\n]*(?:\n[ \t]++(?![\r\n])[^\n]*)*)\n?")
_NAME = re.compile(rb"[!-9;-~]+[ \t]*:")
_CONTENT_FIELD = re.compile(rb"content-[a-z-]{2,40}[ \t]*:", re.IGNORECASE)
_LEADING_LINES = re.compile(rb"(?:[ \t]*\r*\n){1,50}(?=(?:>?From |[A-Za-z][A-Za-z-]{1,60}:))")
_BLANK_LINE = re.compile(rb"\n\r*\n")
_FOLD = re.compile(rb"[\r\n]+[ \t]*")
_PLAIN = re.compile(rb"[\x20-\x7e\t]*")
CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")


class RawHeader(NamedTuple):
    """One field: its name as written and its bytes after the colon, unfolded."""

    name: str
    value: bytes


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """The fields of one block in order, their values by lower-case name, where the body begins, and what was wrong."""

    fields: tuple[RawHeader, ...]
    by_name: dict[str, list[bytes]]
    body_at: int
    defects: tuple[str, ...]

    def raw(self, name: str) -> list[bytes]:
        """The values of every field of that name (case-insensitive), in order."""
        return self.by_name.get(name.lower(), [])

    def first(self, name: str) -> bytes:
        """The first field of that name, or nothing."""
        values = self.by_name.get(name.lower())
        return values[0] if values else b""

    def charset_hint(self) -> str | None:
        """The charset that this block names first: it speaks for those of its fields that are 8-bit text."""
        for value in (self.first("content-type"), *(field.value for field in self.fields)):
            if found := _CHARSET.search(value):
                return (found[1] or found[2]).decode("ascii")
        return None


def split_headers(content: bytes, start: int, end: int) -> HeaderBlock:
    """Read the header block of `content[start:end]`, whose lines end in LF or CRLF.

    A line that is no header is skipped when another header follows it, else the body begins there without a blank line.
    """
    collected = _Collected()
    at = start
    if start == 0 and (leading := _LEADING_LINES.match(content, 0, end)):
        at = leading.end()
    while at < end:
        if collected.is_full:  # what is left of the block is not looked at
            found = _BLANK_LINE.search(content, at - 1, end)
            return collected.block(body_at=found.end() if found else end)
        reach = min(end, at + HEADER_BLOCK_BYTES_MAX)
        if field := _FIELD.match(content, at, reach):
            collected.add(field[1], field[2])
            at = field.end()
            collected.is_full |= at == reach < end
            continue
        line_end = _line_end(content, at, end)
        line = content[at:line_end].rstrip(b"\r\n")
        if not line:
            return collected.block(body_at=line_end)
        if line.startswith((b"From ", b">From ")) and not collected.fields:
            at = line_end  # an mbox separator
        elif line.startswith(b"--") and line.strip(b"-") and _CONTENT_FIELD.match(content, line_end, end):
            collected.defects["no blank line between headers and body"] = None
            return collected.block(body_at=at)
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
        self._by_name: dict[str, list[bytes]] = {}
        self._bytes = 0
        self.is_full = False

    def add(self, name: bytes, value: bytes) -> None:
        self._bytes += len(value)
        if len(self.fields) >= HEADERS_MAX or self._bytes > HEADER_BLOCK_BYTES_MAX:
            self.defects["there are too many headers; the rest is left out"] = None
            self.is_full = True
            return
        if len(value) > HEADER_BYTES_MAX or len(name) > HEADER_NAME_MAX:
            self.defects[f"a header is longer than {HEADER_BYTES_MAX} bytes and is cut"] = None
            name, value = name[:HEADER_NAME_MAX], value[:HEADER_BYTES_MAX]
        unfolded = value.strip(b" \t\r\n")
        if b"\n" in unfolded or b"\r" in unfolded:
            unfolded = _FOLD.sub(b" ", unfolded)
        known = name.decode("ascii")
        self.fields.append(RawHeader(known, unfolded))
        self._by_name.setdefault(known.lower(), []).append(unfolded)

    def block(self, body_at: int) -> HeaderBlock:
        return HeaderBlock(tuple(self.fields), self._by_name, body_at, tuple(self.defects))


def _line_end(content: bytes, at: int, end: int) -> int:
    found = content.find(b"\n", at, end)
    return end if found < 0 else found + 1


def decode_header(value: bytes, hint: str | None = None) -> str:
    """An unstructured value as text: encoded words decoded; 8-bit bytes are UTF-8, else of the charset `hint`, else guessed."""
    encoded = b"=?" in value
    if not encoded and _PLAIN.fullmatch(value):
        return value.decode("ascii").strip()
    text = _decode_words(value, hint) if encoded else decode_text(value, None, hint)[0]
    return CONTROL.sub("", clean_text(text)).replace("\r", " ").replace("\n", " ").strip()


@dataclass(frozen=True, slots=True)
class _Word:
    """An encoded word (RFC 2047 section 2) before its text is decoded; `end` is where it is over in its field."""

    charset: str
    is_base64: bool
    text: bytes
    end: int

    def joined(self, following: "_Word") -> "_Word | None":
        """One word of two that touch: senders cut characters in two, and some cut the base64 itself."""
        if self.charset != following.charset or self.is_base64 != following.is_base64:
            return None
        if self.is_base64 and (self.text.endswith(b"=") or len(self.text) % 4 == 0):
            return None
        return _Word(self.charset, self.is_base64, self.text + following.text, following.end)

    def content(self) -> bytes:
        if self.is_base64:
            return decode_base64(self.text)[0]
        return a2b_qp(self.text.replace(b" ", b"_"), header=True)


def _decode_words(value: bytes, hint: str | None) -> str:
    """RFC 2047. Words of one charset that touch are joined as bytes: senders cut characters in two."""
    pieces: list[tuple[str | None, bytes]] = []
    at = 0
    waiting: _Word | None = None
    while (begin := value.find(b"=?", at)) >= 0:
        word = _encoded_word(value, begin)
        if word is None:
            _flush(pieces, waiting)
            waiting = None
            _append(pieces, None, value[at : begin + 2])
            at = begin + 2
            continue
        between = value[at:begin]
        if waiting is not None and not between.strip():  # blanks between two words are not part of the text
            joined = waiting.joined(word)
            if joined is None:
                _flush(pieces, waiting)
            waiting = joined or word
        else:
            _flush(pieces, waiting)
            _append(pieces, None, between)
            waiting = word
        at = word.end
    _flush(pieces, waiting)
    _append(pieces, None, value[at:])
    if hint is None and (unknown := _unknown_charsets(pieces)):
        # One guess for all words in charsets that nobody knows: each alone is too short for a good one, and each guess takes a millisecond.
        guess = guess_codec(b" ".join(content for charset, content in pieces if charset in unknown))
        pieces = [
            (guess if charset in unknown and not content.isascii() else charset, content)
            for charset, content in pieces
        ]
    return "".join(decode_text(content, charset, hint)[0] for charset, content in pieces)


def _unknown_charsets(pieces: list[tuple[str | None, bytes]]) -> set[str]:
    """The charsets of at least two words that are no UTF-8 and that no codec is known for."""
    odd = [(charset, content) for charset, content in pieces if charset and not content.isascii()]
    unknown = [(charset, content) for charset, content in odd if charset_codec(charset) is None]
    if len(unknown) < 2 or _is_utf8(b" ".join(content for _, content in unknown)):
        return set()
    return {charset for charset, _ in unknown}


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _flush(pieces: list[tuple[str | None, bytes]], word: _Word | None) -> None:
    if word is not None:
        _append(pieces, word.charset, word.content())


def _append(pieces: list[tuple[str | None, bytes]], charset: str | None, content: bytes) -> None:
    if not content:
        return
    if pieces and pieces[-1][0] == charset:
        pieces[-1] = (charset, pieces[-1][1] + content)
    else:
        pieces.append((charset, content))


_WORD_BEGIN = re.compile(rb"=\?([^?\s]{0,%d})\?[ ]?([bBqQ])[ ]?\?" % ENCODED_CHARSET_MAX)
# Charset of a field's parameter or of an encoded word in it.
_CHARSET = re.compile(
    rb"(?i)charset\s*=\s*\"?([A-Za-z0-9_.:-]{2,40})|=\?([A-Za-z0-9_.:-]{2,40})(?:\*[a-z-]*)?\?[bq]\?"
)


def _encoded_word(value: bytes, begin: int) -> _Word | None:
    """Read `=?charset?B or Q?text?=` at `begin`. One whose end is missing reaches to the next word or to the end."""
    opening = _WORD_BEGIN.match(value, begin)
    if opening is None:
        return None
    text_at = opening.end()
    text_end = value.find(b"?=", text_at)
    following = value.find(b"=?", text_at)
    if 0 <= following < text_end and _WORD_BEGIN.match(value, following):
        text_end = -1
    if text_end >= 0:
        end = text_end + 2
    else:
        end = text_end = len(value) if following < 0 else following
    text = value[text_at:text_end]
    if end == text_end:
        text = text.rstrip(b"? \t")
    charset = opening[1].partition(b"*")[0].decode("ascii", "replace").lower()
    is_base64 = opening[2] in b"bB"
    return _Word(charset, is_base64, text, end)
