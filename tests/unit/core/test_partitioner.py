"""murmur2 gives what Kafka's Java client gives; the numbers were printed by Utils.murmur2 of kafka-clients 4.3.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.core.partitioner import murmur2, partition_of

JAVA = [
    (b"", 275646681, 9),
    (b"a", -1563381124, 4),
    (b"ab", 316155434, 2),
    (b"abc", 479470107, 3),
    (b"abcd", -1323649548, 8),
    (b"21", -973932308, 0),
    (b"foobar", -790332482, 6),
    (b"a-little-bit-long-string", -985981536, 8),
    (b"a-little-bit-longer-string", -1486304829, 11),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971, 5),
    (b"TICKET-1", 1220048401, 1),
    ("Zürich-7".encode(), -1615962785, 3),
    ("票据-42".encode(), -120994472, 0),
    ("билет№5".encode(), -581582964, 8),
    ("🎫".encode(), 1129289146, 10),
    (b"thread:0f3a", 877112179, 7),
    ("\u00e9".encode(), 186971271, 3),
    ("e\u0301".encode(), -1650544357, 7),
    (bytes([0xFF, 0xFE, 0, 0x80, 0x81, 0xC3, 0xFF]), 589305265, 1),
]


@pytest.mark.parametrize(("key", "signed_hash", "partition_of_12"), JAVA)
def test_hash_and_partition_are_those_of_java(key: bytes, signed_hash: int, partition_of_12: int) -> None:
    assert murmur2(key) == signed_hash % 2**32
    assert partition_of(key, 12) == partition_of_12


@given(st.binary(max_size=64), st.integers(1, 1000))
def test_every_key_has_a_partition(key: bytes, partition_count: int) -> None:
    assert 0 <= partition_of(key, partition_count) < partition_count


def test_keys_spread_over_all_partitions() -> None:
    hits = [0] * 12
    for number in range(12_000):
        hits[partition_of(b"TICKET-%d" % number, 12)] += 1
    assert min(hits) > 800
    assert max(hits) < 1200
