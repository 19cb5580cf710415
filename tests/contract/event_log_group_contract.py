"""What every EventLog must do for the members of a consumer group; run on the fake and on a real broker."""

from contract.event_log_bench import Bench, BenchContract
from postlane.ports import CommitPoint, TopicPartition


class GroupContract(BenchContract):
    """Assignment, fetching, pausing, leaving."""

    def test_nothing_is_fetched_before_start(self, bench: Bench) -> None:
        writer = bench.owner()
        bench.write(writer, b"a")
        member, listener = bench.sole_member()
        assert listener.records == []
        member.start(0, 0)
        listener.wait_until(lambda seen: len(seen.records) == 1)
        assert listener.records[0].value == b"a"

    def test_fetching_starts_at_the_given_offset_and_follows(self, bench: Bench) -> None:
        writer = bench.owner()
        offsets = [bench.write(writer, b"%d" % number)[0] for number in range(4)]
        member, listener = bench.sole_member()
        member.start(0, offsets[2])
        listener.wait_until(lambda seen: seen.offsets(0) == offsets[2:])
        more = bench.write(writer, b"more")
        listener.wait_until(lambda seen: seen.offsets(0) == [*offsets[2:], *more])

    def test_open_transactions_are_not_fetched(self, bench: Bench) -> None:
        writer = bench.owner()
        other = bench.log.writer(f"{bench.transactional_id}-other")
        other.take_over()
        member, listener = bench.sole_member()
        member.start(0, 0)
        writer.stage([bench.record(b"open")])
        other.stage([bench.record(b"marker", partition=1)])
        other.commit()
        member.start(1, 0)
        listener.wait_until(lambda seen: len(seen.offsets(1)) == 1)
        assert listener.offsets(0) == []
        writer.commit()
        listener.wait_until(lambda seen: len(seen.offsets(0)) == 1)
        other.close()

    def test_a_paused_partition_rests_while_others_go_on(self, bench: Bench) -> None:
        writer = bench.owner()
        member, listener = bench.sole_member()
        member.start(0, 0)
        member.start(1, 0)
        (first,) = bench.write(writer, b"a")
        listener.wait_until(lambda seen: seen.offsets(0) == [first])
        member.pause(0)
        member.start(2, 0)  # commands are obeyed in order: once 2 is fetched, 0 is paused
        writer.stage([bench.record(b"x", 2)])
        writer.commit()
        listener.wait_until(lambda seen: len(seen.offsets(2)) == 1)
        (second,) = bench.write(writer, b"b")
        writer.stage([bench.record(b"y", 1)])
        writer.commit()
        listener.wait_until(lambda seen: len(seen.offsets(1)) == 1)
        assert listener.offsets(0) == [first]
        member.start(0, second)
        listener.wait_until(lambda seen: seen.offsets(0) == [first, second])

    def test_records_name_the_fetch_session_that_they_belong_to(self, bench: Bench) -> None:
        writer = bench.owner()
        member, listener = bench.sole_member()
        bench.write(writer, b"a")
        first = member.start(0, 0)
        listener.wait_until(lambda seen: len(seen.records) == 1)
        second = member.start(0, 0)
        listener.wait_until(lambda seen: len(seen.records) == 2)
        assert listener.sessions == [first, second]
        assert first != second

    def test_starting_again_goes_back(self, bench: Bench) -> None:
        writer = bench.owner()
        offsets = bench.write(writer, b"a", b"b")
        member, listener = bench.sole_member()
        member.start(0, 0)
        listener.wait_until(lambda seen: seen.offsets(0) == offsets)
        member.start(0, offsets[1])
        listener.wait_until(lambda seen: seen.offsets(0) == [*offsets, offsets[1]])

    def test_members_share_and_keep_what_they_can(self, bench: Bench) -> None:
        _, first = bench.sole_member()
        second_member, second = bench.join()
        second.wait_until(lambda seen: len(seen.owned) == 2)
        first.wait_until(lambda seen: len(seen.owned) == 2)
        assert first.owned | second.owned == {0, 1, 2, 3}
        revoked = {number for call, numbers in first.calls if call == "revoked" for number in numbers}
        assert revoked == second.owned  # cooperative: the others were never taken away
        second_member.close()
        first.wait_until(lambda seen: seen.owned == {0, 1, 2, 3})
        assert second.calls[-1][0] == "revoked"
        assert second.owned == set()

    def test_a_retained_partition_keeps_being_fetched_over_a_rebalance(self, bench: Bench) -> None:
        writer = bench.owner()
        member, first = bench.sole_member()
        for partition in range(4):
            member.start(partition, 0)
        _, second = bench.join()
        second.wait_until(lambda seen: len(seen.owned) == 2)
        kept = min(first.owned)
        writer.stage([bench.record(b"after", kept)])
        writer.commit()
        first.wait_until(lambda seen: len(seen.offsets(kept)) == 1)

    def test_a_kept_member_commits_after_a_rebalance(self, bench: Bench) -> None:
        member, first = bench.sole_member()
        _, second = bench.join()
        second.wait_until(lambda seen: len(seen.owned) == 2)
        kept = TopicPartition(bench.topic, min(first.owned))
        writer = bench.owner()
        writer.stage([bench.record(b"a")])
        writer.commit(member, [(kept, CommitPoint(5, "kept"))])
        bench.at = kept
        assert bench.committed_soon() == CommitPoint(5, "kept")

    def test_closing_revokes_once_and_again_is_harmless(self, bench: Bench) -> None:
        member, listener = bench.sole_member()
        member.start(0, 0)
        member.close()
        member.close()
        assert [call for call, _ in listener.calls].count("revoked") == 1
        assert listener.owned == set()
        member.start(0, 0)
        member.pause(0)

    def test_commands_for_partitions_of_others_are_ignored(self, bench: Bench) -> None:
        writer = bench.owner()
        bench.write(writer, b"a")
        member, first = bench.sole_member()
        other, second = bench.join()
        second.wait_until(lambda seen: len(seen.owned) == 2)
        first.wait_until(lambda seen: len(seen.owned) == 2)
        theirs, ours = (first, second) if 0 in first.owned else (second, first)
        stranger = other if ours is second else member
        stranger.start(0, 0)
        mine = min(ours.owned)
        stranger.start(mine, 0)
        writer.stage([bench.record(b"x", mine)])
        writer.commit()
        ours.wait_until(lambda seen: len(seen.offsets(mine)) == 1)
        assert ours.offsets(0) == []
        assert theirs.records == []
