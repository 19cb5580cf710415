"""The words of one text part: charset, markup of old, flowed lines, and a bound on how many."""

import re

from postlane.core.reading.charset_names import charset_codec
from postlane.core.reading.flowed_text import join_flowed
from postlane.core.reading.html_text import HTML_CHARACTERS_MAX
from postlane.core.reading.mime_parts import Part
from postlane.core.reading.mime_text import decode_text, unix_lines

# Of one text part: longer text is a log that belongs into a file; the raw mail has all of it.
BODY_BYTES_MAX = 1024 * 1024
RICH_FORMS = frozenset({"text/enriched", "text/richtext"})

_MARKUP = re.compile(r"<<|</?[A-Za-z][^<>]{0,100}>")
_META_CHARSET = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.IGNORECASE
)
_META_BYTES = 4096  # HTML5 asks for it within the first 1,024
_DATA_ADDRESS = re.compile(
    rb"data:[a-z]{1,20}/[a-z0-9.+-]{1,40};base64,[A-Za-z0-9+/=\s]{1000,}+", re.IGNORECASE
)


def read_words(part: Part, content: bytes) -> tuple[str, list[str]]:
    """The text of a part whose content is decoded from its transfer encoding, and what was wrong with it."""
    kind, parameters = part.content_type.value, part.content_type.parameters
    defects: list[str] = []
    if kind == "text/html" and len(content) > HTML_CHARACTERS_MAX:
        content = _DATA_ADDRESS.sub(b"data:,", content)  # pictures that would push the words out
    if len(content) > BODY_BYTES_MAX:
        defects.append(f"a body longer than {BODY_BYTES_MAX} bytes is cut")
        content = content[: max(content.rfind(b"\n", 0, BODY_BYTES_MAX), BODY_BYTES_MAX // 2)]
    charset = parameters.get("charset")
    text, wrong = decode_text(
        content, charset, _meta_charset(content, charset) if kind == "text/html" else None
    )
    if wrong:
        defects.append(wrong)
    text = unix_lines(text)
    if kind in RICH_FORMS:
        text = _MARKUP.sub(lambda found: "<" if found[0] == "<<" else "", text)
    elif kind == "text/plain" and parameters.get("format", "").lower() == "flowed":
        text = join_flowed(text, del_sp=parameters.get("delsp", "").lower() == "yes")
    return text, defects


def _meta_charset(content: bytes, charset: str | None) -> str | None:
    """What the HTML says of itself, where its part says nothing that is known."""
    if charset and charset_codec(charset):
        return None
    found = _META_CHARSET.search(content, 0, _META_BYTES)
    return found[1].decode("ascii") if found else None
