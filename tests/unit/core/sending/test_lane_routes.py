"""Routes: mail of one never waits for another's relays."""

from dataclasses import replace
from datetime import UTC, datetime

from postlane.core.events.status import MailState, Origin
from postlane.core.routing.routes import Route
from postlane.core.sending.lane_mail import (
    Arrival,
    Attempt,
    Committed,
    Load,
    Loaded,
    PauseFetching,
    Recovered,
    RouteHolds,
    RouteOpens,
    SlotsFree,
    Tick,
)
from postlane.core.sending.lane_relief import BASE_SECONDS_MAX
from unit.core.lane_bench import NOW, POLICY, Bench, arrival, deferred, put, sent, states

TWO_WAYS = replace(POLICY, routes=(Route(name="bulk", tags=frozenset({"bulk"})), Route()))
HOLD = RouteHolds(cause="quota", reason="daily quota", relay="b", since=NOW, until=NOW + 5000, route="bulk")


def bulk(offset: int, ticket: str) -> Arrival:
    """A request that goes the other way."""
    plain = arrival(offset, ticket)
    assert plain.content.request is not None
    request = replace(plain.content.request, tags=("bulk",))
    return replace(plain, content=replace(plain.content, request=request))


def starts(bench: Bench, route: str, count: int = 100) -> list[tuple[int, str]]:
    effects = bench.play(SlotsFree(count, route))
    return [(effect.origin.offset, effect.route) for effect in effects if isinstance(effect, Attempt)]


def test_a_slot_takes_mail_of_its_route_alone() -> None:
    bench = Bench(policy=TWO_WAYS)
    bench.arrive(bulk(0, "a"), arrival(1, "b"), bulk(2, "c"))
    assert starts(bench, "default") == [(1, "default")]
    assert starts(bench, "bulk", 1) == [(0, "bulk")]
    assert starts(bench, "bulk") == [(2, "bulk")]


def test_a_ticket_keeps_its_order_over_two_routes() -> None:
    bench = Bench(policy=TWO_WAYS)
    bench.arrive(bulk(0, "a"), arrival(1, "a"))
    bench.play(HOLD)
    assert starts(bench, "default") == []
    bench.play(RouteOpens("bulk"))
    assert starts(bench, "bulk") == [(0, "bulk")]
    bench.end(0, sent())
    assert starts(bench, "bulk") == []
    assert starts(bench, "default") == [(1, "default")]


def test_only_mail_of_a_held_route_is_told_and_stops_aging() -> None:
    bench = Bench(policy=TWO_WAYS)
    bench.arrive(bulk(0, "a"), arrival(1, "b"))
    bench.play(HOLD)
    bench.arrive(bulk(2, "c"), arrival(3, "d"))
    batch, _ = bench.commit()
    assert states(batch) == [(0, MailState.DEFERRED), (2, MailState.DEFERRED)]
    bench.now += 500
    bench.play(RouteOpens("bulk"))
    first_seen = {origin.offset: mail.first_seen for origin, mail in bench.lanes.mails.items()}
    assert first_seen == {0: NOW + 500, 1: NOW, 2: NOW + 500, 3: NOW}


def test_a_held_route_makes_room_for_the_others() -> None:
    bench = Bench(policy=TWO_WAYS)
    bench.play(HOLD)
    effects = bench.arrive(*(bulk(offset, f"t{offset}") for offset in range(10)))
    assert PauseFetching() in effects
    bench.play(Tick())
    bench.commit()
    assert bench.lanes.memory_mails <= 5
    assert not bench.lanes.paused
    bench.arrive(arrival(10, "free"))
    assert starts(bench, "default") == [(10, "default")]


def test_where_every_route_is_held_nobody_is_in_the_way() -> None:
    bench = Bench(policy=TWO_WAYS)
    bench.play(HOLD)
    bench.play(replace(HOLD, route="default"))
    bench.arrive(*(bulk(offset, f"t{offset}") for offset in range(10)))
    bench.play(Tick())
    batch, _ = bench.commit()
    assert batch.puts == ()


def test_bytes_read_back_for_a_route_that_is_then_held_make_room() -> None:
    parked = tuple((offset, b"t%d" % offset, put(offset, due=NOW - 1, route="bulk")) for offset in range(3))
    bench = Bench(Recovered(base=3, status_end=0, retry_end=3, parked=parked), TWO_WAYS)
    for load in bench.play(Tick()):
        assert isinstance(load, Load)
        bench.play(Loaded(load.origin, bulk(load.origin.offset, f"t{load.origin.offset}").content))
    assert bench.lanes.memory_mails == 3
    bench.play(HOLD)
    assert bench.lanes.memory_mails == 0
    assert bench.play(Tick()) == []
    assert bench.play(SlotsFree(1, "bulk")) == [Load(Origin("T", 0), 0)]


def test_parked_mail_takes_the_route_that_the_configuration_names_now() -> None:
    parked = ((0, b"t", put(0, due=NOW - 1, route="gone")), (1, b"u", put(1, due=NOW - 1, route=None)))
    bench = Bench(Recovered(base=2, status_end=0, retry_end=2, parked=parked), TWO_WAYS)
    for load in bench.play(Tick()):
        assert isinstance(load, Load)
        bench.play(Loaded(load.origin, bulk(load.origin.offset, "t").content))
    assert starts(bench, "default") == []
    assert starts(bench, "bulk") == [(0, "bulk"), (1, "bulk")]


def test_mail_of_a_held_route_that_is_parked_still_says_what_holds_it() -> None:
    bench = Bench(policy=TWO_WAYS)
    bench.play(HOLD)
    bench.arrive(bulk(0, "a"), bulk(1, "a"), arrival(2, "b"))
    bench.commit()
    for _ in range(2):  # the first look finds the base, the second one that it has stood for long
        bench.now += BASE_SECONDS_MAX
        bench.play(Tick())
    batch, _ = bench.commit()
    told = [keyed.status for keyed in batch.statuses]
    assert [(status.offset, status.cause) for status in told] == [(0, "quota"), (1, "quota")]
    assert {status.next_attempt_at for status in told} == {datetime.fromtimestamp(NOW + 5000, UTC)}
    assert len(batch.puts) == 2


def test_a_mail_that_comes_after_quiet_hours_has_its_minute_in_memory() -> None:
    bench = Bench()
    bench.play(Tick())
    bench.now += 3600
    bench.play(Tick())
    bench.arrive(arrival(0, "a"))
    assert bench.starts() == [0]
    bench.end(0, deferred())
    bench.play(Tick())
    batch, _ = bench.commit()
    assert (states(batch), batch.puts) == ([(0, MailState.DEFERRED)], ())


def test_mail_of_a_held_route_that_is_due_later_says_so() -> None:
    bench = Bench(policy=TWO_WAYS)
    bench.play(HOLD)
    later = bulk(0, "a")
    assert later.content.request is not None
    not_before = datetime.fromtimestamp(NOW + 9000, UTC)
    bench.arrive(
        replace(
            later,
            content=replace(later.content, request=replace(later.content.request, not_before=not_before)),
        )
    )
    batch, _ = bench.commit()
    assert [(keyed.status.cause, keyed.status.next_attempt_at) for keyed in batch.statuses] == [
        ("scheduled", not_before)
    ]


def told(bench: Bench) -> list[float]:
    """The expected times that the next batch tells, in seconds from the beginning."""
    batch = bench.cut()
    if batch is None:
        return []
    bench.stage(batch)
    bench.play(Committed())
    times = [keyed.status.next_attempt_at for keyed in batch.statuses]
    return [0.0 if at is None else at.timestamp() - NOW for at in times]


def test_a_hold_that_becomes_much_longer_is_told_again() -> None:
    bench = Bench()
    bench.arrive(arrival(0))
    hold = replace(HOLD, route="default", until=NOW + 60)
    bench.play(hold)
    assert told(bench) == [60.0]
    for later in (61, 359, 60):
        bench.play(replace(hold, until=NOW + later))
    assert told(bench) == []
    bench.play(replace(hold, until=NOW + 360))
    assert told(bench) == [360.0]
    bench.play(replace(hold, until=NOW + 719))
    assert told(bench) == []
    bench.play(replace(hold, until=None))
    assert told(bench) == [0.0]
    bench.play(replace(hold, until=None))
    assert told(bench) == []
    bench.play(RouteOpens("default"))
    bench.play(hold)
    assert told(bench) == [60.0]


def test_even_a_month_of_holding_says_little_of_each_mail() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1, "u"))
    hold = replace(HOLD, route="default", until=NOW + 60)
    times = []
    for seconds in range(60, 30 * 86400, 600):
        bench.play(replace(hold, until=NOW + seconds))
        times += told(bench)
    assert len(times) < 2 * 15
    assert times[-1] > 30 * 86400 / 2
