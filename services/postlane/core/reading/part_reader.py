"""The leaves of a mail's tree, decoded: pieces of its words, and its attachments."""

import re
from dataclasses import dataclass, field

from postlane.core.events.mail import Disposition
from postlane.core.file_names import safe_file_name
from postlane.core.reading.calendar_text import calendar_text
from postlane.core.reading.embedded_files import take_files
from postlane.core.reading.mime_headers import decode_header
from postlane.core.reading.mime_parts import SMIME_TYPES, Part
from postlane.core.reading.mime_text import clean_text, decode_text, unix_lines
from postlane.core.reading.mime_transfer import decode_transfer
from postlane.core.reading.parsed_mail import ParsedAttachment
from postlane.core.reading.signed_content import is_enveloped
from postlane.core.reading.text_part import BODY_BYTES_MAX, RICH_FORMS, read_words
from postlane.core.reading.tnef import TNEF_NAME, TNEF_TYPES, TnefBudget, TnefMail, read_tnef

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
REPORTS_MAX = 5  # of one mail
CALENDARS_MAX = 5
CONTENT_ID_MAX = 250
SUBJECT_WITHIN_BYTES = 32 * 1024  # of an attached message's headers
NAMELESS_PREAMBLE_MAX = 120  # `This is a multi-part message in MIME format.` and its like

_OF_PROGRAMS = re.compile(rb"\bin MIME format|\bMIME[- ](?:aware|compliant)", re.IGNORECASE)
BODY_TYPES = frozenset({"text/plain", "text/html", "text/enriched", "text/richtext", "text/markdown"})
# Other forms of the words for programs that know them, always beside a form that everybody reads.
_SECOND_FORMS = frozenset({"text/x-amp-html", "text/watch-html"})
_SUBJECT = re.compile(
    rb"^subject[ \t]*:([^\n]{0,1000}(?:\n[ \t][^\n]{0,1000}){0,20})", re.IGNORECASE | re.MULTILINE
)
_BLANK_LINE = re.compile(rb"\n\r?\n")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of body: the same words as text, as HTML, or both."""

    plain: str | None
    html: str | None


@dataclass(slots=True)
class PartReader:
    """Walks a tree once; its depth is bounded by mime_parts."""

    attachments: list[ParsedAttachment] = field(default_factory=list)
    part_types: list[str] = field(default_factory=list)
    report: list[str] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)
    _calendars: list[str] = field(default_factory=list)
    _containers: list[TnefMail] = field(default_factory=list)
    _budget: TnefBudget = field(default_factory=TnefBudget)
    _words_found: bool = False

    def read(self, root: Part) -> list[Piece]:
        """The pieces of the words in order; where the mail has none, those of a container, an invitation or a preamble."""
        pieces = self._pieces(root)
        for container in self._containers:
            pieces = _with_container(pieces, container)
        if (
            not pieces
            and root.content_type.value in BODY_TYPES
            and self.attachments
            and not self._words_found
        ):
            return [Piece(self._text(root), None)]  # the mail is nothing but one named file of words
        if not pieces and self._calendars:
            return [Piece("\n\n".join(self._calendars), None)]
        if (
            not pieces
            and len(root.preamble) > NAMELESS_PREAMBLE_MAX
            and not _OF_PROGRAMS.search(root.preamble[:NAMELESS_PREAMBLE_MAX])
        ):
            self.defects.append("the only text stands before the first part")
            return [Piece(unix_lines(decode_text(root.preamble, None)[0]).strip(), None)]
        return pieces

    def _pieces(self, part: Part) -> list[Piece]:
        kind = part.content_type.value
        self.part_types.append(kind)
        if part.children:
            if kind == "multipart/alternative":
                return self._alternative(part.children)
            if kind == "multipart/related":
                return self._related(part.children)
            return [piece for child in part.children for piece in self._pieces(child)]
        if not self._is_body(part):
            self._attach(part)
            return []
        self._words_found = True
        text = self._text(part)
        if kind == "text/html":
            return [Piece(None, text)] if text.strip() else []
        return [Piece(text, None)] if text.strip() else []

    def _alternative(self, children: tuple[Part, ...]) -> list[Piece]:
        """The same words several times (RFC 2046 section 5.1.4): the last with text and the last with HTML count."""
        plain: str | None = None
        rich: str | None = None  # plain words taken from another form
        markup: str | None = None
        words_found = self._words_found
        for child in children:
            if child.content_type.value in _SECOND_FORMS:
                self.part_types.append(child.content_type.value)
                continue
            self._words_found = False  # a named form is a form all the same
            found = self._pieces(child)
            words = _joined([piece.plain for piece in found])
            if child.content_type.value in RICH_FORMS:
                rich = words or rich
            elif child.content_type.value == "text/plain" and words and plain:
                plain = _together(plain, words)
            else:
                plain = words or plain
            markup = _joined([piece.html for piece in found]) or markup
        plain = plain or rich
        self._words_found = words_found or bool(plain or markup)
        return [Piece(plain, markup)] if plain or markup else []

    def _related(self, children: tuple[Part, ...]) -> list[Piece]:
        """The root comes first (RFC 2387); the others are what it shows, unless they are plain words without a name."""
        found = self._pieces(children[0])
        for child in children[1:]:
            if child.headers.first("content-id") and not child.children and found:
                self.part_types.append(child.content_type.value)
                self._attach(child)
            else:
                found.extend(self._pieces(child))
        return found

    def _is_body(self, part: Part) -> bool:
        """Words without a file name, or with one where a mail program had to name its only words."""
        if part.content_type.value not in BODY_TYPES:
            return False
        if part.disposition.value == "attachment":
            return part.filename is None and not self._words_found
        return part.filename is None or not self._words_found

    def _text(self, part: Part) -> str:
        content, wrong = decode_transfer(part.body, part.transfer_encoding)
        self._note(wrong)
        if part.content_type.value != "text/html":
            content = self._without_files(content)
        text, defects = read_words(part, content)
        self.defects += defects
        return text

    def _without_files(self, content: bytes) -> bytes:
        text, files = take_files(content)
        for file in files:
            self._note(f"the text holds a file in {file.encoding}")
            self._add(decode_header(file.name), "application/octet-stream", file.content)
        return text

    def _attach(self, part: Part) -> None:
        content, wrong = decode_transfer(part.body, part.transfer_encoding)
        self._note(wrong)
        kind = part.content_type.value
        if kind in TNEF_TYPES or (part.filename or "").lower() == TNEF_NAME:
            container = read_tnef(content, self._budget)
            if container is not None and self._unpack(container):
                return
        self._remark(part, kind, content)
        name = part.filename
        if name is None and kind == "message/rfc822":
            name = _subject_name(content)
        content_id = decode_header(part.headers.first("content-id")[: 2 * CONTENT_ID_MAX]).strip("<> \t")
        inline = part.disposition.value == "inline" or (
            bool(content_id) and kind.startswith("image/") and part.disposition.value != "attachment"
        )
        self._add(name, kind, content, content_id[:CONTENT_ID_MAX] or None, inline=inline)

    def _remark(self, part: Part, kind: str, content: bytes) -> None:
        """What a part means for the whole mail."""
        if kind in REPORT_TYPES and len(self.report) < REPORTS_MAX:
            self.report.append(decode_text(content[:REPORT_BYTES_MAX], None)[0])
        elif kind in ("text/calendar", "application/ics") and len(self._calendars) < CALENDARS_MAX:
            calendar, _ = decode_text(content[:BODY_BYTES_MAX], part.content_type.parameters.get("charset"))
            if told := calendar_text(calendar):
                self._calendars.append(told)
        elif kind in SMIME_TYPES:
            if (
                is_enveloped(content)
                or part.content_type.parameters.get("smime-type", "").lower() == "enveloped-data"
            ):
                self._note("the mail is encrypted (S/MIME)")
        elif kind == "application/pgp-encrypted":
            self._note("the mail is encrypted (OpenPGP)")
        elif kind == "message/partial":
            parameters = part.content_type.parameters
            self._note(
                f"the mail is piece {parameters.get('number', '?')[:9]} of {parameters.get('total', '?')[:9]} of a larger one"
            )
        elif kind == "message/external-body":
            self._note("a part lies elsewhere (message/external-body)")

    def _unpack(self, container: TnefMail) -> bool:
        """Take over what a container holds; it stays an attachment itself where it could not be read to its end."""
        self._containers.append(container)
        for file in container.files:
            self._add(file.name or None, file.content_type, file.content, file.content_id)
        if not container.whole:
            self._note(f"{TNEF_NAME} is broken; what could be read of it was unpacked")
        return container.whole

    def _add(
        self,
        name: str | None,
        kind: str,
        content: bytes,
        content_id: str | None = None,
        *,
        inline: bool = False,
    ) -> None:
        self.attachments.append(
            ParsedAttachment(
                filename=safe_file_name(name, kind, len(self.attachments) + 1),
                content_type=clean_text(kind),
                disposition=Disposition.INLINE if inline else Disposition.ATTACHMENT,
                content=content,
                content_id=clean_text(content_id) if content_id else None,
            )
        )

    def _note(self, defect: str | None) -> None:
        if defect:
            self.defects.append(defect)


def _with_container(pieces: list[Piece], container: TnefMail) -> list[Piece]:
    """The container's words where the mail has none of its own, and its HTML beside plain ones."""
    text = unix_lines(clean_text(container.text or "")).strip()
    html = clean_text(container.html or "").strip()
    if not pieces:
        return [Piece(text or None, html or None)] if text or html else []
    if html and len(pieces) == 1 and pieces[0].html is None:
        return [Piece(pieces[0].plain, html)]
    return pieces


def _together(first: str, second: str) -> str:
    """Two plain forms are the same words, or a program's mistake that must not cost the words of one."""
    one, other = " ".join(first.split()), " ".join(second.split())
    if one in other:
        return second
    return first if other in one else f"{first}\n{second}"


def _joined(texts: list[str | None]) -> str | None:
    present = [text for text in texts if text is not None and text.strip()]
    return "\n".join(present) if present else None


def _subject_name(message: bytes) -> str | None:
    """A file name for an attached message: its subject."""
    end = _BLANK_LINE.search(message, 0, SUBJECT_WITHIN_BYTES)
    found = _SUBJECT.search(message, 0, end.start() if end else SUBJECT_WITHIN_BYTES)
    subject = decode_header(b" ".join(found[1].split())) if found else ""
    return f"{subject.replace('/', '_')}.eml" if subject else None
