"""Bytes of unknown honesty into text: transfer encodings, charsets, and characters that events cannot carry.

Nothing here raises for any input; what was wrong comes back as words beside the text.
"""

import binascii
import codecs
import re
from functools import lru_cache

# Supersets that senders mean by the smaller name; without them one character costs the whole text.
_MEANT = {
    "ascii": "utf-8",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "iso2022_jp": "iso2022_jp_ext",
    "utf-8": "utf-8",
}
# Names found in mail that Python's codec registry does not know.
_ALIASES = {
    "unicode-1-1-utf-7": "utf-7",
    "x-unicode-2-0-utf-7": "utf-7",
    "utf8mb4": "utf-8",
    "unicode-1-1-utf-8": "utf-8",
    "x-gbk": "gb18030",
    "cp-850": "cp850",
    "cp-1252": "cp1252",
    "x-cp1252": "cp1252",
    "x-ansi": "cp1252",
    "ansi": "cp1252",
    "windows-874": "cp874",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "x-windows-949": "cp949",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "x-euc-jp": "euc_jp",
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-8-e": "iso8859-8",
    "iso-8859-6-i": "iso8859-6",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
    "x-user-defined": "cp1252",
}
# Registered as text codecs, but no charset of mail; idna and punycode take quadratic time on hostile input.
_NOT_CHARSETS = frozenset(
    {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "mbcs", "oem"}
)
CHARSET_NAME_MAX = 64  # the longest IANA name has 45 characters

_UNFIT = re.compile("[\x00\ud800-\udfff]")  # NUL ends strings in many stores; lone surrogates are not UTF-8
_BASE64_NOISE = re.compile(rb"[^A-Za-z0-9+/]+")


@lru_cache(maxsize=256)
def charset_codec(name: str) -> str | None:
    """The Python codec that a charset name of a mail means; None when it is no charset that we know."""
    wanted = name.strip().strip("\"'").lower()
    if not wanted or len(wanted) > CHARSET_NAME_MAX or not wanted.isascii():
        return None
    try:
        info = codecs.lookup(_ALIASES.get(wanted, wanted))
    except (LookupError, ValueError, UnicodeError):
        return None
    if info.name in _NOT_CHARSETS or not info._is_text_encoding:  # noqa: SLF001 - as bytes.decode() itself asks
        return None
    return _MEANT.get(info.name, info.name)


def decode_text(content: bytes, charset: str | None) -> tuple[str, str | None]:
    """The text and, where the declared charset was missing its mark, one line that says so.

    Order: UTF-8 or UTF-16 by byte order mark; the declared charset; UTF-8; the declared one with marks for what it cannot
    read; Windows-1252, in which every byte means something.
    """
    if content.startswith(codecs.BOM_UTF8):
        return clean_text(content[3:].decode("utf-8", "replace")), None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return clean_text(content.decode("utf-16", "replace")), None
    declared = charset_codec(charset) if charset else None
    unknown = f"charset {charset[:CHARSET_NAME_MAX]!r} is not known" if charset and declared is None else None
    for codec in dict.fromkeys(codec for codec in (declared, "utf-8") if codec):
        text = _decode(content, codec, "strict")
        if text is not None:
            wrong = (
                f"text is not in its declared charset {declared}"
                if declared not in (None, codec)
                else unknown
            )
            return clean_text(text), wrong
    if declared is None or declared == "utf-8":
        # Undeclared 8-bit text is Windows-1252 far more often than anything else.
        text = content.decode("cp1252", "replace")
        return clean_text(text), unknown or "text is not in its declared charset utf-8"
    text = _decode(content, declared, "replace")
    return clean_text(text or content.decode("latin-1")), f"text is not in its declared charset {declared}"


def clean_text(text: str) -> str:
    """Without NULs, with U+FFFD for lone surrogates: what every event, database and UTF-8 encoder can carry."""
    if not _UNFIT.search(text):
        return text
    return _UNFIT.sub(lambda found: "" if found[0] == "\x00" else "\ufffd", text)


def decode_transfer(content: bytes, encoding: str) -> tuple[bytes, str | None]:
    """Undo a Content-Transfer-Encoding (RFC 2045 section 6), as far as it goes; the second part says what was wrong."""
    match encoding.strip().lower():
        case "base64":
            return decode_base64(content)
        case "quoted-printable":
            return binascii.a2b_qp(content), None
        case "x-uuencode" | "uuencode" | "x-uue" | "uue":
            return _decode_uu(content)
        case "" | "7bit" | "8bit" | "binary":
            return content, None
        case _:
            return content, f"transfer encoding {encoding[:40]!r} is not known"


def decode_base64(content: bytes) -> tuple[bytes, str | None]:
    """Base64 as mail has it: line ends, stray bytes, missing padding, several runs one after the other."""
    runs = [_BASE64_NOISE.sub(b"", run) for run in content.split(b"=")]
    decoded: list[bytes] = []
    cut = False
    for run in runs:
        whole = len(run) - (1 if len(run) % 4 == 1 else 0)
        cut = cut or whole != len(run)
        decoded.append(binascii.a2b_base64(run[:whole] + b"=" * (-whole % 4)))
    return b"".join(decoded), "base64 ends within a byte" if cut else None


def _decode(content: bytes, codec: str, errors: str) -> str | None:
    try:
        return content.decode(codec, errors)
    except (UnicodeError, LookupError, ValueError):
        return None


def _decode_uu(content: bytes) -> tuple[bytes, str | None]:
    """Lines between `begin` and `end` (POSIX uuencode); a line that does not decode is left out."""
    lines = iter(content.splitlines())
    if not any(line.startswith(b"begin ") for line in lines):
        return content, "uuencoded part has no begin line"
    decoded: list[bytes] = []
    broken = False
    for line in lines:
        if line.strip() in (b"end", b"`", b""):
            continue
        try:
            decoded.append(binascii.a2b_uu(line))
        except binascii.Error:
            # Encoders disagree on padding: the length character tells how much of the line counts.
            length = (((line[0] - 32) & 63) * 4 + 5) // 3
            try:
                decoded.append(binascii.a2b_uu(line[:length]))
            except binascii.Error:
                broken = True
    return b"".join(decoded), "uuencoded part has broken lines" if broken else None
