"""What the outbound service makes of records that anybody may have written."""

import pytest

from postlane.adapters.avro_codec import Codec
from postlane.core.events.trail import ReplayOf, encode_replay
from postlane.core.sending.lane_mail import Arrival
from postlane.outbound.intake import Intake
from postlane.ports import LogRecord, TopicPartition
from unit.core.lane_bench import request

CODEC = Codec()
HEADERS = tuple[tuple[str, bytes], ...]


def read(headers: HEADERS = (), value: bytes | None = None, key: bytes | None = b"t") -> Arrival:
    record = LogRecord(
        at=TopicPartition("main", 0),
        offset=7,
        timestamp_ms=0,
        key=key,
        value=CODEC.encode(request("t", "e", ("Alice@Example.org", "bob@example.org")))
        if value is None
        else value,
        headers=headers,
    )
    (arrival,) = Intake(CODEC).arrivals([record])
    return arrival


def cause(arrival: Arrival) -> str | None:
    return None if arrival.content.stillborn is None else arrival.content.stillborn.cause


def test_a_request_is_read() -> None:
    arrival = read((("ce_id", b"e"),))
    assert cause(arrival) is None
    assert arrival.content.request is not None
    assert arrival.content.headers == (("ce_id", b"e"),)
    assert not arrival.replay


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (b"t", b"junk", "undecodable"),
        (b"t", b"", "undecodable"),
        (None, None, "no_key"),
        (b"other", None, "wrong_key"),
        (b"\xff", None, "wrong_key"),
    ],
)
def test_what_cannot_be_sent_ends_with_a_cause(key: bytes | None, value: bytes | None, expected: str) -> None:
    assert cause(read(key=key, value=value)) == expected


def test_a_fault_in_the_request_names_the_field() -> None:
    bad = request("t", "e", ("not an address",))
    arrival = read(value=CODEC.encode(bad))
    assert cause(arrival) == "bad_request"
    assert arrival.content.stillborn is not None
    assert "to" in arrival.content.stillborn.reason


def test_a_replay_names_its_recipients_as_the_envelope_spells_them() -> None:
    arrival = read(encode_replay(ReplayOf(0, 1), ("alice@EXAMPLE.org",)))
    assert arrival.replay
    assert arrival.remaining == ("Alice@example.org",)


@pytest.mark.parametrize(
    "remaining", [(), ("mallory@example.org",), ("bob@example.org", "mallory@example.org")]
)
def test_a_replay_for_nobody_or_for_strangers_is_refused(remaining: tuple[str, ...]) -> None:
    assert cause(read(encode_replay(ReplayOf(0, 1), remaining))) == "bad_replay_header"


@pytest.mark.parametrize(
    "headers",
    [
        (("x-postlane-replay-of", b"0:" + b"1" * 5000),),
        (("x-postlane-replay-of", b"0:1"), ("x-postlane-remaining", b"[" * 100_000)),
    ],
)
def test_hostile_headers_cost_only_their_own_record(headers: HEADERS) -> None:
    assert cause(read(headers)) == "bad_replay_header"
