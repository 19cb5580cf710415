"""Arguments as the server wants them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.imap.arguments import (
    Literal,
    announcement,
    decode_folder,
    encode_folder,
    folder_name,
    place_folder,
    quote,
    search_date,
    string,
    uid_set,
)
from postlane.core.imap.facts import Namespace


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("INBOX", '"INBOX"'),
        ("a & b", '"a &- b"'),
        ("Entwürfe", '"Entw&APw-rfe"'),
        ("台北", '"&U,BTFw-"'),  # the example of RFC 3501 section 5.1.3
        ("~peter/mail/台北/日本語", '"~peter/mail/&U,BTFw-/&ZeVnLIqe-"'),
        ('quo"te\\', '"quo\\"te\\\\"'),
        ("😀", '"&2D3eAA-"'),
    ],
)
def test_folder_names(name: str, sent: str) -> None:
    assert folder_name(name) == sent


@pytest.mark.parametrize("name", ["a\r\nLOGOUT", "a\x00b", "a\nb"])
def test_what_would_end_the_line_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        folder_name(name)
    with pytest.raises(ValueError, match="cannot be sent"):
        quote(name)


@given(st.sets(st.integers(1, 60)))
def test_uid_sets_name_exactly_these(uids: set[int]) -> None:
    named: set[int] = set()
    for run in filter(None, uid_set(sorted(uids)).split(",")):
        first, _, last = run.partition(":")
        named |= set(range(int(first), int(last or first) + 1))
    assert named == uids


def test_dates() -> None:
    assert search_date(datetime(2026, 2, 1, tzinfo=UTC)) == "01-Feb-2026"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_folder_names_come_back(name: str) -> None:
    assert decode_folder(encode_folder(name)) == name


@pytest.mark.parametrize("name", ["a & b", "&", "&AAA", "&Zg-x", "&!-"])
def test_what_is_no_modified_utf_7_stays_or_is_decoded_without_failing(name: str) -> None:
    assert decode_folder(name)


def test_a_server_that_takes_utf_8_gets_it() -> None:
    assert folder_name("Entwürfe", utf8=True) == '"Entwürfe"'


@pytest.mark.parametrize(
    ("name", "prefix", "delimiter", "placed"),
    [
        ("Processed", "", "/", "Processed"),
        ("Processed", "INBOX.", ".", "INBOX.Processed"),
        ("INBOX.Processed", "INBOX.", ".", "INBOX.Processed"),
        ("Archiv/2026", "INBOX.", ".", "INBOX.Archiv.2026"),
        ("a.b/c", "", ".", "a.b/c"),  # it is spelt with the server's own delimiter already
        ("inbox", "INBOX.", ".", "INBOX"),
        ("INBOX/x", "INBOX.", ".", "INBOX.x"),
        ("a/b", "", "", "a/b"),  # no levels at all
    ],
)
def test_folders_are_placed_where_ours_are(name: str, prefix: str, delimiter: str, placed: str) -> None:
    assert place_folder(name, Namespace(prefix, delimiter)) == placed


def test_other_peoples_folders_stay_where_they_are() -> None:
    own = Namespace("INBOX.", ".", ("user.", "#shared/"))
    assert place_folder("user.bob.Support", own) == "user.bob.Support"
    assert place_folder("#shared/a/b", own) == "#shared/a/b"
    assert place_folder("users", own) == "INBOX.users"


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("user", b'"user"'),
        ('a"b\\c', b'"a\\"b\\\\c"'),
        ("", b'""'),
        ("pässword", Literal("pässword".encode())),
        ("two\r\nlines", Literal(b"two\r\nlines")),
        ("x" * 1001, Literal(b"x" * 1001)),
    ],
)
def test_strings(text: str, sent: bytes | Literal) -> None:
    assert string(text) == sent


def test_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        string("a\x00b")


@pytest.mark.parametrize(
    ("capabilities", "size", "announced"),
    [
        (set(), 3, (b"{3}", True)),
        ({"LITERAL+"}, 9000, (b"{9000+}", False)),
        ({"LITERAL-"}, 4096, (b"{4096+}", False)),
        ({"LITERAL-"}, 4097, (b"{4097}", True)),
    ],
)
def test_literals_wait_where_they_must(
    capabilities: set[str], size: int, announced: tuple[bytes, bool]
) -> None:
    assert announcement(Literal(b"x" * size), frozenset(capabilities)) == announced
