"""What senders that died leave behind."""

from postlane.core.events.relay_lease import LeaseRequest, RelayLease, lease_of
from postlane.core.sharing.allocator import Entry
from postlane.core.sharing.estates import LAST_NUMBER, Estates
from postlane.core.sharing.holder_events import Pass
from postlane.core.sharing.terms import CONNECTIONS
from unit.core.sharing.lease_bench import Bench, terms


def entries(*leases: RelayLease) -> list[Entry]:
    return [Entry(offset, 0.0, lease) for offset, lease in enumerate(leases)]


def test_each_relay_is_told_until_it_has_heard() -> None:
    estates = Estates(["b", "a"])
    told = estates.died(["x"])
    assert [(lease.relay, lease.written_by) for lease in told] == [("a", "x"), ("b", "x")]
    first, second = entries(*told)
    assert estates.heard(first) is None
    assert [lease.relay for lease in estates.died(["x"])] == ["b"]
    assert estates.heard(first) is None, "said twice"
    assert estates.heard(second) == "x"
    assert estates.heard(second) is None
    assert len(estates.died(["x"])) == 2, "dead again only if its sign was not cleared"


def test_what_others_write_is_no_farewell() -> None:
    estates = Estates(["a"])
    estates.died(["x"])
    request = LeaseRequest(number=1, seen=0, wants=(), using=(), needs=(), returned=())
    alive, stranger = lease_of("a", "x", request), Estates(["a"]).died(["y"])
    assert [estates.heard(entry) for entry in entries(alive, *stranger)] == [None, None]


def test_the_dead_ones_connections_are_free_at_once() -> None:
    bench = Bench(terms(4), "a", "b")
    bench.demand("a", 4)
    bench.demand("b", 4)
    bench.run(30)
    assert [bench.connections(name) for name in "ab"] == [2, 2]
    assert isinstance(bench.start("a"), Pass)
    for lease in Estates(["relay"]).died(["a"]):
        bench.write(lease)
    bench.run(15, "a")
    assert bench.connections("b") == 4
    assert bench.allocator.books.holders["a"].claimed(CONNECTIONS, bench.now) == 0


def test_nothing_that_was_still_on_its_way_brings_it_back() -> None:
    bench = Bench(terms(4), "a", "b")
    bench.run(30)
    for lease in Estates(["relay"]).died(["a"]):
        bench.write(lease)
    bench.demand("a", 4)  # arrives after the farewell
    bench.demand("b", 4)
    bench.run(15, "a")
    assert bench.connections("b") == 4
    request = bench.allocator.books.holders["a"].request
    assert request is not None
    assert request.number == LAST_NUMBER
