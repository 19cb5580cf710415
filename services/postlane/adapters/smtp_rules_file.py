"""Loads reply rules: an operator's own from a file, then those that ship with Postlane."""

from importlib.resources import files
from pathlib import Path

from postlane.core.smtp.smtp_reply import Classifier, Rule
from postlane.core.smtp.smtp_rules import BadRules, check_examples, parse_rules


def load_classifier(own_rules: Path | None = None) -> Classifier:
    """The rules of `own_rules`, if given, and after them those of `core/smtp/smtp_rules.toml`. Raises BadRules."""
    shipped = parse_rules(files("postlane.core.smtp").joinpath("smtp_rules.toml").read_text(encoding="utf-8"))
    return Classifier((*read_own_rules(own_rules), *shipped))


def read_own_rules(path: Path | None) -> tuple[Rule, ...]:
    """The rules of one file, none without a file; each decides its own example. Raises BadRules, which names the file, the rule and the key."""
    if path is None:
        return ()
    try:
        rules = parse_rules(path.read_text(encoding="utf-8"))
        check_examples(rules)
    except OSError as error:
        raise BadRules(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadRules(f"{path}: it is not UTF-8") from None
    except BadRules as error:
        raise BadRules(f"{path}: {error}") from None
    return rules
