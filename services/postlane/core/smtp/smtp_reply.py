"""What a relay's reply means: ordered rules, which are data (`smtp_rules.toml`), then a fallback by phase and code.

The first digit alone says too little: a daily quota comes as 550, a full mailbox as 552, greylisting as 451. So a rule looks at phase,
reply code, enhanced code (RFC 3463) and words; the first rule that fits decides. Where none fits, 4xx means another try, 5xx failure
(RFC 5321 section 4.2.1), and the enhanced code's subject says what is at fault.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from postlane.core.events.status import SmtpReply
from postlane.core.smtp.phrases import Phrase, words_of
from postlane.core.smtp.transcript import Phase
from postlane.core.smtp.wait_hint import wait_hint

TEXT_MAX = 1000  # characters of a reply that are kept: it goes into statuses and dead-letter headers


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


# Our standing with relays is in question: a person should look, and no recipient is to blame.
ALARM_CAUSES = frozenset(
    {
        "blocked",
        "blocklisted",
        "host_identity",
        "policy_deferred",
        "policy_refused",
        "sender_authentication",
        "spam",
    }
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The meaning of one reply. `cause` is a stable token for programs; `wait_seconds` is None where nothing names a time."""

    outcome: Outcome
    scope: Scope
    cause: str
    wait_seconds: float | None = None

    @property
    def alarms(self) -> bool:
        """Whether it says that mail of ours is not wanted: something to alert on, never a reason to suppress the recipient."""
        return self.cause in ALARM_CAUSES


@dataclass(frozen=True, slots=True)
class EnhancedPattern:
    """An enhanced code as rules write it: each of its three numbers is a range, ends included."""

    ranges: tuple[tuple[int, int], ...]

    def fits(self, numbers: tuple[int, ...]) -> bool:
        """Whether a reply's code lies in it; a reply without one (no numbers) does not."""
        return bool(numbers) and all(
            low <= number <= high for number, (low, high) in zip(numbers, self.ranges, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Heard:
    """A reply as rules look at it."""

    phase: str
    code: int
    enhanced: tuple[int, ...]
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule; an empty condition holds for every reply.

    `outcome` is None where the reply's first digit decides: 4 = retry, 5 = fail. `example` is `phase reply` and is decided by this rule.
    """

    name: str
    phases: frozenset[str]
    codes: frozenset[int]
    enhanced: tuple[EnhancedPattern, ...]
    text: tuple[Phrase, ...]
    unless: tuple[Phrase, ...]
    outcome: Outcome | None
    scope: Scope
    cause: str
    wait_seconds: float | None
    example: str
    source: str

    def fits(self, heard: Heard, near: Sequence[Phrase]) -> bool:
        """Whether every condition holds; `near` are those of its phrases that the text may have at all."""
        return (
            (not self.phases or heard.phase in self.phases)
            and (not self.codes or heard.code in self.codes)
            and (not self.enhanced or any(wanted.fits(heard.enhanced) for wanted in self.enhanced))
            and (not self.text or any(phrase.found_in(heard.words) for phrase in near))
            and not any(phrase.found_in(heard.words) for phrase in self.unless)
        )

    def verdict(self, code: int) -> Verdict:
        """What a reply with this code means if the rule fits."""
        outcome = self.outcome or _by_first_digit(code)
        wait_seconds = None if outcome is Outcome.FAIL else self.wait_seconds
        return Verdict(outcome, self.scope, self.cause, wait_seconds)


_Indexed = tuple[int, Phrase]  # the place of a rule, and one of its phrases


class Classifier:
    """The rules in their order. An index by words finds those that a text can concern at all, so that most are never looked at."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._without_text = [place for place, rule in enumerate(self.rules) if not rule.text]
        self._by_word: dict[str, list[_Indexed]] = {}
        self._by_beginning: dict[str, list[_Indexed]] = {}
        for place, rule in enumerate(self.rules):
            for phrase in rule.text:
                for word in phrase.needs or ("*",):
                    index = self._by_beginning if word.endswith("*") else self._by_word
                    index.setdefault(word.removesuffix("*"), []).append((place, phrase))
        self._beginning_sizes = sorted(set(map(len, self._by_beginning)))

    def classify(self, reply: SmtpReply) -> Verdict:
        """What the reply means. A time that the relay names wins over the rule's."""
        rule = self.deciding_rule(reply)
        verdict = _fall_back(reply) if rule is None else rule.verdict(reply.code)
        if reply.phase in _BEFORE_MAIL and verdict.outcome is not Outcome.HOLD:
            # No mail was spoken of yet, so whatever it is, it is about the relay.
            verdict = Verdict(Outcome.HOLD, Scope.RELAY, verdict.cause, verdict.wait_seconds)
        named = wait_hint(reply.text) if verdict.outcome is not Outcome.FAIL else None
        return verdict if named is None else replace(verdict, wait_seconds=named)

    def deciding_rule(self, reply: SmtpReply) -> Rule | None:
        """The first rule that fits, for people who want to know why."""
        enhanced = tuple(map(int, reply.enhanced_code.split("."))) if reply.enhanced_code else ()
        heard = Heard(reply.phase, reply.code, enhanced, words_of(reply.text))
        phrases: dict[int, list[Phrase]] = {place: [] for place in self._without_text}
        for place, phrase in self._phrases_near(heard.words):
            phrases.setdefault(place, []).append(phrase)
        for place in sorted(phrases):
            if self.rules[place].fits(heard, phrases[place]):
                return self.rules[place]
        return None

    def _phrases_near(self, words: str) -> Iterator[_Indexed]:
        """The phrases that this text may have; it has none of the others."""
        distinct = set(words.split())
        for word in distinct:
            yield from self._by_word.get(word, ())
        for size in self._beginning_sizes:
            for beginning in {word[:size] for word in distinct}:
                yield from self._by_beginning.get(beginning, ())


# RFC 2034 section 4 puts the code first; Cisco writes `#5.1.1`, qmail `(#5.1.1)` at the end.
_ENHANCED_FIRST = re.compile(r"^\W{0,3}([245]\.\d{1,3}\.\d{1,3})(?![\d.]\d)\b[\s:\])-]*")
_ENHANCED_LATER = re.compile(r"[#(\[]([245]\.\d{1,3}\.\d{1,3})\b(?!\.\d)")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_LINE = re.compile(r"(?P<code>[2-5]\d\d)(?P<more>[ \t-]|$)(?P<text>.*)")


class NoReply(ValueError):
    """The text is no SMTP reply; the exception says why."""


def parse_reply(phase: Phase, text: str) -> SmtpReply:
    """A refusal as logs have it, its lines parted by line breaks; later lines may lack their code. Raises NoReply."""
    lines = text.strip().splitlines()
    first = _LINE.fullmatch(lines[0].strip()) if lines else None
    if first is None:
        raise NoReply(
            "a reply begins with its code, three digits such as 550, and a blank or a dash (RFC 5321 section 4.2)"
        )
    code = first["code"]
    if code[0] in "23":
        raise NoReply(f"{code} is no refusal; what is classified begins with 4 or 5")
    rest = [
        found["text"] if (found := _LINE.fullmatch(line.strip())) and found["code"] == code else line
        for line in lines
    ]
    return read_reply(phase, int(code), "\n".join(rest))


def read_reply(phase: Phase, code: int, text: str) -> SmtpReply:
    """A reply from its code and text, lines separated by newlines.

    The enhanced code is taken out of every line that repeats it; the text becomes one printable line of at most TEXT_MAX characters.
    """
    lines = text.split("\n")
    found = next(filter(None, map(_ENHANCED_FIRST.match, lines)), None) or _ENHANCED_LATER.search(text)
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
_BEFORE_MAIL = frozenset({Phase.CONNECT.value, Phase.TLS.value, Phase.EHLO.value, Phase.AUTH.value})


def explain_fallback(reply: SmtpReply) -> str:
    """By what a reply is judged that no rule fits, in words for people."""
    digit = f"the first digit of {reply.code}"
    phase = f"the phase {reply.phase}"
    return f"{digit}, {reply.enhanced_code} and {phase}" if reply.enhanced_code else f"{digit} and {phase}"


def _by_first_digit(code: int) -> Outcome:
    return Outcome.RETRY if 400 <= code < 500 else Outcome.FAIL


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
    outcome = _by_first_digit(reply.code)
    return Verdict(outcome, scope, f"{about}_deferred" if outcome is Outcome.RETRY else f"{about}_refused")
