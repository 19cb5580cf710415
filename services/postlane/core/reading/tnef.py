"""Transport-neutral encapsulation, the `winmail.dat` of Outlook and Exchange ([MS-OXTNEF]): its text, HTML and attachments.

Hostile input is cut off at limits; what was read up to a fault counts. Never raises.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from postlane.core.reading.mime_text import decode_text
from postlane.core.reading.rtf_text import RtfText, decompress_rtf, read_rtf

TNEF_TYPES = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})
TNEF_NAME = "winmail.dat"
ATTACHMENTS_MAX = 200
ATTRIBUTES_MAX = 10_000
PROPERTIES_MAX = 5_000  # per attribute; a mail has about 100
VALUES_MAX = 1_000  # of one property
DEPTH_MAX = 5  # messages attached to messages
# Of all containers of one mail: honest mail has one, with some hundred properties and less than a megabyte of RTF.
MAIL_VALUES_MAX = 100_000
MAIL_RTF_BYTES_MAX = 1024 * 1024

_SIGNATURE = 0x223E9F78
_BODY, _ATTACH_DATA, _ATTACH_TITLE, _ATTACH_BEGIN = 0x800C, 0x800F, 0x8010, 0x9002
_MESSAGE_PROPERTIES, _ATTACH_PROPERTIES, _CODE_PAGE = 0x9003, 0x9005, 0x9007
_P_BODY, _P_RTF, _P_HTML, _P_SUBJECT, _P_INTERNET_CODE_PAGE = 0x1000, 0x1009, 0x1013, 0x0037, 0x3FDE
_P_ATTACH_OBJECT, _P_ATTACH_NAME, _P_ATTACH_LONG_NAME = 0x3701, 0x3704, 0x3707
_P_ATTACH_TYPE, _P_ATTACH_CONTENT_ID = 0x370E, 0x3712
_STRING8, _UNICODE, _OBJECT, _BINARY, _MULTIPLE = 0x1E, 0x1F, 0x0D, 0x102, 0x1000
# Sizes of the fixed types, padded to four bytes ([MS-OXTNEF] 2.1.3.4).
_SIZES = {0x02: 4, 0x03: 4, 0x04: 4, 0x05: 8, 0x06: 8, 0x07: 8, 0x0A: 4, 0x0B: 4, 0x14: 8, 0x40: 8, 0x48: 16}


@dataclass(slots=True)
class TnefFile:
    """One attachment of the container."""

    name: str = ""
    content_type: str = "application/octet-stream"
    content: bytes = b""
    content_id: str | None = None


@dataclass(slots=True)
class TnefMail:
    """What the container holds; `whole` = it could be read to its end."""

    subject: str = ""
    text: str | None = None
    html: str | None = None
    files: list[TnefFile] = field(default_factory=list)
    whole: bool = True


@dataclass(slots=True)
class TnefBudget:
    """What is left for further containers of the same mail."""

    values: int = MAIL_VALUES_MAX
    rtf_bytes: int = MAIL_RTF_BYTES_MAX


def read_tnef(content: bytes, budget: TnefBudget | None = None, depth: int = 0) -> TnefMail | None:
    """The container's mail, as far as the budget goes; None where it is no TNEF at all."""
    if len(content) < 6 or struct.unpack_from("<I", content)[0] != _SIGNATURE:
        return None
    reader = _Reader(budget or TnefBudget(), depth)
    try:
        for attribute, value in _attributes(content):
            reader.take(attribute, value)
    except (struct.error, _Cut):
        reader.mail.whole = False
    return reader.finish()


class _Cut(Exception):
    """The container ends within an attribute or a property, or holds more than any mail does."""


def _attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    at = 6
    for _ in range(ATTRIBUTES_MAX):
        if at + 9 > len(content):
            return
        _level, attribute, _kind, length = struct.unpack_from("<BHHI", content, at)
        value = content[at + 9 : at + 9 + length]
        yield attribute, value
        if len(value) < length:
            raise _Cut
        at += 9 + length + 2  # a checksum follows
    raise _Cut


class _Reader:
    """Takes one attribute after the other."""

    def __init__(self, budget: TnefBudget, depth: int) -> None:
        self.mail = TnefMail()
        self._budget = budget
        self._depth = depth
        self._charset = "cp1252"
        self._html: bytes | None = None
        self._html_charset: str | None = None
        self._rtf = b""

    def take(self, attribute: int, value: bytes) -> None:
        """Use one attribute; those that say nothing about words or files are passed over."""
        if attribute == _CODE_PAGE:
            self._charset = _code_page(value) or self._charset
        elif attribute == _BODY:
            self.mail.text = self._text(value) or self.mail.text
        elif attribute == _MESSAGE_PROPERTIES:
            for prop, kind, content in _properties(value, self._budget):
                self._message_property(prop, kind, content)
        elif attribute == _ATTACH_BEGIN:
            if len(self.mail.files) >= ATTACHMENTS_MAX:
                raise _Cut
            self.mail.files.append(TnefFile())
        elif self.mail.files:
            self._take_file(self.mail.files[-1], attribute, value)

    def _take_file(self, file: TnefFile, attribute: int, value: bytes) -> None:
        if attribute == _ATTACH_TITLE:
            file.name = file.name or self._text(value)
        elif attribute == _ATTACH_DATA:
            file.content = value
        elif attribute == _ATTACH_PROPERTIES:
            for prop, kind, content in _properties(value, self._budget):
                self._file_property(file, prop, kind, content)

    def finish(self) -> TnefMail:
        """The mail, its HTML and text taken from RTF where it has no other."""
        mail = self.mail
        if self._html is not None:
            mail.html = decode_text(self._html, self._html_charset)[0]
        elif rtf := self._read_rtf():
            mail.html = rtf.html
            mail.text = mail.text if mail.text and mail.text.strip() else rtf.text
        return mail

    def _read_rtf(self) -> RtfText | None:
        expanded = decompress_rtf(self._rtf, self._budget.rtf_bytes)
        self._budget.rtf_bytes -= len(expanded)
        return read_rtf(expanded)

    def _text(self, value: bytes, kind: int = _STRING8) -> str:
        text = (
            value.decode("utf-16-le", "replace") if kind == _UNICODE else decode_text(value, self._charset)[0]
        )
        return text.partition("\x00")[0].rstrip("\x00") if "\x00" in text else text

    def _message_property(self, prop: int, kind: int, content: bytes) -> None:
        if prop == _P_BODY:
            self.mail.text = self._text(content, kind) or self.mail.text
        elif prop == _P_HTML:
            self._html = self._text(content, kind).encode() if kind == _UNICODE else content.rstrip(b"\x00")
        elif prop == _P_RTF:
            self._rtf = content
        elif prop == _P_SUBJECT:
            self.mail.subject = self._text(content, kind)
        elif prop == _P_INTERNET_CODE_PAGE:
            self._html_charset = _code_page(content)

    def _file_property(self, file: TnefFile, prop: int, kind: int, content: bytes) -> None:
        if prop == _P_ATTACH_LONG_NAME:
            file.name = self._text(content, kind)
        elif prop == _P_ATTACH_NAME:
            file.name = file.name or self._text(content, kind)
        elif prop == _P_ATTACH_TYPE:
            file.content_type = self._text(content, kind).strip().lower() or file.content_type
        elif prop == _P_ATTACH_CONTENT_ID:
            file.content_id = self._text(content, kind).strip("<> ") or None
        elif prop == _P_ATTACH_OBJECT and self._depth < DEPTH_MAX:
            self._attached_message(file, content[16:])

    def _attached_message(self, file: TnefFile, content: bytes) -> None:
        """A message attached to the message is a container of its own: its text becomes the file, its files join ours."""
        inner = read_tnef(content, self._budget, self._depth + 1)
        if inner is None:
            file.content = file.content or content
            return
        file.name = f"{inner.subject or 'message'}.txt"
        file.content_type = "text/plain"
        file.content = (inner.text or inner.html or "").encode("utf-8", "replace")
        self.mail.files.extend(inner.files[: ATTACHMENTS_MAX - len(self.mail.files)])


def _code_page(value: bytes) -> str | None:
    number = int.from_bytes(value[:4], "little")
    return f"cp{number}" if number else None


def _properties(value: bytes, budget: TnefBudget) -> Iterator[tuple[int, int, bytes]]:
    """Id, type and first value of every MAPI property."""
    (count,) = struct.unpack_from("<I", value)
    at = 4
    for _ in range(min(count, PROPERTIES_MAX)):
        kind, prop = struct.unpack_from("<HH", value, at)
        at += 4
        if prop >= 0x8000:
            at = _after_name(value, at)
        first, at = _values(value, at, kind, budget)
        yield prop, kind & ~_MULTIPLE, first


def _after_name(value: bytes, at: int) -> int:
    (name_kind,) = struct.unpack_from("<I", value, at + 16)
    (number,) = struct.unpack_from("<I", value, at + 20)
    return at + 24 + (_padded(number) if name_kind == 1 else 0)


def _values(value: bytes, at: int, kind: int, budget: TnefBudget) -> tuple[bytes, int]:
    base = kind & ~_MULTIPLE
    count = 1
    if kind & _MULTIPLE or base in (_STRING8, _UNICODE, _OBJECT, _BINARY):
        (count,) = struct.unpack_from("<I", value, at)
        at += 4
    count = min(count, VALUES_MAX)
    budget.values -= count + 1
    if budget.values < 0:
        raise _Cut
    first = b""
    for index in range(count):
        if base in (_STRING8, _UNICODE, _OBJECT, _BINARY):
            (length,) = struct.unpack_from("<I", value, at)
            content, at = value[at + 4 : at + 4 + length], at + 4 + _padded(length)
        else:
            size = _SIZES.get(base)
            if size is None:
                raise _Cut
            content, at = value[at : at + size], at + size
        first = content if index == 0 else first
    return first, at


def _padded(length: int) -> int:
    return (length + 3) & ~3
