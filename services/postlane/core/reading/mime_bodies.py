"""Which parts of a mail are its words and which are attachments, and the words as text, HTML and trimmed reply."""

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote

from postlane.core.events.mail import Disposition
from postlane.core.reading.html_render import render_text
from postlane.core.reading.html_text import (
    HTML_CHARACTERS_MAX,
    HtmlTooDense,
    escape_text,
    sanitize_html,
    strip_tags,
)
from postlane.core.reading.mime_parts import Part
from postlane.core.reading.parsed_mail import ParsedAttachment
from postlane.core.reading.part_reader import PartReader, Piece
from postlane.core.reading.reply_text import trim_reply

_CID = re.compile(r"""\bcid:([^"'\s<>)]{1,250})""", re.IGNORECASE)
_FILE_NUMBER = re.compile(r"(\.[^.]{1,20})?$")
_PGP_MESSAGE = "-----BEGIN PGP MESSAGE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bodies:
    """What read_bodies found."""

    text: str | None
    html: str | None
    sanitized_html: str | None
    reply_text: str | None
    attachments: tuple[ParsedAttachment, ...]
    part_types: tuple[str, ...]
    report_text: str
    defects: tuple[str, ...]


NO_BODIES = Bodies(
    text=None,
    html=None,
    sanitized_html=None,
    reply_text=None,
    attachments=(),
    part_types=(),
    report_text="",
    defects=(),
)


def read_bodies(root: Part) -> Bodies:
    """Sort the parts and put the words together; text is rendered from HTML where a mail has no other."""
    reader = PartReader()
    pieces = reader.read(root)
    html = _html(pieces)
    sanitized = _sanitized(html, reader.defects)
    text = _text(pieces, html, sanitized)
    if text and _PGP_MESSAGE in text:
        reader.defects.append("the text is encrypted (OpenPGP)")
    return Bodies(
        text=text,
        html=html,
        sanitized_html=sanitized,
        reply_text=trim_reply(text) if text else None,
        attachments=_told_apart(_shown(reader.attachments, html)),
        part_types=tuple(reader.part_types),
        report_text="\n".join(reader.report),
        defects=tuple(dict.fromkeys(reader.defects)),
    )


def _text(pieces: list[Piece], html: str | None, sanitized: str | None) -> str | None:
    """The plain words of every piece; HTML without a plain form is rendered."""
    if not pieces:
        return None
    if html is not None and sanitized is not None and all(piece.plain is None for piece in pieces):
        return render_text(sanitized)
    texts: list[str] = []
    left = HTML_CHARACTERS_MAX  # of all pieces together
    for piece in pieces:
        texts.append(piece.plain if piece.plain is not None else _rendered(piece.html or "", left))
        left -= 0 if piece.plain is not None else len(piece.html or "")
    return "\n\n".join(text.strip("\n") for text in texts if text.strip())


def _html(pieces: list[Piece]) -> str | None:
    """One HTML body; plain pieces between HTML ones (list footers, disclaimers) are put in escaped."""
    if not any(piece.html for piece in pieces):
        return None
    return "\n".join(piece.html or escape_text(piece.plain or "") for piece in pieces)


def _sanitized(html: str | None, defects: list[str]) -> str | None:
    if html is None:
        return None
    if len(html) > HTML_CHARACTERS_MAX:
        defects.append(f"HTML longer than {HTML_CHARACTERS_MAX} characters is cut before cleaning")
    try:
        return sanitize_html(html[:HTML_CHARACTERS_MAX])
    except HtmlTooDense as error:
        defects.append(str(error))
        return None


def _rendered(html: str, characters_max: int) -> str:
    if len(html) > characters_max:
        return strip_tags(html[:HTML_CHARACTERS_MAX])
    try:
        return render_text(sanitize_html(html))
    except HtmlTooDense:
        return strip_tags(html)


def _shown(attachments: list[ParsedAttachment], html: str | None) -> list[ParsedAttachment]:
    """What the HTML shows is inline, whatever its part says."""
    if not html or not any(one.content_id for one in attachments):
        return attachments
    shown = {unquote(found[1]) for found in _CID.finditer(html)}
    return [
        replace(one, disposition=Disposition.INLINE) if one.content_id in shown else one
        for one in attachments
    ]


def _told_apart(attachments: list[ParsedAttachment]) -> tuple[ParsedAttachment, ...]:
    """Names that differ, also on file systems that ignore case: `scan.pdf`, `scan (2).pdf`."""
    taken: dict[str, int] = {}
    told: list[ParsedAttachment] = []
    for one in attachments:
        name, number = one.filename, taken.get(one.filename.casefold(), 0)
        while name.casefold() in taken:
            number += 1
            name = _FILE_NUMBER.sub(rf" ({number})\1", one.filename, count=1)
        taken[one.filename.casefold()] = max(number, 1)
        taken.setdefault(name.casefold(), 1)
        told.append(one if name == one.filename else replace(one, filename=name))
    return tuple(told)
