"""Reply classification: the corpus, every rule's own example, the fallback, waits, and faults in rules."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlane.adapters.smtp_rules_file import load_classifier
from postlane.core.events.status import SmtpReply
from postlane.core.smtp.smtp_reply import (
    TEXT_MAX,
    WAIT_SECONDS_MAX,
    Classifier,
    Outcome,
    Rule,
    Scope,
    Verdict,
    read_reply,
    wait_hint,
)
from postlane.core.smtp.smtp_rules import BadRules, parse_rules
from postlane.core.smtp.transcript import Phase

CORPUS = Path(__file__).parents[3] / "corpus" / "smtp_replies.tsv"
CLASSIFIER = load_classifier()
ONE_RULE = """
[[rule]]
name = "one"
code = ["550"]
outcome = "hold"
scope = "relay"
cause = "quota"
example = "mail 550 no"
source = "a test"
"""


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
    assert len({row["reply"] for row in rows}) == len(rows) >= 60


@pytest.mark.parametrize("rule", CLASSIFIER.rules, ids=lambda rule: rule.name)
def test_every_rule_decides_its_own_example(rule: Rule) -> None:
    phase, _, line = rule.example.partition(" ")
    decided = CLASSIFIER.deciding_rule(reply(phase, line))
    assert decided is not None
    assert decided.name == rule.name


@given(
    st.sampled_from(Phase),
    st.integers(min_value=400, max_value=599),
    st.one_of(st.none(), st.from_regex(r"[45]\.\d{1,3}\.\d{1,3}", fullmatch=True)),
    st.text(max_size=200),
)
def test_every_reply_gets_a_verdict(phase: Phase, code: int, enhanced: str | None, text: str) -> None:
    verdict = CLASSIFIER.classify(read_reply(phase, code, f"{enhanced or ''} {text}"))
    assert verdict.cause
    if phase in (Phase.CONNECT, Phase.TLS, Phase.EHLO, Phase.AUTH):
        assert verdict.outcome is not Outcome.FAIL or verdict.scope is not Scope.RELAY
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
        ("connect", None, Scope.RELAY, "relay_refused"),
    ],
)
def test_the_fallback_scope(phase: str, enhanced: str | None, scope: Scope, cause: str) -> None:
    verdict = Classifier(()).classify(SmtpReply(phase=phase, code=550, enhanced_code=enhanced, text=""))
    assert verdict == Verdict(Outcome.FAIL, scope, cause)


@pytest.mark.parametrize(
    ("text", "enhanced", "rest"),
    [
        ("5.1.1 No such user", "5.1.1", "No such user"),
        ("5.1.1 No such\n5.1.1 user", "5.1.1", "No such user"),
        ("#5.1.0 Address rejected", "5.1.0", "Address rejected"),
        ("[5.7.1] no", "5.7.1", "no"),
        ("5.1.1: no", "5.1.1", "no"),
        ("sorry (#5.7.1)", "5.7.1", "sorry (#5.7.1)"),
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


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Greylisted, please try again in 299 seconds", 299.0),
        ("please come back in 00:05:00", 300.0),
        ("come back in 1:30", 90.0),
        ("Retry after 2 minutes.", 120.0),
        ("Request is throttled. Suggested Backoff Time: 1500 milliseconds", 1.5),
        ("throttled, back off: 1500 milliseconds", 1.5),
        ("wait 250 ms", 0.25),
        ("try again in 1 hour", 3600.0),
        ("resumes in 5h", 18000.0),
        ("try again in 90 hours", WAIT_SECONDS_MAX),
        ("try again later from [192.0.2.7]", None),
        ("limit of 100 messages in 60 minutes", None),
        ("after 3 attempts", None),
        ("", None),
    ],
)
def test_waits_in_words(text: str, seconds: float | None) -> None:
    assert wait_hint(text) == seconds


def test_a_time_in_the_text_wins_over_the_rule() -> None:
    asked = reply("final", "454 Throttling failure: Maximum sending rate exceeded. Retry after 2 seconds")
    assert CLASSIFIER.classify(asked) == Verdict(Outcome.HOLD, Scope.RELAY, "rate", 2.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[[rule]]", "[[rule"), "not valid TOML"),
        (("[[rule]]", "[rule]"), "[[rule]]"),
        (("[[rule]]", "x = 1\n[[rule]]"), "[[rule]]"),
        (('name = "one"', 'name = "one"\ncolour = "red"'), "rule one: unknown key colour"),
        (('cause = "quota"', "cause = 7"), "rule one: cause has the wrong type"),
        (('name = "one"', ""), "rule number 1: name is missing"),
        (('source = "a test"', ""), "rule one: source is missing"),
        (('code = ["550"]', ""), "no condition"),
        (('code = ["550"]', 'code = ["55"]'), "rule one: code '55'"),
        (('code = ["550"]', 'phase = ["lunch"]'), "rule one: phase 'lunch'"),
        (('code = ["550"]', 'enhanced = ["5.7"]'), "rule one: enhanced '5.7'"),
        (('code = ["550"]', "text = '('"), "rule one: text is not a regular expression"),
        (('outcome = "hold"', 'outcome = "pray"'), "rule one: outcome 'pray'"),
        (('scope = "relay"', 'scope = "world"'), "rule one: scope 'world'"),
    ],
)
def test_bad_rules_are_named(change: tuple[str, str], said: str) -> None:
    with pytest.raises(BadRules) as caught:
        parse_rules(ONE_RULE.replace(*change))
    assert said in str(caught.value)


def test_a_rule_name_stands_for_one_rule() -> None:
    with pytest.raises(BadRules, match="one: the name is used twice"):
        parse_rules(ONE_RULE + ONE_RULE)


def test_rule_patterns() -> None:
    rules = ONE_RULE.replace('code = ["550"]', 'code = ["4xx", "55x"]\nenhanced = ["5.*.0", "4.7.500-699"]')
    rule = parse_rules(rules).rules[0]

    def fits(code: int, enhanced: str | None) -> bool:
        return rule.fits(SmtpReply(phase="mail", code=code, enhanced_code=enhanced, text=""))

    assert [fits(550, "5.3.0"), fits(451, "4.7.500"), fits(451, "4.7.699")] == [True, True, True]
    assert [fits(560, "5.3.0"), fits(451, "4.7.700"), fits(550, None)] == [False, False, False]
