"""The lanes: one story per rule."""

from dataclasses import replace

import pytest

from postlane.core.events.status import MailState, Origin, RecipientState
from postlane.core.events.trail import Put
from postlane.core.sending.lane_loading import LOADS_MAX
from postlane.core.sending.lane_mail import (
    Aborted,
    Attempt,
    Committed,
    CutDue,
    Load,
    Loaded,
    NotStarted,
    PauseFetching,
    Recovered,
    ResumeFetching,
    RouteHolds,
    RouteOpens,
    SlotsFree,
    Tick,
    WriteBatch,
)
from postlane.core.sending.lane_relief import WINDOW_FULL
from unit.core.lane_bench import (
    HELD,
    NOW,
    POLICY,
    Bench,
    arrival,
    deferred,
    poison,
    put,
    refused,
    sent,
    states,
)

HOLD = RouteHolds(cause="quota", reason="daily quota", relay="main", since=NOW, until=NOW + 50)


def recovered(*puts: Put, base: int = 0, done: dict[int, int] | None = None) -> Recovered:
    items = tuple((offset, b"t", put) for offset, put in enumerate(puts))
    return Recovered(base=base, status_end=50, retry_end=len(puts), done=done or {}, parked=items)


# Rule 1: order within a ticket, independence between tickets


def test_one_mail_of_a_ticket_is_in_flight_at_a_time() -> None:
    bench = Bench()
    bench.arrive(arrival(0, "a"), arrival(1, "a"), arrival(2, "b"))
    assert bench.starts() == [0, 2]
    assert bench.starts() == []
    bench.end(0, sent())
    assert bench.starts() == [1]


def test_a_waiting_ticket_is_in_nobodys_way() -> None:
    bench = Bench()
    bench.arrive(arrival(0, "a"), arrival(1, "a"), arrival(2, "b"), arrival(3, "b"))
    bench.starts()
    bench.end(0, deferred())
    bench.end(2, sent())
    assert bench.starts() == [3]


def test_a_failed_mail_goes_before_its_followers() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1))
    bench.starts()
    bench.end(0, deferred())
    assert bench.starts() == []
    bench.commit()
    bench.now += 10
    assert bench.starts() == [0]


def test_slots_are_shared_in_turn() -> None:
    bench = Bench()
    bench.arrive(*(arrival(n, f"t{n % 3}") for n in range(9)))
    assert bench.starts(2) == [0, 1]
    bench.end(0, sent())
    assert bench.starts(2) == [2, 3]


def test_records_that_are_fetched_again_are_dropped() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1, "b"))
    bench.arrive(arrival(0), arrival(1, "b"), arrival(2, "c"))
    assert bench.starts() == [0, 1, 2]


# Rule 2: what must be durable before the lane goes on


def test_a_dead_mail_is_durable_before_its_successor_starts() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1))
    bench.starts()
    bench.end(0, refused())
    assert bench.starts() == []
    batch, commit = bench.commit()
    assert states(batch) == [(0, MailState.FAILED)]
    (copy,) = batch.dead
    assert copy.content.value == b"v" * 10
    assert (copy.dead.cause, copy.dead.remaining) == ("no_such_recipient", ("a@x", "b@x"))
    assert copy.dead.reply == "550 5.1.1 no such user"
    assert commit.base == 1
    assert bench.starts() == [1]


def test_an_aborted_death_still_blocks_and_is_written_again() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1))
    bench.starts()
    bench.end(0, refused())
    batch = bench.cut()
    assert batch is not None
    bench.stage(batch)
    bench.play(Aborted())
    assert bench.starts() == []
    again, commit = bench.commit()
    assert again.dead == batch.dead
    assert commit.base == 1
    assert bench.starts() == [1]


def test_a_sent_mail_does_not_hold_its_successor_up() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1))
    bench.starts()
    bench.end(0, sent())
    assert bench.starts() == [1]


def test_a_partial_delivery_is_put_and_durable_before_the_rest_is_tried() -> None:
    bench = Bench()
    bench.arrive(arrival(0))
    bench.starts()
    bench.end(0, deferred("b@x", wait=0.0, delivered=("a@x",)))
    assert bench.starts() == []
    batch, _ = bench.commit()
    assert [copy.put.remaining for copy in batch.puts] == [("b@x",)]
    outcomes = {o.address: o.state for o in batch.statuses[0].status.recipients}
    assert outcomes == {"a@x": RecipientState.DELIVERED, "b@x": RecipientState.WAITING}
    (attempt,) = bench.play(SlotsFree(1))
    assert getattr(attempt, "remaining", None) == ("b@x",)


def test_refused_recipients_are_dead_lettered_while_the_others_wait() -> None:
    bench = Bench()
    bench.arrive(arrival(0))
    bench.starts()
    bench.end(0, refused("a@x", waiting=("b@x",)))
    batch, _ = bench.commit()
    assert [copy.dead.remaining for copy in batch.dead] == [("a@x",)]
    assert [copy.put.remaining for copy in batch.puts] == [("b@x",)]
    (copy,) = batch.dead
    assert (copy.dead.cause, copy.dead.reply) == ("no_such_recipient", "550 5.1.1 no such user")
    assert batch.statuses[0].status.cause == "temporary"


# Rule 3: the guard


def test_a_parked_mail_waits_until_the_main_position_has_passed_it() -> None:
    bench = Bench(recovered(put(5, due=NOW - 1), base=3))
    assert bench.play(Tick()) == []
    bench.arrive(arrival(3), arrival(4, "b"))
    assert bench.starts() == [3, 4]
    bench.end(3, sent())
    assert bench.play(Tick()) == []
    effects = bench.arrive(arrival(5), arrival(6, "c"))
    assert effects == []
    assert bench.play(Tick()) == [Load(Origin("T", 5), 0)]


def test_mail_of_a_recreated_topic_goes_first_and_needs_no_guard() -> None:
    bench = Bench(recovered(put(900, topic_id="old")))
    bench.arrive(arrival(0))
    assert bench.play(SlotsFree(5)) == [Load(Origin("old", 900), 0)]


# Rule 4: the bound on duplicates


def test_nothing_starts_while_an_outcome_is_too_long_not_durable() -> None:
    bench = Bench()
    bench.arrive(arrival(0, "a"), arrival(1, "b"))
    assert bench.starts(1) == [0]
    bench.end(0, sent())
    bench.now += 5.1
    assert bench.starts() == []
    bench.commit()
    assert bench.starts() == [1]


def test_nothing_starts_while_too_many_outcomes_are_not_durable() -> None:
    bench = Bench(policy=replace(POLICY, uncommitted_max=1))
    bench.arrive(*(arrival(n, f"t{n}") for n in range(4)))
    assert bench.starts(2) == [0, 1]
    bench.end(0, sent())
    bench.end(1, sent())
    assert bench.starts() == []
    bench.commit()
    assert bench.starts() == [2, 3]


# Rule 5: parking


def test_a_long_wait_parks_the_mail_and_its_followers_and_frees_the_offset() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1), arrival(2, "b"))
    bench.starts()
    bench.end(2, sent())
    bench.end(0, deferred(wait=60.0))
    batch, commit = bench.commit()
    assert [copy.put.origin.offset for copy in batch.puts] == [0, 1]
    assert commit.base == 3
    assert bench.lanes.memory_mails == 0
    bench.arrive(arrival(3))
    batch, commit = bench.commit()
    assert [copy.put.origin.offset for copy in batch.puts] == [3]
    assert commit.base == 4


def test_a_short_wait_stays_in_memory_and_holds_the_offset() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1, "b"))
    bench.starts()
    bench.end(0, deferred())
    bench.end(1, sent())
    batch, commit = bench.commit()
    assert batch.puts == ()
    assert states(batch) == [(0, MailState.DEFERRED), (1, MailState.SENT)]
    assert commit.base == 0
    assert commit.pointers.status_from == 1


def test_a_parked_mail_is_read_back_when_due_and_its_end_is_done() -> None:
    bench = Bench()
    bench.arrive(arrival(0))
    bench.starts()
    bench.end(0, deferred(wait=60.0))
    batch, commit = bench.commit()
    assert commit.pointers.retry_from == 0
    bench.now += 60
    assert bench.play(Tick()) == [Load(Origin("T", 0), 0)]
    bench.play(Loaded(Origin("T", 0), batch.puts[0].content))
    assert bench.starts() == [0]
    bench.end(0, sent())
    batch, commit = bench.commit()
    assert [done.origin.offset for _, done in batch.dones] == [0]
    assert commit.pointers.retry_from == 1


def test_a_journal_record_that_is_gone_ends_the_mail_visibly() -> None:
    bench = Bench(recovered(put(0, due=NOW - 1), base=1))
    assert bench.play(Tick()) == [Load(Origin("T", 0), 0)]
    bench.play(Loaded(Origin("T", 0), None))
    assert bench.starts() == []
    batch, _ = bench.commit()
    assert batch.statuses[0].status.cause == "journal_record_lost"
    assert [done.origin.offset for _, done in batch.dones] == [0]


def test_a_put_of_a_mail_in_flight_waits_for_its_end() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1))
    bench.starts()
    bench.now += 1
    bench.lanes.park(bench.lanes.lanes[b"t"], bench.now, WINDOW_FULL)
    batch = bench.cut()
    assert batch is not None
    assert [copy.put.origin.offset for copy in batch.puts] == [1]
    assert bench.stage(batch).base == 0


def test_a_mail_that_ends_while_its_put_is_on_its_way_is_done_next() -> None:
    bench = Bench()
    bench.arrive(arrival(0))
    bench.lanes.park(bench.lanes.lanes[b"t"], bench.now, WINDOW_FULL)
    batch = bench.cut()
    assert batch is not None
    bench.stage(batch)
    assert bench.starts() == [0]
    bench.end(0, sent())
    bench.play(Committed())
    batch, _ = bench.commit()
    assert [done.origin.offset for _, done in batch.dones] == [0]


def test_an_aborted_put_of_a_mail_that_ended_since_is_dropped() -> None:
    bench = Bench()
    bench.arrive(arrival(0))
    bench.lanes.park(bench.lanes.lanes[b"t"], bench.now, WINDOW_FULL)
    batch = bench.cut()
    assert batch is not None
    bench.stage(batch)
    assert bench.starts() == [0]
    bench.end(0, sent())
    bench.play(Aborted())
    batch, commit = bench.commit()
    assert batch.puts == ()
    assert batch.dones == ()
    assert commit.base == 1


# Limits are waits


def test_a_held_relay_counts_no_attempt_and_says_so_once() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1, "b"))
    bench.starts()
    bench.play(HOLD)
    bench.play(replace(HOLD, until=NOW + 100))
    bench.end(0, HELD)
    bench.end(1, HELD)
    batch, _ = bench.commit()
    assert states(batch) == [(0, MailState.DEFERRED), (1, MailState.DEFERRED)]
    assert {keyed.status.cause for keyed in batch.statuses} == {"quota"}
    assert {keyed.status.attempt for keyed in batch.statuses} == {0}
    bench.play(RouteOpens())
    assert bench.starts() == [0, 1]


def test_mail_that_the_relay_has_no_room_for_is_as_it_was() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1), arrival(2, "b"))
    assert bench.starts() == [0, 2]
    assert bench.play(NotStarted(Origin("T", 0))) == []
    assert bench.starts() == [0]
    bench.end(0, sent())
    bench.end(2, sent())
    assert bench.starts() == [1]
    batch, _ = bench.commit()
    assert [keyed.status.attempt for keyed in batch.statuses] == [1, 1]


def test_what_goes_out_bit_by_bit_while_the_relay_is_held_does_not_expire_for_it() -> None:
    bench = Bench()
    bench.arrive(arrival(0))
    bench.play(HOLD)
    bench.commit()
    bench.now += 10 * POLICY.retry.age_max_seconds
    assert bench.starts() == [0]
    bench.end(0, deferred())
    batch, _ = bench.commit()
    assert states(batch) == [(0, MailState.DEFERRED)]
    assert [keyed.status.attempt for keyed in batch.statuses] == [1]


def test_what_is_in_flight_when_a_hold_begins_may_yet_arrive() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1, "b"), arrival(2, "c"))
    assert bench.starts(2) == [0, 1]
    bench.play(HOLD)
    bench.end(0, sent())
    bench.end(1, HELD)
    batch, _ = bench.commit()
    assert states(batch) == [(2, MailState.DEFERRED), (0, MailState.SENT), (1, MailState.DEFERRED)]
    assert bench.starts(1) == [2]
    bench.end(2, HELD)
    assert bench.cut() is None


def test_parked_mail_that_comes_due_at_once_is_read_back_as_far_as_the_window_goes() -> None:
    parked = tuple((offset, b"t%d" % offset, put(offset, due=NOW - 1)) for offset in range(1000))
    bench = Bench(Recovered(base=1000, status_end=0, retry_end=1000, parked=parked))
    todo, most, ended = bench.play(Tick()), 0, 0
    while todo:
        match todo.pop():
            case Load(origin):
                todo += bench.play(Loaded(origin, arrival(origin.offset).content))
            case Attempt(origin):
                todo += bench.end(origin.offset, sent())
                ended += 1
            case WriteBatch() as batch:
                bench.stage(batch)
                todo += bench.play(Committed())
        most = max(most, bench.lanes.memory_mails)
        todo += [] if todo else [*bench.play(SlotsFree(50)), *bench.play(CutDue())]
    assert ended == 1000
    assert 0 < most <= POLICY.window_mails + LOADS_MAX


def test_a_held_relay_is_probed_with_parked_mail_where_there_is_no_other() -> None:
    bench = Bench(recovered(put(0, due=NOW - 1), base=1))
    bench.play(HOLD)
    assert bench.play(Tick()) == []
    assert bench.play(SlotsFree(1)) == [Load(Origin("T", 0), 0)]
    assert bench.play(SlotsFree(1)) == []


def test_mail_that_arrives_during_a_hold_is_told() -> None:
    bench = Bench()
    bench.play(HOLD)
    bench.arrive(arrival(0))
    batch, _ = bench.commit()
    assert batch.statuses[0].status.cause == "quota"
    assert batch.statuses[0].status.next_attempt_at is not None


def test_held_time_does_not_age_a_mail() -> None:
    bench = Bench()
    bench.arrive(arrival(0))
    bench.play(HOLD)
    bench.commit()
    bench.now += 5000
    bench.play(RouteOpens())
    assert bench.starts() == [0]
    bench.end(0, deferred())
    batch, _ = bench.commit()
    assert states(batch)[-1] == (0, MailState.DEFERRED)


def test_a_mail_that_grows_too_old_expires_into_the_dead_letters() -> None:
    bench = Bench()
    bench.arrive(arrival(0))
    bench.now += 995
    bench.starts()
    bench.end(0, deferred())
    batch, _ = bench.commit()
    assert states(batch) == [(0, MailState.EXPIRED)]
    assert batch.dead[0].dead.cause == "expired"


# The request's own times


def test_not_before_parks_until_then() -> None:
    bench = Bench()
    bench.arrive(arrival(0, after=100.0))
    assert bench.starts() == []
    batch, commit = bench.commit()
    assert batch.statuses[0].status.cause == "scheduled"
    assert commit.base == 1
    bench.now += 100
    assert bench.play(Tick()) == [Load(Origin("T", 0), 0)]


def test_a_short_not_before_waits_in_memory() -> None:
    bench = Bench()
    bench.arrive(arrival(0, after=5.0))
    assert bench.starts() == []
    bench.now += 5
    assert bench.starts() == [0]


def test_after_expires_at_nothing_is_sent() -> None:
    bench = Bench()
    bench.arrive(arrival(0, until=10.0), arrival(1))
    bench.now += 10
    assert bench.starts() == []
    batch, _ = bench.commit()
    assert states(batch) == [(0, MailState.EXPIRED)]
    assert bench.starts() == [1]


# Records that cannot be sent


def test_a_poison_record_is_dead_lettered_and_the_lane_goes_on() -> None:
    bench = Bench()
    bench.arrive(poison(0, b"t"), arrival(1))
    assert bench.starts() == []
    batch, _ = bench.commit()
    assert batch.dead[0].content.value == b"?"
    assert batch.statuses[0].status.cause == "undecodable"
    assert bench.starts() == [1]


def test_keyless_records_stand_in_nobodys_way() -> None:
    bench = Bench()
    bench.arrive(poison(0, None), poison(1, None), arrival(2))
    assert bench.starts() == [2]
    batch, _ = bench.commit()
    assert [copy.key for copy in batch.dead] == [None, None]


def test_the_same_event_id_is_not_sent_twice() -> None:
    bench = Bench()
    bench.arrive(arrival(0, event_id="e"), arrival(1, event_id="e"))
    assert bench.starts() == [0]
    bench.end(0, sent())
    batch, commit = bench.commit()
    assert states(batch) == [(1, MailState.DUPLICATE), (0, MailState.SENT)]
    assert commit.base == 2


def test_a_replay_passes_the_duplicate_check() -> None:
    bench = Bench()
    bench.arrive(arrival(0, event_id="e"), replace(arrival(1, event_id="e"), replay=True))
    bench.starts()
    bench.end(0, sent())
    assert bench.starts() == [1]


def test_a_mail_that_is_read_again_is_no_duplicate_of_a_later_one() -> None:
    """The former owner had read the later one after the window, so both were to be sent; only of it a status was young enough."""
    bench = Bench(replace(recovered(), seen={"e": (Origin("T", 2), NOW - 5)}))
    bench.arrive(arrival(0, event_id="e"), arrival(1), arrival(2, event_id="e"))
    batch = bench.cut()
    assert batch is not None
    assert states(batch) == [(2, MailState.DUPLICATE)]
    assert bench.starts() == [0]


def test_an_event_id_is_forgotten_after_its_window() -> None:
    bench = Bench()
    bench.arrive(arrival(0, "a", event_id="e"))
    bench.now += 3601
    bench.arrive(arrival(1, "b", event_id="e"))
    assert bench.starts() == [0, 1]


# Recovery


def test_what_is_done_or_parked_is_not_taken_from_main_again() -> None:
    bench = Bench(recovered(put(1, due=NOW + 100), done={0: 7}))
    bench.arrive(arrival(0), arrival(1), arrival(2, "b"))
    assert bench.starts() == [2]


def test_done_entries_move_the_offset_without_any_record() -> None:
    bench = Bench(recovered(done={0: 7}))
    bench.arrive(arrival(0))
    batch, commit = bench.commit()
    assert batch.statuses == ()
    assert commit.base == 1
    assert commit.pointers.status_from == 50


def test_an_idle_partition_commits_now_and_then() -> None:
    bench = Bench()
    assert bench.cut() is None
    bench.now += 3601
    batch = bench.cut()
    assert batch is not None
    assert bench.stage(batch).base == 0


# The window


def test_a_full_window_pauses_and_resumes_where_it_stopped() -> None:
    bench = Bench()
    effects = bench.arrive(*(arrival(n, f"t{n}") for n in range(12)))
    assert effects == [PauseFetching()]
    bench.starts()
    resumed = [effect for n in range(12) for effect in bench.end(n, sent())]
    assert resumed == [ResumeFetching(12)]


def test_a_long_ticket_is_parked_to_let_others_in() -> None:
    bench = Bench()
    bench.arrive(*(arrival(n, "long") for n in range(9)))
    assert bench.starts() == [0]
    bench.play(Tick())
    batch, commit = bench.commit()
    assert [copy.put.origin.offset for copy in batch.puts] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert commit.base == 0
    assert bench.lanes.memory_mails == 1


def test_a_mere_backlog_is_not_parked() -> None:
    bench = Bench()
    bench.arrive(*(arrival(n, f"t{n}") for n in range(9)))
    bench.play(Tick())
    assert bench.cut() is None


def test_nothing_is_parked_while_the_relay_is_held() -> None:
    bench = Bench()
    bench.play(HOLD)
    bench.arrive(*(arrival(n, "long") for n in range(9)))
    bench.play(Tick())
    batch, _ = bench.commit()
    assert batch.puts == ()


def test_a_mail_that_holds_the_offset_back_is_parked() -> None:
    policy = replace(POLICY, retry=replace(POLICY.retry, delays_seconds=(15.0,)))
    bench = Bench(policy=policy)
    bench.arrive(arrival(0), arrival(1, "b"))
    bench.starts()
    bench.end(1, sent())
    bench.end(0, deferred())
    bench.commit()
    bench.play(Tick())
    bench.now += 61
    bench.play(Tick())
    batch, commit = bench.commit()
    assert [copy.put.origin.offset for copy in batch.puts] == [0]
    assert commit.base == 2


def test_ending_out_of_turn_is_a_fault() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1))
    lane = bench.lanes.lanes[b"t"]
    bench.starts()
    lane.mails.insert(0, lane.mails.pop())
    with pytest.raises(RuntimeError, match="out of turn"):
        bench.end(0, sent())
