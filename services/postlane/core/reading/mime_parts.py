"""The tree of a mail's parts, cut from its raw bytes: slices, never re-serialised (RFC 2046 section 5.1).

Python's own parser rebuilds nested messages from text and recurses without bound; this one keeps every part's bytes as they came and
stops at named limits. It never raises.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from postlane.core.reading.mime_headers import HeaderBlock, split_headers
from postlane.core.reading.mime_parameters import Parameterized, parse_parameters
from postlane.core.reading.mime_transfer import decode_transfer
from postlane.core.reading.signed_content import signed_content

PARTS_MAX = 500  # mail with more is a bomb; honest newsletters and digests stay under 100
FIELDS_MAX = 20_000  # headers of all parts together; honest parts have four each
DEPTH_MAX = 30  # each level scans its bytes again, and honest nesting ends near 10
BOUNDARY_MAX = 250  # RFC 2046 allows 70; some senders write more
SEARCHED_BYTES_MAX = (
    256 * 1024 * 1024
)  # of a mail, level by level: a large mail is nested less deeply than a small one
CANDIDATES_MAX = 100_000  # of a mail's delimiters: lines of dashes are looked at and passed over
PADDING_MAX = 200  # blanks after a delimiter (RFC 2046 section 5.1.1)
PREAMBLE_MAX = 64 * 1024  # what stands before the first part; programs write a line

_LF, _CR = 0x0A, 0x0D
TEXT_PLAIN = Parameterized("text/plain", {})
SMIME_TYPES = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
_ENCODED = ("base64", "quoted-printable")
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
CR_SAMPLE = 2000  # a mail whose beginning knows no LF has CR as its line end there
# A delimiter whose name nothing told, known by the header line below it. Blanks after the name are taken off it later: here they would cost the
# square of their number.
_UNTOLD_DELIMITER = re.compile(
    rb"^--([^\r\n]{0,250})\r*\n(?=Content-[A-Za-z-]{2,40}[ \t]*:)", re.MULTILINE | re.IGNORECASE
)
_FIRST_DELIMITER = re.compile(
    rb"\s{0,200}--([^\r\n]{1,250})\r*\n(?=Content-[A-Za-z-]{2,40}[ \t]*:)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Part:
    """One node: its headers, its type, and its body's bytes before transfer decoding. Leaves have no children."""

    headers: HeaderBlock
    content_type: Parameterized
    body: bytes
    disposition: Parameterized  # Content-Disposition (RFC 2183), empty where there is none
    children: tuple["Part", ...] = ()
    preamble: bytes = b""

    @property
    def transfer_encoding(self) -> str:
        """Content-Transfer-Encoding in lower case, without comments."""
        return _encoding_of(self.headers.first("content-transfer-encoding"))

    @property
    def filename(self) -> str | None:
        """The name that the sender gave, unsafe as it is; from the disposition, else from the type."""
        return self.disposition.parameters.get("filename") or self.content_type.parameters.get("name") or None


@lru_cache(maxsize=64)
def _encoding_of(value: bytes) -> str:
    return value.decode("latin-1").partition(";")[0].partition("(")[0].strip().strip("\"'").lower()


@dataclass(frozen=True, slots=True)
class PartTree:
    """A whole mail and what was wrong with its structure."""

    root: Part
    defects: tuple[str, ...]


def split_parts(raw: bytes) -> PartTree:
    """Cut a mail into its parts. Line ends may be CRLF, LF or, where its beginning has no LF at all, CR."""
    count = _Count()
    content = with_line_feeds(raw)
    if content is not raw and b"\n" in raw:
        count.defects.append("line ends are mixed")
    root = _Splitter(content, count).part(0, len(content), TEXT_PLAIN, 0)
    return PartTree(root, tuple(dict.fromkeys(count.defects)))


def with_line_feeds(raw: bytes) -> bytes:
    """The mail itself, or with LF for every line end where CR is how its lines end at its beginning."""
    if b"\r" in raw[:CR_SAMPLE] and b"\n" not in raw[:CR_SAMPLE]:
        return raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return raw


class _Count:
    """What is counted over a whole mail, also over parts that had to be decoded before they could be split."""

    def __init__(self) -> None:
        self.parts = 0
        self.fields = 0
        self.candidates = 0
        self.searched_bytes = 0
        self.defects: list[str] = []


class _Splitter:
    """One pass over one stretch of bytes."""

    def __init__(self, content: bytes, count: _Count) -> None:
        self._content = content
        self._count = count

    def defect(self, text: str) -> None:
        self._count.defects.append(text)

    def part(self, start: int, end: int, default_type: Parameterized, depth: int) -> Part:
        self._count.parts += 1
        headers = split_headers(self._content, start, end)
        self._count.defects.extend(headers.defects)
        self._count.fields += len(headers.fields)
        content_type = self._type(headers, default_type)
        body_at = min(headers.body_at, end)
        leaf = Part(
            headers,
            content_type,
            self._content[body_at:end],
            parse_parameters(headers.first("content-disposition")),
        )
        if content_type.value.startswith("multipart/"):
            return self._multipart(leaf, body_at, end, depth)
        if content_type.value in SMIME_TYPES:
            return self._unwrapped(leaf, depth)
        if depth == 0 and not headers.raw("content-type") and (found := _FIRST_DELIMITER.match(leaf.body)):
            self.defect("a multipart has no Content-Type")
            typed = replace(leaf, content_type=Parameterized("multipart/mixed", {}))
            return self._with_children(typed, body_at, self._spans(found[1].rstrip(), body_at, end), depth)
        return leaf

    def _multipart(self, leaf: Part, body_at: int, end: int, depth: int) -> Part:
        boundary = leaf.content_type.parameters.get("boundary", "").rstrip()
        self._count.searched_bytes += end - body_at
        if depth >= DEPTH_MAX or self._count.searched_bytes > SEARCHED_BYTES_MAX:
            return self._not_multipart(leaf, f"parts are nested deeper than {min(depth, DEPTH_MAX)}")
        wrong = "a multipart has no usable boundary"
        if boundary and len(boundary) <= BOUNDARY_MAX:
            if spans := self._spans(boundary.encode("utf-8", "replace"), body_at, end):
                return self._with_children(leaf, body_at, spans, depth)
            wrong = "a multipart's boundary never occurs"
        if leaf.transfer_encoding in _ENCODED and (decoded := self._decoded(leaf, depth)):
            return decoded
        if self._count.candidates >= CANDIDATES_MAX:
            return self._not_multipart(leaf, wrong)
        # What the parts are is plain to see even where the header does not say it.
        for found in _UNTOLD_DELIMITER.finditer(self._content, body_at, end):
            if spans := self._spans(found[1].rstrip(), body_at, end):
                self.defect(wrong)
                return self._with_children(leaf, body_at, spans, depth)
        return self._not_multipart(leaf, wrong)

    def _decoded(self, leaf: Part, depth: int) -> Part | None:
        """A multipart that was encoded as a whole, against RFC 2045 section 6.4."""
        content, _ = decode_transfer(leaf.body, leaf.transfer_encoding)
        boundary = leaf.content_type.parameters.get("boundary", "").rstrip().encode("utf-8", "replace")
        inner = _Splitter(content, self._count)
        spans = inner._spans(boundary, 0, len(content)) if boundary else []
        if not spans:
            return None
        self.defect("a multipart is encoded as a whole")
        return inner._with_children(leaf, 0, spans, depth)

    def _unwrapped(self, leaf: Part, depth: int) -> Part:
        """Opaque S/MIME becomes a node whose only child is what was signed."""
        if depth >= DEPTH_MAX or self._count.parts >= PARTS_MAX:
            return leaf
        content = signed_content(decode_transfer(leaf.body, leaf.transfer_encoding)[0])
        if content is None:
            return leaf
        child = _Splitter(content, self._count).part(0, len(content), TEXT_PLAIN, depth + 1)
        return replace(leaf, children=(child,))

    def _with_children(self, leaf: Part, body_at: int, spans: list[tuple[int, int]], depth: int) -> Part:
        # RFC 2046 section 5.1.5: the parts of a digest are messages unless they say otherwise.
        is_digest = leaf.content_type.value == "multipart/digest"
        default = Parameterized("message/rfc822", {}) if is_digest else TEXT_PLAIN
        children: list[Part] = []
        for start, end in spans:
            if self._count.parts >= PARTS_MAX:
                self.defect(f"more than {PARTS_MAX} parts; the rest is left out")
                break
            if self._count.fields >= FIELDS_MAX:
                self.defect(f"parts with more than {FIELDS_MAX} headers; the rest is left out")
                break
            children.append(self.part(start, end, default, depth + 1))
        before = self._content[body_at : spans[0][0]].rstrip()
        preamble = before[: before.rfind(b"\n") + 1][:PREAMBLE_MAX]
        return replace(leaf, children=tuple(children), preamble=preamble)

    def _type(self, headers: HeaderBlock, default: Parameterized) -> Parameterized:
        values = headers.raw("content-type")
        if not values:
            return default
        if len(values) > 1:
            self.defect("Content-Type is given more than once")
        types = [parse_parameters(value) for value in values[:10]]
        readable = next((one for one in types if _TYPE.fullmatch(one.value)), None)
        if readable is not None:
            return readable
        self.defect("Content-Type cannot be read")
        first = types[0]
        if "boundary" in first.parameters and "multipart" in first.value:
            return Parameterized("multipart/mixed", first.parameters)
        # RFC 2045 section 5.2, but for what plainly is meant as HTML.
        return Parameterized("text/html" if "html" in first.value else "text/plain", first.parameters)

    def _not_multipart(self, leaf: Part, defect: str) -> Part:
        self.defect(defect)
        return replace(leaf, content_type=TEXT_PLAIN)

    def _spans(self, boundary: bytes, start: int, end: int) -> list[tuple[int, int]]:
        """Where the parts between the delimiter lines lie; a missing closing line is a defect, not an end of mail."""
        spans: list[tuple[int, int]] = []
        begin: int | None = None
        for at, next_line, closing in self._delimiters(b"--" + boundary, start, end):
            if begin is not None:
                spans.append((begin, self._before_line_end(begin, at)))
                begin = None
            if closing:
                return spans
            begin = min(next_line, end)
            if len(spans) > PARTS_MAX:
                return spans
        if begin is not None:
            self.defect("a multipart is not closed")
            spans.append((begin, end))
        return spans

    def _delimiters(self, mark: bytes, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """The lines that are the mark alone: where each begins, where the next line does, and whether it closes."""
        content = self._content
        at = content.find(mark, start, end)
        while at >= 0 and self._count.candidates < CANDIDATES_MAX:
            self._count.candidates += 1
            rest_at = at + len(mark)
            if at == start or content[at - 1] == _LF:
                line_end = content.find(b"\n", rest_at, min(end, rest_at + PADDING_MAX))
                if line_end < 0 and end - rest_at < PADDING_MAX:
                    line_end = end
                rest = content[rest_at:line_end].strip(b" \t\r") if line_end >= 0 else None
                if rest in (b"", b"--"):
                    yield at, line_end + 1, bool(rest)
            at = content.find(mark, rest_at, end)

    def _before_line_end(self, begin: int, at: int) -> int:
        """The line end before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1)."""
        if at > begin and self._content[at - 1] == _LF:
            at -= 1
            if at > begin and self._content[at - 1] == _CR:
                at -= 1
        return at
