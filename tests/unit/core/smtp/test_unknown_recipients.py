"""Which refusals put a recipient on the suppression list."""

from dataclasses import replace

import pytest

from postlane.adapters.smtp_rules_file import load_classifier
from postlane.core.smtp.attempt import Attempted, Judgement, Redirect, judge
from postlane.core.smtp.smtp_reply import read_reply
from postlane.core.smtp.smtp_terms import own_words
from postlane.core.smtp.transcript import Answer, Lost, Phase, Transcript
from postlane.core.smtp.unknown_recipients import unknown_recipients

CLASSIFY = load_classifier().classify
A, B = "a@x.example", "b@x.example"


def said(phase: Phase, line: str) -> Answer:
    return read_reply(phase, int(line[:3]), line[4:])


def judged(
    *refused: tuple[str, Answer], stopped: Answer | None = None, served: tuple[str, ...] = ()
) -> Judgement:
    accepted = read_reply(Phase.FINAL, 250, "2.0.0 Ok") if served else None
    recipients = (*(address for address, _ in refused), *served)
    if stopped is not None:
        recipients = (*recipients, A) if A not in recipients else recipients
    transcript = Transcript(relay="main", stopped=stopped, refused=refused, accepted=accepted)
    return judge(transcript, recipients, CLASSIFY)


def listed(judgement: Judgement) -> list[str]:
    return [trouble.address for trouble in unknown_recipients(judgement)]


@pytest.mark.parametrize(
    ("line", "goes_on"),
    [
        ("550 5.1.1 No such user", True),
        ("550 5.1.2 Bad destination system", True),
        ("553 5.1.3 Bad destination mailbox address syntax", True),
        ("551 5.1.6 Mailbox has moved", True),
        ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found", True),
        ("550 #5.1.1 No such user", True),
        # No code, other codes, other reasons
        ("550 No such user here", False),
        ("550 User unknown", False),
        ("550 5.1.0 Address rejected", False),
        ("550 5.1.8 Access denied, bad outbound sender", False),
        ("550 5.1.90 Your message can't be sent because you've reached your daily limit", False),
        ("550 5.7.1 No such user", False),
        ("550 5.7.1 Recipient rejected by policy", False),
        ("550 5.7.511 Access denied, banned sender", False),
        ("550 5.2.1 The email account that you tried to reach is inactive", False),
        ("552 5.2.2 Mailbox full", False),
        ("550 5.4.1 Recipient address rejected: Access denied", False),
        ("550 5.4.5 Daily user sending limit exceeded", False),
        # For now
        ("450 4.1.1 Mailbox unavailable", False),
        ("450 4.2.1 The user you are trying to contact is receiving mail too quickly", False),
        ("452 4.5.3 Too many recipients", False),
        ("450 4.2.0 Greylisted", False),
    ],
)
def test_what_is_said_to_rcpt(line: str, goes_on: bool) -> None:
    assert listed(judged((A, said(Phase.RCPT, line)), served=(B,))) == ([A] if goes_on else [])


@pytest.mark.parametrize("phase", [Phase.DATA, Phase.FINAL])
def test_what_is_said_to_the_message_counts_for_its_only_recipient(phase: Phase) -> None:
    reply = said(phase, "550 5.1.1 No such user")
    assert listed(judged(stopped=reply)) == [A]
    assert listed(judged((B, said(Phase.RCPT, "550 5.7.1 spam")), stopped=reply)) == [A]


def test_but_for_nobody_where_it_may_be_about_any_of_several() -> None:
    reply = said(Phase.FINAL, "550 5.1.1 No such user")
    transcript = Transcript(relay="main", stopped=reply)
    assert listed(judge(transcript, (A, B), CLASSIFY)) == []


@pytest.mark.parametrize("phase", [Phase.CONNECT, Phase.AUTH, Phase.MAIL])
def test_what_is_said_before_a_recipient_was_named_is_about_nobody(phase: Phase) -> None:
    assert listed(judged(stopped=said(phase, "550 5.1.1 No such user"))) == []


def test_a_lost_connection_and_our_own_words_put_nobody_on_the_list() -> None:
    ours = own_words(Phase.RCPT, 501, "5.1.3", "the address cannot be sent")
    assert listed(judged(stopped=Lost(Phase.RCPT, "cut"))) == []
    judgement = judged((A, ours), served=(B,))
    assert isinstance(judgement, Attempted)
    assert [trouble.address for trouble in judgement.failed] == [A]
    assert listed(judgement) == []


def test_a_stand_in_that_does_not_exist_puts_no_customer_on_the_list() -> None:
    judgement = judged((A, said(Phase.RCPT, "550 5.1.1 No such user")), served=(B,))
    assert isinstance(judgement, Attempted)
    assert listed(replace(judgement, redirect=Redirect("qa@x.example", (A,)))) == []
