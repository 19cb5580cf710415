"""What following and publishing must do; run on the fake and on a real broker."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from contract.event_log_bench import LONG_SECONDS, Bench, BenchContract
from postlane.ports import LogRecord, TopicPartition

QUIET_SECONDS = 0.5


class Heard:
    """What a follower was told, to be waited for."""

    def __init__(self) -> None:
        self._told = threading.Condition()
        self.records: list[LogRecord] = []

    def hear(self, records: list[LogRecord]) -> None:
        with self._told:
            self.records += records
            self._told.notify_all()

    def values(self, count: int) -> list[bytes | None]:
        """The first values, once there are so many."""
        with self._told:
            assert self._told.wait_for(lambda: len(self.records) >= count, LONG_SECONDS)
            return [record.value for record in self.records]


@contextmanager
def following(bench: Bench, start: int = 0, *partitions: int) -> Iterator[Heard]:
    """Follow these partitions, or the first one."""
    heard = Heard()
    starts = {TopicPartition(bench.topic, partition): start for partition in partitions or (0,)}
    follower = bench.log.follow(starts, heard.hear)
    try:
        yield heard
    finally:
        follower.close()


class EventLogFollowingContract(BenchContract):
    """Records as they come."""

    def test_a_follower_hears_what_is_there_and_what_comes(self, bench: Bench) -> None:
        writer = bench.owner()
        bench.write(writer, b"a", b"b")
        with following(bench) as heard:
            assert heard.values(2) == [b"a", b"b"]
            bench.write(writer, b"c")
            assert heard.values(3) == [b"a", b"b", b"c"]
            assert [record.at for record in heard.records] == [bench.at] * 3

    def test_a_follower_begins_where_it_is_told(self, bench: Bench) -> None:
        offsets = bench.write(bench.owner(), b"a", b"b")
        with following(bench, offsets[1]) as heard:
            assert heard.values(1) == [b"b"]

    def test_a_follower_of_several_partitions_hears_each_in_its_order(self, bench: Bench) -> None:
        writer = bench.owner()
        with following(bench, 0, 0, 1) as heard:
            for value in (b"1", b"2"):
                writer.stage([bench.record(value, 0), bench.record(value, 1)])
                writer.commit()
            heard.values(4)
            for partition in (0, 1):
                its = [r.value for r in heard.records if r.at.partition == partition]
                assert its == [b"1", b"2"]

    def test_a_follower_hears_nothing_that_is_not_committed(self, bench: Bench) -> None:
        first = bench.owner()
        with following(bench) as heard:
            first.stage([bench.record(b"aborted")])
            first.close()
            bench.write(bench.owner(), b"kept")
            assert heard.values(1) == [b"kept"]

    def test_nothing_is_heard_after_the_end(self, bench: Bench) -> None:
        writer = bench.owner()
        with following(bench) as heard:
            bench.write(writer, b"before")
            heard.values(1)
        bench.write(writer, b"after")
        time.sleep(QUIET_SECONDS)  # nothing can be waited for that must not come
        assert heard.values(1) == [b"before"]

    def test_what_is_published_stands_in_its_order_without_a_transaction(self, bench: Bench) -> None:
        publisher = bench.log.publisher("contract")
        for number in range(50):
            publisher.publish(bench.record(b"%d" % number))
        publisher.close(LONG_SECONDS)
        assert bench.values() == [b"%d" % number for number in range(50)]

    def test_a_follower_hears_what_is_published_beside_transactions(self, bench: Bench) -> None:
        writer, publisher = bench.owner(), bench.log.publisher("contract")
        with following(bench) as heard:
            publisher.publish(bench.record(b"asked"))
            assert heard.values(1) == [b"asked"]
            bench.write(writer, b"granted")
            assert heard.values(2) == [b"asked", b"granted"]
        publisher.close(LONG_SECONDS)
