"""Loads the reply rules that ship with Postlane."""

from importlib.resources import files

from postlane.core.smtp.smtp_reply import Classifier
from postlane.core.smtp.smtp_rules import parse_rules


def load_classifier() -> Classifier:
    """The rules of `core/smtp/smtp_rules.toml`. Raises BadRules."""
    return parse_rules(files("postlane.core.smtp").joinpath("smtp_rules.toml").read_text(encoding="utf-8"))
