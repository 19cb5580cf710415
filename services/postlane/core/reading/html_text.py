"""HTML bodies: cleaned of everything active, and rendered to readable text.

Cleaning is nh3's (the ammonia library: an HTML5 parser and an allow-list); text is rendered from the cleaned form only, which is always
well nested, so that no trick of markup reaches the renderer.
"""

import html
import re
from html.parser import HTMLParser
from typing import Final

import nh3

HTML_CHARACTERS_MAX = 512 * 1024  # longer HTML is cut before cleaning: time and memory grow with it
OPEN_TAGS_MAX = 20_000  # long threads have a few thousand; cleaning 20,000 nested ones takes a second, and grows with the square
AMPERSANDS_MAX = 50_000  # bare ones cost the HTML parser quadratic time
QUOTE_DEPTH_MAX = 20

_TAGS: Final = nh3.ALLOWED_TAGS | {"font", "tt", "big"}
_ATTRIBUTES: Final = {
    **nh3.ALLOWED_ATTRIBUTES,
    "*": {"title", "dir", "lang"},
    "blockquote": {"cite", "type"},
    "font": {"color", "face", "size"},
}
_SCHEMES: Final = {"http", "https", "mailto", "tel", "cid"}  # cid: is how inline images are named (RFC 2392)
_DROPPED_WITH_CONTENT: Final = {
    "script",
    "style",
    "title",
    "noscript",
    "template",
    "iframe",
    "object",
    "svg",
    "math",
}

_BLOCKS: Final = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "center",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "figure",
        "footer",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
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
    ["p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "pre", "blockquote"]
)
_BLANKS = re.compile(r"[ \t\r\n\f]+")
_EMPTY_LINES = re.compile(r"\n{3,}")
_TAG_OPEN = re.compile(r"<[a-zA-Z]")
_ANY_TAG = re.compile(r"<[^<>]{0,4000}>")


class HtmlTooDense(Exception):
    """The HTML holds more markup than editors write; cleaning it would take too long."""


def sanitize_html(content: str) -> str:
    """Markup that is safe to show: no scripts, styles, forms, event handlers or foreign schemes. Raises HtmlTooDense."""
    if sum(1 for _ in _TAG_OPEN.finditer(content)) > OPEN_TAGS_MAX:
        raise HtmlTooDense(f"HTML with more than {OPEN_TAGS_MAX} tags is not cleaned")
    if content.count("&") > AMPERSANDS_MAX:
        raise HtmlTooDense(f"HTML with more than {AMPERSANDS_MAX} ampersands is not cleaned")
    return nh3.clean(
        content,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        clean_content_tags=_DROPPED_WITH_CONTENT,
        link_rel="noopener noreferrer nofollow",
    )


def render_text(sanitized: str) -> str:
    """Readable text of cleaned HTML: paragraphs, list marks, `> ` before quotes, addresses of links that hide theirs."""
    renderer = _Renderer()
    renderer.feed(sanitized)
    renderer.close()
    return renderer.text()


def strip_tags(content: str) -> str:
    """The words of HTML that was too dense to be cleaned: tags out, entities in, no structure."""
    return _BLANKS.sub(" ", html.unescape(_ANY_TAG.sub(" ", content))).strip()


def escape_text(text: str) -> str:
    """Plain text as HTML that keeps its lines."""
    return f"<pre>{html.escape(text, quote=False)}</pre>"


class _Renderer(HTMLParser):
    """Collects lines; a line knows how deep in quotes it stands."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: list[tuple[int, str]] = []
        self._line: list[str] = []
        self._quote_depth = 0
        self._preformatted = 0
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "br":
            self._end_line()
        elif tag in _BLOCKS:
            self._begin_block(tag)
        elif tag in ("td", "th") and self._line:
            self._line.append(" ")
        elif tag == "a":
            self._links.append((values.get("href") or "", len(self._line)))
        elif tag == "img" and (alt := (values.get("alt") or "").strip()):
            self._line.append(f"[{alt}]")
        if tag == "blockquote":
            self._quote_depth = min(self._quote_depth + 1, QUOTE_DEPTH_MAX)
        elif tag == "pre":
            self._preformatted += 1
        elif tag == "li":
            self._line.append("- ")
        elif tag == "hr":
            self._line.append("-" * 20)
            self._end_line()

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._links:
            self._end_link(*self._links.pop())
        if tag in _BLOCKS:
            self._end_block(tag)
        if tag == "blockquote":
            self._quote_depth = max(self._quote_depth - 1, 0)
        elif tag == "pre":
            self._preformatted = max(self._preformatted - 1, 0)

    def handle_data(self, data: str) -> None:
        if self._preformatted:
            first, *rest = data.split("\n")
            self._line.append(first)
            for line in rest:
                self._end_line()
                self._line.append(line)
            return
        text = _BLANKS.sub(" ", data)
        if text != " " or self._line:
            self._line.append(text if self._line else text.lstrip(" "))

    def text(self) -> str:
        """The lines, at most one empty line between them."""
        self._end_line()
        joined = "\n".join(f"{'> ' * depth}{line}".rstrip() if depth else line for depth, line in self._lines)
        return _EMPTY_LINES.sub("\n\n", joined).strip("\n")

    def _begin_block(self, tag: str) -> None:
        if self._line:
            self._end_line()
        if tag in _PARAGRAPHS and self._lines and self._lines[-1][1]:
            self._lines.append((self._quote_depth, ""))

    def _end_block(self, tag: str) -> None:
        if self._line:
            self._end_line()
        if tag in _PARAGRAPHS and self._lines and self._lines[-1][1]:
            self._lines.append((self._quote_depth, ""))

    def _end_line(self) -> None:
        line = "".join(self._line)
        self._line.clear()
        self._lines.append((self._quote_depth, line.rstrip() if self._preformatted else line.strip()))

    def _end_link(self, href: str, begin: int) -> None:
        shown = "".join(self._line[begin:]).strip()
        target = href.removeprefix("mailto:")
        if shown and target.startswith(("http:", "https:")) and target.rstrip("/") != shown.rstrip("/"):
            self._line.append(f" <{target}>")
