"""Since when mail waits for a relay alone: what an alert about a backlog looks at."""

from dataclasses import replace

from postlane.core.routing.routes import Route
from postlane.core.sending.lane_mail import Recovered, RouteHolds, Tick, TicketHeld
from unit.core.lane_bench import NOW, POLICY, Bench, arrival, deferred, put

HOLD = RouteHolds(cause="quota", reason="daily quota", relay="main", since=NOW, until=NOW + 5000)


def test_nothing_waits() -> None:
    bench = Bench()
    assert bench.lanes.queue.ready_since is None
    bench.arrive(arrival(0, "a"))
    assert bench.starts() == [0]
    assert bench.lanes.queue.ready_since is None


def test_it_is_the_oldest_head_of_all_routes() -> None:
    bench = Bench(policy=replace(POLICY, routes=(Route(name="bulk", tags=frozenset({"bulk"})), Route())))
    bench.arrive(arrival(0, "a"))
    bench.now += 50
    bench.arrive(arrival(1, "b"), arrival(2, "a"))
    assert bench.lanes.queue.ready_since == NOW
    assert bench.starts(1) == [0]
    assert bench.lanes.queue.ready_since == NOW + 50


def test_a_held_relay_s_mail_counts_in_memory_and_in_the_journal() -> None:
    bench = Bench(Recovered(base=5, status_end=0, retry_end=1, parked=((0, b"j", put(1, due=NOW - 300)),)))
    bench.play(HOLD)
    bench.arrive(arrival(5, "a"))
    assert bench.lanes.queue.ready_since == NOW - 300


def test_a_retry_a_scheduled_mail_and_a_held_ticket_do_not() -> None:
    bench = Bench()
    bench.play(TicketHeld(b"held", "a person asked"))
    bench.arrive(arrival(0, "a"), arrival(1, "later", after=5000), arrival(2, "held"))
    assert bench.starts() == [0]
    bench.end(0, deferred())
    bench.now += 5
    bench.play(Tick())
    assert bench.lanes.queue.ready_since is None
    bench.now += 6
    bench.play(Tick())
    assert bench.lanes.queue.ready_since == NOW + 10
