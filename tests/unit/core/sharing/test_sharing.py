"""Sharing a relay, one story per rule; tests/sim/leases plays what can go wrong."""

import pytest

from postlane.core.events.relay_lease import LeaseKind
from postlane.core.sharing import allocator as allocating
from postlane.core.sharing.allocator import Aborted, Entry, Office, Read, SnapshotDue
from postlane.core.sharing.holder_events import Ended, Leave, Pass, Refused, Wait
from postlane.core.sharing.terms import CONNECTIONS, BadTerms, Capacity, Terms
from unit.core.sharing.lease_bench import Bench, hourly, terms


def passes(bench: Bench, name: str) -> list[Pass]:
    """Start mails until none may start."""
    started: list[Pass] = []
    while isinstance(leave := bench.start(name), Pass):
        started.append(leave)
        bench.tell(name, Ended(leave, counted=True, answered=True))
    return started


def refuse(bench: Bench, name: str, wait_seconds: float | None = None) -> None:
    leave = bench.start(name)
    assert isinstance(leave, Pass)
    bench.tell(
        name,
        Refused(leave=leave, counted=False, cause="quota", reason="550 5.4.5", wait_seconds=wait_seconds),
    )


def test_nothing_starts_before_a_grant_is_read() -> None:
    bench = Bench(terms(), "a")
    bench.demand("a", 4)
    assert bench.start("a") == Wait(None, CONNECTIONS)
    bench.run(2)
    assert isinstance(bench.start("a"), Pass)


def test_a_lone_idle_sender_has_all_connections_before_its_first_mail() -> None:
    bench = Bench(terms(4), "a")
    bench.run(2)
    assert bench.connections("a") == 4


def test_an_idle_sender_gives_way_to_one_that_comes() -> None:
    bench = Bench(terms(4), "a", "b")
    bench.run(30, "b")
    bench.demand("b", 4)
    bench.run(15)
    assert bench.connections("b") == 4


def test_busy_senders_share_evenly() -> None:
    bench = Bench(terms(6), "a", "b", "c")
    for name in bench.holders:
        bench.demand(name, 6)
    bench.run(60)
    assert [bench.connections(name) for name in bench.holders] == [2, 2, 2]


def test_with_fewer_connections_than_senders_everybody_has_his_turn() -> None:
    bench = Bench(terms(1), "a", "b", "c")
    served = set()
    for name in bench.holders:
        bench.demand(name, 1)
    for _ in range(5 * 120):
        bench.run(1)
        served |= {name for name in bench.holders if bench.connections(name)}
        assert sum(bench.connections(name) for name in bench.holders) <= 1
    assert served == {"a", "b", "c"}


def test_a_dead_sender_leaves_its_connections_within_two_leases() -> None:
    bench = Bench(terms(4), "a", "b")
    bench.demand("a", 4)
    bench.demand("b", 4)
    bench.run(30)
    assert bench.connections("b") == 2
    bench.run(240, "a")
    assert bench.connections("b") == 4


def test_one_that_leaves_gives_all_back_at_once() -> None:
    bench = Bench(terms(4, hourly(100)), "a", "b")
    bench.demand("a", 4, units=50)
    bench.demand("b", 4, units=50)
    bench.run(30)
    bench.tell("a", Leave())
    bench.run(15)
    assert bench.connections("b") == 4
    assert bench.connections("a") == 0
    bench.run(30)
    assert sum(bench.allocator.books.tallies.values()) == bench.holders["b"].purse.has(
        "mails/hour", bench.now
    )


def test_without_an_allocator_a_lease_runs_out_and_nothing_starts() -> None:
    bench = Bench(terms(), "a")
    bench.demand("a", 4)
    bench.run(2)
    bench.run(80, "allocator")
    assert bench.connections("a") == 0


def test_a_budget_is_spent_to_its_last_unit_and_no_further() -> None:
    bench = Bench(terms(4, hourly(200)), "a", "b")
    started = 0
    for _ in range(240):
        for name in bench.holders:
            bench.demand(name, 4, units=200)
        bench.run(1)
        started += sum(len(passes(bench, name)) for name in bench.holders)
    assert started == 200
    assert bench.start("a") == Wait(None, "mails/hour")


def test_a_rolling_budget_comes_back() -> None:
    bench = Bench(terms(4, hourly(5)), "a")
    started = 0
    for _ in range(4 * 60 * 24):
        bench.demand("a", 4, units=5)
        bench.run(5)
        started += len(passes(bench, "a"))
        if bench.now > 1000 + 2.2 * 3600:
            break
    assert started == 15


def test_a_mail_that_the_relay_never_saw_costs_nothing() -> None:
    bench = Bench(terms(4, hourly(1)), "a")
    bench.demand("a", 4, units=1)
    bench.run(2)
    leave = bench.start("a")
    assert isinstance(leave, Pass)
    assert isinstance(bench.start("a"), Wait)
    bench.tell("a", Ended(leave, counted=False, answered=False))
    assert isinstance(bench.start("a"), Pass)


def test_counters_survive_a_restart_of_everything() -> None:
    bench = Bench(terms(4, hourly(10)), "a")
    bench.demand("a", 4, units=10)
    started = 0
    for _ in range(20):
        bench.run(1)
        started += len(passes(bench, "a"))
    assert started == 10
    snapshot_at = max(i for i, entry in enumerate(bench.entries) if entry.lease.kind is LeaseKind.SNAPSHOT)
    bench.take_over("allocator2", bench.entries[snapshot_at].lease.snapshot.read_to)  # type: ignore[union-attr]
    bench.run(10)
    assert sum(bench.allocator.books.tallies.values()) == 10
    assert bench.start("a") == Wait(None, "mails/hour")


def test_a_snapshot_bounds_what_a_new_allocator_reads() -> None:
    bench = Bench(terms(4, hourly(100)), "a")
    bench.demand("a", 4, units=20)
    bench.run(600)
    (write,) = [
        *allocating.step(bench.allocator, SnapshotDue(), bench.now),
        *allocating.step(bench.allocator, allocating.Tick(), bench.now),
    ]
    assert write.commit_to == bench.allocator.position
    allocating.step(bench.allocator, Aborted(), bench.now)
    bench.run(1)
    before = dict(bench.allocator.books.tallies)
    last = [entry.lease.snapshot for entry in bench.entries if entry.lease.snapshot is not None][-1]
    assert len(last.claims) <= 5
    bench.take_over("allocator2", last.read_to)
    assert bench.allocator.books.tallies == before


def test_one_refusal_holds_everybody_until_one_probe_is_answered() -> None:
    bench = Bench(terms(4), "a", "b")
    bench.demand("a", 4)
    bench.demand("b", 4)
    bench.run(10)
    refuse(bench, "a", wait_seconds=300)
    assert isinstance(bench.start("a"), Wait)
    bench.run(5)
    waits = bench.start("b")
    assert isinstance(waits, Wait)
    assert waits.held is not None
    assert waits.held.hold is not None
    assert waits.held.hold.probe_at.timestamp() == pytest.approx(bench.base + 1010.25 + 300, abs=5)
    bench.run(290)
    assert isinstance(bench.start("a"), Wait)
    bench.run(40)
    started = [(name, leave) for name in bench.holders if isinstance(leave := bench.start(name), Pass)]
    assert [leave.probe for _, leave in started] == [True]
    ((name, probe),) = started
    assert isinstance(bench.start(name), Wait)
    bench.tell(name, Ended(probe, counted=True, answered=True))
    bench.run(10)
    assert bench.connections("a") == bench.connections("b") == 2


def test_while_a_probe_is_in_flight_nobody_else_probes() -> None:
    bench = Bench(terms(4), "a", "b")
    bench.demand("a", 4)
    bench.run(10)
    refuse(bench, "a", wait_seconds=30)
    while not isinstance(bench.start("a"), Pass):
        bench.run(1)
    bench.demand("a", 0)
    bench.demand("b", 4)
    bench.run(60)
    assert isinstance(bench.start("b"), Wait)
    bench.run(120, "a")
    assert isinstance(bench.start("b"), Pass)


def test_a_probe_that_comes_to_nothing_passes_to_another() -> None:
    bench = Bench(terms(4), "a", "b")
    bench.demand("a", 4)
    bench.run(10)
    refuse(bench, "a", wait_seconds=30)
    bench.run(45)
    bench.demand("a", 0)
    bench.demand("b", 4)
    bench.run(45)
    assert isinstance(bench.start("b"), Pass)


def test_what_is_in_flight_counts_until_it_is_over() -> None:
    bench = Bench(terms(4), "a", "b")
    bench.demand("a", 4)
    bench.run(10, "b")
    flying = [leave for _ in range(4) if isinstance(leave := bench.start("a"), Pass)]
    assert len(flying) == 4
    bench.demand("b", 4)
    bench.run(35)
    assert bench.connections("a") == 2
    assert bench.connections("b") == 0
    bench.tell("a", Ended(flying.pop(), counted=True, answered=True))
    bench.run(10)
    assert bench.connections("b") == 1


def test_a_probe_that_fails_makes_the_next_wait_longer() -> None:
    bench = Bench(terms(4), "a")
    bench.demand("a", 4)
    bench.run(10)
    refuse(bench, "a")
    waits = []
    for _ in range(3):
        while not isinstance(leave := bench.start("a"), Pass):
            bench.run(1)
        bench.tell("a", Refused(leave=leave, counted=False, cause="quota", reason="550 5.4.5"))
        bench.run(5)
        hold = bench.allocator.books.hold
        assert hold is not None
        waits.append(hold.probe_at.timestamp() - bench.base - bench.now)
    assert waits == pytest.approx([120, 240, 480], abs=10)


def test_a_hold_survives_a_take_over() -> None:
    bench = Bench(terms(4), "a")
    bench.demand("a", 4)
    bench.run(10)
    refuse(bench, "a", wait_seconds=5000)
    bench.run(10)
    bench.take_over("allocator2", 0)
    bench.run(60)
    assert bench.allocator.books.hold is not None
    assert isinstance(bench.start("a"), Wait)


def test_an_aborted_grant_is_as_if_it_had_never_been() -> None:
    bench = Bench(terms(4, hourly(10)), "a")
    bench.run(1)
    bench.demand("a", 4, units=10)
    bench.run(1, "allocator")
    allocator = bench.allocator
    allocating.step(
        allocator, Read(tuple(bench.entries[allocator.position :]), len(bench.entries)), bench.now
    )
    assert allocating.step(allocator, allocating.Tick(), bench.now)
    assert sum(allocator.books.tallies.values()) > 0
    assert allocating.step(allocator, allocating.Tick(), bench.now) == []
    allocating.step(allocator, Aborted(), bench.now)
    assert sum(allocator.books.tallies.values()) == 0
    assert allocating.step(allocator, allocating.Tick(), bench.now)


def test_an_allocator_that_reads_a_successors_grant_decides_nothing_more() -> None:
    bench = Bench(terms(), "a")
    bench.run(5)
    former = bench.allocator
    bench.take_over("allocator2", 0)
    bench.run(5)
    later = [entry for entry in bench.entries if entry.lease.written_by == "allocator2"]
    allocating.step(former, Read(tuple(later), len(bench.entries)), bench.now)
    assert former.office is Office.DEPOSED
    assert allocating.step(former, allocating.Tick(), bench.now) == []


def test_an_idle_relay_costs_two_small_records_every_twenty_seconds() -> None:
    bench = Bench(terms(), "a")
    bench.run(10)
    before = len(bench.entries)
    bench.run(200)
    assert len(bench.entries) - before == 20


def test_a_request_of_unknown_kind_is_passed_over() -> None:
    bench = Bench(terms(), "a")
    bench.run(2)
    strange = bench.entries[0].lease
    allocating.step(
        bench.allocator,
        Read(
            (Entry(99, bench.base, type(strange)(relay="relay", kind=LeaseKind.OTHER, written_by="x")),), 100
        ),
        bench.now,
    )
    assert "x" not in bench.allocator.books.holders


def test_terms_that_cannot_work_are_refused() -> None:
    with pytest.raises(BadTerms, match="at least twice as long"):
        Terms(relay="r", capacities=(), lease_seconds=60, attempt_seconds_max=40)
    with pytest.raises(BadTerms, match="same name"):
        Terms(relay="r", capacities=(Capacity("x", 1), Capacity("x", 2)))
