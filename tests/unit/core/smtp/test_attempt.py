"""What an attempt's answers mean, over every phase and kind of answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.adapters.smtp_rules_file import load_classifier
from postlane.core.events.status import SmtpReply
from postlane.core.routing.mail_domains import TakesNoMail
from postlane.core.smtp.attempt import (
    SENDER_HOLD_SECONDS,
    Attempted,
    Judgement,
    RecipientTrouble,
    RelayHeld,
    SenderHeld,
    describe,
    judge,
    with_unreachable,
)
from postlane.core.smtp.smtp_reply import Outcome, Scope, Verdict, read_reply
from postlane.core.smtp.transcript import Answer, Lost, Phase, Transcript

CLASSIFY = load_classifier().classify
RECIPIENTS = ("a@x.example", "b@x.example", "c@x.example")
A, B, C = RECIPIENTS
ACCEPTED = read_reply(Phase.FINAL, 250, "2.0.0 Ok: queued as 4XyZ")

QUOTA = "550 5.4.5 Daily sending quota exceeded"
UNKNOWN_USER = "550 5.1.1 No such user"
GREYLISTED = "450 4.2.0 Greylisted, try again in 300 seconds"
TOO_MANY = "452 4.5.3 Too many recipients"
DENIED = "554 5.2.252 SendAsDenied; not allowed"
TEMPORARY = "451 4.3.0 Try later"


def said(phase: Phase, line: str) -> SmtpReply:
    return read_reply(phase, int(line[:3]), line[4:])


def judged(
    stopped: Answer | None = None,
    refused: tuple[tuple[str, Answer], ...] = (),
    accepted: SmtpReply | None = None,
) -> Judgement:
    transcript = Transcript(relay="main", stopped=stopped, refused=refused, accepted=accepted)
    return judge(transcript, RECIPIENTS, CLASSIFY)


def attempted(judgement: Judgement) -> Attempted:
    assert isinstance(judgement, Attempted)
    return judgement


def held(judgement: Judgement) -> RelayHeld:
    assert isinstance(judgement, RelayHeld)
    return judgement


def brief(troubles: tuple[RecipientTrouble, ...]) -> list[tuple[str, str, float | None]]:
    return [(trouble.address, trouble.cause, trouble.wait_seconds) for trouble in troubles]


def test_everybody_served() -> None:
    assert judged(accepted=ACCEPTED) == Attempted(
        delivered=RECIPIENTS, waiting=(), failed=(), accepted=ACCEPTED, unknown=False
    )


def test_some_served_some_wait_some_fail() -> None:
    judgement = attempted(
        judged(
            refused=((A, said(Phase.RCPT, UNKNOWN_USER)), (C, said(Phase.RCPT, GREYLISTED))),
            accepted=ACCEPTED,
        )
    )
    assert judgement.delivered == (B,)
    assert brief(judgement.waiting) == [(C, "greylisted", 300.0)]
    assert brief(judgement.failed) == [(A, "no_such_recipient", None)]


def test_a_quota_after_some_were_served_lets_the_others_wait() -> None:
    judgement = attempted(judged(refused=((C, said(Phase.RCPT, QUOTA)),), accepted=ACCEPTED))
    assert judgement.delivered == (A, B)
    assert brief(judgement.waiting) == [(C, "quota", None)]


def test_more_recipients_than_allowed_go_at_once_if_some_were_served() -> None:
    judgement = attempted(judged(refused=((C, said(Phase.RCPT, TOO_MANY)),), accepted=ACCEPTED))
    assert brief(judgement.waiting) == [(C, "too_many_recipients", 0.0)]


def test_but_not_when_nobody_was_served() -> None:
    refused = tuple((address, said(Phase.RCPT, TOO_MANY)) for address in RECIPIENTS)
    assert [trouble.wait_seconds for trouble in attempted(judged(refused=refused)).waiting] == [None] * 3


def test_a_quota_for_everybody_holds_the_relay() -> None:
    judgement = held(
        judged(refused=((A, said(Phase.RCPT, UNKNOWN_USER)), (B, said(Phase.RCPT, QUOTA)))),
    )
    assert (judgement.cause, judgement.wait_seconds, judgement.auth) == ("quota", None, False)
    assert judgement.reason == "relay main: 550 5.4.5 Daily sending quota exceeded (rcpt)"
    assert judgement.reply == said(Phase.RCPT, QUOTA)


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.DATA, Phase.FINAL])
def test_a_quota_in_any_phase_holds_the_relay(phase: Phase) -> None:
    assert held(judged(stopped=said(phase, QUOTA))).cause == "quota"


def test_a_hold_passes_on_the_time_that_the_relay_named() -> None:
    reply = said(Phase.FINAL, "454 Throttling failure: Maximum sending rate exceeded.")
    assert held(judged(stopped=reply)).wait_seconds == 5.0


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.DATA, Phase.FINAL])
def test_a_permanent_answer_to_the_mail_fails_all_who_were_not_refused(phase: Phase) -> None:
    reply = said(phase, "554 5.6.0 Malformed")
    judgement = attempted(judged(stopped=reply, refused=((B, said(Phase.RCPT, GREYLISTED)),)))
    assert brief(judgement.waiting) == [(B, "greylisted", 300.0)]
    assert brief(judgement.failed) == [(A, "content", None), (C, "content", None)]
    assert not judgement.unknown


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.DATA, Phase.FINAL])
def test_a_temporary_answer_to_the_mail_lets_all_wait(phase: Phase) -> None:
    judgement = attempted(judged(stopped=said(phase, TEMPORARY)))
    assert [trouble.address for trouble in judgement.waiting] == list(RECIPIENTS)
    assert not judgement.failed
    assert not judgement.delivered


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.DATA, Phase.FINAL])
def test_a_refused_sender_is_held_in_any_phase(phase: Phase) -> None:
    reply = said(phase, DENIED)
    assert judged(stopped=reply) == SenderHeld(
        cause="sender_denied",
        reason=f"relay main: {DENIED} ({phase.value})",
        reply=reply,
        wait_seconds=900.0,
    )


def test_a_sender_refused_beside_a_recipient_is_held() -> None:
    refused = ((A, said(Phase.RCPT, UNKNOWN_USER)), (B, said(Phase.RCPT, DENIED)))
    judgement = judged(refused=refused, stopped=said(Phase.DATA, "503 5.5.1 no valid recipients"))
    assert isinstance(judgement, SenderHeld)
    assert judgement.reply == said(Phase.RCPT, DENIED)


def test_once_somebody_was_served_a_refused_sender_is_a_wait_of_the_others() -> None:
    judgement = attempted(judged(refused=((C, said(Phase.RCPT, DENIED)),), accepted=ACCEPTED))
    assert judgement.delivered == (A, B)
    assert brief(judgement.waiting) == [(C, "sender_denied", 900.0)]


def test_a_held_relay_matters_more_than_a_held_sender() -> None:
    refused = ((A, said(Phase.RCPT, DENIED)), (B, said(Phase.RCPT, QUOTA)))
    assert held(judged(refused=refused)).cause == "quota"


@pytest.mark.parametrize("line", [DENIED, QUOTA])
def test_when_somebody_may_have_been_served_nothing_is_held(line: str) -> None:
    judgement = attempted(
        judged(stopped=Lost(Phase.FINAL, "cut"), refused=((A, said(Phase.RCPT, line)),)),
    )
    assert judgement.unknown
    assert [trouble.address for trouble in judgement.waiting] == [A, B, C]


def test_a_rule_that_names_no_time_holds_a_sender_for_a_while() -> None:
    transcript = Transcript(relay="main", stopped=said(Phase.MAIL, "550 no"))
    judgement = judge(transcript, RECIPIENTS, lambda _: Verdict(Outcome.HOLD, Scope.SENDER, "mine"))
    assert isinstance(judgement, SenderHeld)
    assert (judgement.cause, judgement.wait_seconds) == ("mine", SENDER_HOLD_SECONDS)


@pytest.mark.parametrize("phase", [Phase.CONNECT, Phase.TLS, Phase.EHLO, Phase.AUTH])
@pytest.mark.parametrize("line", [QUOTA, TEMPORARY, "554 no", "535 5.7.8 bad", "220 ready", "999 what"])
def test_every_answer_before_the_mail_holds_the_relay(phase: Phase, line: str) -> None:
    assert held(judged(stopped=said(phase, line))).reply == said(phase, line)


@pytest.mark.parametrize(
    ("phase", "line", "auth"),
    [
        (Phase.AUTH, "535 5.7.8 bad", True),
        (Phase.AUTH, "554 no", True),
        (Phase.MAIL, "530 5.7.0 Authentication required", True),
        (Phase.AUTH, "454 4.7.0 Temporary authentication failure", False),
        (Phase.AUTH, QUOTA, False),
        (Phase.CONNECT, "554 no", False),
    ],
)
def test_a_broken_account_is_told_from_other_holds(phase: Phase, line: str, auth: bool) -> None:
    assert held(judged(stopped=said(phase, line))).auth is auth


@pytest.mark.parametrize(
    ("phase", "cause"),
    [
        (Phase.CONNECT, "connection"),
        (Phase.TLS, "tls"),
        (Phase.EHLO, "connection"),
        (Phase.AUTH, "connection"),
    ],
)
def test_connection_trouble_holds_the_relay(phase: Phase, cause: str) -> None:
    lost = Lost(phase, "connection refused")
    assert judged(stopped=lost) == RelayHeld(
        cause=cause,
        reason=f"relay main: connection refused ({phase.value})",
        reply=lost,
        wait_seconds=None,
        auth=False,
    )


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA])
def test_a_loss_before_the_final_dot_lets_the_others_wait(phase: Phase) -> None:
    judgement = attempted(
        judged(stopped=Lost(phase, "cut"), refused=((A, said(Phase.RCPT, UNKNOWN_USER)),)),
    )
    assert brief(judgement.waiting) == [(B, "connection_lost", None), (C, "connection_lost", None)]
    assert brief(judgement.failed) == [(A, "no_such_recipient", None)]
    assert not judgement.unknown


def test_a_loss_after_the_final_dot_is_unknown() -> None:
    judgement = attempted(judged(stopped=Lost(Phase.FINAL, "timed out")))
    assert judgement.unknown
    assert brief(judgement.waiting) == [(address, "outcome_unknown", None) for address in RECIPIENTS]


def test_a_relay_that_closes_while_it_hears_recipients_is_held() -> None:
    stopped = said(Phase.RCPT, "421 4.3.2 Service shutting down")
    assert held(judged(stopped=stopped, refused=((A, said(Phase.RCPT, GREYLISTED)),))).cause == "busy"


def test_answers_in_words() -> None:
    assert describe(said(Phase.RCPT, UNKNOWN_USER)) == "550 5.1.1 No such user (rcpt)"
    assert describe(said(Phase.MAIL, "421 bye")) == "421 bye (mail)"
    assert describe(Lost(Phase.FINAL, "timed out")) == "timed out (final)"


lines = st.sampled_from(
    [QUOTA, DENIED, UNKNOWN_USER, GREYLISTED, TOO_MANY, TEMPORARY, "421 bye", "554 5.7.1 spam"]
)


@given(
    st.dictionaries(st.sampled_from(RECIPIENTS), lines),
    st.one_of(st.none(), st.tuples(st.sampled_from(Phase), st.one_of(st.none(), lines))),
    st.booleans(),
)
def test_no_recipient_is_forgotten(
    refusals: dict[str, str], stop: tuple[Phase, str | None] | None, accept: bool
) -> None:
    refused = tuple((address, said(Phase.RCPT, line)) for address, line in refusals.items())
    stopped: Answer | None = None
    if stop is not None and not accept:
        phase, line = stop
        stopped = Lost(phase, "cut") if line is None else said(phase, line)
    all_refused = len(refused) == len(RECIPIENTS)
    accepted = ACCEPTED if stopped is None and not all_refused else None
    match judged(stopped, refused, accepted):
        case Attempted() as judgement:
            troubled = [trouble.address for trouble in judgement.waiting + judgement.failed]
            assert sorted([*judgement.delivered, *troubled]) == sorted(RECIPIENTS)
            assert bool(judgement.delivered) == (accepted is not None)
        case RelayHeld() | SenderHeld() as hold:
            assert accepted is None
            assert not (isinstance(stopped, Lost) and stopped.phase is Phase.FINAL)
            assert hold.reason


NOWHERE = TakesNoMail("domain_unknown", "nowhere.example does not exist")
D = "d@nowhere.example"


def test_who_cannot_be_reached_fails_beside_what_the_relay_says() -> None:
    judgement = judged(refused=((A, said(Phase.RCPT, UNKNOWN_USER)),), accepted=ACCEPTED)
    whole = attempted(with_unreachable(judgement, {D: NOWHERE}))
    assert whole.delivered == (B, C)
    assert brief(whole.failed) == [(A, "no_such_recipient", None), (D, "domain_unknown", None)]
    assert describe(whole.failed[1].answer) == "nowhere.example does not exist (dns)"


def test_where_nobody_can_be_reached_all_fail_unasked() -> None:
    whole = with_unreachable(None, {D: NOWHERE})
    trouble = RecipientTrouble(D, "domain_unknown", NOWHERE, None)
    assert whole == Attempted(delivered=(), waiting=(), failed=(trouble,), accepted=None, unknown=False)


def test_while_others_wait_who_cannot_be_reached_has_failed() -> None:
    judgement = judged(stopped=Lost(Phase.FINAL, "the relay closed the connection"))
    whole = attempted(with_unreachable(judgement, {D: NOWHERE}))
    assert whole.unknown
    assert [trouble.address for trouble in whole.waiting] == [A, B, C]
    assert [trouble.address for trouble in whole.failed] == [D]


def test_a_held_relay_keeps_the_whole_mail() -> None:
    judgement = held(judged(stopped=Lost(Phase.CONNECT, "connection refused")))
    assert with_unreachable(judgement, {D: NOWHERE}) is judgement


def test_a_held_sender_keeps_the_whole_mail_too() -> None:
    judgement = judged(stopped=said(Phase.MAIL, DENIED))
    assert with_unreachable(judgement, {D: NOWHERE}) is judgement


def test_with_everybody_reachable_nothing_changes() -> None:
    judgement = judged(accepted=ACCEPTED)
    assert with_unreachable(judgement, {}) == judgement
