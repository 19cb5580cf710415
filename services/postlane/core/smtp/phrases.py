"""Phrases: what a reply must say for a rule to fit.

Relays write one thing with different punctuation, capitals and accents, and with addresses in between. So a text is taken as its words,
and a phrase is a row of words with a little grammar:

    mailbox full          these words, one after the other, anywhere in the text; whole words, so `full` is not found in `fully`
    (user|mail box)       one of these
    [is|was]              one of these, or nothing
    exceed*               any word that begins so
    #                     a number
    ...                   up to GAP_WORDS_MAX words, whatever they are
    ^quota    later$      at the beginning, at the end of the text

Punctuation parts words, in a phrase as in a text. Nothing but `...` repeats, and that GAPS_MAX times at most: however hostile a text
is, the work grows with its length alone. Regular expressions, whose work can explode, cannot be written.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

GAP_WORDS_MAX = 8  # room for an address and a few words of courtesy
GAPS_MAX = 2


class BadPhrase(ValueError):
    """The phrase cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase, ready to be looked for.

    A text in which it is found has at least one of `needs` among its words, `word*` standing for all that begin so; where `needs` is
    empty, nothing is known.
    """

    pattern: re.Pattern[str]
    needs: frozenset[str]

    def found_in(self, words: str) -> bool:
        """Whether it stands in a text, given as `words_of` returns it."""
        return self.pattern.search(words) is not None


_WORD = re.compile(r"[^\W_]+")
_TOKEN = re.compile(r"\.\.\.|[()\[\]|#^$]|[^\W_]+\*?|(?P<parting>[\s\-'/,:;.@=<>!&\"_])|(?P<other>.)")


def words_of(text: str) -> str:
    """The words of a text in lower case and without accents, a blank before and after each."""
    return f" {' '.join(_WORD.findall(_plain(text)))} "


def read_phrase(text: str) -> Phrase:
    """Read a phrase. Raises BadPhrase."""
    tokens = _tokens(text)
    if tokens.count("...") > GAPS_MAX:
        raise BadPhrase(f"it has more than {GAPS_MAX} gaps (...)")
    first = r"\A" if tokens[:1] == ["^"] else ""
    last = r"\Z" if tokens[-1:] == ["$"] else ""
    reader = _Reader(tokens[len(first) > 0 : len(tokens) - (len(last) > 0)])
    row = reader.row()
    if (left := reader.next) is not None:
        raise BadPhrase(f"{left!r} stands where it means nothing")
    if row.may_be_empty:
        raise BadPhrase("it asks for no word, so every text would fit")
    return Phrase(re.compile(f"{first} {row.pattern}{last}"), row.needs)


def _plain(text: str) -> str:
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text).lower()
    return "".join(character for character in apart if not unicodedata.combining(character))


def _tokens(text: str) -> list[str]:
    found = list(_TOKEN.finditer(_plain(text)))
    if other := next((each["other"] for each in found if each["other"]), None):
        raise BadPhrase(
            f"{other!r} means nothing here; a phrase is no regular expression, it has words, word*, (one|or other), "
            "[or nothing], #, ..., and ^ first or $ last"
        )
    return [each[0] for each in found if not each["parting"]]


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a phrase as a regular expression in which a blank follows each word; `needs` as in Phrase."""

    pattern: str
    needs: frozenset[str] = frozenset()
    may_be_empty: bool = False


# Possessive: a word of the text is taken whole or not at all.
_SIGNS = {
    "...": _Part(f"(?:[^ ]++ ){{0,{GAP_WORDS_MAX}}}?", may_be_empty=True),
    "#": _Part("[0-9]++ "),
}


class _Reader:
    """Reads a phrase's tokens from left to right."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._left = list(reversed(tokens))

    @property
    def next(self) -> str | None:
        """The next token; None at the end."""
        return self._left[-1] if self._left else None

    def row(self) -> _Part:
        """Parts one after the other, up to the end or to what closes or parts a choice."""
        parts: list[_Part] = []
        while self.next not in (None, "|", ")", "]"):
            parts.append(self._part(self._left.pop()))
        # The longest word is the rarest.
        needs = max((part.needs for part in parts), key=_rarity, default=frozenset[str]())
        return _Part("".join(part.pattern for part in parts), needs, all(part.may_be_empty for part in parts))

    def _part(self, sign: str) -> _Part:
        if sign == "(":
            return self._choice(")")
        if sign == "[":
            return _Part(f"(?:{self._choice(']').pattern})?", may_be_empty=True)
        if sign in ("^", "$"):
            raise BadPhrase(f"{sign!r} stands where it means nothing")
        if sign.endswith("*"):
            return _Part(f"{sign[:-1]}[^ ]*+ ", frozenset({sign}))
        return _SIGNS.get(sign) or _Part(f"{sign} ", frozenset({sign}))

    def _choice(self, close: str) -> _Part:
        rows = [self.row()]
        while self.next == "|":
            self._left.pop()
            rows.append(self.row())
        if self.next != close:
            raise BadPhrase(f"{close!r} is missing")
        self._left.pop()
        if any(row.may_be_empty for row in rows):
            raise BadPhrase("a choice has an empty part; what may be missing stands in [ ]")
        every = (
            frozenset[str]().union(*(row.needs for row in rows)) if all(row.needs for row in rows) else None
        )
        return _Part(f"(?:{'|'.join(row.pattern for row in rows)})", every or frozenset())


def _rarity(needs: frozenset[str]) -> tuple[int, int]:
    return (min(map(len, needs), default=0), -len(needs))
