"""Several relays in one partition: one transaction at a time, one offset for all."""

from collections.abc import Iterator, Mapping

from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.relay_lease import (
    Amount,
    LeaseKind,
    LeaseRequest,
    RelayLease,
    RelayReport,
    ReportOutcome,
    lease_of,
)
from postlane.core.sharing.allocator import Entry, Office
from postlane.core.sharing.partition_office import Decided, PartitionOffice
from postlane.core.sharing.snapshots import SNAPSHOT_RECORDS, SNAPSHOT_SECONDS
from postlane.core.sharing.terms import CONNECTIONS, Capacity, Terms

BASE = 1_790_000_000.0


def terms(*relays: str) -> dict[str, Terms]:
    return {relay: Terms(relay=relay, capacities=(Capacity(CONNECTIONS, 4),)) for relay in relays}


def request(relay: str, holder: str, number: int) -> RelayLease:
    wants = (Amount(CONNECTIONS, 4),)
    return lease_of(
        relay,
        holder,
        LeaseRequest(number=number, seen=0, wants=wants, using=(), needs=(), returned=()),
    )


class Desk:
    """An office and its partition."""

    def __init__(
        self, known: Mapping[str, Terms], name: str = "one", log: "list[Entry] | None" = None
    ) -> None:
        self.log: list[Entry] = [] if log is None else log
        self.now = 1000.0
        self.offset: int | None = None
        self.office = PartitionOffice(known, name, self.now)
        self.read = 0

    def write(self, *leases: RelayLease) -> None:
        for lease in leases:
            self.log.append(Entry(len(self.log), BASE + self.now, lease))

    def hear(self) -> None:
        self.office.read(self.log[self.read :], len(self.log), self.now)
        self.read = len(self.log)

    def take_office(self) -> None:
        self.hear()
        self.office.caught_up(self.now)

    def commit(self, decided: Decided) -> None:
        self.write(*decided.leases)
        if decided.commit_to is not None:
            self.offset = decided.commit_to
        self.office.committed(self.now)

    def work(self, seconds: float = 1.0) -> list[Decided]:
        """Read and decide until there is nothing left to say."""
        self.now += seconds
        return list(self._decisions())

    def _decisions(self) -> Iterator[Decided]:
        self.hear()
        while (decided := self.office.decide(self.now)) is not None:
            self.commit(decided)
            yield decided
            self.hear()


def kinds(decided: Decided) -> set[tuple[str, LeaseKind]]:
    return {(lease.relay, lease.kind) for lease in decided.leases}


def test_nothing_is_decided_before_everything_was_read() -> None:
    desk = Desk(terms("a"))
    desk.write(request("a", "x", 1))
    desk.hear()
    assert desk.office.decide(desk.now) is None
    desk.take_office()
    assert desk.office.decide(desk.now) is not None


def test_it_begins_with_a_snapshot_of_each_relay_and_the_offset() -> None:
    desk = Desk(terms("a", "b"))
    desk.write(request("a", "x", 1), request("b", "x", 1))
    desk.take_office()
    first, second = desk.work()
    assert kinds(first) == {("a", LeaseKind.SNAPSHOT), ("b", LeaseKind.SNAPSHOT)}
    assert first.commit_to == 2
    assert kinds(second) == {("a", LeaseKind.GRANT), ("b", LeaseKind.GRANT)}
    assert second.commit_to is None


def test_one_transaction_at_a_time() -> None:
    desk = Desk(terms("a"))
    desk.take_office()
    assert desk.office.decide(desk.now) is not None
    desk.write(request("a", "x", 1))
    desk.hear()
    assert desk.office.decide(desk.now) is None


def test_what_was_aborted_is_decided_again_with_its_offset() -> None:
    desk = Desk(terms("a", "b"))
    desk.take_office()
    first = desk.office.decide(desk.now)
    assert first is not None
    desk.office.aborted(desk.now)
    again = desk.office.decide(desk.now)
    assert again is not None
    assert kinds(again) == kinds(first)
    assert again.commit_to == first.commit_to == 0
    desk.commit(again)
    desk.write(request("a", "x", 1))
    desk.hear()
    granted = desk.office.decide(desk.now)
    assert granted is not None
    desk.office.aborted(desk.now)
    assert desk.office.decide(desk.now) is not None, "the request is still to be answered"


def test_one_relays_hold_commits_no_further_than_the_others_snapshot() -> None:
    desk = Desk(terms("a", "b"))
    desk.take_office()
    desk.work()
    desk.write(request("b", "x", 1), request("b", "y", 1))
    desk.work()
    from_b = desk.office.allocators["b"]
    from_b.snapshot_due = True
    (decided,) = desk.work()
    assert kinds(decided) == {("b", LeaseKind.SNAPSHOT)}
    assert decided.commit_to == 0, "a has no newer snapshot than the first"


def test_snapshots_come_after_so_many_records() -> None:
    desk = Desk(terms("a"))
    desk.take_office()
    desk.work()
    number = 0
    while desk.read < SNAPSHOT_RECORDS - 10:
        number += 1
        desk.write(request("a", "x", number))
        assert all(decided.commit_to is None for decided in desk.work(0.1))
    for _ in range(20):
        number += 1
        desk.write(request("a", "x", number))
        desk.work(0.1)
    assert desk.offset is not None
    assert desk.offset >= SNAPSHOT_RECORDS - 20


def test_snapshots_come_after_so_much_time() -> None:
    desk = Desk(terms("a"))
    desk.take_office()
    desk.work()
    assert desk.work(SNAPSHOT_SECONDS - 10) == []
    (decided,) = desk.work(20)
    assert kinds(decided) == {("a", LeaseKind.SNAPSHOT)}


def test_books_are_kept_of_a_relay_that_is_not_configured_and_nothing_granted() -> None:
    desk = Desk(terms("a"))
    desk.write(request("gone", "x", 1))
    desk.take_office()
    first, second = desk.work()
    assert kinds(first) == {("a", LeaseKind.SNAPSHOT), ("gone", LeaseKind.SNAPSHOT)}
    (lease,) = second.leases
    assert lease.grant is not None
    assert (lease.relay, lease.grant.amounts) == ("gone", ())


def test_a_relay_that_appears_later_holds_the_offset_until_it_has_a_snapshot() -> None:
    desk = Desk(terms("a"))
    desk.take_office()
    desk.work()
    desk.write(request("new", "x", 1))
    decided = desk.work()
    assert kinds(decided[0]) == {("new", LeaseKind.SNAPSHOT)}
    assert decided[0].commit_to == 0
    assert desk.office.allocators["new"].office is Office.IN_OFFICE


def test_a_person_has_a_held_relay_tried_at_once() -> None:
    desk = Desk(terms("a"))
    desk.take_office()
    refused = RelayReport(number=1, outcome=ReportOutcome.REFUSED, grant=0, cause="quota", wait_seconds=9e3)
    desk.write(lease_of("a", "x", refused))
    desk.work()
    desk.office.probe_wanted("unknown", desk.now)
    assert desk.work() == []
    desk.office.probe_wanted("a", desk.now)
    (decided,) = desk.work()
    (lease,) = decided.leases
    assert lease.snapshot is not None
    assert lease.snapshot.hold is not None
    assert lease.snapshot.hold.probe_at.timestamp() <= BASE + desk.now


def test_a_newer_owners_word_ends_it() -> None:
    old = Desk(terms("a", "b"))
    old.take_office()
    old.work()
    new = Desk(terms("a", "b"), "two", old.log)
    new.take_office()
    new.work()
    assert not old.office.deposed
    old.write(request("a", "x", 1))
    assert old.work() == []
    assert old.office.deposed


@given(
    asked=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), max_size=60),
    snapshots=st.sets(st.integers(0, 60)),
    aborts=st.sets(st.integers(0, 60)),
)
def test_a_successor_that_reads_from_the_offset_knows_what_one_knows_who_read_everything(
    asked: list[tuple[str, str]], snapshots: set[int], aborts: set[int]
) -> None:
    desk = Desk(terms("a", "b"))
    desk.take_office()
    for number, (relay, holder) in enumerate(asked):
        desk.write(request(relay, holder, number + 1))
        if number in snapshots and relay in desk.office.allocators:
            desk.office.allocators[relay].snapshot_due = True
        desk.now += 1
        desk.hear()
        if (decided := desk.office.decide(desk.now)) is not None:
            if number in aborts:
                desk.office.aborted(desk.now)
            else:
                desk.commit(decided)
    if desk.offset is None:
        return
    below = {
        relay: max(
            e.lease.snapshot.read_to
            for e in desk.log
            if e.lease.snapshot is not None and e.lease.relay == relay
        )
        for relay in desk.office.allocators
        if any(e.lease.snapshot is not None and e.lease.relay == relay for e in desk.log)
    }
    assert desk.offset <= min(below.values())
    whole, late = Desk(terms("a", "b"), "two", desk.log), Desk(terms("a", "b"), "three", desk.log)
    late.read = desk.offset
    for successor in (whole, late):
        successor.now = desk.now
        successor.take_office()
    for relay, allocator in late.office.allocators.items():
        other = whole.office.allocators[relay]
        assert allocator.books.number == other.books.number
        assert allocator.books.tallies == other.books.tallies
        assert {n: b.answered for n, b in allocator.books.holders.items() if b.request} == {
            n: b.answered for n, b in other.books.holders.items() if b.request
        }
