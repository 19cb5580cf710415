"""The allocator's books in cases that whole stories seldom meet: floods of names, late returns, limits that are no longer configured."""

import pytest

from postlane.core.events.relay_lease import (
    LeaseGrant,
    LeaseKind,
    LeaseRequest,
    Parcel,
    RelayLease,
    RelayReport,
    RelaySnapshot,
    ReportOutcome,
    Returned,
    body_of,
    lease_id,
    lease_key,
    lease_of,
)
from postlane.core.instants import moment
from postlane.core.sharing import allocator as allocating
from postlane.core.sharing import books as bookkeeping
from postlane.core.sharing.allocator import Aborted, CaughtUp, Committed, Entry, Office, Read
from postlane.core.sharing.books import ORPHAN_SECONDS, Books
from postlane.core.sharing.holder import Holder, start, step
from postlane.core.sharing.holder_events import Heard, Wait
from postlane.core.sharing.terms import no_terms
from postlane.core.sharing.windows import Span
from unit.core.sharing.lease_bench import HOUR, Bench, hourly, terms

NOW = 1000.0
DAY = 1_790_000_000
SPAN = Span(DAY, DAY + 3600)


def request(number: int, *returned: Returned) -> LeaseRequest:
    return LeaseRequest(number=number, seen=0, wants=(), using=(), needs=(), returned=returned)


def grant(number: int, holder: str = "a", budget: str = "mails/hour", units: int = 5) -> LeaseGrant:
    parcel = Parcel(
        budget=budget,
        units=units,
        starts_at=moment(SPAN.starts),
        ends_at=moment(SPAN.ends),
        valid_seconds=60.0,
    )
    return LeaseGrant(
        number=number,
        read_to=0,
        holder=holder,
        request=1,
        lease_seconds=120.0,
        amounts=(),
        parcels=(parcel,),
        probe=False,
        hold=None,
    )


def test_a_flood_of_names_does_not_eat_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeping, "HOLDERS_MAX", 2)
    books = Books(terms())
    for name in ("a", "b", "c"):
        books.request(name, request(1), NOW)
    refusal = RelayReport(
        number=1, outcome=ReportOutcome.REFUSED, grant=1, probe=False, cause="quota", reason="no"
    )
    books.report("c", refusal, DAY, NOW)
    assert set(books.holders) == {"a", "b"}
    assert books.hold is None
    books.request("a", request(2), NOW)
    assert books.holders["a"].request == request(2)


def test_a_grant_to_one_who_is_forgotten_can_be_undone() -> None:
    books = Books(terms(4, hourly(10)))
    books.grant(grant(1), NOW)
    del books.holders["a"]
    books.cancel(grant(1))
    assert books.tallies == {("mails/hour", SPAN): 0}
    assert books.given == {}


def test_what_comes_back_after_its_window_is_no_credit() -> None:
    books = Books(terms(4, hourly(10)))
    books.grant(grant(1), NOW)
    books.forget(NOW + 1, SPAN.ends + 3 * HOUR)
    assert books.tallies == {}
    books.request("a", request(2, Returned(grant=1, budget="mails/hour", units=5)), NOW + 2)
    assert books.tallies == {}


def test_a_budget_that_is_no_longer_configured_is_remembered_for_a_while() -> None:
    books = Books(terms())
    books.grant(grant(1, budget="mails/day"), NOW)
    books.forget(NOW, SPAN.ends + ORPHAN_SECONDS - 1)
    assert books.tallies == {("mails/day", SPAN): 5}
    books.forget(NOW, SPAN.ends + ORPHAN_SECONDS)
    assert books.tallies == {}


def test_news_of_a_transaction_that_there_is_not_changes_nothing() -> None:
    allocator = Bench(terms(), "a").allocator
    before = allocator.books.number
    for event in (Committed(), Aborted()):
        allocating.step(allocator, event, NOW)
    assert (allocator.office, allocator.books.number, allocator.snapshot_due) == (
        Office.IN_OFFICE,
        before,
        True,
    )


def test_a_kind_of_a_newer_version_is_passed_over_by_both_sides() -> None:
    strange = RelayLease(relay="relay", kind=LeaseKind.OTHER, written_by="b")
    bench = Bench(terms(), "a")
    bench.write(strange)
    bench.run(5)
    assert bench.allocator.position == len(bench.entries)
    assert set(bench.allocator.books.holders) == {"a"}
    assert bench.connections("a") == 4


def test_of_a_relay_without_terms_nothing_is_granted() -> None:
    allocator = allocating.Allocator(no_terms("relay"), "allocator1")
    holder = Holder(no_terms("relay"), "a")
    asked = lease_of("relay", "a", request(1))
    allocating.step(allocator, Read((Entry(0, DAY, asked),), 1), NOW)
    allocating.step(allocator, CaughtUp(), NOW)
    assert start(holder, {}, NOW) == Wait(None, None)
    (snapshot,) = allocating.step(allocator, allocating.Tick(), NOW)
    allocating.step(allocator, Committed(), NOW)
    (write,) = allocating.step(allocator, allocating.Tick(), NOW)
    (lease,) = write.leases
    assert lease.grant is not None
    assert (lease.grant.amounts, lease.grant.parcels) == ((), ())
    assert isinstance(body_of(snapshot.leases[0]), RelaySnapshot)
    step(holder, Heard((Entry(1, DAY, lease),)), NOW)
    assert start(holder, {}, NOW) == Wait(None, None)


def test_a_record_has_the_key_of_its_relay_and_an_id_of_its_own() -> None:
    assert lease_key("mäin") == "mäin".encode()
    assert lease_id(lease_of("main", "a", request(7))) == "main/a/request/7"
    assert lease_id(lease_of("main", "x", grant(8))) == "main/x/grant/8"
    assert lease_id(RelayLease(relay="main", kind=LeaseKind.OTHER, written_by="a")) == "main/a/other/"


@pytest.mark.parametrize("body", [grant(999), request(999)])
def test_a_record_in_our_name_that_we_did_not_write_moves_no_clock(body: LeaseGrant | LeaseRequest) -> None:
    bench = Bench(terms(), "a")
    bench.run(5)
    allocator = bench.allocator
    before = allocator.clock.latest(bench.now)
    wrong = Entry(allocator.position, DAY, lease_of("relay", allocator.name, body))
    allocating.step(allocator, Read((wrong,), allocator.position + 1), bench.now)
    assert before is not None
    assert allocator.clock.latest(bench.now) == before
