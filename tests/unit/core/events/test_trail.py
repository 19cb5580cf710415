"""The x-postlane-* headers of journal and dead-letter records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.mail import BlobRef
from postlane.core.events.status import Origin
from postlane.core.events.trail import (
    BadTrail,
    Dead,
    Done,
    Entry,
    Headers,
    Put,
    ReplayOf,
    Resolution,
    Resolved,
    decode,
    decode_claim,
    decode_replay,
    encode,
    encode_claim,
    encode_replay,
    without_trail,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
numbers = st.integers(0, 10**18 - 1)
times = st.integers(0, 253_402_300_799_999)
origins = st.builds(Origin, st.text("abcXYZ-_09", min_size=1, max_size=22), numbers)
remaining = st.none() | st.lists(texts, max_size=4).map(tuple)
entries = st.one_of(
    st.builds(
        Put,
        origin=origins,
        attempt=numbers,
        first_seen_ms=times,
        due_ms=times,
        remaining=remaining,
        held=numbers,
        cause=texts,
        reason=texts,
    ),
    st.builds(Done, origin=origins),
    st.builds(
        Dead,
        origin=origins,
        origin_topic=texts,
        partition=numbers,
        attempt=numbers,
        first_seen_ms=times,
        died_ms=times,
        remaining=remaining,
        cause=texts,
        reason=texts,
        reply=st.none() | texts,
    ),
    st.builds(
        Resolved,
        dead_offset=numbers,
        resolution=st.sampled_from(Resolution),
        resolved_at_ms=times,
        reason=texts,
    ),
)


@given(entries)
def test_every_entry_round_trips(entry: Entry) -> None:
    assert decode(encode(entry)) == entry


@given(st.builds(ReplayOf, numbers, numbers), remaining)
def test_a_replay_round_trips(source: ReplayOf, left: tuple[str, ...] | None) -> None:
    assert decode_replay(encode_replay(source, left)) == (source, left)


def test_a_request_without_trail_is_no_replay() -> None:
    assert decode_replay((("ce_id", b"1"),)) == (None, None)


def test_a_claim_round_trips() -> None:
    ref = BlobRef(sha256="a" * 64, size_bytes=7)
    assert decode_claim(encode_claim(ref)) == ref
    assert decode_claim(()) is None


def test_long_reasons_are_cut_so_that_copies_fit_their_topic() -> None:
    entry = encode(
        Resolved(dead_offset=1, resolution=Resolution.DISCARDED, resolved_at_ms=1, reason="x" * 5000)
    )
    assert max(len(value) for _, value in entry) == 2000


def test_the_producers_own_headers_are_told_apart() -> None:
    headers = (("traceparent", b"00-1"), *encode(Done(origin=Origin("t", 1))))
    assert without_trail(headers) == (("traceparent", b"00-1"),)


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ((), "x-postlane-kind"),
        ((("x-postlane-kind", b"odd"),), "'odd'"),
        ((("x-postlane-kind", b"done"),), "x-postlane-topic-id"),
        ((("x-postlane-kind", b"done"), ("x-postlane-topic-id", b"t"), ("x-postlane-offset", b"-1")), "'-1'"),
        (
            (
                ("x-postlane-kind", b"resolved"),
                ("x-postlane-resolves", b"1"),
                ("x-postlane-resolution", b"eaten"),
            ),
            "'eaten'",
        ),
    ],
)
def test_a_damaged_record_says_which_header(headers: Headers, named: str) -> None:
    with pytest.raises(BadTrail, match=named):
        decode(headers)


@pytest.mark.parametrize("value", [b"1", b"x:1", b"1:x", b":", b"0:" + b"1" * 5000, "1:\u0661".encode()])
def test_a_damaged_replay_header_is_named(value: bytes) -> None:
    with pytest.raises(BadTrail, match="replay-of"):
        decode_replay((("x-postlane-replay-of", value),))


@pytest.mark.parametrize("value", [b"{", b"{}", b"[1]", b"[" * 100_000, b"[" + b"1" * 5000 + b"]"])
def test_damaged_recipients_are_named(value: bytes) -> None:
    with pytest.raises(BadTrail, match="remaining"):
        decode_replay((("x-postlane-replay-of", b"1:1"), ("x-postlane-remaining", value)))


def test_a_damaged_claim_is_named() -> None:
    with pytest.raises(BadTrail, match="value-blob"):
        decode_claim((("x-postlane-value-blob", b"zz:1"),))


def test_a_time_beyond_the_calendar_is_named() -> None:
    headers = dict(
        encode(Resolved(dead_offset=1, resolution=Resolution.DISCARDED, resolved_at_ms=1, reason=""))
    ) | {"x-postlane-resolved-at": b"100000000000000000"}
    with pytest.raises(BadTrail, match="resolved-at"):
        decode(headers.items())
