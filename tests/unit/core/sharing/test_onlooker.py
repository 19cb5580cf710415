"""Who only reads sees what the allocator knows."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.relay_lease import LeaseKind
from postlane.core.sharing.allocator import SnapshotDue
from postlane.core.sharing.allocator import step as allocate
from postlane.core.sharing.holder_events import Pass, Refused
from postlane.core.sharing.onlooker import SAID_MAX, Onlooker
from unit.core.sharing.lease_bench import Bench, hourly, terms


def looked(bench: Bench, start: int = 0) -> Onlooker:
    onlooker = Onlooker(bench.terms)
    for entry in bench.entries[start:]:
        onlooker.hear(entry, bench.now)
    return onlooker


def refuse(bench: Bench, name: str) -> None:
    leave = bench.start(name)
    assert isinstance(leave, Pass)
    bench.tell(name, Refused(leave=leave, counted=False, cause="quota", reason="550 5.4.5"))


def shared_bench() -> Bench:
    bench = Bench(terms(4, hourly(100)), "a", "b")
    bench.demand("a", 4, units=30)
    bench.run(30)
    bench.demand("b", 2, units=5)
    bench.run(5)
    return bench


def test_it_sees_what_is_granted_and_not_given_back() -> None:
    bench = shared_bench()
    onlooker = looked(bench)
    assert onlooker.books.tallies == bench.allocator.books.tallies
    used = sum(onlooker.used("mails/hour").values())
    assert used == sum(bench.allocator.books.tallies.values()) > 0
    bench.demand("a", 4, units=0)
    bench.run(5)
    assert sum(looked(bench).used("mails/hour").values()) < used
    assert looked(bench).used("mails/day") == {}
    assert onlooker.version > 0


def test_what_living_senders_have_in_hand_is_not_spent() -> None:
    bench = shared_bench()
    bench.run(30)  # their requests say by now what they have
    onlooker = looked(bench)
    in_hand = sum(holder.purse.has("mails/hour", bench.now) for holder in bench.holders.values())
    assert in_hand > 0
    assert sum(onlooker.used("mails/hour").values()) == in_hand
    # What is about to expire, senders do not count as theirs any more.
    assert sum(onlooker.spent("mails/hour").values()) <= in_hand / 2
    bench.start("a")
    bench.demand("a", 4, units=30)
    bench.run(5)
    assert sum(looked(bench).spent("mails/hour").values()) >= 1
    assert onlooker.spent("mails/day") == {}


@given(at=st.integers(0, 60), refused=st.booleans())
def test_from_a_snapshot_on_it_comes_to_the_same(at: int, refused: bool) -> None:
    bench = shared_bench()
    for second in range(60):
        if second == at:
            allocate(bench.allocator, SnapshotDue(), bench.now)
        bench.demand("a", 4, units=second % 20)
        bench.run(1)
    if refused:
        refuse(bench, "a")
        bench.run(3)
    snapshots = [entry for entry in bench.entries if entry.lease.kind is LeaseKind.SNAPSHOT]
    newest = snapshots[-1].lease.snapshot
    assert newest is not None
    whole, late = looked(bench), looked(bench, newest.read_to)
    assert whole.books.tallies == late.books.tallies == bench.allocator.books.tallies
    assert whole.hold == late.hold == bench.allocator.books.hold
    assert (late.hold is not None) is refused


def test_what_senders_wrote_while_a_snapshot_was_on_its_way_is_not_lost() -> None:
    bench = shared_bench()
    before = len(bench.entries)
    refuse(bench, "a")
    report = bench.entries[before]
    assert report.lease.kind is LeaseKind.REPORT
    allocate(bench.allocator, SnapshotDue(), bench.now)
    newest = max(e.offset for e in bench.entries if e.lease.snapshot is not None)
    snapshot = bench.entries[newest]
    assert snapshot.lease.snapshot is not None
    late = replace(
        snapshot,
        offset=report.offset + 1,
        lease=replace(snapshot.lease, snapshot=replace(snapshot.lease.snapshot, read_to=report.offset)),
    )
    onlooker = Onlooker(bench.terms)
    for entry in (*bench.entries[: report.offset], report, late):
        onlooker.hear(entry, bench.now)
    assert onlooker.hold is not None
    assert onlooker.hold.reported_by == "a"


def test_what_a_snapshot_contains_is_forgotten() -> None:
    bench = shared_bench()
    onlooker = looked(bench)
    bench.run(100)
    for _ in range(5):
        allocate(bench.allocator, SnapshotDue(), bench.now)
        bench.run(1)
    for entry in bench.entries[onlooker.version :]:
        onlooker.hear(entry, bench.now)
    assert onlooker.version == len(bench.entries)
    assert len(onlooker.books.given) <= len(bench.allocator.books.given) + 2


def test_a_kind_of_record_that_it_does_not_know_says_nothing() -> None:
    bench = shared_bench()
    onlooker = looked(bench)
    tallies = dict(onlooker.books.tallies)
    last = bench.entries[-1]
    onlooker.hear(replace(last, lease=replace(last.lease, kind=LeaseKind.OTHER)), bench.now)
    assert onlooker.books.tallies == tallies


def test_without_snapshots_it_does_not_grow_for_ever() -> None:
    bench = shared_bench()
    onlooker = looked(bench)
    entry = next(one for one in bench.entries if one.lease.request is not None)
    for offset in range(2 * SAID_MAX):
        onlooker.hear(replace(entry, offset=entry.offset + offset), bench.now)
    assert len(onlooker._said) == SAID_MAX
