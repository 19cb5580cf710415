"""The journal: old puts are written again in time, and what is parked has a limit."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.trail import Put
from postlane.core.sending.journal_age import JournalAge
from postlane.core.sending.lane_mail import (
    Load,
    Loaded,
    PauseFetching,
    Recovered,
    ResumeFetching,
    RouteHolds,
    RouteOpens,
    SlotsFree,
    Tick,
)
from postlane.core.sending.lane_relief import DEAD_RECORDS_MIN
from unit.core import lane_bench
from unit.core.lane_bench import NOW, POLICY, Bench, arrival, deferred, sent

DAY = 86400.0


def put(offset: int, due: float = NOW + 1000 * DAY) -> Put:
    """Due in years, unless said otherwise."""
    return lane_bench.put(offset, due=due)


def parked(*puts: tuple[int, Put], retry_end: int, marks: tuple[tuple[float, int], ...] = ()) -> Recovered:
    mails = tuple((at, f"t{p.origin.offset}".encode(), p) for at, p in puts)
    return Recovered(base=100, status_end=0, retry_end=retry_end, parked=mails, journal_marks=marks)


def refreshed(bench: Bench) -> list[int]:
    """The journal offsets that are read in order to be written again."""
    bench.now += 60
    effects = bench.play(Tick())
    loads = [effect for effect in effects if isinstance(effect, Load) and effect.refresh]
    for load in loads:
        bench.play(Loaded(load.origin, arrival(load.origin.offset).content, refresh=True))
    return [load.retry_offset for load in loads]


def test_an_old_put_is_written_again_and_a_young_one_is_not() -> None:
    marks = ((NOW - 16 * DAY, 3), (NOW - 14 * DAY, 9))
    bench = Bench(parked((3, put(0)), (9, put(1)), retry_end=10, marks=marks))
    assert refreshed(bench) == [3]
    batch, commit = bench.commit()
    assert [(copy.put.origin.offset, copy.put.due_ms) for copy in batch.puts] == [(0, put(0).due_ms)]
    assert batch.statuses == ()
    assert commit.pointers.retry_from == 9
    assert bench.lanes.memory_mails == 0
    assert refreshed(bench) == []
    bench.now += DAY + 60
    assert refreshed(bench) == [9]


def test_what_was_written_by_this_owner_grows_old_too() -> None:
    bench = Bench()
    bench.arrive(arrival(0, after=100 * DAY))
    bench.commit()
    assert refreshed(bench) == []
    bench.now += 15 * DAY
    assert refreshed(bench) == [0]


def test_a_mostly_dead_journal_is_written_together() -> None:
    end = DEAD_RECORDS_MIN + 10
    bench = Bench(parked((3, put(0)), (end - 1, put(1)), retry_end=end))
    assert refreshed(bench) == [3, end - 1]
    _, commit = bench.commit()
    assert commit.pointers.retry_from == end
    assert refreshed(bench) == []


def test_a_mail_that_is_read_back_to_be_sent_is_left_alone() -> None:
    marks = ((NOW - 16 * DAY, 3),)
    bench = Bench(parked((3, put(0, due=NOW - 1)), retry_end=4, marks=marks))
    (load,) = bench.play(SlotsFree(1))
    assert isinstance(load, Load)
    assert not load.refresh
    assert refreshed(bench) == []
    bench.play(Loaded(load.origin, arrival(0).content))
    assert bench.starts() == [0]
    bench.end(0, sent("a@x", "b@x"))
    batch, _ = bench.commit()
    assert batch.puts == ()


def test_a_refresh_that_comes_too_late_changes_nothing() -> None:
    marks = ((NOW - 16 * DAY, 3),)
    bench = Bench(parked((3, put(0, due=NOW + 30)), retry_end=4, marks=marks))
    bench.now += 20
    (refresh,) = bench.play(Tick())
    assert isinstance(refresh, Load)
    assert refresh.refresh
    bench.now += 20
    (load,) = bench.play(SlotsFree(1))
    assert isinstance(load, Load)
    bench.play(Loaded(load.origin, arrival(0).content))
    bench.starts()
    bench.play(Loaded(refresh.origin, arrival(0).content, refresh=True))
    assert bench.lanes.memory_mails == 1
    bench.end(0, sent("a@x", "b@x"))
    bench.play(Loaded(refresh.origin, arrival(0).content, refresh=True))
    batch, _ = bench.commit()
    assert batch.puts == ()
    assert bench.lanes.memory_mails == 0


def test_a_refreshed_mail_whose_turn_has_come_is_sent() -> None:
    """Seen once, in the simulation: its lane stood in the queue for reading back, was taken out, and waited for ever."""
    marks = ((NOW - 16 * DAY, 3),)
    bench = Bench(parked((3, put(0, due=NOW + 15)), retry_end=4, marks=marks))
    bench.play(RouteHolds(cause="quota", reason="r", relay="main", since=NOW, until=NOW + 60))
    bench.now += 20
    (refresh,) = [effect for effect in bench.play(Tick()) if isinstance(effect, Load)]
    assert refresh.refresh
    bench.play(Loaded(refresh.origin, arrival(0).content, refresh=True))
    bench.play(RouteOpens())
    assert bench.starts() == [0]


def test_what_was_asked_for_is_not_asked_for_again() -> None:
    bench = Bench(parked((3, put(0)), retry_end=4, marks=((NOW - 16 * DAY, 3),)))
    bench.now += 60
    (refresh,) = bench.play(Tick())
    bench.now += 60
    assert bench.play(Tick()) == []
    assert isinstance(refresh, Load)
    bench.play(Loaded(refresh.origin, arrival(0).content, refresh=True))
    assert len(bench.commit()[0].puts) == 1


def test_a_record_that_is_gone_is_not_written_again() -> None:
    marks = ((NOW - 16 * DAY, 3),)
    bench = Bench(parked((3, put(0)), retry_end=4, marks=marks))
    bench.now += 60
    (refresh,) = bench.play(Tick())
    assert isinstance(refresh, Load)
    bench.play(Loaded(refresh.origin, None, refresh=True))
    assert bench.cut() is None


def test_a_full_index_stops_reading_until_something_leaves() -> None:
    bench = Bench(policy=replace(POLICY, index_mails=3, window_mails=100))
    bench.arrive(arrival(0, "a"), arrival(1, "b"))
    assert bench.play(Tick()) == []
    assert PauseFetching(index_full=True) in bench.arrive(arrival(2, "c"))
    bench.starts()
    for offset in (0, 1):
        bench.end(offset, deferred())
    effects = bench.end(2, sent("a@x", "b@x"))
    assert effects == [ResumeFetching(3)]


def test_a_full_index_does_not_stop_what_waits_for_the_position() -> None:
    """Seen once, in the simulation: nothing was read because so much was parked, and what was parked waited for reading."""
    waiting = [(n, put(100 + n, due=NOW - 1)) for n in range(5)]
    bench = Bench(parked(*waiting, retry_end=5), policy=replace(POLICY, index_mails=3))
    assert bench.play(Tick()) == []
    asked = bench.arrive(*(arrival(100 + n, f"t{100 + n}") for n in range(5)))
    assert PauseFetching(index_full=True) in asked
    loads = [effect for effect in bench.play(SlotsFree(1)) if isinstance(effect, Load)]
    assert [load.origin.offset for load in loads] == [100, 101, 102, 103, 104]


@given(st.lists(st.floats(0, 1e6), max_size=60), st.floats(0, 1.1e6))
def test_a_journal_is_never_taken_for_older_than_it_is(times: list[float], horizon: float) -> None:
    age, written = JournalAge(), [(at, offset) for offset, at in enumerate(sorted(times))]
    for at, offset in written:
        age.note(at, offset)
    below = age.written_before(horizon)
    assert all(at <= horizon for at, offset in written if offset < below)
    assert JournalAge(age.marks).written_before(horizon) == below
