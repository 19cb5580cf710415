"""Bytes of unknown honesty into text: charsets, and characters that events cannot carry.

Nothing here raises for any input; what was wrong comes back as words beside the text.
"""

import codecs
import re

from postlane.core.reading.charset_guess import escaped_codec, guess_codec, sixteen_bit_codec
from postlane.core.reading.charset_names import CHARSET_NAME_MAX, ISO2022_JP_MS, charset_codec
from postlane.core.reading.japanese_text import decode_iso2022_jp

_UNFIT = re.compile("[\x00\ud800-\udfff]")  # NUL ends strings in many stores; lone surrogates are not UTF-8
_C1_BYTE = re.compile(rb"[\x80-\x9f]")
_WINDOWS_LETTER_MIN = 0xA0
# What senders write who call Windows' charset by the ISO name of nearly the same letters; bytes 80-9F tell.
_WINDOWS_SIBLING = {
    "iso8859-2": "cp1250",
    "iso8859-4": "cp1257",
    "iso8859-5": "cp1251",
    "iso8859-6": "cp1256",
    "iso8859-7": "cp1253",
    "iso8859-8": "cp1255",
    "iso8859-13": "cp1257",
    "iso8859-15": "cp1252",
}
# Their letters stand at A0-FF, so that text of theirs is never UTF-8 by accident. DOS code pages are not among them.
_LETTERS_ABOVE_A0 = re.compile(r"cp125\d|iso8859-\d+|koi8-[ru]|cp874")
_EAST_ASIAN = frozenset({"gb18030", "big5hkscs", "cp932", "cp949", "euc_jp"})
_THREE_BYTES = re.compile(rb"[\xe0-\xef][\x80-\xbf]{2}")
_UTF_16_OR_32 = re.compile(r"utf-(?:16|32)(?:-[lb]e)?")


def decode_text(content: bytes, charset: str | None, hint: str | None = None) -> tuple[str, str | None]:
    """The text and, where the declared charset was missing its mark, one line that says so.

    Order: ASCII; byte order marks; the declared charset, unless the bytes plainly are UTF-8; UTF-8; ISO 2022 escapes and UTF-16 by
    their marks; `hint`, a charset that speaks for text near by; a guess by frequency of letters.
    """
    declared = charset_codec(charset) if charset else None
    unknown = f"charset {charset[:CHARSET_NAME_MAX]!r} is not known" if charset and declared is None else None
    if declared in (None, "utf-8") and (ordinary := _decode_ordinary(content)) is not None:
        return ordinary, unknown
    text, wrong = (
        _decode_marked(content)
        or _decode_declared(content, declared)
        or _decode_undeclared(content, declared, hint)
    )
    return clean_text(text), wrong or unknown


def _decode_ordinary(content: bytes) -> str | None:
    """ASCII and UTF-8 without a mark of anything else: nearly all mail, and nothing in it needs cleaning."""
    if b"\x00" in content or b"\x1b" in content or content.startswith(codecs.BOM_UTF8):
        return None
    return _decode(content, "utf-8", "strict")


def _decode_marked(content: bytes) -> tuple[str, str | None] | None:
    """By byte order mark."""
    if content.startswith(codecs.BOM_UTF8):
        return _decode_utf8(content[3:]), None
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return content.decode("utf-32", "replace"), None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace"), None
    return None


def _decode_declared(content: bytes, declared: str | None) -> tuple[str, str | None] | None:
    """By the declared charset, where the bytes do not contradict it."""
    if declared is None:
        return None
    if declared == ISO2022_JP_MS:
        japanese, whole = decode_iso2022_jp(content)
        return (japanese, None) if whole else None
    if _UTF_16_OR_32.fullmatch(declared):
        if not content.count(b"\x00"):
            return None  # not even one ASCII character or line end: the name is wrong
        declared = sixteen_bit_codec(content) or ("utf-16-be" if declared == "utf-16" else declared)
    elif declared != "utf-8" and _is_rather_utf8(content, declared):
        return content.decode("utf-8"), f"text is not in its declared charset {declared}"
    elif (sibling := _WINDOWS_SIBLING.get(declared)) and _C1_BYTE.search(content):
        declared = sibling
    text = _decode(content, declared, "strict")
    if text is None or (declared == "utf-8" and b"\x1b" in content and escaped_codec(content)):
        return None
    return text, None


def _decode_undeclared(content: bytes, declared: str | None, hint: str | None) -> tuple[str, str | None]:
    """By what the bytes look like; the declared charset, which failed, still says how to read what is no text at all."""
    wrong = f"text is not in its declared charset {declared}" if declared else None
    text = _decode_by_marks(content)
    if text is None:
        text = _decode_mostly_utf8(content, declared)
    if (
        text is None
        and declared not in (None, "utf-8", ISO2022_JP_MS)
        and not _UTF_16_OR_32.fullmatch(declared)
    ):
        text = content.decode(declared, "replace")
    if text is None and (hinted := charset_codec(hint) if hint else None) and hinted != "utf-8":
        text = _decode(content, hinted, "strict")
    return content.decode(guess_codec(content), "replace") if text is None else text, wrong


def _decode_by_marks(content: bytes) -> str | None:
    """ISO 2022 by its escape sequences, UTF-16 by its zero bytes."""
    if escaped := escaped_codec(content):
        return (
            decode_iso2022_jp(content)[0] if escaped == ISO2022_JP_MS else content.decode(escaped, "replace")
        )
    codec = sixteen_bit_codec(content)
    return content.decode(codec, "replace") if codec else None


def _is_rather_utf8(content: bytes, declared: str) -> bool:
    """Whether bytes that are declared otherwise are UTF-8 all the same: its patterns do not come about by accident."""
    if content.isascii() or _decode(content, "utf-8", "strict") is None:
        return False
    if _LETTERS_ABOVE_A0.fullmatch(declared):
        return True
    return (
        declared in _EAST_ASIAN
        and len(_THREE_BYTES.findall(content[:4096])) >= 2
        and not _is_plain_euc(content)
    )


def _is_plain_euc(content: bytes) -> bool:
    """Only bytes of the plain double-byte sets (A1-FE): Chinese or Korean that only by accident is UTF-8 as well."""
    return not _C1_BYTE.search(content) and _decode(content, "gb2312", "strict") is not None


def _decode_mostly_utf8(content: bytes, declared: str | None) -> str | None:
    """UTF-8 with some foreign bytes, as when a list server adds a footer or a gateway cuts text; None when it is not that."""
    text = _decode(content, "utf-8", "strict")
    if text is not None:
        return text
    marked = content.decode("utf-8", "replace")
    broken = marked.count("\ufffd")
    high = sum(1 for character in marked[:20_000] if character > "\x7f")
    if broken * 2 < high or (declared == "utf-8" and broken * 50 < len(marked) and high > broken):
        return _decode_utf8(content)
    return None


def _decode_utf8(content: bytes) -> str:
    return content.decode("utf-8", "postlane-windows")


def _windows_letter(error: UnicodeError) -> tuple[str, int]:
    """One stray byte in UTF-8 text is a letter of Windows-1252; a sequence that was cut is U+FFFD."""
    assert isinstance(error, UnicodeDecodeError)
    stray = error.object[error.start : error.end]
    if len(stray) == 1 and stray[0] >= _WINDOWS_LETTER_MIN and error.end < len(error.object):
        return stray.decode("cp1252"), error.end
    return "\ufffd", error.end


codecs.register_error("postlane-windows", _windows_letter)


_LONE_CR = re.compile(r"\r(?!\n)")
_ODD_LINE_END = re.compile(r"\r+\n?")


def unix_lines(text: str) -> str:
    """Lines that end in LF, whether they ended in CRLF, CR, or the CRCRLF of gateways that convert twice."""
    if "\r" not in text:
        return text
    if _LONE_CR.search(text):
        return _ODD_LINE_END.sub("\n", text.replace("\r\n", "\n"))
    return text.replace("\r", "")


def clean_text(text: str) -> str:
    """Without NULs, with U+FFFD for lone surrogates: what every event, database and UTF-8 encoder can carry."""
    if "\x00" not in text and (text.isascii() or _is_encodable(text)):
        return text
    return _UNFIT.sub(lambda found: "" if found[0] == "\x00" else "\ufffd", text)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _decode(content: bytes, codec: str, errors: str) -> str | None:
    try:
        return content.decode(codec, errors)
    except (UnicodeError, LookupError, ValueError):
        return None
