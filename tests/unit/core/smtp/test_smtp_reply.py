"""Reply classification: the corpus, every rule's own example, the index, the fallback, and how replies are read."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.adapters.smtp_rules_file import load_classifier
from postlane.core.events.status import SmtpReply
from postlane.core.smtp.phrases import words_of
from postlane.core.smtp.smtp_reply import (
    TEXT_MAX,
    Classifier,
    Heard,
    NoReply,
    Outcome,
    Rule,
    Scope,
    Verdict,
    explain_fallback,
    parse_reply,
    read_reply,
)
from postlane.core.smtp.smtp_rules import check_examples
from postlane.core.smtp.transcript import Phase

CORPUS = Path(__file__).parents[3] / "corpus" / "smtp_replies.tsv"
CLASSIFIER = load_classifier()
BEFORE_MAIL = (Phase.CONNECT, Phase.TLS, Phase.EHLO, Phase.AUTH)


def corpus() -> list[dict[str, str]]:
    lines = CORPUS.read_text(encoding="utf-8").splitlines()
    rows = (line for line in lines if not line.startswith("#"))
    return list(csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE))


def reply(phase: str, line: str) -> SmtpReply:
    return read_reply(Phase(phase), int(line[:3]), line[4:].replace(r"\n", "\n"))


@pytest.mark.parametrize("row", corpus(), ids=lambda row: row["reply"][:60])
def test_the_corpus(row: dict[str, str]) -> None:
    verdict = CLASSIFIER.classify(reply(row["phase"], row["reply"]))
    assert (verdict.outcome, verdict.scope, verdict.cause) == (row["outcome"], row["scope"], row["cause"])
    assert verdict.wait_seconds == (float(row["wait_seconds"]) if row["wait_seconds"] else None)
    assert row["source"]


def test_the_corpus_is_not_thin() -> None:
    rows = corpus()
    assert len({(row["phase"], row["reply"]) for row in rows}) == len(rows) >= 700
    assert len({row["source"] for row in rows}) >= 50


def test_every_rule_decides_its_own_example() -> None:
    check_examples(CLASSIFIER.rules)


@pytest.mark.parametrize("rule", CLASSIFIER.rules, ids=lambda rule: rule.name)
def test_no_shipped_rule_gives_up_where_it_names_a_wait(rule: Rule) -> None:
    assert rule.wait_seconds is None or rule.outcome is not Outcome.FAIL
    assert rule.source


VOCABULARY = sorted(
    {word.removesuffix("*") for rule in CLASSIFIER.rules for phrase in rule.text for word in phrase.needs}
)


@given(
    st.sampled_from(Phase),
    st.sampled_from([421, 450, 451, 452, 550, 552, 553, 554]),
    st.sampled_from([None, "4.7.1", "5.1.1", "5.2.2", "5.7.1", "5.4.5"]),
    st.lists(st.sampled_from(VOCABULARY), max_size=12).map(" ".join),
)
def test_the_index_overlooks_no_rule(phase: Phase, code: int, enhanced: str | None, text: str) -> None:
    asked = SmtpReply(phase=phase.value, code=code, enhanced_code=enhanced, text=text)
    numbers = tuple(map(int, enhanced.split("."))) if enhanced else ()
    heard = Heard(asked.phase, asked.code, numbers, words_of(asked.text))
    first = next((rule for rule in CLASSIFIER.rules if rule.fits(heard, rule.text)), None)
    assert CLASSIFIER.deciding_rule(asked) is first


@given(
    st.sampled_from(Phase),
    st.integers(min_value=400, max_value=599),
    st.one_of(st.none(), st.from_regex(r"[45]\.\d{1,3}\.\d{1,3}", fullmatch=True)),
    st.text(max_size=200),
)
def test_every_reply_gets_a_verdict(phase: Phase, code: int, enhanced: str | None, text: str) -> None:
    verdict = CLASSIFIER.classify(read_reply(phase, code, f"{enhanced or ''} {text}"))
    assert verdict.cause
    if phase in BEFORE_MAIL:
        assert (verdict.outcome, verdict.scope) == (Outcome.HOLD, Scope.RELAY)
    if verdict.outcome is Outcome.FAIL:
        assert verdict.wait_seconds is None


@given(st.sampled_from(["mail", "rcpt", "data", "final"]), st.integers(min_value=400, max_value=599))
def test_without_rules_the_first_digit_decides(phase: str, code: int) -> None:
    verdict = Classifier(()).classify(SmtpReply(phase=phase, code=code, enhanced_code=None, text="no"))
    assert verdict.outcome is (Outcome.RETRY if code < 500 else Outcome.FAIL)


@pytest.mark.parametrize(
    ("phase", "enhanced", "scope", "cause"),
    [
        ("mail", "5.1.8", Scope.SENDER, "sender_refused"),
        ("rcpt", "5.1.0", Scope.RECIPIENT, "recipient_refused"),
        ("rcpt", "5.4.4", Scope.RECIPIENT, "recipient_refused"),
        ("final", "5.4.4", Scope.RELAY, "relay_refused"),
        ("final", "5.5.0", Scope.MESSAGE, "message_refused"),
        ("rcpt", "5.7.1", Scope.MESSAGE, "policy_refused"),
        ("final", "5.0.0", Scope.MESSAGE, "message_refused"),
    ],
)
def test_the_fallback_scope(phase: str, enhanced: str | None, scope: Scope, cause: str) -> None:
    verdict = Classifier(()).classify(SmtpReply(phase=phase, code=550, enhanced_code=enhanced, text=""))
    assert verdict == Verdict(Outcome.FAIL, scope, cause)


def test_what_is_said_before_mail_holds_the_relay_with_the_cause_that_was_found() -> None:
    listed = reply("connect", "554 5.7.1 Client host [192.0.2.7] blocked using zen.spamhaus.org")
    assert CLASSIFIER.classify(listed) == Verdict(Outcome.HOLD, Scope.RELAY, "blocklisted")
    assert Classifier(()).classify(reply("connect", "554 no")) == Verdict(
        Outcome.HOLD, Scope.RELAY, "relay_refused"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("550 no", "the first digit of 550 and the phase rcpt"),
        ("450 4.7.1 no", "the first digit of 450, 4.7.1 and the phase rcpt"),
    ],
)
def test_the_fallback_explains_itself(line: str, words: str) -> None:
    assert explain_fallback(reply("rcpt", line)) == words


@pytest.mark.parametrize("cause", ["blocklisted", "spam", "policy_refused", "sender_authentication"])
def test_what_questions_our_standing_is_an_alarm(cause: str) -> None:
    assert Verdict(Outcome.FAIL, Scope.MESSAGE, cause).alarms


@pytest.mark.parametrize("cause", ["no_such_recipient", "mailbox_full", "quota", "too_large", "greylisted"])
def test_what_says_nothing_of_our_standing_is_none(cause: str) -> None:
    assert not Verdict(Outcome.FAIL, Scope.MESSAGE, cause).alarms


@pytest.mark.parametrize(
    ("text", "code", "enhanced", "rest"),
    [
        ("550 5.1.1 No such user", 550, "5.1.1", "No such user"),
        ("550-5.1.1 No such\n550 5.1.1 user", 550, "5.1.1", "No such user"),
        ("550-5.1.1 No such\r\n550-5.1.1 user\r\n550", 550, "5.1.1", "No such user"),
        ("550-One\nthat goes on", 550, None, "One that goes on"),
        ("550-One\n450 of another server", 550, None, "One 450 of another server"),
        ("  421\tbye ", 421, None, "bye"),
        ("421", 421, None, ""),
    ],
)
def test_parsing_a_reply(text: str, code: int, enhanced: str | None, rest: str) -> None:
    assert parse_reply(Phase.RCPT, text) == SmtpReply(
        phase="rcpt", code=code, enhanced_code=enhanced, text=rest
    )


@pytest.mark.parametrize("text", ["", " ", "no", "55 no", "5500 no", "550no", "650 no", "5.1.1 no"])
def test_what_is_no_reply(text: str) -> None:
    with pytest.raises(NoReply, match="three digits"):
        parse_reply(Phase.RCPT, text)


@pytest.mark.parametrize("text", ["250 2.0.0 Ok", "354 Go ahead"])
def test_what_is_no_refusal(text: str) -> None:
    with pytest.raises(NoReply, match="no refusal"):
        parse_reply(Phase.RCPT, text)


@pytest.mark.parametrize(
    ("text", "enhanced", "rest"),
    [
        ("5.1.1 No such user", "5.1.1", "No such user"),
        ("5.1.1 No such\n5.1.1 user", "5.1.1", "No such user"),
        ("#5.1.0 Address rejected", "5.1.0", "Address rejected"),
        ("[5.7.1] no", "5.7.1", "no"),
        ("5.1.1: no", "5.1.1", "no"),
        ("sorry (#5.7.1)", "5.7.1", "sorry (#5.7.1)"),
        ("sorry (#5.5.3 - chkuser)", "5.5.3", "sorry (#5.5.3 - chkuser)"),
        ("Your host is listed.\n5.7.1 Go away", "5.7.1", "Your host is listed. Go away"),
        ("Not you (5.1.2.3)", None, "Not you (5.1.2.3)"),
        ("No such user", None, "No such user"),
        ("10.5.1.1 is listed", None, "10.5.1.1 is listed"),
        ("a\x00b\x1b[31m\tc", None, "a b [31m c"),
        ("caf\udce9", None, "caf\ufffd"),
        ("", None, ""),
    ],
)
def test_reading_a_reply(text: str, enhanced: str | None, rest: str) -> None:
    assert read_reply(Phase.RCPT, 550, text) == SmtpReply(
        phase="rcpt", code=550, enhanced_code=enhanced, text=rest
    )


def test_a_long_reply_is_cut() -> None:
    assert len(read_reply(Phase.FINAL, 550, "x" * 5000).text) == TEXT_MAX


def test_a_time_in_the_text_wins_over_the_rule() -> None:
    asked = reply("final", "454 Throttling failure: Maximum sending rate exceeded. Retry after 2 seconds")
    assert CLASSIFIER.classify(asked) == Verdict(Outcome.HOLD, Scope.RELAY, "rate", 2.0)
