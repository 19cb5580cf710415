"""Reads reply rules from TOML: `[[rule]]` tables as smtp_rules.toml explains them. Every fault names its rule and key."""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from postlane.core.smtp.phrases import BadPhrase, Phrase, read_phrase
from postlane.core.smtp.smtp_reply import (
    Classifier,
    EnhancedPattern,
    NoReply,
    Outcome,
    Rule,
    Scope,
    parse_reply,
)
from postlane.core.smtp.transcript import Phase


class BadRules(ValueError):
    """The rules cannot be used; the text names the rule and the key."""


_ENHANCED_PATTERN = re.compile(r"([245])\.(\d{1,3}|\*)\.(\d{1,3}(?:-\d{1,3})?|\*)")
_CODE_PATTERN = re.compile(r"[245][0-9x][0-9x]")
_CAUSE = re.compile(r"[a-z][a-z0-9_]*")
_REFERENCE = re.compile(r"\{(\w*)\}")
_RULE_KEYS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "phase": list,
    "code": list,
    "enhanced": list,
    "text": list,
    "unless": list,
    "outcome": str,
    "scope": str,
    "cause": str,
    "wait_seconds": (int, float),
    "example": str,
    "source": str,
}
_REQUIRED_KEYS = ("name", "scope", "cause", "example", "source")
_CONDITIONS = ("phase", "code", "enhanced", "text")

Table = Mapping[str, Any]
T = TypeVar("T")


def parse_rules(toml: str) -> tuple[Rule, ...]:
    """Read rules from TOML text, in their order. Raises BadRules."""
    try:
        document = tomllib.loads(toml)
    except tomllib.TOMLDecodeError as error:
        raise BadRules(f"not valid TOML: {error}") from None
    tables = document.get("rule")
    if not set(document) <= {"rule", "words"} or not isinstance(tables, list):
        raise BadRules("rules stand in [[rule]] tables; beside them there may be [words], and nothing else")
    vocabulary = _vocabulary(document.get("words", {}))
    rules = tuple(_rule(number, table, vocabulary) for number, table in enumerate(tables, start=1))
    names = [rule.name for rule in rules]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadRules(f"rule {twice[0]}: the name is used twice")
    return rules


def check_examples(rules: Sequence[Rule]) -> None:
    """Each rule must decide its own example. Raises BadRules where one is read before it, or its conditions say something else."""
    classifier = Classifier(rules)
    for rule in rules:
        phase, _, line = rule.example.partition(" ")
        known = _one_of(rule.name, "example: phase", phase, Phase)
        try:
            reply = parse_reply(Phase(known), line)
        except NoReply as error:
            raise BadRules(f"rule {rule.name}: example is not `phase reply`: {error}") from None
        decided = classifier.deciding_rule(reply)
        if decided is not rule:
            by = "no rule fits it" if decided is None else f"rule {decided.name} decides it"
            raise BadRules(f"rule {rule.name}: example is not decided by its own rule, {by}")


def _vocabulary(table: object) -> dict[str, str]:
    """The fragments of phrases that `{name}` stands for; one may refer to those before it."""
    if not isinstance(table, dict):
        raise BadRules("words: it is no table")
    vocabulary: dict[str, str] = {}
    for name, text in table.items():
        if not isinstance(text, str):
            raise BadRules(f"words: {name} is no text")
        vocabulary[name] = _filled(f"words: {name}", text, vocabulary)
    return vocabulary


def _filled(where: str, text: str, vocabulary: Mapping[str, str]) -> str:
    for name in _REFERENCE.findall(text):
        if name not in vocabulary:
            raise BadRules(f"{where}: {{{name}}} does not stand in [words] before it is used")
    return _REFERENCE.sub(lambda found: vocabulary[found[1]], text)


def _rule(number: int, table: Table, vocabulary: Mapping[str, str]) -> Rule:
    name = str(table.get("name", f"number {number}"))
    _check_keys(name, table)
    outcome = table.get("outcome")
    wait_seconds = table.get("wait_seconds")
    return Rule(
        name=name,
        phases=frozenset(_each("phase", table, lambda text: _one_of(name, "phase", text, Phase))),
        codes=frozenset[int]().union(*_each("code", table, lambda text: _codes(name, text))),
        enhanced=_each("enhanced", table, lambda text: _enhanced(name, text)),
        text=_each("text", table, lambda text: _phrase(name, "text", text, vocabulary)),
        unless=_each("unless", table, lambda text: _phrase(name, "unless", text, vocabulary)),
        outcome=None if outcome is None else Outcome(_one_of(name, "outcome", outcome, Outcome)),
        scope=Scope(_one_of(name, "scope", table["scope"], Scope)),
        cause=table["cause"],
        wait_seconds=None if wait_seconds is None else float(wait_seconds),
        example=table["example"],
        source=table["source"],
    )


def _check_keys(name: str, table: Table) -> None:
    for key, value in table.items():
        if key not in _RULE_KEYS:
            raise BadRules(f"rule {name}: unknown key {key}; known are {', '.join(_RULE_KEYS)}")
        if not isinstance(value, _RULE_KEYS[key]) or isinstance(value, bool):
            raise BadRules(f"rule {name}: {key} has the wrong type")
        if isinstance(value, list) and not (value and all(isinstance(each, str) for each in value)):
            raise BadRules(f'rule {name}: {key} is a list of texts, such as ["one", "two"]')
    if missing := [key for key in _REQUIRED_KEYS if key not in table]:
        raise BadRules(f"rule {name}: {missing[0]} is missing")
    if not table.keys() & set(_CONDITIONS):
        raise BadRules(
            f"rule {name}: it has no condition ({', '.join(_CONDITIONS)}) and would decide every reply"
        )
    if table.get("wait_seconds", 0) < 0 or ("wait_seconds" in table and table.get("outcome") == Outcome.FAIL):
        raise BadRules(
            f"rule {name}: wait_seconds is not below 0, and has no place where the outcome is fail"
        )
    if not _CAUSE.fullmatch(table["cause"]):
        raise BadRules(f"rule {name}: cause {table['cause']!r} is not like mailbox_full: a-z, 0-9 and _")


def _each(key: str, table: Table, read: Callable[[str], T]) -> tuple[T, ...]:
    return tuple(read(text) for text in table.get(key, ()))


def _one_of(name: str, key: str, value: str, known: Iterable[StrEnum]) -> str:
    names = [one.value for one in known]
    if value not in names:
        raise BadRules(f"rule {name}: {key} {value!r} is none of {', '.join(names)}")
    return value


def _codes(name: str, pattern: str) -> frozenset[int]:
    if not _CODE_PATTERN.fullmatch(pattern):
        raise BadRules(f"rule {name}: code {pattern!r} is not three digits, with x for any")
    wanted = re.compile(pattern.replace("x", r"\d"))
    return frozenset(code for code in range(200, 600) if wanted.fullmatch(str(code)))


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


def _phrase(name: str, key: str, text: str, vocabulary: Mapping[str, str]) -> Phrase:
    try:
        return read_phrase(_filled(f"rule {name}: {key} {text!r}", text, vocabulary))
    except BadPhrase as error:
        raise BadRules(f"rule {name}: {key} {text!r}: {error}") from None
