"""The judge must see what it is there to see: each violation is planted once."""

from dataclasses import replace

import pytest

from chaos.acceptances import Acceptance, JournalTail
from chaos.audit import Buried, Findings, Requested
from chaos.faults import FAULTS_MAX, mail_faults
from chaos.losses import STOPPED_SECONDS, standstill_seconds
from chaos.schedule import Kind, counts, plan_schedule
from chaos.verdict import Verdict, judge
from chaos.workload import (
    LATE,
    OK,
    PlannedMail,
    doom_of_recipient,
    doom_of_sender,
    mail_id_of_sender,
    plan_workload,
)
from postlane.core.events.status import MailState

ALICE, BOB, GHOST = "r0.ok@customer.test", "r1.ok@customer.test", "r0.late@customer.test"


def mail(number: int, *recipients: str) -> PlannedMail:
    return PlannedMail(ticket="t", number=number, sender=f"b+t-{number}+ok@desk.test", recipients=recipients)


PLANNED = (mail(0, ALICE), mail(1, ALICE, BOB), mail(2, GHOST), mail(3, ALICE))


def accepted(number: int, mail_number: int, *recipients: str, confirmed: bool = True) -> Acceptance:
    return Acceptance(
        number=number,
        at=float(number),
        mail_id=f"t-{mail_number}",
        subject=f"t-{mail_number}",
        recipients=recipients,
        digest=f"d{mail_number}",
        confirmed=confirmed,
        sender="sender-1.test",
        relay="main",
    )


ACCEPTANCES = (
    accepted(1, 0, ALICE),
    accepted(2, 1, ALICE, BOB),
    accepted(3, 3, ALICE),
    accepted(9, 2, GHOST),
)


def findings() -> Findings:
    """The ghost's mail died at offset 2, was replayed at offset 4, and delivered then."""
    found = Findings()
    for planned in PLANNED:
        found.requested[0, planned.number] = Requested(planned.mail_id, planned.recipients, False, 0.0)
        state = MailState.FAILED if GHOST in planned.recipients else MailState.SENT
        found.ends[0, planned.number] = [state]
    found.requested[0, 4] = Requested("t-2", (GHOST,), True, 5.0)
    found.ends[0, 4] = [MailState.SENT]
    found.dead[0, 0] = Buried((0, 2), None)
    found.resolved.add((0, 0))
    return found


def verdict(acceptances: tuple[Acceptance, ...] = ACCEPTANCES, found: Findings | None = None) -> Verdict:
    return judge(PLANNED, acceptances, findings() if found is None else found)


def test_a_clean_run_breaks_nothing() -> None:
    clean = verdict()
    assert clean.violations(0) == []
    assert clean.repeats_after_unknown == 0


def test_a_mail_that_never_came_is_lost() -> None:
    lost = verdict(ACCEPTANCES[:2] + ACCEPTANCES[3:]).lost
    assert len(lost) == 2  # neither taken nor dead, and SENT all the same
    assert all("t-3" in line for line in lost)


def test_a_recipient_left_out_is_lost() -> None:
    partial = (ACCEPTANCES[0], accepted(2, 1, ALICE), *ACCEPTANCES[2:])
    assert all(BOB in line for line in verdict(partial).lost)
    assert verdict(partial).lost


def test_a_resolved_dead_letter_without_delivery_is_lost() -> None:
    assert verdict(ACCEPTANCES[:3]).lost
    still_open = findings()
    still_open.resolved.clear()
    del still_open.requested[0, 4], still_open.ends[0, 4]
    assert verdict(ACCEPTANCES[:3], still_open).lost == []


def test_a_living_mail_must_not_be_buried() -> None:
    found = findings()
    found.dead[0, 7] = Buried((0, 3), None)
    assert "nothing was wrong" in verdict(found=found).lost[0]


def test_only_what_was_written_again_may_end_as_a_duplicate() -> None:
    found = findings()
    found.requested[0, 5] = Requested("t-3", (ALICE,), False, 0.0)
    found.ends[0, 5] = [MailState.DUPLICATE]
    assert verdict(found=found).lost == []
    found.ends[0, 3], found.ends[0, 5] = [MailState.DUPLICATE], [MailState.SENT]
    assert verdict(found=found).lost == ["t-3 at (0, 3) ended as DUPLICATE"]


@pytest.mark.parametrize("ends", [[], [MailState.SENT, MailState.SENT], [MailState.SKIPPED]])
def test_every_request_has_exactly_one_end(ends: list[MailState]) -> None:
    found = findings()
    found.ends[0, 0] = ends
    assert verdict(found=found).lost


def test_a_mail_that_overtakes_an_earlier_one_is_an_inversion() -> None:
    first, second, third, ghost = ACCEPTANCES
    turned = (replace(third, number=1), replace(first, number=2), replace(second, number=3), ghost)
    assert len(verdict(turned).order_inversions) == 3  # the first mail once, both recipients of the second


def test_the_dead_may_come_late_but_replays_keep_their_order() -> None:
    found = findings()
    found.requested[0, 5] = Requested("t-1", (BOB,), True, 5.0)
    found.ends[0, 5] = [MailState.SENT]
    found.dead[0, 1] = Buried((0, 1), (BOB,))
    found.resolved.add((0, 1))
    head = (ACCEPTANCES[0], accepted(2, 1, ALICE), ACCEPTANCES[2])
    in_order = verdict((*head, accepted(9, 2, GHOST), accepted(10, 1, BOB)), found)
    assert in_order.order_inversions == []
    assert verdict((*head, accepted(9, 1, BOB), accepted(10, 2, GHOST)), found).order_inversions


def test_the_recipients_of_a_replayed_mail_may_get_it_in_any_order() -> None:
    found = findings()
    found.requested[0, 4] = Requested("t-1", (ALICE, BOB), True, 5.0)
    found.dead[0, 0] = Buried((0, 1), None)
    found.requested[0, 5], found.ends[0, 5] = Requested("t-2", (GHOST,), True, 5.0), [MailState.SENT]
    found.dead[0, 1] = Buried((0, 2), None)
    found.resolved.add((0, 1))
    head = (ACCEPTANCES[0], ACCEPTANCES[2])
    bob, alice = accepted(9, 1, BOB), accepted(10, 1, ALICE)
    assert verdict((*head, bob, alice, accepted(11, 2, GHOST)), found).order_inversions == []
    between = (*head, bob, accepted(10, 2, GHOST), accepted(11, 1, ALICE))
    assert len(verdict(between, found).order_inversions) == 1


def test_a_repetition_counts_unless_the_sender_could_not_know() -> None:
    again = accepted(4, 0, ALICE)
    assert len(verdict((*ACCEPTANCES[:3], again, ACCEPTANCES[3])).duplicates) == 1
    unknown = (replace(ACCEPTANCES[0], confirmed=False), *ACCEPTANCES[1:3], again, ACCEPTANCES[3])
    assert verdict(unknown).duplicates == []
    assert verdict(unknown).repeats_after_unknown == 1
    assert verdict((*ACCEPTANCES, replace(again, number=10))).violations(0)


def test_other_bytes_other_content_and_leftovers_are_faults() -> None:
    changed = (
        *ACCEPTANCES,
        replace(accepted(10, 0, ALICE), digest="x"),
        replace(accepted(11, 0, ALICE), subject="t-1"),
    )
    assert len(verdict(changed).faults) == 2
    found = findings()
    found.parked, found.behind, found.open_transactions = 1, ["p"], ["q"]
    assert len(verdict(found=found).faults) == 3


def test_the_same_seed_plans_the_same_run() -> None:
    assert plan_workload(300, 7) == plan_workload(300, 7)
    assert plan_schedule(300, 7) == plan_schedule(300, 7)
    assert plan_workload(300, 7) != plan_workload(300, 8)


def test_a_run_of_20000_mails_is_as_rough_as_promised() -> None:
    planned = counts(20_000)
    assert planned[Kind.KILL] >= 20
    assert planned[Kind.STOP] >= 5
    assert planned[Kind.BROKER_RESTART] + planned[Kind.BROKER_CRASH] >= 2


def test_of_three_brokers_each_is_lost_first_as_often() -> None:
    planned = counts(20_000, 3)
    assert planned[Kind.BROKER_LOSS] == 6
    assert planned[Kind.BROKER_RESTART] == planned[Kind.BROKER_CRASH] == 0
    losses = [it for it in plan_schedule(20_000, 7, 3) if it.kind is Kind.BROKER_LOSS]
    assert len(losses) == 6
    assert all(it.pause_seconds > STOPPED_SECONDS and it.at < 18_100 for it in losses)


def test_a_standstill_lasts_from_one_acceptance_to_the_next() -> None:
    assert standstill_seconds(ACCEPTANCES, 4.0) == 6.0
    assert standstill_seconds(ACCEPTANCES, 10.0) == 1.0
    assert standstill_seconds([], 4.0) == 0.0


def test_addresses_carry_what_the_relay_must_know() -> None:
    assert mail_id_of_sender("b+t7-3+late.final@desk.test") == "t7-3"
    assert doom_of_sender("b+t7-3+late.final@desk.test") == (LATE, "final")
    assert doom_of_sender("b+t7-3+ok@desk.test") == (OK, "")
    assert doom_of_recipient(GHOST) == LATE


def test_every_mail_runs_out_of_faults() -> None:
    faults = [mail_faults(3, f"t-{number}") for number in range(2000)]
    assert all(len(found) <= FAULTS_MAX for found in faults)
    assert any(faults)


def test_the_journal_is_read_as_it_grows(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("sink") / "journal.jsonl"
    tail = JournalTail(path)
    assert tail.read() == []
    line = ACCEPTANCES[0].line()
    path.write_bytes(line + line[:5])
    assert tail.read() == [ACCEPTANCES[0]]
    path.write_bytes(line + line)
    assert tail.read() == [ACCEPTANCES[0]]
    assert len(tail.acceptances) == 2
