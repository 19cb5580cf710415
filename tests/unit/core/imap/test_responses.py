"""What responses are, and what they say."""

from datetime import UTC, datetime

import pytest

from postlane.core.imap.facts import (
    FetchedItem,
    Namespace,
    SelectedFolder,
    read_capabilities,
    read_delimiter,
    read_fetch,
    read_namespace,
    read_search,
    read_select,
)
from postlane.core.imap.responses import Continuation, Data, Response, Status, read_response
from postlane.core.imap.stream import Fragments, ImapSyntaxError
from postlane.core.imap.values import read_values

AT = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "response"),
    [
        (b"* OK ready", Status("", "OK", "", "ready")),
        (b"* ok [UIDNEXT 4] Predicted", Status("", "OK", "UIDNEXT 4", "Predicted")),
        (b"P7 NO [LIMIT] too many", Status("P7", "NO", "LIMIT", "too many")),
        (b"P7 OK", Status("P7", "OK", "", "")),
        (b"* BYE", Status("", "BYE", "", "")),
        (b"* BAD \x1b[0m\x00", Status("", "BAD", "", " [0m ")),
        (b"* OK [broken", Status("", "OK", "", "[broken")),
        (b"+ idling", Continuation("idling")),
        (b"+", Continuation("")),
        (b"* 5 EXISTS", Data("EXISTS", 5, (b"",))),
        (b"* SEARCH 1 2", Data("SEARCH", None, (b"1 2",))),
        (b"* search", Data("SEARCH", None, (b"",))),
        (b"* 99999999999 EXISTS", None),
        (b"* %%%", None),
        (b"* ", None),
    ],
)
def test_kinds(line: bytes, response: Response | None) -> None:
    assert read_response((line,)) == response


@pytest.mark.parametrize(
    "line",
    [b"220 mail.example.com ESMTP", b"HTTP/1.1 400 Bad Request", b"SSH-2.0-x", b"", b"*", b"P1", b"-ERR"],
)
def test_what_is_no_imap_is_shown(line: bytes) -> None:
    with pytest.raises(ImapSyntaxError) as refused:
        read_response((line,))
    assert line.decode() in str(refused.value)


def data(*fragments: bytes) -> Data:
    found = read_response(fragments)
    assert isinstance(found, Data)
    return found


@pytest.mark.parametrize(
    ("fragments", "item"),
    [
        (
            (b'* 1 FETCH (UID 5 RFC822.SIZE 99 INTERNALDATE "21-Nov-2026 10:00:00 +0100")',),
            FetchedItem(5, 99, AT, None),
        ),
        (
            (b'* 1 FETCH (INTERNALDATE " 1-nov-2026 00:00:00 -0000" UID 5)',),
            FetchedItem(5, None, datetime(2026, 11, 1, tzinfo=UTC), None),
        ),
        ((b"* 1 FETCH (UID 5 BODY[] ", b"abc", b")"), FetchedItem(5, None, None, b"abc")),
        ((b"* 1 FETCH (BODY[] ", b"abc", b" UID 5)"), FetchedItem(5, None, None, b"abc")),
        ((b"* 1 FETCH (UID ", b"5", b" BODY[] ", b"x", b")"), FetchedItem(5, None, None, b"x")),
        ((b"* 1 FETCH (UID 5 BODY[]<0> ", b"UID 9", b" FLAGS (\\Seen))"), FetchedItem(5, None, None, b"UID 9")),
        ((b'* 1 FETCH (UID 5 BODY[] "quo\\"ted UID 9 {3}")',), FetchedItem(5, None, None, b'quo"ted UID 9 {3}')),
        ((b'* 1 FETCH (UID 5 BODY[] "")',), FetchedItem(5, None, None, b"")),
        ((b"* 1 FETCH (UID 5 BODY[] NIL)",), FetchedItem(5, None, None, None)),
        ((b"* 1 FETCH (BODY[HEADER.FIELDS (TO CC)] ", b"t", b" UID 5)"), FetchedItem(5, None, None, b"t")),
        ((b'* 1 FETCH (UID 5 MODSEQ (7) X-GM-LABELS (\\Inbox "a b") RFC822.SIZE 1)',), FetchedItem(5, 1, None, None)),
        ((b'* 1 FETCH (UID 5 INTERNALDATE "99-Foo-2026 10:00:00 +0100")',), FetchedItem(5, None, None, None)),
        ((b'* 1 FETCH (UID 5 INTERNALDATE "31-Feb-2026 10:00:00 +9900")',), FetchedItem(5, None, None, None)),
        ((b"* 1 FETCH (UID 5 RFC822.SIZE -1)",), FetchedItem(5, None, None, None)),
        ((b"* 1 FETCH (FLAGS (\\Seen))",), None),
        ((b"* 1 FETCH (UID 0)",), None),
        ((b"* 1 FETCH (UID 4294967296)",), None),
        ((b"* 1 FETCH (UID)",), None),
        ((b"* 1 FETCH NIL",), None),
        ((b"* 1 FETCH",), None),
    ],
)  # fmt: skip
def test_fetch(fragments: Fragments, item: FetchedItem | None) -> None:
    assert read_fetch(data(*fragments)) == item


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"((a)", "leaves a list open"),
        (b"a)", "not opened"),
        (b'"a', "string open"),
        (b"(" * 60, "nests lists"),
    ],
)
def test_values_that_do_not_fit_are_refused(text: bytes, words: str) -> None:
    with pytest.raises(ImapSyntaxError, match=words):
        read_values((text,))


@pytest.mark.parametrize(
    ("line", "uids"),
    [(b"* SEARCH 3 1 2", [3, 1, 2]), (b"* SEARCH", []), (b"* SEARCH 1 (MODSEQ 5)", [1]), (b"* SEARCH x 99999999999 4", [4])],
)  # fmt: skip
def test_search(line: bytes, uids: list[int]) -> None:
    assert read_search(data(line)) == uids


@pytest.mark.parametrize(
    ("lines", "folder"),
    [
        ([b"* 12 EXISTS", b"* OK [UIDVALIDITY 7] x", b"* OK [UIDNEXT 44] x"], SelectedFolder(7, 44, 12)),
        ([b"* OK [UIDVALIDITY 0] x", b"* 1 EXISTS", b"* 2 EXISTS"], SelectedFolder(None, None, 2)),
        ([b"* OK [UIDVALIDITY x] x", b"* OK [READ-ONLY] x"], SelectedFolder(None, None, 0)),
        ([], SelectedFolder(None, None, 0)),
    ],
)
def test_select(lines: list[bytes], folder: SelectedFolder) -> None:
    read = [read_response((line,)) for line in lines]
    assert read_select([one for one in read if isinstance(one, Data | Status)]) == folder


@pytest.mark.parametrize(
    ("line", "namespace"),
    [
        (b'* NAMESPACE (("" "/")) NIL NIL', Namespace("", "/")),
        (b'* NAMESPACE (("INBOX." ".")) (("user." ".")) NIL', Namespace("INBOX.", ".", ("user.",))),
        (b'* NAMESPACE (("" NIL)) NIL NIL', Namespace("", "")),
        (b'* NAMESPACE (("" "/" "X" ("y")) ("b" "/")) NIL NIL', Namespace("", "/", ("b",))),
        (b'* NAMESPACE (("" "/")) ((X)) (("" "/") ("#a/" "/") (NIL NIL))', Namespace("", "/", ("X", "#a/"))),
        (b"* NAMESPACE NIL NIL NIL", None),
        (b"* NAMESPACE ((", None),
        (b"* NAMESPACE", None),
    ],
)
def test_namespaces(line: bytes, namespace: Namespace | None) -> None:
    assert read_namespace(data(line)) == namespace


@pytest.mark.parametrize(
    ("line", "delimiter"),
    [(b'* LIST (\\Noselect) "." ""', "."), (b'* LIST () NIL ""', ""), (b"* LIST x", None), (b'* LIST () "\\\\" ""', "\\")],
)  # fmt: skip
def test_delimiters(line: bytes, delimiter: str | None) -> None:
    assert read_delimiter(data(line)) == delimiter


def test_capabilities() -> None:
    assert read_capabilities("CAPABILITY IMAP4rev1 Auth=Plain") == {"IMAP4REV1", "AUTH=PLAIN"}
    long = b"P1 OK [CAPABILITY IMAP4rev1" + b" X" * 1000 + b" UIDPLUS] done"
    said = read_response((long,))
    assert isinstance(said, Status)
    assert "UIDPLUS" in read_capabilities(said.code)
