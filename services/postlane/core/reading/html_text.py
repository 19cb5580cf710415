"""HTML bodies, cleaned of everything active and of everything that would be fetched from elsewhere.

Cleaning is nh3's (the ammonia library: an HTML5 parser and an allow-list); text is rendered from the cleaned form only, which is always
well nested, so that no trick of markup reaches the renderer.
"""

import html
import re
from typing import Final

import nh3

HTML_CHARACTERS_MAX = 512 * 1024  # longer HTML is cut before cleaning: time and memory grow with it
OPEN_TAGS_MAX = 20_000  # long threads have a few thousand; cleaning 20,000 nested ones takes a second, and grows with the square
AMPERSANDS_MAX = 50_000  # bare ones cost the HTML parser quadratic time

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
    if content.count("<") > OPEN_TAGS_MAX < sum(1 for _ in _TAG_OPEN.finditer(content)):
        raise HtmlTooDense(f"HTML with more than {OPEN_TAGS_MAX} tags is not cleaned")
    if content.count("&") > AMPERSANDS_MAX:
        raise HtmlTooDense(f"HTML with more than {AMPERSANDS_MAX} ampersands is not cleaned")
    cleaner = _CLEANER_WITH_IMAGES if "cid:" in content.lower() else _CLEANER
    return cleaner.clean(content)


def strip_tags(content: str) -> str:
    """The words of HTML that was too dense to be cleaned: tags out, entities in, no structure."""
    return _BLANKS.sub(" ", html.unescape(_ANY_TAG.sub(" ", content))).strip()


def escape_text(text: str) -> str:
    """Plain text as HTML that keeps its lines."""
    return f"<pre>{html.escape(text, quote=False)}</pre>"
