"""Cleaned HTML as readable text: paragraphs, list marks, table rows, `> ` before quotes, addresses of links that hide theirs.

Reads only what core.reading.html_text has cleaned: tags well nested, names in lower case, attributes in double quotes.
"""

import html
import re
from typing import Final

QUOTE_DEPTH_MAX = 20
RULER = "-" * 20

_BLOCKS: Final = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "caption",
        "center",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "figcaption",
        "figure",
        "footer",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hgroup",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)
_PARAGRAPHS: Final = frozenset(
    ["p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "table", "pre", "blockquote"]
)
_TOKEN = re.compile(r'<(/?)([a-z0-9]+)((?:[^>"]|"[^"]*")*)>|([^<]+)|<')
_HREF = re.compile(r'\shref="([^"]*)"')
_ALT = re.compile(r'\salt="([^"]*)"')
_START = re.compile(r'\sstart="(\d{1,6})"')
_BLANKS = re.compile(r"[ \t\r\n\f]+")
_EMPTY_LINES = re.compile(r"\n{3,}")


def render_text(sanitized: str) -> str:
    """The words of cleaned HTML, in lines."""
    renderer = _Renderer()
    for found in _TOKEN.finditer(sanitized):
        closing, tag, attributes, text = found.groups()
        if text is not None:
            renderer.add_text(text)
        elif tag is None:
            renderer.add_text("<")
        elif closing:
            renderer.end(tag)
        else:
            renderer.begin(tag, attributes)
    return renderer.text()


class _Renderer:
    """Collects lines; a line knows how deep in quotes it stands."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, str]] = []
        self._line: list[str] = []
        self._quote_depth = 0
        self._preformatted = 0
        self._links: list[tuple[str, int]] = []
        self._lists: list[int | None] = []  # the next number of each open list, None where it has marks

    def begin(self, tag: str, attributes: str) -> None:
        """An opening tag."""
        if tag == "br":
            self._end_line()
            return
        if tag in _BLOCKS:
            self._break(tag)
            self._begin_block(tag, attributes)
        elif tag in ("td", "th"):
            if self._line:
                self._line.append(" ")
        elif tag == "a":
            href = _HREF.search(attributes)
            self._links.append((html.unescape(href[1]) if href else "", len(self._line)))
        elif tag == "img" and (alt := _ALT.search(attributes)) and (words := html.unescape(alt[1]).strip()):
            self._line.append(f"[{words}]")

    def _begin_block(self, tag: str, attributes: str) -> None:
        match tag:
            case "blockquote":
                self._quote_depth = min(self._quote_depth + 1, QUOTE_DEPTH_MAX)
            case "pre":
                self._preformatted += 1
            case "ul":
                self._lists.append(None)
            case "ol":
                start = _START.search(attributes)
                self._lists.append(int(start[1]) if start else 1)
            case "li":
                self._line.append(self._mark())
            case "hr":
                self._line.append(RULER)
                self._end_line()

    def end(self, tag: str) -> None:
        """A closing tag."""
        if tag == "a":
            if self._links:
                self._end_link(*self._links.pop())
            return
        if tag in _BLOCKS:
            if self._line:
                self._end_line()
            if tag in ("ul", "ol") and self._lists:
                self._lists.pop()
            self._break(tag)
        if tag == "blockquote":
            self._quote_depth = max(self._quote_depth - 1, 0)
        elif tag == "pre":
            self._preformatted = max(self._preformatted - 1, 0)

    def add_text(self, data: str) -> None:
        """Text between tags, entities in it."""
        text = html.unescape(data) if "&" in data else data
        if self._preformatted:
            first, *rest = text.split("\n")
            self._line.append(first)
            for line in rest:
                self._end_line()
                self._line.append(line)
            return
        text = _BLANKS.sub(" ", text)
        if self._line:
            self._line.append(text)
        elif text != " ":
            self._line.append(text.lstrip(" "))

    def text(self) -> str:
        """The lines, at most one empty line between them."""
        self._end_line()
        joined = "\n".join(f"{'> ' * depth}{line}".rstrip() if depth else line for depth, line in self._lines)
        return _EMPTY_LINES.sub("\n\n", joined).strip("\n")

    def _mark(self) -> str:
        indent = "  " * (len(self._lists) - 1)
        if not self._lists or (number := self._lists[-1]) is None:
            return f"{indent}- "
        self._lists[-1] = number + 1
        return f"{indent}{number}. "

    def _break(self, tag: str) -> None:
        """A block begins or ends: its words stand on lines of their own, paragraphs between empty ones."""
        if self._line:
            self._end_line()
        is_inner_list = tag in ("ul", "ol") and self._lists
        if tag in _PARAGRAPHS and not is_inner_list and self._lines and self._lines[-1][1]:
            self._lines.append((self._quote_depth, ""))

    def _end_line(self) -> None:
        line = "".join(self._line)
        self._line.clear()
        line = line.rstrip() if self._preformatted or self._lists else line.strip(" \t")
        self._lines.append((self._quote_depth, "" if line.isspace() else line))

    def _end_link(self, href: str, begin: int) -> None:
        shown = "".join(self._line[begin:]).strip()
        if shown and href.startswith(("http:", "https:")) and href.rstrip("/") != shown.rstrip("/"):
            self._line.append(f" <{href}>")
