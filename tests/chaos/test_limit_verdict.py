"""The judge of limits must see what it is there to see: each violation is planted once."""

import pytest

from chaos.acceptances import Acceptance
from chaos.audit import Findings, Requested, Step
from chaos.limit_verdict import LimitVerdict, judge_limits
from chaos.limits import BUDGETS_SHARED, MAIN, SPARE, Budget, LimitKind, plan_budgets, plan_spells
from chaos.workload import PlannedMail
from postlane.core.events.status import MailState

ALICE = "r0.ok@customer.test"
BUDGETS = (Budget(MAIN, 2, 60.0), Budget(SPARE, 1, 3600.0))
PLANNED = (
    PlannedMail(ticket="t", number=0, sender="b+t-0+ok@desk.test", recipients=(ALICE,)),
    PlannedMail(ticket="t", number=1, sender="b+t-1+ok@desk.test", recipients=(ALICE,), expired=True),
)
HELD = Step(MailState.DEFERRED, False, "quota", 0)
SENT = Step(MailState.SENT, True, "accepted", 1)
FAILED_BEFORE = Step(MailState.DEFERRED, False, "connection_lost", 1)


def accepted(at: float, relay: str = MAIN, sender: str = "sender-1.test") -> Acceptance:
    return Acceptance(
        number=round(at),
        at=at,
        mail_id="t-0",
        subject="t-0",
        recipients=(ALICE,),
        digest="d",
        confirmed=True,
        sender=sender,
        relay=relay,
    )


def verdict(*steps: Step, tried: int = 1, acceptances: tuple[Acceptance, ...] = ()) -> LimitVerdict:
    """Of the first mail's statuses; the second one expires as asked."""
    found = Findings()
    for planned in PLANNED:
        found.requested[0, planned.number] = Requested(planned.mail_id, planned.recipients, False, 0.0)
    found.steps[0, 0] = list(steps)
    found.steps[0, 1] = [HELD, Step(MailState.EXPIRED, True, "expired", 0)]
    return judge_limits(PLANNED, acceptances, {"t-0": tried}, found, BUDGETS)


def test_a_mail_that_waited_for_limits_burns_nothing() -> None:
    clean = verdict(HELD, HELD, SENT, acceptances=(accepted(1.0), accepted(2.0)))
    assert clean.violations == []
    assert clean.held_mails == 2
    assert clean.most == {"main: 2 mails/min": 2, "spare: 1 mails/hour": 0}


@pytest.mark.parametrize("state", [MailState.FAILED, MailState.EXPIRED])
def test_nothing_dies_for_a_limit(state: MailState) -> None:
    assert len(verdict(HELD, Step(state, True, "quota", 0)).attempts_burned) == 1


def test_a_mail_that_nobody_gave_an_end_does_not_expire() -> None:
    assert len(verdict(HELD, Step(MailState.EXPIRED, True, "expired", 0)).attempts_burned) == 1


def test_a_held_mail_counts_no_attempt_more() -> None:
    one_more = Step(MailState.DEFERRED, False, "quota", 2)
    assert len(verdict(FAILED_BEFORE, one_more, SENT).attempts_burned) == 1
    as_before = Step(MailState.DEFERRED, False, "quota", 1)
    sent_at_second = Step(MailState.SENT, True, "accepted", 2)
    assert verdict(FAILED_BEFORE, as_before, sent_at_second, tried=2).violations == []


def test_no_more_attempts_are_counted_than_were_about_the_mail() -> None:
    assert len(verdict(Step(MailState.SENT, True, "accepted", 2)).attempts_burned) == 1
    assert len(verdict(SENT, tried=0).attempts_burned) == 1


def test_a_budget_holds_in_every_window_of_its_length_at_its_relay() -> None:
    over = verdict(SENT, acceptances=(accepted(1.0), accepted(30.0), accepted(60.9)))
    assert len(over.budget_exceeded) == 1
    assert over.violations
    spread = (accepted(1.0), accepted(30.0), accepted(61.0), accepted(62.0, SPARE))
    assert verdict(SENT, acceptances=spread).violations == []
    spare = (accepted(1.0, SPARE), accepted(3600.0, SPARE))
    assert len(verdict(SENT, acceptances=spare).budget_exceeded) == 1


def test_a_budget_is_each_holders_own_unless_it_is_shared() -> None:
    two = (accepted(1.0), accepted(2.0), accepted(3.0, sender="sender-2.test"))
    assert len(verdict(SENT, acceptances=two).budget_exceeded) == (1 if BUDGETS_SHARED else 0)


@pytest.mark.parametrize("mails", [1500, 20_000])
@pytest.mark.parametrize("seed", [1, 2])
def test_every_limit_has_a_spell_within_the_run(mails: int, seed: int) -> None:
    spells = plan_spells(seed, mails, limits=True)
    assert {spell.kind for spell in spells} == set(LimitKind)
    assert spells == sorted(spells, key=lambda spell: spell.after_mails)
    assert spells[-1].after_mails < mails
    assert {spell.everywhere for spell in spells} == {True, False}
    assert plan_budgets(mails)[0].mails < mails
