"""Secrets in words of others: whole, encoded, cut short, folded."""

from base64 import b64encode
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.secrecy import PART_CHARACTERS, Secrets

TOKEN = "ya29.a0AfH6SMBx-_very/long+token=with.odd~characters"
SECRETS = Secrets(TOKEN, "short", "")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("500 what?", "500 what?"),
        (f"500 {TOKEN} what?", "500 *** what?"),
        (f"bad: {b64encode(TOKEN.encode()).decode()}", "bad: ***"),
        (f"grant={quote(TOKEN, safe='')}&x", "grant=***&x"),
        ("it is short", "it is ***"),
        (f"cut: {TOKEN[:30]}", "cut: ***"),
        (f"cut: {TOKEN[20:]}...", "cut: ***..."),
        (f"folded: {TOKEN[:25]} {TOKEN[25:]}", "folded: *** ***"),
        (f"loud: {TOKEN[:30].upper()}", "loud: ***"),
        (f"joined:{TOKEN[:30]}=aaaaaaaaaaaaaaaaaaaa", "joined:***=aaaaaaaaaaaaaaaaaaaa"),
        ("2.0.0 OK 1700000000 af79cd13be357-7b1.25 - gsmtp", "2.0.0 OK 1700000000 af79cd13be357-7b1.25 - gsmtp"),
    ],
)  # fmt: skip
def test_what_is_shown(said: str, shown: str) -> None:
    assert SECRETS.hide(said) == shown


@given(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=16, max_size=80), st.data())
def test_no_long_part_is_left(secret: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(secret) - PART_CHARACTERS))
    end = data.draw(st.integers(start + PART_CHARACTERS, len(secret)))
    before, after = data.draw(st.text(max_size=20)), data.draw(st.text(max_size=20))
    assert secret[start:end] not in Secrets(secret).hide(before + secret[start:end] + after)


@given(st.text())
def test_without_secrets_nothing_is_hidden(text: str) -> None:
    assert Secrets("", "").hide(text) == text


def test_more_may_be_added_and_none_is_shown() -> None:
    secrets = Secrets("one-secret").plus("another-secret")
    assert secrets.hide("one-secret another-secret") == "*** ***"
    assert "secret" not in repr(secrets).replace("secrecy.Secrets", "")
