"""What every EventLog must do; run on the fake and on a real broker. The group's part is in event_log_group_contract."""

import os
import time

import pytest

from contract.event_log_bench import Bench, BenchContract, Cluster
from postlane.ports import (
    Bounds,
    CommitPoint,
    Fenced,
    LogUnavailable,
    NewRecord,
    RecordRefused,
    TopicPartition,
)

SHORT_SECONDS = 1.0
TOO_LARGE_BYTES = 3 * 2**20


class EventLogContract(BenchContract):
    """Topics, transactions, offsets, reading."""

    # Topics

    def test_a_topic_keeps_its_id(self, bench: Bench, cluster: Cluster) -> None:
        other = cluster.create_topic(1)
        assert bench.log.topic_id(bench.topic) == bench.log.topic_id(bench.topic)
        assert bench.log.topic_id(bench.topic) != bench.log.topic_id(other)

    def test_partitions_are_counted(self, bench: Bench) -> None:
        assert bench.log.partition_count(bench.topic) == 4

    def test_a_missing_topic_is_named_with_what_to_do(self, bench: Bench) -> None:
        with pytest.raises(LogUnavailable, match=r"no-such-topic.*postlane topics apply"):
            bench.log.partition_count("no-such-topic")

    # Writing

    def test_committed_records_are_read_back_whole(self, bench: Bench) -> None:
        before = int(time.time() * 1000) - 1000
        writer = bench.owner()
        whole = NewRecord(
            to=bench.at, key="Zürich".encode(), value=b"\x00\xff", headers=(("a", b"1"), ("a", b""))
        )
        bare = NewRecord(to=bench.at, key=None, value=None)
        offsets = writer.stage([whole, bare])
        writer.commit()
        records = bench.read()
        assert [(r.at, r.offset, r.key, r.value, r.headers) for r in records] == [
            (bench.at, offsets[0], whole.key, whole.value, whole.headers),
            (bench.at, offsets[1], None, None, ()),
        ]
        assert all(record.timestamp_ms >= before for record in records)

    def test_offsets_are_returned_in_the_order_of_the_records(self, bench: Bench) -> None:
        writer = bench.owner()
        bench.write(writer, b"a")
        records = [bench.record(b"b"), bench.record(b"x", 1), bench.record(b"c"), bench.record(b"y", 1)]
        offsets = writer.stage(records)
        writer.commit()
        for new, offset in zip(records, offsets, strict=True):
            assert [record.value for record in bench.log.fetch_at(new.to, [offset])] == [new.value]

    def test_open_transactions_are_invisible_and_hold_up_readers(self, bench: Bench) -> None:
        writer = bench.owner()
        bench.write(writer, b"before")
        writer.stage([bench.record(b"open")])
        end = bench.log.bounds(bench.at).end
        reading = bench.log.read(bench.at, 0, end, SHORT_SECONDS)
        assert [record.value for record in next(reading)] == [b"before"]
        with pytest.raises(LogUnavailable, match="no progress"):
            next(reading)
        writer.commit()
        assert bench.values() == [b"before", b"open"]

    def test_a_reader_is_given_what_it_wants_and_no_more(self, bench: Bench) -> None:
        bench.write(bench.owner(), b"one", b"two", b"three")
        end = bench.log.bounds(bench.at).end
        batches = bench.log.read(
            bench.at, 0, end, 20.0, wanted=lambda key, value: key == b"ticket" and value == b"two"
        )
        assert [record.value for batch in batches for record in batch] == [b"two"]

    def test_what_a_transaction_without_an_end_hides(self, bench: Bench) -> None:
        writer = bench.owner()
        bench.write(writer, b"before")
        assert bench.values() == [b"before"]  # a commit is answered before its end is marked everywhere
        assert bench.log.hidden(bench.at) is None
        writer.stage([bench.record(b"first"), bench.record(b"last")])
        last = bench.log.hidden(bench.at)
        assert last is not None
        assert (last.value, last.key) == (b"last", b"ticket")
        writer.commit()
        assert bench.values() == [b"before", b"first", b"last"]
        assert bench.log.hidden(bench.at) is None

    def test_what_is_not_stable_can_be_looked_at(self, bench: Bench) -> None:
        first, second = bench.owner(), bench.log.writer("another")
        second.take_over()
        bench.write(first, b"before")
        assert bench.values() == [b"before"]
        stable = bench.log.stable_end(bench.at)
        assert stable == bench.log.bounds(bench.at).end
        assert [*bench.log.unstable(bench.at)] == []
        (opened,) = first.stage([bench.record(b"open")])
        bench.write(second, b"committed behind it")
        assert bench.log.stable_end(bench.at) == opened == stable
        seen = [one.value for batch in bench.log.unstable(bench.at) for one in batch]
        assert seen == [b"open", b"committed behind it"]
        first.abort()
        assert bench.values() == [b"before", b"committed behind it"]

    def test_many_ends_are_asked_for_at_once(self, bench: Bench) -> None:
        writer = bench.owner()
        bench.write(writer, b"before")
        assert bench.values() == [b"before"]
        beside = TopicPartition(bench.at.topic, bench.at.partition + 1)
        (opened,) = writer.stage([bench.record(b"open")])
        assert bench.log.ends([bench.at, beside], stable=True) == {bench.at: opened, beside: 0}
        assert bench.log.ends([bench.at, beside], stable=False) == {bench.at: opened + 1, beside: 0}
        assert bench.log.ends([], stable=True) == {}
        writer.abort()

    def test_an_aborted_writer_goes_on(self, bench: Bench) -> None:
        writer = bench.owner()
        writer.stage([bench.record(b"undone")])
        writer.abort()
        writer.abort()
        bench.write(writer, b"kept")
        assert bench.values() == [b"kept"]
        writer.close()
        with pytest.raises(Fenced):
            writer.abort()

    def test_aborted_records_are_never_seen(self, bench: Bench) -> None:
        first = bench.owner()
        first.stage([bench.record(b"aborted")])
        first.close()
        second = bench.owner()
        bench.write(second, b"kept")
        assert bench.values() == [b"kept"]

    def test_a_transaction_may_hold_nothing(self, bench: Bench) -> None:
        writer = bench.owner()
        assert writer.stage([]) == []
        writer.commit()
        assert bench.write(writer, b"a") == [0]

    def test_one_transaction_at_a_time(self, bench: Bench) -> None:
        writer = bench.owner()
        writer.stage([bench.record(b"a")])
        with pytest.raises(RuntimeError, match="before the last transaction was committed"):
            writer.stage([bench.record(b"b")])
        writer.commit()
        assert bench.values() == [b"a"]

    def test_a_record_that_is_too_large_is_named_and_the_writer_goes_on(self, bench: Bench) -> None:
        writer = bench.owner()
        too_large = bench.record(os.urandom(TOO_LARGE_BYTES))
        with pytest.raises(RecordRefused) as refusal:
            writer.stage([bench.record(b"a"), bench.record(b"b"), too_large, bench.record(b"c")])
        assert refusal.value.index == 2
        bench.write(writer, b"after")
        assert bench.values() == [b"after"]

    def test_a_missing_partition_leaves_no_transaction_open(self, bench: Bench) -> None:
        writer = bench.owner()
        with pytest.raises(LogUnavailable):
            writer.stage([bench.record(b"a"), bench.record(b"b", partition=99)])
        bench.write(writer, b"after")
        assert bench.values() == [b"after"]

    # Fencing

    def test_taking_over_fences_the_former_holder(self, bench: Bench) -> None:
        former, newer = bench.owner(), bench.owner()
        with pytest.raises(Fenced):
            former.stage([bench.record(b"zombie")])
        with pytest.raises(Fenced):
            former.stage([bench.record(b"zombie")])
        bench.write(newer, b"mine")
        assert bench.values() == [b"mine"]

    def test_taking_over_aborts_what_the_former_holder_left_open(self, bench: Bench) -> None:
        former = bench.owner()
        former.stage([bench.record(b"zombie")])
        bench.owner()
        with pytest.raises(Fenced):
            former.commit()
        assert bench.values() == []

    def test_a_closed_writer_is_fenced(self, bench: Bench) -> None:
        writer = bench.owner()
        writer.close()
        with pytest.raises(Fenced):
            writer.stage([bench.record(b"a")])

    # Offsets of the group

    def test_no_offset_is_committed_at_first(self, bench: Bench) -> None:
        assert bench.log.committed(bench.group, bench.at) is None

    def test_offset_and_metadata_are_committed_with_the_records(self, bench: Bench) -> None:
        writer = bench.owner()
        member, _ = bench.sole_member()
        for number in range(3):
            point = CommitPoint(number, f'{{"status_from":{number},"é":"ü"}}')
            writer.stage([bench.record(b"%d" % number)])
            writer.commit(member, [(bench.at, point)])
            assert bench.committed_soon() == point
        assert bench.values() == [b"0", b"1", b"2"]

    def test_offsets_can_be_committed_alone(self, bench: Bench) -> None:
        writer = bench.owner()
        member, _ = bench.sole_member()
        writer.stage([])
        writer.commit(member, [(bench.at, CommitPoint(7, "moved"))])
        assert bench.committed_soon() == CommitPoint(7, "moved")

    def test_a_fenced_commit_leaves_offset_and_records_as_they_were(self, bench: Bench) -> None:
        former = bench.owner()
        member, _ = bench.sole_member()
        former.stage([bench.record(b"kept")])
        former.commit(member, [(bench.at, CommitPoint(1, "kept"))])
        former.stage([bench.record(b"zombie")])
        bench.owner()
        with pytest.raises(Fenced):
            former.commit(member, [(bench.at, CommitPoint(2, "zombie"))])
        assert bench.committed_soon() == CommitPoint(1, "kept")
        assert bench.values() == [b"kept"]

    def test_a_member_that_left_cannot_commit(self, bench: Bench) -> None:
        writer = bench.owner()
        member, _ = bench.sole_member()
        member.close()
        writer.stage([bench.record(b"a")])
        with pytest.raises(Fenced):
            writer.commit(member, [(bench.at, CommitPoint(1, ""))])
        assert bench.committed_soon() is None
        assert bench.values() == []

    def test_metadata_over_the_limit_is_refused(self, bench: Bench) -> None:
        writer = bench.owner()
        member, _ = bench.sole_member()
        writer.stage([bench.record(b"a")])
        with pytest.raises(ValueError, match="4096"):
            writer.commit(member, [(bench.at, CommitPoint(1, "ü" * 2049))])
        bench.write(writer, b"after")
        assert bench.values() == [b"after"]

    # Reading

    def test_the_end_counts_markers(self, bench: Bench) -> None:
        writer = bench.owner()
        assert bench.log.bounds(bench.at) == Bounds(0, 0)
        bench.write(writer, b"a", b"b")
        bench.write(writer, b"c")
        bench.read()
        assert bench.log.bounds(bench.at) == Bounds(0, 5)

    def test_reading_stops_where_it_was_told_to(self, bench: Bench) -> None:
        writer = bench.owner()
        for value in (b"a", b"b", b"c"):  # offsets 0, 2, 4; markers at 1, 3, 5
            bench.write(writer, value)
        assert [record.offset for record in bench.read(1, 4)] == [2]
        assert [record.offset for record in bench.read(0, 3)] == [0, 2]
        assert bench.read(5, 6) == []
        assert bench.read(2, 2) == []

    def test_many_records_come_in_order(self, bench: Bench) -> None:
        writer = bench.owner()
        values = [b"%05d" % number for number in range(1800)]
        bench.write(writer, *values)
        assert bench.values() == values

    def test_records_are_fetched_by_offset(self, bench: Bench) -> None:
        writer = bench.owner()
        offsets = [bench.write(writer, b"%d" % number)[0] for number in range(4)]
        marker = offsets[1] + 1
        wanted = [offsets[0], marker, offsets[3], 10_000]
        for _ in range(2):
            found = bench.log.fetch_at(bench.at, wanted)
            assert [record.offset for record in found] == [offsets[0], offsets[3]]
        assert bench.log.fetch_at(bench.at, []) == []

    def test_aborted_records_cannot_be_fetched(self, bench: Bench) -> None:
        writer = bench.owner()
        aborted = writer.stage([bench.record(b"aborted")])
        writer.close()
        kept = bench.write(bench.owner(), b"kept")
        found = bench.log.fetch_at(bench.at, [*aborted, *kept])
        assert [record.value for record in found] == [b"kept"]

    def test_distant_records_are_fetched_by_offset(self, bench: Bench) -> None:
        writer = bench.owner()
        offsets = bench.write(writer, *(b"%d" % number for number in range(1500)))
        wanted = [offsets[0], offsets[1], offsets[700], offsets[1499]]
        assert [record.offset for record in bench.log.fetch_at(bench.at, wanted)] == wanted

    def test_a_time_leads_to_an_offset(self, bench: Bench) -> None:
        writer = bench.owner()
        bench.write(writer, b"a")
        first = bench.read()[0].timestamp_ms
        while int(time.time() * 1000) <= first:
            time.sleep(0.001)
        (second,) = bench.write(writer, b"b")
        assert bench.log.offset_at(bench.at, 0) == 0
        assert 0 < bench.log.offset_at(bench.at, first + 1) <= second  # the marker between has a time, too
        later = int((time.time() + 3600) * 1000)
        assert bench.log.offset_at(bench.at, later) == bench.log.bounds(bench.at).end
