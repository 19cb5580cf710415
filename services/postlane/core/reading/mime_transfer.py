"""Content-Transfer-Encodings undone (RFC 2045 section 6), as far as broken ones go; nothing here raises."""

import binascii
import re
from functools import lru_cache

from postlane.core.reading.embedded_files import decode_uu

# Spellings of the transfer encodings without blanks, `-` and `_`; several senders write a charset or nothing there.
_NO_ENCODING = frozenset(
    {
        "",
        "7bit",
        "8bit",
        "binary",
        "7bits",
        "8bits",
        "7",
        "8",
        "bit",
        "plain",
        "none",
        "text",
        "text/plain",
        "utf8",
        "unknown8bit",
        "ascii",
    }
)
_PADDING = re.compile("[-_ ]")


def decode_transfer(content: bytes, encoding: str) -> tuple[bytes, str | None]:
    """Undo a Content-Transfer-Encoding (RFC 2045 section 6), as far as it goes; the second part says what was wrong."""
    match _spelled(encoding):
        case "base64" | "b64" | "b":
            return decode_base64(content)
        case "quotedprintable" | "qp" | "q" | "quoted":
            return decode_quoted_printable(content), None
        case "xuuencode" | "uuencode" | "xuue" | "uue":
            return decode_uu(content)
        case name if name in _NO_ENCODING:
            return content, None
        case _:
            return content, f"transfer encoding {encoding[:40]!r} is not known"


@lru_cache(maxsize=64)
def _spelled(encoding: str) -> str:
    return _PADDING.sub("", encoding.lower())


_BLANKS_AFTER_SOFT_BREAK = re.compile(rb"=[ \t]+(?=\r?\n)")


def decode_quoted_printable(content: bytes) -> bytes:
    """Quoted-printable (RFC 2045 section 6.7), also where a gateway put blanks after a soft line break."""
    if b"= " in content or b"=\t" in content:
        content = _BLANKS_AFTER_SOFT_BREAK.sub(b"=", content)
    return binascii.a2b_qp(content)


_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_NO_DIGIT = bytes(byte for byte in range(256) if byte not in _BASE64)
_EXPECTED = bytes(_BASE64) + b"= \t\r\n"
SMALL_LETTERS_MIN = 30  # fewer may be base64 by accident
_SMALL = b"abcdefghijklmnopqrstuvwxyz "  # of base64 less than half are
_LINE_SAMPLE = 2000
RUNS_MAX = 10_000  # of base64 that ends and begins again
BLANK_LINES_MAX = 100_000  # lines with blanks, which might be words


def decode_base64(content: bytes) -> tuple[bytes, str | None]:
    """Base64 as mail has it: line ends, stray bytes, missing padding, several runs one after the other, a footer below."""
    try:
        return binascii.a2b_base64(content.replace(b"\r", b"").replace(b"\n", b""), strict_mode=True), None
    except binascii.Error:
        return _decode_broken_base64(content)


def _decode_broken_base64(content: bytes) -> tuple[bytes, str | None]:
    wrong: str | None = None
    if b" " in content or content.translate(None, _EXPECTED):
        end = _plain_from(content)
        if end is not None and not content[:end].strip():
            return content, "text is not in base64 as it says"
        if end is not None:
            content, wrong = content[:end], "text below the base64 is left out"  # as list servers add it
    decoded: list[bytes] = []
    for run in filter(None, content.split(b"=", RUNS_MAX)):
        digits = run.translate(None, _NO_DIGIT)
        if len(digits) % 4 == 1:
            wrong, digits = "base64 ends within a byte", digits[:-1]
        if digits:
            decoded.append(binascii.a2b_base64(digits + b"=" * (-len(digits) % 4)))
    return b"".join(decoded), wrong


def _plain_from(content: bytes) -> int | None:
    """Where the first line begins that is words and no base64."""
    end = 0
    for _ in range(BLANK_LINES_MAX):
        blank = content.find(b" ", end)
        if blank < 0:
            return None
        begin = content.rfind(b"\n", end, blank) + 1 or end
        end = content.find(b"\n", blank) + 1 or len(content)
        if _is_plain(content[begin : min(end, begin + _LINE_SAMPLE)].rstrip(b"\n")):
            return begin
    return None


def _is_plain(line: bytes) -> bool:
    """As many blanks as between words, and punctuation, or hardly anything but small letters."""
    if not line.strip().count(b" ") * 20 > len(line) > 10:
        return False
    if len(line) > SMALL_LETTERS_MIN and len(line.translate(None, _SMALL)) * 4 < len(line):
        return True
    return len(line.translate(None, _EXPECTED)) * 100 > len(line)
