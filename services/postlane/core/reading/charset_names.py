"""Which Python codec a charset name of a mail means: aliases, misspellings and supersets found in the wild."""

import codecs
import re
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import lru_cache

CHARSET_NAME_MAX = 64  # the longest IANA name has 45 characters
ISO2022_JP_MS = (
    "iso2022_jp_ms"  # ISO-2022-JP with vendor characters, which Python has no codec for; see japanese_text
)

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
    "iso2022_jp": ISO2022_JP_MS,
    "iso2022_jp_1": ISO2022_JP_MS,
    "iso2022_jp_ext": ISO2022_JP_MS,
    "utf-8-sig": "utf-8",
}
# Names found in mail that Python's codec registry does not know; compared without blanks, with `-` for `_`.
_ALIASES = {
    "ansi": "cp1252",
    "ansi-x3.110-1983": "cp1252",  # registered for another code, but written by programs that mean Windows'
    "ansi-x3.4": "utf-8",
    "iso-ir-6": "utf-8",
    "x-ansi": "cp1252",
    "windows": "cp1252",
    "west-european": "cp1252",
    "western": "cp1252",
    "latin": "cp1252",
    "x-user-defined": "cp1252",
    "unicode-1-1-utf-7": "utf-7",
    "unicode-2-0-utf-7": "utf-7",
    "x-unicode-2-0-utf-7": "utf-7",
    "unicode-1-1-utf-8": "utf-8",
    "unicode-2-0-utf-8": "utf-8",
    "unicode-utf-8": "utf-8",
    "utf8mb4": "utf-8",
    "utf8mb3": "utf-8",
    "al32utf8": "utf-8",
    "csutf8": "utf-8",
    "iso-10646-ucs-2": "utf-16",
    "iso-10646-ucs-4": "utf-32",
    "ucs-2": "utf-16",
    "ucs2": "utf-16",
    "ucs-4": "utf-32",
    "utf16": "utf-16",
    "unicodefffe": "utf-16-be",
    "gb-2312-80": "gb18030",
    "gb2312-80": "gb18030",
    "gb-18030": "gb18030",
    "gb-2312": "gb18030",
    "gb2312-charset": "gb18030",
    "csgb2312": "gb18030",
    "x-gbk": "gb18030",
    "x-gb2312": "gb18030",
    "cn-gb": "gb18030",
    "x-euc-cn": "gb18030",
    "euc-cn": "gb18030",
    "hz-gb2312": "hz",
    "x-hz-gb-2312": "hz",
    "cn-big5": "big5hkscs",
    "x-big5": "big5hkscs",
    "x-x-big5": "big5hkscs",
    "big5-eten": "big5hkscs",
    "ks-c-5601": "cp949",
    "ks-c-5601-1987": "cp949",
    "ks-c-5601-1989": "cp949",
    "ksc5601": "cp949",
    "ksc-5601": "cp949",
    "korean": "cp949",
    "uhc": "cp949",
    "x-windows-949": "cp949",
    "x-euc-kr": "cp949",
    "x-sjis": "cp932",
    "x-ms-cp932": "cp932",
    "shift-jis": "cp932",
    "shiftjis": "cp932",
    "windows-31j": "cp932",
    "x-euc-jp": "euc_jp",
    "x-euc": "euc_jp",
    "cp51932": "euc_jp",
    "eucjp-ms": "euc_jp",
    "eucjp-win": "euc_jp",
    "iso-2022-jp-ms": ISO2022_JP_MS,
    "cp50220": ISO2022_JP_MS,
    "cp50221": ISO2022_JP_MS,
    "cp50222": ISO2022_JP_MS,
    "jis": ISO2022_JP_MS,
    "x-jis": ISO2022_JP_MS,
    "jis7": ISO2022_JP_MS,
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-8-e": "iso8859-8",
    "iso-8859-6-i": "iso8859-6",
    "iso-8859-6-e": "iso8859-6",
    "logical": "iso8859-8",
    "visual": "iso8859-8",
    "koi8": "koi8-r",
    "koi": "koi8-r",
    "koi8-ru": "koi8-u",
    "cskoi8r": "koi8-r",
    "dos-866": "cp866",
    "dos-874": "cp874",
    "macintosh": "mac_roman",
    "x-mac-roman": "mac_roman",
    "x-mac-ce": "mac_latin2",
    "x-mac-centraleurroman": "mac_latin2",
    "x-mac-cyrillic": "mac_cyrillic",
    "x-mac-ukrainian": "mac_cyrillic",
    "x-mac-greek": "mac_greek",
    "x-mac-turkish": "mac_turkish",
    "x-mac-icelandic": "mac_iceland",
    "x-mac-japanese": "cp932",
    "x-mac-chinesetrad": "big5hkscs",
    "x-mac-chinesesimp": "gb18030",
    "x-mac-korean": "cp949",
}
# Spellings of the families whose numbers are all that counts: `Windows1252`, `cp-850`, `ISO8859_15`, `x-cp1251`.
_ISO_8859 = re.compile(r"(?:x-)?iso-?8859-?(\d{1,2})(?!\d)")
_CODE_PAGE = re.compile(
    r"(?:x-)?(?:windows|win|cp|cs?ibm|dos|ms|ms-?ansi)-?(?:codepage-?|cp-?)?(\d{3,5})(?!\d)"
)
_CODE_PAGES = {
    "936": "gb18030",
    "54936": "gb18030",
    "950": "big5hkscs",
    "65001": "utf-8",
    "20866": "koi8-r",
    "21866": "koi8-u",
}
_UTF_8 = re.compile(r"utf-?8(?![0-9])")
# Registered as text codecs, but no charset of mail; idna and punycode take quadratic time on hostile input.
_NOT_CHARSETS = frozenset(
    {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "mbcs", "oem", "charmap"}
)
# The last ones have no alias.
_PYTHON_NAMES = (
    frozenset(aliases)
    | frozenset(aliases.values())
    | frozenset(
        [
            "cp720",
            "cp737",
            "cp856",
            "cp874",
            "cp875",
            "cp1006",
            "koi8_t",
            "koi8_u",
            "utf_8_sig",
            "mac_arabic",
            "mac_croatian",
            "mac_farsi",
            "mac_romanian",
        ]
    )
)
_NOISE = re.compile(r"[\s\"'<>;,=*]+")


@lru_cache(maxsize=256)
def charset_codec(name: str) -> str | None:
    """The Python codec that a charset name of a mail means; None when it is no charset that we know."""
    if not name or len(name) > CHARSET_NAME_MAX or not name.isascii():
        return None
    wanted = _NOISE.sub("", name.lower().rpartition("charset=")[2]).replace("_", "-")
    return _known(_ALIASES.get(wanted, wanted)) or _known(_by_family(wanted))


def _by_family(wanted: str) -> str:
    if found := _ISO_8859.match(wanted):
        return f"iso8859-{int(found[1])}"
    if found := _CODE_PAGE.match(wanted):
        return _CODE_PAGES.get(found[1], f"cp{found[1]}")
    return "utf-8" if _UTF_8.match(wanted) else ""


def _known(name: str) -> str | None:
    if name == ISO2022_JP_MS:
        return name
    # Python looks for a module of that name, which takes long where there is none.
    if normalize_encoding(name).replace(".", "_").lower() not in _PYTHON_NAMES:
        return None
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError, UnicodeError):
        return None
    if info.name in _NOT_CHARSETS or not info._is_text_encoding:  # noqa: SLF001 - as bytes.decode() itself asks
        return None
    return _MEANT.get(info.name, info.name)
