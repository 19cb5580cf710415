"""HTML bodies, cleaned of everything active and of everything that would be fetched from elsewhere.

Cleaning is nh3's (the ammonia library: an HTML5 parser and an allow-list); text is rendered from the cleaned form only, which is always
well nested, so that no trick of markup reaches the renderer.
"""

import html
import re
from collections import Counter
from typing import Final

import nh3

HTML_CHARACTERS_MAX = 512 * 1024  # longer HTML is cut before cleaning: time and memory grow with it
OPEN_TAGS_MAX = 20_000  # long threads have a few thousand
NESTING_MAX = 2_000  # threads quoted over years reach some hundred; time grows with the square: 16,000 levels take a second
BRACKETS_MAX = 100_000  # with closing tags, comments and bare ones
AMPERSANDS_MAX = 50_000  # bare ones cost the HTML parser quadratic time
ATTRIBUTES_MAX = 50_000  # each is compared with the others of its tag
ROOTS_MIN = 200  # brackets, below which nothing begins again too often
ROOTS_WEIGHT_MAX = (
    20_000_000  # every further <html> or <body> compares its attributes with all of those before it
)
TAG_ATTRIBUTES_MAX = 10_000  # or line ends of an image that stands in the markup itself
REOPENED_MAX = (
    500_000  # every block opens again what formatting was left open before it, at a microsecond each
)
HIDDEN_REOPENED_MAX = 3_000_000  # honest newsletters have 30 kinds of formatting and 20,000 brackets

_TAGS: Final = nh3.ALLOWED_TAGS | {"font", "tt", "big"}
_ATTRIBUTES: Final = {
    **{tag: names - {"cite"} for tag, names in nh3.ALLOWED_ATTRIBUTES.items()},
    "*": {"title", "dir", "lang"},
    "blockquote": {"type"},
    "font": {"color", "face", "size"},
    "img": {"align", "alt", "width", "height"},
}
# cid: names an image inside the mail (RFC 2392); everything else an image could name would be fetched from elsewhere.
_ATTRIBUTES_WITH_IMAGES: Final = {**_ATTRIBUTES, "img": _ATTRIBUTES["img"] | {"src"}}
_SCHEMES: Final = {"http", "https", "mailto", "tel", "cid"}
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
_REL = "noopener noreferrer nofollow"

_BLANKS = re.compile(r"[ \t\r\n\f]+")
_TAG_OPEN = re.compile(r"<[a-zA-Z]")
# What an HTML parser walks through for every further element, and what does not close by itself.
_NESTED = re.compile(
    r"<(/?)(address|article|aside|blockquote|center|details|dir|div|dl|fieldset|figure|footer|form|header|main|menu|nav|object|ol|pre|"
    r"section|table|ul|hgroup|summary|search|listing|dialog|figcaption)\b",
    re.IGNORECASE,
)
_FORMATTING = re.compile(r"<(/?)(b|big|code|em|font|i|s|small|strike|strong|tt|u)(?=[\s>/])", re.IGNORECASE)
_FORMATTING_TAG = re.compile(
    r"<(?:b|big|code|em|font|i|s|small|strike|strong|tt|u)(?=[\s>/])[^>]{0,300}", re.IGNORECASE
)
_LONG_TAG = re.compile(r"<[a-zA-Z][^>]{20000,}")
_ROOT_TAG = re.compile(r"<(?:html|body)\b[^>]*", re.IGNORECASE)
_CID = re.compile(r":(?<=[cC][iI][dD]:)")  # from colon to colon: there are far fewer than letters
_ANY_TAG = re.compile(r"<[^<>]{0,4000}>")


class HtmlTooDense(Exception):
    """The HTML holds more markup than editors write; cleaning it would take too long."""


def _only_inline_images(tag: str, attribute: str, value: str) -> str | None:
    if tag == "img" and attribute == "src" and not value.strip().lower().startswith("cid:"):
        return None
    return value


_CLEANER: Final = nh3.Cleaner(
    tags=_TAGS,
    attributes=_ATTRIBUTES,
    url_schemes=_SCHEMES,
    url_relative="deny",  # a mail has no address that could complete them
    clean_content_tags=_DROPPED_WITH_CONTENT,
    link_rel=_REL,
)
# A filter written in Python is asked for every attribute, so only mail that shows images of its own pays for it.
_CLEANER_WITH_IMAGES: Final = nh3.Cleaner(
    tags=_TAGS,
    attributes=_ATTRIBUTES_WITH_IMAGES,
    attribute_filter=_only_inline_images,
    url_schemes=_SCHEMES,
    url_relative="deny",
    clean_content_tags=_DROPPED_WITH_CONTENT,
    link_rel=_REL,
)


def sanitize_html(content: str) -> str:
    """Markup that is safe to show: no scripts, styles, forms, event handlers, foreign schemes or remote images. Raises HtmlTooDense."""
    _refuse_bombs(content)
    cleaner = _CLEANER_WITH_IMAGES if _CID.search(content) else _CLEANER
    return cleaner.clean(content)


def _refuse_bombs(content: str) -> None:
    """Raise HtmlTooDense where the time to parse would grow with the square of the size, or faster."""
    brackets = content.count("<")
    if brackets > BRACKETS_MAX or brackets > OPEN_TAGS_MAX < sum(1 for _ in _TAG_OPEN.finditer(content)):
        raise HtmlTooDense(f"HTML with more than {OPEN_TAGS_MAX} tags is not cleaned")
    if content.count("&") > AMPERSANDS_MAX:
        raise HtmlTooDense(f"HTML with more than {AMPERSANDS_MAX} ampersands is not cleaned")
    if content.count("=") > ATTRIBUTES_MAX or any(
        len(found[0].split()) > TAG_ATTRIBUTES_MAX for found in _LONG_TAG.finditer(content)
    ):
        raise HtmlTooDense("HTML with too many attributes is not cleaned")
    roots = _ROOT_TAG.findall(content) if brackets > ROOTS_MIN else []
    if len(roots) * sum(map(len, roots)) > ROOTS_WEIGHT_MAX:
        raise HtmlTooDense("HTML that begins again too often is not cleaned")
    if brackets > NESTING_MAX and _deepest(_NESTED, content) > NESTING_MAX:
        raise HtmlTooDense(f"HTML nested deeper than {NESTING_MAX} is not cleaned")
    if brackets**2 > REOPENED_MAX and (
        _deepest(_FORMATTING, content) * brackets > REOPENED_MAX
        or _reopenable(content) * brackets > HIDDEN_REOPENED_MAX
    ):
        raise HtmlTooDense("HTML with too many unclosed tags is not cleaned")


def _deepest(tags: re.Pattern[str], content: str) -> int:
    """How many of these elements are open at once; a closing tag closes its own kind only."""
    open_now: Counter[str] = Counter()
    depth = deepest = 0
    for found in tags.finditer(content):
        name = found[2].lower()
        if not found[1]:
            open_now[name] += 1
            depth += 1
            deepest = max(deepest, depth)
        elif open_now[name]:
            open_now[name] -= 1
            depth -= 1
    return deepest


def _reopenable(content: str) -> int:
    """How much formatting could be open at once if its closing tags were hidden, in comments or attributes.

    HTML keeps at most three alike (the "Noah's Ark clause" of its standard).
    """
    alike = Counter(found[0] for found in _FORMATTING_TAG.finditer(content))
    return sum(min(count, 3) for count in alike.values())


def strip_tags(content: str) -> str:
    """The words of HTML that was too dense to be cleaned: tags out, entities in, no structure."""
    return _BLANKS.sub(" ", html.unescape(_ANY_TAG.sub(" ", content))).strip()


def escape_text(text: str) -> str:
    """Plain text as HTML that keeps its lines."""
    return f"<pre>{html.escape(text, quote=False)}</pre>"
