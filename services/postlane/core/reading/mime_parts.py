"""The tree of a mail's parts, cut from its raw bytes: slices, never re-serialised (RFC 2046 section 5.1).

Python's own parser rebuilds nested messages from text and recurses without bound; this one keeps every part's bytes as they came and
stops at named limits. It never raises.
"""

import re
from dataclasses import dataclass

from postlane.core.reading.mime_headers import HeaderBlock, split_headers
from postlane.core.reading.mime_parameters import Parameterized, parse_parameters

PARTS_MAX = 500  # mail with more is a bomb; honest newsletters and digests stay under 100
DEPTH_MAX = 30  # each level scans its bytes again, and honest nesting ends near 10
BOUNDARY_MAX = 250  # RFC 2046 allows 70; some senders write more

TEXT_PLAIN = Parameterized("text/plain", {})
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")


@dataclass(frozen=True, slots=True)
class Part:
    """One node: its headers, its type, and its body's bytes before transfer decoding. Leaves have no children."""

    headers: HeaderBlock
    content_type: Parameterized
    body: bytes
    children: tuple["Part", ...] = ()

    @property
    def disposition(self) -> Parameterized:
        """Content-Disposition (RFC 2183), empty where there is none."""
        return parse_parameters(self.headers.first("content-disposition"))

    @property
    def transfer_encoding(self) -> str:
        """Content-Transfer-Encoding in lower case, without comments."""
        return (
            self.headers.first("content-transfer-encoding")
            .decode("latin-1")
            .partition(";")[0]
            .strip()
            .lower()
        )

    @property
    def filename(self) -> str | None:
        """The name that the sender gave, unsafe as it is; from the disposition, else from the type."""
        return self.disposition.parameters.get("filename") or self.content_type.parameters.get("name") or None


@dataclass(frozen=True, slots=True)
class PartTree:
    """A whole mail and what was wrong with its structure."""

    root: Part
    defects: tuple[str, ...]


def split_parts(raw: bytes) -> PartTree:
    """Cut a mail into its parts. Line ends may be CRLF, LF or, where there is no LF at all, CR."""
    content = raw if b"\n" in raw else raw.replace(b"\r", b"\n")
    splitter = _Splitter(content)
    if content is raw and b"\n" not in raw[:2000] and b"\r" in raw[:2000]:
        splitter.defect("line ends are mixed")
    root = splitter.part(0, len(content), TEXT_PLAIN, 0)
    return PartTree(root, tuple(dict.fromkeys(splitter.defects)))


class _Splitter:
    """One pass over one mail; counts parts over the whole tree."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._parts = 0
        self.defects: list[str] = []

    def defect(self, text: str) -> None:
        self.defects.append(text)

    def part(self, start: int, end: int, default_type: Parameterized, depth: int) -> Part:
        self._parts += 1
        headers = split_headers(self._content, start, end)
        self.defects.extend(headers.defects)
        content_type = self._type(headers, default_type)
        body_at = min(headers.body_at, end)
        boundary = content_type.parameters.get("boundary", "").rstrip()
        if not content_type.value.startswith("multipart/"):
            return Part(headers, content_type, self._content[body_at:end])
        if not boundary or len(boundary) > BOUNDARY_MAX:
            return self._not_multipart(headers, body_at, end, "a multipart has no usable boundary")
        if depth >= DEPTH_MAX:
            return self._not_multipart(headers, body_at, end, f"parts are nested deeper than {DEPTH_MAX}")
        spans = self._spans(boundary, body_at, end)
        if not spans:
            return self._not_multipart(headers, body_at, end, "a multipart's boundary never occurs")
        children = self._children(spans, content_type.value, depth)
        return Part(headers, content_type, self._content[body_at:end], children)

    def _children(self, spans: list[tuple[int, int]], parent_type: str, depth: int) -> tuple[Part, ...]:
        # RFC 2046 section 5.1.5: the parts of a digest are messages unless they say otherwise.
        default = Parameterized("message/rfc822", {}) if parent_type == "multipart/digest" else TEXT_PLAIN
        children: list[Part] = []
        for start, end in spans:
            if self._parts >= PARTS_MAX:
                self.defect(f"more than {PARTS_MAX} parts; the rest is left out")
                break
            children.append(self.part(start, end, default, depth + 1))
        return tuple(children)

    def _type(self, headers: HeaderBlock, default: Parameterized) -> Parameterized:
        values = headers.raw("content-type")
        if not values:
            return default
        if len(values) > 1:
            self.defect("Content-Type is given more than once")
        found = parse_parameters(values[0])
        if not _TYPE.fullmatch(found.value):
            self.defect("Content-Type cannot be read")
            return Parameterized("text/plain", found.parameters)  # RFC 2045 section 5.2
        return found

    def _not_multipart(self, headers: HeaderBlock, body_at: int, end: int, defect: str) -> Part:
        self.defect(defect)
        return Part(headers, TEXT_PLAIN, self._content[body_at:end])

    def _spans(self, boundary: str, start: int, end: int) -> list[tuple[int, int]]:
        """Where the parts between the delimiter lines lie; a missing closing line is a defect, not an end of mail."""
        delimiter = re.compile(
            rb"^--" + re.escape(boundary.encode("utf-8", "replace")) + rb"(--)?[ \t]*\r?$", re.MULTILINE
        )
        spans: list[tuple[int, int]] = []
        begin: int | None = None
        for found in delimiter.finditer(self._content, start, end):
            if begin is not None:
                spans.append((begin, self._before_line_end(begin, found.start())))
                begin = None
            if found[1]:
                return spans
            begin = min(found.end() + 1, end)
            if len(spans) > PARTS_MAX:
                return spans
        if begin is not None:
            self.defect("a multipart is not closed")
            spans.append((begin, end))
        return spans

    def _before_line_end(self, begin: int, at: int) -> int:
        """The line end before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1)."""
        if at > begin and self._content[at - 1 : at] == b"\n":
            at -= 1
            if at > begin and self._content[at - 1 : at] == b"\r":
                at -= 1
        return at
