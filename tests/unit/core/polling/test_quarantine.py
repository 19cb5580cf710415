"""The headers of a mail in quarantine, there and back; and how long to stay away from a failing server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.mail import BlobRef
from postlane.core.polling.quarantine import BadQuarantine, Quarantined, decode_quarantine, encode_quarantine
from postlane.core.reconnect import AUTH_SECONDS_MAX, FIRST_SECONDS, SECONDS_MAX, reconnect_seconds

ENTRY = Quarantined(
    mailbox="support",
    folder="Büro",
    uid_validity=7,
    uid=3,
    failures=6,
    died_ms=1_790_000_000_000,
    cause="fetch",
    reason="connection lost",
    raw=BlobRef(sha256="ab" * 32, size_bytes=9),
)


@pytest.mark.parametrize("raw", [None, ENTRY.raw])
def test_there_and_back(raw: BlobRef | None) -> None:
    entry = Quarantined(
        **{name: getattr(ENTRY, name) for name in Quarantined.__slots__ if name != "raw"}, raw=raw
    )
    assert decode_quarantine((("other", b"x"), *encode_quarantine(entry))) == entry


@pytest.mark.parametrize(
    ("name", "value"),
    [("kind", b"put"), ("uid", b"x"), ("uid", None), ("mailbox", None), ("raw-size", b"-1")],
)
def test_broken_headers_are_named(name: str, value: bytes | None) -> None:
    headers = [(key, content) for key, content in encode_quarantine(ENTRY) if key != f"x-postlane-{name}"]
    if value is not None:
        headers.append((f"x-postlane-{name}", value))
    with pytest.raises(BadQuarantine, match=f"x-postlane-{name}"):
        decode_quarantine(headers)


@given(failures=st.integers(1, 10_000), jitter=st.floats(0, 1), auth=st.booleans())
def test_waits_grow_to_a_limit_and_never_vanish(failures: int, jitter: float, auth: bool) -> None:
    seconds = reconnect_seconds(failures, jitter, auth=auth)
    assert FIRST_SECONDS / 2 <= seconds <= (AUTH_SECONDS_MAX if auth else SECONDS_MAX)
    assert seconds <= reconnect_seconds(failures + 1, 1.0, auth=auth)
    assert reconnect_seconds(failures, jitter, auth=True) >= reconnect_seconds(failures, jitter)
