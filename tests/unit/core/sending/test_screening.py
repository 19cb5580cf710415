"""Who of a mail's recipients is tried, and what an attempt for the others means for all."""

from hypothesis import given
from hypothesis import strategies as st

from postlane.core.events.status import SmtpReply
from postlane.core.routing.safety import Safety, read_safety
from postlane.core.sending.screening import Screened, conclude, screen
from postlane.core.smtp.attempt import (
    Attempted,
    Judgement,
    RecipientTrouble,
    Redirect,
    SuppressedRecipient,
)
from unit.core.lane_bench import HELD, LATER, NEVER, OK

A, B, C, QA = "a@x.example", "b@x.example", "c@x.example", "qa@x.example"
LISTED = {B: "no_such_recipient"}
REDIRECT = read_safety((QA, A), QA)


def nobody(_address: str) -> None:
    return None


def attempted(judgement: Judgement) -> Attempted:
    assert isinstance(judgement, Attempted)
    return judgement


def test_without_list_and_safety_everybody_is_tried_as_he_is() -> None:
    screened = screen((A, B, C), Safety(), nobody)
    assert screened.envelope == (A, B, C)
    judgement = Attempted(delivered=(A, B, C), waiting=(), failed=(), accepted=OK, unknown=False)
    assert conclude(screened, judgement) == judgement


def test_who_is_on_the_list_is_left_out_and_named() -> None:
    screened = screen((A, B, C), Safety(), LISTED.get)
    assert screened.envelope == (A, C)
    judgement = Attempted(delivered=(A, C), waiting=(), failed=(), accepted=OK, unknown=False)
    left_out = SuppressedRecipient(B, "suppressed", "on the suppression list (no_such_recipient)")
    assert attempted(conclude(screened, judgement)).suppressed == (left_out,)


def test_nobody_to_be_tried_is_an_attempt_that_asked_nobody() -> None:
    screened = screen((B,), Safety(), LISTED.get)
    assert screened.envelope == ()
    judgement = attempted(conclude(screened, None))
    assert [one.address for one in judgement.suppressed] == [B]
    assert not judgement.asked


def test_safety_leaves_out_whom_it_does_not_name() -> None:
    screened = screen((A, C), read_safety((A,), None), nobody)
    assert screened.envelope == (A,)
    assert [(one.address, one.cause) for one in screened.suppressed] == [(C, "safety")]


def test_a_stand_in_gets_one_copy_and_speaks_for_all_whose_place_he_takes() -> None:
    screened = screen((C, A, "d@x.example", QA), REDIRECT, nobody)
    assert screened.envelope == (QA, A)
    judgement = Attempted(
        delivered=(A,),
        waiting=(RecipientTrouble(QA, "greylisted", LATER, 300.0),),
        failed=(),
        accepted=OK,
        unknown=False,
    )
    assert conclude(screened, judgement) == Attempted(
        delivered=(A,),
        waiting=tuple(RecipientTrouble(r, "greylisted", LATER, 300.0) for r in (C, "d@x.example", QA)),
        failed=(),
        accepted=OK,
        unknown=False,
        redirect=Redirect(QA, (C, "d@x.example")),
    )


def test_the_list_holds_for_the_stand_in_too() -> None:
    screened = screen((C, B), REDIRECT, {QA: "manual", B: "complaint"}.get)
    assert screened.envelope == ()
    assert [one.reason for one in screened.suppressed] == [
        "[safety] redirect_to = qa@x.example is on the suppression list (manual)",
        "on the suppression list (complaint)",
    ]


def test_a_held_relay_stays_held_and_nobody_is_suppressed_yet() -> None:
    assert conclude(screen((A, B), Safety(), LISTED.get), HELD) is HELD


recipients = st.lists(st.sampled_from([A, B, C, QA, "d@y.example"]), unique=True).map(tuple)
safeties = st.sampled_from([Safety(), read_safety((A, "@y.example"), None), REDIRECT, read_safety(None, QA)])
lists = st.dictionaries(st.sampled_from([A, B, C, QA]), st.just("manual"))
fates = st.lists(st.sampled_from(["delivered", "waiting", "failed"]), min_size=5, max_size=5)


@given(recipients, safeties, lists, fates)
def test_no_recipient_is_forgotten_or_told_twice(
    everybody: tuple[str, ...], safety: Safety, listed: dict[str, str], fate: list[str]
) -> None:
    screened = screen(everybody, safety, listed.get)
    judgement = attempted(conclude(screened, fated(screened, fate) if screened.envelope else None))
    troubled = [trouble.address for trouble in judgement.waiting + judgement.failed]
    left_out = [one.address for one in judgement.suppressed]
    assert sorted([*judgement.delivered, *troubled, *left_out]) == sorted(everybody)
    assert not set(screened.envelope) & listed.keys()


def fated(screened: Screened, fate: list[str]) -> Judgement:
    by_fate: dict[str, list[str]] = {"delivered": [], "waiting": [], "failed": []}
    for address, end in zip(screened.envelope, fate, strict=False):
        by_fate[end].append(address)

    def troubles(end: str, reply: SmtpReply) -> tuple[RecipientTrouble, ...]:
        return tuple(RecipientTrouble(address, "c", reply, None) for address in by_fate[end])

    return Attempted(
        delivered=tuple(by_fate["delivered"]),
        waiting=troubles("waiting", LATER),
        failed=troubles("failed", NEVER),
        accepted=OK if by_fate["delivered"] else None,
        unknown=False,
    )
