"""The shipped Prometheus rules say what Postlane says: the same alerts, existing metrics, the same causes and thresholds."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from postlane.config.notify_section import NotifySection
from postlane.core.alerts.catalogue import KINDS, AlertName
from postlane.core.alerts.conditions import CIRCUIT_CAUSES, CLOCK_SKEW_SECONDS_MAX, LOGIN_CAUSES
from postlane.core.metrics import INBOUND_METRICS, OUTBOUND_METRICS, Counter
from postlane.core.oauth.grant_expiry import WARN_DAYS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
RULE_TESTS = ROOT / "tests" / "prometheus" / "alerts_test.yml"
OPERATIONS = ROOT / "docs" / "operations.md"
EXPOSED = {
    f"{metric.name}_total" if isinstance(metric, Counter) else metric.name
    for metric in (*OUTBOUND_METRICS, *INBOUND_METRICS)
}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


GROUPS = {group["name"]: {rule["alert"]: rule for rule in group["rules"]} for group in read(RULES)["groups"]}
EVERY_RULE = [rule for rules in GROUPS.values() for rule in rules.values()]
OWN = GROUPS["postlane"]


def test_every_alert_has_a_rule_and_every_rule_an_alert() -> None:
    assert OWN.keys() == {f"Postlane{name}" for name in AlertName}
    assert not any(name.removeprefix("Postlane") in set(AlertName) for name in GROUPS["postlane-itself"])


@pytest.mark.parametrize("name", AlertName)
def test_a_rule_is_as_grave_as_its_alert(name: AlertName) -> None:
    assert OWN[f"Postlane{name}"]["labels"]["severity"] == KINDS[name].severity


@pytest.mark.parametrize("rule", EVERY_RULE, ids=lambda rule: rule["alert"])
def test_a_rule_looks_at_metrics_that_there_are(rule: dict[str, Any]) -> None:
    named = set(re.findall(r"\bpostlane_\w+", rule["expr"]))
    assert named <= EXPOSED
    assert named or rule["alert"] == "PostlaneDown"
    assert rule["annotations"].keys() == {"summary", "description", "action"}


def test_the_causes_are_those_of_the_alerts() -> None:
    told_apart = {}
    for alert in (AlertName.RELAY_HELD, AlertName.RELAY_LOGIN_BROKEN, AlertName.RELAY_CIRCUIT_OPEN):
        (causes,) = re.findall(r'cause[!=~]+"([^"]+)"', OWN[f"Postlane{alert}"]["expr"])
        told_apart[alert] = set(causes.split("|"))
    assert told_apart[AlertName.RELAY_CIRCUIT_OPEN] == CIRCUIT_CAUSES
    assert told_apart[AlertName.RELAY_LOGIN_BROKEN] == LOGIN_CAUSES
    assert told_apart[AlertName.RELAY_HELD] == CIRCUIT_CAUSES | LOGIN_CAUSES


def test_the_thresholds_are_the_defaults() -> None:
    section = NotifySection()
    minutes = {
        name: int(rule["for"].removesuffix("m"))
        for name, rule in OWN.items()
        if rule.get("for", "").endswith("m")
    }
    assert (
        minutes
        == {
            "PostlaneRelayHeld": section.held_seconds / 60,
            "PostlaneRelayCircuitOpen": section.circuit_seconds / 60,
            "PostlaneMailboxBehind": 2,  # a mailbox never looked through counts from 1970; that is no alert at a first start
        }
    )
    assert f"> {section.mailbox_unchecked_seconds:.0f} " in OWN["PostlaneMailboxBehind"]["expr"]
    assert f"< {WARN_DAYS:.0f} * 86400" in OWN["PostlaneMailboxGrantEnds"]["expr"]
    assert OWN["PostlaneBacklogOld"]["expr"].endswith(f"> {section.backlog_seconds:.0f}")
    assert OWN["PostlaneClockOff"]["expr"].endswith(f"> {CLOCK_SKEW_SECONDS_MAX:.0f}")
    assert OWN["PostlaneDeadLettersGrow"]["expr"].endswith(f"> {section.dlq_mails_per_hour}")
    assert OWN["PostlaneRelayDistrusted"]["expr"].endswith(f"> {section.distrusted_mails_per_hour}")
    assert f"< {WARN_DAYS:.0f} * 86400" in OWN["PostlaneRelayGrantEnds"]["expr"]
    keeps = {rule["keep_firing_for"] for rule in OWN.values() if "keep_firing_for" in rule}
    assert keeps == {f"{section.settle_seconds / 60:.0f}m"}


def test_prometheus_is_given_the_rules() -> None:
    assert read(ROOT / "deploy" / "prometheus" / "prometheus.yml")["rule_files"] == [RULES.name]
    mounted = read(ROOT / "docker-compose.yml")["services"]["prometheus"]["volumes"]
    assert "./deploy/prometheus/alerts.yml:/etc/prometheus/alerts.yml:ro" in mounted


def test_every_rule_has_a_section_for_people_and_a_test() -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    sections = set(re.findall(r"^### (\w+)", text, re.MULTILINE))
    rules = {rule["alert"] for rule in EVERY_RULE}
    assert sections >= {name.removeprefix("Postlane") for name in rules}
    assert {
        test["alertname"] for case in read(RULE_TESTS)["tests"] for test in case["alert_rule_test"]
    } == rules


def test_the_rules_fire() -> None:
    if not (promtool := shutil.which("promtool")):
        pytest.skip("promtool, which comes with Prometheus, is not installed")
    tested = subprocess.run(
        [promtool, "test", "rules", RULE_TESTS], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert tested.returncode == 0, tested.stderr + tested.stdout
