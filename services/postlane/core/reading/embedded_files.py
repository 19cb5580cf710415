"""Files that stand inside plain text: uuencode (POSIX) and yEnc, from before MIME and from programs that never learned it."""

import binascii
import re
from dataclasses import dataclass

FILES_MAX = 50  # in one text
_UU_BEGIN = re.compile(rb"^begin [0-7]{3,4} ([^\r\n]{1,250})\r?\n(?=[\x20-\x60]{1,70}\r?\n)", re.MULTILINE)
_UU_END = re.compile(rb"^(?:end)[ \t]*\r?$", re.MULTILINE)
_Y_BEGIN = re.compile(rb"^=ybegin [^\r\n]{0,400}name=([^\r\n]{1,250})\r?\n", re.MULTILINE)
_Y_END = re.compile(rb"^=yend[^\r\n]{0,200}\r?$", re.MULTILINE)
_Y_PART = re.compile(rb"=ypart[^\r\n]{0,200}\r?\n")
_Y_SHIFT = bytes((byte - 42) % 256 for byte in range(256))
_Y_ESCAPED = re.compile(rb"=(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class EmbeddedFile:
    """A file found in text: its name as written, its decoded content, and how it was encoded."""

    name: bytes
    content: bytes
    encoding: str


def take_files(text: bytes) -> tuple[bytes, list[EmbeddedFile]]:
    """The text without the files, and the files. What looks like a file but does not decode stays text."""
    if b"begin " not in text:
        return text, []
    files: list[EmbeddedFile] = []
    kept: list[bytes] = []
    at = 0
    while len(files) < FILES_MAX and (found := _next_file(text, at)):
        begin, end, file = found
        kept.append(text[at:begin])
        files.append(file)
        at = end
    return b"".join((*kept, text[at:])), files


def _next_file(text: bytes, at: int) -> tuple[int, int, EmbeddedFile] | None:
    """Where the next file begins and ends in the text."""
    for begin_mark, end_mark, encoding in ((_UU_BEGIN, _UU_END, "uuencode"), (_Y_BEGIN, _Y_END, "yEnc")):
        begin = begin_mark.search(text, at)
        end = end_mark.search(text, begin.end()) if begin else None
        if begin is None or end is None:
            continue
        body = text[begin.end() : end.start()]
        content = _decode_yenc(body) if encoding == "yEnc" else decode_uu_lines(body)[0]
        if content or not body.strip(b"`\r\n "):
            return (
                begin.start(),
                min(end.end() + 1, len(text)),
                EmbeddedFile(begin[1].rstrip(), content, encoding),
            )
    return None


def _decode_yenc(body: bytes) -> bytes:
    if part := _Y_PART.match(body):
        body = body[part.end() :]
    lines = body.replace(b"\r", b"").replace(b"\n", b"")
    unescaped = _Y_ESCAPED.sub(lambda found: bytes([(found[1][0] - 64) % 256]), lines)
    return unescaped.translate(_Y_SHIFT)


def decode_uu(content: bytes) -> tuple[bytes, str | None]:
    """A whole part in uuencode; the second value says what was wrong."""
    begin = re.search(rb"^begin [^\n]*\n", content, re.MULTILINE)
    if begin is None:
        return content, "uuencoded part has no begin line"
    decoded, broken = decode_uu_lines(content[begin.end() :])
    return decoded, "uuencoded part has broken lines" if broken else None


def decode_uu_lines(lines: bytes) -> tuple[bytes, bool]:
    """The decoded lines up to `end`, and whether some did not decode; those are left out."""
    decoded: list[bytes] = []
    broken = False
    for raw_line in lines.split(b"\n"):
        line = raw_line.rstrip(b"\r")
        if line.strip() == b"end":
            break
        if line.strip() in (b"`", b""):
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
    return b"".join(decoded), broken
