"""The limits of a relay whose budgets this process keeps by itself."""

from collections.abc import Iterable

from postlane.core.limits.budgets import Budget, Period
from postlane.core.limits.calendar_ledger import calendar_ledger
from postlane.core.limits.limit import Limit
from postlane.core.limits.rate import smooth_rate, strict_rate
from postlane.core.limits.rolling_ledger import RollingLedger


def local_limits(budgets: Iterable[Budget]) -> tuple[Limit, ...]:
    """What keeps each budget: seconds are a rate, minutes a ledger and a rate that spreads it, longer periods a ledger."""
    return tuple(limit for budget in budgets for limit in _limits_of(budget))


def _limits_of(budget: Budget) -> tuple[Limit, ...]:
    if budget.zone is not None:
        return (calendar_ledger(budget, budget.zone),)
    if budget.period is Period.SECOND:
        return (strict_rate(budget),)
    if budget.period is Period.MINUTE:
        return RollingLedger(budget), smooth_rate(budget)
    return (RollingLedger(budget),)
