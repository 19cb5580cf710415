"""`postlane classify`: verdict, deciding rule, own rules, and what cannot be classified."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from postlane.adapters.process import CannotStart
from postlane.config.settings import load_settings
from postlane.ops.cli import app
from postlane.ops.exits import Exit
from postlane.outbound.service import the_classifier

QUOTA = "550 5.4.5 Daily sending quota exceeded"
OWN = """
[[rule]]
name = "our-quota"
text = ["daily sending quota"]
outcome = "retry"
scope = "message"
cause = "our_quota"
wait_seconds = 7
example = "mail 550 5.4.5 Daily sending quota exceeded"
source = "what our provider told us"
"""


@pytest.fixture(autouse=True)
def _untouched_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for variable in list(os.environ):
        if variable.startswith("POSTLANE_"):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def own_rules(tmp_path: Path) -> Path:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    return file


def run(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["classify", *args], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def lines(out: str) -> dict[str, str]:
    return {line[:10].strip(): line[10:] for line in out.splitlines()}


def test_a_quota_sent_as_550_holds_the_relay() -> None:
    code, out, err = run(QUOTA, "--phase", "mail")
    assert (code, err) == (Exit.OK, "")
    assert lines(out) == {
        "reply": "550 5.4.5 Daily sending quota exceeded (mail)",
        "outcome": "hold (everything of this scope waits; no attempt is counted)",
        "scope": "relay",
        "cause": "quota",
        "wait": "no time is named",
        "rule": "gmail-daily-quota (shipped with Postlane)",
        "source": "https://support.google.com/a/answer/3726730",
    }


def test_json_has_stable_keys() -> None:
    code, out, _ = run(r"451-4.7.1 Greylisted,\n451 4.7.1 try again in 4 minutes", "--json")
    document = json.loads(out)
    assert code == Exit.OK
    assert document.pop("source").startswith("https://postgrey")
    assert document == {
        "reply": {
            "phase": "rcpt",
            "code": 451,
            "enhanced_code": "4.7.1",
            "text": "Greylisted, try again in 4 minutes",
        },
        "outcome": "retry",
        "scope": "recipient",
        "cause": "greylisted",
        "wait_seconds": 240.0,
        "alarm": False,
        "rule": "greylisting",
        "rules": "shipped with Postlane",
        "fallback": None,
    }


def test_where_no_rule_fits_the_fallback_is_explained() -> None:
    code, out, _ = run("550 5.7.9 Nope")
    said = lines(out)
    assert code == Exit.OK
    assert said["rule"] == "no rule: fallback by the first digit of 550, 5.7.9 and the phase rcpt"
    assert said["cause"] == "policy_refused; an alarm: our standing is in question"
    assert "source" not in said
    document = json.loads(run("550 5.7.9 Nope", "--json")[1])
    assert (document["rule"], document["rules"], document["source"]) == (None, None, None)
    assert (document["alarm"], document["fallback"]) == (
        True,
        "the first digit of 550, 5.7.9 and the phase rcpt",
    )


def test_own_rules_are_tried(own_rules: Path) -> None:
    said = lines(run(QUOTA, "--rules", str(own_rules))[1])
    assert said["rule"] == f"our-quota ({own_rules})"
    assert (said["cause"], said["wait"]) == ("our_quota", "7 s")
    assert lines(run("550 5.1.1 User unknown", "--rules", str(own_rules))[1])["rule"].endswith(
        "(shipped with Postlane)"
    )


def test_configured_rules_are_used_by_the_command_and_by_the_service(own_rules: Path) -> None:
    Path("postlane.toml").write_text('[outbound]\nreply_rules_file = "own.toml"\n')
    assert lines(run(QUOTA)[1])["rule"] == f"our-quota ({own_rules.name})"
    assert the_classifier(load_settings()).rules[0].name == "our-quota"


def test_bad_rules_stop_the_command_the_check_and_the_service(own_rules: Path) -> None:
    own_rules.write_text(OWN.replace('"retry"', '"pray"'))
    fault = "own.toml: rule our-quota: outcome 'pray' is none of hold, retry, fail"
    code, out, err = run(QUOTA, "--rules", "own.toml")
    assert (code, out, err) == (Exit.USAGE, "", f"postlane: {fault}\n")
    Path("postlane.toml").write_text('[outbound]\nreply_rules_file = "own.toml"\n')
    checked = CliRunner().invoke(app, ["config", "check"], catch_exceptions=False)
    assert checked.exit_code == Exit.FAILED
    assert f"outbound.reply_rules_file: {fault}" in checked.stderr
    with pytest.raises(CannotStart, match=r"outbound\.reply_rules_file: own\.toml: rule our-quota: outcome"):
        the_classifier(load_settings())


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("hello",), "'hello' cannot be classified: a reply begins with its code"),
        (("250 2.0.0 Ok",), "'250 2.0.0 Ok' cannot be classified: 250 is no refusal"),
        ((QUOTA, "--phase", "lunch"), "'lunch' is not one of"),
        ((QUOTA, "--rules", "none.toml"), "none.toml: cannot be read: No such file or directory"),
        ((), "Missing argument"),
    ],
)
def test_what_cannot_be_classified(args: tuple[str, ...], said: str) -> None:
    code, out, err = run(*args)
    assert (code, out) == (Exit.USAGE, "")
    assert said in err


def test_a_strangers_reply_cannot_drive_the_terminal() -> None:
    _, out, _ = run("550 \x1b[31mred")
    assert "\x1b" not in out
