"""Spreads starts evenly, with a small burst: the generic cell rate algorithm (GCRA, ITU-T I.371) as a virtual schedule.

`due_us` is when the next unit would be due if all had kept to the schedule; a start may run ahead of it by burst - 1 intervals. A
mail of more units than the burst starts after a rest that makes up for it.
"""

from postlane.core.limits.budgets import Budget, Unit
from postlane.core.limits.limit import CAUSE_RATE, Plain, whole_number
from postlane.core.limits.microseconds import MICRO

BURST_SHARE = (
    0.1  # of the count; what a per-second budget gives up of its rate, so that bursts never exceed it
)
_LONG_AGO_US = -(2**62)


class Rate:
    """See core.limits.limit.Limit. Counts starts; what is given back is not made up for, it is worth one interval."""

    cause = CAUSE_RATE
    told = False

    def __init__(self, budget: Budget, burst: int, interval_us: int) -> None:
        self.budget = budget
        self.burst = burst
        self.interval_us = interval_us
        self._due_us = _LONG_AGO_US

    @property
    def key(self) -> str:
        return f"{self.budget.key} rate"

    @property
    def words(self) -> str:
        return str(self.budget)

    @property
    def unit(self) -> Unit:
        return self.budget.unit

    @property
    def most(self) -> int:
        return self.budget.count

    def describe(self, now_us: int) -> str:
        del now_us
        return f"{self.words}, one every {self.interval_us / MICRO:.3g} s"

    def earliest(self, units: int, now_us: int) -> int:
        return max(now_us, self._due(now_us) + (units - self.burst) * self.interval_us)

    def reserve(self, units: int, now_us: int) -> None:
        self._due_us = max(now_us, self._due(now_us)) + units * self.interval_us

    def settle(self, units: int, now_us: int) -> None:
        """Nothing: starts are what counts."""

    def give_back(self, units: int) -> None:
        """Nothing: taking a unit out of the schedule's middle could let two starts come too close."""

    def through(self, units: int, now_us: int) -> int | None:
        return max(now_us, max(now_us, self._due(now_us)) + (units - self.burst) * self.interval_us)

    def export(self) -> Plain:
        return {"due_us": self._due_us}

    def restore(self, state: Plain, now_us: int) -> None:
        del now_us
        self._due_us = whole_number(state, "due_us")

    def _due(self, now_us: int) -> int:
        # Never further ahead than a full budget: after a clock was set back, nothing waits for the old time.
        return min(self._due_us, now_us + self.budget.count * self.interval_us)


def strict_rate(budget: Budget) -> Rate:
    """At most `count` starts in any period, the burst included: n starts take at least n - burst intervals."""
    return strict_rate_in(budget, budget.period.us)


def strict_rate_in(budget: Budget, period_us: int) -> Rate:
    """The same with another period than the budget's own."""
    burst = burst_of(budget)
    spread = budget.count - burst + 1
    # One microsecond more than the period, because moments are rounded to the nearest one.
    return Rate(budget, burst, -(-(period_us + 1) // spread))


def smooth_rate(budget: Budget) -> Rate:
    """The full rate with a burst; another ledger sees to it that no period has more than `count`."""
    return Rate(budget, burst_of(budget), -(-budget.period.us // budget.count))


def burst_of(budget: Budget) -> int:
    """How many may start at once."""
    return max(1, int(budget.count * BURST_SHARE))
