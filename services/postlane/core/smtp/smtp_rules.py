"""Reads reply rules from TOML: `[[rule]]` tables as smtp_rules.toml explains them. Every fault names its rule and key."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from postlane.core.smtp.smtp_reply import Classifier, EnhancedPattern, Outcome, Rule, Scope, Verdict
from postlane.core.smtp.transcript import Phase


class BadRules(ValueError):
    """The rules cannot be used; the text names the rule and the key."""


_ENHANCED_PATTERN = re.compile(r"([245])\.(\d{1,3}|\*)\.(\d{1,3}(?:-\d{1,3})?|\*)")
_CODE_PATTERN = re.compile(r"[245][0-9x][0-9x]")
_RULE_KEYS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "phase": list,
    "code": list,
    "enhanced": list,
    "text": str,
    "outcome": str,
    "scope": str,
    "cause": str,
    "wait_seconds": (int, float),
    "example": str,
    "source": str,
}
_REQUIRED_KEYS = ("name", "outcome", "scope", "cause", "example", "source")


def parse_rules(toml: str) -> Classifier:
    """Read rules from TOML text (`[[rule]]` tables as in smtp_rules.toml). Raises BadRules."""
    try:
        document = tomllib.loads(toml)
    except tomllib.TOMLDecodeError as error:
        raise BadRules(f"not valid TOML: {error}") from None
    tables = document.get("rule")
    if set(document) != {"rule"} or not isinstance(tables, list):
        raise BadRules("rules stand in [[rule]] tables and nothing else stands beside them")
    rules = tuple(_rule(number, table) for number, table in enumerate(tables, start=1))
    names = [rule.name for rule in rules]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadRules(f"rule {twice[0]}: the name is used twice")
    return Classifier(rules)


def _rule(number: int, table: Mapping[str, Any]) -> Rule:
    name = table.get("name", f"number {number}")
    for key, value in table.items():
        if key not in _RULE_KEYS:
            raise BadRules(f"rule {name}: unknown key {key}; known are {', '.join(_RULE_KEYS)}")
        if not isinstance(value, _RULE_KEYS[key]):
            raise BadRules(f"rule {name}: {key} has the wrong type")
    if missing := [key for key in _REQUIRED_KEYS if key not in table]:
        raise BadRules(f"rule {name}: {missing[0]} is missing")
    if not table.keys() & {"phase", "code", "enhanced", "text"}:
        raise BadRules(f"rule {name}: it has no condition and would decide every reply")
    wait_seconds = table.get("wait_seconds")
    verdict = Verdict(
        outcome=Outcome(_one_of(name, "outcome", table["outcome"], Outcome)),
        scope=Scope(_one_of(name, "scope", table["scope"], Scope)),
        cause=table["cause"],
        wait_seconds=None if wait_seconds is None else float(wait_seconds),
    )
    return Rule(
        name=name,
        verdict=verdict,
        phases=frozenset(_one_of(name, "phase", phase, Phase) for phase in table.get("phase", ())),
        code=_code(name, table.get("code", ())),
        enhanced=tuple(_enhanced(name, pattern) for pattern in table.get("enhanced", ())),
        text=_text(name, table.get("text")),
        example=table["example"],
        source=table["source"],
    )


def _one_of(name: str, key: str, value: str, known: Iterable[StrEnum]) -> str:
    names = [one.value for one in known]
    if value not in names:
        raise BadRules(f"rule {name}: {key} {value!r} is none of {', '.join(names)}")
    return value


def _code(name: str, patterns: Sequence[str]) -> re.Pattern[str] | None:
    for pattern in patterns:
        if not _CODE_PATTERN.fullmatch(pattern):
            raise BadRules(f"rule {name}: code {pattern!r} is not three digits, with x for any")
    return re.compile("|".join(patterns).replace("x", r"\d")) if patterns else None


def _enhanced(name: str, pattern: str) -> EnhancedPattern:
    found = _ENHANCED_PATTERN.fullmatch(pattern)
    if found is None:
        raise BadRules(f"rule {name}: enhanced {pattern!r} is not like 5.7.1, 5.7.*, or 4.7.500-699")
    return EnhancedPattern(tuple(_range(number) for number in found.groups()))


def _range(number: str) -> tuple[int, int]:
    if number == "*":
        return (0, 999)
    low, _, high = number.partition("-")
    return (int(low), int(high or low))


def _text(name: str, pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise BadRules(f"rule {name}: text is not a regular expression: {error}") from None
