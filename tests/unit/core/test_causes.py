"""The list of causes agrees with the code that writes them."""

import re
from itertools import product
from pathlib import Path

import pytest

from postlane.adapters.smtp_rules_file import load_classifier
from postlane.core.causes import OWN_CAUSES, known_causes
from postlane.core.events.status import SmtpReply
from postlane.core.smtp.smtp_reply import Classifier
from postlane.core.smtp.transcript import Phase

SERVICES = Path(__file__).parents[3] / "services" / "postlane"
# How the code names a cause: a constant, a keyword, the argument before the reason, or the first of a pair with it.
WRITTEN = re.compile(
    r'CAUSE_[A-Z_]+ = "(\w+)"'
    r'|\bcause(?:: str)? ?= ?"(\w+)"'
    r'|[sS]tillborn\(\s*[\w.]+,\s*"(\w+)"'
    r'|"([a-z_]+)",\s*f?"(?:[^"\n]* ){2}'
)


def written_causes() -> set[str]:
    """What core and outbound service write."""
    sources = [*SERVICES.glob("outbound/*.py"), *SERVICES.glob("core/sending/lane*.py")]
    sources += SERVICES.glob("core/limits/*.py")
    sources += [
        SERVICES / "core" / f"{name}.py"
        for name in ("sending/aftermath", "smtp/attempt", "sending/scribe", "routing/mail_domains")
    ]
    found = [match for path in sources for match in WRITTEN.finditer(path.read_text(encoding="utf-8"))]
    return {next(group for group in match.groups() if group) for match in found}


def test_the_causes_in_the_code_are_found() -> None:
    found = {"undecodable", "window_full", "behind_parked", "not_built", "auth", "new", "expired"}
    assert found <= written_causes()


def test_exactly_what_the_code_writes_is_listed() -> None:
    composed = {cause for cause in OWN_CAUSES if cause.endswith(("_deferred", "_refused"))}
    assert OWN_CAUSES - composed == written_causes()


@pytest.mark.parametrize(
    ("phase", "code", "enhanced"),
    list(product(Phase, (450, 550), (None, "5.1.0", "5.4.0", "5.5.0", "5.7.0", "5.0.0"))),
)
def test_replies_that_no_rule_knows_are_listed_too(phase: Phase, code: int, enhanced: str | None) -> None:
    reply = SmtpReply(phase=phase.value, code=code, enhanced_code=enhanced, text="")
    assert Classifier(()).classify(reply).cause in OWN_CAUSES


def test_the_rules_bring_their_own() -> None:
    assert {"quota", "no_such_recipient", "expired"} <= known_causes(load_classifier())
    assert "greylisted" not in known_causes(Classifier(()))
