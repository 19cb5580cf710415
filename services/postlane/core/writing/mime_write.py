"""Writes header fields and MIME parts as bytes (RFC 5322, 2045-2047, 2231, 6532): CRLF, no line over 998, the same bytes for the same input.

The standard library does the encodings. Its message classes are not used to write: they put long Message-IDs in References into
encoded words, which breaks threading, and their output changes between Python releases, while a mail must keep its bytes over a
rolling upgrade (measured on 3.11; they also took ten times as long).
"""

import re
from base64 import encodebytes
from binascii import b2a_qp
from collections.abc import Iterable, Sequence
from email.header import Header
from urllib.parse import quote

from postlane.core.events.mail import Address

LINE_SOFT_MAX = 78  # RFC 5322 section 2.1.1: should
LINE_MAX = 998  # RFC 5322 section 2.1.1: must
WORD_MAX = 800  # a longer word could not be folded; it is written as encoded words instead
PARAMETER_PIECE_MAX = 60  # of an RFC 2231 value, so that a line stays under LINE_SOFT_MAX
BOUNDARY_MARK = "=_"  # occurs in no quoted-printable or base64 body (RFC 2045 section 6.7)

_PLAIN_WORDS = re.compile(rf"[!-~]{{1,{WORD_MAX}}}(?: [!-~]{{1,{WORD_MAX}}})*")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_PRINTABLE = re.compile(r"[ -~]+")
_QUOTABLE = re.compile(r'(["\\])')
_NEWLINE = re.compile(r"\r\n|\r|\n")
_NEWLINE_BYTES = re.compile(rb"\r\n|\r|\n")
_UNSAFE_IN_7BIT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xff]")
_ASCII = bytes(range(128))


def text_field(name: str, value: str) -> str:
    """An unstructured field such as Subject, folded; other than plain ASCII words become encoded words (RFC 2047)."""
    if _PLAIN_WORDS.fullmatch(value) and "=?" not in value:
        return _fold(name, value.split(" "))
    return f"{name}: {_encoded_words(name, value)}"


def address_field(name: str, addresses: Iterable[Address]) -> str:
    """From, To, Cc or Reply-To; each addr-spec must be in wire form already."""
    words: list[str] = []
    for address in addresses:
        phrase = _phrase(name, address.name)
        if phrase:
            words += [phrase, f"<{address.address}>,"]
        else:
            words.append(f"{address.address},")
    words[-1] = words[-1].removesuffix(",")
    return _fold(name, words)


def id_field(name: str, message_ids: Sequence[str]) -> str:
    """In-Reply-To or References: ids in angle brackets, never broken."""
    return _fold(name, message_ids)


def text_part(subtype: str, text: str) -> bytes:
    """A text/plain or text/html entity in UTF-8; the shortest readable encoding that is safe for every relay."""
    lines = _NEWLINE.sub("\r\n", text)
    content = (lines if lines.endswith("\r\n") or not lines else lines + "\r\n").encode()
    if _fits_7bit(content) and BOUNDARY_MARK.encode() not in content:
        encoding, body = "7bit", content
    elif 6 * len(content.translate(None, _ASCII)) <= len(content):
        encoding, body = "quoted-printable", b2a_qp(content, istext=True)
    else:
        encoding, body = "base64", _base64(content)
    head = f'Content-Type: text/{subtype}; charset="utf-8"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n'
    return head.encode() + body


def file_part(
    content_type: str, content: bytes, disposition: str, filename: str, content_id: str | None
) -> bytes:
    """An attachment or inline image.

    A message/* part must not be base64 (RFC 2046 section 5.2.1): it stays as it is if it is plain 7-bit text, else, like a multipart/*,
    it travels as application/octet-stream under its name.
    """
    main_type = content_type.partition("/")[0].lower()
    encoding, body = "base64", b""
    if main_type == "message":
        lines = _NEWLINE_BYTES.sub(b"\r\n", content)
        if _fits_7bit(lines):
            encoding, body = "7bit", lines
    if main_type in ("message", "multipart") and encoding == "base64":
        content_type = "application/octet-stream"
    head = [f"Content-Type: {content_type}", f"Content-Transfer-Encoding: {encoding}"]
    head.append(";\r\n ".join([f"Content-Disposition: {disposition}", *_filename_parameters(filename)]))
    if content_id is not None:
        head.append(f"Content-ID: <{content_id.strip('<>')}>")
    return "".join(f"{line}\r\n" for line in [*head, ""]).encode() + (body or _base64(content))


def multipart(subtype: str, boundary: str, parts: Sequence[bytes]) -> bytes:
    """A multipart entity; `related` names its root's type (RFC 2387 section 3.1)."""
    root_type = ' type="text/html";' if subtype == "related" else ""
    head = f'Content-Type: multipart/{subtype};{root_type}\r\n boundary="{boundary}"\r\n\r\n'
    delimiter = f"--{boundary}\r\n".encode()
    body = b"".join(delimiter + part + b"\r\n" for part in parts)
    return head.encode() + body + f"--{boundary}--\r\n".encode()


def _fold(name: str, words: Iterable[str]) -> str:
    """Fold at the blanks between words; the first word stays beside the name, because an empty first line confuses some readers."""
    lines = [f"{name}:"]
    for number, word in enumerate(words):
        width = len(lines[-1].rpartition("\n")[2]) + 1 + len(word.partition("\r")[0])
        if number and width > LINE_SOFT_MAX:
            lines.append(f" {word}")
        else:
            lines[-1] += f" {word}"
    return "\r\n".join(lines)


def _phrase(field: str, name: str) -> str:
    """A display name: as it is, quoted, or as encoded words (RFC 2047 section 5)."""
    if "=?" in name or (name and not _PRINTABLE.fullmatch(name)):
        return _encoded_words(field, name)
    if not name or _ATOMS.fullmatch(name):
        return name
    return '"' + _QUOTABLE.sub(r"\\\1", name) + '"'


def _encoded_words(field: str, value: str) -> str:
    return Header(value, "utf-8", header_name=field).encode(linesep="\r\n") if value else ""


def _filename_parameters(filename: str) -> list[str]:
    """`filename=...`, in pieces where it is long or not ASCII (RFC 2231 sections 3 and 4); never cut inside a character."""
    if not filename:
        return []
    if _PRINTABLE.fullmatch(filename) and "=?" not in filename:
        return ['filename="' + _QUOTABLE.sub(r"\\\1", filename) + '"']
    pieces = [""]
    for character in filename:
        written = quote(character, safe="")
        if len(pieces[-1]) + len(written) > PARAMETER_PIECE_MAX:
            pieces.append("")
        pieces[-1] += written
    if len(pieces) == 1:
        return [f"filename*=utf-8''{pieces[0]}"]
    pieces[0] = f"utf-8''{pieces[0]}"
    return [f"filename*{number}*={piece}" for number, piece in enumerate(pieces)]


def _fits_7bit(content: bytes) -> bool:
    return not _UNSAFE_IN_7BIT.search(content) and all(
        len(line) <= LINE_MAX for line in content.split(b"\r\n")
    )


def _base64(content: bytes) -> bytes:
    return encodebytes(content).replace(b"\n", b"\r\n")
