"""Which parts of a mail are its words and which are attachments, and the words as text, HTML and trimmed reply."""

from dataclasses import dataclass, field

from postlane.core.events.mail import Disposition
from postlane.core.file_names import safe_file_name
from postlane.core.reading.html_text import (
    HTML_CHARACTERS_MAX,
    HtmlTooDense,
    escape_text,
    render_text,
    sanitize_html,
    strip_tags,
)
from postlane.core.reading.mime_parts import Part
from postlane.core.reading.mime_text import decode_text, decode_transfer
from postlane.core.reading.parsed_mail import ParsedAttachment
from postlane.core.reading.reply_text import trim_reply

BODY_BYTES_MAX = (
    1024 * 1024
)  # of one text part: longer text is a log that belongs into a file; the raw mail has all
REPORT_TYPES = frozenset(
    {
        "message/delivery-status",
        "message/global-delivery-status",
        "message/disposition-notification",
        "message/global-disposition-notification",
        "message/feedback-report",
    }
)
REPORT_BYTES_MAX = 64 * 1024  # a report names a handful of recipients
CONTENT_ID_MAX = 250


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


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of body: the same words as text, as HTML, or both."""

    plain: str | None
    html: str | None


@dataclass(slots=True)
class _Reader:
    """Walks the tree once; its depth is bounded by mime_parts."""

    attachments: list[ParsedAttachment] = field(default_factory=list)
    part_types: list[str] = field(default_factory=list)
    report: list[str] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)

    def pieces(self, part: Part) -> list[_Piece]:
        self.part_types.append(part.content_type.value)
        if part.children:
            match part.content_type.value:
                case "multipart/alternative":
                    return self._alternative(part.children)
                case "multipart/related":
                    return self._related(part.children)
                case _:
                    return [piece for child in part.children for piece in self.pieces(child)]
        if _is_body(part):
            text = self._text(part)
            if part.content_type.value == "text/html":
                return [_Piece(None, text)]
            return [_Piece(text, None)] if text.strip() else []
        self._attach(part)
        return []

    def _alternative(self, children: tuple[Part, ...]) -> list[_Piece]:
        """The same words several times (RFC 2046 section 5.1.4): the last with text and the last with HTML count."""
        plain: str | None = None
        markup: str | None = None
        for child in children:
            found = self.pieces(child)
            plain = _joined([piece.plain for piece in found]) or plain
            markup = _joined([piece.html for piece in found]) or markup
        return [_Piece(plain, markup)] if plain or markup else []

    def _related(self, children: tuple[Part, ...]) -> list[_Piece]:
        """The root comes first (RFC 2387); the others are what it shows, unless they are plain words without a name."""
        found = self.pieces(children[0])
        for child in children[1:]:
            if child.headers.first("content-id") and not child.children:
                self.part_types.append(child.content_type.value)
                self._attach(child)
            else:
                found.extend(self.pieces(child))
        return found

    def _text(self, part: Part) -> str:
        content, wrong = decode_transfer(part.body, part.transfer_encoding)
        self._note(wrong)
        if len(content) > BODY_BYTES_MAX:
            self._note(f"a body longer than {BODY_BYTES_MAX} bytes is cut")
            content = content[: max(content.rfind(b"\n", 0, BODY_BYTES_MAX), BODY_BYTES_MAX // 2)]
        text, wrong = decode_text(content, part.content_type.parameters.get("charset"))
        self._note(wrong)
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _attach(self, part: Part) -> None:
        content, wrong = decode_transfer(part.body, part.transfer_encoding)
        self._note(wrong)
        kind = part.content_type.value
        if kind in REPORT_TYPES:
            self.report.append(decode_text(content[:REPORT_BYTES_MAX], None)[0])
        inline = part.disposition.value == "inline" or (
            bool(part.headers.first("content-id")) and kind.startswith("image/")
        )
        content_id = part.headers.first("content-id").decode("ascii", "replace").strip("<> \t")
        self.attachments.append(
            ParsedAttachment(
                filename=safe_file_name(part.filename, kind, len(self.attachments) + 1),
                content_type=kind,
                disposition=Disposition.INLINE if inline else Disposition.ATTACHMENT,
                content=content,
                content_id=content_id[:CONTENT_ID_MAX] or None,
            )
        )

    def _note(self, defect: str | None) -> None:
        if defect:
            self.defects.append(defect)


def read_bodies(root: Part) -> Bodies:
    """Sort the parts and put the words together; text is rendered from HTML where a mail has no other."""
    reader = _Reader()
    pieces = reader.pieces(root)
    html = _html(pieces)
    sanitized = _sanitized(html, reader.defects)
    texts = [piece.plain if piece.plain is not None else _rendered(piece.html or "") for piece in pieces]
    text = "\n\n".join(text.strip("\n") for text in texts if text.strip()) if pieces else None
    return Bodies(
        text=text,
        html=html,
        sanitized_html=sanitized,
        reply_text=trim_reply(text) if text else None,
        attachments=tuple(reader.attachments),
        part_types=tuple(reader.part_types),
        report_text="\n".join(reader.report),
        defects=tuple(dict.fromkeys(reader.defects)),
    )


def _is_body(part: Part) -> bool:
    if part.content_type.value not in ("text/plain", "text/html"):
        return False
    return part.disposition.value != "attachment" and part.filename is None


def _joined(texts: list[str | None]) -> str | None:
    present = [text for text in texts if text is not None]
    return "\n".join(present) if present else None


def _html(pieces: list[_Piece]) -> str | None:
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


def _rendered(html: str) -> str:
    try:
        return render_text(sanitize_html(html[:HTML_CHARACTERS_MAX]))
    except HtmlTooDense:
        return strip_tags(html[:HTML_CHARACTERS_MAX])
