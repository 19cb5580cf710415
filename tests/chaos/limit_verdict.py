"""Judges what the limits of the relays did to mail: it must wait, uncounted, and no budget may be exceeded.

attempts_burned    a mail that ended for a limit; a status of a held mail that counts an attempt more than the one before; more
                   attempts in the ends of a mail than the relays had conversations about it
budget_exceeded    more mails than the budget within some window of its length, at the relay, from one holder of the budget
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from chaos.acceptances import Acceptance
from chaos.audit import Findings
from chaos.limits import Budget, most_in_window
from chaos.workload import PlannedMail
from postlane.core.events.status import MailState

LIMIT_CAUSES = frozenset(
    {"auth", "auth_unavailable", "busy", "connection", "connections", "quota", "rate", "throttled"}
)


@dataclass(slots=True)
class LimitVerdict:
    """The lists hold one line per violation; `held_mails` were told to wait, `most` is by budget what one holder used of it."""

    attempts_burned: list[str] = field(default_factory=list)
    budget_exceeded: list[str] = field(default_factory=list)
    held_mails: int = 0
    most: dict[str, int] = field(default_factory=dict)

    @property
    def violations(self) -> list[str]:
        """Everything that breaks a promise."""
        burned = [f"attempt burned: {line}" for line in self.attempts_burned]
        return burned + [f"budget: {line}" for line in self.budget_exceeded]


def judge_limits(
    planned: Sequence[PlannedMail],
    acceptances: Sequence[Acceptance],
    tried: Mapping[str, int],
    findings: Findings,
    budgets: Sequence[Budget],
) -> LimitVerdict:
    """Compare the statuses with what the relays know; `tried` counts the attempts by mail that no limit turned away."""
    verdict = LimitVerdict()
    verdict.attempts_burned += _died_for_limits(planned, findings)
    verdict.attempts_burned += _counted_while_held(findings)
    verdict.attempts_burned += _counted_too_many(findings, tried)
    for budget in budgets:
        most = most_in_window(budget, acceptances)
        verdict.most[f"{budget.relay}: {budget.words}"] = max(most.values(), default=0)
        verdict.budget_exceeded += [
            f"{budget.relay} took {mails} from {holder} where {budget.words} are allowed"
            for holder, mails in most.items()
            if mails > budget.mails
        ]
    verdict.held_mails = sum(
        any(not step.final and step.cause in LIMIT_CAUSES for step in steps)
        for steps in findings.steps.values()
    )
    return verdict


def _died_for_limits(planned: Sequence[PlannedMail], findings: Findings) -> Iterator[str]:
    may_expire = {mail.mail_id for mail in planned if mail.expired}
    for place, steps in findings.steps.items():
        mail_id = _mail_at(findings, place)
        for step in steps:
            if step.final and step.cause in LIMIT_CAUSES:
                yield f"{mail_id} at {place} ended {step.state} because of {step.cause}"
            elif step.state is MailState.EXPIRED and mail_id not in may_expire:
                yield f"{mail_id} at {place} EXPIRED, which nobody had asked for"


def _counted_while_held(findings: Findings) -> Iterator[str]:
    for place, steps in findings.steps.items():
        before = 0
        for step in steps:
            if not step.final and step.cause in LIMIT_CAUSES and step.attempt > before:
                counts = f"{step.attempt} attempts after {before}"
                yield f"{_mail_at(findings, place)} at {place} counts {counts}, held for {step.cause}"
            before = max(before, step.attempt)  # a new owner may know of fewer: those were not durable


def _counted_too_many(findings: Findings, tried: Mapping[str, int]) -> Iterator[str]:
    counted: Counter[str] = Counter()
    for place, steps in findings.steps.items():
        counted[_mail_at(findings, place)] += sum(step.attempt for step in steps if step.final)
    for mail_id, attempts in counted.items():
        if attempts > tried.get(mail_id, 0):
            yield f"{mail_id} counts {attempts} attempts, but no more than {tried.get(mail_id, 0)} were about it"


def _mail_at(findings: Findings, place: tuple[int, int]) -> str:
    requested = findings.requested.get(place)
    return str(None if requested is None else requested.mail_id)
