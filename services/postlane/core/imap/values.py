"""The values in a response: atoms, strings, literals, NIL and lists of them (RFC 3501 section 4)."""

import re
from collections.abc import Iterator

from postlane.core.imap.stream import Fragments, ImapSyntaxError

DEPTH_MAX = 50  # nothing that we ask for nests more than twice

# A section name holds blanks and parentheses: BODY[HEADER.FIELDS (TO)]<0>.
_TOKEN = re.compile(
    rb'[ \t]*(?:(\()|(\))|"((?:[^"\\]|\\.)*)"|([^ \t()"\[]+(?:\[[^\]]*\][^ \t()"]*)?|\[))', re.DOTALL
)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)

Value = bytes | None | list["Value"]


def read_values(fragments: Fragments) -> list[Value]:
    """The values in the text and the literals. Raises ImapSyntaxError where parentheses or quotes do not fit."""
    tree = _Tree()
    for text, literal in _pairs(fragments):
        for token in _tokens(text):
            begins, ends, quoted, atom = token.groups()
            if atom is not None:
                tree.found.append(None if atom.upper() == b"NIL" else atom)
            elif quoted is not None:
                tree.found.append(_QUOTED_PAIR.sub(rb"\1", quoted) if b"\\" in quoted else quoted)
            elif begins:
                tree.begin()
            elif ends:
                tree.end()
        if literal is not None:
            tree.found.append(literal)
    if tree.outer:
        raise ImapSyntaxError("leaves a list open")
    return tree.found


class _Tree:
    """The list that is being read, and those around it."""

    __slots__ = ("found", "outer")

    def __init__(self) -> None:
        self.found: list[Value] = []
        self.outer: list[list[Value]] = []

    def begin(self) -> None:
        if len(self.outer) >= DEPTH_MAX:
            raise ImapSyntaxError(f"nests lists more than {DEPTH_MAX} deep")
        inner: list[Value] = []
        self.found.append(inner)
        self.outer.append(self.found)
        self.found = inner

    def end(self) -> None:
        if not self.outer:
            raise ImapSyntaxError("closes a list that was not opened")
        self.found = self.outer.pop()


def _pairs(fragments: Fragments) -> Iterator[tuple[bytes, bytes | None]]:
    for index in range(0, len(fragments), 2):
        yield fragments[index], fragments[index + 1] if index + 1 < len(fragments) else None


def _tokens(text: bytes) -> Iterator["re.Match[bytes]"]:
    at, end = 0, len(text.rstrip(b" \t"))
    while at < end:
        token = _TOKEN.match(text, at)
        if token is None:
            raise ImapSyntaxError("leaves a string open")
        yield token
        at = token.end()
