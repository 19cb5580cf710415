"""What a relay's reply means: ordered rules, which are data (`smtp_rules.toml`), then a fallback by phase and code.

The first digit alone says too little: a daily quota comes as 550, a full mailbox as 552, greylisting as 451. So a rule looks at phase,
reply code, enhanced code (RFC 3463) and text; the first rule that fits decides. Where none fits, 4xx means another try, 5xx failure
(RFC 5321 section 4.2.1), and the enhanced code's subject says what is at fault.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from postlane.core.events.status import SmtpReply
from postlane.core.smtp.transcript import Phase

TEXT_MAX = 1000  # characters of a reply that are kept: it goes into statuses and dead-letter headers
WAIT_SECONDS_MAX = 86400.0  # no relay's quota window is longer than a day


class Outcome(StrEnum):
    """What is to be done."""

    HOLD = "hold"  # the scope as a whole must wait; no attempt is counted
    RETRY = "retry"  # this mail or recipient is tried again later; the attempt counts
    FAIL = "fail"  # trying again cannot help


class Scope(StrEnum):
    """What is at fault, and so what the outcome is about."""

    RELAY = "relay"
    SENDER = "sender"
    RECIPIENT = "recipient"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The meaning of one reply. `cause` is a stable token for programs; `wait_seconds` is None where nothing names a time."""

    outcome: Outcome
    scope: Scope
    cause: str
    wait_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class EnhancedPattern:
    """An enhanced code as rules write it: each of its three numbers is a range, ends included."""

    ranges: tuple[tuple[int, int], ...]

    def fits(self, enhanced: str | None) -> bool:
        """Whether a reply's code lies in it; a reply without one does not."""
        if enhanced is None:
            return False
        numbers = [int(number) for number in enhanced.split(".")]
        return all(low <= number <= high for number, (low, high) in zip(numbers, self.ranges, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule; an empty condition holds for every reply. `example` is `phase reply` and is decided by this rule."""

    name: str
    verdict: Verdict
    phases: frozenset[str]
    code: re.Pattern[str] | None
    enhanced: tuple[EnhancedPattern, ...]
    text: re.Pattern[str] | None
    example: str
    source: str

    def fits(self, reply: SmtpReply) -> bool:
        """Whether every condition holds."""
        return (
            (not self.phases or reply.phase in self.phases)
            and (self.code is None or self.code.fullmatch(str(reply.code)) is not None)
            and (not self.enhanced or any(wanted.fits(reply.enhanced_code) for wanted in self.enhanced))
            and (self.text is None or self.text.search(reply.text) is not None)
        )


@dataclass(frozen=True, slots=True)
class Classifier:
    """The rules in their order."""

    rules: tuple[Rule, ...]

    def classify(self, reply: SmtpReply) -> Verdict:
        """What the reply means. A time that the relay names wins over the rule's."""
        rule = self.deciding_rule(reply)
        verdict = _fall_back(reply) if rule is None else rule.verdict
        named = wait_hint(reply.text) if verdict.outcome is not Outcome.FAIL else None
        if named is None:
            return verdict
        return Verdict(verdict.outcome, verdict.scope, verdict.cause, named)

    def deciding_rule(self, reply: SmtpReply) -> Rule | None:
        """The first rule that fits, for people who want to know why."""
        return next((rule for rule in self.rules if rule.fits(reply)), None)


# RFC 2034 section 4 puts the code first; Cisco writes `#5.1.1`, qmail `(#5.1.1)` at the end.
_ENHANCED_FIRST = re.compile(r"^\W{0,2}([245]\.\d{1,3}\.\d{1,3})\b[\s:\])-]*")
_ENHANCED_LAST = re.compile(r"\(#([245]\.\d{1,3}\.\d{1,3})\)\s*$")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def read_reply(phase: Phase, code: int, text: str) -> SmtpReply:
    """A reply from its code and text, lines separated by newlines.

    The enhanced code is taken out of every line that repeats it; the text becomes one printable line of at most TEXT_MAX characters.
    """
    lines = text.split("\n")
    found = _ENHANCED_FIRST.match(lines[0]) or _ENHANCED_LAST.search(lines[-1])
    enhanced = found[1] if found else None
    if enhanced is not None:
        lines = [_without_code(line, enhanced) for line in lines]
    return SmtpReply(
        phase=phase.value, code=code, enhanced_code=enhanced, text=one_line(" ".join(lines), TEXT_MAX)
    )


def one_line(text: str, characters_max: int) -> str:
    """Words of a relay made fit for logs and statuses: printable, valid Unicode, single blanks."""
    valid = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return " ".join(_UNPRINTABLE.sub(" ", valid).split())[:characters_max]


def _without_code(line: str, enhanced: str) -> str:
    first = _ENHANCED_FIRST.match(line)
    return line[first.end() :] if first and first[1] == enhanced else line


_UNIT_SECONDS = {"mill": 0.001, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_WAIT_WORDS = (
    r"\b(?:again|retry|wait|back ?off|come back|resum\w*|delay\w*|after|blocked for|greylisted for)\b"
)
_WAIT_HINT = re.compile(
    _WAIT_WORDS
    + r"\D{0,30}?(?:(?P<clock>\d{1,2}:\d\d(?::\d\d)?)|(?P<count>\d{1,9})\s*"
    + r"(?P<unit>milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h)\b)",
    re.IGNORECASE,
)


def wait_hint(text: str) -> float | None:
    """The time in seconds that a reply asks us to wait, at most a day: `try again in 299 seconds`, `come back in 00:05:00`."""
    found = _WAIT_HINT.search(text)
    if found is None:
        return None
    if found["clock"]:
        parts = [int(part) for part in found["clock"].split(":")]
        seconds = float(sum(part * unit for part, unit in zip(reversed(parts), (1, 60, 3600), strict=False)))
    else:
        unit = found["unit"].lower()
        seconds = int(found["count"]) * next(
            size for start, size in _UNIT_SECONDS.items() if unit.startswith(start)
        )
    return min(seconds, WAIT_SECONDS_MAX)


# The subject, the second number of an enhanced code (RFC 3463 section 3), says what is at fault.
_SUBJECT_SCOPE = {
    "1": Scope.RECIPIENT,
    "2": Scope.RECIPIENT,
    "3": Scope.RELAY,
    "4": Scope.RELAY,
    "5": Scope.MESSAGE,
    "6": Scope.MESSAGE,
    "7": Scope.MESSAGE,
}
_PHASE_SCOPE = {"mail": Scope.SENDER, "rcpt": Scope.RECIPIENT, "data": Scope.MESSAGE, "final": Scope.MESSAGE}


def _fall_back(reply: SmtpReply) -> Verdict:
    """No rule fits: 4xx is tried again, 5xx fails; the scope follows from the enhanced code and the phase."""
    by_phase = _PHASE_SCOPE.get(reply.phase, Scope.RELAY)
    subject = reply.enhanced_code.split(".")[1] if reply.enhanced_code else ""
    scope = _SUBJECT_SCOPE.get(subject, by_phase)
    if reply.phase == Phase.MAIL.value and scope is Scope.RECIPIENT:
        scope = Scope.SENDER  # x.1 and x.2 are about the address that was just given
    if reply.phase == Phase.RCPT.value and subject == "4":
        scope = Scope.RECIPIENT  # the route to this recipient's domain
    about = "policy" if subject == "7" else scope.value
    if 400 <= reply.code < 500:
        return Verdict(Outcome.RETRY, scope, f"{about}_deferred")
    return Verdict(Outcome.FAIL, scope, f"{about}_refused")
