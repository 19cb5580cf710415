"""What is told beside answers, and which of it is news of mail."""

import pytest

from postlane.core.imap.announcements import Announcements
from postlane.core.imap.facts import SelectedFolder
from postlane.core.imap.responses import read_response


@pytest.mark.parametrize(
    ("lines", "news"),
    [
        ([], False),
        ([b"* 3 EXISTS"], False),  # told again
        ([b"* 4 EXISTS"], True),
        ([b"* 4 EXISTS", b"* 4 EXISTS"], True),
        ([b"* 1 EXPUNGE"], False),
        ([b"* 1 EXPUNGE", b"* 2 EXISTS"], False),
        ([b"* 1 EXPUNGE", b"* 3 EXISTS"], True),  # one gone, one come
        ([b"* 4 EXISTS", b"* 4 EXPUNGE"], True),  # gone again, which a look will show
        ([b"* 9 EXPUNGE"] * 9 + [b"* 1 EXISTS"], True),
        ([b"* 2 RECENT", b"* OK hi", b"* 1 FETCH (FLAGS ())"], False),
    ],
)
def test_news(lines: list[bytes], news: bool) -> None:
    told = Announcements()
    told.selected(SelectedFolder(7, 4, 3))
    for line in lines:
        response = read_response((line,))
        assert response is not None
        told.note(response)
    assert told.has_news is news
    told.searching()
    assert not told.has_news


def test_capabilities_are_those_told_last() -> None:
    told = Announcements()
    for line in (b"* OK [CAPABILITY A] hi", b"* CAPABILITY B c", b"P1 OK done"):
        response = read_response((line,))
        assert response is not None
        told.note(response)
    assert told.capabilities == frozenset({"B", "C"})


def test_another_uid_validity_is_noticed() -> None:
    told = Announcements()
    for line, renumbered in (
        (b"* OK [UIDVALIDITY 7] x", False),  # that of SELECT
        (b"* OK [UIDVALIDITY 7] again", False),
        (b"* OK [UIDNEXT 9] x", False),
        (b"* OK [UIDVALIDITY 8] x", True),
    ):
        response = read_response((line,))
        assert response is not None
        told.note(response)
        assert told.is_renumbered is renumbered
        told.selected(SelectedFolder(7, 4, 3))
