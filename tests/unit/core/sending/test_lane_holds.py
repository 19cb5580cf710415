"""A person holds a ticket, or dead mail waits for a person: nothing of it is attempted, and nobody else waits."""

from dataclasses import replace

import pytest

from postlane.core.events.status import MailState, Origin
from postlane.core.events.trail import Put, decode, encode
from postlane.core.routing.routes import Route
from postlane.core.sending.lane_mail import (
    Attempt,
    Event,
    Load,
    Loaded,
    MailDecided,
    NotStarted,
    Recovered,
    SendersDue,
    SlotsFree,
    Tick,
    TicketFreed,
    TicketHeld,
)
from postlane.core.smtp.attempt import SenderHeld
from unit.core.lane_bench import NEVER, POLICY, Bench, arrival, deferred, poison, put, refused, sent, states

HOLD_DEAD = replace(POLICY, routes=(Route(hold_dead=True),))
HELD = MailState.HELD


def decide(offset: int, held: int, *, skip: bool) -> MailDecided:
    return MailDecided(Origin("T", offset), held, skip, command_id="c1")


def read_back(bench: Bench, event: Event, *offsets: int) -> None:
    """After the event these are read back from the journal, as soon as there is a free slot."""
    effects = [*bench.play(event), *bench.play(SlotsFree(1))]
    assert not any(isinstance(effect, Attempt) for effect in effects)
    asked = [effect for effect in effects if isinstance(effect, Load)]
    assert [load.origin.offset for load in asked] == list(offsets)
    for load in asked:
        bench.play(Loaded(load.origin, arrival(load.origin.offset).content))


def test_a_held_ticket_waits_in_the_journal_and_the_others_go() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1, "u"), arrival(2))
    bench.play(TicketHeld(b"t", "the customer called"))
    assert bench.starts() == [1]
    bench.end(1, sent())
    batch, commit = bench.commit()
    assert states(batch) == [(0, HELD), (2, HELD), (1, MailState.SENT)]
    assert {copy.put.cause for copy in batch.puts} == {"ticket_held"}
    assert commit.base == 3
    assert bench.lanes.memory_mails == 0


def test_mail_that_comes_for_a_held_ticket_waits_too() -> None:
    bench = Bench()
    bench.play(TicketHeld(b"t", "why"))
    bench.arrive(arrival(0))
    assert bench.starts() == []
    batch, _ = bench.commit()
    assert states(batch) == [(0, HELD)]
    assert batch.statuses[0].status.next_attempt_at is None
    assert batch.statuses[0].status.reason == "why"


def test_a_freed_ticket_goes_on_in_order() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1))
    bench.play(TicketHeld(b"t", "why"))
    bench.commit()
    read_back(bench, TicketFreed(b"t"), 0)
    assert bench.starts() == [0]
    bench.end(0, sent())
    assert bench.starts() == []  # the second one's bytes lie in the journal


def test_an_attempt_in_flight_goes_on_and_its_retry_is_held() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1))
    assert bench.starts() == [0]
    bench.play(TicketHeld(b"t", "why"))
    bench.end(0, deferred())
    bench.now += 1000
    bench.commit()
    assert bench.starts() == []
    read_back(bench, TicketFreed(b"t"), 0)
    assert bench.starts() == [0]


def test_a_hold_and_its_end_say_nothing_to_a_ticket_without_mail() -> None:
    bench = Bench()
    assert bench.play(TicketHeld(b"t", "why")) == []
    assert bench.play(TicketFreed(b"t")) == []
    assert bench.cut() is None


def test_a_parked_mail_that_comes_due_while_its_ticket_is_held_is_not_read_back() -> None:
    bench = Bench()
    bench.arrive(arrival(0))
    bench.starts()
    bench.end(0, deferred(wait=100.0))
    bench.commit()
    bench.play(TicketHeld(b"t", "why"))
    assert bench.cut() is None  # a status would have to name its event, and that stands in the journal
    bench.now += 1000
    assert bench.starts() == []
    assert not any(isinstance(effect, Load) for effect in bench.play(TicketHeld(b"u", "why")))


def test_a_dead_mail_keeps_its_place_until_a_person_decides() -> None:
    bench = Bench(policy=HOLD_DEAD)
    bench.arrive(arrival(0), arrival(1))
    bench.starts()
    bench.end(0, refused())
    batch, commit = bench.commit()
    assert states(batch) == [(0, HELD), (1, MailState.DEFERRED)]
    assert batch.dead == ()
    assert [copy.put.held for copy in batch.puts] == [1, 0]
    assert commit.base == 2
    assert bench.starts() == []


def test_a_dead_mail_may_be_tried_again_and_dies_a_second_time() -> None:
    bench = Bench(policy=HOLD_DEAD)
    bench.arrive(arrival(0), arrival(1))
    bench.starts()
    bench.end(0, refused("b@x", delivered=("a@x",)))
    bench.commit()
    bench.now += 5000  # older than any mail may become: the decision gives it new time
    read_back(bench, decide(0, 1, skip=False), 0)
    assert bench.starts() == [0]
    bench.end(0, refused("b@x"))
    batch, _ = bench.commit()
    assert [(copy.put.held, copy.put.remaining) for copy in batch.puts] == [(2, ("b@x",))]
    bench.play(decide(0, 1, skip=True))  # stale: it speaks of the first death
    assert bench.starts() == []


def test_a_dead_mail_may_be_skipped_and_its_ticket_goes_on() -> None:
    bench = Bench(policy=HOLD_DEAD)
    bench.arrive(arrival(0), arrival(1))
    bench.starts()
    bench.end(0, refused())
    bench.commit()
    read_back(bench, decide(0, 1, skip=True), 0)
    assert bench.starts() == []
    batch, _ = bench.commit()
    assert states(batch) == [(0, MailState.SKIPPED)]
    assert [copy.dead.cause for copy in batch.dead] == ["skipped"]
    assert bench.lanes.mails.keys() == {Origin("T", 1)}


def test_a_waiting_mail_may_be_skipped_at_once() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1))
    bench.starts()
    bench.end(0, deferred())
    assert bench.starts() == []
    bench.play(decide(0, 0, skip=True))
    assert bench.starts() == []
    batch, _ = bench.commit()
    assert states(batch) == [(0, MailState.DEFERRED), (0, MailState.SKIPPED)]
    assert bench.starts() == [1]


def test_a_mail_in_flight_is_skipped_when_it_comes_back_unsent() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1))
    bench.starts()
    bench.play(decide(0, 0, skip=True))
    bench.end(0, deferred())
    bench.starts()
    batch, _ = bench.commit()
    assert states(batch) == [(0, MailState.DEFERRED), (0, MailState.SKIPPED)]


def test_a_mail_of_a_held_ticket_may_be_skipped() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1))
    bench.play(TicketHeld(b"t", "why"))
    bench.play(decide(0, 0, skip=True))
    assert bench.starts() == []
    batch, _ = bench.commit()
    assert states(batch)[-1] == (0, MailState.SKIPPED)
    assert bench.starts() == []


def test_what_was_decided_before_the_mail_was_read_counts() -> None:
    bench = Bench()
    bench.play(decide(0, 0, skip=True))
    bench.arrive(arrival(0), arrival(1))
    bench.starts()
    batch, _ = bench.commit()
    assert states(batch) == [(0, MailState.SKIPPED)]
    assert bench.starts() == [1]


@pytest.mark.parametrize("known", [False, True])
def test_a_new_owner_holds_what_was_held(known: bool) -> None:
    recovered = Recovered(base=5, status_end=9, retry_end=4, parked=((3, b"t", put(0, held=1)),))
    bench = Bench(recovered, HOLD_DEAD)
    effects = bench.play(decide(0, 1, skip=False)) if known else bench.play(TicketFreed(b"u"))
    assert [effect.origin.offset for effect in effects if isinstance(effect, Load)] == ([0] if known else [])


def test_a_decision_to_try_again_that_was_obeyed_is_not_obeyed_by_the_next_owner() -> None:
    bench = Bench(policy=HOLD_DEAD)
    bench.arrive(arrival(0))
    bench.starts()
    bench.end(0, refused())
    batch, _ = bench.commit()
    assert batch.statuses[0].status.status_id.endswith(":HELD")
    read_back(bench, decide(0, 1, skip=False), 0)
    assert bench.starts() == [0]
    bench.end(0, deferred())
    batch, _ = bench.commit()
    (copy,) = batch.puts
    assert (copy.put.held, copy.put.retried_by) == (1, "c1")
    parked = decode(encode(copy.put))
    assert isinstance(parked, Put)
    waiting = Bench(Recovered(base=1, status_end=9, retry_end=4, parked=((3, b"t", parked),)), HOLD_DEAD)
    assert not any(isinstance(effect, Load) for effect in waiting.play(decide(0, 1, skip=False)))
    assert waiting.lanes.mails[Origin("T", 0)].first_seen == parked.first_seen_ms / 1000
    again = replace(decide(0, 1, skip=False), command_id="c2")
    assert [effect.origin.offset for effect in waiting.play(again) if isinstance(effect, Load)] == [0]


def test_poison_is_held_where_it_has_a_ticket() -> None:
    bench = Bench(policy=HOLD_DEAD)
    bench.arrive(poison(0, b"t"), poison(1, None), arrival(2))
    assert bench.starts() == []
    batch, _ = bench.commit()
    assert states(batch) == [(0, HELD), (2, MailState.DEFERRED), (1, MailState.FAILED)]


def test_an_expired_mail_is_held_and_skipped() -> None:
    bench = Bench(policy=HOLD_DEAD)
    bench.arrive(arrival(0, until=-1.0), arrival(1))
    bench.starts()
    batch, _ = bench.commit()
    assert states(batch) == [(0, HELD), (1, MailState.DEFERRED)]
    read_back(bench, decide(0, 1, skip=True), 0)
    bench.starts()
    batch, _ = bench.commit()
    assert states(batch) == [(0, MailState.SKIPPED)]


def denied(wait: float) -> SenderHeld:
    return SenderHeld(cause="sender_denied", reason="no", reply=NEVER, wait_seconds=wait)


def test_mail_that_waits_for_its_sender_goes_when_a_person_says_so() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1, "u"), arrival(2, "v"))
    assert bench.starts() == [0, 1, 2]
    bench.end(0, denied(15.0))
    bench.end(1, denied(900.0))
    bench.end(2, deferred(wait=900.0))
    bench.commit()
    first_seen = {mail.origin.offset: mail.first_seen for mail in bench.lanes.mails.values()}
    bench.now += 5
    (load,) = bench.play(SendersDue())
    assert isinstance(load, Load)
    # Of the waits, only what was waited is no age.
    ages = {
        mail.origin.offset: first_seen[mail.origin.offset] - mail.first_seen
        for mail in bench.lanes.mails.values()
    }
    assert ages == {0: 10.0, 1: 895.0, 2: 0.0}
    assert bench.starts() == [0]
    bench.play(Loaded(load.origin, arrival(1, "u").content))
    assert bench.starts() == [1]


def test_mail_that_has_come_to_wait_for_something_else_is_not_hurried() -> None:
    bench = Bench()
    bench.arrive(arrival(0))
    bench.starts()
    bench.end(0, denied(15.0))
    bench.commit()
    bench.now += 15
    assert bench.starts() == [0]
    bench.end(0, deferred(wait=15.0))
    bench.play(SendersDue())
    assert bench.starts() == []


def test_a_mail_that_was_not_started_is_held_where_its_ticket_has_been_meanwhile() -> None:
    bench = Bench()
    bench.arrive(arrival(0), arrival(1, "u"))
    assert bench.starts(1) == [0]
    bench.play(TicketHeld(b"t", "why"))
    assert bench.play(NotStarted(Origin("T", 0))) == []
    assert bench.starts() == [1]


def test_a_parked_mail_that_was_read_back_says_that_its_ticket_is_held() -> None:
    bench = Bench(Recovered(base=1, status_end=1, retry_end=1, parked=((0, b"t", put(0)),)))
    read_back(bench, Tick(), 0)
    bench.play(TicketHeld(b"t", "why"))
    batch = bench.cut()
    assert batch is not None
    assert states(batch) == [(0, HELD)]
    assert batch.statuses[0].status.reason == "why"
