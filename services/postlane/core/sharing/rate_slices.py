"""In which units a rate is leased: a large budget per minute in shorter spans, so that a share that moves is soon of use."""

from dataclasses import dataclass

from postlane.core.limits.budgets import Budget, Period

# A share is used by its next holder a whole span later. Of fewer units one sender's part would be lost in rounding.
SLICE_UNITS_MIN = 100


@dataclass(frozen=True, slots=True)
class Slice:
    """At most `count` units in any `period_us`; so many slices make the budget's own period."""

    count: int
    period_us: int
    in_period: int


def slice_of(budget: Budget) -> Slice:
    """The slices of a rate: what keeps to them keeps to the budget, and uses all but a hundredth of it."""
    slices = max(1, budget.count // SLICE_UNITS_MIN) if budget.period is Period.MINUTE else 1
    return Slice(budget.count // slices, -(-budget.period.us // slices), slices)
