"""IMAP's lines, as servers write them and as aioimaplib hands them on."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.adapters.aioimaplib_lines import has_exists, parse_fetch, parse_search, parse_select
from postlane.core.imap.facts import FetchedItem, SelectedFolder

AT = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("lines", "items"),
    [
        (
            [b'1 FETCH (UID 5 RFC822.SIZE 99 INTERNALDATE "21-Nov-2026 10:00:00 +0100")', b"FETCH done"],
            [FetchedItem(5, 99, AT, None)],
        ),
        (
            [b'1 FETCH (INTERNALDATE " 1-nov-2026 00:00:00 -0000" UID 5)'],
            [FetchedItem(5, None, datetime(2026, 11, 1, tzinfo=UTC), None)],
        ),
        (
            [
                b"1 FETCH (UID 5 BODY[] {3}",
                bytearray(b"abc"),
                b")",
                b"2 FETCH (UID 6 BODY[] {2}",
                bytearray(b"de"),
                b")",
                b"OK",
            ],
            [FetchedItem(5, None, None, b"abc"), FetchedItem(6, None, None, b"de")],
        ),
        ([b"1 FETCH (BODY[] {3}", bytearray(b"abc"), b" UID 5)"], [FetchedItem(5, None, None, b"abc")]),
        (
            [b"1 FETCH (UID 5 BODY[]<0> {3}", bytearray(b"UID"), b" FLAGS (\\Seen))"],
            [FetchedItem(5, None, None, b"UID")],
        ),
        ([b'1 FETCH (UID 5 BODY[] "quo\\"ted UID 9")'], [FetchedItem(5, None, None, b'quo"ted UID 9')]),
        ([b'1 FETCH (BODY[] "UID 9" UID 5)'], [FetchedItem(5, None, None, b"UID 9")]),
        ([b'1 FETCH (UID 5 BODY[] "")'], [FetchedItem(5, None, None, b"")]),
        ([b"1 FETCH (UID 5 BODY[] NIL)"], [FetchedItem(5, None, None, None)]),
        ([b"1 FETCH (UID 5 BODY[HEADER] {0}", bytearray(b""), b")"], [FetchedItem(5, None, None, b"")]),
        ([b"3 FETCH (FLAGS (\\Seen))", b"1 FETCH (UID 5 RFC822.SIZE 1)"], [FetchedItem(5, 1, None, None)]),
        ([b'1 FETCH (UID 5 INTERNALDATE "99-Foo-2026 10:00:00 +0100")'], [FetchedItem(5, None, None, None)]),
        ([b'1 FETCH (UID 5 INTERNALDATE "31-Feb-2026 10:00:00 +9900")'], [FetchedItem(5, None, None, None)]),
        ([b"noise", b"5 EXISTS"], []),
        ([], []),
    ],
)
def test_fetch(lines: list[bytes | bytearray], items: list[FetchedItem]) -> None:
    assert parse_fetch(lines) == items


@given(st.lists(st.binary(max_size=60) | st.binary(max_size=60).map(bytearray), max_size=20))
def test_noise_never_fails(lines: list[bytes | bytearray]) -> None:
    assert all(item.uid >= 0 for item in parse_fetch([b"1 FETCH (UID 5 ", *lines]))
    assert all(uid >= 0 for uid in parse_search(lines))
    parse_select(lines)
    has_exists(lines)


@pytest.mark.parametrize(
    ("lines", "uids"),
    [
        ([b"1 2 3", b"SEARCH completed (Success)"], [1, 2, 3]),
        ([b"SEARCH 3 1", b"SEARCH 2 3", b"done 7 times"], [1, 2, 3]),
        ([b"", b"SEARCH completed"], []),
        ([], []),
    ],
)
def test_search(lines: list[bytes | bytearray], uids: list[int]) -> None:
    assert parse_search(lines) == uids


def test_select() -> None:
    lines = [
        b"FLAGS (\\Seen)",
        b"12 EXISTS",
        b"0 RECENT",
        b"OK [UIDVALIDITY 7] UIDs valid",
        b"OK [UIDNEXT 44] Predicted",
        b"[READ-WRITE] done",
    ]
    assert parse_select(lines) == SelectedFolder(7, 44, 12)
    assert parse_select([b"OK"]) == SelectedFolder(None, None, 0)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"5 EXISTS"], True),
        ([b"OK Still here"], False),
        ([b"3 EXPUNGE", b"2 FETCH (FLAGS ())"], False),
        ([b"stop_wait_server_push"], False),
    ],
)
def test_idle_lines_that_mean_new_mail(lines: list[bytes], expected: bool) -> None:
    assert has_exists(lines) is expected
