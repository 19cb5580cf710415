"""Whether a domain takes mail, as far as DNS says (RFC 5321 section 5.1), and how long that is believed.

MX                         A, AAAA                    conclusion
records, one a host        (not asked)                takes mail: that is as far as we look, the relay does the rest
`.` alone (RFC 7505)       (not asked)                takes no mail, and says so
no records, or no name     records                    takes mail: the domain is its own MX
no records, or no name     none of either             unknown domain, if the name server can be believed
no answer                  (not asked)                not known: the mail goes on
no records, or no name     no answer from one         not known: the mail goes on

No name (NXDOMAIN) for the MX is asked about once more, by the addresses: some name servers say it of a type that they do not know, and
a mail that we refuse is refused for good. CNAMEs are followed by the name server; what it says is about the name at their end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

CAUSE_DOMAIN_TAKES_NO_MAIL = "domain_takes_no_mail"
CAUSE_DOMAIN_UNKNOWN = "domain_unknown"

# A name server with a view of its own network alone denies all others. This domain exists: whoever denies it proves nothing by denying.
WITNESS_DOMAIN = "com"

TAKES_SECONDS_MIN = 60.0  # a TTL of 0 must not cost a question per mail
TAKES_SECONDS_MAX = 3600.0  # to be late in seeing that a domain is gone costs one attempt
REFUSES_SECONDS_MIN = 30.0
REFUSES_SECONDS_MAX = (
    300.0  # a domain just repaired must not fail mail for long, whatever its SOA says (RFC 2308 section 5)
)
UNKNOWN_SECONDS = (
    30.0  # a burst to a domain that nobody answers for waits once for the answer, not once per mail
)
DOMAINS_MAX = 10_000  # about 5 MB

SILENT_LOOKUPS_MAX = 5  # some domains' own servers are dead, and the name server that asks them is not
REST_SECONDS = 30.0  # a dead name server delays a few mails per rest, not each of them


class Question(StrEnum):
    """The record types that are asked for, in this order."""

    MX = "MX"
    A = "A"
    AAAA = "AAAA"


QUESTIONS = tuple(Question)


@dataclass(frozen=True, slots=True)
class Records:
    """The hosts of MX records (the root is the empty text), or addresses."""

    values: tuple[str, ...]
    ttl_seconds: float


@dataclass(frozen=True, slots=True)
class NoRecords:
    """None of that type; `exists` is False where the name itself does not (NXDOMAIN). TTL as in RFC 2308 section 5."""

    exists: bool
    ttl_seconds: float


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing that could be believed. `silent`: no name server said anything at all."""

    error: str
    silent: bool


DnsAnswer = Records | NoRecords | NoAnswer


@dataclass(frozen=True, slots=True)
class TakesMail:
    """Mail for this domain has somewhere to go."""


@dataclass(frozen=True, slots=True)
class TakesNoMail:
    """Mail for this domain can go nowhere: `cause` is a stable token for programs, `words` are for people."""

    cause: str
    words: str


@dataclass(frozen=True, slots=True)
class NotKnown:
    """DNS does not say; mail goes on as if nobody had asked."""

    error: str
    silent: bool = False


Conclusion = TakesMail | TakesNoMail | NotKnown


def conclude(domain: str, answers: Sequence[DnsAnswer]) -> Conclusion | None:
    """What the answers to the first of QUESTIONS mean; None while the next one has to be asked."""
    last = answers[-1]
    match last:
        case NoAnswer(error, silent):
            return NotKnown(error, silent)
        case Records(values) if len(answers) == 1 and not any(values):
            words = f"{domain} takes no mail and says so (null MX, RFC 7505)"
            return TakesNoMail(CAUSE_DOMAIN_TAKES_NO_MAIL, words)
        case Records():
            return TakesMail()
        case NoRecords() if len(answers) < len(QUESTIONS):
            return None
        case NoRecords():
            exists = any(answer.exists for answer in answers if isinstance(answer, NoRecords))
            words = "has neither MX nor address records" if exists else "does not exist"
            return TakesNoMail(CAUSE_DOMAIN_UNKNOWN, f"{domain} {words}")
        case _:
            assert_never(last)


def needs_witness(conclusion: Conclusion) -> bool:
    """Whether it holds only if the name server knows domains other than those of its own network."""
    return isinstance(conclusion, TakesNoMail) and conclusion.cause == CAUSE_DOMAIN_UNKNOWN


def with_witness(conclusion: Conclusion, witness: DnsAnswer) -> Conclusion:
    """The conclusion, given what the name server says about WITNESS_DOMAIN."""
    match witness:
        case Records() | NoRecords(exists=True):
            return conclusion
        case NoRecords():
            return NotKnown(f"the name server denies that there is a domain {WITNESS_DOMAIN}")
        case NoAnswer(error, silent):
            return NotKnown(error, silent)
        case _:
            assert_never(witness)


def keep_seconds(conclusion: Conclusion, answers: Sequence[DnsAnswer]) -> float:
    """How long a conclusion from these answers is believed."""
    ttl = min((answer.ttl_seconds for answer in answers if not isinstance(answer, NoAnswer)), default=0.0)
    match conclusion:
        case TakesMail():
            return min(max(ttl, TAKES_SECONDS_MIN), TAKES_SECONDS_MAX)
        case TakesNoMail():
            return min(max(ttl, REFUSES_SECONDS_MIN), REFUSES_SECONDS_MAX)
        case NotKnown():
            return UNKNOWN_SECONDS
        case _:
            assert_never(conclusion)


class DomainMemory:
    """The conclusions of late, at most `domains_max`: the one noted longest ago goes first."""

    def __init__(self, domains_max: int = DOMAINS_MAX) -> None:
        self._domains_max = domains_max
        self._kept: dict[str, tuple[Conclusion, float]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def recall(self, domain: str, now: float) -> Conclusion | None:
        """The conclusion about a domain, unless it has expired."""
        kept = self._kept.get(domain)
        if kept is None:
            return None
        conclusion, until = kept
        if now >= until:
            del self._kept[domain]
            return None
        return conclusion

    def note(self, domain: str, conclusion: Conclusion, seconds: float, now: float) -> None:
        """Remember a conclusion for so long."""
        self._kept.pop(domain, None)
        self._kept[domain] = (conclusion, now + seconds)
        if len(self._kept) > self._domains_max:
            del self._kept[next(iter(self._kept))]


class NameServerRest:
    """Whether it is worth asking: after SILENT_LOOKUPS_MAX lookups without a word nobody is asked for REST_SECONDS.

    After the rest one more silent lookup begins the next one; any word ends it.
    """

    def __init__(self) -> None:
        self._silent = 0
        self._until = 0.0

    def rests(self, now: float) -> bool:
        """Whether nobody is to be asked now."""
        return self._silent >= SILENT_LOOKUPS_MAX and now < self._until

    def note(self, *, silent: bool, now: float) -> bool:
        """Count a lookup; True when a rest begins."""
        self._silent = self._silent + 1 if silent else 0
        if self._silent < SILENT_LOOKUPS_MAX or self.rests(now):
            return False
        self._until = now + REST_SECONDS
        return True
