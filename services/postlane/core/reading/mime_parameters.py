"""Values with parameters, such as Content-Type (RFC 2045 section 5.1), long and non-ASCII ones included (RFC 2231); never raises."""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from postlane.core.reading.charset_names import charset_codec
from postlane.core.reading.mime_headers import CONTROL, decode_header
from postlane.core.reading.mime_text import decode_text

VALUE_BYTES_MAX = 8 * 1024  # of all parameters; the longest file name that a disk takes needs a quarter
NAME_BYTES_MAX = 2 * 1024  # of one plain value
PARAMETERS_MAX = 100  # RFC 2231 splits a file name into a few dozen sections at most
REPEATED_BYTES_MAX = 200  # what many mails have alike, `text/plain; charset="utf-8"` say, is short


_EXTENDED = re.compile(rb"([A-Za-z0-9_.-]{3,40})'[A-Za-z-]{0,20}'.*", re.DOTALL)
_RUN_ON = re.compile(rb'^\s*"[^"]*"\s+([A-Za-z-]{2,20})\s*=\s*("[^"]*"|[^\s;]+)')


@dataclass(frozen=True, slots=True)
class Parameterized:
    """A value with parameters, such as Content-Type: `value` in lower case, parameter names in lower case."""

    value: str
    parameters: dict[str, str]


def parse_parameters(value: bytes) -> Parameterized:
    """Content-Type, Content-Disposition and the like. Unquoted values may hold blanks, as senders write them."""
    return _parse_repeated(value) if len(value) <= REPEATED_BYTES_MAX else _parse(value[:VALUE_BYTES_MAX])


def _parse(value: bytes) -> Parameterized:
    head, *sections = _split_unquoted(value)
    main, _, rest = head.strip().partition(b" ")
    if b"=" in rest:
        sections.insert(0, rest)  # the semicolon after the type is missing
    plain: dict[str, bytes] = {}
    for section in sections[:PARAMETERS_MAX]:
        name, equals, content = section.partition(b"=")
        key = name.strip().lower().decode("ascii", "replace")
        if equals and key and key not in plain:
            plain[key] = _unquote(content if b"=?" in content else content.lstrip(b"= "))
            if b'"' in content and (run_on := _RUN_ON.match(content)):  # as is the one after a quoted value
                plain.setdefault(run_on[1].lower().decode("ascii"), _unquote(run_on[2]))
    return Parameterized(main.lower().decode("ascii", "replace"), _merge_sections(plain))


_parse_repeated = lru_cache(maxsize=512)(_parse)


def _merge_sections(plain: dict[str, bytes]) -> dict[str, str]:
    """RFC 2231: `name*`, `name*0`, `name*1*` ... become `name`; the extended form wins over the plain one."""
    merged = {key: _plain_value(content) for key, content in plain.items() if "*" not in key}
    numbered: dict[str, list[tuple[int, bytes, bool]]] = {}
    for key, content in plain.items():
        base, star, section = key.partition("*")
        if not star or not base:
            continue
        number = section.rstrip("*") or "0"
        if number.isascii() and number.isdigit():
            numbered.setdefault(base, []).append((int(number[:6]), content, key.endswith("*")))
    for base, sections in numbered.items():
        # A missing section leaves a gap in a name, which is better than no name.
        ordered = sorted(sections, key=lambda section: section[0])
        merged[base] = _extended([(content, encoded) for _, content, encoded in ordered]) or merged.get(
            base, ""
        )
    return merged


def _plain_value(content: bytes) -> str:
    """A parameter without a star; some senders write the extended form into it all the same."""
    if (
        b"%" in content
        and (found := _EXTENDED.fullmatch(content))
        and charset_codec(found[1].decode("ascii"))
    ):
        return _extended([(content, True)])
    return decode_header(content[:NAME_BYTES_MAX])


def _extended(pieces: list[tuple[bytes, bool]]) -> str:
    """`charset'language'percent-encoded` with its continuations (RFC 2231 section 4.1)."""
    first, first_encoded = pieces[0]
    charset: str | None = None
    if first_encoded and first.count(b"'") >= 2:
        name, _, first = first.split(b"'", 2)
        charset = name.decode("ascii", "replace") or None
    contents = [(first, first_encoded), *pieces[1:]]
    joined = b"".join(unquote_to_bytes(content) if encoded else content for content, encoded in contents)
    if charset is None and b"=?" in joined:
        return decode_header(joined)  # encoded words inside sections: against the RFC, and common
    known = charset if charset and charset_codec(charset) else None
    return CONTROL.sub("", decode_text(joined, known)[0])


_SECTION = re.compile(rb'(?:[^";]++|"(?:[^"\\]++|\\.)*+(?:"|\\?\Z))*+', re.DOTALL)


def _split_unquoted(value: bytes) -> list[bytes]:
    """Split at the semicolons that stand outside quoted strings; an unclosed quote ends with the value."""
    if value.count(b'"') < 2:
        return value.split(b";")
    parts: list[bytes] = []
    begin = 0
    while len(parts) <= PARAMETERS_MAX and (found := _SECTION.match(value, begin)):
        if found.end() == len(value):
            break
        parts.append(found[0])
        begin = found.end() + 1
    parts.append(value[begin:])
    return parts


_TRAILING_COMMENT = re.compile(rb"\s+\([^()]*\)$")
_QUOTED_PAIR = re.compile(rb"\\([\\\"])")


def _unquote(content: bytes) -> bytes:
    content = content.strip()
    if not content.startswith(b'"'):
        return _TRAILING_COMMENT.sub(b"", content) if content.endswith(b")") else content
    closing = content.rfind(b'"')
    inner = content[1:closing] if closing > 0 else content[1:]
    if content.count(b'"') > 2 and _RUN_ON.match(content):
        inner = content[1 : content.index(b'"', 1)]
    return _QUOTED_PAIR.sub(rb"\1", inner) if b"\\" in inner else inner
