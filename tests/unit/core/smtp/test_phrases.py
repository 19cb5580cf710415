"""Phrases: what they find, what they refuse, and that no text makes them slow."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.adapters.smtp_rules_file import load_classifier
from postlane.core.smtp.phrases import GAP_WORDS_MAX, BadPhrase, read_phrase, words_of

SHIPPED = [phrase for rule in load_classifier().rules for phrase in (*rule.text, *rule.unless)]


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("mailbox full", "Mailbox full", True),
        ("mailbox full", "<kim@x.example>... MAILBOX_FULL!", True),
        ("mailbox full", "mailbox fully", False),
        ("mailbox full", "mailbox is full", False),
        ("mailbox [is|was] full", "The mailbox is full", True),
        ("mailbox [is|was] full", "mailbox full", True),
        ("(user|mail box) unknown", "mail-box unknown", True),
        ("(user|mail box) unknown", "box unknown", False),
        ("isn't here", "She isn't here", True),
        ("exceed*", "exceeded", True),
        ("exceed*", "to exceed", True),
        ("# seconds", "in 300 seconds", True),
        ("# seconds", "in x seconds", False),
        ("user ... unknown", "user kim@example.org unknown", True),
        ("user ... unknown", "user unknown", True),
        ("user ... unknown", "user" + " x" * (GAP_WORDS_MAX + 1) + " unknown", False),
        ("^spam", "spam found", True),
        ("^spam", "no spam", False),
        ("later$", "try later.", True),
        ("later$", "later today", False),
        ("(full|over [the] quota)", "over quota", True),
        ("boite pleine", "Boîte pleine", True),
        ("пользователь не найден", "Пользователь не НАЙДЕН", True),
        ("mailbox", "", False),
    ],
)
def test_what_phrases_find(phrase: str, text: str, found: bool) -> None:
    assert read_phrase(phrase).found_in(words_of(text)) is found


@pytest.mark.parametrize(
    ("phrase", "said"),
    [
        ("", "asks for no word"),
        ("...", "asks for no word"),
        ("[a] ...", "asks for no word"),
        ("a ... b ... c ... d", "more than 2 gaps"),
        ("(a", "')' is missing"),
        ("[a|b", "']' is missing"),
        ("(a]", "')' is missing"),
        ("a)", "')' stands where it means nothing"),
        ("a | b", "'|' stands where it means nothing"),
        ("a ^b", "'^' stands where it means nothing"),
        ("(a|)", "a choice has an empty part"),
        ("(a|[b])", "a choice has an empty part"),
        (r"a\b", "'\\\\' means nothing here"),
        ("a+", "'+' means nothing here"),
        (".*", "'*' means nothing here"),
        ("a{2}", "'{' means nothing here"),
    ],
)
def test_what_cannot_be_read(phrase: str, said: str) -> None:
    with pytest.raises(BadPhrase) as caught:
        read_phrase(phrase)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("phrase", "needs"),
    [
        ("user unknown", {"unknown"}),
        ("exceed* quota", {"exceed*"}),
        ("[no] (user|mailbox)", {"user", "mailbox"}),
        ("(user|#) x", {"x"}),
        ("#", set()),
    ],
)
def test_the_words_that_a_phrase_cannot_do_without(phrase: str, needs: set[str]) -> None:
    assert read_phrase(phrase).needs == needs


@given(st.text(max_size=300))
def test_words_are_bare_and_parted_by_single_blanks(text: str) -> None:
    words = words_of(text)
    assert words == words_of(words)
    assert words.strip(" ") == " ".join(words.split(" ")).strip(" ")
    assert not re.search(r"[^\w ]|_", words)


def test_no_shipped_phrase_can_backtrack_without_bounds() -> None:
    """What repeats without a limit is possessive and takes whole words; a gap is limited. So the work is proportional to the text."""
    assert len(SHIPPED) > 500
    for phrase in SHIPPED:
        bounded = phrase.pattern.pattern.replace(f"(?:[^ ]++ ){{0,{GAP_WORDS_MAX}}}?", "", 2)
        assert not re.search(r"(?<![+*])[+*](?![+*])|\{", re.sub(r"[+*]\+", "", bounded)), phrase


@given(st.lists(st.sampled_from([*"ab", "user", "unknown", "exceeded", "the", "limit"]), max_size=300))
def test_a_found_phrase_has_one_of_the_words_it_needs(words: list[str]) -> None:
    text = words_of(" ".join(words))
    for phrase in map(read_phrase, ("(user|the) ... unknown", "exceed* ... (limit|a b)", "[a] unknown user")):
        if phrase.found_in(text):
            starts = tuple(need.removesuffix("*") for need in phrase.needs)
            assert any(word.startswith(starts) for word in words)
