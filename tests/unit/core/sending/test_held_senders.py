"""A relay refuses a sender: the mail waits, visibly, without an attempt and without getting older."""

from dataclasses import replace

from postlane.core.events.status import MailState, Origin, SmtpReply
from postlane.core.instants import moment
from postlane.core.sending.lane_mail import Attempt, Effect, Load, Loaded, SlotsFree, Tick
from postlane.core.smtp.attempt import SenderHeld
from unit.core.lane_bench import NOW, Bench, arrival, deferred, sent, states

DENIED = SmtpReply(phase="final", code=550, enhanced_code="5.7.60", text="not as this sender")
DEFERRED = MailState.DEFERRED


def refused(wait_seconds: float = 900.0) -> SenderHeld:
    return SenderHeld(cause="sender_denied", reason="relay r: no", reply=DENIED, wait_seconds=wait_seconds)


def begun(bench: Bench, *arrivals: int) -> Bench:
    """The first mail of ticket t is in flight."""
    bench.arrive(*(arrival(offset) for offset in arrivals))
    assert bench.starts() == [arrivals[0]]
    return bench


def attempts(effects: list[Effect]) -> list[tuple[int, int]]:
    return [(effect.origin.offset, effect.attempt) for effect in effects if isinstance(effect, Attempt)]


def test_it_waits_in_the_journal_and_says_why_and_until_when() -> None:
    bench = begun(Bench(), 0)
    bench.end(0, refused())
    batch, commit = bench.commit()
    (keyed,) = batch.statuses
    assert (keyed.status.state, keyed.status.cause, keyed.status.reason) == (
        DEFERRED,
        "sender_denied",
        "relay r: no",
    )
    assert (keyed.status.attempt, keyed.status.relay, keyed.status.reply) == (0, "main", DENIED)
    assert keyed.status.next_attempt_at == moment(NOW + 900)
    (copy,) = batch.puts
    assert (copy.put.attempt, copy.put.due_ms, copy.put.cause) == (0, (NOW + 900) * 1000, "sender_denied")
    assert copy.put.first_seen_ms == (NOW + 900) * 1000
    assert commit.base == 1
    assert bench.lanes.memory_mails == 0


def test_its_attempt_is_the_first_when_it_is_tried_again() -> None:
    bench = begun(Bench(), 0)
    bench.end(0, refused())
    bench.commit()
    bench.now += 900
    (load,) = bench.play(Tick())
    assert isinstance(load, Load)
    bench.play(Loaded(load.origin, arrival(0).content))
    assert attempts(bench.play(SlotsFree(1))) == [(0, 1)]
    bench.end(0, sent())
    batch, _ = bench.commit()
    assert [(keyed.status.state, keyed.status.attempt) for keyed in batch.statuses] == [(MailState.SENT, 1)]


def test_its_ticket_waits_in_order_and_the_others_go() -> None:
    bench = begun(Bench(), 0, 1)
    bench.arrive(arrival(2, "u"))
    bench.end(0, refused())
    assert bench.starts() == [2]
    batch, _ = bench.commit()
    assert states(batch) == [(0, DEFERRED), (1, DEFERRED)]
    assert [keyed.status.cause for keyed in batch.statuses] == ["sender_denied", "behind_parked"]
    assert [keyed.status.next_attempt_at for keyed in batch.statuses] == [moment(NOW + 900)] * 2
    bench.now += 900
    (load,) = bench.play(Tick())
    assert load == Load(Origin("T", 0), 0)
    bench.play(Loaded(Origin("T", 0), arrival(0).content))
    assert bench.starts() == [0]


def test_a_short_wait_is_waited_for_in_memory() -> None:
    bench = begun(Bench(), 0)
    bench.end(0, refused(15.0))
    batch, commit = bench.commit()
    assert states(batch) == [(0, DEFERRED)]
    assert batch.puts == ()
    assert commit.base == 0
    assert bench.starts() == []
    bench.now += 15
    assert bench.starts() == [0]


def test_waiting_for_the_sender_makes_no_mail_older() -> None:
    bench = begun(Bench(), 0)
    for _ in range(100):  # far longer than a mail may live
        bench.end(0, refused(15.0))
        bench.commit()
        bench.now += 15
        assert bench.starts() == [0]
    bench.now += 500
    bench.end(0, deferred())
    bench.commit()
    bench.now += 10
    assert bench.starts() == [0]
    bench.now += 500  # now it has lived longer than 1000 seconds
    bench.end(0, deferred())
    batch, _ = bench.commit()
    assert states(batch)[-1] == (0, MailState.EXPIRED)


def test_it_expires_in_its_time_all_the_same() -> None:
    bench = Bench()
    bench.arrive(arrival(0, until=10))
    assert bench.starts() == [0]
    bench.end(0, refused())
    batch, _ = bench.commit()
    assert batch.statuses[0].status.next_attempt_at == moment(NOW + 10)
    bench.now += 10
    assert bench.starts() == []
    batch, _ = bench.commit()
    assert states(batch) == [(0, MailState.EXPIRED)]


def test_what_was_delivered_before_stays_delivered() -> None:
    bench = begun(Bench(), 0)
    bench.end(0, deferred("b@x", delivered=("a@x",)))
    bench.commit()
    bench.now += 100
    for load in bench.play(Tick()):
        assert isinstance(load, Load)
        bench.play(Loaded(load.origin, arrival(0).content))
    assert attempts(bench.play(SlotsFree(1))) == [(0, 2)]
    bench.end(0, replace(refused(), asked=False))
    batch, _ = bench.commit()
    (copy,) = batch.puts
    assert (copy.put.attempt, copy.put.remaining) == (1, ("b@x",))
