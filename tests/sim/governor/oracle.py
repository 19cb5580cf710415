"""What the relay sees and what a person may rely on, kept without the governor's own arithmetic; the named invariants.

BudgetNeverExceeded  in no window did the relay count more than a budget allows, at whatever moment it counted each mail
ProbeIsSingle        while a relay is held nothing starts beside the probe, and none before the wait that it named is over
NoWaveAtRelease      after a hold, and after a pause, at most one mail more than there were answers since is in flight
PausedStartsNothing  nothing starts while a person pauses the relay
WaitIsNotEarly       at the time that was named a mail may start, if nothing else has happened and what was in flight ended at once
WorkConserving       with nothing in flight, no hold, and every budget unused by this mail's units, something may start
StateRoundTrip       what was exported and restored allows the same at the same times
"""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from postlane.core.limits.budgets import Budget, Period, Unit
from postlane.core.limits.rolling_ledger import BUCKETS
from postlane.core.limits.warm_up import WarmUp
from sim.part import Violation

SECONDS = {Period.SECOND: 1.0, Period.MINUTE: 60.0, Period.HOUR: 3600.0, Period.DAY: 86400.0}
NEVER = float("-inf")
SINCE = date(2026, 3, 28)  # when ramps begin


@dataclass(frozen=True)
class Spent:
    """A mail that the relay may have counted, at `seen` between its start and its end."""

    start: float
    seen: float
    end: float
    recipients: int


@dataclass
class Oracle:
    """Everything that happened to one relay, over all restarts."""

    budgets: tuple[Budget, ...]
    ramp: WarmUp | None
    spent: list[Spent] = field(default_factory=list)
    flying: dict[int, tuple[float, int, int]] = field(default_factory=dict)  # start, recipients, era
    held_until: float | None = None
    paused: bool = False
    paused_until: float | None = None
    era: int = 0  # a new one begins with each hold
    answers: int | None = None  # since the last release; None as long as there was none
    last_start: float = NEVER
    throttled: bool = False

    # What happens

    def starts(self, number: int, recipients: int, now: float) -> None:
        if self.is_paused(now):
            raise Violation(f"PausedStartsNothing: mail {number} starts")
        if self.held_until is not None:
            if now < self.held_until:
                raise Violation(
                    f"ProbeIsSingle: mail {number} starts {self.held_until - now:.1f} s too early"
                )
            if self.flying:
                raise Violation(f"ProbeIsSingle: mail {number} starts beside {len(self.flying)} others")
        elif self.answers is not None and len(self.flying) > self.answers:
            raise Violation(f"NoWaveAtRelease: {len(self.flying) + 1} in flight after {self.answers} answers")
        self.flying[number] = (now, recipients, self.era)
        self.last_start = now

    def comes_back(self, number: int, now: float, seen: float | None) -> int:
        """It was counted at `seen`, if at all; the era in which it had started."""
        start, recipients, era = self.flying.pop(number)
        if seen is not None:
            self.spent.append(Spent(start, seen, now, recipients))
        return era

    def answered(self, era: int) -> None:
        if era == self.era and self.held_until is not None:
            self.held_until, self.answers = None, 0
        elif era == self.era and self.answers is not None:
            self.answers += 1

    def turned_away(self, era: int, named: float | None, now: float) -> None:
        if era == self.era:
            self.era += 1
            self.held_until = now + (named or 0.0)

    def pauses(self, until: float | None) -> None:
        self.paused, self.paused_until = True, until

    def resumes(self) -> None:
        if self.paused:
            self.paused, self.answers = False, 0

    def hastens(self, now: float) -> None:
        if self.held_until is not None:
            self.held_until = min(self.held_until, now)

    def is_paused(self, now: float) -> bool:
        if self.paused and self.paused_until is not None and now >= self.paused_until:
            self.resumes()
        return self.paused

    # What must be so

    def check_budgets(self) -> None:
        """BudgetNeverExceeded."""
        for budget in self.budgets:
            if budget.zone is not None:
                self._check_calendar(budget)
            else:
                self._check_rolling(budget)
        if self.ramp is not None:
            days = Counter(datetime.fromtimestamp(mail.seen, UTC).date() for mail in self.spent)
            for day, mails in days.items():
                cap = [*self.ramp.steps, self.ramp.then][min((day - SINCE).days, len(self.ramp.steps))]
                if cap is not None and mails > cap:
                    raise Violation(f"BudgetNeverExceeded: {mails} mails on {day}, the ramp allows {cap}")

    def _check_calendar(self, budget: Budget) -> None:
        used: Counter[str] = Counter()
        for mail in self.spent:
            local = datetime.fromtimestamp(mail.seen, UTC).astimezone(budget.zone)
            window = f"{local:%Y-%m-%d}" if budget.period is Period.DAY else f"{local:%Y-%m-%d %H %z}"
            used[window] += budget.unit.of(mail.recipients)
        for window, units in used.items():
            if units > budget.count:
                raise Violation(f"BudgetNeverExceeded: {units} in {window} under {budget}")

    def _check_rolling(self, budget: Budget) -> None:
        by_start = budget.period is Period.SECOND
        seen = sorted(
            (mail.start if by_start else mail.seen, budget.unit.of(mail.recipients)) for mail in self.spent
        )
        times, sums = [at for at, _ in seen], [0]
        for _, units in seen:
            sums.append(sums[-1] + units)
        for index, begin in enumerate(times):
            units = sums[bisect_left(times, begin + SECONDS[budget.period])] - sums[index]
            if units > budget.count:
                raise Violation(f"BudgetNeverExceeded: {units} from {begin:.3f} on under {budget}")

    def must_start(self, recipients: int, now: float) -> bool:
        """Whether WorkConserving demands that this mail may start now, with all the lateness that is allowed."""
        if self.flying or self.held_until is not None or self.is_paused(now):
            return False
        rested = now - self.last_start
        if self.throttled and rested < SECONDS[Period.MINUTE] + 1:
            return False
        return all(self._has_room(budget, recipients, now) for budget in (*self.budgets, *self._ramp(now)))

    def _has_room(self, budget: Budget, recipients: int, now: float) -> bool:
        seconds = SECONDS[budget.period]
        if budget.period in {Period.SECOND, Period.MINUTE} and now - self.last_start < 2 * seconds:
            return False  # rates are spread
        back = 25 * 3600.0 if budget.zone is not None else seconds * (1 + 1 / BUCKETS)
        units = [budget.unit.of(mail.recipients) for mail in self.spent if mail.end >= now - back]
        return sum(units) + budget.unit.of(recipients) <= budget.count

    def _ramp(self, now: float) -> tuple[Budget, ...]:
        if self.ramp is None:
            return ()
        day = datetime.fromtimestamp(now, UTC).date()
        cap = [*self.ramp.steps, self.ramp.then][min((day - SINCE).days, len(self.ramp.steps))]
        return () if cap is None else (Budget(count=cap, unit=Unit.MAILS, period=Period.DAY, zone=UTC),)
