"""An operator's own reply rules come before the shipped ones, and faults in them name the file."""

from pathlib import Path

import pytest

from postlane.adapters.smtp_rules_file import load_classifier, read_own_rules
from postlane.core.smtp.smtp_reply import Outcome, Scope, Verdict, parse_reply
from postlane.core.smtp.smtp_rules import BadRules
from postlane.core.smtp.transcript import Phase

OWN = """
[[rule]]
name = "mailbox-full"
text = ["mailbox full"]
outcome = "fail"
scope = "recipient"
cause = "too_full_for_us"
example = "rcpt 452 4.2.2 Mailbox full"
source = "our own experience"
"""
FULL = parse_reply(Phase.RCPT, "452 4.2.2 Mailbox full")


def test_own_rules_are_read_first(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(OWN)
    own = load_classifier(file)
    assert own.classify(FULL) == Verdict(Outcome.FAIL, Scope.RECIPIENT, "too_full_for_us")
    assert own.rules[1:] == load_classifier().rules
    assert load_classifier().classify(FULL).cause == "mailbox_full"


def test_without_a_file_there_are_no_own_rules() -> None:
    assert read_own_rules(None) == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[[rule]]", ": rule number 1: name is missing"),
        (b"rule = ", ": not valid TOML: "),
        (b"\xff", ": it is not UTF-8"),
        (
            OWN.replace('["mailbox full"]', '["mailbox busy"]').encode(),
            ": rule mailbox-full: example is not decided",
        ),
        (
            OWN.replace('["mailbox full"]', '["mailbox .*"]').encode(),
            ": rule mailbox-full: text 'mailbox .*': ",
        ),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "rules.toml"
    file.write_bytes(content)
    with pytest.raises(BadRules) as caught:
        load_classifier(file)
    assert str(caught.value).startswith(f"{file}{said}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRules) as caught:
        load_classifier(tmp_path / "none.toml")
    assert str(caught.value) == f"{tmp_path / 'none.toml'}: cannot be read: No such file or directory"
