"""Which answers say that a relay distrusts us, and how often people are told."""

import pytest

from postlane.adapters.smtp_rules_file import load_classifier
from postlane.core.alerts.distrust import Seldom, distrust
from postlane.core.smtp.attempt import Judgement, judge
from postlane.core.smtp.smtp_reply import ALARM_CAUSES, Rule, read_reply
from postlane.core.smtp.transcript import Answer, Lost, Phase, Transcript
from postlane.core.smtp.unknown_recipients import unknown_recipients

CLASSIFIER = load_classifier()
A, B = "a@x.example", "b@x.example"
SPAM = "550 5.7.1 This message looks like spam"


def said(phase: Phase, line: str) -> Answer:
    return read_reply(phase, int(line[:3]), line[4:])


def judged(*refused: tuple[str, Answer], stopped: Answer | None = None) -> Judgement:
    return judge(
        Transcript(relay="main", stopped=stopped, refused=refused, accepted=None),
        (A, B),
        CLASSIFIER.classify,
    )


def test_words_about_our_content() -> None:
    assert distrust(judged(stopped=said(Phase.FINAL, SPAM))) == {"spam": f"{SPAM} (final)"}


def test_a_mail_counts_once_for_each_cause() -> None:
    answer = said(Phase.RCPT, SPAM)
    assert list(distrust(judged((A, answer), (B, answer)))) == ["spam"]
    assert list(distrust(judged((A, answer), (B, said(Phase.RCPT, "550 5.1.1 No such user"))))) == ["spam"]


@pytest.mark.parametrize(
    "answer",
    [
        said(Phase.FINAL, "550 5.1.1 No such user"),
        said(Phase.MAIL, "550 5.4.5 Daily sending quota exceeded"),
        said(Phase.FINAL, "554 5.2.252 SendAsDenied; not allowed"),
        Lost(Phase.FINAL, "cut"),
        Lost(Phase.CONNECT, "connection refused"),
    ],
)
def test_other_troubles_are_no_distrust(answer: Answer) -> None:
    assert distrust(judged(stopped=answer)) == {}


ALARMING = [rule for rule in CLASSIFIER.rules if rule.cause in ALARM_CAUSES]


@pytest.mark.parametrize("rule", ALARMING, ids=lambda rule: rule.name)
def test_nobody_is_suppressed_because_a_relay_distrusts_us(rule: Rule) -> None:
    phase, _, line = rule.example.partition(" ")
    answer = said(Phase(phase), line)
    judgement = judged((A, answer), (B, answer)) if phase == "rcpt" else judged(stopped=answer)
    assert rule.cause in distrust(judgement)
    assert unknown_recipients(judgement) == ()


def test_the_same_is_told_once_an_hour() -> None:
    seldom = Seldom()
    assert [seldom.due("spam", now) for now in (0.0, 10.0, 3599.0, 3600.0, 3601.0)] == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert seldom.due("blocklisted", 3601.0)
