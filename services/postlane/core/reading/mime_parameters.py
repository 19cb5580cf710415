"""Values with parameters, such as Content-Type (RFC 2045 section 5.1), long and non-ASCII ones included (RFC 2231); never raises."""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from postlane.core.reading.mime_headers import CONTROL, decode_header
from postlane.core.reading.mime_text import charset_codec, decode_text

PARAMETERS_MAX = 100  # RFC 2231 splits a file name into a few dozen sections at most


@dataclass(frozen=True, slots=True)
class Parameterized:
    """A value with parameters, such as Content-Type: `value` in lower case, parameter names in lower case."""

    value: str
    parameters: dict[str, str]


def parse_parameters(value: bytes) -> Parameterized:
    """Content-Type, Content-Disposition and the like. Unquoted values may hold blanks, as senders write them."""
    head, *sections = _split_unquoted(value, ord(";"))
    plain: dict[str, bytes] = {}
    for section in sections[:PARAMETERS_MAX]:
        name, equals, content = section.partition(b"=")
        key = name.strip().lower().decode("ascii", "replace")
        if equals and key and key not in plain:
            plain[key] = _unquote(content)
    main = head.strip().split(b" ")[0].lower().decode("ascii", "replace")
    return Parameterized(main, _merge_sections(plain))


def _merge_sections(plain: dict[str, bytes]) -> dict[str, str]:
    """RFC 2231: `name*`, `name*0`, `name*1*` ... become `name`; the extended form wins over the plain one."""
    merged = {key: decode_header(content) for key, content in plain.items() if "*" not in key}
    for base in dict.fromkeys(key.partition("*")[0] for key in plain if "*" in key):
        if f"{base}*" in plain:
            merged[base] = _extended([(plain[f"{base}*"], True)])
            continue
        pieces: list[tuple[bytes, bool]] = []
        for index in range(PARAMETERS_MAX):
            for key, encoded in ((f"{base}*{index}*", True), (f"{base}*{index}", False)):
                if key in plain:
                    pieces.append((plain[key], encoded))
                    break
            else:
                break
        if pieces:
            merged[base] = _extended(pieces)
    return merged


def _extended(pieces: list[tuple[bytes, bool]]) -> str:
    """`charset'language'percent-encoded` with its continuations (RFC 2231 section 4.1)."""
    first, first_encoded = pieces[0]
    charset: str | None = None
    if first_encoded and first.count(b"'") >= 2:
        name, _, first = first.split(b"'", 2)
        charset = name.decode("ascii", "replace") or None
    contents = [(first, first_encoded), *pieces[1:]]
    joined = b"".join(unquote_to_bytes(content) if encoded else content for content, encoded in contents)
    if charset is None and not first_encoded:
        return decode_header(joined)  # encoded words inside sections: against the RFC, and common
    known = charset if charset and charset_codec(charset) else None
    return CONTROL.sub("", decode_text(joined, known)[0])


def _split_unquoted(value: bytes, separator: int) -> list[bytes]:
    """Split at a separator that stands outside quoted strings; an unclosed quote ends with the value."""
    if value.count(b'"') < 2:
        return value.split(bytes([separator]))
    parts: list[bytes] = []
    begin = 0
    quoted = escaped = False
    for at, byte in enumerate(value):
        if escaped:
            escaped = False
        elif quoted and byte == 0x5C:
            escaped = True
        elif byte == 0x22:
            quoted = not quoted
        elif byte == separator and not quoted:
            parts.append(value[begin:at])
            begin = at + 1
            if len(parts) > PARAMETERS_MAX:
                break
    parts.append(value[begin:])
    return parts


def _unquote(content: bytes) -> bytes:
    content = content.strip()
    if not content.startswith(b'"'):
        return content
    closing = content.rfind(b'"')
    inner = content[1:closing] if closing > 0 else content[1:]
    return re.sub(rb"\\([\\\"])", rb"\1", inner)
