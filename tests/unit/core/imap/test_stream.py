"""Bytes to responses: the same whatever the pieces in which they come, and bounded whatever they are."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.imap import stream as module
from postlane.core.imap.facts import read_fetch, read_namespace, read_search
from postlane.core.imap.responses import Data, Response, read_response
from postlane.core.imap.stream import Fragments, ImapSyntaxError, ResponseStream, shown
from postlane.core.imap.values import read_values

LITERAL_MAX = 1000


def fed(data: bytes, *cuts: int) -> list[Fragments]:
    stream = ResponseStream(LITERAL_MAX)
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    found: list[Fragments] = []
    for start, end in pairwise(places):
        found += stream.feed(data[start:end])
    return found


@pytest.mark.parametrize(
    ("data", "responses"),
    [
        (b"* OK hi\r\nP1 OK\r\n", [(b"* OK hi",), (b"P1 OK",)]),
        (b"* 1 FETCH (BODY[] {3}\r\na\r\n UID 5)\r\n", [(b"* 1 FETCH (BODY[] ", b"a\r\n", b" UID 5)")]),
        (b"* 1 FETCH (BODY[] {0}\r\n)\r\n", [(b"* 1 FETCH (BODY[] ", b"", b")")]),
        (b"* 1 FETCH (BODY[] ~{2+}\r\nab)\r\n", [(b"* 1 FETCH (BODY[] ", b"ab", b")")]),
        (b"* X {1}\r\na{1}\r\nb\r\n", [(b"* X ", b"a", b"", b"b", b"")]),
        (b"* OK see {5}\r\nP1 NO {9}\r\n+ {3}\r\n", [(b"* OK see {5}",), (b"P1 NO {9}",), (b"+ {3}",)]),
        (b"* BYE {5}\r\n", [(b"* BYE {5}",)]),
        (b'* 1 FETCH (X "{5}")\r\n', [(b'* 1 FETCH (X "{5}")',)]),
        (b"* 2 EXISTS\n* 3 EXISTS\n", [(b"* 2 EXISTS",), (b"* 3 EXISTS",)]),  # line ends of a careless server
        (b"\r\n", [(b"",)]),
        (b"* unfinished", []),
        (b"* 1 FETCH (BODY[] {9}\r\nab", []),
    ],
)
def test_responses(data: bytes, responses: list[Fragments]) -> None:
    assert fed(data) == responses


WORDS = st.text('ab {}()"\\*5', max_size=12).map(str.encode)
PIECE = st.tuples(st.just("text"), WORDS) | st.tuples(st.just("literal"), st.binary(max_size=30))


@given(st.lists(st.lists(PIECE, max_size=4), max_size=6), st.lists(st.integers(0, 2000), max_size=8))
def test_pieces_do_not_matter_and_nothing_is_lost(
    wanted: list[list[tuple[str, bytes]]], cuts: list[int]
) -> None:
    data, literals = b"", []
    for pieces in wanted:
        line = b"* 1 X "
        for kind, content in pieces:
            if kind == "text":
                line += content.rstrip(b"}")
            else:
                line += b"{%d}\r\n" % len(content) + content
                literals.append(content)
        data += line + b"|\r\n"
    whole = fed(data)
    assert fed(data, *cuts) == whole
    assert len(whole) == len(wanted)
    assert [fragment for response in whole for fragment in response[1::2]] == literals


@given(st.lists(st.binary(max_size=80), max_size=12))
def test_noise_is_read_or_refused_and_never_held(chunks: list[bytes]) -> None:
    stream = ResponseStream(LITERAL_MAX)
    with suppress(ImapSyntaxError):
        for chunk in chunks:
            for fragments in stream.feed(chunk):
                read_everything(fragments)
    assert len(stream._buffer) <= sum(map(len, chunks))


IMAP_WORDS = st.sampled_from(
    [b"* ", b"P1 ", b"+ ", b"OK ", b"NO ", b"BYE ", b"[", b"]", b"UIDNEXT 4", b"1 ", b"FETCH ", b"SEARCH ", b"(", b")", b'"', b"\\",
     b"UID 7", b" ", b"NIL", b"BODY[]", b"BODY[HEADER.FIELDS (A)]<0>", b"{3}\r\n", b"{99999}\r\n", b"abc", b"\r\n", b"\n", b"\x00", b"\xff",
     b"RFC822.SIZE ", b"INTERNALDATE ", b'"31-Feb-2026 99:00:00 +9999"', b"ESEARCH ", b"NAMESPACE ", b"4294967296 ", b"EXISTS"]
)  # fmt: skip


@given(st.lists(IMAP_WORDS, max_size=40).map(b"".join), st.lists(st.integers(0, 400), max_size=4))
def test_what_looks_like_imap_is_read_or_refused(data: bytes, cuts: list[int]) -> None:
    with suppress(ImapSyntaxError):
        for fragments in fed(data, *cuts):
            read_everything(fragments)


def read_everything(fragments: Fragments) -> Response | None:
    response = read_response(fragments)
    if isinstance(response, Data):
        read_search(response)
        read_namespace(response)
        read_values(response.rest)
        item = read_fetch(response)
        assert item is None or 0 < item.uid < 2**32
    return response


def test_a_literal_above_the_limit_is_refused_before_it_comes() -> None:
    with pytest.raises(ImapSyntaxError, match="announces 1001 bytes"):
        fed(b"* 1 FETCH (BODY[] {1001}\r\n")
    with pytest.raises(ImapSyntaxError, match="announces 9999999999999999999 bytes"):
        fed(b"* 1 FETCH (BODY[] {9999999999999999999}\r\n")


def test_endless_literals_in_one_response_are_refused() -> None:
    with pytest.raises(ImapSyntaxError, match="literals in one response"):
        fed(b"* 1 FETCH (X" + b" {1}\r\na" * 1100)


def test_a_line_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_BYTES_MAX", 100)
    with pytest.raises(ImapSyntaxError, match="line of more than 100 bytes"):
        fed(b"x" * 101)
    with pytest.raises(ImapSyntaxError, match="line of more than 100 bytes"):
        fed(b"* SEARCH " + b"1 " * 100 + b"\r\n")
    assert fed(b"x" * 99 + b"\r\n") == [(b"x" * 99,)]


def test_a_hundred_thousand_lines_in_one_read_are_read() -> None:
    assert len(fed(b"* 1 EXISTS\r\n" * 100_000)) == 100_000


def test_nonsense_is_shown_on_one_short_line() -> None:
    assert shown(b"220 mail\x1b[2J\xff\r") == "220 mail?[2J\ufffd?"
    assert len(shown(b"x" * 500)) == 83
