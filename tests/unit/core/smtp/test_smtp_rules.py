"""Rules as data: what can be written, and how faults in it are told."""

import pytest

from postlane.core.smtp.smtp_reply import Classifier, Heard, Outcome, Scope, Verdict, parse_reply
from postlane.core.smtp.smtp_rules import BadRules, check_examples, parse_rules
from postlane.core.smtp.transcript import Phase

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
WORDS = """
[words]
who = "(user|mail box)"
gone = "{who} ... gone"
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[[rule]]", "[[rule"), "not valid TOML"),
        (("[[rule]]", "[rule]"), "[[rule]]"),
        (("[[rule]]", "x = 1\n[[rule]]"), "[[rule]]"),
        (("[[rule]]", "words = 1\n[[rule]]"), "words: it is no table"),
        (("[[rule]]", "[words]\nwho = 1\n[[rule]]"), "words: who is no text"),
        (("[[rule]]", '[words]\nwho = "{whom}"\n[[rule]]'), "words: who: {whom} does not stand in [words]"),
        (('name = "one"', 'name = "one"\ncolour = "red"'), "rule one: unknown key colour"),
        (('cause = "quota"', "cause = 7"), "rule one: cause has the wrong type"),
        (
            ('cause = "quota"', 'cause = "Mail quota"'),
            "rule one: cause 'Mail quota' is not like mailbox_full",
        ),
        (('cause = "quota"', 'cause = "quota"\nwait_seconds = true'), "rule one: wait_seconds has the wrong"),
        (('cause = "quota"', 'cause = "quota"\nwait_seconds = -1'), "rule one: wait_seconds is not below 0"),
        (('outcome = "hold"', 'outcome = "fail"\nwait_seconds = 5'), "rule one: wait_seconds"),
        (('name = "one"', ""), "rule number 1: name is missing"),
        (('source = "a test"', ""), "rule one: source is missing"),
        (('code = ["550"]', ""), "rule one: it has no condition"),
        (('code = ["550"]', 'unless = ["spam"]'), "rule one: it has no condition"),
        (('code = ["550"]', 'code = ["55"]'), "rule one: code '55'"),
        (('code = ["550"]', "code = [550]"), "rule one: code is a list of texts"),
        (('code = ["550"]', "code = []"), "rule one: code is a list of texts"),
        (('code = ["550"]', 'phase = ["lunch"]'), "rule one: phase 'lunch'"),
        (('code = ["550"]', 'enhanced = ["5.7"]'), "rule one: enhanced '5.7'"),
        (('code = ["550"]', 'text = "no"'), "rule one: text has the wrong type"),
        (('code = ["550"]', "text = ['no.*mail\\b']"), "rule one: text 'no.*mail\\\\b': "),
        (('code = ["550"]', 'text = ["(a"]'), "rule one: text '(a': ')' is missing"),
        (('code = ["550"]', 'text = ["{who}"]'), "rule one: text '{who}': {who} does not stand in [words]"),
        (('code = ["550"]', 'text = ["a"]\nunless = ["+"]'), "rule one: unless '+': '+' means nothing here"),
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
    rule = parse_rules(rules)[0]

    def fits(code: int, *enhanced: int) -> bool:
        return rule.fits(Heard(phase="mail", code=code, enhanced=enhanced, words=""), ())

    assert [fits(550, 5, 3, 0), fits(451, 4, 7, 500), fits(451, 4, 7, 699)] == [True, True, True]
    assert [fits(560, 5, 3, 0), fits(451, 4, 7, 700), fits(550)] == [False, False, False]


def verdict(rules: str, line: str, phase: Phase = Phase.RCPT) -> Verdict:
    return Classifier(parse_rules(rules)).classify(parse_reply(phase, line))


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("550 Mail-Box of kim@example.org is gone", "quota"),
        ("550 The user has gone.", "quota"),
        ("550 The user has gone: spam", "recipient_refused"),
        ("550 gone", "recipient_refused"),
    ],
)
def test_phrases_and_their_exceptions(line: str, cause: str) -> None:
    rules = WORDS + ONE_RULE.replace('code = ["550"]', 'text = ["{gone}"]\nunless = ["spam"]')
    assert verdict(rules, line).cause == cause


def test_without_an_outcome_the_first_digit_decides() -> None:
    rules = ONE_RULE.replace('outcome = "hold"', "wait_seconds = 60").replace('["550"]', '["4xx", "5xx"]')
    assert verdict(rules, "450 no") == Verdict(Outcome.RETRY, Scope.RELAY, "quota", 60.0)
    assert verdict(rules, "550 no") == Verdict(Outcome.FAIL, Scope.RELAY, "quota")


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (ONE_RULE.replace("mail 550 no", "lunch 550 no"), "rule one: example: phase 'lunch' is none of"),
        (
            ONE_RULE.replace("mail 550 no", "mail no"),
            "rule one: example is not `phase reply`: a reply begins",
        ),
        (
            ONE_RULE.replace("mail 550 no", "mail 250 yes"),
            "rule one: example is not `phase reply`: 250 is no",
        ),
        (ONE_RULE.replace("mail 550 no", "mail 450 no"), "is not decided by its own rule, no rule fits it"),
        (
            ONE_RULE + ONE_RULE.replace('"one"', '"two"'),
            "rule two: example is not decided by its own rule, rule one",
        ),
    ],
)
def test_an_example_must_be_decided_by_its_rule(rules: str, said: str) -> None:
    with pytest.raises(BadRules) as caught:
        check_examples(parse_rules(rules))
    assert said in str(caught.value)
