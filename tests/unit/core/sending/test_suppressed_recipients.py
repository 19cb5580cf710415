"""What suppressed recipients mean for their mail and its ticket."""

from dataclasses import replace

import pytest

from postlane.core.events.status import MailState, MailStatus, Origin, RecipientState
from postlane.core.sending.lane_mail import Arrival, Effect
from postlane.core.smtp.attempt import Attempted, Redirect, SuppressedRecipient
from unit.core.lane_bench import NOW, OK, POLICY, Bench, arrival, deferred, put, refused, sent, states
from unit.core.sending.test_lanes import recovered

A, B = "a@x", "b@x"


def suppressed(*addresses: str, of: Attempted | None = None) -> Attempted:
    """These must not be mailed; `of` is what became of the others."""
    others = of or Attempted(delivered=(), waiting=(), failed=(), accepted=None, unknown=False)
    left_out = tuple(
        SuppressedRecipient(a, "suppressed", "on the suppression list (manual)") for a in addresses
    )
    return replace(others, suppressed=left_out)


def ended(judgement: Attempted, *arrivals: Arrival) -> tuple[Bench, MailStatus]:
    """The bench and the status after one attempt that ends so."""
    bench = Bench()
    bench.arrive(*(arrivals or (arrival(0),)))
    assert bench.starts(1) == [0]
    bench.end(0, judgement)
    batch = bench.cut()
    assert batch is not None
    assert [copy.dead.remaining for copy in batch.dead] == (
        [tuple(t.address for t in judgement.failed)] if judgement.failed else []
    )
    bench.stage(batch)
    return bench, batch.statuses[0].status


def outcomes(status: MailStatus) -> dict[str, RecipientState]:
    return {outcome.address: outcome.state for outcome in status.recipients}


def test_with_nobody_else_the_mail_ends_suppressed_and_no_attempt_counts() -> None:
    _, status = ended(suppressed(A, B))
    assert (status.state, status.final, status.cause) == (MailState.SUPPRESSED, True, "suppressed")
    assert status.reason == "not sent to a@x (and 1 more): on the suppression list (manual)"
    assert (status.attempt, status.relay, status.reply) == (0, None, None)
    assert outcomes(status) == {A: RecipientState.SUPPRESSED, B: RecipientState.SUPPRESSED}


@pytest.mark.parametrize(
    ("others", "state", "cause", "reason"),
    [
        (sent(B), MailState.SENT, "accepted", "the relay accepted it: Ok: queued as 4XyZ; not sent to a@x: "),
        (
            refused(B),
            MailState.FAILED,
            "no_such_recipient",
            "b@x: 550 5.1.1 no such user (rcpt); not sent to a@x: ",
        ),
        (deferred(B), MailState.DEFERRED, "temporary", "b@x: 451 4.3.0 try later (rcpt); not sent to a@x: "),
    ],
)
def test_with_others_the_mail_ends_or_waits_as_they_do(
    others: Attempted, state: MailState, cause: str, reason: str
) -> None:
    _, status = ended(suppressed(A, of=others))
    assert (status.state, status.cause, status.attempt, status.relay) == (state, cause, 1, "main")
    assert status.reason == f"{reason}on the suppression list (manual)"
    assert outcomes(status)[A] is RecipientState.SUPPRESSED


def test_no_attempt_counts_when_all_of_a_part_are_suppressed_and_the_next_part_goes_at_once() -> None:
    _, status = ended(suppressed(A, of=deferred(B, wait=0.0)))
    assert (status.state, status.attempt) == (MailState.DEFERRED, 0)
    assert status.next_attempt_at == status.occurred_at


def test_a_mail_that_is_given_up_names_the_suppressed_too() -> None:
    bench = Bench(policy=replace(POLICY, retry=replace(POLICY.retry, age_max_seconds=5.0)))
    bench.arrive(arrival(0))
    bench.starts()
    bench.now += 6
    bench.end(0, suppressed(A, of=deferred(B)))
    batch = bench.cut()
    assert batch is not None
    status = batch.statuses[0].status
    assert status.state is MailState.EXPIRED
    assert outcomes(status) == {A: RecipientState.SUPPRESSED, B: RecipientState.FAILED}
    assert "not sent to a@x" in status.reason
    assert [copy.dead.remaining for copy in batch.dead] == [(B,)]


@pytest.mark.parametrize(
    ("judgement", "state"),
    [(suppressed(A, B), MailState.SUPPRESSED), (suppressed(A, of=sent(B)), MailState.SENT)],
)
def test_the_next_mail_of_the_ticket_waits_until_a_suppression_is_durable(
    judgement: Attempted, state: MailState
) -> None:
    """Else, after a crash, he could get this mail after the next one: by then he may be off the list."""
    bench = Bench()
    bench.arrive(arrival(0), arrival(1))
    assert bench.starts() == [0]
    bench.end(0, judgement)
    assert bench.starts() == []
    batch, _ = bench.commit()
    assert states(batch) == [(0, state)]
    assert bench.starts() == [1]


def test_who_was_suppressed_once_is_not_tried_at_a_later_attempt() -> None:
    """Also not when the delay is short: the journal holds who is left before anything else happens."""
    bench = Bench()
    bench.arrive(arrival(0))
    bench.starts()
    bench.end(0, suppressed(A, of=deferred(B, wait=1.0)))
    batch, _ = bench.commit()
    assert [copy.put.remaining for copy in batch.puts] == [(B,)]
    assert outcomes(batch.statuses[0].status) == {A: RecipientState.SUPPRESSED, B: RecipientState.WAITING}
    assert bench.lanes.mails[Origin("T", 0)].remaining == (B,)


def test_a_new_owner_knows_it_too() -> None:
    bench = Bench(recovered(put(0, remaining=(B,)), base=1))
    assert bench.lanes.mails[Origin("T", 0)].remaining == (B,)


def test_dead_mail_that_is_kept_waits_for_those_who_failed_alone() -> None:
    routes = tuple(replace(route, hold_dead=True) for route in POLICY.routes)
    bench = Bench(policy=replace(POLICY, routes=routes))
    bench.arrive(arrival(0))
    bench.starts()
    bench.end(0, suppressed(A, of=refused(B)))
    batch, _ = bench.commit()
    assert states(batch) == [(0, MailState.HELD)]
    assert [copy.put.remaining for copy in batch.puts] == [(B,)]


def test_a_suppressed_mail_is_not_dead_and_holds_no_ticket() -> None:
    routes = tuple(replace(route, hold_dead=True) for route in POLICY.routes)
    bench = Bench(policy=replace(POLICY, routes=routes))
    bench.arrive(arrival(0), arrival(1))
    bench.starts()
    effects: list[Effect] = bench.end(0, suppressed(A, B))
    assert effects == []
    batch, _ = bench.commit()
    assert states(batch) == [(0, MailState.SUPPRESSED)]
    assert (batch.dead, batch.puts) == ((), ())
    assert bench.starts() == [1]


def test_a_redirected_mail_says_so() -> None:
    judgement = Attempted(
        delivered=(A, B), waiting=(), failed=(), accepted=OK, unknown=False, redirect=Redirect("qa@y", (A,))
    )
    _, status = ended(judgement)
    assert (status.state, status.cause) == (MailState.SENT, "redirected")
    assert status.reason == (
        "the relay accepted it: Ok: queued as 4XyZ; sent to qa@y in the place of a@x, as [safety] wants it"
    )
    assert status.occurred_at.timestamp() == NOW
